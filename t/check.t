#!/usr/bin/perl
# `engram check`: a directory as a server left it is clean, however the server ended;
# a changed byte in any file is found, with file, offset and LSN range; it keeps out
# of a running server's way.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use JSON::PP;
use Test::More;

-x Engram::client() or plan skip_all => 'the program engram is not built';
my $s = Engram->start(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none' });

sub fill {
	my ($from, $n) = @_;
	my @memories = map { { id => "m$_", content => "memory number $_ " . 'and more ' x 40, tags => ['t' . $_ % 7] } } $from .. $from + $n - 1;
	my $r = $s->post('/api/v1/memories/batch', { memories => \@memories });
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}

sub check {
	my (@args) = @_;
	my $out = `'@{[Engram::client()]}' check @args 2>@{[$s->dir]}/err`;
	my $status = $? >> 8;
	open my $err, '<', $s->dir . '/err' or die $!;
	return { status => $status, out => $out, err => do { local $/; <$err> } // '' };
}

sub found {
	my $r = check('--json', $s->data_dir);
	$r->{json} = eval { decode_json($r->{out}) } || {};
	return $r;
}

sub troubles { return map { "$_->{level} $_->{file} $_->{offset}" } @{$_[0]{json}{troubles} || []} }

is(fill(1000 * $_, 1000), 1000, "batch $_") for 1 .. 4;
my $busy = check($s->data_dir);
is($busy->{status}, 75, 'it refuses while a server runs');
like($busy->{err}, qr/a server is running/, '... and says so');
is($s->post('/api/v1/memories/remember', { id => 'x', content => 'still there' })->{status}, 201, 'the server did not mind');
is(join("\n", $s->end('QUIT')), '', 'QUIT');

my $clean = check($s->data_dir);
is($clean->{status}, 0, 'clean after QUIT') or diag $clean->{out};
like($clean->{out}, qr/^clean: /m, '... and says so');
like($clean->{out}, qr/^SUPERBLOCK +superblock .* ok$/m, 'the table');
my $all = found();
cmp_ok($all->{json}{records}, '>=', 4001, 'all records were seen');
is($all->{json}{last_lsn}, $all->{json}{files}[1]{last_lsn} > 0 ? (sort { $b <=> $a } map { $_->{last_lsn} } @{$all->{json}{files}})[0] : -1, 'up to the last LSN');

my @segments = glob $s->data_dir . '/wal/*.log';
cmp_ok(scalar @segments, '>=', 3, scalar(@segments) . ' segments');
my ($name) = $segments[1] =~ m{(wal/[^/]*)$};
my ($spare) = glob $s->data_dir . '/spare/*';
my $super = $s->data_dir . '/SUPERBLOCK';

for (
	['the superblock', $super, 17, qr/^wrong SUPERBLOCK 0$/],
	['the second block of the superblock', $super, 4096 + 3000, qr/^wrong SUPERBLOCK 4096$/],
	['a first header', $segments[1], 20, qr/^wrong $name 0$/],
	['zeros behind a second header', $segments[1], 4096 + 4000, qr/^wrong $name 4096$/],
	['a group', $segments[1], 8192 + 40960 + 77, qr/^lost $name \d+$/],
	['a spare segment', $spare, 70_000, qr/^wrong spare\/\d+ 70000$/],
) {
	my ($what, $path, $offset, $expected) = @$_;
	flip($path, $offset);
	my $r = found();
	is($r->{status}, 65, "$what: damage is found");
	like(join("\n", grep { !/^note/ } troubles($r)), $expected, '... once, with its place');
	if ($what eq 'a group') {
		my ($lost) = grep { $_->{level} eq 'lost' } @{$r->{json}{troubles}};
		cmp_ok($lost->{last_lsn}, '>=', $lost->{first_lsn}, "LSN $lost->{first_lsn} to $lost->{last_lsn}");
		cmp_ok($lost->{offset}, '<=', $offset, 'the group begins before the byte');
		like(check($s->data_dir)->{out}, qr/^lost: $name: offset \d+, LSN $lost->{first_lsn} to $lost->{last_lsn}: /m, 'in words');
	}
	flip($path, $offset);
}
rename $segments[1], $s->dir . '/away';
my $gap = found();
is($gap->{status}, 65, 'a missing segment');
like($gap->{json}{troubles}[0]{message}, qr/next one begins later|no segment/, '... is a gap');
rename $s->dir . '/away', $segments[1];
is(found()->{status}, 0, 'all is mended, and clean');

subtest 'after a kill, and a torn tail' => sub {
	$s->restart;
	is(fill(90_000, 100), 100, 'more');
	$s->kill_all;
	my $r = found();
	is($r->{status}, 0, 'clean after the death of all') or diag $r->{out};
	my $last = (glob $s->data_dir . "/wal/*.log")[-1];
	my ($used) = map { $_->{groups} ? $_ : () } grep { "$last" =~ /\Q$_->{file}\E$/ } @{$r->{json}{files}};
	open my $f, '+<:raw', $last or die $!;
	seek $f, -8192, 2;
	print $f 'EGRP' . "\x01\x02\x03" x 300;
	close $f;
	$r = found();
	is($r->{status}, 0, 'a torn tail is no damage');
	like(join("\n", troubles($r)), qr/^note wal/m, '... but told');
};

is(check($s->dir . '/none')->{status}, 66, 'no such folder');
is(check($s->dir)->{status}, 66, 'no data directory');
$s->restart;
is($s->get('/api/v1/memories?limit=1')->{json}{tier_counts}{total}, 4101, 'the server starts on it as ever');
$s->stop_ok;
done_testing;
