#!/usr/bin/perl
# Graphs of a running server: made when a space has enough vectors, kept through stores,
# deletions and the deaths of the writer, made anew when shared memory is gone or cannot be
# trusted, and gone when the space has shrunk. What waits is seen in metrics and status.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Test::More;

my $s = Engram->start(settings => { 'embedding.provider' => 'none', 'hnsw_index.exact_below' => 300,
	'workers.per_node' => 1 });
my $next = 0;

srand 7;
sub vector { return [map { rand() - 0.5 } 1 .. 24] }

sub store {
	my ($n) = @_;
	my @memories = map { { id => "m$_", content => "number $_", embedding => vector() } } $next .. $next + $n - 1;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	$next += $n if $r->{status} == 200;
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}

sub graphs { return $s->get('/api/v1/system/introspect')->{json}{graphs} }
sub await_indexed {
	my ($n, $what) = @_;
	return ok(wait_until { my $g = graphs(); $g && $g->{ready} == 1 && $g->{indexed} == $n && $g->{unlinked} == 0 }, $what) || diag explain graphs();
}
sub wal { return ($s->pids('wal'))[0] }

is(store(299), 299, 'vectors, one too few');
is_deeply(graphs(), { building => 0, catching => 0, ready => 0, indexed => 0, unlinked => 0 }, 'no graph');
is(store(1), 1, 'one more');
await_indexed(300, 'a graph');
is(store(200), 200, 'more of them');
await_indexed(500, 'all of them are linked');
ok(wait_until { ($s->metric('engram_hnsw_indexed_nodes') // 0) == 500 }, 'the metric says it');
is($s->metric('engram_hnsw_graphs', state => 'ready'), 1, 'and that there is a graph');
cmp_ok($s->metric('engram_hnsw_links_written_total'), '>', 5000, 'and how many links were written');
my ($exit, $said) = $s->client_run('status');
like($said, qr/^ *graphs .*ready 1/m, 'status shows it') or diag $said;

for my $signal (qw(KILL SEGV)) {
	my ($old) = $s->kill($signal, 'wal');
	ok(wait_until { my $new = wal(); $new && $new != $old }, "another writer after $signal");
	is(wait_until { store(50) }, 50, 'it takes vectors');
	await_indexed($next, 'all are linked');
}
like($s->log_text, qr/graphs are built anew/, 'after SEGV from the beginning');

my ($prefix) = Engram::slurp_proc('/proc/' . wal() . '/maps') =~ m{(/dev/shm/engram-\w+-)root$}m;
$s->kill_all;
unlink glob "$prefix*";
$s->launch;
$s->await_ready;
await_indexed($next, 'built anew when shared memory is gone');

$s->delete("/api/v1/memories/m$_") for 0 .. 149;
ok(wait_until { ($s->metric('engram_hnsw_sweeps_total') // 0) > 0 }, 'deleted ones are swept out');
$s->delete("/api/v1/memories/m$_") for 150 .. $next - 150;
ok(wait_until { graphs()->{ready} == 0 }, 'no graph for so few');
is($s->metric('engram_hnsw_graphs_dropped_total'), 1, 'it was dropped, and counted');
$s->stop_ok;
done_testing();
