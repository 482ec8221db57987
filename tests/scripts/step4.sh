#!/bin/sh
set -e
# step4: Its own root directory, from an image that stays as it is.
exec unshare --mount sh -ec '
    # layers[5] overlay: {lower: [{image: rootfs.dat, trusted: true}], upper: upper, work: work, at: merged, create: true, write: false} - An overlay: one writable tree over read-only ones.
    setpriv --reuid=1000 --regid=1000 --groups=1000 mkdir -p -m 755 ./merged
    mount -t tmpfs -o nosuid,nodev,mode=755,uid=1000,gid=1000 tmpfs ./merged
    setpriv --reuid=1000 --regid=1000 --groups=1000 mkdir -p -m 755 ./merged/lower0
    mount -t xfs -o loop,nosuid,nodev,ro,norecovery,nouuid ./rootfs.dat ./merged/lower0
    # layers[0] user: {map: root} - A user namespace: other ids inside than outside.
    # layers[1] uts: {} - A UTS namespace: a hostname of its own.
    # layers[3] pid: {proc: false, init: false} - A PID namespace: processes of its own.
    # layers[4] mount: {propagation: private} - A mount namespace: mounts of its own.
    exec setpriv --reuid=1000 --regid=1000 --groups=1000 unshare --user --map-root-user --uts --pid --fork --mount setpriv --no-new-privs sh -ec '\''
        # layers[2] hostname: HOGE - The hostname.
        hostname HOGE
        mkdir -p -m 755 ./upper
        mkdir -p -m 755 ./work
        mount -t overlay -o nosuid,lowerdir=./merged/lower0,upperdir=./upper,workdir=./work,userxattr overlay ./merged
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
    '\''
'
