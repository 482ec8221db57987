#!/bin/sh
set -e
# step3: Its own process ids.
# layers[0] user: {map: root} - A user namespace: other ids inside than outside.
# layers[1] uts: {} - A UTS namespace: a hostname of its own.
# layers[3] pid: {proc: true, init: false} - A PID namespace: processes of its own.
exec unshare --user --map-root-user --uts --pid --fork --mount-proc sh -ec '
    # layers[2] hostname: HOGE - The hostname.
    hostname HOGE
    exec setpriv --no-new-privs bash
'
