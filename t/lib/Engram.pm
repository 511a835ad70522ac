# Starts a real engram-server for a test, talks to it, hurts it, and at the end
# looks whether it left anything behind.
#
#	my $s = Engram->start(settings => { 'workers.per_node' => 2 });
#	is($s->post('/api/v1/memories/remember', { content => 'rain' })->{status}, 201);
#	$s->kill(KILL => 'worker');
#	wait_until { $s->pids('worker') == 2 } 'a new worker';
#	$s->stop_ok;
#
# Promises: a free port and an own temporary folder for each server, so that test
# files may run side by side; no sleeping in hope, everything is awaited with a
# deadline; no process outlives the test file, however it ends; when something
# fails, the end of the server's log is shown.
#
# A server's family is found by its session (each server is started in an own
# one) and by descent, so orphans of a killed master are found too. Their kinds
# are read from their titles.
package Engram;
use strict;
use warnings;
use Cwd ();
use Exporter 'import';
use File::Basename 'dirname';
use File::Path ();
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(time sleep);

our @EXPORT = qw(wait_until flip);

my $top = Cwd::abs_path(dirname(__FILE__) . '/../..');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %titles = (
	'master process'        => 'master',
	'worker process'        => 'worker',
	'wal process'           => 'wal',
	'consolidation process' => 'consolidation',
);
my %alive;      # servers that END must not leave behind
my $owner = $$;

# Sanitizers slow everything down; a deadline is there to end a hang, not to
# measure.
our $patience = ($ENV{sanitize} || 'no') eq 'no' ? 30 : 90;      # seconds

# What a sanitizer prints, or a broken assertion. Any of it fails stop_ok.
my $crash = qr/ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |assertion failed/;

# ---- waiting -----------------------------------------------------------------

