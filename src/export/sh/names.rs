//! Files and links in the words of a shell. With `set -C` it overwrites nothing.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use crate::ops::{MakeFile, MakeLink, NewName};

use super::words::Words;

/// A file with its content, where nothing is.
pub(super) fn file(made: &MakeFile) -> Vec<Words> {
    let content = Words::of("(umask 077; set -C; printf %s").word(OsStr::from_bytes(&made.content));
    let mode = Words::of(&format!("chmod {:o}", made.mode));
    vec![content.raw(">").word(&made.at.path).raw(")"), mode.word(&made.at.path)]
}

/// An empty file to mount on.
pub(super) fn empty(at: &NewName) -> Words {
    Words::of("(umask 077; set -C; :").raw(">").word(&at.path).raw(")")
}

/// A link, never in a directory that is there.
pub(super) fn link(made: &MakeLink) -> Words {
    Words::of("ln -s -T --").word(OsStr::from_bytes(made.to.to_bytes())).word(&made.at.path)
}
