//! Finds what was deleted in one place and added in another with the same content.
//!
//! overlayfs records few renames itself: most leave a whiteout at the old name
//! and a copy at the new one. A file is the same by its bytes, a directory by
//! everything in it. What is empty is like anything empty, and not looked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    ffi::OsStr,
    hash::{Hash, RandomState},
    ops::Bound::{Included, Unbounded},
    path::{Path, PathBuf},
};

use super::{
    change::{Change, Difference, Facts, FileType, Kind, Reason},
    compare::{self, Side},
    content,
    layers::{Layers, Part},
    marks::Marks,
    trees,
    walk::{self, Findings, Gone},
};

/// Of directories that look the same, so many are read to be sure.
const MOST_TRIES: usize = 8;

/// Pairs what is gone with what is new.
pub fn pair(layers: &Layers, findings: &mut Findings) {
    let has_new = findings.changes.iter().any(|change| change.kind == Kind::Added);
    if findings.gone.is_empty() || !has_new {
        return;
    }
    let Some(gone) = trees::members(layers, std::mem::take(&mut findings.gone)) else {
        findings.trouble(PathBuf::new(), Reason::ManyRenames);
        return;
    };
    let (taken, renamed, inside) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let key = RandomState::new();
    let mut pairing = Pairing { layers, key, gone: &gone, taken, renamed, inside };
    pairing.origins(&findings.changes, std::mem::take(&mut findings.origins));
    pairing.directories(&findings.changes);
    pairing.files(&findings.changes);
    pairing.links(&findings.changes);
    pairing.write_down(findings);
}

struct Pairing<'l> {
    layers: &'l Layers,
    key: RandomState,
    gone: &'l BTreeMap<PathBuf, Gone>,
    /// What is gone and was found, with all that is in it; none is inside another
    taken: BTreeSet<PathBuf>,
    /// Where what is new was, by its new name; none is inside another
    renamed: BTreeMap<PathBuf, PathBuf>,
    /// What differs in properties in directories that were renamed
    inside: Vec<Change>,
}

