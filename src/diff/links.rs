//! Several names of one file: said of all but one of them.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{change::Kind, walk::Findings};

/// Says of which file a new name is another name.
pub fn name(findings: &mut Findings) {
    if findings.links.is_empty() {
        return;
    }
    let added: HashSet<&PathBuf> = (findings.changes.iter())
        .filter(|change| change.kind == Kind::Added)
        .map(|change| &change.path)
        .collect();
    let mut first_names: HashMap<PathBuf, PathBuf> = HashMap::new();
    for mut names in std::mem::take(&mut findings.links).into_values() {
        // A name that was there before is the one to be called by.
        names.sort_by_cached_key(|name| (added.contains(name), name.clone()));
        let mut names = names.into_iter();
        let Some(first) = names.next() else { continue };
        first_names.extend(names.map(|name| (name, first.clone())));
    }
    for change in &mut findings.changes {
        if change.kind != Kind::Deleted {
            change.link_to = first_names.remove(&change.path);
        }
    }
}
