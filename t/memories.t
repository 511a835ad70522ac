#!/usr/bin/perl
# Storing, reading, listing and deleting memories over HTTP: replies, versions,
# limits with their field, batches of both kinds, and what outlives a restart.
use strict;
use warnings;
use Test::More;
use Engram;
use MIME::Base64 'encode_base64';

my $base = '/api/v1/memories';
my $s = Engram->start;

sub remember { my ($body, %headers) = @_; return $s->post("$base/remember", $body, \%headers) }

# The answer is an error of this status that names the field.
sub refused {
	my ($answer, $status, $field, $name) = @_;
	my $error = $answer->{json}{error} || {};
	my $text = join ' ', map { $error->{$_} // '' } qw(message suggestion field limit);
	ok($answer->{status} == $status && $text =~ /\Q$field\E/, $name || "$status names $field")
		or diag("$answer->{status} $answer->{content}");
}

subtest 'store and read' => sub {
	my $a = remember({ id => 'm1', content => 'Ada wrote the first program.', tags => ['history', 'computing'],
		memory_type => 'episodic', session => 's1', confidence => 0.9, confidence_reasoning => 'read in a book',
		timestamp => '2024-02-29T12:00:00.5Z', metadata => { page => 12, ratio => 0.5, sure => JSON::PP::true, by => 'Ada' } });
	is($a->{status}, 201, 'a new memory gives 201') or diag $a->{content};
	my $j = $a->{json};
	is_deeply([@$j{qw(memory_id version tier consolidation_state)}], ['m1', 1, 'hot', 'Recent'], 'id, version, tier, state');
	ok($j->{created} && $j->{durable} && $j->{lsn} > 0, 'created, durable, with an LSN');
	is($j->{observed_at}, '2024-02-29T12:00:00.500Z', 'observed_at is the given time');
	like($j->{stored_at}, qr/^20\d\d-\d\d-\d\dT/, 'stored_at');
	is_deeply([$j->{storage_confidence}{value}, $j->{storage_confidence}{category}, $j->{storage_confidence}{reasoning}],
		[0.9, 'high', 'read in a book'], 'storage_confidence');
	is_deeply([$j->{near_duplicates}, $j->{auto_links}], [[], []], 'no links, no near-duplicates');

	my $g = $s->get("$base/m1")->{json};
	is_deeply([@$g{qw(id content memory_type session version)}], ['m1', 'Ada wrote the first program.', 'episodic', 's1', 1], 'read back');
	is_deeply($g->{tags}, ['history', 'computing'], 'tags');
	is_deeply($g->{metadata}, { page => 12, ratio => 0.5, sure => JSON::PP::true, by => 'Ada' }, 'metadata of all kinds');
	is($g->{timestamp}, '2024-02-29T12:00:00.500Z', 'timestamp');
	ok($g->{confidence}{lower} < 0.9 && $g->{confidence}{upper} > 0.9, 'an interval around the confidence');
};

subtest 'versions' => sub {
	is(remember({ id => 'v', content => 'one' })->{status}, 201, 'new');
	my $again = remember({ id => 'v', content => 'one' });
	is_deeply([$again->{status}, $again->{json}{version}, $again->{json}{created}], [200, 1, JSON::PP::false], 'the same body is no new version');
	ok($again->{json}{lsn} > 0, 'and has an LSN by which it is there');
	my $next = remember({ id => 'v', content => 'two' });
	is_deeply([$next->{status}, $next->{json}{version}], [200, 2], 'another body is the next version');
	is($s->get("$base/v")->{json}{content}, 'two', 'which is read');
	refused(remember({ id => 'v', content => 'three' }, 'If-Match' => '"1"'), 412, 'If-Match');
	is(remember({ id => 'v', content => 'three' }, 'If-Match' => '"2"')->{json}{version}, 3, 'If-Match with the version');
	refused(remember({ id => 'new-one', content => 'x' }, 'If-Match' => '1'), 412, 'If-Match', 'If-Match for what is not there');
	refused(remember({ id => 'v', content => 'x' }, 'If-Match' => 'abc'), 400, 'If-Match');
	is(remember({ content => 'without an id' })->{json}{memory_id} =~ /^mem_[0-9a-f]{16}$/, 1, 'an id is made');
	is(remember({ id => 'm:/ü?', content => 'a strange id' })->{status}, 201, 'any id');
	is($s->get("$base/m:%C3%83%C2%BC")->{status}, 404, 'another id');
};

subtest 'near-duplicates' => sub {
	remember({ id => 'n1', content => 'The Rhine flows through Basel.' });
	my $a = remember({ id => 'n2', content => 'the rhine flows through BASEL' });
	is($a->{status}, 201, 'a near-duplicate is stored');
	is($a->{json}{near_duplicates}[0]{memory_id}, 'n1', 'and reported');
	cmp_ok($a->{json}{near_duplicates}[0]{similarity}, '>', 0.99, 'with its similarity');
	is($s->get("$base/n1")->{status}, 200, 'the first one is still there');
};

subtest 'limits' => sub {
	refused(remember({ content => '' }), 400, 'content');
	refused(remember({ content => " \t\n\x{3000}" }), 400, 'content', 'blank');
	refused(remember({}), 400, 'content', 'missing');
	refused(remember({ content => 'a' x 100_001 }), 400, 'content', 'too long');
	is(remember({ content => 'a' x 100_000 })->{status}, 201, 'exactly at the limit');
	refused(remember({ content => 'a', id => '' }), 400, 'id');
	refused(remember({ content => 'a', id => 'i' x 257 }), 400, 'id');
	refused(remember({ content => 'a', tags => [map { "t$_" } 1 .. 65] }), 400, 'tags');
	refused(remember({ content => 'a', tags => ['t' x 257] }), 400, 'tags');
	refused(remember({ content => 'a', session => 's' x 257 }), 400, 'session');
	refused(remember({ content => 'a', metadata => { map { ("k$_" => $_) } 1 .. 257 } }), 400, 'metadata');
	refused(remember({ content => 'a', metadata => { map { ("k$_" => 'a' x 400) } 1 .. 200 } }), 400, 'metadata');
	refused(remember({ content => 'a', metadata => { k => [1] } }), 400, 'metadata');
	refused(remember({ content => 'a', confidence => 1.5 }), 400, 'confidence');
	refused(remember({ content => 'a', timestamp => '2025-01-01' }), 400, 'timestamp');
	refused(remember({ content => 'a', memory_type => 'bogus' }), 400, 'memory_type');
	refused(remember({ content => 'a', contnt => 'b' }), 400, 'content', 'an unknown field, with the nearest');
	refused(remember('{"content":"a","metadata":' . '[' x 33 . ']' x 33 . '}'), 400, 'nested deeper', 'nested too deep, which is more than another type');
	refused(remember({ content => 'a', expires_at => $_ }), 400, 'expires_at') for '2001-01-01T00:00:00Z', '1970-01-01T00:00:00Z';
	refused(remember({ content => 'a', link_threshold => 0.5 }), 501, 'link_threshold');
	refused(remember({ content => 'a' }, 'X-Durability' => 'maybe'), 400, 'urability');
	refused(remember({ content => 'a' }, 'Idempotency-Key' => 'k'), 501, 'Idempotency-Key');
	refused($s->post("$base/remember?bogus=1", { content => 'a' }), 400, 'bogus', 'an unknown query parameter');
	is(remember({ content => 'a' }, 'X-Durability' => 'immediate')->{json}{durable}, JSON::PP::true, 'immediate is durable');
};

subtest 'client vectors' => sub {
	my @space = ('X-Memory-Space' => 'vectors');
	is(remember({ id => 'a', content => 'a', embedding => [3, 4] }, @space)->{status}, 201, 'numbers');
	is(remember({ id => 'b', content => 'b', embedding => encode_base64(pack('f<2', 1, 0), '') }, @space)->{status}, 201, 'base64');
	refused(remember({ content => 'c', embedding => [1, 2, 3] }, @space), 400, 'embedding', 'another length');
	is(remember({ content => 'c', embedding => [1, 2, 3] }, @space)->{json}{error}{code}, 'DIMENSION_MISMATCH', 'with its code');
	refused(remember({ content => 'c', embedding => [0, 0] }, @space), 400, 'embedding', 'zero');
	is(remember({ id => 't', content => 'text alone' }, @space)->{status}, 201, 'text without a vector');
	my $v = $s->get("$base/a", { @space })->{json}{embedding};
	ok(abs($v->[0] - 0.6) < 1e-6 && abs($v->[1] - 0.8) < 1e-6, 'read back at unit length');
	ok(!defined $s->get("$base/t?include_embeddings=true", { @space })->{json}{embedding}, 'none for the text');
	my ($row) = grep { $_->{id} eq 'b' } @{$s->get("$base?include_embeddings=true", { @space })->{json}{memories}};
	is_deeply($row->{embedding}, [1, 0], 'in a list on request');
};

subtest 'list' => sub {
	my @space = ('X-Memory-Space' => 'pages');
	remember({ id => "p$_", content => "page $_" }, @space) for 1 .. 25;
	my %seen;
	for my $offset (0, 10, 20, 30) {
		my $j = $s->get("$base?tier=all&limit=10&offset=$offset", { @space })->{json};
		$seen{$_->{id}}++ for @{$j->{memories}};
		is_deeply($j->{tier_counts}, { hot => 25, warm => 0, cold => 0, total => 25 }, "counts at $offset");
		is($j->{pagination}{returned}, $offset < 20 ? 10 : $offset == 20 ? 5 : 0, "rows at $offset");
	}
	is(scalar(grep { $_ == 1 } values %seen), 25, 'each once over the pages');
	is($s->get("$base?tier=warm", { @space })->{json}{count}, 0, 'no warm ones');
	refused($s->get("$base?tier=lukewarm", { @space }), 400, 'tier');
	refused($s->get("$base?limit=1001", { @space }), 400, 'limit');
	refused($s->get("$base?limits=1", { @space }), 400, 'limit', 'an unknown parameter, with the nearest');
};

subtest 'delete' => sub {
	remember({ id => 'd', content => 'to be deleted' });
	my $a = $s->delete("$base/d");
	is_deeply([$a->{status}, $a->{json}{memory_id}, $a->{json}{deleted}], [200, 'd', JSON::PP::true], 'deleted');
	is($s->get("$base/d")->{json}{error}{code}, 'MEMORY_NOT_FOUND', 'gone');
	is($s->delete("$base/d")->{status}, 404, 'a second time: 404');
	is(remember({ id => 'd', content => 'anew' })->{json}{version}, 1, 'made anew it begins with version 1');
};

subtest 'partial batch' => sub {
	my $a = $s->post("$base/batch", { memories => [
		{ id => 'b1', content => 'first' }, { id => 'b2', content => '' }, { id => 'b3', content => 'third', nonsense => [1, { a => 2 }] },
		7, { id => 'b4', content => 'fourth', tags => ['x'] }, { id => 'b1', content => 'first again' } ] });
	is($a->{status}, 200, 'status 200') or diag $a->{content};
	my @r = @{$a->{json}{results}};
	is_deeply([map { $_->{index} } @r], [0 .. 5], 'one result each, in order');
	is(join('', map { $_->{success} ? 1 : 0 } @r), '100011', 'good ones stored, bad ones not');
	is_deeply([$a->{json}{stored}, $a->{json}{failed}], [3, 3], 'counts');
	like($r[1]{error}{field}, qr/memories\.1\.content/, 'field of a bad one');
	is_deeply([$r[0]{version}, $r[5]{version}], [1, 2], 'the same id twice: two versions');
	is($s->get("$base/b1")->{json}{content}, 'first again', 'the later one wins');
	is($s->get("$base/b3")->{status}, 404, 'a bad one is not there');
	my $none = $s->post("$base/batch", { memories => [{ content => '' }] });
	is_deeply([$none->{status}, $none->{json}{stored}, $none->{json}{failed}], [200, 0, 1], 'nothing but bad ones');
};

subtest 'atomic batch' => sub {
	my $bad = $s->post("$base/batch", { atomic => JSON::PP::true, memories => [{ id => 'c1', content => 'x' }, { id => 'c2', content => '' }] });
	refused($bad, 400, 'memories.1.content');
	is($s->get("$base/c1")->{status}, 404, 'nothing stored');
	refused($s->post("$base/batch", { memories => [{ id => 'c1', content => 'x', embedding => [1] }, { id => 'c2', content => 'x', embedding => [1, 2] }],
		atomic => JSON::PP::true, memory_space_id => 'atomic' }), 400, 'memories.1.embedding', 'a clash within the batch');
	my $good = $s->post("$base/batch", { memories => [map { { id => "c$_", content => "text $_" } } 1 .. 100], atomic => JSON::PP::true });
	is_deeply([$good->{status}, $good->{json}{stored}], [200, 100], 'all of a good one') or diag $good->{content};
	is($s->get("$base/c100")->{json}{content}, 'text 100', 'is there');
	refused($s->post("$base/batch", { memories => [] }), 400, 'memories');
	refused($s->post("$base/batch", { memories => [map { { content => "m$_" } } 1 .. 10001] }), 400, 'memories');
};

subtest 'a batch of many entries' => sub {
	my $a = $s->post("$base/batch", { memories => [map { { id => "big$_", content => "number $_ of many" } } 1 .. 10000] }, { 'X-Memory-Space' => 'big' });
	is_deeply([$a->{status}, $a->{json}{stored}, $a->{json}{failed}], [200, 10000, 0], '10,000 memories') or diag substr($a->{content}, 0, 500);
	is($s->get("$base?limit=1", { 'X-Memory-Space' => 'big' })->{json}{tier_counts}{total}, 10000, 'are listed at once');
};

subtest 'a memory that no ring of the writer holds' => sub {
	my $small = Engram->start(settings => { 'wal.buffer_size_mb' => 1 });
	my $large = join ' ', map { sprintf 'w%05d', $_ } 1 .. 14000;
	my $a = $small->post("$base/batch", { memories => [{ id => 's1', content => 'one' }, { id => 's2', content => $large }, { id => 's3', content => 'three' }] });
	is($a->{status}, 200, 'status 200') or diag $a->{content};
	is(join('', map { $_->{success} ? 1 : 0 } @{$a->{json}{results}}), '101', 'it alone is refused');
	is($a->{json}{results}[1]{error}{code}, 'PAYLOAD_TOO_LARGE', '... as too large');
	$small->stop_ok;
};

subtest 'expiry' => sub {
	my @t = gmtime(time + 3600);
	my $soon = sprintf('%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0]);
	is(remember({ id => 'e', content => 'ephemeral zebra', expires_at => $soon })->{status}, 201, 'stored');
	is($s->get("$base/e")->{status}, 200, 'served before it expires');
	$s->set('testing.clock_offset_seconds' => 7200);
	kill HUP => $s->pid;
	wait_until { $s->get("$base/e")->{status} == 404 } 'gone when its time has passed';
	is_deeply($s->get("$base/search?query=zebra")->{json}{memories}, [], 'not found either');
};

subtest 'after a restart' => sub {
	$s->stop_ok;
	$s->restart;
	is($s->get("$base/m1")->{json}{content}, 'Ada wrote the first program.', 'a memory is there');
	is($s->get("$base/v")->{json}{version}, 3, 'at its version');
	is($s->get("$base?limit=1", { 'X-Memory-Space' => 'big' })->{json}{tier_counts}{total}, 10000, 'and all of the batch');
};

$s->stop_ok;
done_testing;
