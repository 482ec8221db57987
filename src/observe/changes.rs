//! What was changed in the overlays of a sandbox: what is in their uppers.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    diff::{self, Kind, Reason},
    registry,
};

use super::mounts::Mounts;

/// More changes than these are counted, not listed.
const MOST: usize = 1000;

/// An overlay and what was changed in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Overlay {
    /// Where the sandbox sees it
    pub at: String,
    /// Where changes go, on the host; nothing if that is memory of the sandbox's own
    pub upper: Option<String>,
    /// What was changed, by path
    pub changes: Vec<Change>,
    /// How many more there are
    pub further: usize,
    /// Why it could not be read, or not all of it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Overlay {
    /// For people, before the reason: whether any of it was read.
    pub fn how_unreadable(&self) -> &'static str {
        match self.changes.is_empty() {
            true => "cannot be read",
            false => "cannot be read in full",
        }
    }
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Change {
    /// Where, in the sandbox's view of the overlay
    pub path: String,
    /// What became of it
    pub change: Changed,
    /// Where it was before
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl From<diff::Change> for Change {
    fn from(found: diff::Change) -> Self {
        let shown = |path: &Path| format!("/{}", path.to_string_lossy());
        let (change, from) = match &found.kind {
            Kind::Added => (Changed::Added, None),
            Kind::Deleted => (Changed::Deleted, None),
            Kind::Modified => (Changed::Modified, None),
            Kind::Renamed { from } => (Changed::Renamed, Some(shown(from))),
            Kind::AddedOrModified => (Changed::AddedOrModified, None),
        };
        Self { path: shown(&found.path), change, from }
    }
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// Nothing was there
    Added,
    /// It was copied up to be changed
    Modified,
    /// It is there no more
    Deleted,
    /// It was elsewhere
    Renamed,
    /// What was there before cannot be known from outside
    AddedOrModified,
}

impl Changed {
    /// As a list of changes shows it.
    pub fn letter(self) -> char {
        match self {
            Changed::Added => 'A',
            Changed::Modified => 'M',
            Changed::Deleted => 'D',
            Changed::Renamed => 'R',
            Changed::AddedOrModified => '?',
        }
    }
}

/// The overlays that were registered; of a process that nobody registered, those
/// that its mounts show.
pub(super) fn of(registered: Option<&[registry::Overlay]>, mounts: &Mounts) -> Vec<Overlay> {
    match registered {
        Some(overlays) => overlays
            .iter()
            .map(|overlay| listed(&overlay.at, overlay.upper.as_deref(), &overlay.lower))
            .collect(),
        None => mounts
            .added
            .iter()
            .filter(|mount| mount.filesystem == "overlay")
            .map(|mount| {
                let lower: Vec<PathBuf> = mount.lower.iter().map(PathBuf::from).collect();
                listed(Path::new(&mount.at), mount.upper.as_deref().map(Path::new), &lower)
            })
            .collect(),
    }
}

fn listed(at: &Path, upper: Option<&Path>, lower: &[PathBuf]) -> Overlay {
    let (mut changes, unreadable) = match upper {
        None => (Vec::new(), None),
        // What it was relative to, only its mounter knew: here it would be another directory.
        Some(upper) if upper.is_relative() => {
            let upper = upper.display();
            let why =
                format!("the mount names `{upper}` by a relative path: from where, is not known");
            (Vec::new(), Some(why))
        }
        Some(upper) => upper_changes(upper, lower),
    };
    let further = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    Overlay { at: shown(at), upper: upper.map(shown), changes, further, unreadable }
}

/// What an upper says was changed, and why not all of it could be read.
fn upper_changes(upper: &Path, lower: &[PathBuf]) -> (Vec<Change>, Option<String>) {
    // An image is no directory of the host's: then overlayfs's own marks tell.
    let is_at_hand = lower.iter().all(|lower| lower.is_absolute() && lower.is_dir());
    let lower = if is_at_hand { lower } else { &[] };
    match diff::compare(upper, lower) {
        Ok(found) => {
            let changes = found.changes.into_iter().map(Change::from).collect();
            (changes, found.troubles.first().map(|trouble| why(trouble.reason)))
        }
        Err(trouble) => (Vec::new(), Some(why(trouble.reason))),
    }
}

fn why(reason: Reason) -> String {
    match reason {
        Reason::Upper(errno) | Reason::Lower(errno) | Reason::Errno(errno) => {
            errno.desc().to_owned()
        }
        _ => "`isorecipe diff` says why".to_owned(),
    }
}
