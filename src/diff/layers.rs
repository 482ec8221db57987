//! The layers of an overlay, and how overlayfs finds a name in them
//! (`ovl_lookup`): from the top down, until something stops it.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::errno::Errno;

use crate::sys::{
    KernelPath, capability,
    descriptor::{self, Walk},
};

use super::{
    change::{FileType, Reason, Trouble, from_bytes},
    entry::Entry,
    marks::{Flavour, Marks},
};

/// A piece of a path that one call takes, well below `PATH_MAX`.
const PIECE: usize = 2048;
/// Longer paths are not looked at: nobody means them, and each costs memory.
const LONGEST: usize = 4 * libc::PATH_MAX as usize;
/// `CAP_SYS_ADMIN`, which in the first user namespace may read `trusted.*`.
const SYS_ADMIN: u32 = 21;

/// All layers, the upper as the first.
pub struct Layers {
    roots: Vec<OwnedFd>,
    pub flavour: Flavour,
}

/// Something in one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub layer: usize,
    pub path: PathBuf,
}

/// An open directory of one layer.
pub struct Directory {
    pub part: Part,
    pub entry: Entry,
    has_file_whiteouts: bool,
}

/// What a name leads to.
pub struct Found {
    /// The topmost file of that name: its properties are what is seen
    pub entry: Box<Entry>,
    pub marks: Marks,
    /// Of a directory, all that are merged; of a file, where its bytes are
    pub parts: Vec<Part>,
}

/// One file of one layer, as overlayfs sees it.
pub enum Seen {
    Nothing,
    Whiteout,
    Something(Box<Entry>, Marks),
}

/// Where to look in the layers below.
enum Way {
    InParent(OsString),
    FromRoot(PathBuf),
}

impl Layers {
    /// Opens the roots.
    pub fn open(
        flavour: Option<Flavour>,
        upper: &Path,
        lowers: &[PathBuf],
    ) -> Result<Layers, Trouble> {
        let root = |path: &Path, reason: fn(Errno) -> Reason| {
            descriptor::open_directory(None, KernelPath::new(path).as_c_str(), Walk::Free)
                .map_err(|errno| Trouble { path: path.to_owned(), reason: reason(errno) })
        };
        let mut roots = vec![root(upper, Reason::Upper)?];
        if !Path::new("/proc/self/fd").is_dir() {
            return Err(Trouble { path: "/proc".into(), reason: Reason::NoProc });
        }
        for lower in lowers {
            roots.push(root(lower, Reason::Lower)?);
        }
        let mut layers = Layers { roots, flavour: flavour.unwrap_or(Flavour::Either) };
        if flavour.is_none() {
            let flavour = layers.directory(&Part::root(0)).and_then(|root| root.flavour());
            layers.flavour =
                flavour.map_err(|reason| Trouble { path: upper.to_owned(), reason })?;
        }
        Ok(layers)
    }

    /// Whether nothing below the upper is at hand.
    pub fn has_no_lower(&self) -> bool {
        self.roots.len() == 1
    }

    /// The roots of all lowers, which the root of an overlay always merges.
    pub fn lower_roots(&self) -> Vec<Part> {
        (1..self.roots.len()).map(Part::root).collect()
    }

    /// Opens a directory, a piece of its path at a time.
    pub fn directory(&self, part: &Part) -> Result<Directory, Reason> {
        let entry = self.entry(part)?;
        if !entry.facts.is_directory() {
            return Err(Reason::Changing);
        }
        let has_file_whiteouts = Marks::of(&entry, self.flavour)?.has_file_whiteouts;
        Ok(Directory { part: part.clone(), entry, has_file_whiteouts })
    }

    /// Opens directories that are merged.
    pub fn directories(&self, parts: &[Part]) -> Result<Vec<Directory>, Reason> {
        parts.iter().map(|part| self.directory(part)).collect()
    }

    /// Opens a file to read.
    pub fn open_file(&self, part: &Part) -> Result<File, Reason> {
        Ok(self.entry(part)?.open_file()?)
    }

    /// Finds what was there a moment ago, a piece of its path at a time.
    pub fn entry(&self, part: &Part) -> Result<Entry, Reason> {
        if part.path.as_os_str().len() > LONGEST {
            return Err(Reason::TooDeep);
        }
        let root = self.roots.get(part.layer).ok_or(Errno::EBADF)?;
        let mut place = descriptor::open_directory(Some(root.as_fd()), c".", Walk::Beneath)?;
        for piece in pieces(&part.path) {
            let next = descriptor::open_entry(place.as_fd(), KernelPath::new(piece).as_c_str());
            place = next.map_err(|errno| match errno {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Reason::Changing,
                Errno::EXDEV => Reason::MountedOver,
                errno => Reason::Errno(errno),
            })?;
        }
        Ok(Entry::of(place)?)
    }

    /// Finds a name in merged directories.
    pub fn look_up(&self, parents: &[Directory], name: &OsStr) -> Result<Option<Found>, Reason> {
        self.find(parents, Way::InParent(name.to_owned()), 1)
    }

    /// Finds what a redirect in the upper leads to.
    pub fn follow(&self, parents: &[Directory], redirect: &[u8]) -> Result<Option<Found>, Reason> {
        self.find(parents, way(redirect)?, 1)
    }

