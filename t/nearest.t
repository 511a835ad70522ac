#!/usr/bin/perl
# Recall through a space's vector graph is recall by looking at all memories, but for the time: the same
# memories in the same order (a budget of visits has all looked at), with filters of any
# selectivity, a threshold, several cues; what was stored, changed or deleted just now
# counts at once. Which way it went is in the metrics.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use List::Util qw(sum);
use Test::More;

use constant { N => 6000, DIM => 32, CLUSTERS => 60, ASKED => 40, ALL => 1_000_000 };

my $s = Engram->start(settings => { 'embedding.provider' => 'none', 'hnsw_index.exact_below' => 1000,
	'hnsw_index.ef_search' => 64, 'workers.per_node' => 1 });
srand 11;
my @centres = map { [map { rand() - 0.5 } 1 .. DIM] } 1 .. CLUSTERS;

sub near { my ($c) = @_; return [map { $_ + (rand() - 0.5) / 4 } @{ $centres[$c % CLUSTERS] }] }
sub recall {
	my ($vector, %more) = @_;
	my $r = $s->post('/api/v1/memories/recall', { embedding => $vector, max_results => 10, %more });
	die "recall: $r->{status} $r->{content}" unless $r->{status} == 200;
	return $r->{json}{results};
}
sub ids { return map { $_->{id} } @{ $_[0] } }
sub by_all { my ($vector, %more) = @_; return recall($vector, %more, budget => { visits => ALL }) }
sub ways { return { map { $_ => $s->metric('engram_recall_candidates_total', from => $_) // 0 } qw(graph all graph_then_all) } }

# How many of those that looking at all finds the graph finds too, over many questions.
sub agreement {
	my (%more) = @_;
	my ($found, $wanted) = (0, 0);
	for (1 .. ASKED) {
		my $v = near($_);
		my %seen = map { $_ => 1 } ids(recall($v, %more));
		my @all = ids(by_all($v, %more));
		$wanted += @all;
		$found += grep { $seen{$_} } @all;
	}
	return ($found / $wanted, $wanted);
}

for (my $at = 0; $at < N; $at += 1000) {
	my @memories = map { { id => "m$_", content => "number $_", embedding => near($_ * 7),
		tags => [$_ % 2 ? 'odd' : 'even', $_ % 100 == 0 ? 'rare' : 'common', $_ % 1500 == 0 ? 'single' : 'many'],
		confidence => 0.2 + 0.7 * ($_ % 10) / 10 } } $at .. $at + 999;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	is($r->{json}{stored}, 1000, "stored from $at on");
}
ok(wait_until { my $g = $s->get('/api/v1/system/introspect')->{json}{graphs}; $g->{ready} == 1 && $g->{unlinked} == 0 },
	'there is a graph');

my $before = ways();
my ($share) = agreement();
cmp_ok($share, '>=', 0.97, 'what all memories give, the graph gives');
my $after = ways();
is($after->{graph} - $before->{graph}, ASKED, 'it was the graph');
is($after->{all} - $before->{all}, ASKED, 'and all of them with a budget of visits');

# The same numbers come with them.
my $v = near(5);
my %all = map { $_->{id} => $_ } @{ by_all($v) };
for my $hit (grep { $all{ $_->{id} } } @{ recall($v) }) {
	my $other = $all{ $hit->{id} };
	cmp_ok(abs($hit->{similarity_score} - $other->{similarity_score}), '<', 1e-5, "$hit->{id}: the same similarity");
	cmp_ok(abs($hit->{score} - $other->{score}), '<', 0.02, 'and about the same score');
}

# Filters: never fewer than there are.
my %selectivity = (odd => N / 2, rare => N / 100, single => N / 1500);
for my $tag (sort keys %selectivity) {
	my ($share, $wanted) = agreement(filter => { tags_any => [$tag] });
	is($wanted, ASKED * ($selectivity{$tag} < 10 ? $selectivity{$tag} : 10), "$tag: as many as there are");
	cmp_ok($share, '>=', 0.97, "$tag: the same ones");
}
cmp_ok(ways()->{graph_then_all}, '>', 0, 'for the rarest all were looked at in the end');
my ($all_of) = agreement(filter => { min_confidence => 0.8 });
cmp_ok($all_of, '>=', 0.97, 'with a confidence');

# A threshold ends the search: what is below it is not looked for.
$before = ways();
($share) = agreement(threshold => 0.6);
cmp_ok($share, '>=', 0.97, 'with a threshold');
is(ways()->{graph_then_all}, $before->{graph_then_all}, 'which needs no look at all');

# Several cues.
my ($one, $two) = (near(3), near(31));
my @cues = map { { embedding => $_ } } $one, $two;
my $r = $s->post('/api/v1/memories/recall', { cues => \@cues, max_results => 10 });
my $q = $s->post('/api/v1/memories/recall', { cues => \@cues, max_results => 10, budget => { visits => ALL } });
is($_->{status}, 200, 'cues') for $r, $q;
my %of_all = map { $_ => 1 } ids($q->{json}{results});
cmp_ok(scalar(grep { $of_all{$_} } ids($r->{json}{results})), '>=', 7, 'two cues: much the same');

# At once: stored, changed, deleted.
my $new = [map { rand() - 0.5 } 1 .. DIM];
is($s->post('/api/v1/memories/remember', { id => 'new', content => 'new', embedding => $new })->{status}, 201, 'stored');
is((ids(recall($new)))[0], 'new', 'and found at once');
my $other = [map { rand() - 0.5 } 1 .. DIM];
$s->post('/api/v1/memories/remember', { id => 'new', content => 'newer', embedding => $other });
is((ids(recall($other)))[0], 'new', 'changed, and found by the new vector');
isnt((ids(recall($new)))[0], 'new', 'not by the old one');
is($s->delete('/api/v1/memories/new')->{status}, 200, 'deleted');
ok(!grep({ $_ eq 'new' } ids(recall($other))), 'and not found any more');

# After a change of half of them.
for my $k (0 .. N / 2 - 1) {
	next if $k % 1000;
	my @memories = map { { id => "m$_", content => "changed $_", embedding => near($_ * 11) } } $k .. $k + 999;
	is($s->post('/api/v1/memories/batch', { memories => \@memories })->{json}{stored} // 0, 1000, "changed from $k on");
}
($share) = agreement();
cmp_ok($share, '>=', 0.97, 'after half of them have changed');
$s->stop_ok;
done_testing();
