# Many kept connections driven by one process: each has one request under way, and the next
# one is sent when the answer is there. For the bench scripts.
#
#	my $c = Clients->new($server, 32);
#	$c->run(sub { my ($number) = @_; ... a whole request, or undef: this connection has done ... },
#		sub { my ($number, $status, $seconds, $head, $body) = @_; ... });
#
# Dies when an answer does not come.
package Clients;
use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use Time::HiRes 'time';

our @EXPORT_OK = qw(post_text percentile);

sub new {
	my ($class, $server, $n) = @_;
	my @all = map { { number => $_, in => '' } } 0 .. $n - 1;
	for my $c (@all) {
		$c->{sock} = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port) or die "connect: $!\n";
		$c->{sock}->autoflush(1);
		binmode $c->{sock};
	}
	return bless { all => \@all, port => $server->port }, $class;
}

# The text of a POST.
sub post_text {
	my ($path, $body, @headers) = @_;
	return join "\r\n", "POST $path HTTP/1.1", 'Host: localhost', 'Content-Type: application/json', @headers,
		'Content-Length: ' . length $body, '', $body;
}

sub send_next {
	my ($self, $c, $next) = @_;
	my $text = $next->($c->{number});
	return 0 unless defined $text;
	if ($c->{over}) {
		$c->{sock} = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) or die "connect: $!\n";
		$c->{over} = 0;
	}
	$c->{begun} = time;
	for (my $at = 0; $at < length $text;) {
		$at += syswrite($c->{sock}, $text, length($text) - $at, $at) // die "write: $!\n";
	}
	return 1;
}

# True when a whole answer is there.
sub take {
	my ($c) = @_;
	my $n = sysread $c->{sock}, $c->{in}, 262144, length $c->{in};
	die "a connection ended in its midst\n" unless $n;
	my $at = index $c->{in}, "\r\n\r\n";
	return 0 if $at < 0;
	my ($bytes) = substr($c->{in}, 0, $at + 2) =~ /^content-length: (\d+)\r?$/mi or die "an answer without a length\n";
	return length $c->{in} >= $at + 4 + $bytes;
}

sub run {
	my ($self, $next, $done) = @_;
	my (%by, $select);
	$select = IO::Select->new;
	for my $c (@{ $self->{all} }) {
		next unless $self->send_next($c, $next);
		$by{ $c->{sock} } = $c;
		$select->add($c->{sock});
	}
	while ($select->count) {
		my @ready = $select->can_read(60) or die "no answer in 60 s\n";
		for my $sock (@ready) {
			my $c = $by{$sock};
			take($c) or next;
			my ($head, $body) = split /\r\n\r\n/, $c->{in}, 2;
			my ($status) = $head =~ m{^HTTP/1\.1 (\d+)};
			$c->{in} = '';
			$c->{over} = $head =~ /^connection: close\r?$/mi;
			$done->($c->{number}, $status, time - $c->{begun}, $head, $body);
			$select->remove($sock);
			delete $by{$sock};
			$self->send_next($c, $next) or next;
			$by{ $c->{sock} } = $c;
			$select->add($c->{sock});
		}
	}
	return;
}

sub percentile {
	my ($share, @v) = @_;
	@v = sort { $a <=> $b } @v;
	return @v ? $v[int $share * $#v] : 0;
}

1;
