# What the tests about the house share: where the tree is, which files it has,
# and how long the functions in one are. No server, no build needed.
package House;
use strict;
use warnings;
use Cwd 'abs_path';
use File::Basename 'dirname';
use File::Find ();
use Exporter 'import';
our @EXPORT = qw(top build files slurp functions fragments words);

my $here = abs_path(dirname(__FILE__) . '/../..');

# Source tree and build tree; the same one unless built out of tree.
sub top   { $ENV{top_srcdir}   || $here }
sub build { $ENV{top_builddir} || $here }

# The folders whose files the project has written itself.
my @folders = qw(common shm wal workers master contrib t etc man scripts .ci);
my @tops = qw(configure.ac Makefile.am bootstrap README.md .gitignore);

# What a build leaves behind is not ours to judge.
my $made = qr{\.(o|a|log|trs|gcda|gcno)$|\.pb-c\.[ch]$|/\.deps/|/\.dirstamp$};

sub is_text { my ($path) = @_; return -T "@{[top]}/$path" }

# All written files, as paths from the top, that match.
sub files {
	my ($match) = @_;
	my ($top, @found) = top;
	File::Find::find({ no_chdir => 1, wanted => sub {
		my $path = substr $_, 1 + length $top;
		push @found, $path if -f && $path =~ $match && "/$path" !~ $made && is_text($path);
	} }, grep { -e } map { "$top/$_" } @folders, @tops);
	return sort @found;
}

sub slurp {
	my ($path) = @_;
	open my $in, '<', top . "/$path" or die "$path: $!";
	local $/;
	return scalar <$in>;
}

# Functions of a C or Perl file: [name, first line, lines from brace to brace].
# The house style makes this easy: a function's body starts with a { in column 0
# or at the end of its head, and ends with the first } in column 0.
sub functions {
	my ($path) = @_;
	my $perl = $path =~ /\.(t|pm)$/;
	my ($n, $head, $start, $name, @found) = (0, '');
	for (split /\n/, slurp($path)) {
		$n++;
		if (defined $start) {
			next unless /^\}/;
			push @found, [$name, $start, $n - $start + 1];
			($start, $head) = (undef, '');
		} elsif ($perl) {
			($name, $start) = ($1, $n) if /^sub (\w+)/ && !/\}\s*$/;
		} elsif (/^\{/ || /^\w.*\)\s*\{$/) {
			($name, $start) = ("$head$_" =~ /(\w+)\s*\(/ ? $1 : '?', $n);
		} elsif (/^\w[^=]*\)\s*\{.*\}$/) {
			push @found, [/(\w+)\s*\(/ ? $1 : '?', $n, 1];
		} else {
			$head = /[;}]\s*$|^\s*$|^#/ ? '' : "$head$_ ";
		}
	}
	return @found;
}

# The Makefile fragments as one list of assignments: [file, name, value].
sub fragments {
	my @found;
	for my $path ('Makefile.am', files(qr{/local\.mk$})) {
		my $text = slurp($path);
		$text =~ s/\\\n\s*/ /g;
		push @found, map { /^(\w+)\s*\+?=\s*(.*?)\s*$/ ? [$path, $1, $2] : () } split /\n/, $text;
	}
	return @found;
}

# The words of a Makefile value.
sub words { return grep { length } split ' ', $_[0] }

1;
