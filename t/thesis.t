#!/usr/bin/perl
# Every page has one owner. Real workers and the real consolidation process are made
# to try to write the store and the desks of others (t/unit/shm_inject.c): asking the
# kernel for the right is refused, taking it ends the process; the store's digest
# does not change, and whoever is not hit goes on serving.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Digest::SHA ();
use Engram;
use Load;

my $inject = ($ENV{top_builddir} || "$FindBin::Bin/..") . '/t/unit/shm_inject';
plan skip_all => 'engram-server is not built' unless -x Engram::binary();
plan skip_all => 't/unit/shm_inject is not built' unless -x $inject;

# A sanitizer's own handler would hide by what signal a process ended.
my %env = map { $_ => ($ENV{$_} || '') . ':handle_segv=0' } qw(ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS);
my $s = Engram->start(settings => { 'workers.per_node' => 2, 'consolidation.interval_seconds' => 86400 }, env => \%env);

# ---- looking -------------------------------------------------------------------

# What a process has mapped of the store and of desks: ([name, permissions], ...)
sub maps {
	my ($pid) = @_;
	return map { m{ (\S{4}) .*(?:/dev/shm/engram-\w+-|/memfd:engram-)(\S+)} ? [$2, $1] : () } split /\n/, Engram::slurp_proc("/proc/$pid/maps");
}

sub own_desk { my ($pid) = @_; return (grep { $_->[0] =~ /^desk-/ && $_->[1] =~ /w/ } maps($pid))[0][0] }
sub mapped   { my ($pid, $name) = @_; return scalar grep { $_->[0] =~ $name } maps($pid) }

# Digest of each region, as the files are.
sub digest {
	my ($prefix) = Engram::slurp_proc('/proc/' . ($s->pids('wal'))[0] . '/maps') =~ m{(/dev/shm/engram-\w+-)root$}m;
	return { map { $_ => Digest::SHA->new(256)->addfile($_, 'b')->hexdigest } glob "$prefix*" };
}

# Which worker holds the other end of a connection of ours?
sub worker_of {
	my ($sock) = @_;
	my $ends = sprintf '0100007F:%04X 0100007F:%04X', $s->port, $sock->sockport;
	my ($inode) = Engram::slurp_proc('/proc/net/tcp') =~ /^ *\d+: \Q$ends\E(?: +\S+){6} +(\d+)/m;
	for my $pid ($s->pids('worker')) {
		return $pid if grep { (readlink || '') eq "socket:[$inode]" } glob "/proc/$pid/fd/*";
	}
	return 0;
}

# A connection that this worker has accepted; the others that came up are closed.
sub dial_to {
	my ($pid) = @_;
	return wait_until {
		my $sock = Load::dial($s);
		Load::exchange($sock, 'GET', '/health/alive');
		worker_of($sock) == $pid ? $sock : 0;
	} "a connection to worker $pid";
}

sub try_inject {
	my ($pid, @what) = @_;
	open my $in, '-|', $inject, $pid, @what or die "$inject: $!";
	my $said = do { local $/; <$in> };
	close $in;
	return ($? >> 8, $said);
}

sub settled { return wait_until { my @p = @{$s->get('/api/v1/system/introspect')->{json}{processes} || []}; @p == 5 && !grep { $_->{state} ne 'running' } @p } 'five processes run' }

# ---- a store with everything in it ------------------------------------------------

sub fill {
	my @memories = map +{ id => "m$_", content => "memory number $_ tells of rain", tags => ['weather', "t$_"], memory_type => $_ % 2 ? 'episodic' : 'semantic' }, 1 .. 60;
	is($s->post('/api/v1/memories/batch', { memories => \@memories })->{json}{stored}, 60, 'memories by the built-in embedder');
	is($s->post('/api/v1/spaces', { id => 'given' })->{status}, 201, 'a second space');
	is($s->post('/api/v1/memories/remember', { memory_space_id => 'given', id => "g$_", content => "vector $_", embedding => [map { $_ / 24 } 1 .. 24] })->{status}, 201, "memory $_ with a given vector") for 1 .. 2;
	is($s->post('/api/v1/memories/remember', { id => 'm1', content => 'another version' })->{status}, 200, 'a second version');
	is($s->delete('/api/v1/memories/m2')->{status}, 200, 'one deleted');
}

sub listed { return $s->get('/api/v1/memories?limit=100')->{json}{memories} || [] }

# A recall maps vectors, and is noted as an access; wait until the writer has noted it.
sub warm {
	my ($pid, $id) = @_;
	my ($status) = Load::exchange(dial_to($pid), 'POST', '/api/v1/memories/recall', { query => 'rain', max_results => 1, filter => { tags_all => ["t$id"] } });
	is($status, 200, "worker $pid recalls");
	wait_until { (grep { $_->{id} eq "m$id" } @{listed()})[0]{last_access} } 'the access is noted';
	return mapped($pid, qr/^vec\./);
}

