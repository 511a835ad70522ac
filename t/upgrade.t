#!/usr/bin/perl
# USR2 under load: upgrades in a row, every second one to a program with another
# layout of shared memory or back. No request fails, nothing acknowledged is lost,
# the pid file names who serves, nobody and nothing is left. And what does not
# start leaves the old server as it was.
#
# ENGRAM_UPGRADES: how many in a row.
use strict;
use warnings;
use Test::More;
use File::Copy ();
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time sleep);
use Engram;

my $top = $ENV{top_builddir} || '.';
my $upgrades = $ENV{ENGRAM_UPGRADES} || 3;
my $clients = 4;
my $base = '/api/v1/memories';
my $json = JSON::PP->new->utf8;

# The program that USR2 starts: argv[0], renamed into place as a package does.
sub install {
	my ($to, $from) = @_;
	File::Copy::copy($from, "$to.new") or die "$from: $!";
	chmod 0755, "$to.new";
	rename "$to.new", $to or die "$to: $!";
}

# A client in a process of its own: stores and recalls on one kept connection until
# `stop` is there, then writes what it was told. POST is never sent twice
# by HTTP::Tiny, so each failure shows.
sub client {
	my ($s, $n) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $http = HTTP::Tiny->new(timeout => 60, keep_alive => 1);
	my (@stored, @failed);
	my $slowest = 0;
	until (-e $s->dir . '/stop') {
		my $id = "c$n-" . @stored;
		my %ask = ("$base/remember" => { id => $id, content => "client $n says number $id" },
			"$base/recall" => { query => "client $n", max_results => 1 });
		for my $path ("$base/remember", "$base/recall") {
			my $began = time;
			my $a = $http->post($s->url . $path, { content => $json->encode($ask{$path}),
				headers => { 'Content-Type' => 'application/json' } });
			my $took = time - $began;
			$slowest = $took if $took > $slowest;
			push @stored, $id if $a->{status} == 201;
			push @failed, "$path: $a->{status} $a->{content}" if $a->{status} !~ /^20[01]$/;
		}
		last if @failed > 5;
	}
	open my $out, '>', $s->dir . "/client.$n" or die $!;
	print $out $json->encode({ stored => \@stored, failed => \@failed, slowest => $slowest });
	close $out;
	POSIX::_exit(0);
}

sub results {
	my ($s, @pids) = @_;
	open my $stop, '>', $s->dir . '/stop' or die $!;
	close $stop;
	waitpid $_, 0 for @pids;
	return map { $json->decode(Engram::slurp_proc($s->dir . "/client.$_")) } 1 .. @pids;
}

