#!/bin/sh
set -e
# step1-unmapped: Its own user ids, and none of them given to anybody.
# layers[0] user: {map: none} - A user namespace: other ids inside than outside.
exec unshare --user setpriv --no-new-privs bash