impl Pairing<'_> {
    /// The outermost first: one line for all that is in them.
    fn directories(&mut self, changes: &[Change]) {
        let old = self.gone.values().map(|gone| (gone.path.as_path(), &gone.facts));
        let mut alike: HashMap<u64, Vec<PathBuf>> = HashMap::new();
        for (path, look) in trees::looks(old, &self.key) {
            alike.entry(look).or_default().push(path);
        }
        for (path, look) in trees::looks(added(changes), &self.key) {
            if self.is_renamed(&path) || self.has_renamed(&path) {
                continue;
            }
            let alike = alike.get(&look).into_iter().flatten();
            let free: Vec<_> = alike.filter(|from| self.is_free(from)).take(MOST_TRIES).collect();
            for from in free {
                if let Some(inside) = self.same_inside(&path, from) {
                    self.inside.extend(inside);
                    self.take(path, from);
                    break;
                }
            }
        }
    }

    /// What differs in properties, if nothing else does.
    fn same_inside(&self, path: &Path, from: &Path) -> Option<Vec<Change>> {
        let parts = self.gone.get(from)?.parts.clone();
        let found = walk::moved(self.layers, path.to_owned(), from.to_owned(), parts);
        let is_same = |change: &Change| {
            change.kind == Kind::Modified && !change.differs.iter().any(Difference::is_of_substance)
        };
        (found.troubles.is_empty() && found.changes.iter().all(is_same)).then_some(found.changes)
    }

    /// What overlayfs has written down itself: it holds for a file that was changed, too.
    fn origins(&mut self, changes: &[Change], mut origins: HashMap<PathBuf, Vec<u8>>) {
        if origins.is_empty() {
            return;
        }
        let mut alike = Alike::new();
        for gone in self.gone.values().filter(|gone| !gone.facts.is_directory()) {
            let entry = gone.parts.first().and_then(|part| self.layers.entry(part).ok());
            if let Some(handle) = entry.and_then(|entry| entry.handle()) {
                alike.add((gone.facts.file_type, handle), &gone.path);
            }
        }
        for (path, facts) in added(changes) {
            let Some(handle) = origins.remove(path) else { continue };
            if let Some(from) = alike.take((facts.file_type, handle), path) {
                self.take(path.to_owned(), from);
            }
        }
    }

    fn files(&mut self, changes: &[Change]) {
        let has_bytes = |facts: &Facts| facts.is_file() && facts.size > 0;
        let new: Vec<_> = added(changes)
            .filter(|(path, facts)| has_bytes(facts) && !self.is_renamed(path))
            .collect();
        let new_sizes: HashSet<u64> = new.iter().map(|(_, facts)| facts.size).collect();
        let mut alike = Alike::new();
        let mut old_sizes = HashSet::new();
        for gone in self.gone.values().filter(|gone| has_bytes(&gone.facts)) {
            let size = gone.facts.size;
            if !new_sizes.contains(&size) || !self.is_free(&gone.path) {
                continue;
            }
            // What cannot be read cannot be found again: it stays deleted.
            let part = gone.parts.first();
            if let Some(Ok(print)) = part.map(|part| self.fingerprint(part, size)) {
                alike.add((size, print), &gone.path);
                old_sizes.insert(size);
            }
        }
        for (path, facts) in new.into_iter().filter(|(_, facts)| old_sizes.contains(&facts.size)) {
            let part = Part::upper(path);
            let Ok(print) = self.fingerprint(&part, facts.size) else { continue };
            let Some(from) = alike.take((facts.size, print), path) else { continue };
            if self.is_same_file(from, &part, facts.size) {
                self.take(path.to_owned(), from);
            }
        }
    }

    fn fingerprint(&self, part: &Part, size: u64) -> Result<u64, Reason> {
        Ok(content::fingerprint(&self.layers.open_file(part)?, size, &self.key)?)
    }

    fn is_same_file(&self, from: &Path, part: &Part, size: u64) -> bool {
        let Some(old) = self.gone.get(from).and_then(|gone| gone.parts.first()) else {
            return false;
        };
        let (Ok(old), Ok(new)) = (self.layers.open_file(old), self.layers.open_file(part)) else {
            return false;
        };
        content::is_same(&old, &new, size).unwrap_or(false)
    }

    /// A symbolic link is the same if it leads to the same place.
    fn links(&mut self, changes: &[Change]) {
        let is_link = |facts: &Facts| facts.file_type == FileType::Symlink;
        let mut alike = Alike::new();
        let old = self.gone.values().filter(|gone| is_link(&gone.facts));
        for gone in old.filter(|gone| self.is_free(&gone.path)) {
            alike.add(&gone.facts.target, &gone.path);
        }
        for (path, facts) in added(changes).filter(|(_, facts)| is_link(facts)) {
            if self.is_renamed(path) {
                continue;
            }
            if let Some(from) = alike.take(&facts.target, path) {
                self.take(path.to_owned(), from);
            }
        }
    }

    fn take(&mut self, path: PathBuf, from: &Path) {
        self.taken.insert(from.to_owned());
        self.renamed.insert(path, from.to_owned());
    }

    /// Whether neither this nor what holds it nor anything in it was found elsewhere.
    fn is_free(&self, from: &Path) -> bool {
        let before = self.taken.range::<Path, _>((Unbounded, Included(from))).next_back();
        let after = self.taken.range::<Path, _>((Included(from), Unbounded)).next();
        !before.is_some_and(|taken| from.starts_with(taken))
            && !after.is_some_and(|taken| taken.starts_with(from))
    }

    /// Whether this or what holds it has come from elsewhere. What is in a
    /// directory follows it in the order of paths, so that one look is enough.
    fn is_renamed(&self, path: &Path) -> bool {
        let before = self.renamed.range::<Path, _>((Unbounded, Included(path))).next_back();
        before.is_some_and(|(renamed, _)| path.starts_with(renamed))
    }

    /// Whether something in this has come from elsewhere.
    fn has_renamed(&self, path: &Path) -> bool {
        let after = self.renamed.range::<Path, _>((Included(path), Unbounded)).next();
        after.is_some_and(|(renamed, _)| renamed.starts_with(path))
    }

    fn write_down(mut self, findings: &mut Findings) {
        for change in std::mem::take(&mut findings.changes) {
            let from = self.renamed.get(&change.path);
            let change = match (&change.kind, from) {
                (Kind::Deleted, _) if self.taken.contains(&change.path) => continue,
                (Kind::Added, Some(from)) => self.as_renamed(change, from, findings),
                (Kind::Added, None) if self.is_renamed(&change.path) => continue,
                _ => change,
            };
            findings.changes.push(change);
        }
        findings.changes.append(&mut self.inside);
    }

    fn as_renamed(&self, change: Change, from: &Path, findings: &mut Findings) -> Change {
        let Some(gone) = self.gone.get(from) else { return change };
        let kind = Kind::Renamed { from: gone.was.clone() };
        let is_file = gone.facts.is_file();
        let before_at = gone.parts.first().filter(|_| is_file).cloned().map(Box::new);
        let new = Part::upper(&change.path);
        let (differs, troubles) = self.compare(gone, &new).unwrap_or_else(|reason| {
            (gone.facts.compare(change.after.as_deref().unwrap_or(&gone.facts)), vec![reason])
        });
        for reason in troubles {
            findings.trouble(change.path.clone(), reason);
        }
        Change { kind, before: Some(Box::new(gone.facts.clone())), differs, before_at, ..change }
    }

    fn compare(&self, gone: &Gone, new: &Part) -> Result<(Vec<Difference>, Vec<Reason>), Reason> {
        let old = gone.parts.first().ok_or(Reason::Changing)?;
        let (before, after) = (self.layers.entry(old)?, self.layers.entry(new)?);
        let flavour = self.layers.flavour;
        let (old_marks, new_marks) = (Marks::of(&before, flavour)?, Marks::of(&after, flavour)?);
        let before = Side { entry: &before, marks: &old_marks, bytes: Some(old) };
        let after = Side { entry: &after, marks: &new_marks, bytes: Some(new) };
        Ok(compare::sides(self.layers, &before, &after))
    }
}

