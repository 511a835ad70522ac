#!/usr/bin/perl
# The real family from outside: whoever dies is replaced, whatever is asked for
# fails no request, and nothing is left behind. (What the master decides in detail:
# t/master_cycle.t.)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use HTTP::Tiny;
use JSON::PP ();
use Engram;

plan skip_all => 'engram-server is not built' unless -x Engram::binary();

sub awaited(&$) {
	my ($condition, $name) = @_;
	ok(wait_until(\&$condition), $name);
}

# Requests without end, each on a new connection, until stop() tells how many failed.
sub load_start {
	my ($s) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my ($good, $bad, $end) = (0, 0, 0);
	local $SIG{TERM} = sub { $end = 1 };
	my $http = HTTP::Tiny->new(timeout => 30, keep_alive => 0);
	until ($end) { $http->get($s->url . '/health/alive')->{status} == 200 ? $good++ : $bad++ }
	POSIX::_exit($bad ? 1 : $good ? 0 : 2);
}

sub load_stop { my ($pid) = @_; CORE::kill(TERM => $pid); waitpid $pid, 0; return $? >> 8 }

my $s = Engram->start(settings => { 'workers.per_node' => 2, 'server.drain_timeout_seconds' => 5 });

for my $kind (qw(worker wal consolidation)) {
	my %before = map { $_ => 1 } $s->pids($kind);
	$s->kill(KILL => $kind);
	awaited { my @now = $s->pids($kind); @now == keys %before && !grep { $before{$_} } @now } "each $kind process is replaced";
	awaited { $s->get('/health/ready')->{status} == 200 } '... and the server is ready again';
}

my %old = map { $_ => 1 } $s->pids('worker');
my ($wal) = $s->pids('wal');
my $load = load_start($s);
$s->set('limits.request_seconds' => 59);
CORE::kill(HUP => $s->pid);
awaited { my @now = $s->pids('worker'); @now == 2 && !grep { $old{$_} } @now } 'a reload replaces the workers';
is(load_stop($load), 0, '... and no request fails');
is(($s->pids('wal'))[0], $wal, '... and the wal process stays');

# A store that the writer gave up: what happens when its repair fails is played by
# the word in the root page that says so.
SKIP: {
	my $state_at = 32;      # behind magic, version, hash and uuid
	my ($root) = Engram::slurp_proc("/proc/" . ($s->pids('wal'))[0] . '/maps') =~ m{(/dev/shm/engram-\w+-root)$}m;
	skip 'no root page to be found', 3 unless $root && open my $page, '+<', $root;
	my $word = sub {
		my ($value) = @_;
		sysseek $page, $state_at, 0;
		if (defined $value) { syswrite $page, pack 'L', $value } else { sysread $page, my $got, 4; return unpack 'L', $got }
	};
	is($word->(), 1, 'the store is ready');
	my %old = map { $_ => 1 } $s->pids('worker'), $s->pids('consolidation');
	$word->(0);
	awaited { !grep { $old{$_} } $s->pids('worker'), $s->pids('consolidation') } 'who reads a store that was given up ends';
	$word->(1);
	awaited { $s->get('/health/ready')->{status} == 200 } '... and successors attach the new one';
	awaited { my @now = $s->pids('worker'); @now == 2 && !grep { $old{$_} } @now } '... all of them';
}

%old = map { $_ => 1 } $s->pids('worker');
$s->set('limits.request_seconds' => 'soon');
CORE::kill(HUP => $s->pid);
awaited { $s->log_text =~ /reload failed: the old configuration stays/ } 'a wrong configuration is refused';
is(scalar(grep { $old{$_} } $s->pids('worker')), 2, '... and nobody is replaced');
$s->set('limits.request_seconds' => 60);

CORE::kill(WINCH => $s->pid);
awaited { !$s->pids('worker') } 'WINCH ends the workers';
CORE::kill(HUP => $s->pid);
awaited { $s->get('/health/ready')->{status} == 200 } '... and a reload brings them back';

$s->kill(KILL => 'master');
awaited { $s->running; !$s->pids } 'children leave when the master dies';
$s->restart;
$s->stop_ok('TERM');
$s->restart;
$s->stop_ok('QUIT');
$s->restart;
$s->kill_all;
$s->restart;
$s->stop_ok('INT', 'after a kill of all: INT ends the next one and leaves nothing behind');

# ---- somebody clears /dev/shm under a running server ----
$s = Engram->start(settings => { 'workers.per_node' => 2 });
my $told = sub { $s->post('/api/v1/memories/remember', { id => 'a', content => $_[0] })->{status} };
my ($prefix) = Engram::slurp_proc('/proc/' . ($s->pids('wal'))[0] . '/maps') =~ m{(/dev/shm/engram-\w+-)root$}m;
is($told->('before'), 201, 'a memory is stored');
ok(unlink(glob "$prefix*"), 'the objects of the store are removed');
$s->kill(KILL => 'wal');
awaited { $told->('after') == 200 } 'the next writer builds others, and stores';
my %seen;
for (1 .. 20) {
	my $r = HTTP::Tiny->new(keep_alive => 0)->get($s->url . '/api/v1/memories/a');
	$seen{$r->{status} == 200 ? JSON::PP::decode_json($r->{content})->{content} : $r->{status}}++;
}
awaited { my $r = $s->get('/api/v1/memories/a'); $r->{status} == 200 && $r->{json}{content} eq 'after' } 'the workers attach the new ones';
is($seen{before}, undef, 'nobody reads the old ones: ' . join(', ', sort keys %seen));
$s->stop_ok;

done_testing;
