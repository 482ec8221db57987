//! What a run changed: the `upper` of an overlay against its `lower` layers
//! (`Documentation/filesystems/overlayfs.rst`).
//!
//! An upper holds marks beside files: whiteouts for what was deleted, opaque
//! directories, redirects of renamed ones. Here both views of the tree are
//! taken, with and without the upper, and compared where the upper says
//! anything at all. The tree is a stranger's: everything is opened by
//! descriptor, no link and no mount is followed, and what cannot be read is
//! told as a [`Trouble`], never guessed.

mod by_marks;
mod change;
mod compare;
mod content;
mod entry;
mod layers;
mod links;
mod marks;
mod renames;
mod trees;
mod walk;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

pub use change::{Change, Device, Difference, Facts, FileType, Kind, Reason, Trouble};
pub use marks::Flavour;

use layers::{Layers, Part};

/// More troubles than this are counted, not kept.
const MOST_TROUBLES: usize = 100;

/// What came of comparing an overlay.
pub struct Comparison {
    /// Sorted by path
    pub changes: Vec<Change>,
    /// What could not be looked at; the changes are those of the rest
    pub troubles: Vec<Trouble>,
    /// How many more troubles there were
    pub further_troubles: usize,
    /// Nothing below the upper was at hand: what was there before is known
    /// only by overlayfs's own marks, and contents were not compared
    pub is_by_marks: bool,
    /// Whose the upper is: user and group
    pub owner: (u32, u32),
    layers: Layers,
}

/// Compares an upper with its lowers, the topmost first, and finds out by
/// itself who mounted it. Without lowers, the marks that overlayfs leaves on
/// copied files tell what was there before.
///
/// # Errors
/// When there is no such directory, or no `/proc` to look through.
pub fn compare(upper: &Path, lowers: &[PathBuf]) -> Result<Comparison, Trouble> {
    compare_as(None, upper, lowers)
}

/// As [`compare`], for an overlay of which it is known who mounted it.
///
/// # Errors
/// As [`compare`].
pub fn compare_as(
    flavour: Option<Flavour>,
    upper: &Path,
    lowers: &[PathBuf],
) -> Result<Comparison, Trouble> {
    let layers = Layers::open(flavour, upper, lowers)?;
    let mut found = walk::whole(&layers);
    renames::pair(&layers, &mut found);
    links::name(&mut found);
    let mut changes = found.changes;
    changes.sort_by(|a, b| (&a.path, a.kind.letter()).cmp(&(&b.path, b.kind.letter())));
    Ok(Comparison {
        changes,
        troubles: found.troubles,
        further_troubles: found.further_troubles,
        is_by_marks: layers.has_no_lower(),
        owner: found.owner,
        layers,
    })
}

impl Comparison {
    /// What the file of a change held before; nothing where it was no file,
    /// or where it is not at hand.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_before(&self, change: &Change) -> Result<Option<File>, Reason> {
        change.before_at.as_ref().map(|part| self.layers.open_file(part)).transpose()
    }

    /// What the file of a change holds now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_after(&self, change: &Change) -> Result<Option<File>, Reason> {
        if !change.after.as_ref().is_some_and(|after| after.is_file()) {
            return Ok(None);
        }
        let part = match &change.after_at {
            Some(part) => part,
            None => &Part::upper(&change.path),
        };
        self.layers.open_file(part).map(Some)
    }
}
