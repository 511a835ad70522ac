#!/usr/bin/perl
# Memories whose time is over are deleted by the consolidation process, others stay;
# a reload moves the clock in every process.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use POSIX 'strftime';
use Engram;

plan skip_all => 'engram-server is not built' unless -x Engram::binary();

my $s = Engram->start(settings => { 'consolidation.interval_seconds' => 1 });
my $soon = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime time + 3600);
my $late = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime time + 10 * 3600);

is($s->post('/api/v1/memories/remember', { id => 'soon', content => 'rain tomorrow', expires_at => $soon })->{status}, 201, 'one that expires in an hour');
is($s->post('/api/v1/memories/remember', { id => 'late', content => 'rain next week', expires_at => $late })->{status}, 201, 'one that expires later');
is($s->post('/api/v1/memories/remember', { id => 'never', content => 'rain falls' })->{status}, 201, 'one that stays');
my $runs = $s->metric('engram_consolidation_runs_total');
wait_until { $s->metric('engram_consolidation_runs_total') > $runs + 1 } 'two runs';
is($s->get('/api/v1/memories/soon')->{status}, 200, 'nothing is deleted before its time');

$s->set('testing.clock_offset_seconds' => 7200);
$s->kill(HUP => 'master');
wait_until { $s->metric('engram_consolidation_expired_total') == 1 } 'the expired one is found';
is($s->get('/api/v1/memories/soon')->{status}, 404, 'it is deleted');
is($s->get('/api/v1/memories/late')->{status}, 200, 'the later one stays');
is($s->get('/api/v1/memories/never')->{status}, 200, 'the other one stays');
$runs = $s->metric('engram_consolidation_runs_total');
wait_until { $s->metric('engram_consolidation_runs_total') > $runs + 1 } 'two more runs';
is($s->metric('engram_consolidation_expired_total'), 1, 'nothing else is deleted');
is($s->get('/api/v1/system/introspect')->{json}{counts}{total}, 2, 'two memories are left');
is($s->get('/api/v1/system/introspect')->{json}{testing}{clock_offset_seconds}, 7200, 'the clock is shown');
$s->stop_ok;
done_testing;
