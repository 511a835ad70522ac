#!/usr/bin/perl
# Fault points (common/fault.def) are where they have to be: at every call of the I/O
# layer in wal/, in every room that changes shared memory, in every kind of process;
# each is used, none is used that the table does not have. And a build without them
# has not a trace of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp 'tempdir';
use Test::More;
use House;

my $table = slurp('common/fault.def');
my %point = map { $_ => 1 } $table =~ /^X\((\w+),/mg;
cmp_ok(scalar(keys %point), '>=', 60, keys(%point) . ' points');

my (%used, @bare);
my @sources = grep { $_ ne 'common/fault.c' } files(qr{^(common|shm|wal|workers|master)/.*\.c$});
for my $path (@sources) {
	my $text = slurp($path);
	push @{$used{$_}}, $path for $text =~ /\bFAULT(?:_IO|_FD|_READ)?\((\w+)/g;
	next unless $path =~ m{^wal/};
	my $n = 0;
	for my $line (split /\n/, $text) {
		$n++;
		next unless $line =~ /\bio_(?:read_at|write_at|sync|sync_dir|allocate|truncate|rename|unlink|make_dir|open)\(/;
		push @bare, "$path:$n" unless $line =~ /FAULT_(?:IO|FD|READ)\(\w+,\s*io_/;
	}
}
is("@bare", '', 'every call of the I/O layer in wal/ carries a point');
is(join(' ', grep { !$used{$_} } sort keys %point), '', 'no point is unused');
is(join(' ', grep { !$point{$_} } sort keys %used), '', 'no point is used that is not in the table');
for my $room ((map { "shm/$_.c" } qw(region heap slot_write node_write ids_write space_write reclaim_write repair_write store_write
		graph_write graph_sweep graph_repair fresh_write)),
	qw(wal/apply.c wal/appliers.c wal/linker.c wal/recover.c wal/replay.c wal/submit.c wal/lanes.c wal/writer.c wal/append.c
	wal/spares.c wal/datadir.c workers/worker.c workers/consolidator.c master/family.c master/spawn.c master/reload.c)) {
	ok((grep { grep { $_ eq $room } @$_ } values %used), "$room has points");
}

# The same sources without them.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my $build = build;
chomp(my $compile = `make -s -C '$build' print-compile`);
my $dir = tempdir(CLEANUP => 1);
my @traces;
for my $path ('common/fault.c', 'common/io.c', 'wal/append.c', 'shm/slot_write.c', 'master/family.c') {
	my $top = top;
	system("cd '$build' && $compile -UEG_FAULTS -O0 -Wno-error -w -c -o '$dir/x.o' '$top/$path'") == 0
		or push @traces, "$path does not compile";
	push @traces, $path if `nm '$dir/x.o'` =~ /\bfault_(?:pass|before|after|share|page|infos|arm)\b/;
}
is("@traces", '', 'a build without fault points has no symbol of theirs');

done_testing;
