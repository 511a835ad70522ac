#!/usr/bin/perl
# A log that was damaged while the server was down: what was acknowledged and
# cannot be read is never passed over in silence; a torn tail is cut.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Test::More;

my $s = Engram->start(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none' });

sub fill {
	my ($from, $n) = @_;
	my @memories = map { { id => "m$_", content => "memory number $_ " . 'and more ' x 40 } } $from .. $from + $n - 1;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}

sub count { return $s->get('/api/v1/memories?limit=1')->{json}{tier_counts}{total} }

# Change a byte of a file at an offset.
sub flip {
	my ($path, $offset) = @_;
	open my $f, '+<:raw', $path or die "$path: $!";
	seek $f, $offset, 0;
	read $f, my $byte, 1;
	seek $f, $offset, 0;
	print $f chr(ord($byte) ^ 0x10);
	close $f or die $!;
}

sub segments { return sort glob $s->data_dir . '/wal/*.log' }

# Start, and wait for the end that must come. Its exit status.
sub status_of_start {
	$s->launch;
	wait_until { !$s->running } 'the server ends by itself';
	return ($s->{status} // -1) >> 8;
}

is(fill(1000 * $_, 1000), 1000, "batch $_") for 1 .. 4;
is(count(), 4000, 'all are there');
is(join("\n", $s->end('QUIT')), '', 'QUIT');
my @segments = segments();
cmp_ok(scalar @segments, '>=', 3, 'several segments: ' . scalar @segments);

subtest 'rot in the middle of the log' => sub {
	my $path = $segments[1];
	flip($path, 8192 + 40960 + 77);
	is(status_of_start(), 65, 'the start is refused');
	like($s->log_text, qr/the log is damaged: LSN \d+ to \d+ are missing/, 'the log names the LSN range');
	is(status_of_start(), 65, 'and again');
	flip($path, 8192 + 40960 + 77);
};

subtest 'a header with both copies damaged' => sub {
	my $path = $segments[1];
	flip($path, 20), flip($path, 4096 + 20);
	is(status_of_start(), 65, 'the start is refused');
	flip($path, 4096 + 20);
	$s->restart;
	is(count(), 4000, 'one good copy is enough');
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	flip($path, 20);
};

subtest 'a missing segment' => sub {
	rename $segments[1], "$segments[1].away";
	is(status_of_start(), 65, 'the start is refused');
	rename "$segments[1].away", $segments[1];
	$s->restart;
	is(count(), 4000, 'it is back, and so is everything');
};

subtest 'a torn tail' => sub {
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	my $last = (segments())[-1];
	my $size = -s $last;
	open my $f, '>>:raw', $last or die $!;
	print $f 'EGRP' . "\x01\x02\x03" x 300;
	close $f;
	$s->restart;
	is(count(), 4000, 'what was written after the last whole group never was');
	is(fill(90_000, 10), 10, 'and it goes on');
	like($s->log_text, qr/tail after LSN \d+ is torn and cut/, 'said in the log');
};

$s->stop_ok;
done_testing;
