#!/usr/bin/perl
# All that changes a file of the data directory goes through common/io.h: there faults
# strike and recordings listen (common/tape.h; t/unit/wal_powerloss holds each recording
# against the folder, byte for byte). Files in which the system is called directly
# are named here, with what they do it to.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my $call = join '|', qw(p?write p?writev2? p?writev f?truncate posix_fallocate fallocate mkdir mkdirat rename renameat renameat2
	unlink unlinkat rmdir link linkat symlink symlinkat fsync fdatasync sync syncfs sync_file_range msync creat
	copy_file_range sendfile fwrite mkstemp);

my %exception = (
	'common/io.c' => 'the layer itself',
	'common/log.c' => 'the log of events',
	'common/fault.c' => 'the page of armed points',
	'shm/desk.c' => 'memory, doorbells',
	'shm/region.c' => 'shared memory',
	'wal/writer.c' => 'the doorbell, in a signal handler',
	'wal/mend.c' => 'quarantine/, made offline and by hand',
	'workers/api/loop.c' => 'a doorbell',
	'master/options.c' => 'the pipe to whoever started the server',
	'workers/api/access.c' => 'the access log',
	'master/files.c' => 'LOCK, the pid file, the folder itself',
);

# What a line calls: comments, strings and members are none.
sub calls {
	my ($line) = @_;
	$line =~ s{"(?:[^"\\]|\\.)*"}{""}g;
	$line =~ s{/\*.*?(?:\*/|$)|^\s*\*.*}{};
	return ($line =~ /(?<![\w.>])($call)\(/g, $line =~ /\b(O_CREAT|O_TRUNC)\b(?!.*io_open)/g);
}

my (@bare, %used);
my @sources = grep { $_ ne 'common/tape.c' } files(qr{^(common|shm|wal|workers|master)/.*\.[ch]$|^contrib/client/(check|recover|backup|restore)\w*\.c$});
for my $path (@sources) {
	my $n = 0;
	for my $line (split /\n/, slurp($path)) {
		$n++;
		next if $line =~ /io_open\(/;
		my @found = grep { !/^write$/ || $line !~ /STD(?:OUT|ERR)_FILENO/ } calls($line) or next;
		$used{$path}++;
		push @bare, map { "$path:$n: $_" } @found unless $exception{$path};
	}
}
cmp_ok(scalar(@sources), '>', 100, scalar(@sources) . ' sources');
is(join("\n", @bare), '', 'nobody changes files but through the I/O layer');
is(join(' ', grep { !$used{$_} } sort keys %exception), '', 'every exception is still needed');

is(join(' ', calls("\tif (ftruncate(fd, 0) != 0 || pwrite(fd, p, n, 0) < 0)")), 'ftruncate pwrite', 'calls are noticed');
is(join(' ', calls("\tfd = open(path, O_RDWR | O_CREAT, 0600);")), 'O_CREAT', 'a file made is noticed');
is(join(' ', calls("\tw->link(a); io_rename(b); x.write(c); /* unlink(d) */ puts(\"fsync(e)\");")), '', 'other things are none');

done_testing;
