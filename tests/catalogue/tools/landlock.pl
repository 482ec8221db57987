#!/usr/bin/perl
# Runs a command in a Landlock domain that forbids to make sockets in the tree, and with it every mount.
use strict;
my $handled = pack 'Q', 1 << 9;
my $ruleset = syscall(0 + $ENV{SYS_landlock_create_ruleset}, $handled, 8, 0);
$ruleset >= 0 or die "landlock: $!";
syscall(0 + $ENV{SYS_prctl}, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall(0 + $ENV{SYS_landlock_restrict_self}, $ruleset, 0) == 0 or die "landlock: $!";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
