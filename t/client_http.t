#!/usr/bin/perl
# The program `engram` against a server that this test plays itself, because a
# real one is rarely overloaded, broken or gone at the wanted moment: exit
# statuses, error envelopes, what is sent, repeating and splitting of batches.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp 'tempdir';
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Test::More;
use Engram;

-x Engram::client() or plan skip_all => 'the program engram is not built';
delete @ENV{grep { /^ENGRAM_(URL|API_KEY|SPACE)$/ } keys %ENV};
my $json = JSON::PP->new->utf8->canonical;
my $dir = tempdir(CLEANUP => 1);

# ---- the played server: answers from a list, one connection after another ----

sub read_request {
	my ($socket) = @_;
	my ($head, $body) = ('', '');
	while ($head !~ /\r\n\r\n/) {
		sysread $socket, $head, 1, length $head or return;
	}
	my %header = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head;
	my $length = $header{'content-length'} || 0;
	while (length $body < $length) {
		sysread $socket, $body, $length - length $body, length $body or return;
	}
	my ($method, $path) = split ' ', $head;
	return { method => $method, path => $path, header => \%header, body => $body };
}

# $answer->(request, how many came before) gives [status, headers, body], or undef to hang up.
sub serve {
	my ($listen, $seen, $answer) = @_;
	my $n = 0;
	while (my $socket = $listen->accept) {
		while (my $request = read_request($socket)) {
			my $reply = $answer->($request, $n++);
			print $seen $json->encode({ %$request, hung_up => $reply ? 0 : 1 }), "\n";
			$seen->flush;
			last unless $reply;
			my ($status, $headers, $body) = @$reply;
			$body = $json->encode($body) if ref $body;
			syswrite $socket, "HTTP/1.1 $status X\r\nContent-Type: application/json\r\n"
				. join('', map { "$_\r\n" } @$headers) . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
		}
		close $socket;
	}
}

# Run the client against such a server: { exit, out, err, requests }.
sub talk {
	my ($answer, $args, $input) = @_;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die $!;
	open my $seen, '+>', "$dir/seen" or die $!;
	my $server = fork // die $!;
	if (!$server) {
		serve($listen, $seen, $answer);
		POSIX::_exit(0);
	}
	my $said = run_client($input, 'http://127.0.0.1:' . $listen->sockport, @$args);
	kill KILL => $server;
	waitpid $server, 0;
	seek $seen, 0, 0;
	$said->{requests} = [map { $json->decode($_) } <$seen>];
	return $said;
}

