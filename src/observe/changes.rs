//! What was changed in the overlays of a sandbox: what is in their uppers.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::registry;

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

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Change {
    /// Where, in the sandbox's view of the overlay
    pub path: String,
    /// What became of it
    pub change: Changed,
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
}

impl Changed {
    /// As a list of changes shows it.
    pub fn letter(self) -> char {
        match self {
            Changed::Added => 'A',
            Changed::Modified => 'M',
            Changed::Deleted => 'D',
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
        Some(upper) => upper_changes(upper, lower),
    };
    let further = changes.len().saturating_sub(MOST);
    changes.truncate(MOST);
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    Overlay { at: shown(at), upper: upper.map(shown), changes, further, unreadable }
}

/// What an upper says was changed, and why not all of it could be read.
fn upper_changes(upper: &Path, lower: &[PathBuf]) -> (Vec<Change>, Option<String>) {
    let mut changes = Vec::new();
    let mut trouble: Option<io::Error> = None;
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let entries = match fs::read_dir(upper.join(&directory)) {
            Ok(entries) => entries,
            Err(error) => {
                trouble.get_or_insert(error);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            let Ok(found) = fs::symlink_metadata(upper.join(&path)) else { continue };
            let was_there = lower.iter().any(|lower| lower.join(&path).symlink_metadata().is_ok());
            let is_whiteout = found.file_type().is_char_device() && found.rdev() == 0;
            let change = match (is_whiteout, was_there) {
                (true, _) => Changed::Deleted,
                (false, true) => Changed::Modified,
                (false, false) => Changed::Added,
            };
            // A directory is copied up for whatever is below it.
            if !found.is_dir() || change == Changed::Added {
                changes.push(Change { path: format!("/{}", path.to_string_lossy()), change });
            }
            if found.is_dir() {
                waiting.push(path);
            }
        }
    }
    changes.sort();
    (changes, trouble.map(|error| error.to_string()))
}
