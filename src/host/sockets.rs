//! Unix sockets in a tree: whoever sees one can talk to who listens, read-only
//! or not (`unix(7)`).

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use super::Host;

/// So deep it is looked below the root of a tree.
const DEEPEST: usize = 3;
/// So many names are looked at in each tree, and no more.
const MOST_NAMES: usize = 4096;

/// The sockets in some trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketsBelow {
    /// Where they are
    pub paths: BTreeSet<PathBuf>,
    /// Trees that are too large to be looked at whole
    pub cut: BTreeSet<PathBuf>,
}

impl Host {
    /// Looks for Unix sockets in trees of this machine, not for ever.
    pub fn sockets_below(&self, trees: &[PathBuf]) -> SocketsBelow {
        let mounts = self.mounts.iter().flatten().map(|mount| mount.at.clone()).collect();
        below(trees, &mounts)
    }
}

/// Looks for sockets at these places and below, and enters no other mount: who
/// serves one may never answer. Those that somebody listens at on this network
/// are found however deep they lie (`/proc/net/unix`).
fn below(trees: &[PathBuf], mounts: &BTreeSet<PathBuf>) -> SocketsBelow {
    let mut found = SocketsBelow::default();
    for path in listened_at() {
        let is_shown = trees.iter().any(|tree| path.starts_with(tree));
        if is_shown && is_socket(&path) {
            found.paths.insert(path);
        }
    }
    for tree in trees {
        if is_socket(tree) {
            found.paths.insert(tree.clone());
        }
        if walk(tree, mounts, &mut found.paths) {
            found.cut.insert(tree.clone());
        }
    }
    found
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// The paths in the eighth column of `/proc/net/unix`, where there is one.
fn listened_at() -> Vec<PathBuf> {
    let text = fs::read("/proc/net/unix").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let path = |line: &str| {
        let at = line.find(" /")?;
        line.get(at + 1..).map(PathBuf::from)
    };
    text.lines().skip(1).filter_map(path).collect()
}

/// Looks level by level; says whether something was left out.
fn walk(tree: &Path, mounts: &BTreeSet<PathBuf>, found: &mut BTreeSet<PathBuf>) -> bool {
    let mut names = 0;
    let mut is_cut = false;
    let mut next = VecDeque::from([(tree.to_owned(), 0)]);
    while let Some((directory, depth)) = next.pop_front() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            names += 1;
            if names > MOST_NAMES {
                return true;
            }
            let (path, kind) = (entry.path(), entry.file_type());
            match kind {
                Ok(kind) if kind.is_socket() => drop(found.insert(path)),
                Ok(kind) if kind.is_dir() && !mounts.contains(&path) => match depth < DEEPEST {
                    true => next.push_back((path, depth + 1)),
                    false => is_cut = true,
                },
                _ => {}
            }
        }
    }
    is_cut
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn look(tree: &Path) -> SocketsBelow {
        below(&[tree.to_owned()], &BTreeSet::new())
    }

    #[test]
    fn a_socket_is_found_however_deep_it_lies() {
        let tree = tempfile::tempdir().expect("a directory");
        let deep = tree.path().join("a/b/c/d/e");
        fs::create_dir_all(&deep).expect("directories");
        let path = deep.join("socket");
        let _listener = UnixListener::bind(&path).expect("a socket");
        let found = look(tree.path());
        assert_eq!(found.paths, BTreeSet::from([path]));
        assert_eq!(found.cut, BTreeSet::from([tree.path().to_owned()]));
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_found_near_the_top() {
        let tree = tempfile::tempdir().expect("a directory");
        let path = tree.path().join("socket");
        drop(UnixListener::bind(&path).expect("a socket"));
        let found = look(tree.path());
        assert_eq!((found.paths, found.cut), (BTreeSet::from([path]), BTreeSet::new()));
    }

    #[test]
    fn a_large_tree_is_not_looked_at_whole_and_that_is_said() {
        let tree = tempfile::tempdir().expect("a directory");
        for number in 0..=MOST_NAMES {
            fs::write(tree.path().join(number.to_string()), "").expect("a file");
        }
        assert_eq!(look(tree.path()).cut, BTreeSet::from([tree.path().to_owned()]));
    }
}
