#!/usr/bin/perl
# The program `engram` against a real server: each command once, the way a person
# would use them one after another. What a server seldom does is in client_http.t.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Test::More;
use Engram;

for (Engram::binary(), Engram::client()) {
	-x or plan skip_all => "$_ is not built";
}
delete @ENV{qw(ENGRAM_API_KEY ENGRAM_SPACE)};
my $server = Engram->start;

sub engram {
	my ($want, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($exit, $said) = $server->client_run(@args);
	is($exit, $want, "engram @args: exit $want") or diag($said);
	return $said;
}

# ---- one memory's life ----
like(engram(0, 'remember', '--id', 'boiler', '--tag', 'house', '--meta', 'floor=0', 'The boiler was repaired in March'),
	qr/^boiler  version 1, new, durable$/m, 'stored');
like(engram(0, 'remember', '--id', 'boiler', '--tag', 'house', '--meta', 'floor=0', 'The boiler was repaired in March'),
	qr/^boiler  version 1, known/m, 'the same again changes nothing');
engram(0, 'remember', '--id', 'roof: 100 %?', 'The roof leaks near the chimney');
my $said = engram(0, 'recall', '--explain', '--limit', '1', 'Who repaired the boiler?');
like($said, qr/^\s*1\s+\d\.\d+\s+\d\.\d+\s+boiler\s+The boiler was repaired in March$/m, 'the hit in its row');
like($said, qr/^\s+direct, .*\w+ 0\.\d/m, 'and its reasons');
unlike(engram(0, 'recall', '--no-tag', 'house', 'boiler'), qr/repaired in March/, 'filtered by a tag');
is(decode_json(engram(0, 'recall', '--json', 'boiler'))->{results}[0]{id}, 'boiler', '--json is the answer');
like(engram(0, 'get', 'roof: 100 %?'), qr/^The roof leaks near the chimney$/m, 'got by an id that needs escaping');
like(engram(0, 'list'), qr/^boiler\s+The boiler.*total 2$/ms, 'listed with counts');

# ---- refusals ----
engram(66, 'get', 'nothing');
engram(66, 'list', '--space', 'unknown-space');
like(engram(65, 'remember', '--time', 'yesterday', 'x'), qr/^engram: .*\(\w+, 400\)\n  field: timestamp$/m, 'the field at fault is named');
engram(65, 'list', '--tier', 'lukewarm');

# ---- out and in again ----
my $lines = engram(0, 'export');
is(scalar(() = $lines =~ /\n/g), 2, 'exported');
my $copy = $server->dir . '/copy.ndjson';
open my $out, '>', $copy or die $!;
print $out $lines;
close $out;
like(engram(0, 'import', '--space', 'copy', $copy), qr/2 stored, 0 failed/, 'imported into another space');
my %before = map { my $m = decode_json($_); $m->{id} => $m->{content} } split /\n/, $lines;
my %after = map { my $m = decode_json($_); $m->{id} => $m->{content} } split /\n/, engram(0, 'export', '--space', 'copy');
is_deeply(\%after, \%before, 'and the same comes out');
unlike($lines, qr/"embedding"/, 'embeddings that the server made are not exported');
$server->post('/api/v1/memories/remember', { id => 'v', content => 'a vector', embedding => [0, 0.6, 0.8] }, { 'X-Memory-Space' => 'given' });
is_deeply([map { sprintf '%.4f', $_ } @{decode_json(engram(0, 'export', '--space', 'given'))->{embedding}}], ['0.0000', '0.6000', '0.8000'],
	'those that a client gave are');

# ---- the rest ----
like(engram(0, 'spaces'), qr/^copy\b/m, 'spaces');
like(engram(0, 'spaces', 'create', 'attic', '--dimension', '8'), qr/^made attic$/m, 'a space is made');
engram(0, 'spaces', 'delete', 'attic');
engram(66, 'list', '--space', 'attic');
like(engram(0, 'forget', 'boiler'), qr/^deleted boiler$/m, 'deleted');
engram(66, 'get', 'boiler');
engram(66, 'forget', 'boiler');
my $status = engram(0, 'status');
like($status, qr/^engram \S+ at http:\S+: \w+$/m, 'status: health');
like($status, qr/\b$_ \d+, /, "status: the $_ process") for qw(master worker wal consolidation);
like($status, qr/^  log .*durable_lsn \d+.*sync mode \w+/m, 'status: the log');
like($status, qr/^  $_ /m, "status: $_") for qw(memories spaces memory vectors embedder);
ok(decode_json(engram(0, 'status', '--json'))->{introspect}{version}, 'status in JSON');

# ---- the log, without the server ----
$server->stop_ok;
my ($segment) = sort glob $server->data_dir . '/wal/*.log';
$said = engram(0, 'wal', 'dump', $segment);
like($said, qr/^segment  number 1  start_lsn 1 /, 'wal dump: the segment');
like($said, qr/^  record  lsn \d+  type PUT .* id boiler  content The boiler was repaired in March$/m, 'wal dump: a record');
my @records = grep { $_->{kind} eq 'record' } map { decode_json($_) } split /\n/, engram(0, 'wal', 'dump', '--json', $segment);
is_deeply([map { $_->{lsn} } @records], [1 .. @records], 'wal dump: LSNs are in sequence');
ok((grep { $_->{type} eq 'DELETE' && $_->{id} eq 'boiler' } @records), 'wal dump: the deletion');
engram(65, 'wal', 'dump', $server->config);
engram(66, 'wal', 'dump', '/nowhere');

done_testing;