/// What is new, by its path.
fn added(changes: &[Change]) -> impl Iterator<Item = (&Path, &Facts)> {
    let added = changes.iter().filter(|change| change.kind == Kind::Added);
    added.filter_map(|change| Some((change.path.as_path(), change.after.as_deref()?)))
}

/// What is gone, by what it held.
struct Alike<'p, K> {
    by_name: HashMap<(K, Option<&'p OsStr>), VecDeque<&'p Path>>,
    all: HashMap<K, VecDeque<&'p Path>>,
    taken: HashSet<&'p Path>,
}

impl<'p, K: Clone + Eq + Hash> Alike<'p, K> {
    fn new() -> Self {
        Self { by_name: HashMap::new(), all: HashMap::new(), taken: HashSet::new() }
    }

    fn add(&mut self, what: K, path: &'p Path) {
        self.by_name.entry((what.clone(), path.file_name())).or_default().push_back(path);
        self.all.entry(what).or_default().push_back(path);
    }

    /// One that nobody has taken; of several, one that has kept its name.
    fn take(&mut self, what: K, path: &'p Path) -> Option<&'p Path> {
        let named = self.by_name.get_mut(&(what.clone(), path.file_name()));
        for queue in [named, self.all.get_mut(&what)].into_iter().flatten() {
            while let Some(from) = queue.pop_front() {
                if self.taken.insert(from) {
                    return Some(from);
                }
            }
        }
        None
    }
}