# ---- upgrades in a row, under load ----
{
	my $s = Engram->new;
	my $bin = $s->dir . '/engram-server';
	install($bin, Engram::binary());
	$s->{bin} = $bin;
	$s->{settings}{'logging.level'} = 'info';
	$s->launch;
	$s->await_ready;
	my $stored = sub { ($s->get("$base/c1-0")->{status} // 0) == 200 };
	my @pids = map { client($s, $_) } 1 .. $clients;
	wait_until(\&$stored, 'the first store');
	my ($wrong, $took) = ('', 0);
	for my $n (1 .. $upgrades) {
		# same, other, other, same: half of the upgrades change the layout
		install($bin, (int($n / 2) % 2 ? "$top/t/engram_other" : Engram::binary()));
		my $began = time;
		$wrong = $s->upgrade;
		$took += time - $began;
		last if $wrong;
		sleep 0.2;
	}
	is($wrong, '', "$upgrades upgrades in a row");
	my @r = results($s, @pids);
	my @failed = map { @{$_->{failed}} } @r;
	is(scalar @failed, 0, 'no request failed') or diag join "\n", @failed[0 .. ($#failed < 5 ? $#failed : 5)];
	my @stored = map { @{$_->{stored}} } @r;
	my @lost = grep { $s->get("$base/$_")->{status} != 200 } @stored;
	is("@lost", '', 'nothing that was acknowledged is lost');
	my ($slowest) = sort { $b <=> $a } map { $_->{slowest} } @r;
	note sprintf '%d stores acknowledged; slowest request %.0f ms; an upgrade takes %.2f s',
		scalar @stored, 1000 * $slowest, $took / $upgrades;
	my $kept = () = $s->log_text =~ /\(shared memory kept\)/g;
	my $anew = () = $s->log_text =~ /another layout: the store is built anew/g;
	cmp_ok($anew, '>=', int($upgrades / 2), 'another layout is read from the log, and said so');
	cmp_ok($kept, '>=', int($upgrades / 3), 'the same layout is taken over');
	is($s->pids('master'), 1, 'one master');
	is($s->pids('wal'), 1, 'one writer');
	$s->stop_ok('QUIT');
	ok(!-e $s->dir . '/pid', 'no pid file is left');
}

# ---- another layout, when the log alone would not do ----
{
	my $other = "$top/t/engram_other";
	my $s = Engram->new(settings => { 'wal.segment_size_mb' => 1, 'wal.checkpoint_replay_seconds' => 3600 });
	my $bin = $s->dir . '/engram-server';
	install($bin, Engram::binary());
	$s->{bin} = $bin;
	$s->{settings}{'logging.level'} = 'info';
	$s->launch;
	$s->await_ready;
	my $fill = sub {
		my ($space, $from, $n, $more) = @_;
		my @memories = map { { id => "m$_", content => "number $_ of $space" . ' and more' x $more } } $from .. $from + $n - 1;
		$s->post("$base/batch", { memories => \@memories }, { 'X-Memory-Space' => $space })->{json}{stored} // 0;
	};
	my $checkpoint = sub { $s->post('/api/v1/admin/checkpoint')->{status} };
	# All that is said of each memory (but when it was looked at), and what a search finds.
	my $content = sub {
		my %all = map { my $r = $s->get("$base/m$_", { 'X-Memory-Space' => 'keep' }); $_ => "$r->{status} " . $r->{content} =~ s/"last_access":[^,]*,//r } 1 .. 300;
		my $found = $s->post("$base/recall", { query => 'number 77 of keep', max_results => 5 }, { 'X-Memory-Space' => 'keep' })->{json};
		$all{found} = join ' ', map { $_->{id} // $_->{memory}{id} // '?' } @{$found->{vivid} // $found->{results} // []};
		$all{total} = $s->get('/api/v1/system/introspect')->{json}{counts}{total};
		return \%all;
	};
	is($fill->(gone => 1000 * $_, 1000, 60), 1000, "batch $_") for 1 .. 3;
	is($s->delete('/api/v1/spaces/gone')->{status}, 200, '... which goes');
	is($fill->(keep => 1, 300, 1), 300, 'what stays');
	is($s->delete("$base/m$_", { 'X-Memory-Space' => 'keep' })->{status} =~ /^20/ ? 1 : 0, 1, "m$_ is deleted") for 5, 250;
	is($checkpoint->(), 200, 'a checkpoint') for 1 .. 2;
	wait_until { !-e $s->data_dir . '/wal/0000000000000001.log' } 'the oldest segment is gone';
	is($fill->(keep => 400, 20, 1), 20, 'and a tail behind the checkpoint');
	my $before = $content->();
	for my $to ($other, Engram::binary(), $other) {
		install($bin, $to);
		is($s->upgrade, '', 'USR2 to another layout');
		is_deeply($content->(), $before, '... holds the same');
	}
	my $placed = () = $s->log_text =~ /is of another layout of shared memory: each memory got a new place/g;
	cmp_ok($placed, '>=', 2, 'loaded from the checkpoint of the other build');
	is($fill->(keep => 500, 50, 1), 50, 'it takes stores');
	is($s->delete("$base/m7", { 'X-Memory-Space' => 'keep' })->{status} =~ /^20/ ? 1 : 0, 1, '... and deletions');
	$before = $content->();
	is($checkpoint->(), 200, '... and a checkpoint of its own');
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	for my $to (Engram::binary(), Engram::binary(), $other) {
		install($bin, $to);
		$s->launch;
		is($s->await_ready, 1, 'a cold start');
		is_deeply($content->(), $before, '... holds the same');
		is(join("\n", $s->end('QUIT')), '', 'QUIT');
	}
	$s->launch;
	$s->await_ready;
	$s->stop_ok;
}

# ---- what does not start ----
{
	my $s = Engram->new;
	my $bin = $s->dir . '/engram-server';
	install($bin, Engram::binary());
	$s->{bin} = $bin;
	$s->launch;
	$s->await_ready;
	is($s->post("$base/remember", { id => 'a', content => 'here' })->{status}, 201, 'stored');
	my ($wal) = $s->pids('wal');
	my $failed = sub { my ($n) = @_; wait_until { (() = $s->log_text =~ /it has failed; this server goes on/g) >= $n } 'the failure' };

	install($bin, '/bin/false');
	CORE::kill(USR2 => $s->pid);
	$failed->(1);
	is(($s->pids('wal'))[0], $wal, 'a program that ends at once changes nothing');
	unlink $bin;
	CORE::kill(USR2 => $s->pid);
	$failed->(2);
	is(($s->pids('wal'))[0], $wal, 'nor does one that is not there');
	install($bin, Engram::binary());
	$s->set('limits.request_seconds' => 'soon');
	CORE::kill(USR2 => $s->pid);
	$failed->(3);
	is(($s->pids('wal'))[0], $wal, 'nor a wrong configuration');
	is(Engram::slurp_proc($s->dir . '/pid') + 0, $s->pid, 'the pid file names the old master');
	is($s->get("$base/a")->{status}, 200, '... which serves');
	$s->set('limits.request_seconds' => 30);

	# Killed after it was given the data: the old family takes it back.
	CORE::kill(USR2 => $s->pid);
	my $new = wait_until { (($s->log_text =~ /is started as process (\d+)/g)[3]) } 'a new master';
	wait_until { $s->log_text =~ /the new master $new is prepared; this family leaves/ } 'it is prepared';
	CORE::kill(STOP => $new);
	wait_until { $s->log_text =~ /the data is the new master's/ } 'the hand-over';
	CORE::kill(KILL => $new);
	$failed->(4);
	wait_until { $s->get("$base/a")->{status} == 200 } 'the old family';
	is($s->get("$base/a")->{status}, 200, 'killed when it had been given the data: the old family serves again');
	is(Engram::slurp_proc($s->dir . '/pid') + 0, $s->pid, '... and its master has the pid file');
	$s->stop_ok;
}

done_testing;
