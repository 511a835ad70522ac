#!/usr/bin/perl
# Two copies of the log (wal.mirror_dir): what is damaged or missing in one comes from
# the other at the next start, in either direction, whatever is hit; only damage to both
# in the same place refuses the start.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use File::Path 'remove_tree';
use Test::More;

my $seed = $ENV{ENGRAM_SEED} || int rand 1 << 30;
my $rounds = $ENV{ENGRAM_MIRROR_ROUNDS} || 12;
srand $seed;
diag "seed $seed, $rounds rounds (ENGRAM_SEED, ENGRAM_MIRROR_ROUNDS)";

my $s = Engram->new(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none' });
my @copy = ($s->data_dir, $s->dir . '/mirror');
$s->set('wal.mirror_dir' => \$copy[1]);
$s->launch;
$s->await_ready;
my $total = 0;

sub fill {
	my ($n) = @_;
	my @memories = map { { id => 'm' . ($total + $_), content => "memory number $_ " . 'and more ' x 40 } } 1 .. $n;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	$total += $n if $r->{status} == 200 && $r->{json}{stored} == $n;
	return $r->{status};
}

sub count { return $s->get('/api/v1/memories?limit=1')->{json}{tier_counts}{total} }
sub state { return $s->get('/api/v1/system/introspect')->{json}{wal}{mirror}{state} }
sub clean { return system("'@{[Engram::client()]}' check '$_[0]' >'@{[$s->dir]}/check.out'") == 0 }

sub names { my ($dir) = @_; return join ' ', sort map { s{.*/}{}r } glob "$dir/{wal,warm}/*.log" }

sub status_of_start {
	$s->launch;
	wait_until { !$s->running } 'the server ends by itself';
	return ($s->{status} // -1) >> 8;
}

is(fill(1000), 200, 'a batch') for 1 .. 4;
is(state(), 'whole', 'both copies are whole');
is(names($copy[1]), names($copy[0]), 'the same segments');

subtest 'damage in either copy, at random places' => sub {
	for my $round (1 .. $rounds) {
		$round % 3 ? $s->end('QUIT') : $s->kill_all;
		my $hit = int rand 2;
		my @files = ((glob "$copy[$hit]/{wal,warm}/*.log"), (glob "$copy[$hit]/checkpoints/*"), "$copy[$hit]/SUPERBLOCK");
		my @said;
		for (1 .. 1 + int rand 4) {
			my $path = $files[rand @files];
			my $offset = int rand -s $path;
			flip($path, $offset, 1 << int rand 8);
			push @said, "$path $offset";
		}
		unlink $files[rand @files] if rand() < .3;
		$s->restart;
		is(count(), $total, "round $round: all are there") or diag "@said";
		fill(50);
	}
};

subtest 'loss of a whole copy' => sub {
	for my $hit (0, 1, 1, 0) {
		$hit ? $s->end('QUIT') : $s->kill_all;
		remove_tree($copy[$hit], { keep_root => $hit == 0 });
		$s->restart;
		is(count(), $total, "all are there without " . ($hit ? 'the mirror' : 'the data directory'));
		is(fill(50), 200, 'it goes on');
		is(state(), 'whole', 'and is whole');
	}
	is(join("\n", $s->end('QUIT')), '', 'QUIT');
	ok(clean($_), "$_ is clean") for @copy;
};

subtest 'damage to both copies' => sub {
	my ($name) = map { s{.*/}{}r } sort { -s $b <=> -s $a } glob "$copy[0]/{wal,warm}/*.log";
	flip($_, 8192 + 300) for grep { -e } map { ("$_/wal/$name", "$_/warm/$name") } @copy;
	is(status_of_start(), 65, 'in the same group: refused');
	like($s->log_text, qr/damaged|cannot be read/, 'with the reason');
};

subtest 'a copy of something else' => sub {
	my $other = Engram->start(settings => { 'embedding.provider' => 'none' });
	is(join("\n", $other->end('QUIT')), '', 'another server');
	my $t = Engram->new(settings => { 'wal.mirror_dir' => \$copy[1] }, dir => $other->dir);
	$t->set;
	$t->launch;
	wait_until { !$t->running } 'it ends by itself';
	is(($t->{status} // -1) >> 8, 65, 'refused');
	like($t->log_text, qr/mirror of another data directory/, 'with the reason');
};

done_testing;
