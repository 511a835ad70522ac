#!/usr/bin/perl
# engram.toml(5) has an entry for every key of common/config.def, with the table's
# type, default, range and help, and no entry for anything else; and the files in
# etc/ load as they stand, the commented one also with its comments taken away.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp 'tempdir';
use Test::More;
use House;

my $table = build . '/t/unit/common_keys';
plan skip_all => 't/unit/common_keys is not built' unless -x $table;
my %row;
for (`'$table'`) {
	chomp;
	my ($name, @columns) = split /\t/;
	$row{$name} = \@columns;
}
cmp_ok(scalar(keys %row), '>', 100, scalar(keys %row) . ' keys in the table');

# ---- the manual page: section.key => its text as one line
my ($section, %entry, $text);
for (split /\n/, slurp('man/engram.toml.5')) {
	if (/^\.Ss Section (\S+)$/) { $section = $1 }
	elsif (/^\.S[sh]/) { undef $section }
	elsif (defined $section && /^\.It Ic (\S+) Pq (.*)$/) {
		ok(!$entry{"$section.$1"}, "$section.$1 has one entry") if $entry{"$section.$1"};
		$text = \($entry{"$section.$1"} = "($2)");
	}
	elsif (/^\.El/) { undef $text }
	elsif ($text) { s/\\&//g; s/\\e/\\/g; $$text .= " $_" }
}
is(join(' ', grep { !$entry{$_} } sort keys %row), '', 'every key has an entry in engram.toml(5)');
is(join(' ', grep { !$row{$_} } sort keys %entry), '', 'and every entry is a key');
for my $name (grep { $row{$_} } sort keys %entry) {
	my ($type, $default, $range, $when, $force, $help) = @{ $row{$name} };
	my $want = "($type) $help Default: $default. Range: $range. In force after a $when."
		. ($force eq 'now' ? '' : ' Not in force yet.');
	is($entry{$name}, $want, "$name: type, help, default, range as in the table");
}

# ---- the files in etc/
sub loads {
	my ($path) = @_;
	my $said = `'$table' '$path' 2>&1`;
	return $? == 0 ? '' : $said || "status $?";
}

for my $file (files(qr{^etc/.*\.toml$})) {
	is(loads(top . "/$file"), '', "$file loads");
}

# Each key of the table stands in etc/engram.toml as a comment, and loads when it is none.
my $default = slurp('etc/engram.toml');
my $dir = tempdir(CLEANUP => 1);
$default =~ s/^#(?=\w+ *=)//mg;
open my $out, '>', "$dir/engram.toml" or die $!;
print $out $default;
close $out;
is(loads("$dir/engram.toml"), '', 'etc/engram.toml loads with every key set');
undef $section;
my %shown;
for (split /\n/, $default) {
	$section = $1 if /^\[(.*)\]/;
	$shown{"$section.$1"} = $2 if defined $section && /^(\w+) = (.*?)(\s+#.*)?$/;
}
is(join(' ', grep { !defined $shown{$_} } sort keys %row), '', 'and shows every key');
for (grep { defined $shown{$_} && $row{$_}[1] =~ /^(\d|"|\[|\{|true$|false$)/ && $row{$_}[1] !~ /\b(of|x)\b/ } sort keys %row) {
	is($shown{$_}, $row{$_}[1], "etc/engram.toml shows the default of $_");
}

done_testing;
