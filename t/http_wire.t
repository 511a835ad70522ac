#!/usr/bin/perl
# The HTTP interface on the wire: kept connections, pipelining, refusals in JSON,
# limits of connections, draining.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Engram;

plan skip_all => 'engram-server is not built' unless -x Engram::binary();

my $s = Engram->start(settings => {
	'limits.per_ip' => 20, 'limits.header_seconds' => 1, 'server.allowed_hosts' => ['memory.example'],
	'workers.event_threads' => 2, 'server.drain_timeout_seconds' => 10,
});

sub dial { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->port) || die "connect: $!\n" }

# Everything until the server closes, or until `answers` complete answers are there.
sub hear {
	my ($sock, $answers) = @_;
	my ($got, $deadline) = ('', time + 20);
	while (time < $deadline) {
		last if $answers && (() = $got =~ /^HTTP\/1\.1 \d+/mg) >= $answers && $got =~ /\}\s*$/;
		IO::Select->new($sock)->can_read(1) or next;
		sysread $sock, $got, 65536, length $got or return ($got, 1);
	}
	return ($got, 0);
}

sub say_hear { my ($text, $answers) = @_; my $sock = dial(); syswrite $sock, $text; return hear($sock, $answers) }

my $get = "GET /health/alive HTTP/1.1\r\nHost: localhost\r\n\r\n";

# ---- kept connections
my $sock = dial();
for my $round (1 .. 3) {
	syswrite $sock, $get;
	my ($got, $closed) = hear($sock, 1);
	like($got, qr{^HTTP/1\.1 200 .*\r\n\r\n\{"status":"alive"\}\n\z}s, "answer $round on one connection");
	ok(!$closed, '... which stays open');
}
my ($got) = say_hear($get x 5, 5);
is(scalar(() = $got =~ /"alive"/g), 5, 'five pipelined requests, five answers');
my $metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
($got) = say_hear("$metrics$get", 2);
like($got, qr/engram_build_info.*"alive"/s, 'a request from the pool and one from the loop answer in order');
($got) = say_hear("HEAD /health/alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
like($got, qr/^HTTP\/1\.1 200 .*Content-Length: 19\r\n(?:[^\r\n]+\r\n)*\r\n\z/s, 'HEAD has the length and no body');

# ---- refusals: one JSON answer, then the end
my %bad = (
	'two lengths'   => [400, "POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"],
	'length and coding' => [400, "POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
	'bare LF'       => [400, "GET /health/alive HTTP/1.1\nHost: localhost\n\n"],
	'folded line'   => [400, "GET /health/alive HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"],
	'foreign host'  => [400, "GET /health/alive HTTP/1.1\r\nHost: rebind.example\r\n\r\n"],
	'encoded slash' => [400, "GET /health%2falive HTTP/1.1\r\nHost: localhost\r\n\r\n"],
	'large headers' => [431, "GET /health/alive HTTP/1.1\r\nHost: localhost\r\nX: " . 'a' x 40000 . "\r\n\r\n"],
	'long target'   => [414, 'GET /' . 'a' x 40000 . " HTTP/1.1\r\nHost: localhost\r\n\r\n"],
	'body too large' => [413, "POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n{"],
	'no JSON'       => [415, "POST /api/v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"],
);
for my $name (sort keys %bad) {
	my ($status, $text) = @{$bad{$name}};
	my ($answer, $closed) = say_hear($text . $get);
	is(scalar(() = $answer =~ /^HTTP\/1\.1/mg), 1, "$name: one answer");
	ok($closed, '... and the connection ends');
	my ($head, $body) = split /\r\n\r\n/, $answer, 2;
	like($head, qr/^HTTP\/1\.1 $status .*Connection: close/s, "... $status");
	my $error = eval { decode_json($body)->{error} } || {};
	ok($error->{code} && $error->{message} && $error->{suggestion}, '... with code, message and suggestion');
}
# The same on a kept connection, where the library has the bytes.
for my $name ('bare LF', 'folded line', 'two lengths', 'encoded slash') {
	my ($answer) = say_hear($get . $bad{$name}[1] . $get);
	is(join(' ', $answer =~ /^HTTP\/1\.1 (\d+)/mg), "200 400", "$name as a second request: refused, and nothing after it");
}
is((say_hear("GET /health/alive HTTP/1.1\r\nHost: memory.example:80\r\nConnection: close\r\n\r\n"))[0] =~ /^HTTP\/1\.1 200/ ? 1 : 0, 1, 'an allowed host');

my $answer = $s->get('/api/v1/memorys');
is($answer->{status}, 404, 'unknown route');
like($answer->{json}{error}{suggestion}, qr{/api/v1/memories}, '... the nearest is named');
$answer = $s->request('PUT', '/health/ready');
is($answer->{status}, 405, 'wrong method');
is($answer->{headers}{allow}, 'GET, HEAD', '... Allow');

# ---- what the client takes
for (['/health', 'application/json', 200], ['/health', 'text/html, */*;q=0.1', 200], ['/health', 'text/html', 406],
	['/metrics', 'text/plain;version=0.0.4', 200], ['/metrics', 'application/json', 406]) {
	my ($path, $accept, $status) = @$_;
	$answer = $s->request('GET', $path, undef, { Accept => $accept });
	is($answer->{status}, $status, "$path for a client that takes $accept: $status");
	is($answer->{json}{error}{code}, 'NOT_ACCEPTABLE', '... and why') if $status == 406;
}

# ---- slow and many
my ($slow, $closed) = say_hear("GET /health/alive HTTP/1.1\r\nHost: loc");
ok($closed && $slow eq '', 'a head that does not come is cut');
ok((say_hear("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))[1], 'HTTP/2 is closed');
undef $sock;
wait_until { $s->metric('engram_http_connections') <= 2 } 'connections end';
my @crowd = map { dial() } 1 .. 40;
my $refused = 0;
for (@crowd) {
	syswrite $_, $get;
	my ($text) = hear($_, 1);
	$refused++ if $text =~ /^HTTP\/1\.1 503 .*Retry-After: \d+.*"OVERLOADED"/s;
}
ok($refused >= 20 && $refused <= 21, "20 connections of an address are served, $refused of 40 refused");
@crowd = ();
wait_until { $s->get('/health/alive')->{status} == 200 } 'served again';

# ---- introspection
my $told = $s->get('/api/v1/system/introspect')->{json};
is_deeply([sort keys %$told], [sort qw(version backup checkpoint config processes memory numa vector_kernel embedder wal graphs counts testing)], 'introspection has the names of the interface');
is_deeply([sort map { $_->{kind} } @{$told->{processes}}], [sort qw(master wal worker consolidation)], '... and every process');
is($told->{config}{'limits.per_ip'}, 20, '... and the configuration in force');

$s->stop_ok;
done_testing;
