#!/usr/bin/perl
# A full disk: what is there is read, what is new is refused with 507, nothing that was
# acknowledged is lost and nothing that was refused appears, and stores go on by themselves
# when there is room again. The disk is a small one in memory.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Test::More;
use Time::HiRes 'time';

my $rounds = $ENV{ENGRAM_ROUNDS} || 3;   # make diskfull N=20
my $mounted;
sub unmount { system('umount', '-l', $mounted) if $mounted; undef $mounted }
END { unmount() }

my $s = Engram->new(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none',
	'wal.checkpoint_replay_seconds' => 3600, 'wal.max_segments' => 1000 });
mkdir $s->data_dir, 0700;
system('mount -t tmpfs -o size=24m,mode=0700 tmpfs ' . $s->data_dir . ' 2>/dev/null') == 0
	or plan skip_all => 'a file system cannot be mounted here';
$mounted = $s->data_dir;
my $filler = $s->data_dir . '/filler';

my (%acked, %refused, @took);
my $n = 0;
sub store {
	my $id = 'm' . ++$n;
	my $began = time;
	my $r = $s->post('/api/v1/memories/remember', { id => $id, content => "memory $n " . 'and so on ' x 400 });
	if ($r->{status} == 201) {
		$acked{$id} = 1;
	} else {
		push @took, 1000 * (time - $began);
		$refused{$id} = $r->{status};
	}
	return $r->{status};
}
sub fill_disk {
	open my $out, '>>', $filler or die $!;
	my $piece = 'x' x 65536;
	1 while syswrite $out, $piece;
	close $out;
}
sub reads {
	my ($why) = @_;
	my ($ok, $asked) = (0, 0);
	for my $id ((sort keys %acked)[map { $_ * 7 } 0 .. 20]) {
		next unless $id;
		$asked++;
		$ok++ if $s->get("/api/v1/memories/$id")->{status} == 200;
	}
	is($ok, $asked, "$asked of $asked read $why");
	is($s->post('/api/v1/memories/recall', { query => 'memory and so on' })->{status}, 200, "... recalled $why");
}
# Room again: seconds until the first store is taken.
sub heal {
	my ($why) = @_;
	my $began = time;
	unlink $filler or die $!;
	select undef, undef, undef, 0.02 until store() == 201 || time - $began > 30;
	my $seconds = time - $began;
	cmp_ok($seconds, '<', 30, "stores go on $why");
	diag(sprintf '%s: stores again %.3f s after there was room (wanted: 5)', $why, $seconds);
}

$s->launch;
ok($s->await_ready, 'ready on a small disk');
is(store(), 201, 'a store') for 1 .. 100;
for my $round (1 .. $rounds) {
	fill_disk();
	my $tries = 0;
	store() until keys(%refused) >= 60 * $round || ++$tries > 20000;
	cmp_ok(scalar(keys %refused), '>=', 60 * $round, "round $round: the disk is full");
	reads('with a full disk');
	like($s->get('/health')->{status}, qr/^(200|503)$/, 'health answers');
	if ($round % 3 == 2) {
		my ($old) = $s->kill('KILL', 'wal');
		ok(Engram::wait_until { grep { $_ != $old } $s->pids('wal') }, 'another writer is there');
		reads('after a death of the writer');
	}
	heal("round $round");
}
is(join(' ', sort keys %{{ map { $_ => 1 } values %refused }}), '507', 'each refusal was 507');
@took = sort { $a <=> $b } @took;
diag(sprintf '%d refusals: median %.2f ms, 99 %% %.2f ms, worst %.2f ms (wanted: 10)', scalar @took, $took[@took / 2], $took[@took * .99], $took[-1]);

# Built anew from the log, with nothing of shared memory left.
my ($prefix) = Engram::slurp_proc('/proc/' . ($s->pids('wal'))[0] . '/maps') =~ m{(/dev/shm/engram-\w+-)root$}m;
$s->kill_all;
unlink glob "$prefix*";
$s->launch;
ok($s->await_ready, 'ready after all was killed');
my ($lost, $phantom) = (0, 0);
for my $id (keys %acked) { $lost++ if $s->get("/api/v1/memories/$id")->{status} != 200 }
for my $id (keys %refused) { $phantom++ if $s->get("/api/v1/memories/$id")->{status} == 200 }
is($lost, 0, keys(%acked) . ' acknowledged, none lost');
is($phantom, 0, keys(%refused) . ' refused, none appeared');
is(join("\n", $s->end('QUIT')), '', 'QUIT');
unmount();
done_testing;
