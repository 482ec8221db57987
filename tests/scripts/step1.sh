#!/bin/sh
set -e
# step1: Its own user ids, and you are root among them.
# layers[0] user: {map: root} - A user namespace: other ids inside than outside.
exec unshare --user --map-root-user setpriv --no-new-privs bash
