#!/usr/bin/perl
# What a service manager hears (a socket as systemd gives one), and the unit file.
use strict;
use warnings;
use Test::More;
use File::Temp ();
use IO::Handle;
use IO::Socket::UNIX;
use POSIX ();
use Socket;
use House;
use Engram;

my $top = $ENV{top_builddir} || '.';
my $config = do { local (@ARGV, $/) = "$top/config.h"; <> };

subtest 'the unit file' => sub {
	my $unit = slurp('contrib/systemd/engram.service');
	like($unit, qr/^Type=notify$/m, 'the manager is told');
	like($unit, qr/^$_$/m, $_) for qw(NoNewPrivileges=yes ProtectSystem=strict MemoryDenyWriteExecute=yes
		CapabilityBoundingSet= LimitCORE=0 UMask=0077 PrivateDevices=yes);
	SKIP: {
		my ($verify) = grep { -x } map { "$_/systemd-analyze" } split /:/, $ENV{PATH};
		skip 'systemd-analyze is not installed', 1 unless $verify;
		my $dir = File::Temp::tempdir(CLEANUP => 1);
		my $bin = Engram::binary();
		$unit =~ s{/usr/sbin/engram-server}{$bin}g;
		$unit =~ s{^(?:User|Group)=engram\n}{}mg;      # it may not be there
		open my $out, '>', "$dir/engram.service" or die $!;
		print $out $unit;
		close $out;
		my $said = qx($verify verify --man=no $dir/engram.service 2>&1);
		is(join("\n", grep { /engram\.service/ } split /\n/, $said), '', 'systemd-analyze verify has nothing to say');
	}
};

subtest 'what is said' => sub {
	plan skip_all => 'built without libsystemd' unless $config =~ /^#define HAVE_LIBSYSTEMD 1/m;
	my $s = Engram->new;
	my $path = $s->dir . '/notify';
	my $manager = IO::Socket::UNIX->new(Local => $path, Type => SOCK_DGRAM) or die "$path: $!";
	# A manager always listens: a process of its own writes down what comes.
	my $book = $s->dir . '/heard';
	my $listener = fork // die "fork: $!";
	if (!$listener) {
		open my $out, '>>', $book or POSIX::_exit(1);
		$out->autoflush(1);
		print $out "$_\n--\n" while defined $manager->recv($_, 4096);
		POSIX::_exit(0);
	}
	my $read = 0;
	my $hears = sub {
		my ($pattern, $name) = @_;
		my $heard;
		my $found = wait_until { $heard = substr Engram::slurp_proc($book), $read; $heard =~ $pattern };
		ok($found, $name) or diag $heard;
		return unless $heard =~ $pattern;
		$read += $+[0];
		return $1;
	};

	$s->{env}{NOTIFY_SOCKET} = $path;
	$s->{env}{WATCHDOG_USEC} = 1000000;
	$s->launch;
	$hears->(qr/^STATUS=recovery: \d+ records of the log applied$/m, 'how far the recovery is');
	$hears->(qr/^READY=1$/m, 'ready');
	$s->await_ready;
	$hears->(qr/^WATCHDOG=1$/m, 'a sign of life') for 1 .. 3;

	CORE::kill(HUP => $s->pid);
	$hears->(qr/^RELOADING=1\nMONOTONIC_USEC=\d+$/m, 'a reload begins');
	$hears->(qr/^READY=1$/m, '... and is over');

	is($s->upgrade, '', 'an upgrade');
	is($hears->(qr/^MAINPID=(\d+)$/m, 'another main process'), $s->pid, '... the new master');
	$hears->(qr/^WATCHDOG=1$/m, '... which shows signs of life') for 1 .. 3;

	$s->stop_ok('QUIT');
	$hears->(qr/^STOPPING=1$/m, 'the stop');
	CORE::kill(KILL => $listener);
	waitpid $listener, 0;
};

done_testing;
