//! What will be in an image: a tree in memory, complete before anything is written.
//!
//! Links are followed within the tree, as they will be by whoever has it as
//! its root. Where one leads to nothing in the tree, nothing can be put
//! behind it, so no path of a recipe leads out.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
};

use crate::yaml;

/// As many links as the kernel follows (`path_resolution(7)`).
pub(super) const MOST_LINKS: usize = 40;

/// One file of an image, of any kind.
pub(super) struct Node {
    pub kind: Kind,
    /// Permission bits
    pub mode: u32,
    /// Where it comes from, if not from the recipe itself
    pub source: Option<Source>,
    /// The place in the recipe that wants it
    pub origin: yaml::Path,
}

pub(super) enum Kind {
    Directory(BTreeMap<OsString, Node>),
    /// The content of its source
    File,
    /// An empty file
    Placeholder,
    Symlink(PathBuf),
    Device(Device),
    Fifo,
    Socket,
}

/// A device node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    pub is_block: bool,
    pub number: u64,
}

/// A file of this machine, as it was when it was looked at.
#[derive(Clone)]
pub(super) struct Source {
    pub path: PathBuf,
    /// Changes when the file does
    pub stamp: String,
    /// Bytes it takes on its disk
    pub taken: u64,
    /// Device and inode, for a file of several names
    pub shared: Option<(u64, u64)>,
    /// Whether it may be read
    pub is_readable: bool,
    /// Whether people have given it attributes (`xattr(7)`)
    pub has_attributes: bool,
}

/// Why nothing can be put at a path.
pub(super) enum Trouble {
    /// A link on the way leads to what the tree does not have
    LeadsOut { link: PathBuf, target: PathBuf },
    /// Something on the way, or at the place, is of another kind
    Taken(PathBuf),
    /// Links lead in a circle
    Circle(PathBuf),
}

pub(super) struct Tree {
    pub root: Node,
}

impl Node {
    pub(super) fn directory(origin: yaml::Path) -> Node {
        Node { kind: Kind::Directory(BTreeMap::new()), mode: 0o755, source: None, origin }
    }

