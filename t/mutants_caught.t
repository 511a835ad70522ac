#!/usr/bin/perl
# Are the mutants of t/mutants.def caught? Each is applied to a copy of the tree, the
# program that must catch it is built and run there, and has to fail; before, every
# such program passes on the copy as it is. A program that hangs, taking ten times as
# long, has noticed, as in make check; a mutant that does not build is not caught.
#
#	make mutants              all
#	make mutants M=salt       those whose name matches
use strict;
use warnings;
use Cwd 'getcwd';
use File::Temp 'tempdir';
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes 'time';
use House;
use Mutants;

use constant { BUILD_SECONDS => 900, RUN_SECONDS => 400, EXIT_TIMEOUT => 124 };

my $match = $ENV{MUTANTS} // '';
my @mutants = grep { $_->{name} =~ /$match/ } mutants;
my ($source, $built) = (top, build);
my $work = tempdir('engram-mutants-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $tree = "$work/tree";
my (%passes, %seconds, @table);
$| = 1;

# Exit status of a command in the copy; what it says goes to a file.
sub run {
	my ($seconds, $command) = @_;
	system "cd $tree && exec timeout -k 10 $seconds $command > $work/out 2>&1";
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub said {
	open my $in, '<', "$work/out" or return;
	my @lines = <$in>;
	print map { "#   $_" } @lines > 12 ? @lines[-12 .. -1] : @lines;
}

sub spew {
	my ($path, $text) = @_;
	open my $out, '>', "$tree/$path" or die "$path: $!";
	print $out $text;
	close $out or die "$path: $!";
}

# A scene's name is one argument of wal_killstep, whatever it holds.
sub command {
	my ($program, @args) = split / /, $_[0];
	return "make check T=$program" if $program =~ /\.t$/;
	return $program =~ /wal_killstep$/ ? "./$program $args[0] '@args[1 .. $#args]'" : "./$program @args";
}

sub compile {
	my ($program) = split / /, $_[0];
	return run(BUILD_SECONDS, 'make -j2 ' . ($program =~ /\.t$/ ? 'all-am' : $program)) == 0;
}

sub passes {
	my ($by) = @_;
	return $passes{$by} if defined $passes{$by};
	my $built = compile($by);
	my $began = time;
	$passes{$by} = $built && run(RUN_SECONDS, command($by)) == 0 ? 1 : do { said; 0 };
	$seconds{$by} = int(60 + 10 * (time - $began));
	return $passes{$by};
}

# What the copy becomes; its files as they were.
sub apply {
	my ($m) = @_;
	my (%before, %now);
	for my $edit (@{ $m->{edits} }) {
		$before{$edit->{file}} //= $now{$edit->{file}} = slurp($edit->{file});
		$now{$edit->{file}} = mutate($now{$edit->{file}}, $edit) // die "$m->{name} does not apply\n";
	}
	spew($_, $now{$_}) for keys %now;
	return \%before;
}

sub verdict {
	my ($m) = @_;
	return 'the program fails without it' unless passes($m->{by});
	my $before = apply($m);
	my $result = 'SURVIVED';
	if (!compile($m->{by})) {
		said;
		$result = 'does not build';
	} else {
		my $status = run($seconds{$m->{by}}, command($m->{by}));
		$result = $status == EXIT_TIMEOUT ? 'caught (it hangs)' : $status == 0 ? 'SURVIVED' : 'caught';
		said if $status == 0;
	}
	spew($_, $before->{$_}) for keys %$before;
	return $result;
}

die "no mutant matches $match\n" unless @mutants;
system('cp', '-a', $source, $tree) == 0 or die "the tree cannot be copied\n";
# From here on nobody looks at the original, which may be worked on meanwhile.
@ENV{qw(top_srcdir top_builddir)} = ($tree, $tree);
system("rm -rf $tree/.git && cd $tree && { test -f config.status || cp -a '$built/config.status' .; }") == 0 or die;
run(BUILD_SECONDS, './config.status') == 0 or do { said; die "the copy cannot be configured\n" };
run(BUILD_SECONDS, 'make -j2 all-am') == 0 or do { said; die "the copy cannot be built\n" };

for my $m (@mutants) {
	my $began = time;
	my $result = verdict($m);
	push @table, sprintf '%-72s %-44s %s', $m->{name}, $m->{by}, $result;
	printf "# %s: %s (%.0f s)\n", $m->{name}, $result, time - $began;
	like($result, qr/^caught/, $m->{name});
}
print "#\n", map { "# $_\n" } @table;
done_testing;
