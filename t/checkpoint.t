#!/usr/bin/perl
# Checkpoints of a running server: on demand, when too many segments lie there, and at
# a graceful stop; what they make needless goes, and nothing that was acknowledged is
# lost when everything is killed in the midst of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Load;
use Test::More;

my %settings = ('wal.segment_size_mb' => 1, 'embedding.provider' => 'none',
	'wal.checkpoint_replay_seconds' => 3600, 'wal.max_segments' => 1000);
my $s = Engram->start(settings => \%settings);

sub fill {
	my ($space, $from, $n) = @_;
	my @memories = map { { id => "m$_", content => "memory number $_ " . 'and more ' x 40 } } $from .. $from + $n - 1;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories }, { 'X-Memory-Space' => $space });
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}

sub count {
	my ($space) = @_;
	return $s->get('/api/v1/memories?limit=1', { 'X-Memory-Space' => $space })->{json}{tier_counts}{total};
}

sub checkpoint { return $s->post('/api/v1/admin/checkpoint') }
sub files {
	my ($folder) = @_;
	my @names = sort map { s{.*/}{}r } glob $s->data_dir . "/$folder/*";
	return @names;
}
sub state_of { return $s->get('/api/v1/system/introspect')->{json} }

# The family dies at once, and its shared memory is gone.
sub crash {
	my ($prefix) = Engram::slurp_proc('/proc/' . ($s->pids('wal'))[0] . '/maps') =~ m{(/dev/shm/engram-\w+-)root$}m;
	$s->kill_all;
	unlink glob "$prefix*";
	$s->launch;
	return $s->await_ready;
}

subtest 'on demand' => sub {
	is(fill(one => 1000 * $_, 1000), 1000, "batch $_") for 1 .. 4;
	my $first = checkpoint();
	is($first->{status}, 200, 'made') or diag $first->{content};
	is($first->{json}{rows}, 4000, 'a row for each memory');
	cmp_ok($first->{json}{start_lsn}, '>=', 4000, 'behind all of them');
	cmp_ok($first->{json}{bytes}, '>=', 4000 * 64, 'all rows are written');
	cmp_ok($first->{json}{seconds}, '>', 0, 'it took time');
	is(join(' ', files('checkpoints')), sprintf('%016x.ckpt', $first->{json}{id}), 'its file is there');
	is(state_of()->{checkpoint}{id}, $first->{json}{id}, 'it is shown');

	is($s->post('/api/v1/memories/remember', { id => 'm1000', content => 'another' }, { 'X-Memory-Space' => 'one' })->{status}, 200,
		'one memory changes');
	my $second = checkpoint()->{json};
	is($second->{rows}, 4000, 'all rows again');
	cmp_ok($second->{bytes}, '<', 2 * 2048 * 64, 'one extent of them is written');
	is(scalar(files('checkpoints')), 2, 'both files are kept');
	is($s->post('/api/v1/admin/checkpoint', {})->{status}, 200, 'an empty object says nothing');
	like($s->post('/api/v1/admin/checkpoint', { now => 1 })->{content}, qr/no field \\"now\\" here/, 'there are no fields');
	is($s->post('/api/v1/admin/checkpoint?x=1')->{status}, 400, 'no parameter either');
};

subtest 'segments retire' => sub {
	my @before = files('wal');
	cmp_ok(scalar @before, '==', 1, 'what both checkpoints cover has left wal/');
	cmp_ok(scalar(files('warm')), '>=', 2, 'and lies in warm/: its memories live');
	ok(wait_until(sub { state_of()->{wal}{segments} == 1 }, 'the count'), 'counted');
	is($s->delete('/api/v1/spaces/one')->{status}, 200, 'the space is deleted');
	is(fill(two => 1, 10), 10, 'another has memories');
	is(checkpoint()->{status}, 200, 'a checkpoint') for 1 .. 2;
	my @warm = files('warm');
	cmp_ok(scalar @warm, '<=', 1, 'the dead ones are removed') or diag "@warm";
	is(crash(), 1, 'everything is killed, and started again');
	is(count('two'), 10, 'the living are there');
	is($s->get('/api/v1/spaces/one/stats')->{status}, 404, 'the deleted space is not');
};

