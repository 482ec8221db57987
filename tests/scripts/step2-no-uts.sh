#!/bin/sh
set -e
# step2-no-uts: A hostname without a UTS namespace, which cannot work.
# layers[0] user: {map: root} - A user namespace: other ids inside than outside.
exec unshare --user --map-root-user sh -ec '
    # layers[1] hostname: HOGE - The hostname.
    hostname HOGE
    exec setpriv --no-new-privs bash
'