    fn find(
        &self,
        parents: &[Directory],
        mut way: Way,
        first: usize,
    ) -> Result<Option<Found>, Reason> {
        let mut found: Option<Found> = None;
        for layer in first..self.roots.len() {
            let (part, seen, ends) = match &way {
                Way::InParent(name) => {
                    let Some(parent) = parents.iter().find(|parent| parent.part.layer == layer)
                    else {
                        continue;
                    };
                    (parent.part.join(name), parent.see(name, self.flavour)?, false)
                }
                Way::FromRoot(path) => self.descend(layer, path)?,
            };
            let (entry, marks) = match seen {
                Seen::Something(entry, marks) => (entry, marks),
                Seen::Nothing if ends => break,
                Seen::Nothing => continue,
                Seen::Whiteout => break,
            };
            let is_directory = entry.facts.is_directory();
            // A directory hides a file below it, and the other way round.
            if found.as_ref().is_some_and(|found| found.entry.facts.is_directory() != is_directory)
            {
                break;
            }
            let is_last = ends || marks.is_opaque || !(is_directory || marks.is_metacopy);
            if let Some(to) = &marks.redirect {
                way = self::way(to)?;
            }
            match &mut found {
                None => found = Some(Found { entry, marks, parts: vec![part] }),
                Some(found) if is_directory => found.parts.push(part),
                // Only the last of copies without bytes has the bytes.
                Some(found) => found.parts = vec![part],
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// Walks down one layer. Says also whether something on the way hides the layers below.
    fn descend(&self, layer: usize, path: &Path) -> Result<(Part, Seen, bool), Reason> {
        let mut parent = self.directory(&Part::root(layer))?;
        let mut ends = false;
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let part = parent.part.join(name.as_os_str());
            let seen = parent.see(name.as_os_str(), self.flavour)?;
            if names.peek().is_none() {
                return Ok((part, seen, ends));
            }
            let Seen::Something(entry, marks) = seen else {
                return Ok((part, seen, ends));
            };
            if !entry.facts.is_directory() {
                return Ok((part, Seen::Whiteout, true));
            }
            ends |= marks.is_opaque;
            parent =
                Directory { part, entry: *entry, has_file_whiteouts: marks.has_file_whiteouts };
        }
        Err(Reason::Redirect)
    }

    /// All names in merged directories, whiteouts among them.
    pub fn names(&self, directories: &[Directory]) -> Result<BTreeSet<OsString>, Reason> {
        let mut names = BTreeSet::new();
        for directory in directories {
            for name in directory.entry.read_dir()? {
                names.insert(name?);
            }
        }
        Ok(names)
    }
}

impl Part {
    /// The root of a layer.
    pub fn root(layer: usize) -> Part {
        Part { layer, path: PathBuf::new() }
    }

    /// In the upper, where everything stands where the overlay shows it.
    pub fn upper(path: &Path) -> Part {
        Part { layer: 0, path: path.to_owned() }
    }

    /// What has this name in it.
    pub fn join(&self, name: &OsStr) -> Part {
        Part { layer: self.layer, path: self.path.join(name) }
    }
}

impl Directory {
    fn flavour(&self) -> Result<Flavour, Reason> {
        Ok(Flavour::of(&self.entry, can_read_trusted())?)
    }

    /// Looks at a name in this layer alone.
    pub fn see(&self, name: &OsStr, flavour: Flavour) -> Result<Seen, Reason> {
        let entry = match Entry::open(self.entry.as_fd(), &KernelPath::new(name)) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Seen::Nothing),
            Err(Errno::EXDEV) => return Err(Reason::MountedOver),
            Err(errno) => return Err(Reason::Errno(errno)),
        };
        if entry.facts.file_type == FileType::CharacterDevice && entry.raw_device == 0 {
            return Ok(Seen::Whiteout);
        }
        let marks = Marks::of(&entry, flavour)?;
        let may_be_whiteout = self.has_file_whiteouts && entry.facts.is_file();
        match may_be_whiteout && entry.facts.size == 0 && marks.is_file_whiteout {
            true => Ok(Seen::Whiteout),
            false => Ok(Seen::Something(Box::new(entry), marks)),
        }
    }
}

/// A redirect is a name beside, or a path from the root; never with `..` in it.
fn way(redirect: &[u8]) -> Result<Way, Reason> {
    let path = from_bytes(redirect.to_vec());
    let (root, below): (Vec<_>, Vec<_>) =
        path.components().partition(|part| matches!(part, Component::RootDir));
    let is_plain = below.iter().all(|part| matches!(part, Component::Normal(_)));
    match (root.len(), is_plain && !redirect.contains(&0), below.as_slice()) {
        (1, true, [_, ..]) => Ok(Way::FromRoot(below.iter().collect())),
        (0, true, [name]) => Ok(Way::InParent(name.as_os_str().to_owned())),
        _ => Err(Reason::Redirect),
    }
}

/// A path in pieces that the kernel takes, each relative to the one before.
fn pieces(path: &Path) -> Vec<PathBuf> {
    let mut pieces = Vec::new();
    let mut piece = PathBuf::new();
    for name in path.components() {
        if piece.as_os_str().len() > PIECE {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.push(name);
    }
    if !piece.as_os_str().as_bytes().is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Whether this process is the host's root, as far as attributes go.
fn can_read_trusted() -> bool {
    // In any other user namespace the first map is narrower.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_first = map.split_whitespace().eq(["0", "0", "4294967295"]);
    is_first && capability::effective().is_ok_and(|set| set & (1 << SYS_ADMIN) != 0)
}
