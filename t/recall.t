#!/usr/bin/perl
# Recall over HTTP: words, vectors, both, filters, several cues, thresholds,
# budgets, the text format, and both shapes of the reply.
use strict;
use warnings;
use utf8;
use Test::More;
use Engram;

my $base = '/api/v1/memories';
my $s = Engram->start;

sub recall { my ($body, @headers) = @_; return $s->post("$base/recall", $body, { @headers }) }
sub ids { my ($answer) = @_; return join ' ', map { $_->{id} } @{$answer->{json}{results} || []} }

my @memories = (
	{ id => 'fox', content => 'The quick brown fox jumps over the lazy dog.', tags => ['animal', 'red'], session => 'one' },
	{ id => 'dog', content => 'Dogs bark at night when a stranger comes.', tags => ['animal'], session => 'one', confidence => 0.4 },
	{ id => 'sea', content => 'The sea is deep and cold in winter.', tags => ['water'], memory_type => 'episodic', timestamp => '2020-01-01T00:00:00Z' },
	{ id => 'tea', content => 'Green tea is brewed at seventy degrees.', metadata => { degrees => 70, kind => 'green' }, timestamp => '2021-06-01T00:00:00Z' },
	{ id => 'muc', content => 'München liegt an der Isar.', tags => ['stadt'] },
);
is($s->post("$base/batch", { memories => \@memories })->{json}{stored}, 5, 'stored');

subtest 'words' => sub {
	my $a = recall({ query => 'barking dogs', explain => JSON::PP::true });
	is($a->{status}, 200, 'status 200') or diag $a->{content};
	my @r = @{$a->{json}{results}};
	is($r[0]{id}, 'dog', 'the stem finds it');
	is_deeply([map { $_->{rank} } @r], [1 .. @r], 'ranks');
	for my $hit (@r) {
		ok(abs($hit->{score} - $hit->{explain}{lexical} - $hit->{explain}{vector}) < 1e-5, "the terms of $hit->{id} add up to its score");
	}
	ok($r[0]{match} > $r[-1]{match} && $r[0]{match} <= 1, 'match');
	ok($r[0]{access} > 0.9, 'access of a fresh memory');
	is($r[0]{class}, 'direct', 'class');
	my $m = $a->{json}{metadata};
	is_deeply([@$m{qw(searched visited spread_hops)}], [5, 5, 0], 'searched, visited, hops');
	is(ids(recall({ query => 'MÜNCHEN' })) =~ /^muc/, 1, 'case of other alphabets');
};

subtest 'the same question gives the same answer' => sub {
	is(ids(recall({ query => 'the deep dog' })), ids(recall({ query => 'the deep dog' })), 'twice');
	is(recall({ query => 'the deep dog', mode => 'similarity' })->{json}{results}[0]{score},
		recall({ query => 'the deep dog', mode => 'hybrid' })->{json}{results}[0]{score}, 'hybrid is similarity without associations');
};

subtest 'what is not there yet is refused by name' => sub {
	for ([profile => 'dialogue'], [mode => 'spreading'], [as_of => '2024-01-01T00:00:00Z'], [session => 'one']) {
		my ($field, $value) = @$_;
		my $a = recall({ query => 'dog', $field => $value });
		is($a->{status}, 501, "$field $value: 501");
		is($a->{json}{error}{field}, $field, '... naming it');
	}
	is(recall({ query => 'dog', profile => $_, mode => 'similarity' })->{status}, 200, "similarity with profile $_") for qw(facts dialogue);
	my $a = recall({ embedding => [(0.5) x 1024] });
	is($a->{status}, 409, 'a vector of a client beside those of the server: 409');
	is($a->{json}{error}{field}, 'embedding', '... naming it');
};

subtest 'nothing to find' => sub {
	my $a = $s->get("$base/search?query=xylophone");
	is_deeply($a->{json}{memories}, [], 'search: empty');
	like($a->{json}{reason}, qr/word/, 'with the reason');
	my $t = recall({ query => 'xylophone', threshold => 0.9 });
	is_deeply($t->{json}{results}, [], 'recall above a threshold: empty');
	like($t->{json}{reason}, qr/threshold/, 'with the reason');
	$s->post('/api/v1/spaces', { id => 'empty' });
	like(recall({ query => 'x' }, 'X-Memory-Space' => 'empty')->{json}{reason}, qr/no memory/, 'an empty space says so');
	is(recall({ query => 'x' }, 'X-Memory-Space' => 'nowhere')->{json}{error}{code}, 'SPACE_NOT_FOUND', 'an unknown space is 404');
};

subtest 'filters' => sub {
	my $find = sub { my (%filter) = @_; return join ' ', sort split / /, ids(recall({ query => 'the dog sea tea Isar', filter => \%filter })) };
	is($find->(), 'dog fox muc sea tea', 'without one: all');
	is($find->(tags_all => ['animal', 'red']), 'fox', 'tags_all');
	is($find->(tags_any => ['red', 'water']), 'fox sea', 'tags_any');
	is($find->(tags_none => ['animal']), 'muc sea tea', 'tags_none');
	is($find->(types => ['episodic']), 'sea', 'types');
	is($find->(session => 'one'), 'dog fox', 'session');
	is($find->(from_time => '2020-06-01T00:00:00Z', to_time => '2022-01-01T00:00:00Z'), 'tea', 'event time');
	is($find->(min_confidence => 0.5), 'fox muc sea tea', 'min_confidence');
	is($find->(metadata => { kind => 'green' }), 'tea', 'metadata, text');
	is($find->(metadata => { degrees => 70 }), 'tea', 'metadata, number');
	is($find->(metadata => { degrees => 71 }), '', 'metadata, another number');
	is($find->(tags_any => ['animal'], session => 'one', min_confidence => 0.5), 'fox', 'several at once');
};

