#!/usr/bin/perl
# The project speaks of itself alone: no path of the machine that somebody
# worked on, no note to oneself left in the text. What is not finished belongs
# into an issue.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

# The patterns are put together so that this file does not find itself.
my @forbidden = (
	[qr{(?<![\w.])/@{['(home|Users|root)']}/}, 'a path into somebody\'s home'],
	[qr{(?<![\w.])/tmp/(?!engram|\$|["'`\s]|\w*X{3})\w}, 'a temporary path of one machine'],
	[qr{\b(@{[join '|', map { join '', @$_ } ['TO', 'DO'], ['FIX', 'ME'], ['X', 'XX'], ['HA', 'CK']]})\b}, 'a note to oneself'],
	[qr{^(<{7}|>{7}) }, 'a conflict that nobody resolved'],
	[qr{[ \t]+$}, 'blanks at the end of a line'],
);

sub found {
	my ($line) = @_;
	return map { $_->[1] } grep { $line =~ $_->[0] } @forbidden;
}

my @faults;
my @files = files(qr{.});
for my $path (@files) {
	my $n = 0;
	for my $line (split /\n/, slurp($path)) {
		$n++;
		push @faults, map { "$path:$n: $_" } found($line);
	}
}
ok(@files > 0, scalar(@files) . ' files read');
is(join("\n", @faults), '', 'no forbidden words');

is(scalar(found('see /' . 'home/anna/notes')), 1, 'a path is noticed');
is(scalar(found('/* TO' . 'DO: later */')), 1, 'a note is noticed');
is(scalar(found('mkstemp("/tmp/engram.XXXXXX")')), 0, 'a template is none');

done_testing;