subtest 'while stores go on' => sub {
	my $load = Load->start($s, clients => 4);
	for (1 .. 4) {
		my $r = checkpoint();
		is($r->{status}, 200, "checkpoint $_") or diag $r->{content};
	}
	my $sum = $load->stop;
	is(join("\n", @{$sum->{faults}}), '', 'no request failed');
	my $memories = state_of()->{counts}{total};
	is(crash(), 1, 'everything is killed, and started again');
	is(state_of()->{counts}{total}, $memories, 'all of them are there') or diag $s->log_tail;
};

subtest 'too many segments' => sub {
	$s->set('wal.max_segments' => 2);
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	is($s->restart, 1, 'restarted with a limit of 2');
	my $stored = 0;
	$stored += fill(three => 1000 * $_, 1000) for 1 .. 12;
	is($stored, 12000, 'stored');
	ok(wait_until(sub { files('wal') <= 2 }, 'two segments are left in wal/'), 'the limit is kept');
	cmp_ok(state_of()->{checkpoint}{id}, '>', 0, 'by checkpoints');
	is(crash(), 1, 'everything is killed, and started again');
	is(count('three'), 12000, 'all are there') or diag $s->log_tail;
};

subtest 'a graceful stop' => sub {
	is(fill(four => 1, 100), 100, 'stored');
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	my @files = files('checkpoints');
	$s->launch;
	is($s->await_ready, 1, 'started again');
	is(count('four'), 100, 'all are there');
	cmp_ok($s->metric('engram_checkpoint_lsn'), '>=', $s->metric('engram_wal_lsn') - 1, 'a checkpoint was made at the end');
	is(join("\n", $s->end('QUIT')), '', 'QUIT again');
	is_deeply([files('checkpoints')], \@files, 'none when nothing has changed');
};

subtest 'the newest is damaged' => sub {
	my ($newest) = reverse sort glob $s->data_dir . '/checkpoints/*';
	flip($newest, 20);
	$s->set('wal.max_segments' => 1000);   # none is made unasked
	is($s->restart, 1, 'started');
	is(count('four'), 100, 'all are there');
	is($s->metric('engram_checkpoint_fallbacks_total'), 1, 'counted');
	my $said = sub { scalar grep { /checkpoint could not be used/ } @{$s->get('/health')->{json}{reasons}} };
	is($said->(), 1, 'a reason in /health');
	is(checkpoint()->{status}, 200, 'another one');
	is($said->(), 0, 'and it is well again');
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
};

subtest 'a log that ends before the checkpoint' => sub {
	# No row misses its record then: only the LSN tells.
	is($s->restart, 1, 'started');
	$s->delete("/api/v1/spaces/$_") for map { $_->{id} } @{$s->get('/api/v1/spaces')->{json}{spaces}};
	is(state_of()->{counts}{total}, 0, 'everything is deleted');
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	my $aside = $s->dir . '/aside';
	mkdir $aside or die $!;
	my @segments = glob $s->data_dir . '/wal/*.log';
	rename $_, $aside . '/' . s{.*/}{}r or die $! for @segments;
	$s->launch;
	wait_until { !$s->running } 'the end of the start';
	is($s->{status} >> 8, 65, 'the start is refused');
	like($s->log_text, qr/the log is damaged: it ends at LSN \d+, and the checkpoint reaches \d+/, 'with both ends');
	unlink glob $s->data_dir . '/wal/*.log';
	rename $aside . '/' . s{.*/}{}r, $_ or die $! for @segments;
};

is($s->restart, 1, 'started once more');
$s->stop_ok;
done_testing;
