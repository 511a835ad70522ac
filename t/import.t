#!/usr/bin/perl
# Many real texts go in with `engram import`, are found by what people would ask,
# and are all there again after the whole family was killed, and after a graceful
# end. Without anything set: 3,000 paragraphs of Perl's manuals. `make
# check-import` sets ENGRAM_IMPORT to full: the texts of ENGRAM_IMPORT_TEXTS (100,000 sentences
# that the second list of cues is about), or when that file is not there the
# descriptions of all packages and all of the manuals.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Test::More;
use Time::HiRes 'time';
use Engram;
use Texts;

use constant { SHARE => 0.8, CUES_LEAST => 25, SPOTS => 25, SMALL => 3000, PAGE => 1000 };

for (Engram::binary(), Engram::client()) {
	-x or plan skip_all => "$_ is not built";
}

# A cue as somebody would ask, and a piece of the text that answers it.
my @manual_cues = (
	['how are version control directories and the top README.pod kept out when installing?', 'Mainly used to exclude version control administrative directories'],
	['which encoding do file names have on Mac OS X?', 'On Mac OS X the file system encoding is always UTF-8'],
	['what keeps files in some directories from being indexed and converted to HTML on CPAN search?', 'excludes items listed in no_index'],
	['can I sleep for nanoseconds?', 'defines HAS_NANOSLEEP'],
	['who wrote the module for copying files, and who updated it?', 'File::Copy was written by Aaron Sherman'],
	['where does the name of the semaphore\'s P operation come from?', 'the semaphore "P operation"'],
	['coordinates based on the surface of a sphere with a radius rho', 'Spherical coordinates, (rho'],
	['a client for reading mail over POP3', 'implements a client interface to the POP3 protocol'],
	['how do I start writing a source filter?', 'framework to write Source Filters'],
	['is there a mnemonic for ok and diag?', 'might remember ok() or diag() with the mnemonic'],
	['does the order of traversing a hash change when I insert an element?', 'every hash has its own hash traversal order'],
	['convert octal numbers to decimal floating point', 'any valid number using octal notation'],
	['deny operators in code that is compiled in the compartment', 'Deny the listed operators from being used'],
	['store a structure in a file under an exclusive lock', 'The lock_store and lock_nstore routine'],
	['give an anonymous subroutine a useful name in a stack trace', 'applying names to anonymous CODE references'],
	['emailing translators for Chinese, Arabic, Russian and Italian', 'you email your various translators'],
	['do I have to reboot before something that depends on this module can go on?', 'until a reboot has occurred'],
	['print a message just before the usage of my program', 'immediately prior to printing the program\'s usage'],
	['which other languages are acceptable to a user with these language tags?', 'a given user\'s Accept-Language list'],
	['compress the contents of a file with bzip2', 'write the compressed data to the file file1.txt.bz2'],
	['boolean of the property for composition exclusions', 'derived property Comp_Ex'],
	['can parent threads be destroyed while their children still exist?', 'destroy parent threads while there are still existing child'],
	['blanks nobody sees around the closing tag of a here-document', 'getting this error from a here-document'],
	['null terminated data in a DBM file for C programs', 'data written to the DBM file is null terminated'],
	['tell an FTP server that a file is to be stored', 'Tell the server that you wish to store a file'],
	['process identifier of my parent process', 'identical to Perl\'s builtin getppid()'],
	['how many failures were there, including those that no test made?', 'Not all failures come from a test fail'],
	['change the name of a member before it goes into the zip archive', 'archive member name to be modified before it is written'],
	['fewer mails from MacPerl users about tests that cannot work', 'fewer emails from MacPerl users'],
	['traditional programs take file names and other information as arguments', 'Command line operated programs traditionally take'],
);
my @sentence_cues = (
	['what was the loud horn called that old motor vehicles had?', 'klaxon: a kind of'],
	['a covering made of synthetic material for people with burns', 'artificial skin:'],
	['which queen of France married the king of England after an annulment?', 'Eleanor of Aquitaine:'],
	['last king of the Anglo-Saxons, killed fighting William the Conqueror', 'Harold II:'],
	['Danish writer of fairy stories', 'Andersen:'],
	['one of the small drupes that a blackberry consists of', 'acinus: one of the small drupes'],
	['Florentine painter and sculptor, an outstanding figure of the Renaissance', 'Michelangelo:'],
	['a tiny West Indian bird with red and green feathers and a long bill', 'tody: tiny insectivorous'],
	['where must a baseball pass over home plate to count as a strike?', 'strike zone:'],
	['metal strip that typesetters use for spacing', 'type slug:'],
	['Indian people living in Cataract Canyon in Arizona', 'Havasupai: a member'],
	['a public sale where the highest bidder wins', 'auction: the public sale'],
	['controlling other people simply because it is pleasurable', 'power trip:'],
	['bundle with a swagman\'s personal belongings', 'swag: a bundle'],
	['make a place more like a city', 'urbanize: make more industrial'],
	['something flying that nobody can identify, maybe extraterrestrial', 'unidentified flying object:'],
	['mountains in a range with jagged peaks', 'sierra: a range'],
	['the food in the refrigerator is spoilt', 'a refrigerator full of spoilt'],
	['we heard the sounds of the next room through the microphone', 'The microphone brought in'],
	['to harass somebody with questions or requests', 'besiege: harass'],
	['tableware plated with silver', 'silver plate: tableware'],
	['formal statements which show that one thing follows necessarily from another', 'proof: a formal'],
	['can something be set on fire with rays of light?', 'focused light rays'],
	['where do I find basic information or instruction about something?', 'guidebook: something'],
	['fibers twisted together to form a rope or a cable', 'strand: line'],
	['a man whose life was pottery', 'pottery was his life'],
	['long bench made of wood, with a back', 'settle: a long wooden'],
	['purple mist around the summits of mountains', 'mistily purple'],
	['Sidney Hook on religious doctrines as a speculative hypothesis', '-- Sidney Hook'],
	['fixture in a building for distributing and using water', 'plumbing fixture:'],
);

