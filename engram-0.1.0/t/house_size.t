#!/usr/bin/perl
# A function fits on a screen (60 lines, from brace to brace), a file can be read
# in one sitting (600 lines). What is over is named here with the reason, or it
# fails; a reason that is no longer needed fails too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

use constant { FUNCTION_LINES => 60, FILE_LINES => 600 };

# 'path' or 'path:function' => why it may be longer
my %exception = (
);

my (@over, @lengths, %used);
for my $path (files(qr{\.(c|h|def|proto|t|pm|mk)$|^configure\.ac$|^Makefile\.am$})) {
	my $lines = () = slurp($path) =~ /\n/g;
	if ($lines > FILE_LINES) {
		$used{$path}++;
		push @over, "$path: $lines lines" unless $exception{$path};
	}
	next unless $path =~ /\.(c|h|t|pm)$/;
	for (functions($path)) {
		my ($name, $line, $length) = @$_;
		push @lengths, $length if $path =~ /\.[ch]$/;
		next unless $length > FUNCTION_LINES;
		$used{"$path:$name"}++;
		push @over, "$path:$line: $name has $length lines" unless $exception{"$path:$name"};
	}
}
is(join("\n", @over), '', 'no function over ' . FUNCTION_LINES . ' lines, no file over ' . FILE_LINES);
is(join("\n", grep { !$used{$_} } sort keys %exception), '', 'every exception is still needed');

@lengths = sort { $a <=> $b } @lengths;
ok(@lengths > 0, 'functions were found');
my $median = @lengths ? $lengths[@lengths / 2] : 0;
cmp_ok($median, '<=', 20, 'the median function is short');
diag(scalar(@lengths) . " functions in C, median $median lines, longest " . ($lengths[-1] // 0));

done_testing;
