//! Trees as lists: everything in what is gone, and what a directory looks like
//! by names, types, sizes and targets, without a file being read.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    path::{Path, PathBuf},
};

use super::{
    change::{Facts, Reason},
    layers::Layers,
    walk::Gone,
};

/// With more files gone than this, nobody looks for them elsewhere.
const MOST_MEMBERS: usize = 100_000;

/// Everything that is gone with these, by the path it had; nothing where it is too much.
pub fn members(layers: &Layers, gone: Vec<Gone>) -> Option<BTreeMap<PathBuf, Gone>> {
    let mut members = BTreeMap::new();
    let mut waiting = gone;
    while let Some(gone) = waiting.pop() {
        if members.len() + waiting.len() > MOST_MEMBERS {
            return None;
        }
        if gone.facts.is_directory() {
            // What cannot be read cannot be found again: it stays deleted.
            waiting.extend(children(layers, &gone).unwrap_or_default());
        }
        members.insert(gone.path.clone(), gone);
    }
    Some(members)
}

fn children(layers: &Layers, gone: &Gone) -> Result<Vec<Gone>, Reason> {
    let directories = layers.directories(&gone.parts)?;
    let mut children = Vec::new();
    for name in layers.names(&directories)? {
        if let Some(found) = layers.look_up(&directories, &name)? {
            let (path, was) = (gone.path.join(&name), gone.was.join(&name));
            children.push(Gone { path, was, facts: found.entry.facts, parts: found.parts });
        }
    }
    Ok(children)
}

/// What is in a directory, as far as it has been seen.
#[derive(Default)]
struct Inside<'p> {
    members: Vec<(&'p OsStr, u64)>,
    has_file: bool,
}

/// What every directory looks like that has a file in it, at whatever depth.
pub fn looks<'p>(
    all: impl Iterator<Item = (&'p Path, &'p Facts)>,
    key: &RandomState,
) -> BTreeMap<PathBuf, u64> {
    let mut deepest_last: Vec<_> =
        all.map(|(path, facts)| (path.components().count(), path, facts)).collect();
    deepest_last.sort_by_key(|(depth, path, _)| (*depth, *path));
    let mut directories: HashMap<&Path, Inside> = HashMap::new();
    let mut looks = BTreeMap::new();
    for (_, path, facts) in deepest_last.into_iter().rev() {
        let inside = directories.remove(path).unwrap_or_default();
        let look = look(facts, inside.members, key);
        if facts.is_directory() && inside.has_file {
            looks.insert(path.to_owned(), look);
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let parent = directories.entry(parent).or_default();
            parent.members.push((name, look));
            parent.has_file |= inside.has_file || !facts.is_directory();
        }
    }
    looks
}

fn look(facts: &Facts, mut members: Vec<(&OsStr, u64)>, key: &RandomState) -> u64 {
    let mut hasher = key.build_hasher();
    facts.file_type.hash(&mut hasher);
    facts.target.hash(&mut hasher);
    match facts.is_directory() {
        true => {
            members.sort_unstable();
            members.hash(&mut hasher);
        }
        false => facts.size.hash(&mut hasher),
    }
    hasher.finish()
}
