#!/usr/bin/perl
# Calls and includes point downward only. Every #include "..." of every C file
# is held against the list of layers; a file may include its own layer and lower
# ones, always written from the top folder. The reading and the writing side of
# a shared structure are two headers, and nobody above wal/ includes the writing
# side. Unit programs see, and link, only their own layer and lower ones.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my %rank = (common => 1, shm => 2, wal => 3, mind => 4, api => 5, workers => 6, master => 7);
my %folder = ('workers/mind' => 'mind', 'workers/api' => 'api', map { $_ => $_ } qw(common shm wal workers master));

# Folders beside the layers: how high each may reach. The client talks HTTP;
# only its offline commands use wal/ and below.
my %reach = ('contrib/client' => 3, 'contrib/bench' => 5, 't/sweep' => 1);

# Layer of a path, or undef.
sub layer {
	my ($path) = @_;
	my ($dir) = $path =~ m{^(.*)/[^/]*$} or return undef;
	return $folder{$dir};
}

# [highest rank that a file may include, own folder beside the layers or undef]
sub allowance {
	my ($path) = @_;
	return ($rank{layer($path)}) if layer($path);
	return ($rank{$1} || 3, 't/unit') if $path =~ m{^t/unit/([a-z]+)_\w+\.[ch]$};
	return (1, 't/unit') if $path eq 't/fuzz/json.c' || $path eq 't/mutants.def';
	for my $dir (keys %reach) {
		return ($reach{$dir}, $dir) if index($path, "$dir/") == 0;
	}
	return;
}

sub check_include {
	my ($path, $line, $target, $max, $own) = @_;
	return if $target eq 'config.h';
	return "$path:$line: \"$target\" is not written from the top folder" unless $target =~ m{/};
	my $proto = $target =~ s/\.pb-c\.h$/.proto/r;
	return "$path:$line: there is no $target" unless -e top . "/$target" || -e top . "/$proto";
	return if $own && index($target, "$own/") == 0;
	my $layer = layer($target);
	return "$path:$line: $target belongs to no layer" unless $layer;
	return "$path:$line: $target is above" if $rank{$layer} > $max;
	return "$path:$line: $target writes the store; only shm/ and wal/ may" if $target =~ /_write\.h$/ && ($max > 3 || $own && $own =~ /^contrib/);
	return;
}

my @faults;
my $includes = 0;
for my $path (files(qr{\.(c|h|def)$})) {
	my ($max, $own) = allowance($path);
	unless ($max) {
		push @faults, "$path: is in no layer";
		next;
	}
	my $n = 0;
	for (split /\n/, slurp($path)) {
		$n++;
		/^\s*#\s*include\s+"([^"]+)"/ or next;
		$includes++;
		push @faults, check_include($path, $n, $1, $max, $own);
	}
}
ok($includes > 0, "$includes includes looked at");
is(join("\n", @faults), '', 'includes point downward only');

# ---- which libraries a unit program links, which files a library has ----
my (@linked, $programs);
for (fragments) {
	my ($file, $name, $value) = @$_;
	if ($name =~ /^t_unit_([a-z]+)_\w+_LDADD$/) {
		$programs++;
		my $max = $rank{$1};        # kept: the next match overwrites $1
		push @linked, "$name: the program's name does not start with a layer", next unless $max;
		for my $lib ($value =~ /\$\(([A-Z]+)_LIBS\)/g) {
			push @linked, "$name: \$(${lib}_LIBS) is above" if $rank{lc $lib} && $rank{lc $lib} > $max;
		}
		push @linked, "$name: use \$(LAYER_LIBS) instead of a library's name" if $value =~ /\blib\w+\.a\b/;
	} elsif ($name =~ /^lib(\w+)_a_SOURCES$/) {
		push @linked, map { "$file: $_ is not of the layer $1" } grep { !/^\$/ && (layer($_) || '') ne $1 } words($value);
	} elsif ($name =~ /^t_unit_\w+_SOURCES$/) {
		push @linked, map { "$file: $name: $_ is no file of t/unit" } grep { !m{^t/unit/} } words($value);
	}
}
is(join("\n", @linked), '', 'libraries and unit programs keep to their layers (' . ($programs || 0) . ' programs)');

# ---- the test itself can fail ----
ok(check_include('shm/desk.c', 1, 'wal/record.h', 2) // '', 'upward include is refused') or diag 'it was let through';
like(check_include('common/err.c', 1, 'err.h', 1), qr/top folder/, 'a path without its folder is refused');
is((allowance('workers/worker.c'))[0], 6, 'workers/ itself is above its rooms');

done_testing;