# ---- which texts ----

sub with_fragment { my ($cues, @texts) = @_; return grep { my $text = $_; grep { index($text, $_->[1]) >= 0 } @$cues } @texts }

my $full = ($ENV{ENGRAM_IMPORT} || '') eq 'full';
my $file = $ENV{ENGRAM_IMPORT_TEXTS};
my (@texts, $cues);
if ($full && defined $file && -r $file) {
	($cues, @texts) = (\@sentence_cues, Texts::file($file));
	cmp_ok(scalar(@texts), '>=', 100_000, scalar(@texts) . " texts of $file");
} else {
	($cues, @texts) = (\@manual_cues, Texts::manual);
	if ($full) {
		push @texts, Texts::packages;
		cmp_ok(scalar(@texts), '>=', 50_000, scalar(@texts) . ' texts of manuals and package lists');
	} else {
		my %asked = map { $_ => 1 } with_fragment($cues, @texts);
		my @others = grep { !$asked{$_} } @texts;
		my $step = @others / (SMALL - keys %asked);
		@texts = ((sort keys %asked), map { $others[$_ * $step] } 0 .. SMALL - 1 - keys %asked);
	}
}
ok(@texts >= SMALL, scalar(@texts) . ' texts');
plan skip_all => 'no texts on this system' unless @texts;

# What each cue should find: ids by the import's rule, FILE:LINE.
my @asked;
for my $cue (@$cues) {
	my @ids = map { 'texts.txt:' . ($_ + 1) } grep { index($texts[$_], $cue->[1]) >= 0 } 0 .. $#texts;
	push @asked, [$cue->[0], { map { $_ => 1 } @ids }] if @ids;
}
cmp_ok(scalar(@asked), '>=', CUES_LEAST, scalar(@asked) . ' cues have their text here');

# ---- the server, and what must hold whenever it stands ----

my $server = Engram->start;
my $path = $server->dir . '/texts.txt';
open my $out, '>', $path or die $!;
print $out "$_\n" for @texts;
close $out or die $!;

