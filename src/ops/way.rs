//! Where a path stops leading on, and why: the evidence behind ENOENT, ENOTDIR,
//! EACCES, ELOOP and ENAMETOOLONG (`path_resolution(7)`).

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Refusal, typed},
    host::Owner,
    model::{Model, Thing},
    sys::Errno,
};

/// A name has so many bytes at most (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// The first part of a path that does not lead on.
enum Obstacle {
    /// It is not there
    Missing(PathBuf),
    /// It is a link to what is not there
    Dangling(PathBuf, PathBuf),
    /// It is no directory
    File(PathBuf),
    /// It is a directory that may not be searched; whose, where known
    Closed(PathBuf, Option<Owner>),
    /// It is a link that leads back to itself
    Circle(PathBuf, PathBuf),
}

fn obstacle(path: &Path, before: &Model) -> Option<Obstacle> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    let (part, errno) =
        parts.into_iter().find_map(|part| Some((part, before.walk(part).err()?)))?;
    let above = part.parent().unwrap_or(Path::new("/")).to_owned();
    Some(match (errno, link(part, before)) {
        (Errno::ENOENT, Some(to)) => Obstacle::Dangling(part.to_owned(), above.join(to)),
        (Errno::ENOENT, None) => Obstacle::Missing(part.to_owned()),
        (Errno::ELOOP, Some(to)) => Obstacle::Circle(part.to_owned(), to),
        (Errno::ENOTDIR, _) => Obstacle::File(above),
        (Errno::EACCES, _) => {
            let owner = match before.walk(&above).ok()?.thing {
                Thing::Directory(owner) => owner,
                _ => None,
            };
            Obstacle::Closed(above, owner)
        }
        _ => return None,
    })
}

/// What a name points to, if it is a link.
fn link(path: &Path, before: &Model) -> Option<PathBuf> {
    let parent = before.walk(path.parent()?).ok()?;
    match before.child(&parent, path.file_name()?).ok()?.thing {
        Thing::Symlink(to) => Some(to),
        _ => None,
    }
}

/// Why something is not there: the first part that is missing, or a link to nothing.
pub(super) fn first_missing(path: &Path, before: &Model) -> String {
    match obstacle(path, before) {
        Some(Obstacle::Dangling(part, to)) => {
            format!("{} is a link to {}, which does not exist", part.display(), to.display())
        }
        Some(Obstacle::Missing(part)) if part != path => {
            format!("{} does not exist either", part.display())
        }
        _ => "it does not exist at this point".to_owned(),
    }
}

/// What would have to be made for a link to lead somewhere.
pub(super) fn missing_end_of_link(path: &Path, before: &Model) -> Option<PathBuf> {
    match obstacle(path, before)? {
        Obstacle::Dangling(_, to) => Some(to),
        _ => None,
    }
}

/// Which part of the way is no directory.
pub(super) fn file_on_the_way(path: &Path, before: &Model) -> String {
    match obstacle(path, before) {
        Some(Obstacle::File(part)) => format!("{} is no directory", part.display()),
        _ => "a directory on the way is none".to_owned(),
    }
}

/// Which directory lets nobody through.
pub(super) fn closed_on_the_way(path: &Path, before: &Model) -> String {
    match obstacle(path, before) {
        Some(Obstacle::Closed(part, Some(owner))) => format!(
            "{} belongs to user {} and group {}, and its mode is 0{:o}",
            part.display(),
            owner.uid,
            owner.gid,
            owner.mode
        ),
        _ => "a directory on the way does not let you through".to_owned(),
    }
}

/// What is wrong with the path itself, whatever it is for.
pub(super) fn refused(path: &Path, errno: Errno, before: &Model) -> Option<Refusal> {
    match errno {
        Errno::ELOOP => circle(path, before),
        Errno::ENAMETOOLONG => name_too_long(path),
        _ => None,
    }
}

fn circle(path: &Path, before: &Model) -> Option<Refusal> {
    let Obstacle::Circle(part, to) = obstacle(path, before)? else { return None };
    let message = format!("{} leads through links without end", path.display());
    Some(
        Refusal::new("path::link_circle", message)
            .why(format!("{} is a link to {}, and so back to itself", part.display(), to.display()))
            .help(format!("`readlink {}` shows it; name a path without that link", typed(&part))),
    )
}

fn name_too_long(path: &Path) -> Option<Refusal> {
    let length = |name: &std::ffi::OsStr| name.as_bytes().len();
    let longest = path.iter().map(length).max().filter(|&length| length > LONGEST_NAME)?;
    Some(
        Refusal::new("path::name_too_long", format!("a name in {} is too long", path.display()))
            .why(format!("it has {longest} bytes, and a name has {LONGEST_NAME} at most"))
            .help("give it a shorter name"),
    )
}
