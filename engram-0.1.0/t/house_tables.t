#!/usr/bin/perl
# What can be listed lives in a table (an X-macro file, *.def), and a table earns
# its place by at least two consumers: two files that include it, or one and a
# test that reads it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my @tables = files(qr{\.def$});
ok(@tables > 0, scalar(@tables) . ' tables');
my %text = map { $_ => slurp($_) } files(qr{\.(c|h|t)$});

for my $table (@tables) {
	my @consumers = grep {
		/\.t$/ ? $_ ne 't/house_tables.t' && index($text{$_}, $table) >= 0 : $text{$_} =~ /^\s*#\s*include\s+"\Q$table\E"/m
	} sort keys %text;
	cmp_ok(scalar(@consumers), '>=', 2, "$table has two consumers") or diag "only: @consumers";
	like(slurp($table), qr{^/\*}, "$table explains its columns on top");
}

done_testing;
