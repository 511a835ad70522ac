#!/usr/bin/perl
# Every mutant of t/mutants.def still applies to the tree, and names a program that
# is built. Whether each is caught is `make mutants`.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;
use Mutants;

my %programs = map { $_ => 1 } map { words($_->[2]) } fragments;

my @mutants = mutants;
cmp_ok(scalar(@mutants), '>=', 14, scalar(@mutants) . ' mutants in t/mutants.def');
for my $m (@mutants) {
	my (%text, @wrong);
	for my $edit (@{ $m->{edits} }) {
		$text{$edit->{file}} //= slurp($edit->{file});
		my $new = mutate($text{$edit->{file}}, $edit);
		push @wrong, "$edit->{file} has not exactly once:$edit->{old}" unless defined $new;
		$text{$edit->{file}} = $new // $text{$edit->{file}};
	}
	my ($program) = split / /, $m->{by};
	push @wrong, "$program is not built" unless $programs{$program};
	push @wrong, 'it changes nothing' unless @{ $m->{edits} };
	is(join("\n", @wrong), '', $m->{name});
}

# The check itself can fail.
is(mutate("a\nb\nb\n", { old => "\nb", new => "\nc" }), undef, 'lines that are there twice are refused');
is(mutate("a\nb\n", { old => "\nc", new => "\nd" }), undef, 'and lines that are not there');

done_testing;
