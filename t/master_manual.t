#!/usr/bin/perl
# engram-server(8) against the tables and the command line that it describes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my $page = slurp('man/engram-server.8');

my $signals = 0;
for (slurp('master/signals.def') =~ /^X\((.*)/mg) {
	my ($signal, undef, $verb) = /^(\w+),\s*(\w+),\s*"(\w*)"/ or die "row: $_";
	my $shown = $verb eq '' ? '\\&' : $verb;
	like($page, qr/^\.It Dv SIG$signal Ta \Q$shown\E Ta /m, "SIG$signal with verb \"$verb\"");
	$signals++;
}
cmp_ok($signals, '>', 5, 'the table of signals was read');

my @kinds = slurp('master/kinds.def') =~ /^X\(\w+, "([^"]+)", "([^"]+)", [^"]*\n?\s*"([^"]+)"\)/mg;
is(scalar(@kinds), 9, 'the table of kinds was read');
while (my ($title, $comm, $does) = splice @kinds, 0, 3) {
	like($page, qr/^\.It "$title" Ta $comm Ta "\Q$does\E"$/m, $title);
}

my ($letters) = slurp('master/options.c') =~ /getopt\(argc, argv, "([\w:]+)"\)/;
like($page, qr/^\.It Fl $_\b/m, "-$_") for $letters =~ /\w/g;

done_testing;
