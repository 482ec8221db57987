#!/bin/sh
set -e
# step4-rootless: Its own root directory, from a directory that stays as it is.
# layers[0] user: {map: root} - A user namespace: other ids inside than outside.
# layers[1] uts: {} - A UTS namespace: a hostname of its own.
# layers[3] pid: {proc: false, init: false} - A PID namespace: processes of its own.
# layers[4] mount: {propagation: private} - A mount namespace: mounts of its own.
exec unshare --user --map-root-user --uts --pid --fork --mount setpriv --no-new-privs sh -ec '
    # layers[2] hostname: HOGE - The hostname.
    hostname HOGE
    # layers[5] overlay: {lower: [rootfs], upper: upper, work: work, at: merged, create: true, write: false} - An overlay: one writable tree over read-only ones.
    mkdir -p -m 755 ./merged
    mkdir -p -m 755 ./upper
    mkdir -p -m 755 ./work
    mount -t overlay -o nosuid,lowerdir=./rootfs,upperdir=./upper,workdir=./work,userxattr overlay ./merged
    # layers[6] pivot_root: {new: merged, old: .old} - Another root directory.
    mkdir -p -m 755 ./merged/.old
    cd ./merged
    /sbin/pivot_root . .old
    cd /
    # layers[7] proc: {at: /proc} - A fresh /proc.
    mount -t proc -o nosuid,nodev,noexec proc /proc
    # layers[8] bind: {from: /dev/null, to: /dev/null, optional: false, read_only: false, nosuid: false, nodev: false, noexec: false, recursive: true, write: true} - A tree or file that is seen at a second place.
    mount --rbind /.old/dev/null /dev/null
    # layers[9] bind: {from: /dev/zero, to: /dev/zero, optional: false, read_only: false, nosuid: false, nodev: false, noexec: false, recursive: true, write: true} - A tree or file that is seen at a second place.
    mount --rbind /.old/dev/zero /dev/zero
    umount -l /.old
    rmdir /.old
    exec bash
'
