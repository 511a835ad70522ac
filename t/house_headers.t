#!/usr/bin/perl
# Each header compiles alone, twice in a row, with the build's own flags: it
# includes what it uses and guards against a second inclusion.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp 'tempdir';
use Test::More;
use House;

# A sanitizer changes nothing about what a header includes, and this takes a while.
plan skip_all => 'looked at in the plain build' if ($ENV{sanitize} || 'no') ne 'no';

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my $build = build;
chomp(my $compile = `make -s -C '$build' print-compile 2>&1`);
is($?, 0, 'the build says how it compiles') or BAIL_OUT($compile);

my $dir = tempdir(CLEANUP => 1);
my @headers = files(qr{\.h$});
ok(@headers > 0, scalar(@headers) . ' headers');

sub compiles {
	my ($header) = @_;
	open my $out, '>', "$dir/alone.c" or die $!;
	print $out qq(#include "$header"\n#include "$header"\nextern int alone;\n);
	close $out;
	return scalar `cd '$build' && $compile -Werror -fsyntax-only '$dir/alone.c' 2>&1`;
}

for my $header (@headers) {
	my $said = compiles($header);
	ok($? == 0, "$header compiles alone") or diag $said;
}

compiles('common/no_such_header.h');
isnt($?, 0, 'a broken header is noticed');

done_testing;