fill();
my ($status, $said) = try_inject(($s->pids('consolidation'))[0], 'maps');
if ($status == 77) {
	$s->end;
	plan skip_all => "t/unit/shm_inject: $said";
}
my %id = do { my $n = 10; map { $_ => $n++ } $s->pids('worker') };
ok(warm($_, $id{$_}), '... and has mapped vectors') for sort keys %id;

my $before = digest();
my $unchanged = sub { is_deeply(digest(), $before, '... and the store is what it was') };
ok(keys %$before >= 8, scalar(keys %$before) . ' regions');

# ---- asking for the right -----------------------------------------------------------

is_deeply([grep { $_->[0] !~ /^desk-/ } maps($s->pid)], [], 'the master maps nothing of the store');

sub refused {
	my ($kind, $pid, @regions) = @_;
	my $own = own_desk($pid);
	my ($status, $said) = try_inject($pid, 'maps');
	is($status, 0, "$kind: all maps tried") or diag($said);
	my @maps = $said =~ /^map (\S+) \S+ mprotect \S+$/mg;
	my @allowed = $said =~ /^map (\S+) \S+ mprotect (?!EACCES)/mg;
	my $store = $kind eq 'wal' ? qr/^desk-/ : qr/./;
	is_deeply([grep { $_ =~ $store } @allowed], [$own], "$kind: only its own desk may be written, of " . @maps . ' maps');
	for my $name (@regions, 'desk-0', 'desk-1') {
		ok(scalar(grep { /^\Q$name\E(\.\d+)?$/ } @maps), "$kind: $name is among them");
	}
	my @open = $said =~ /^fd \d+ (\S*engram-(?:desk|\w+-(?:root|space|slot|heap|node|vec))\S*)/mg;
	is_deeply(\@open, [], "$kind: no descriptor of the store or of a desk is open");
	my @files = $said =~ /^fd \d+ (\S+) .*mmap allowed$/mg;
	is_deeply([grep { m{^/dev/shm|^/memfd} } @files], [], "$kind: no descriptor gives a writable map of shared memory");
	is(Engram::kind_of($pid), $kind, "$kind: it lives on");
	$unchanged->();
}

my %regions = (worker => [qw(root space slot heap node vec)], consolidation => [qw(root space slot heap)], wal => []);
for my $kind (sort keys %regions) {
	refused($kind, $_, @{$regions{$kind}}) for $s->pids($kind);
}
settled();
is($s->post('/api/v1/memories/recall', { query => 'number', filter => { tags_all => ['none'] } })->{status}, 200, 'and they still serve');

# ---- taking it ------------------------------------------------------------------------

# Reads that no access is noted for.
sub quiet {
	my ($c, $n) = @_;
	return ('GET', '/api/v1/memories?limit=5', undef, 200) if $n % 3 == 0;
	return ('POST', '/api/v1/memories/recall', { query => 'rain', filter => { tags_all => ['none'] } }, 200) if $n % 3 == 1;
	return ('GET', '/api/v1/spaces', undef, 200);
}

sub wild_store {
	my ($kind, $pid, $name) = @_;
	my ($witness) = grep { $_ != $pid } $s->pids('worker');
	my $load = Load->start($s, ask => \&quiet, sock => dial_to($witness));
	my ($status, $said) = try_inject($pid, 'store', $name);
	is($said, "store $name SIGSEGV SEGV_ACCERR\n", "$kind: a store to $name is a fault there");
	wait_until { !-e "/proc/$pid" } '... the process is gone';
	like($s->log_text, qr/process $pid \(desk \d+\) was ended by signal 11/, '... ended by it') if wait_until { $s->log_text =~ /process $pid .*was ended.*\n/ } 'the master says so';
	$unchanged->();
	settled();
	my $sum = $load->stop;
	is(join("\n", @{$sum->{faults}}), '', "... a worker beside it failed none of $sum->{requests} requests");
	is($sum->{closes}, 0, '... on the connection it had');
	is($s->get('/health/ready')->{status}, 200, '... and the server is ready');
}

# One name after the other; the first two find workers that have mapped vectors.
for my $name (qr/^vec\./, qr/^node\./, qw(root space slot heap desk-0 desk-1 other)) {
	for my $kind ('worker', ref $name ? () : 'consolidation') {
		my ($pid) = ref $name ? grep { mapped($_, $name) } $s->pids($kind) : $s->pids($kind);
		my ($other) = grep { $_ != $pid } $s->pids('worker');
		my ($target) = ref $name ? map { $_->[0] } grep { $_->[0] =~ $name } maps($pid) : $name eq 'other' ? own_desk($other) : $name;
		wild_store($kind, $pid, $target);
	}
}

is($s->get('/api/v1/system/introspect')->{json}{counts}{total}, 61, 'every memory is there');
is($s->post('/api/v1/memories/remember', { content => 'after all that' })->{status}, 201, 'and more can be stored');
$s->stop_ok;

done_testing;
