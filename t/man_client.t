#!/usr/bin/perl
# engram(1) and the program's tables say the same: every command and option of
# contrib/client/commands.def and options.def has its entry, and every entry its
# row. Exit statuses in the page are those that the code returns.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use House;

my $page = slurp('man/engram.1');
my ($about_commands) = $page =~ /^\.Sh COMMANDS\n(.*?)^\.Sh /ms;
my ($about_options) = $page =~ /^\.Sh OPTIONS\n(.*?)^\.Sh /ms;
my ($about_exits) = $page =~ /^\.Sh EXIT STATUS\n(.*?)^\.Sh /ms;

# ---- commands ----
my %row = slurp('contrib/client/commands.def') =~ /^X\(\w+,\s*"([^"]+)",\s*\w+,\s*\w+,\s*"([^"]*)"/mg;
my %entry;
for ($about_commands =~ /^\.It Cm (.*)$/mg) {
	my ($name, $operands) = /^([a-z ]+?)(?: ([A-Z].*))?$/;
	($operands //= '') =~ s/\bAr //g;
	$operands =~ s/\bFl\b/-/g;
	$operands =~ s/^Op (.*)$/[$1]/;
	$entry{$name} = $operands;
}
ok(%row > 5, scalar(keys %row) . ' commands in the table');
is_deeply(\%entry, \%row, 'the page has the same commands with the same operands');

# ---- options, by command ----
my (%takes, %told);
for (slurp('contrib/client/options.def') =~ /^X\(\w+,\s*("[^"]+",\s*\w+,\s*"[^"]*",\s*"[^"]+")/mg) {
	my ($name, $commands) = /^"([^"]+)",.*"([^"]+)"$/;
	$takes{"$_ --$name"} = 1 for split /,/, $commands;
}
my $command = '*';
for (split /\n/, $about_options) {
	$command = $1 if /^\.Cm ([a-z ]+?) :$/;
	next unless /^\.It /;
	$told{"$command --$1"} = 1 while /Fl Fl ([a-z-]+)/g;
}
ok(%takes > 10, scalar(keys %takes) . ' options in the table');
is_deeply([sort keys %told], [sort keys %takes], 'the page has the same options for the same commands');

# ---- exit statuses ----
my %number = (OK => 0, USAGE => 64, DATAERR => 65, NOINPUT => 66, UNAVAILABLE => 69, SOFTWARE => 70,
	OSERR => 71, CANTCREAT => 73, IOERR => 74, TEMPFAIL => 75, PROTOCOL => 76, NOPERM => 77);
my %used;
for my $path (files(qr{^contrib/client/.*\.c$})) {
	$used{$number{$_} // "EX_$_"} = 1 for slurp($path) =~ /\bEX_([A-Z]+)\b/g;
}
my %listed = map { $_ => 1 } $about_exits =~ /^\.It (\d+)$/mg;
is_deeply([sort keys %listed], [sort keys %used], 'the page lists the exit statuses in use');

done_testing;