    pub(super) fn entries(&self) -> Option<&BTreeMap<OsString, Node>> {
        match &self.kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    fn entries_mut(&mut self) -> Option<&mut BTreeMap<OsString, Node>> {
        match &mut self.kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// Puts a node into this directory. Directories become one; a file takes
    /// the place of one that was copied before.
    pub(super) fn put(&mut self, name: &OsStr, node: Node, here: &Path) -> Result<(), Trouble> {
        let taken = || Trouble::Taken(here.join(name));
        let entries = self.entries_mut().ok_or_else(|| Trouble::Taken(here.to_owned()))?;
        let Some(old) = entries.get_mut(name) else {
            entries.insert(name.to_owned(), node);
            return Ok(());
        };
        match (&mut old.kind, node.kind) {
            (Kind::Directory(_), Kind::Directory(new)) => {
                if node.source.is_some() {
                    old.mode = node.mode;
                    old.source = node.source;
                }
                let here = here.join(name);
                new.into_iter().try_for_each(|(name, node)| old.put(&name, node, &here))
            }
            (Kind::Symlink(old), Kind::Symlink(new)) if *old == new => Ok(()),
            (Kind::File | Kind::Placeholder, kind @ Kind::File) => {
                *old = Node { kind, ..node };
                Ok(())
            }
            // What the recipe lists as a device has been copied already.
            (Kind::File | Kind::Placeholder | Kind::Device(_), Kind::Placeholder) => Ok(()),
            (Kind::Device(_) | Kind::Placeholder, kind @ Kind::Device(_)) => {
                *old = Node { kind, ..node };
                Ok(())
            }
            (Kind::Fifo, Kind::Fifo) | (Kind::Socket, Kind::Socket) => Ok(()),
            _ => Err(taken()),
        }
    }
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree { root: Node::directory(yaml::Path::root().key("image")) }
    }

    /// The node at a path without links, of real names only.
    fn at(&self, names: &[OsString]) -> Option<&Node> {
        names.iter().try_fold(&self.root, |node, name| node.entries()?.get(name))
    }

    fn at_mut(&mut self, names: &[OsString]) -> Option<&mut Node> {
        names.iter().try_fold(&mut self.root, |node, name| node.entries_mut()?.get_mut(name))
    }

    /// The directory at a path, links followed, made with all that is missing
    /// above it; and where it really is.
    pub(super) fn directory(
        &mut self,
        path: &Path,
        origin: &yaml::Path,
    ) -> Result<(&mut Node, PathBuf), Trouble> {
        let names = self.walk(path, Some(origin))?;
        let real = spelled(&names);
        match self.at_mut(&names) {
            Some(node @ Node { kind: Kind::Directory(_), .. }) => Ok((node, real)),
            _ => Err(Trouble::Taken(real)),
        }
    }

    /// Puts a node at a path, links above it followed.
    pub(super) fn put(&mut self, path: &Path, node: Node) -> Result<(), Trouble> {
        let Some(name) = path.file_name() else {
            return Err(Trouble::Taken(path.to_owned()));
        };
        let origin = node.origin.clone();
        let above = path.parent().unwrap_or(Path::new("/"));
        let (directory, here) = self.directory(above, &origin)?;
        directory.put(name, node, &here)
    }

    /// What is at a path, links followed.
    pub(super) fn find(&mut self, path: &Path) -> Option<&Node> {
        let names = self.walk(path, None).ok()?;
        self.at(&names)
    }

    /// Where a path leads to. With `make`, what is missing becomes a
    /// directory; behind a link only if the recipe itself has made that link.
    fn walk(&mut self, path: &Path, make: Option<&yaml::Path>) -> Result<Vec<OsString>, Trouble> {
        let mut names: Vec<OsString> = Vec::new();
        let mut rest: Vec<OsString> = steps(path).rev().collect();
        let mut fixed: Option<Fixed> = None;
        let mut links = 0;
        while let Some(step) = rest.pop() {
            // The link is behind us: what it leads to is there.
            fixed = fixed.filter(|fixed| rest.len() >= fixed.rest);
            if step == ".." {
                if names.pop().is_none()
                    && let Some(fixed) = fixed
                {
                    return Err(fixed.leads_out());
                }
                continue;
            }
            names.push(step);
            let (target, is_copied) = match self.at(&names) {
                Some(Node { kind: Kind::Symlink(target), source, .. }) => {
                    (target.clone(), source.is_some())
                }
                Some(_) => continue,
                None => {
                    if let Some(fixed) = fixed {
                        return Err(fixed.leads_out());
                    }
                    let Some(origin) = make else {
                        return Err(Trouble::Taken(spelled(&names)));
                    };
                    self.make_directory(&names, origin);
                    continue;
                }
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(Trouble::Circle(spelled(&names)));
            }
            if is_copied || climbs(&names, &target) {
                let (link, target) = (spelled(&names), target.clone());
                fixed = Some(Fixed { link, target, rest: rest.len() });
            }
            names.pop();
            if target.is_absolute() {
                names.clear();
            }
            rest.extend(steps(&target).rev());
        }
        Ok(names)
    }

    fn make_directory(&mut self, names: &[OsString], origin: &yaml::Path) {
        let Some((name, above)) = names.split_last() else { return };
        if let Some(entries) = self.at_mut(above).and_then(Node::entries_mut) {
            entries.insert(name.clone(), Node::directory(origin.clone()));
        }
    }

    /// Calls `visit` for every node below the root, in the order of their names.
    pub(super) fn each<'t>(&'t self, visit: &mut impl FnMut(&Path, &'t Node)) {
        fn below<'t>(node: &'t Node, here: &Path, visit: &mut impl FnMut(&Path, &'t Node)) {
            for (name, node) in node.entries().into_iter().flatten() {
                let path = here.join(name);
                visit(&path, node);
                below(node, &path, visit);
            }
        }
        below(&self.root, Path::new("/"), visit);
    }
}

/// A link behind which nothing may be made, and how many steps are left after it.
struct Fixed {
    link: PathBuf,
    target: PathBuf,
    rest: usize,
}

impl Fixed {
    fn leads_out(self) -> Trouble {
        Trouble::LeadsOut { link: self.link, target: self.target }
    }
}

/// The names and `..` of a path, which starts at the root.
fn steps(path: &Path) -> std::vec::IntoIter<OsString> {
    let steps: Vec<OsString> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect();
    steps.into_iter()
}

/// Whether a link at this place has more `..` than there are directories above it.
fn climbs(link: &[OsString], target: &Path) -> bool {
    let mut depth = if target.is_absolute() { 0 } else { link.len().saturating_sub(1) as isize };
    target.components().any(|part| {
        match part {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        depth < 0
    })
}

fn spelled(names: &[OsString]) -> PathBuf {
    Path::new("/").join(names.iter().collect::<PathBuf>())
}
