#!/usr/bin/perl
# Runs a command under a seccomp filter: filter.pl NUMBER:ERRNO... -- COMMAND...
use strict;
my @program = ([0x20, 0, 0, 0]);
while (defined(my $rule = shift)) {
    last if $rule eq '--';
    my ($number, $errno) = split /:/, $rule;
    push @program, [0x15, 0, 1, $number], [0x06, 0, 0, 0x00050000 | $errno];
}
push @program, [0x06, 0, 0, 0x7fff0000];
my $bytes = join '', map { pack 'SCCL', @$_ } @program;
my $length = @program;
my $filter = pack 'Sx6P', $length, $bytes;
my $prctl = 0 + $ENV{SYS_prctl};
$> == 0 or syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl, 22, 2, $filter) == 0 or die "seccomp: $!";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
