#!/usr/bin/perl
# A reload under load: no request fails, and a setting changes in every kind of
# process. Clients keep their connections until they are told to close them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use POSIX 'strftime';
use Engram;
use Load;

plan skip_all => 'engram-server is not built' unless -x Engram::binary();

my $s = Engram->start(settings => {
	'workers.per_node' => 2, 'logging.level' => 'warn', 'server.drain_timeout_seconds' => 20,
	'consolidation.interval_seconds' => 1, 'monitoring.slow_query_threshold_ms' => 3600000,
});
my $generation = 1;

# Generations of all processes, by kind, each once.
sub generations {
	my %seen;
	my $told = HTTP::Tiny->new(timeout => $Engram::patience, keep_alive => 0)->get($s->url . '/api/v1/system/introspect');
	return {} unless $told->{status} == 200;
	$seen{$_->{kind}}{$_->{generation}} = 1 for @{JSON::PP::decode_json($told->{content})->{processes}};
	return { map { $_ => join ' ', sort keys %{$seen{$_}} } keys %seen };
}

sub all_follow {
	my ($name) = @_;
	my $want = { map { $_ => $generation } qw(master wal worker consolidation) };
	my $all = wait_until { my $g = generations(); my $same = 0; $same += ($g->{$_} || '') eq $want->{$_} for keys %$want; $same == 4 };
	ok($all, "generation $generation, $name: followed by every process") or is_deeply(generations(), $want);
}

sub reload {
	my (%settings) = @_;
	$s->set(%settings);
	CORE::kill(HUP => $s->pid);
	$generation++;
	wait_until { (generations()->{master} || 0) == $generation } 'the master takes it over';
}

sub stored_at { return $s->post('/api/v1/memories/remember', { content => $_[0] })->{json}{stored_at} }
sub hours_ahead { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime time + 3600 * $_[0]) }

is_deeply(generations(), { map { $_ => 1 } qw(master wal worker consolidation) }, 'all begin with generation 1');
is($s->post('/api/v1/memories/remember', { id => 'brief', content => 'gone in an hour', expires_at => hours_ahead(1) })->{status}, 201, 'a memory for an hour');
cmp_ok(stored_at('before'), 'lt', hours_ahead(1), 'the clock is the real one');
unlike($s->log_text, qr/slow request|\[info\] wal/, 'level warn, and nothing is slow');

my $load = Load->start($s, clients => 4);
my %stays = map { $_ => ($s->pids($_))[0] } qw(wal consolidation);
my %old = map { $_ => 1 } $s->pids('worker');

reload('logging.level' => 'info', 'monitoring.slow_query_threshold_ms' => 0);
all_follow('level and threshold');
# This file's own connection is idle: it ends with its next request.
wait_until { $s->get('/health/alive'); my @now = $s->pids('worker'); @now == 2 && !grep { $old{$_} } @now } 'both workers are new ones';
wait_until { $s->log_text =~ /worker process \d+: slow request/ } 'a worker has the new threshold';

reload('testing.clock_offset_seconds' => 7200, 'monitoring.slow_query_threshold_ms' => 3600000);
all_follow('clock');
like($s->log_text, qr/\[info\] master process \d+: configuration generation $generation is in force/, 'the master has the new level');
like($s->log_text, qr/\[info\] wal process \d+: configuration generation $generation is in force/, 'so has the wal process');
like($s->log_text, qr/\[info\] consolidation process \d+: testing\.clock_offset_seconds changed/, 'and the consolidation process');
is($s->get('/api/v1/system/introspect')->{json}{testing}{clock_offset_seconds}, 7200, 'a worker shows the new clock');
cmp_ok(stored_at('after'), 'gt', hours_ahead(1), 'the wal process stamps by the new clock');
wait_until { $s->metric('engram_consolidation_expired_total') == 1 } 'the consolidation process deletes by the new clock';

# One after the other, not waiting for the workers of the one before.
reload('testing.clock_offset_seconds' => 7200 + $_) for 1 .. 5;
all_follow('five reloads in a row');
wait_until { $s->get('/health/alive'); $s->pids('worker') == 2 } 'old workers have left';

%old = map { $_ => 1 } $s->pids('worker');
my $failed = $s->metric('engram_config_reloads_total', result => 'failed');
$s->set('testing.clock_offset_seconds' => 'late');
CORE::kill(HUP => $s->pid);
wait_until { $s->metric('engram_config_reloads_total', result => 'failed') == $failed + 1 } 'a wrong configuration counts as failed';
all_follow('after the wrong one');
is(scalar(grep { $old{$_} } $s->pids('worker')), 2, '... and its workers stay');
is($s->get('/api/v1/system/introspect')->{json}{testing}{clock_offset_seconds}, 7205, '... with the values they had');
reload('testing.clock_offset_seconds' => 0);
all_follow('a right one again');

my $sum = $load->stop;
is(join("\n", @{$sum->{faults}}), '', "none of $sum->{requests} requests failed");
cmp_ok($sum->{least}, '>', 20, 'every client had its share');
cmp_ok($sum->{closes}, '>=', 4, "clients were asked to reopen ($sum->{closes} times)");
is($s->get('/api/v1/system/introspect')->{json}{counts}{total}, $sum->{stored} + 2, 'all that was acknowledged is there');
is(($s->pids($_))[0], $stays{$_}, "the $_ process is still the first one") for sort keys %stays;
$s->stop_ok('QUIT');

done_testing;