subtest 'cues' => sub {
	is(ids(recall({ cues => [{ query => 'tea', weight => 3 }, { query => 'sea' }], max_results => 2 })), 'tea sea', 'weights order them');
	is(ids(recall({ cues => [{ query => 'tea' }, { query => 'sea', weight => 3 }], max_results => 2 })), 'sea tea', 'the other way');
	is(recall({})->{status}, 400, 'no cue at all');
	is(recall({ query => ' ' })->{status}, 400, 'a blank one');
	is(ids(recall({ query => 'tea', max_results => 1 })), 'tea', 'max_results');
};

subtest 'client vectors' => sub {
	my @space = ('X-Memory-Space' => 'vectors');
	$s->post("$base/batch", { memories => [
		{ id => 'x', content => 'first axis', embedding => [1, 0, 0] }, { id => 'y', content => 'second axis', embedding => [0, 1, 0] },
		{ id => 'xy', content => 'between them', embedding => [1, 1, 0] }, { id => 't', content => 'a text without a vector' } ] }, { @space });
	my $a = recall({ embedding => [0.9, 0.1, 0] }, @space);
	is(ids($a), 'x xy y', 'by cosine; the text alone is no candidate');
	ok(abs($a->{json}{results}[0]{similarity_score} - 0.99388) < 1e-4, 'similarity_score is the cosine');
	is(ids(recall({ query => 'text' }, @space)), 't', 'words without a vector');
	is(ids(recall({ query => 'text', embedding => [0, 1, 0], max_results => 2 }, @space)), 't y', 'both arms');
	is(recall({ embedding => [1, 2] }, @space)->{json}{error}{code}, 'DIMENSION_MISMATCH', 'another length');
	like(recall({ embedding => [1, 2] }, @space)->{content}, qr/embedding/, 'names embedding');
	my $e = recall({ embedding => [0, 1, 0], max_results => 1, include_embeddings => JSON::PP::true }, @space)->{json}{results}[0];
	is_deeply($e->{embedding}, [0, 1, 0], 'include_embeddings');
};

subtest 'weights of a space' => sub {
	for my $case (['words', 1, 0, 'w'], ['vectors', 0, 1, 'v']) {
		my ($name, $lexical, $vector, $first) = @$case;
		my @space = ('X-Memory-Space' => "by-$name");
		is($s->post('/api/v1/spaces', { id => "by-$name", dimension => 2, lexical_weight => $lexical, vector_weight => $vector })->{status}, 201, "space by $name");
		$s->post("$base/batch", { memories => [{ id => 'w', content => 'needle', embedding => [1, 0] },
			{ id => 'v', content => 'haystack', embedding => [0, 1] }] }, { @space });
		is(ids(recall({ query => 'needle', embedding => [0, 1], max_results => 1 }, @space)), $first, "$name decide");
	}
};

subtest 'text' => sub {
	my $text = recall({ query => 'tea sea', format => 'text', max_tokens => 12 })->{json}{text};
	like($text, qr/^\[(tea|sea)\] /, 'with its citation');
	is(scalar(() = $text =~ /^\[/mg), 1, 'only what fits');
	like(recall({ query => 'tea', format => 'text' })->{json}{text}, qr/\Q[tea] Green tea is brewed at seventy degrees.\E\n/, 'all of it');
	is(recall({ query => 'tea', max_tokens => 5 })->{status}, 400, 'max_tokens without format text is refused');
};

subtest 'budget' => sub {
	my $m = recall({ query => 'the', budget => { visits => 2 } })->{json}{metadata};
	is_deeply([$m->{visited}, $m->{truncated}], [2, JSON::PP::true], 'visits cut it short, and it says so');
	is(recall({ query => 'tea', budget => { time_ms => 0 } })->{status}, 400, 'no time at all is no budget');
};

subtest 'GET' => sub {
	my $j = $s->get("$base/recall?query=green+tea&max_results=2&explain=true")->{json};
	is($j->{memories}{vivid}[0]{id}, 'tea', 'vivid');
	is_deeply([$j->{memories}{associated}, $j->{memories}{reconstructed}], [[], []], 'the other groups');
	ok($j->{memories}{vivid}[0]{explain}, 'explain');
	is($s->get("$base/recall?query=dog&tags_all=red,animal")->{json}{memories}{vivid}[0]{id}, 'fox', 'tags separated by commas');
	is($s->get("$base/recall?query=x&nonsense=1")->{status}, 400, 'an unknown parameter');
	is($s->get("$base/recall?query=x&query=y")->{status}, 400, 'a parameter given twice');
	is($s->get("$base/recall?embedding=%5B1,")->{status}, 400, 'a broken vector');
	is($s->get("$base/search?query=tea&limit=1")->{json}{memories}[0]{id}, 'tea', 'search');
};

subtest 'what comes later is refused by name' => sub {
	for my $case ([as_of => '2024-01-01T00:00:00Z'], [session => 's'], [mode => 'spreading']) {
		my $a = recall({ query => 'tea', @$case });
		ok($a->{status} == 501 && $a->{json}{error}{field} eq $case->[0], $case->[0]) or diag $a->{content};
	}
};

$s->stop_ok;
done_testing;