sub has_reason {
	my ($result) = @_;
	my $explain = $result->{explain};
	return ref $explain eq 'HASH' && grep { defined && !ref && /^[\d.eE+-]+$/ && $_ > 0 } values %$explain;
}

sub check_cues {
	my ($when) = @_;
	my ($hits, $without, $many, @missed) = (0, 0, 0);
	for my $asked (@asked) {
		my ($cue, $ids) = @$asked;
		my $answer = $server->post('/api/v1/memories/recall', { query => $cue, max_results => 10, explain => JSON::PP::true });
		my $results = ($answer->{json} || {})->{results} || [];
		$many++ if @$results > 10;
		$without += grep { !has_reason($_) } @$results;
		(grep { $ids->{$_->{id}} } @$results) ? $hits++ : push @missed, $cue;
	}
	cmp_ok($hits, '>=', SHARE * @asked, "$when: $hits of " . @asked . ' cues find their text among the first ten');
	is($many, 0, "$when: no recall gives more than the ten that were asked for");
	is($without, 0, "$when: every result has its reasons");
	diag("not found: $_") for @missed;
}

# Turn over all pages of the list: every text is there, once, as it was.
sub check_list {
	my ($when) = @_;
	my ($offset, @wrong, @seen) = (0);
	while ($offset < @texts) {
		my $list = $server->get("/api/v1/memories?tier=all&limit=@{[PAGE]}&offset=$offset")->{json} || {};
		my $page = $list->{memories} || [];
		last unless @$page;
		for (@$page) {
			my ($n) = $_->{id} =~ /^texts\.txt:(\d+)$/;
			utf8::encode(my $content = $_->{content});
			push @wrong, $_->{id} unless $n && $n <= @texts && !$seen[$n - 1]++ && $content eq $texts[$n - 1];
		}
		$offset += @$page;
	}
	is($offset, scalar(@texts), "$when: the list has as many");
	is(scalar(@wrong), 0, "$when: each text is there once, as it was") or diag("e.g. $wrong[0]");
}

sub check_all {
	my ($when) = @_;
	my $list = $server->get('/api/v1/memories?tier=all&limit=1')->{json};
	is($list->{tier_counts}{total}, scalar(@texts), "$when: the count is right");
	check_list($when);
	my @wrong;
	for (0 .. SPOTS - 1) {
		my $n = int($_ * $#texts / (SPOTS - 1));
		my $memory = $server->get('/api/v1/memories/texts.txt:' . ($n + 1))->{json} || {};
		utf8::encode(my $content = $memory->{content} // '');
		push @wrong, $n + 1 unless $content eq $texts[$n] && ($memory->{version} // 0) == 1;
	}
	is("@wrong", '', "$when: texts looked at by id are as they were, in their first version");
	check_cues($when);
}

sub import_texts {
	my ($when) = @_;
	my $began = time;
	my ($exit, $said) = $server->client_run('import', '--text', '--json', $path);
	my $report = eval { decode_json($said) } || {};
	is($exit, 0, "$when: it succeeds") or diag($said);
	is_deeply([@$report{qw(stored failed)}], [scalar(@texts), 0], "$when: every line is stored");
	diag(sprintf "%s: %d texts in %.1f s", $when, scalar(@texts), time - $began);
}

import_texts('import');
check_all('after the import');

ok($server->kill_all, 'the whole family is killed');
my $began = time;
$server->restart;
diag(sprintf 'ready %.1f s after the kill', time - $began);
check_all('after the kill');

$server->stop_ok('QUIT');
$began = time;
$server->restart;
diag(sprintf 'ready %.1f s after the graceful end', time - $began);
check_all('after the graceful end');

import_texts('the same import again');
is($server->get('/api/v1/memories?tier=all&limit=1')->{json}{tier_counts}{total}, scalar(@texts), 'nothing is stored twice');
my ($exit, $said) = $server->client_run('recall', '--explain', $asked[0][0]);
is($exit, 0, 'engram recall');
like($said, qr/\btexts\.txt:\d+\b/, '... shows ids and texts');
$server->stop_ok;

done_testing;
