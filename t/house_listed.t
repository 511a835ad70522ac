#!/usr/bin/perl
# Every written file is named in a Makefile fragment, so that the tarball has all
# of the tree: a header or a test that is not listed builds here and is missing
# there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

# These Automake takes along by itself.
my %itself = map { $_ => 1 } qw(configure.ac Makefile.am);

my %listed = map { $_ => 1 } map { words($_->[2]) } fragments;
my @missing = grep { !$listed{$_} && !$itself{$_} && !m{/local\.mk$} } files(qr{.});
is(join("\n", @missing), '', 'every file is in a local.mk');

my @gone = grep { m{^[\w.-]+/[\w./-]+\.(c|h|def|proto|t|pm|[1578])$} && !/\.pb-c\./ && !-e top . "/$_" } sort keys %listed;
is(join("\n", @gone), '', 'and every file in a local.mk is there');

# The README sends its reader to files and folders of the tree.
my @named = slurp('README.md') =~ m{`((?:common|shm|wal|workers|master|contrib|t|etc|man)/[\w./]*)}g;
cmp_ok(scalar(@named), '>', 20, scalar(@named) . ' paths in README.md');
is(join("\n", grep { !-e top . "/$_" } @named), '', 'and all of them are there');

done_testing;
