#!/usr/bin/perl
# The helper that starts servers can fail: shown on a fake server that does what
# a real one must never do. Without this, a blind helper would pass everything.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Test::More;

my $fake = "$FindBin::Bin/lib/fake_server";

sub faults {
	my ($bad, $signal) = @_;
	my $s = Engram->start(bin => $fake, env => { FAKE => $bad });
	wait_until { $s->pids('consolidation') } 'the whole family';
	return join "\n", $s->end($signal);
}

# ---- a good one ----
my $s = Engram->start(bin => $fake, settings => { 'workers.per_node' => 2, 'logging.level' => 'debug', 'a.list' => ['x', 1], 'a.on' => 'true' });
my $config = do { local (@ARGV, $/) = ($s->config); <> };
like($config, qr/^\[workers\]\nper_node = 2$/m, 'numbers stand plain');
like($config, qr/^level = "debug"$/m, 'strings are quoted');
like($config, qr/^list = \["x", 1\]\non = true$/m, 'lists and booleans');

my $answer = $s->post('/x', { a => [1, 'two'] });
is($answer->{status}, 200, 'an answer');
is_deeply($answer->{json}, { method => 'POST', sent => { a => [1, 'two'] } }, 'JSON both ways');
is($s->get('/y')->{json}{method}, 'GET', 'the next request on the kept connection');
is($s->metric('a_total'), 7.5, 'a metric summed over its series');
is($s->metric('a_total', kind => 'x'), 3, 'a metric by label');
is($s->metric('c_total'), undef, 'a metric that is not there');

ok(wait_until { keys %{{ reverse %{$s->family} }} >= 4 }, 'the family has its kinds') or diag explain $s->family;
is_deeply([$s->pids('master')], [$s->pid], 'the master is the process started');
my ($old) = $s->pids('worker');
$s->kill(KILL => 'worker');
my ($new) = wait_until { my ($pid) = $s->pids('worker'); $pid && $pid != $old } 'a new worker';
ok($new, 'a killed worker is seen to be replaced');

# ---- a crash and a restart ----
my $before = $s->pid;
ok($s->kill_all, 'the family is killed');
is(scalar($s->pids), 0, 'nobody is left');
$s->restart;
isnt($s->pid, $before, 'it runs again');
my @objects = $s->note_shm;
is(scalar(@objects), 2, 'objects of both lives are known') or diag "@objects";
like(join("\n", $s->end), qr/^shared memory left: \S+fake-$before$/, 'what the crashed life left is noticed');

# ---- bad ones ----
is(faults(''), '', 'a good end has no faults');
is(faults('', 'QUIT'), '', 'neither has a graceful one');
like(faults('shm'), qr{^shared memory left: /dev/shm/engram-fake-\d+$}, 'a left object is noticed');
like(faults('log'), qr/^in the log: .*invented/, 'a finding in the log is noticed');
like(faults('exit'), qr/^exit status \d/, 'a bad exit status is noticed');
{
	local $Engram::patience = 1;
	like(faults('orphan'), qr/^did not end: wal \d+$/m, 'a process left is noticed');
	ok(!eval { Engram->start(bin => $fake, env => { FAKE => 'never' }); 1 }, 'a server that is never ready is given up');
	like($@, qr/^server: not ready/, 'and it says so');
}
ok(!eval { Engram->start(bin => '/bin/false'); 1 }, 'a server that ends at once is noticed');
like($@, qr/^server: ended with status 256/, 'and it says so');

done_testing;
