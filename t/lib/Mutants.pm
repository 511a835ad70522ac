# The table of mutants, and how one is applied to the text of a file.
package Mutants;
use strict;
use warnings;
use House;
use Exporter 'import';
our @EXPORT = qw(mutants mutate);

# [{ name, by, edits => [{ file, old, new }, ...] }, ...]
sub mutants {
	my (@found, $file, $edit);
	my $text = slurp('t/mutants.def');
	$text =~ s{^/\*.*?\*/\n}{}s;
	my $line = 0;
	for (split /\n/, $text) {
		if (/^mutant (.+)$/) {
			push @found, { name => $1, edits => [] };
			($file, $edit) = ();
		} elsif (/^by (.+)$/) {
			$found[-1]{by} = $1;
		} elsif (/^file (.+)$/) {
			($file, $edit) = ($1, undef);
		} elsif (/^([-+])(.*)$/) {
			if ($1 eq '-') {
				push @{ $found[-1]{edits} }, $edit = { file => $file, old => '', new => '' } if !$edit || $edit->{new} ne '';
				$edit->{old} .= "\n$2";
			} else {
				$edit->{new} .= "\n$2";
			}
		} elsif (/\S/) {
			die "t/mutants.def: neither a column nor a line: $_\n";
		}
	}
	return @found;
}

# The text with the edit in it; undef when the old lines are not there exactly once.
sub mutate {
	my ($text, $edit) = @_;
	my $old = $edit->{old};
	my $at = index $text, $old;
	return if $at < 0 || index($text, $old, $at + 1) >= 0;
	substr($text, $at, length $old) = $edit->{new};
	return $text;
}

1;
