//! What an upper tells alone, by the marks that overlayfs leaves on what it
//! has copied up, where nothing below is at hand.

use std::path::{Path, PathBuf};

use super::{
    change::{Facts, Kind, from_bytes},
    marks::{Flavour, Marks},
};

/// What happened to a file. A directory that was only copied up is modified here, too.
pub fn kind(flavour: Flavour, marks: &Marks, facts: &Facts, was: &Path) -> Kind {
    if let Some(redirect) = &marks.redirect {
        return Kind::Renamed { from: origin(redirect, was) };
    }
    // `user.*` stands on files and directories only (`xattr(7)`).
    let is_markable = facts.is_file() || facts.is_directory();
    let tells = match flavour {
        Flavour::Trusted | Flavour::Either => true,
        Flavour::User => is_markable,
        Flavour::Hidden => marks.is_marked,
    };
    let is_copy = (marks.origin.is_some() || marks.is_metacopy) && !marks.is_opaque;
    match (tells, is_copy) {
        (false, _) => Kind::AddedOrModified,
        (true, true) => Kind::Modified,
        (true, false) => Kind::Added,
    }
}

/// Where a redirect says that something was: by its path, or beside where it is.
pub fn origin(redirect: &[u8], was: &Path) -> PathBuf {
    match redirect.strip_prefix(b"/") {
        Some(path) => from_bytes(path.to_vec()),
        None => was.join(from_bytes(redirect.to_vec())),
    }
}
