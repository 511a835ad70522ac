# Many real texts for tests, none of them shipped here: what stands on a Debian
# system anyway, or in a file that the caller names.
#
#	my @texts = Texts::manual;            # paragraphs of Perl's manual pages
#	my @texts = Texts::packages;          # "name: description" of every package
#	my @texts = Texts::file('texts.txt'); # one a line
package Texts;
use strict;
use warnings;
use Cwd ();
use File::Find ();

# Perl's own modules, which prove needs: the paragraphs of their manuals, in a
# fixed order. A paragraph is plain text of 60 to 700 characters that is a sentence.
sub manual {
	my (%files, %seen, @texts);
	for my $dir (grep { defined && m{/perl/5} } map { Cwd::abs_path($_) } @INC) {
		File::Find::find({ no_chdir => 1, wanted => sub {
			return unless /\.(pm|pod)$/;
			(my $name = $_) =~ s{^\Q$dir\E/}{};
			$files{$name} ||= $_;
		} }, $dir);
	}
	for my $name (sort keys %files) {
		push @texts, grep { !$seen{$_}++ } paragraphs($files{$name});
	}
	return @texts;
}

sub paragraphs {
	my ($path) = @_;
	open my $in, '<', $path or die "$path: $!";
	local $/ = '';
	my ($told, @texts) = (0);
	while (<$in>) {
		if (/^=(\w+)/) {
			$told = $1 ne 'cut';
			next;
		}
		next if !$told || !/^[A-Z][a-z]/;
		s/\s+/ /g;
		s/E<(?:lt|gt)>/ /g;
		1 while s/[A-Z]<+ ?([^<>]*?) ?>+/$1/g;
		s/ $//;
		push @texts, $_ if /^[\x20-\x7e]{60,700}$/ && /\.$/;
	}
	return @texts;
}

# From the package lists, as far as they are there: name and short description.
sub packages {
	open my $in, '-|', 'apt-cache dumpavail 2>/dev/null' or return;
	my (%seen, @texts, $name);
	while (<$in>) {
		$name = $1 if /^Package: (\S+)/;
		push @texts, "$name: $1" if /^Description(?:-en)?: (.{10,})/ && !$seen{$name}++;
	}
	close $in;
	return @texts;
}

sub file {
	my ($path) = @_;
	open my $in, '<', $path or die "$path: $!";
	my @texts = <$in>;
	chomp @texts;
	return @texts;
}

1;
