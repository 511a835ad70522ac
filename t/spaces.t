#!/usr/bin/perl
# Memory spaces over HTTP: make, name, list, count, keep apart, delete, quotas.
use strict;
use warnings;
use Test::More;
use Engram;

my $base = '/api/v1/memories';
my $s = Engram->start;

sub space { my ($body) = @_; return $s->post('/api/v1/spaces', $body) }
sub remember { my ($space, $body) = @_; return $s->post("$base/remember", $body, { 'X-Memory-Space' => $space }) }

subtest 'make' => sub {
	my $a = space({ id => 'lab', dimension => 3, profile => 'dialogue', lexical_weight => 0.5, vector_weight => 0.5, quota => { memories => 3 } });
	is($a->{status}, 201, 'a new one gives 201') or diag $a->{content};
	is_deeply([@{$a->{json}}{qw(id dimension profile vector_source lexical_weight)}], ['lab', 3, 'dialogue', 'client', 0.5], 'settings');
	like($a->{json}{created_at}, qr/^20\d\d-/, 'created_at');
	is(space({ id => 'lab', dimension => 3, profile => 'dialogue', lexical_weight => 0.5, vector_weight => 0.5, quota => { memories => 3 } })->{status}, 200, 'the same again: 200');
	is(space({ id => 'lab', dimension => 4 })->{json}{error}{code}, 'CONFLICT', 'another dimension: 409');
	is(remember('lab', { content => 'x', embedding => [1, 2] })->{json}{error}{code}, 'DIMENSION_MISMATCH', 'its dimension holds');
	for my $id ('..', 'a/b', 'Upper', 'a' x 64, '-a', 'a b', '') {
		my $bad = space({ id => $id });
		ok($bad->{status} == 400 && $bad->{content} =~ /"field":"id"/, "id '$id' is refused") or diag $bad->{content};
	}
	is(space({})->{status}, 400, 'no id');
	is(space({ id => 'zero', lexical_weight => 0, vector_weight => 0 })->{status}, 400, 'weights of 0 and 0');
};

subtest 'naming' => sub {
	my $post = sub { my ($query, $headers, $body) = @_; return $s->post("$base/remember$query", { content => 'a', %{$body || {}} }, $headers) };
	is($post->('?space=one', { 'X-Memory-Space' => 'one', 'X-Memory-Space-Id' => 'one', 'X-Engram-Memory-Space' => 'one' }, { memory_space_id => 'one' })->{status}, 201, 'four times the same');
	like($post->('?space=one', { 'X-Memory-Space' => 'two' })->{content}, qr/BAD_REQUEST.*space/, 'header and query differ');
	like($post->('', { 'X-Memory-Space' => 'two' }, { memory_space_id => 'one' })->{content}, qr/BAD_REQUEST.*space/, 'header and body differ');
	like($post->('', { 'X-Memory-Space' => 'two', 'X-Memory-Space-Id' => 'one' })->{content}, qr/BAD_REQUEST.*space/, 'two headers differ');
	is($post->('', { 'X-Memory-Space' => 'No' })->{status}, 400, 'an invalid one');
	ok(!(grep { $_->{id} eq 'two' } @{$s->get('/api/v1/spaces')->{json}{spaces}}), 'a refused request makes no space');
};

subtest 'apart' => sub {
	remember('red', { id => 'same', content => 'an apple' });
	remember('blue', { id => 'same', content => 'the sky' });
	is($s->get("$base/same?space=red")->{json}{content}, 'an apple', 'the same id in one');
	is($s->get("$base/same?space=blue")->{json}{content}, 'the sky', 'and in the other');
	is_deeply($s->get("$base/search?query=apple&space=blue")->{json}{memories}, [], 'nothing shines through');
	my $stats = $s->get('/api/v1/spaces/red/stats')->{json};
	is_deeply([@$stats{qw(id memories vector_source)}, $stats->{tier_counts}{total}], ['red', 1, 'builtin', 1], 'stats');
	ok((grep { $_->{id} eq 'red' } @{$s->get('/api/v1/spaces')->{json}{spaces}}), 'listed');
};

