#!/usr/bin/perl
# The programs are hardened whoever builds them: position independent, relocations
# read-only before main(), no executable stack, guarded stacks, checked libc calls
# (these not under sanitizers, which check better and need the real ones).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my $sanitize = ($ENV{sanitize} || 'no') ne 'no';
my @programs = grep { -x build . "/$_" } qw(engram-server engram);
plan skip_all => 'no program is built yet' unless @programs;

for my $program (@programs) {
	my $path = build . "/$program";
	my $said = `readelf --wide --file-header --program-headers --dynamic --dyn-syms '$path'`;
	is($?, 0, "$program: readelf reads it");
	like($said, qr/^\s*Type:\s+DYN/m, "$program: position independent");
	like($said, qr/^\s*GNU_RELRO\b/m, "$program: relocations become read-only");
	like($said, qr/\bBIND_NOW\b|Flags:.*\bNOW\b/, "$program: bound before main()");
	like($said, qr/^\s*GNU_STACK\b.*\bRW\s/m, "$program: the stack is not executable");
	like($said, qr/\b__stack_chk_fail\b/, "$program: stacks are guarded");
	SKIP: {
		skip 'sanitizers check libc calls themselves', 1 if $sanitize;
		like($said, qr/\b__\w+_chk\b(?<!__stack_chk)/, "$program: libc calls are checked");
	}
}

done_testing;
