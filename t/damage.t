#!/usr/bin/perl
# A log that was damaged while the server was down: what was acknowledged and
# cannot be read is never passed over in silence; a torn tail is cut.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use JSON::PP;
use Test::More;

my $s = Engram->start(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none' });

sub fill {
	my ($from, $n) = @_;
	my @memories = map { { id => "m$_", content => "memory number $_ " . 'and more ' x 40 } } $from .. $from + $n - 1;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}

sub count { return $s->get('/api/v1/memories?limit=1')->{json}{tier_counts}{total} }

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
	like($s->log_text, qr/the log is damaged: (?:of )?LSN \d+ to \d+ (?:records )?are missing/, 'the log names the LSN range');
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

# The operator gives up what cannot be read: no more than that is gone, the server
# says so until it is told to forget it, and nothing was deleted.
subtest 'recover --accept-loss' => sub {
	my $engram = Engram::client();
	-x $engram or plan skip_all => 'the program engram is not built';
	my $path = $segments[1];
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	is(system("'$engram' recover @{[$s->data_dir]} >/dev/null") >> 8, 0, 'nothing to recover');
	flip($path, 8192 + 40960 + 77);
	my $plan = decode_json(join "", `'$engram' recover --json @{[$s->data_dir]}`);
	is($? >> 8, 65, 'the plan');
	is($plan->{lost_records}, 1, 'one record would be lost');
	cmp_ok($plan->{saved_records}, '>', 0, "$plan->{saved_records} others of its group are saved");
	my $lsn = $plan->{lost}[0]{first_lsn};
	is($plan->{lost}[0]{last_lsn}, $lsn, "LSN $lsn");
	is(status_of_start(), 65, 'still refused: nothing was changed');
	my $done = decode_json(join "", `'$engram' recover --json --accept-loss @{[$s->data_dir]}`);
	is($? >> 8, 0, 'accepted');
	is($done->{lost_records}, 1, 'the same loss');
	ok(-s $s->data_dir . "/$done->{quarantine}/NOTE", 'a note in the quarantine');
	my ($name) = $path =~ m{([^/]*)$};
	ok(-s $s->data_dir . "/$done->{quarantine}/$name", 'and the damaged file');
	is(system("'$engram' check @{[$s->data_dir]} >/dev/null") >> 8, 0, 'check is content');
	$s->restart;
	is(count(), 3999, 'all but one are there');
	like($s->log_text, qr/loss was accepted: 1 records in 1 ranges from LSN $lsn to $lsn/, 'the log says it');
	is($s->get('/api/v1/system/introspect')->{json}{wal}{accepted_loss}{records}, 1, 'introspection says it');
	like($s->get('/health')->{json}{reasons}[0], qr/loss was accepted/, 'health says it');
	like(`'$engram' status --url @{[$s->url]}`, qr/loss was accepted/, 'engram status says it');
	is(fill(1000, 4000), 4000, 'what was lost can be stored again');
	is(count(), 4000, 'all are there');
	$s->kill_all;
	$s->restart;
	is(count(), 4000, 'after a kill too');
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