subtest 'unknown' => sub {
	is($s->get("$base/x?space=nowhere")->{json}{error}{code}, 'SPACE_NOT_FOUND', 'read');
	is($s->get("$base?space=nowhere")->{json}{error}{code}, 'SPACE_NOT_FOUND', 'list');
	is($s->get('/api/v1/spaces/nowhere/stats')->{json}{error}{code}, 'SPACE_NOT_FOUND', 'stats');
	is($s->delete('/api/v1/spaces/nowhere')->{json}{error}{code}, 'SPACE_NOT_FOUND', 'delete');
	is($s->get('/api/v1/spaces/No/stats')->{status}, 400, 'an invalid name');
};

subtest 'quota' => sub {
	is(remember('lab', { id => "q$_", content => "memory $_" })->{status}, 201, "$_ of 3") for 1 .. 3;
	my $a = remember('lab', { id => 'q4', content => 'one too many' });
	is_deeply([$a->{status}, $a->{json}{error}{code}], [429, 'QUOTA_EXCEEDED'], 'the fourth is refused');
	ok($a->{headers}{'retry-after'}, 'with Retry-After');
	is(remember('lab', { id => 'q3', content => 'another text' })->{json}{version}, 2, 'a known id may still change');
};

subtest 'a client vector turns a space to client' => sub {
	is(remember('turn', { id => 'w', content => 'words only' })->{status}, 201, 'at first builtin');
	is($s->get('/api/v1/spaces/turn/stats')->{json}{vector_source}, 'builtin', 'as the stats say');
	is(remember('turn', { id => 'v', content => 'with a vector', embedding => [1, 0, 0, 0] })->{status}, 201, 'a client vector');
	my $stats = $s->get('/api/v1/spaces/turn/stats')->{json};
	is_deeply([@$stats{qw(vector_source dimension)}], ['client', 4], 'makes it client');
	my @hits = @{$s->post("$base/recall", { embedding => [1, 0, 0, 0], memory_space_id => 'turn' })->{json}{results}};
	is_deeply([map { $_->{id} } @hits], ['v'], 'old builtin vectors are passed over');
};

subtest 'delete' => sub {
	remember('gone', { id => 'm', content => 'soon gone' });
	is($s->request('DELETE', '/api/v1/spaces/gone', undef, { 'If-Match' => '1' })->{status}, 400, 'a condition that spaces do not have');
	my $a = $s->delete('/api/v1/spaces/gone');
	is_deeply([$a->{status}, $a->{json}{id}, $a->{json}{deleted}], [200, 'gone', JSON::PP::true], 'deleted') or diag $a->{content};
	is($s->get("$base/m?space=gone")->{json}{error}{code}, 'SPACE_NOT_FOUND', 'gone');
	is(remember('gone', { content => 'x' })->{json}{error}{code}, 'SPACE_NOT_FOUND', 'a write does not bring it back');
	is(space({ id => 'gone' })->{status}, 201, 'POST does');
	is($s->get("$base?space=gone")->{json}{tier_counts}{total}, 0, 'and it is empty');
	is(remember('gone', { id => 'm', content => 'anew' })->{json}{version}, 1, 'with new memories');
};

subtest 'after a restart' => sub {
	$s->stop_ok;
	$s->restart;
	my $stats = $s->get('/api/v1/spaces/lab/stats')->{json};
	is_deeply([@$stats{qw(memories dimension profile)}, $stats->{quota}{memories}], [3, 3, 'dialogue', 3], 'settings and counts are kept');
	is($s->get("$base/m?space=gone")->{json}{content}, 'anew', 'the new space is the new one');
};

subtest 'without auto_create' => sub {
	$s->set('memory_spaces.auto_create' => 'false');
	kill HUP => $s->pid;
	my $n = 0;
	wait_until { $n++; remember("fresh-$n", { content => 'x' })->{status} == 404 } 'a first write makes none';
	is(space({ id => 'fresh2' })->{status}, 201, 'POST does');
	is(remember('fresh2', { content => 'x' })->{status}, 201, 'then writes go there');
};

$s->stop_ok;
done_testing;