sub run_client {
	my ($input, $url, @args) = @_;
	open my $in, '>', "$dir/in" or die $!;
	print $in $input // '';
	close $in;
	local $ENV{ENGRAM_URL} = $url || '';
	my $command = join ' ', map { "'" . s/'/'\\''/gr . "'" } Engram::client(), @args;
	my $out = `$command <$dir/in 2>$dir/err`;
	my $exit = $? >> 8;
	open my $err, '<', "$dir/err" or die $!;
	return { exit => $exit, out => $out, err => do { local $/; <$err> } // '' };
}

sub envelope { my ($code, %more) = @_; return { error => { code => $code, message => "says $code", suggestion => 'do otherwise', %more } } }

sub results {
	my ($request, $bad) = @_;
	my $i = 0;
	my @results = map {
		my $fault = $bad && $bad->($_);
		$fault ? { index => $i++, success => JSON::PP::false, error => { code => 'INVALID_MEMORY_INPUT', message => $fault } }
			: { index => $i++, success => JSON::PP::true, memory_id => $_->{id} // "server-$i", version => 1 }
	} @{$json->decode($request->{body})->{memories}};
	return [200, [], { results => \@results, stored => 0, failed => 0, durable => JSON::PP::true, lsn => 1 }];
}

# ---- usage ----
for ([], ['dance'], ['get'], ['get', 'a', 'b'], ['recall', '--limit', 'many', 'x'], ['list', '--text'], ['list', '-z'],
	['recall', '--limit'], ['get', '--json=1', 'a'], ['get', '--url', 'x', '--url', 'y', 'z']) {
	my $said = run_client('', undef, @$_);
	is($said->{exit}, 64, "engram @$_: exit 64");
	like($said->{err}, qr/^engram: |^usage: /, '... and a reason');
}
is(run_client('', undef, 'help')->{exit}, 0, 'help');
is(run_client('', undef, 'spaces', 'create', '--help')->{out} =~ /--dimension/, 1, 'help of a command shows its options');
is(run_client('', undef, 'get', 'a', '--url', 'http://127.0.0.1:1')->{exit}, 69, 'no server: exit 69');
is(run_client('', undef, 'get', 'a', '--url', 'gopher://127.0.0.1/')->{exit}, 64, 'no such protocol: exit 64');

# ---- statuses and envelopes ----
my %exit = (400 => 65, 401 => 77, 403 => 77, 404 => 66, 408 => 75, 409 => 65, 413 => 65, 422 => 65, 429 => 75, 500 => 70,
	501 => 70, 503 => 75, 507 => 75, 302 => 76);
for my $status (sort keys %exit) {
	my $said = talk(sub { [$status, ['Location: http://127.0.0.1:1/'], envelope('CODE', field => 'content', limit => 100)] }, ['get', 'a']);
	is($said->{exit}, $exit{$status}, "$status: exit $exit{$status}");
	next unless $status == 400;
	like($said->{err}, qr/^engram: says CODE \(CODE, 400\)\n  field: content\n  limit: 100\n  suggestion: do otherwise\n/, 'the whole envelope is told');
	is($said->{out}, '', 'and nothing on stdout');
}
is_deeply($json->decode(talk(sub { [404, [], envelope('GONE')] }, ['get', 'a', '--json'])->{err}), envelope('GONE'), '--json: the envelope as it came');
like(talk(sub { [404, [], 'oops'] }, ['get', 'a'])->{err}, qr/answered 404/, 'an error without an envelope');
is(talk(sub { [200, [], 'oops'] }, ['get', 'a'])->{exit}, 76, 'a success that is no JSON: exit 76');

# ---- what is sent ----
{
	local @ENV{qw(ENGRAM_API_KEY ENGRAM_SPACE)} = ('engram_key_a_b', 'attic');
	my $said = talk(sub { [201, [], { memory_id => 'm', version => 1, created => JSON::PP::true, durable => JSON::PP::true }] },
		['remember', '--tag', 'a', '--tag=b', '--meta', 'n=5', '--meta', 's=x=y', '--confidence', '.5', '--id', 'm', 'two', 'words']);
	is($said->{exit}, 0, 'remember');
	is($said->{out}, "m  version 1, new, durable\n", '... says what was stored');
	my $request = $said->{requests}[0];
	is("$request->{method} $request->{path}", 'POST /api/v1/memories/remember', '... by its route');
	is($request->{header}{authorization}, 'Bearer engram_key_a_b', '... with the key');
	is($request->{header}{'x-memory-space'}, 'attic', '... and the space');
	is_deeply($json->decode($request->{body}), { content => 'two words', id => 'm', tags => ['a', 'b'], confidence => 0.5,
		metadata => { n => 5, s => 'x=y' } }, '... and all that was given');
	is(talk(sub { [200, [], {}] }, ['get', 'x', '--space=cellar'])->{requests}[0]{header}{'x-memory-space'}, 'cellar', '--space wins over ENGRAM_SPACE');
}
is(talk(sub { [200, [], {}] }, ['get', "a/b c?\x{c3}\x{a9}"])->{requests}[0]{path}, '/api/v1/memories/a%2Fb%20c%3F%C3%A9', 'ids are escaped');
is($json->decode(talk(sub { [201, [], {}] }, ['remember', '-'], "line\nline\n")->{requests}[0]{body})->{content}, "line\nline", 'text from stdin');
is_deeply($json->decode(talk(sub { [200, [], { results => [] }] }, ['recall', '--from', 'F', '--no-tag', 't', '--limit', 3, '--explain', '--', '-x', 'y'])->{requests}[0]{body}),
	{ query => '-x y', max_results => 3, explain => JSON::PP::true, filter => { from_time => 'F', tags_none => ['t'] } }, 'a recall with its filter');

# ---- output ----
my $hit = { rank => 1, id => 'm-1', content => "a\e[31mred\nroof", score => 0.5, match => 0.75, class => 'direct',
	explain => { vector => 0.25, lexical => 0.5, paths => [] } };
my $hits = talk(sub { [200, [], { results => [$hit] }] }, ['recall', 'roof'])->{out};
like($hits, qr/^\s*#\s+SCORE\s+MATCH\s+ID\s+TEXT\n\s*1\s+0\.500\s+0\.750\s+m-1\s+a \[31mred roof\n\s+direct, lexical 0\.5, vector 0\.25\n/, 'a table of hits with reasons');
unlike($hits, qr/\e/, 'no escape sequence gets through');
like(talk(sub { [200, [], { results => [], reason => 'the space is empty' }] }, ['recall', 'roof'])->{out}, qr/^nothing: the space is empty$/m, 'nothing found, with the reason');

# ---- import ----
sub import_of { my ($answer, $input, @args) = @_; my $said = talk($answer, ['import', '-', '--json', '--parallel=1', @args], $input);
	$said->{report} = eval { $json->decode($said->{out}) }; return $said }
sub items { my ($said) = @_; return [map { @{$json->decode($_->{body})->{memories}} } @{$said->{requests}}] }

my $said = import_of(sub { results($_[0]) }, qq({"content":"one","embedding":[0.1,1e-7]}\n\n {"id":"x","content":"two"}\n{}\n));
is($said->{exit}, 0, 'import');
is_deeply(items($said), [{ id => 'stdin:1', content => 'one', embedding => [0.1, 1e-7] }, { id => 'x', content => 'two' }, { id => 'stdin:4' }],
	'lines as they stand, named by their number when they have no id');
like($said->{requests}[0]{body}, qr/\[0\.1,1e-7\]/, 'numbers are passed on as they were written');
is_deeply([@{$said->{report}}{qw(lines stored failed)}], [4, 3, 0], 'and counted');

$said = import_of(sub { results($_[0]) }, "a \"b\"\n\nc\n", '--text');
is_deeply(items($said), [{ id => 'stdin:1', content => 'a "b"' }, { id => 'stdin:3', content => 'c' }], 'texts');
is_deeply(items(import_of(sub { results($_[0]) }, "a\n", '--text', '--no-ids')), [{ content => 'a' }], 'texts without ids');

$said = import_of(sub { results($_[0]) }, join('', map { "text $_\n" } 1 .. 25), '--text', '--batch=10');
is_deeply([map { scalar @{$json->decode($_->{body})->{memories}} } @{$said->{requests}}], [10, 10, 5], 'batches');

$said = import_of(sub { results($_[0], sub { $_[0]{content} eq 'b' ? 'no b' : undef }) }, "a\nb\nc\n", '--text');
is($said->{exit}, 65, 'a line that failed: exit 65');
is_deeply($said->{report}{failures}, [{ line => 2, to => 2, code => 'INVALID_MEMORY_INPUT', message => 'no b' }], '... with its number');
like($said->{err}, qr/^engram: stdin:2: no b/m, '... on stderr too');

$said = import_of(sub { results($_[0]) }, qq({"content":"a"}\n[1]\n{"content":\n\xff\n{"content":"b"}\n));
is_deeply([map { $_->{line} } @{$said->{report}{failures}}], [2, 3, 4], 'lines that are no JSON object fail alone');
is($said->{report}{stored}, 2, '... and the others are stored');

$said = import_of(sub { $_[0]{body} =~ /evil/ ? [400, [], envelope('BAD_REQUEST')] : results($_[0]) },
	join('', map { $_ == 7 ? "evil\n" : "good $_\n" } 1 .. 16), '--text');
is_deeply([map { $_->{line} } @{$said->{report}{failures}}], [7], 'a batch that is refused whole is halved down to the line at fault');
is($said->{report}{stored}, 15, '... and the rest is stored');

$said = import_of(sub { $_[1] < 2 ? [503, ['Retry-After: 0'], envelope('OVERLOADED')] : results($_[0]) }, "a\nb\n", '--text');
is_deeply([$said->{exit}, $said->{report}{stored}, scalar @{$said->{requests}}], [0, 2, 3], '503: sent again');
$said = import_of(sub { $_[1] == 1 ? undef : results($_[0]) }, "a\nb\n", '--text', '--batch=1');
is_deeply([$said->{exit}, $said->{report}{stored}], [0, 2], 'a connection lost in between: sent again');
$said = import_of(sub { $_[1] == 1 ? undef : results($_[0]) }, "a\nb\n", '--text', '--batch=1', '--no-ids');
is_deeply([$said->{exit}, $said->{report}{stored}, $said->{report}{failed}], [69, 1, 1], '... but not without ids, it might be stored twice');
$said = import_of(sub { $_[1] == 1 ? [503, ['Retry-After: 0'], envelope('WRITER_UNAVAILABLE')] : results($_[0]) }, "a\nb\n", '--text', '--batch=1', '--no-ids');
is_deeply([$said->{report}{stored}, $said->{report}{failed}], [1, 1], '... nor when the server does not know');
$said = import_of(sub { $_[1] ? [403, [], envelope('FORBIDDEN')] : results($_[0]) }, join('', map { "$_\n" } 1 .. 9), '--text', '--batch=1');
is_deeply([$said->{exit}, $said->{report}{stored}, $said->{report}{failed}, scalar @{$said->{requests}}], [77, 1, 1, 2], 'forbidden: it stops at once');
is(import_of(sub { [200, [], { results => [] }] }, "a\n", '--text')->{exit}, 76, 'an answer without results: exit 76');
is(run_client("a\n", undef, 'import', '-', '--text', '--url', 'http://127.0.0.1:1')->{exit}, 69, 'no server: exit 69');
is(run_client('', undef, 'import', "$dir/none")->{exit}, 66, 'no file: exit 66');
is(run_client('', undef, 'import', '-', '--batch=0')->{exit}, 64, 'a batch of none: exit 64');

done_testing;
