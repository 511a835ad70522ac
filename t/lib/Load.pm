# Clients that keep a server busy from processes of their own, and hold it to its
# word: every request that was sent gets a whole answer, and the right one.
#
#	my $load = Load->start($server, clients => 4);         # store, recall, look
#	...
#	my $sum = $load->stop;
#	is(join("\n", @{$sum->{faults}}), '', 'no request failed');
#
# A client keeps its connection and opens another one only when the answer says
# `Connection: close`; it never sends a request twice. (HTTP::Tiny would.)
package Load;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Time::HiRes 'time';

my $json = JSON::PP->new->utf8->canonical;
my $faults_kept = 5;

sub dial {
	my ($server) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port) || die "connect: $!\n";
}

sub more {
	my ($sock, $have) = @_;
	my ($deadline, $ready) = (time + $Engram::patience, 0);
	# A signal ends the waiting too, not the request.
	$ready = IO::Select->new($sock)->can_read($deadline - time) until $ready || time > $deadline;
	die "no answer in $Engram::patience s\n" if !$ready;
	my $n = sysread $sock, my $part, 65536;
	die "read: $!\n" unless defined $n;
	die length $have ? "the answer ends in its midst\n" : "closed without an answer\n" if !$n;
	return $have . $part;
}

# One request; (status, body, whether the connection ends). Dies if there is no whole answer.
sub exchange {
	my ($sock, $method, $path, $body) = @_;
	my $data = defined $body ? $json->encode($body) : '';
	my $text = "$method $path HTTP/1.1\r\nHost: localhost\r\n";
	$text .= "Content-Type: application/json\r\nContent-Length: " . length($data) . "\r\n" if defined $body;
	local $SIG{PIPE} = 'IGNORE';
	defined syswrite $sock, "$text\r\n$data" or die "write: $!\n";
	my $in = '';
	$in = more($sock, $in) until $in =~ /\r\n\r\n/;
	my ($head, $rest) = split /\r\n\r\n/, $in, 2;
	my ($status) = $head =~ m{^HTTP/1\.1 (\d+)} or die "no status line: $head\n";
	my ($bytes) = $head =~ /^content-length: (\d+)\r?$/mi or die "no length: $head\n";
	$rest = more($sock, $rest) while length $rest < $bytes;
	return ($status, $rest, $head =~ /^connection: close\r?$/mi ? 1 : 0);
}

# What client $c asks as its n-th request: (method, path, body, status wanted).
sub mixed {
	my ($c, $n) = @_;
	my $step = $n % 3;
	my $word = 'word' . ($n % 97);
	return ('POST', '/api/v1/memories/remember', { id => "load-$c-$n", content => "client $c stored $word and number $n" }, 201) if $step == 0;
	return ('POST', '/api/v1/memories/recall', { query => "number $word", max_results => 3 }, 200) if $step == 1;
	return ('GET', "/api/v1/memories/load-$c-" . ($n - 2), undef, 200);
}

sub client {
	my ($server, $c, $ask, $sock) = @_;
	my ($end, $sum) = (0, { requests => 0, stored => 0, closes => 0, faults => [] });
	local $SIG{TERM} = sub { $end = 1 };
	for (my $n = 0; !$end || !$n; $n++) {
		my ($method, $path, $body, $want) = $ask->($c, $n);
		my ($status, $said, $close) = eval { $sock ||= dial($server); exchange($sock, $method, $path, $body) };
		my $fault = $@ || ($status == $want ? '' : "status $status: $said");
		$sum->{requests}++;
		$sum->{stored}++ if !$fault && $status == 201;
		$sum->{closes}++ if $close;
		undef $sock if $close || $@;
		next unless $fault;
		push @{$sum->{faults}}, sprintf 'at %.3f, request %d: %s %s: %s', time, $n, $method, $path, $fault if @{$sum->{faults}} < $faults_kept;
	}
	return $sum;
}

# Options: clients => number, ask => what to ask instead of mixed, sock => connection to begin on.
sub start {
	my ($class, $server, %option) = @_;
	my $self = bless { clients => [] }, $class;
	for my $c (1 .. $option{clients} || 1) {
		pipe my $in, my $out or die "pipe: $!";
		my $pid = fork // die "fork: $!";
		if (!$pid) {
			close $in;
			print $out $json->encode(client($server, $c, $option{ask} || \&mixed, $option{sock}));
			close $out;
			POSIX::_exit(0);
		}
		close $out;
		push @{$self->{clients}}, { pid => $pid, in => $in };
	}
	return $self;
}

# End all clients; the sum of what they saw, with the smallest number of any in {least}.
sub stop {
	my ($self) = @_;
	my $sum = { requests => 0, stored => 0, closes => 0, faults => [], least => undef };
	CORE::kill(TERM => map { $_->{pid} } @{$self->{clients}});
	for my $client (@{$self->{clients}}) {
		my $said = do { local $/; my $in = $client->{in}; <$in> };
		waitpid $client->{pid}, 0;
		my $one = eval { $json->decode($said) } || { faults => ["a client ended with status $?"] };
		$sum->{$_} += $one->{$_} || 0 for qw(requests stored closes);
		push @{$sum->{faults}}, @{$one->{faults}};
		$sum->{least} = $one->{requests} if !defined $sum->{least} || $one->{requests} < $sum->{least};
	}
	$self->{clients} = [];
	return $sum;
}

1;
