#!/usr/bin/perl
# `engram wal dump` against segments that this test writes byte by byte, from the
# pictures in wal/segment.h and shm/record.h: a second opinion about the format,
# and damage in every place.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp 'tempdir';
use JSON::PP;
use Test::More;
use Engram;

-x Engram::client() or plan skip_all => 'the program engram is not built';
my $dir = tempdir(CLEANUP => 1);

# ---- the format, once more ----

my @crc = map { my $c = $_; $c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8; $c } 0 .. 255;
sub crc32c {
	my $c = 0xffffffff;
	$c = ($c >> 8) ^ $crc[($c ^ $_) & 255] for unpack 'C*', $_[0];
	return $c ^ 0xffffffff;
}

sub padded { my ($bytes, $to) = @_; return $bytes . "\0" x (-length($bytes) % $to) }

# crc stands at byte 4 and covers what follows byte 8
sub sealed { my ($bytes) = @_; substr $bytes, 4, 4, pack 'V', crc32c(substr $bytes, 8); return $bytes }

sub record {
	my (%r) = @_;
	my ($id, $packed) = ($r{id} // '', $r{packed} // '');
	my $vector = padded(pack('f<*', @{$r{vector} || []}), 64);
	my $bytes = 128 + length($vector) + length($id) + length($packed);
	$bytes += -$bytes % 64;
	my $head = pack 'VVQ<Q<q<VvvQ<VCCCCQ<vvVVVfVq<q<Q<Q<Q<', $bytes, 0, $r{lsn}, $r{version} || 1, $r{time} || 0, 1, 0,
		scalar @{$r{vector} || []}, 0, $r{space} // 0, $r{type}, $r{flags} || 0, 0, 0, 7, length $id, 0, 0, length $packed, 0, 0.7, 0, 0, 0, 0, 0, 0;
	return sealed(padded("$head$vector$id$packed", 64));
}

sub group {
	my ($first_lsn, $prev_crc, @records) = @_;
	my $records = join '', @records;
	my $bytes = 64 + length $records;
	$bytes += -$bytes % 4096;
	my $head = pack 'VVQ<VVQ<VVQ<Q<Q<', 0x50524745, 0, 99, 3, scalar @records, $first_lsn, $bytes, $prev_crc, $first_lsn - 1, 0, 0;
	return sealed(padded("$head$records", 4096));
}

sub header {
	my $head = pack 'a8VVa16Q<Q<Q<VVQ<Q<Q<q<Q<V', 'GRAMLOG1', 1, 1, "\x01" x 16, 5, 1, 4, 77, 3, 99, 42, 0, 1_700_000_000_000_000, 65536, 1;
	return padded($head . pack('V', crc32c($head)), 4096) x 2;
}

sub memory { my ($text) = @_; return "\x0a" . chr(length $text) . $text }

my @records = (
	record(type => 3, lsn => 1, space => 0, packed => memory('attic'), time => 1_700_000_001_000_000),
	record(type => 1, lsn => 2, id => 'boiler', packed => memory('The boiler was repaired'), vector => [0.5, 0.5, 0.5], flags => 1),
	record(type => 2, lsn => 3, id => 'boiler', version => 2),
);
my $first = group(1, 77, @records[0, 1]);
my $second = group(3, unpack('x4V', $first), $records[2]);
my $whole = header() . $first . $second;
my $unused = "\0" x 8192;

# ---- reading it ----

sub dump_of {
	my ($bytes, @args) = @_;
	open my $out, '>:raw', "$dir/a.log" or die $!;
	print $out $bytes;
	close $out;
	my $said = `'@{[Engram::client()]}' wal dump '$dir/a.log' @args 2>$dir/err`;
	my $exit = $? >> 8;
	open my $err, '<', "$dir/err" or die $!;
	return { exit => $exit, out => $said, err => do { local $/; <$err> } // '' };
}
sub objects { return map { decode_json($_) } split /\n/, $_[0]{out} }
sub records_of { return map { $_->{lsn} } grep { $_->{kind} eq 'record' } objects(@_) }

my $said = dump_of($whole . $unused);
is($said->{exit}, 0, 'a good segment') or diag $said->{err};
like($said->{out}, qr/^segment  number 5  start_lsn 1  .*created 2023-11-14T22:13:20Z  uuid (01){16}$/m, 'the header');
like($said->{out}, qr/^group  offset 8192  first_lsn 1  records 2  bytes 4096  durable_lsn 0$/m, 'a group');
like($said->{out}, qr/^  record  lsn 1  type SPACE_PUT  space 0  .*time 2023-11-14T22:13:21Z  name attic$/m, 'a space');
like($said->{out}, qr/^  record  lsn 2  type PUT  .*dim 3  .*part 1  id boiler  content The boiler was repaired$/m, 'a memory');
like($said->{out}, qr/^  record  lsn 3  type DELETE  space 0  version 2  .*id boiler$/m, 'a deletion');
like($said->{out}, qr/^end  groups 2  records 3  last_lsn 3$/m, 'the end');

my $json = dump_of($whole, '--json');
is($json->{exit}, 0, 'a segment without unused space, as JSON');
is_deeply([map { $_->{kind} } objects($json)], [qw(segment group record record group record end)], 'one object a line');
is(dump_of(header())->{exit}, 0, 'a segment without groups');

my $long = 'x' x 59 . "\x{c3}\x{a9}" . 'y' x 40;
my @long = (header() . group(1, 77, record(type => 1, lsn => 1, packed => memory($long))));
like(dump_of(@long)->{out}, qr/content x{59}\.\.\.$/m, 'a long text is cut between characters');
is((objects(dump_of(@long, '--json')))[2]{content}, "x" x 59 . "\x{e9}" . 'y' x 40, '... but not in JSON');
like(dump_of(header() . group(1, 77, record(type => 1, lsn => 1, packed => memory("a\e[31mb"))))->{out}, qr/content a \[31mb$/m, 'no escape sequence gets through');
like(dump_of(header() . group(1, 77, record(type => 1, lsn => 1, packed => "\x0a\xff")))->{out}, qr/body unreadable/, 'a body that is no memory');
like(dump_of(header() . group(1, 77, record(type => 200, lsn => 1)))->{out}, qr/type type-200/, 'an unknown type');

# ---- damage ----

sub damaged { my ($at, $bytes) = @_; my $copy = $bytes // $whole . $unused; substr $copy, $at, 1, chr(ord(substr $copy, $at, 1) ^ 1); return $copy }

is(dump_of(damaged(20))->{exit}, 0, 'one bad header: the other copy serves');
is(dump_of(damaged(4116, damaged(20)))->{exit}, 65, 'two bad headers: exit 65');
is(dump_of('')->{exit}, 65, 'an empty file');
for ([8192 + 9, 'of another segment or writer'], [8192 + 200, 'checksum is wrong'], [12288 + 100, 'checksum is wrong'], [8192, 'no group begins here']) {
	my ($at, $why) = @$_;
	my $bad = dump_of(damaged($at), '--json');
	is($bad->{exit}, 65, "damage at byte $at: exit 65");
	like($bad->{err}, qr/^engram: .*a\.log: offset @{[$at - $at % 4096]}: .*\Q$why\E$/, '... with place and reason');
	is_deeply([records_of($bad)], $at > 12287 ? [1, 2] : [], '... and what stands before it');
}
is(dump_of(substr $whole, 0, 12288 + 100)->{exit}, 65, 'a group cut off');
is(dump_of(header() . $second)->{exit}, 65, 'a group that does not follow the header');
is(dump_of(header() . group(1, 77, @records[1, 0]))->{exit}, 65, 'LSNs out of sequence');
is(system("'@{[Engram::client()]}' wal dump '$dir/none' 2>/dev/null") >> 8, 66, 'no such file: exit 66');

done_testing;
