#!/usr/bin/perl
# The master alone, over children that only obey (t/unit/master_fake.c): who is
# replaced, killed, drained, told what and when, and what is left at the end.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes 'time';
use IO::Socket::INET;
use Engram;

my $top = $ENV{top_builddir} || "$FindBin::Bin/..";
my $bin = "$top/t/unit/master_fake";

sub server {
	my (%option) = @_;
	my $s = Engram->new(%option, bin => $bin);
	$s->{env}{ENGRAM_FAKE} = $s->dir;
	$s->launch;
	$s->await_ready;
	logged($s, qr/ready: configuration generation 1/);
	return $s;
}

# Wait for a line of the log.
sub logged {
	my ($s, $pattern, $times) = @_;
	return wait_until { my @all = $s->log_text =~ /$pattern/g; @all >= ($times || 1) } "$pattern";
}

# As one test.
sub awaited(&$) {
	my ($condition, $name) = @_;
	ok(wait_until(\&$condition), $name);
}

sub touch { my ($s, $name) = @_; open my $out, '>', $s->dir . "/$name" or die $!; close $out }

sub tool {
	my ($s, @args) = @_;
	my $pid = open(my $out, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec { $bin } 'engram-server', '-c', $s->config, @args or POSIX::_exit(127);
	}
	my $said = do { local $/; <$out> } // '';
	close $out;
	return ($? >> 8, $said);
}

sub comm { my ($pid) = @_; open my $in, '<', "/proc/$pid/comm" or return ''; chomp(my $c = <$in>); return $c }

# ---- names, death and replacement ----
{
	my $s = server(settings => { 'workers.per_node' => 2, 'workers.event_threads' => 2 });
	my ($worker) = $s->pids('worker');
	is(comm($s->pid), 'engram-server', 'name of the master');
	is(comm($_->[0]), $_->[1], "name $_->[1]")
		for [$worker, 'eg-worker'], [$s->pids('wal'), 'eg-wal'], [$s->pids('consolidation'), 'eg-consol'];
	is(scalar(() = $s->log_text =~ /worker process \d+: born .* 2 listeners/g), 2, 'each worker has its sockets');

	for my $kind (qw(worker wal consolidation)) {
		my @before = $s->pids($kind);
		$s->kill(KILL => $kind);
		awaited { my @now = $s->pids($kind); @now == @before && !grep { my $p = $_; grep { $_ == $p } @before } @now } "each $kind process is replaced";
		is($s->get('/')->{status}, 200, '... and requests are served');
	}
	# More deaths than there are desks: each has to come back after it was drained.
	for my $n (1 .. 20) {
		logged($s, qr/worker process \d+: born/, 2 + $n) or last;
		my ($worker) = $s->log_text =~ /.*worker process (\d+): born/s;
		CORE::kill(KILL => $worker);
	}
	logged($s, qr/worker process \d+: born/, 23);
	awaited { $s->pids('worker') == 2 } 'desks are used again';
	unlike($s->log_text, qr/deaths in a row/, 'no pause after deaths of processes that were ready');
	$s->stop_ok('TERM');
}

# ---- reload ----
{
	my $s = server(settings => { 'limits.request_seconds' => 60 });
	my ($old, $wal) = ($s->pids('worker'), $s->pids('wal'));
	my ($refused, $served) = (0, 0);
	my $go = fork // die $!;
	if (!$go) {   # a stream of connections while everything below happens
		my ($ok, $bad, $end) = (0, 0, 0);
		local $SIG{TERM} = sub { $end = 1 };
		until ($end) { HTTP::Tiny->new(timeout => 20)->get($s->url . '/')->{status} == 200 ? $ok++ : $bad++ }
		POSIX::_exit($bad ? 1 : $ok ? 0 : 2);
	}
	$s->set('limits.request_seconds' => 77, 'wal.segment_size_mb' => 8);
	is((tool($s, '-s', 'reload'))[0], 0, '-s reload');
	logged($s, qr/worker process \d+: born with generation 2: request_seconds 77/);
	logged($s, qr/wal process \d+: follows generation 2: request_seconds 77/);
	logged($s, qr/consolidation process \d+: follows generation 2: request_seconds 77/);
	pass('a setting changes in every kind of process');
	like($s->log_text, qr/wal\.segment_size_mb needs a restart/, 'a key that needs a restart is named');
	awaited { !grep { $_ == $old } $s->pids('worker') } 'the old worker leaves';
	is(($s->pids('wal'))[0], $wal, 'the wal process stays');

	$s->set('limits.request_seconds' => 'soon');
	tool($s, '-s', 'reload');
	# The tool itself refuses a wrong file; the signal must be harmless too.
	CORE::kill(HUP => $s->pid);
	logged($s, qr/reload failed: the old configuration stays/);
	unlike($s->log_text, qr/generation 3/, 'a wrong configuration changes nothing');
	$s->set('limits.request_seconds' => 78);
	CORE::kill(HUP => $s->pid) for 1 .. 3;
	logged($s, qr/born with generation [345]: request_seconds 78/);
	awaited { $s->pids('worker') == 1 } 'reloads in a row end with one generation';
	CORE::kill(TERM => $go);
	waitpid $go, 0;
	is($?, 0, 'no connection failed meanwhile');
	$s->stop_ok('QUIT');
	my @order = $s->log_text =~ /(worker|consolidation|wal) process \d+: leaves, asked to leave/g;
	is("@order[-3 .. -1]", 'worker consolidation wal', 'they leave in order');
}

