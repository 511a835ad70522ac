#!/usr/bin/perl
# Manual pages are clean to the pickiest reader there is, and refer only to pages
# that exist.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my @pages = files(qr{^man/.*\.[1-9]$});
plan skip_all => 'no manual pages yet' unless @pages;
if (system('mandoc -T lint /dev/null >/dev/null 2>&1') == -1 || $? >> 8 == 127) {
	die "mandoc is missing: apt-get install mandoc\n" if $ENV{CI};
	plan skip_all => 'mandoc is missing: apt-get install mandoc';
}

# mandoc looks for referenced pages among the installed ones; we look among ours.
my $elsewhere = qr/referenced manual not found/;

my %have = map { m{([^/]+)\.(\d)$} ? ("$1 $2" => 1) : () } @pages;
for my $page (@pages) {
	my $path = top . "/$page";
	my @said = grep { !/$elsewhere/ } `mandoc -T lint -W style '$path' 2>&1`;
	is(join('', @said), '', "$page: mandoc -T lint says nothing");
	my @refs = slurp($page) =~ /^\.Xr (engram\S* \d)/mg;
	is(join(', ', grep { !$have{$_} } @refs), '', "$page: every page of ours that it refers to exists");
}

done_testing;
