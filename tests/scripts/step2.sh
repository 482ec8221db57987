#!/bin/sh
set -e
# step2: Its own hostname.
# layers[0] user: {map: root} - A user namespace: other ids inside than outside.
# layers[1] uts: {} - A UTS namespace: a hostname of its own.
exec unshare --user --map-root-user --uts sh -ec '
    # layers[2] hostname: HOGE - The hostname.
    hostname HOGE
    exec setpriv --no-new-privs bash
'
