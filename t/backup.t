#!/usr/bin/perl
# Backups of a running server, and restoring from them: all that was acknowledged when it was
# asked is in it, whatever is stored, checkpointed or killed meanwhile; an incremental one is
# whole by itself; damage is found before anything is made of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Engram;
use Load;
use Test::More;

-x Engram::client() or plan skip_all => 'the program engram is not built';
my $s = Engram->start(settings => { 'wal.segment_size_mb' => 1, 'embedding.provider' => 'none',
	'wal.checkpoint_replay_seconds' => 3600, 'wal.max_segments' => 1000 });
my $folder = $s->data_dir . '/backup';

sub fill {
	my ($from, $n, $server) = @_;
	my @memories = map { { id => "m$_", content => "memory number $_ " . 'and more ' x 40, tags => ['t' . $_ % 7] } } $from .. $from + $n - 1;
	my $r = ($server // $s)->post('/api/v1/memories/batch', { memories => \@memories });
	return $r->{status} == 200 ? $r->{json}{stored} : 0;
}
sub ids {
	my ($server) = @_;
	my (@ids, $r);
	do {
		$r = $server->get('/api/v1/memories?limit=1000&offset=' . @ids)->{json};
		push @ids, map { $_->{id} } @{$r->{memories}};
	} while (@{$r->{memories}});
	return @ids;
}
sub backup { my ($body) = @_; return $s->post('/api/v1/admin/backup', $body) }
sub run {
	my (@args) = @_;
	my $out = `'@{[Engram::client()]}' @args 2>&1`;
	return { status => $? >> 8, out => $out };
}
# A server on a directory made from that backup.
sub restored {
	my ($name, $as) = @_;
	my $other = Engram->new(settings => { 'embedding.provider' => 'none' });
	my $r = run('restore', "$folder/$name", $other->data_dir);
	is($r->{status}, 0, "$name is restored") or diag $r->{out};
	like($r->{out}, qr/timeline (?!1$)\d+$/, '... as another timeline');
	$other->launch;
	ok($other->await_ready, '... and a server starts on it');
	return $other;
}

is(fill(1000 * $_, 1000), 1000, "batch $_") for 1 .. 4;
is($s->post('/api/v1/admin/checkpoint')->{status}, 200, 'a checkpoint');
is(fill(1000 * $_, 1000), 1000, "batch $_") for 5 .. 6;
is($s->delete("/api/v1/memories/m1$_")->{status}, 200, "m1$_ is deleted") for '000' .. '002';

subtest 'a full one' => sub {
	my $r = backup({ to => 'full' });
	is($r->{status}, 200, 'made') or diag $r->{content};
	is($r->{json}{name}, 'full', 'its name');
	cmp_ok($r->{json}{lsn}, '>=', 6003, 'all up to there');
	is($r->{json}{linked_files}, 0, 'nothing is shared');
	is($r->{json}{copied_bytes}, $r->{json}{bytes}, 'all is written');
	is(run('check', "$folder/full")->{status}, 0, 'check finds it clean');
	my $again = backup({ to => 'full' });
	is($again->{status}, 409, 'not over it');
	is($again->{json}{error}{field}, 'to', '... the field is named');
	is(fill(7000, 1000), 1000, 'stores go on');
	my $other = restored('full');
	is(join(' ', sort(ids($other))), join(' ', sort grep { !/^m100[0-2]$/ } map { "m$_" } 1000 .. 6999), 'what it holds is what was there');
	is(fill(9000, 10, $other), 10, 'it takes stores');
	is(join("\n", $other->end('QUIT')), '', 'QUIT');
	is(run('check', $other->data_dir)->{status}, 0, 'the restored directory is clean, too');
};

subtest 'restored twice, and into a mount point' => sub {
	my @timeline = map { run('restore', "$folder/full", $s->dir . "/twice$_")->{out} =~ /timeline (\d+)$/ ? $1 : 1 } 1, 2;
	isnt($timeline[0], $timeline[1], "two timelines: @timeline");
	my $mount = $s->dir . '/mount';
	mkdir $mount, 0700;
	system("mount -t tmpfs -o size=64m,mode=0700 tmpfs $mount 2>/dev/null") == 0
		or plan skip_all => 'a file system cannot be mounted here';
	my $r = run('restore', "$folder/full", $mount);
	is($r->{status}, 0, 'restored into the root of a file system') or diag $r->{out};
	is(run('check', $mount)->{status}, 0, '... and clean');
	ok(!-e "$mount/.restoring", '... nothing else is left');
	is(run('restore', "$folder/full", $mount)->{status}, 73, 'not over it');
	is(system("umount -l $mount"), 0, 'unmounted');
};

subtest 'incremental' => sub {
	is($s->post('/api/v1/admin/checkpoint')->{status}, 200, 'a checkpoint meanwhile');
	my $r = backup({ to => 'second', base => 'full' });
	is($r->{status}, 200, 'made') or diag $r->{content};
	cmp_ok($r->{json}{linked_files}, '>', 0, "$r->{json}{linked_files} files are shared");
	cmp_ok($r->{json}{copied_bytes}, '<', $r->{json}{bytes} / 2, 'little is written');
	my $gone = run('restore', "$folder/full", $s->dir . '/whole');
	is($gone->{status}, 0, 'the base can be restored');
	system('rm', '-rf', "$folder/full") == 0 or die;
	my $other = restored('second');
	is(scalar(ids($other)), 6997, 'the second is whole without its base');
	is(join("\n", $other->end('TERM')), '', 'TERM');
};

subtest 'refused' => sub {
	for (['../up', 'to'], ['/etc/engram', 'to'], ['.hidden', 'to'], ['a/b', 'to'], ['x' x 61, 'to'], ['ok', 'base', '../second']) {
		my ($to, $field, $base) = @$_;
		my $r = backup({ to => $to, defined $base ? (base => $base) : () });
		is($r->{status}, 422, "to $to" . (defined $base ? ", base $base" : ''));
		is($r->{json}{error}{field}, $field, '... the field is named');
	}
	my $r = backup({ to => 'third', base => 'nosuch' });
	is($r->{status}, 422, 'an unknown base');
	is($r->{json}{error}{field}, 'base', '... the field is named');
	ok(!-e "$folder/third", 'nothing is left');
	is(join(' ', glob "$folder/.part-*"), '', '... of any');
	is(backup({ to => 'x', now => 1 })->{status}, 400, 'an unknown field');
	is(run('restore', "$folder/second", $s->data_dir)->{status}, 73, 'not over a data directory');
	is(run('restore', "$folder/nosuch", $s->dir . '/y')->{status}, 66, 'no backup there');
	is(run('restore', $s->data_dir . '/wal', $s->dir . '/y')->{status}, 66, 'a folder that is none');
};

subtest 'damage' => sub {
	is(backup({ to => 'hurt' })->{status}, 200, 'made');
	for my $file ((glob "$folder/hurt/{wal,warm}/*.log")[0], (glob "$folder/hurt/checkpoints/*")[0], "$folder/hurt/SUPERBLOCK", "$folder/hurt/MANIFEST") {
		my $at = int((-s $file) / 2);
		Engram::flip($file, $at);
		my ($short) = $file =~ m{hurt/(.*)};
		isnt(run('check', "$folder/hurt")->{status}, 0, "check sees a flipped bit of $short");
		is(run('restore', "$folder/hurt", $s->dir . '/y')->{status}, 65, '... and it is not restored');
		ok(!-e $s->dir . '/y' && !-e $s->dir . '/y.restoring', '... nothing is made');
		Engram::flip($file, $at);
	}
	is(run('check', "$folder/hurt")->{status}, 0, 'mended, it is clean again');
	unlink((glob "$folder/hurt/checkpoints/*")[0]) or die;
	is(run('restore', "$folder/hurt", $s->dir . '/y')->{status}, 65, 'a missing file is seen');
	my $base = backup({ to => 'later', base => 'hurt' });
	is($base->{status}, 200, 'what a base has lost is copied');
	is(run('check', "$folder/later")->{status}, 0, '... and the backup is clean');
	open my $out, '+<', "$folder/hurt/MANIFEST" or die;
	print {$out} 'engram-backup 9';
	close $out;
	like(run('restore', "$folder/hurt", $s->dir . '/y')->{out}, qr/format 9, this build reads up to 1/, 'a newer format is refused with both numbers');
};

subtest 'under load' => sub {
	my $load = Load->start($s, clients => 4);
	for my $i (1 .. 4) {
		is($s->post('/api/v1/admin/checkpoint')->{status}, 200, 'checkpoint') if $i % 2;
		is($s->post('/api/v1/memories/remember', { id => "before$i", content => 'acknowledged before it' })->{status}, 201, "a store before backup $i");
		my $r = run('backup', "load$i", '--url', $s->url, $i > 1 ? ('--base', 'load' . ($i - 1)) : ());
		is($r->{status}, 0, "backup $i") or diag $r->{out};
		is(run('check', "$folder/load$i")->{status}, 0, '... is clean');
		$s->kill('KILL', 'wal') if $i == 2;
		ok($s->await_ready, 'ready');
	}
	is($s->post('/api/v1/memories/remember', { id => 'after', content => 'acknowledged after it' })->{status}, 201, 'a store after all');
	$load->stop;
	my $other = restored('load4');
	my %there = map { $_ => 1 } ids($other);
	is(join(' ', grep { !$there{$_} } (map { "before$_" } 1 .. 4), grep { !/^m100[0-2]$/ } map { "m$_" } 1000 .. 7999), '', 'all that was acknowledged before it');
	ok(!$there{after}, 'nothing that came after it');
	is(join("\n", $other->end('TERM')), '', 'TERM');
};

# Numbers of checkpoints are given again on another timeline: the same name and length, other rows.
subtest 'a base of another timeline' => sub {
	my $shared = $s->dir . '/shared';
	my %settings = ('embedding.provider' => 'none', 'wal.checkpoint_replay_seconds' => 3600, 'storage.backup_dir' => $shared);
	my @server = (Engram->start(settings => {%settings}), Engram->new(settings => {%settings}));
	my $step = sub {
		my ($server, $letter, @base) = @_;
		my @memories = map { { id => "$letter$_", content => "number $_ of $letter" } } 1 .. 100;
		is($server->post('/api/v1/memories/batch', { memories => \@memories })->{status}, 200, "stores of $letter");
		is($server->post('/api/v1/admin/checkpoint')->{status}, 200, 'a checkpoint');
		is($server->post('/api/v1/admin/backup', { to => $letter, @base })->{status}, 200, "backup $letter");
	};
	$step->($server[0], 'a');
	$step->($server[0], 'b', base => 'a');
	is(run('restore', "$shared/a", $server[1]->data_dir)->{status}, 0, 'the first is restored');
	$server[1]->launch;
	ok($server[1]->await_ready, '... and goes on otherwise');
	$step->($server[1], 'c', base => 'b');
	my $r = run('check', "$shared/c");
	is($r->{status}, 0, 'what the base has of the other timeline is not taken over') or diag $r->{out};
	is(run('restore', "$shared/c", $server[0]->dir . '/c')->{status}, 0, '... and it can be restored');
	is(join("\n", $_->end('QUIT')), '', 'QUIT') for @server;
};

my $about = $s->get('/api/v1/system/introspect')->{json}{backup};
is($about->{name}, 'load4', 'introspection names the last one');
ok(!$about->{running}, '... which is made');
cmp_ok($s->metric('engram_backups_total', result => 'made'), '>=', 7, 'they are counted');
like(run('status', '--url', $s->url)->{out}, qr/backup +load4/, 'status shows it');
is(join("\n", $s->end('QUIT')), '', 'QUIT');
done_testing;