# ---- more reloads than desks, before any of the new workers is ready ----
{
	my $s = server();
	touch($s, 'slow');
	for my $n (2 .. 12) {
		CORE::kill(HUP => $s->pid);
		logged($s, qr/configuration generation $n is in force/) or last;
	}
	cmp_ok(scalar($s->pids('worker')), '<', 12, 'there are not as many desks');
	unlink $s->dir . '/slow';
	ok(logged($s, qr/ready: configuration generation 12/), 'the last configuration comes into force');
	awaited { $s->pids('worker') == 1 } '... with one worker';
	$s->stop_ok;
}

# ---- addresses ----
{
	my $s = server();
	my $port = $s->port;
	my $other = Engram::free_port();
	$s->set('server.listen' => ["127.0.0.1:$port", "127.0.0.1:$other"]);
	SKIP: {
		CORE::kill(HUP => $s->pid);
		logged($s, qr/generation 2 is in force/);
		skip 'server.listen needs a restart', 1 if $s->log_text =~ /server\.listen needs a restart/;
		awaited { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$other") } 'a reload opens an address';
	}
	my $second = Engram->new(bin => $bin);
	$second->{port} = $port;
	$second->launch;
	wait_until { !$second->running } 'the second to give up';
	is($second->{status} >> 8, 1, 'a busy port ends the start');
	like($second->log_text, qr/127\.0\.0\.1:$port: the address is in use/, '... with its name');
	$s->stop_ok;
}

# ---- heartbeat, pauses, patience ----
{
	my $s = server(settings => { 'server.heartbeat_seconds' => 1 });
	my ($worker) = $s->pids('worker');
	CORE::kill(USR2 => $worker);
	logged($s, qr/worker process $worker does not beat any more: it is killed/);
	awaited { my ($w) = $s->pids('worker'); $w && $w != $worker } 'a mute worker is replaced';

	touch($s, 'die');
	$s->kill(KILL => 'worker');
	logged($s, qr/worker process: 6 deaths in a row before it was ready; the next try is in 200 ms/);
	like($s->log_text, qr/5 deaths in a row before it was ready; the next try is in 100 ms/, 'five deaths are free');
	unlike($s->log_text, qr/: 4 deaths in a row/, '... the first four without a pause');
	unlink $s->dir . '/die';
	awaited { ($s->get('/')->{status} // 0) == 200 } 'it comes back when the cause is gone';

	$s->set('server.drain_timeout_seconds' => 1);
	CORE::kill(HUP => $s->pid);
	logged($s, qr/ready: configuration generation 2/);
	touch($s, 'stubborn');
	CORE::kill(WINCH => $s->pid);
	logged($s, qr/did not leave in time: it is killed/);
	awaited { $s->pids('worker') == 0 } 'WINCH ends the workers';
	ok($s->pids('wal') && $s->pids('consolidation'), '... and nobody else');
	unlink $s->dir . '/stubborn';
	CORE::kill(HUP => $s->pid);
	awaited { $s->pids('worker') == 1 } 'a reload brings them back';
	$s->stop_ok('INT');
}

# ---- log files, pid file, verbs ----
{
	my $s = Engram->new(bin => $bin);
	my $log = $s->dir . '/own.log';
	$s->{settings}{'logging.file'} = $log;
	$s->launch;
	$s->await_ready;
	is(Engram::slurp_proc($s->dir . '/pid'), $s->pid . "\n", 'the pid file names the master');
	rename $log, "$log.1" or die $!;
	is((tool($s, '-s', 'reopen'))[0], 0, '-s reopen');
	awaited { (() = Engram::slurp_proc($log) =~ /opened the log anew/g) == 3 } 'USR1 reaches all';
	like(Engram::slurp_proc($log), qr/master process \d+: log files are open anew/, '... and the master');
	like($s->log_text, qr/listening on 127\.0\.0\.1:/, 'listeners are printed');
	my ($status, $said);
	is((tool($s, '-s', 'dance'))[0], 64, 'an unknown verb is a wrong usage');
	($status, $said) = tool($s, '-t');
	is($status, 0, '-t');
	like($said, qr/^configuration file \S+ test is successful$/m, '... says so');
	is((tool($s, '-t', '-g', 'limits.request_seconds=soon'))[0], 1, '-t refuses');
	like((tool($s, '-T', '-g', 'limits.request_seconds=41'))[1], qr/^request_seconds = 41/m, '-T shows what -g sets');
	is((tool($s, '-s', 'stop'))[0], 0, '-s stop');
	awaited { !$s->running } 'it ends';
	ok(!-e $s->dir . '/pid', 'the pid file is gone');
	is((tool($s, '-s', 'stop'))[0], 1, 'no server, no signal');
}

# ---- in the background ----
{
	my $s = Engram->new(bin => $bin);
	$s->{settings}{'logging.file'} = $s->dir . '/own.log';
	$s->set;
	is((tool($s, '-d'))[0], 0, '-d returns when the server stands');
	my $pid = Engram::slurp_proc($s->dir . '/pid') + 0;
	ok($pid > 0, 'its pid file is there by then');
	my ($status, $said) = tool($s, '-d');
	is($status, 75, 'a second one on the same data_dir waits, then gives up');
	like($said, qr/is in use by another server \(master process $pid\)/, '... and says who has it');
	is((tool($s, '-s', 'quit'))[0], 0, '-s quit');
	awaited { !-e "/proc/$pid" || Engram::slurp_proc("/proc/$pid/stat") =~ /\) Z/ } 'it ends';
}

# ---- the master dies ----
{
	my $s = server();
	$s->kill(KILL => 'master');
	awaited { $s->running; !$s->pids } 'children leave when the master dies';
	$s->{status} = 0;
	$s->launch;
	ok($s->await_ready, 'a new one takes over the directory');
	$s->stop_ok;
}

done_testing;
