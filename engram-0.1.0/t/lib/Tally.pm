# How prove reports here: as ever, and at the end one line that a machine can
# read as well as a person, "N passed, N failed". With TALLY=FILE in the
# environment the two numbers are also appended to FILE, so that contrib/check
# can add up several runs. A test file that crashed or broke its plan counts as
# one failure more, even when each test that it did print passed.
package Tally;
use strict;
use warnings;
use parent 'TAP::Formatter::Console';

sub summary {
	my ($self, $aggregate, @rest) = @_;
	$self->SUPER::summary($aggregate, @rest);
	my $failed = $aggregate->failed;
	for my $parser ($aggregate->parsers) {
		$failed++ if !$parser->failed && ($parser->parse_errors || $parser->exit || $parser->wait);
	}
	my $passed = $aggregate->total - $aggregate->failed;
	print "$passed passed, $failed failed\n";
	if (my $file = $ENV{TALLY}) {
		open my $out, '>>', $file or die "$file: $!";
		print $out "$passed $failed\n";
		close $out or die "$file: $!";
	}
}

1;