# Change bits of the byte of a file at an offset.
sub flip {
	my ($path, $offset, $bits) = @_;
	open my $f, '+<:raw', $path or die "$path: $!";
	seek $f, $offset, 0;
	read $f, my $byte, 1;
	seek $f, $offset, 0;
	print $f chr(ord($byte) ^ ($bits // 0x10));
	close $f or die $!;
}

# Wait until the block returns something true, and return that; after the deadline
# false, and a failed test when there is a name for it.
sub wait_until(&;$$) {
	my ($condition, $name, $seconds) = @_;
	my $deadline = time + ($seconds || $patience);
	my $pause = 0.002;
	while (1) {
		my $value = $condition->();
		return $value if $value;
		last if time > $deadline;
		sleep $pause;
		$pause *= 1.5 if $pause < 0.05;
	}
	Test::More::fail("waited in vain for: $name") if defined $name;
	return;
}

# ---- starting ----------------------------------------------------------------

sub binary { return $ENV{ENGRAM_SERVER} || ($ENV{top_builddir} || $top) . '/engram-server' }
sub client { return ($ENV{top_builddir} || $top) . '/engram' }

# A port below those that the kernel hands to clients, different for test files
# that run at the same time.
sub free_port {
	my $port = 12000 + ($$ * 7) % 18000;
	for (1 .. 500) {
		$port++;
		my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1);
		return $port if $probe;
	}
	die "no free port\n";
}

# A value as the configuration file wants it. A reference to a string forces quotes.
sub toml_value {
	my ($value) = @_;
	return '[' . join(', ', map { toml_value($_) } @$value) . ']' if ref $value eq 'ARRAY';
	return '{ ' . join(', ', map { "$_ = " . toml_value($value->{$_}) } sort keys %$value) . ' }' if ref $value eq 'HASH';
	return $value ? 'true' : 'false' if JSON::PP::is_bool($value);
	return $value if !ref $value && $value =~ /^(-?\d+(\.\d+)?|true|false)$/;
	my $text = ref $value ? $$value : $value;
	$text =~ s/(["\\])/\\$1/g;
	return qq("$text");
}

sub toml {
	my (%settings) = @_;
	my %sections;
	for (sort keys %settings) {
		my ($section, $key) = /^(\w+)\.(\w+)$/ or die "not section.key: $_\n";
		push @{$sections{$section}}, "$key = " . toml_value($settings{$_}) . "\n" if defined $settings{$_};
	}
	return join "\n", map { "[$_]\n" . join '', @{$sections{$_}} } sort keys %sections;
}

# Make a server without starting it. Options:
#   settings => { 'section.key' => value }   beside listen, data_dir and pid_file
#   dir      => folder                       to be kept; else a temporary one
#   args     => [more arguments], env => { NAME => value }, bin => program
sub new {
	my ($class, %option) = @_;
	my $dir = $option{dir} || File::Temp::tempdir('engram-test-XXXXXX', TMPDIR => 1);
	my $self = bless {
		dir => $dir, temporary => !$option{dir}, port => free_port(), bin => $option{bin} || binary(),
		args => $option{args} || [], env => $option{env} || {}, settings => { %{$option{settings} || {}} },
		sessions => {}, shm => {}, faults => [],
	}, $class;
	mkdir "$dir/data", 0700;
	$alive{$self} = $self;
	return $self;
}

# new, launch and wait until ready. Dies with the log's end when that fails.
sub start {
	my ($class, %option) = @_;
	my $self = $class->new(%option);
	$self->launch;
	$self->await_ready;
	return $self;
}

sub dir      { return $_[0]{dir} }
sub data_dir { return "$_[0]{dir}/data" }
sub port     { return $_[0]{port} }
sub url      { return "http://127.0.0.1:$_[0]{port}" }
sub pid      { return $_[0]{pid} }
sub config   { return "$_[0]{dir}/engram.toml" }
sub log_file { return "$_[0]{dir}/server.log" }

# Change settings (undef takes one away) and write the file; reload is up to the test.
sub set {
	my ($self, %settings) = @_;
	$self->{settings} = { %{$self->{settings}}, %settings };
	my %all = (
		'server.listen' => "127.0.0.1:$self->{port}", 'server.data_dir' => $self->data_dir,
		'server.pid_file' => "$self->{dir}/pid", %{$self->{settings}},
	);
	open my $out, '>', $self->config . '.new' or die "$self->{dir}: $!";
	print $out toml(%all);
	close $out or die $!;
	rename $self->config . '.new', $self->config or die $!;
}

# Start the process, in a session of its own; its output goes to the log.
sub launch {
	my ($self) = @_;
	-x $self->{bin} or die "$self->{bin}: not there; run make\n";
	$self->set;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $self->log_file;
		open STDERR, '>&', \*STDOUT;
		@ENV{keys %{$self->{env}}} = values %{$self->{env}};
		exec { $self->{bin} } $self->{bin}, '-c', $self->config, @{$self->{args}} or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$self->{foreign} = 0;
	$self->{sessions}{$pid} = 1;
	delete $self->{http};
	return $pid;
}

# False as soon as the server has ended by itself; $self->{status} says how.
sub running {
	my ($self) = @_;
	return 0 unless $self->{pid};
	if ($self->{foreign}) {
		my ($state) = stat_of($self->{pid});
		return 1 if defined $state && $state ne 'Z';
		$self->{status} = 0;
		delete $self->{pid};
		return 0;
	}
	return 1 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;
	$self->{status} = $?;
	delete $self->{pid};
	return 0;
}

sub await_ready {
	my ($self) = @_;
	my $http = HTTP::Tiny->new(timeout => 2, keep_alive => 0);
	my $ready = wait_until {
		!$self->running ? 'ended' : $http->get($self->url . '/health/ready')->{status} == 200 ? 'ready' : 0
	};
	return 1 if ($ready || '') eq 'ready';
	my $why = $ready ? "ended with status $self->{status}" : 'not ready in ' . $patience . ' s';
	my $tail = $self->log_tail;
	$self->kill_all;
	die "server: $why\n$tail";
}

# USR2 to the master, and go on with the one that takes its place, which is no child
# of the test. Returns what was wrong, '' if nothing.
sub upgrade {
	my ($self) = @_;
	my $old = $self->{pid};
	my $pid_file = "$self->{dir}/pid";
	$self->note_shm;
	CORE::kill(USR2 => $old);
	my $gone = wait_until { !$self->running };
	return 'the old master does not end' unless $gone;
	my $new = slurp_proc($pid_file) + 0;
	return "the pid file names $new" if $new == $old || !stat_of($new);
	return 'PATH.oldbin is left' if -e "$pid_file.oldbin";
	($self->{pid}, $self->{foreign}) = ($new, 1);
	delete $self->{http};
	return $self->{status} ? "the old master ended with status $self->{status}" : '';
}

# ---- talking -----------------------------------------------------------------

# One request on a kept connection. Returns HTTP::Tiny's answer (status, headers,
# content) and, when the body is JSON, what it says as {json}. A body that is a
# reference is sent as JSON, else as it is. Status 599: no answer.
sub request {
	my ($self, $method, $path, $body, $headers) = @_;
	$self->{http} ||= HTTP::Tiny->new(timeout => $patience, keep_alive => 1);
	my %option = (headers => { %{$headers || {}} });
	if (defined $body) {
		$option{headers}{'Content-Type'} ||= 'application/json';
		$option{content} = ref $body ? $json->encode($body) : $body;
	}
	my $answer = $self->{http}->request($method, $self->url . $path, \%option);
	if (($answer->{headers}{'content-type'} || '') =~ m{^application/json}) {
		$answer->{json} = eval { $json->decode($answer->{content}) };
	}
	return $answer;
}

sub get    { my ($self, $path, $headers) = @_; return $self->request('GET', $path, undef, $headers) }
sub delete { my ($self, $path, $headers) = @_; return $self->request('DELETE', $path, undef, $headers) }
sub post   { my ($self, $path, $body, $headers) = @_; return $self->request('POST', $path, $body, $headers) }

# Run the client program; (exit status, what it printed, both streams).
sub client_run {
	my ($self, @args) = @_;
	local $ENV{ENGRAM_URL} = $self->url;
	my $pid = open(my $out, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec { client() } 'engram', @args or POSIX::_exit(127);
	}
	my $said = do { local $/; <$out> };
	close $out;
	return ($? >> 8, $said // '');
}

# /metrics as { 'name{label="value"}' => number }, labels as printed.
sub metrics {
	my ($self) = @_;
	my %metric;
	for (split /\n/, $self->get('/metrics')->{content}) {
		$metric{$1} = $2 if /^([a-zA-Z_:]\w*(?:\{.*\})?) (\S+)/;
	}
	return \%metric;
}

# The sum over all series of a metric that have these labels.
sub metric {
	my ($self, $name, %label) = @_;
	my ($all, $sum) = ($self->metrics);
	for my $series (keys %$all) {
		next unless $series =~ /^\Q$name\E(?:\{(.*)\})?$/;
		my %has = ($1 // '') =~ /(\w+)="((?:[^"\\]|\\.)*)"/g;
		next if grep { !defined $has{$_} || $has{$_} ne $label{$_} } keys %label;
		$sum += $all->{$series};
	}
	return $sum;
}

# ---- the family --------------------------------------------------------------

sub slurp_proc {
	my ($path) = @_;
	open my $in, '<', $path or return '';
	local $/;
	return scalar(<$in>) // '';
}

# (state, parent, session) of a process, or nothing when it is gone.
sub stat_of {
	my ($pid) = @_;
	return slurp_proc("/proc/$pid/stat") =~ /.*\) (\S) (\d+) \d+ (\d+)/s ? ($1, $2, $3) : ();
}

sub kind_of {
	my ($pid) = @_;
	my $title = slurp_proc("/proc/$pid/cmdline");
	$title =~ tr/\0/ /;
	for (keys %titles) {
		return $titles{$_} if index($title, "engram-server: $_") >= 0;
	}
	return 'other';
}

# Living processes of this server: { pid => kind }.
sub family {
	my ($self) = @_;
	my (%parent, %member);
	opendir my $proc, '/proc' or die "/proc: $!";
	for my $pid (grep { /^\d+$/ } readdir $proc) {
		my ($state, $parent, $session) = stat_of($pid) or next;
		next if $state =~ /[ZX]/;
		$parent{$pid} = $parent;
		$member{$pid} = 1 if $self->{sessions}{$session};
	}
	my $more = 1;
	while ($more) {
		$more = 0;
		for (keys %parent) {
			$more = $member{$_} = 1 if !$member{$_} && ($member{$parent{$_}} || $self->{pid} && $parent{$_} == $self->{pid});
		}
	}
	return { map { $_ => kind_of($_) } keys %member };
}

# Pids of a kind (master, worker, wal, consolidation), lowest first; of all without one. In
# scalar context their number.
sub pids {
	my ($self, $kind) = @_;
	my $family = $self->family;
	my @pids = sort { $a <=> $b } grep { !defined $kind || $family->{$_} eq $kind } keys %$family;
	return @pids;
}

# Send a signal to every process of a kind; returns their pids. `kill` is for the
# test to decide when; wait_until tells when it has worked.
sub kill {
	my ($self, $signal, $kind) = @_;
	my @pids = $self->pids($kind);
	CORE::kill($signal, @pids) if @pids;
	return @pids;
}

# SIGKILL to the whole family, the master stopped first so that it sees none of
# the others die. What it leaves in memory is what a crash leaves.
sub kill_all {
	my ($self) = @_;
	$self->note_shm;
	$self->kill(STOP => 'master');
	my $gone = wait_until {
		my $family = $self->family;
		my @children = grep { $family->{$_} ne 'master' } keys %$family;
		CORE::kill(KILL => @children ? @children : keys %$family);
		$self->running;
		!%$family;
	};
	$self->running;
	return $gone;
}

# Start again on the same data, after an end of any kind.
sub restart {
	my ($self) = @_;
	$self->launch;
	$self->await_ready;
}

# ---- ending ------------------------------------------------------------------

# Remember which shared memory objects the family has mapped or open: after the
# end none of them may be left.
sub note_shm {
	my ($self) = @_;
	for my $pid ($self->pids) {
		$self->{shm}{$_} = 1 for slurp_proc("/proc/$pid/maps") =~ m{ (/dev/shm/\S+)$}mg;
		for (glob "/proc/$pid/fd/*") {
			my $to = readlink // next;
			$self->{shm}{$to} = 1 if $to =~ m{^/dev/shm/} && $to !~ / \(deleted\)$/;
		}
	}
	my @objects = sort keys %{$self->{shm}};
	return @objects;
}

# Ask for an end by a signal (TERM: fast, QUIT: graceful) and wait for it. Returns
# what was wrong: processes left, shared memory left, exit status, crashes logged.
sub end {
	my ($self, $signal) = @_;
	my @faults;
	$self->note_shm;
	if (my $pid = $self->{pid}) {
		CORE::kill($signal || 'TERM', $pid);
		if (wait_until { !$self->running && !$self->pids }) {
			push @faults, "exit status $self->{status}" if $self->{status};
		} else {
			my $family = $self->family;
			push @faults, 'did not end: ' . join(', ', map { "$family->{$_} $_" } sort keys %$family);
			$self->kill_all;
		}
	} else {
		push @faults, 'was not running';
		$self->kill_all;
	}
	my @left = grep { -e } sort keys %{$self->{shm}};
	push @faults, "shared memory left: @left" if @left;
	push @faults, "in the log: $_" for grep { /$crash/ } split /\n/, $self->log_text;
	return @faults;
}

# end() as one test. With a signal other than TERM, say so.
sub stop_ok {
	my ($self, $signal, $name) = @_;
	$signal ||= 'TERM';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @faults = $self->end($signal);
	Test::More::is(join("\n", @faults), '', $name || "$signal ends the server and leaves nothing behind")
		or $self->diag;
	return !@faults;
}

sub log_text {
	my ($self) = @_;
	return slurp_proc($self->log_file);
}

sub log_tail {
	my ($self, $lines) = @_;
	my @lines = split /^/, $self->log_text;
	splice @lines, 0, -($lines || 40) if @lines > ($lines || 40);
	return join '', map { "log: $_" } @lines;
}

# Show the end of the server's log among the test's remarks.
sub diag {
	my ($self) = @_;
	Test::More::diag($self->log_tail);
}

# However the test file ends: no process, no object and no folder stays.
sub cleanup {
	my ($self) = @_;
	$self->kill_all if $self->{pid} || $self->pids;
	unlink grep { -e } keys %{$self->{shm}};
	File::Path::remove_tree($self->{dir}) if $self->{temporary} && !$ENV{ENGRAM_KEEP};
}

# A test file that is told to end does so by its END block.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

END {
	if ($$ == $owner) {
		my $failed = $? || !Test::More->builder->is_passing;
		local $?;
		for my $server (values %alive) {
			$server->diag if $failed;
			$server->cleanup;
		}
	}
}

1;
