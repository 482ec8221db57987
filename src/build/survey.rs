//! Looks at everything that a recipe wants in its image, and writes nothing.
//!
//! What may not be read is noted and left out; everything else that is not as
//! the recipe says ends the build here, before it has begun.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, faccessat},
};

use crate::{recipe::Image, yaml};

use super::{
    Ends, Guard, Stage, Stop,
    programs::Programs,
    tree::{Device, Kind, Node, Source, Tree, Trouble},
    words,
    write::is_kept_attribute,
};

/// What a survey starts from.
pub(super) struct Survey<'a> {
    pub image: &'a Image,
    /// Where relative paths start
    pub folder: &'a Path,
    pub home: Option<&'a Path>,
    /// Where the image will be, links followed
    pub target: &'a Path,
    /// The caller's PATH
    pub search: &'a OsString,
    /// Whether device nodes can be made, and opened later
    pub makes_nodes: bool,
}

/// What was found.
pub(super) struct Found {
    pub tree: Tree,
    /// What may not be read
    pub unreadable: Vec<PathBuf>,
}

impl Found {
    /// Puts a node into the tree, in words if it cannot.
    pub(super) fn put(&mut self, path: &Path, node: Node) -> Result<(), Stop> {
        let origin = node.origin.clone();
        self.tree.put(path, node).map_err(|trouble| in_the_way(path, trouble, origin))
    }
}

impl Survey<'_> {
    pub(super) fn run(&self, guard: &mut Guard) -> Result<Found, Stop> {
        let mut found = Found { tree: Tree::new(), unreadable: Vec::new() };
        let root = yaml::Path::root().key("image");
        self.add_links(&mut found, &root.key("links"))?;
        for (index, place) in self.image.dirs.iter().enumerate() {
            let origin = root.key("dirs").index(index);
            self.make_directory(&mut found, place.as_path(), &origin)?;
        }
        self.add_copies(&mut found, &root.key("copy"), guard)?;
        Programs { survey: self }.add(&mut found, &root.key("programs"))?;
        self.add_devices(&mut found, &root.key("devices"))?;
        Ok(found)
    }

    /// What a path of the recipe means on this machine.
    pub(super) fn source(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.folder.join(path),
        }
    }

    fn make_directory(
        &self,
        found: &mut Found,
        path: &Path,
        origin: &yaml::Path,
    ) -> Result<(), Stop> {
        let made = found.tree.directory(path, origin);
        made.map(drop).map_err(|trouble| in_the_way(path, trouble, origin.clone()))
    }

    fn add_links(&self, found: &mut Found, at: &yaml::Path) -> Result<(), Stop> {
        for (link, target) in &self.image.links {
            let kind = Kind::Symlink(target.as_path().to_owned());
            let node = Node { kind, mode: 0o777, source: None, origin: at.key(link) };
            found.put(Path::new(link), node)?;
        }
        Ok(())
    }

    fn add_devices(&self, found: &mut Found, at: &yaml::Path) -> Result<(), Stop> {
        for (index, place) in self.image.devices.iter().enumerate() {
            let origin = at.index(index);
            let path = Path::new("/").join(place.as_path());
            let (kind, mode) = match self.makes_nodes {
                true => self.device(&path, &origin)?,
                false => (Kind::Placeholder, 0o644),
            };
            found.put(&path, Node { kind, mode, source: None, origin })?;
        }
        Ok(())
    }

    fn device(&self, path: &Path, origin: &yaml::Path) -> Result<(Kind, u32), Stop> {
        let found = fs::metadata(path).ok().and_then(|found| Some((device(&found)?, found.mode())));
        let (device, mode) = found.ok_or_else(|| words::no_device(path).stop(origin))?;
        Ok((Kind::Device(device), mode & 0o777))
    }

    fn add_copies(
        &self,
        found: &mut Found,
        at: &yaml::Path,
        guard: &mut Guard,
    ) -> Result<(), Stop> {
        for (index, copy) in self.image.copy.iter().enumerate() {
            let here = at.index(index);
            self.make_directory(found, copy.to.as_path(), &here.key("to"))?;
            for (number, from) in copy.from.0.iter().enumerate() {
                let origin = here.key("from").index(number);
                let written = self.source(from.as_path());
                // Without `.`, which says only that there is no name.
                let source: PathBuf = written.components().collect();
                self.check_apart(&source, &origin)?;
                let node = self
                    .look(&source, &origin, found, guard)?
                    .ok_or_else(|| words::no_source(&source).stop(&origin))?;
                match name_of(&written) {
                    Some(name) => found.put(&copy.to.as_path().join(name), node)?,
                    None => self.put_content(found, copy.to.as_path(), node, &source)?,
                }
            }
        }
        Ok(())
    }

    /// `folder/.` is all that is in a folder.
    fn put_content(
        &self,
        found: &mut Found,
        to: &Path,
        node: Node,
        source: &Path,
    ) -> Result<(), Stop> {
        let origin = node.origin.clone();
        let Kind::Directory(entries) = node.kind else {
            return Err(words::no_folder(source).stop(&origin));
        };
        for (name, node) in entries {
            found.put(&to.join(name), node)?;
        }
        Ok(())
    }

    /// A build that read what it writes would never end, or read half of it.
    pub(super) fn check_apart(&self, source: &Path, origin: &yaml::Path) -> Result<(), Stop> {
        let is_link = fs::symlink_metadata(source).is_ok_and(|found| found.is_symlink());
        let real = match (is_link, source.parent(), source.file_name()) {
            (true, Some(above), Some(name)) => above.canonicalize().map(|above| above.join(name)),
            _ => source.canonicalize(),
        };
        // What is not there is said to be missing a little later.
        let Ok(real) = real else { return Ok(()) };
        if real.starts_with(self.target) {
            return Err(words::source_in_target(source, self.target).stop(origin));
        }
        if self.target.starts_with(&real) && !is_link {
            return Err(words::target_in_source(self.target, source).stop(origin));
        }
        Ok(())
    }

    /// One file and all below it; nothing where there is none.
    fn look(
        &self,
        path: &Path,
        origin: &yaml::Path,
        found: &mut Found,
        guard: &mut Guard,
    ) -> Result<Option<Node>, Stop> {
        guard.look_up()?;
        guard.show(Stage::Looking, 0, None);
        let status = match fs::symlink_metadata(path) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.unreadable.push(path.to_owned());
                return Ok(Some(unreadable(path, origin)));
            }
            Err(error) => return Err(words::unread(path, &error).stop(origin)),
        };
        let mut source = source(path, &status);
        let kind = status.file_type();
        let (kind, mode) = if kind.is_dir() {
            let entries = self.look_into(path, origin, found, guard)?;
            source.is_readable = entries.is_some();
            (Kind::Directory(entries.unwrap_or_default().into_iter().collect()), 0o500)
        } else if kind.is_symlink() {
            let target =
                fs::read_link(path).map_err(|error| words::unread(path, &error).stop(origin))?;
            source.stamp = format!("-> {}", target.as_os_str().as_bytes().escape_ascii());
            (Kind::Symlink(target), 0o777)
        } else if kind.is_fifo() {
            (Kind::Fifo, 0)
        } else if kind.is_socket() {
            (Kind::Socket, 0)
        } else if let Some(device) = device(&status) {
            (if self.makes_nodes { Kind::Device(device) } else { Kind::Placeholder }, 0)
        } else {
            source.is_readable = is_readable(path);
            if !source.is_readable {
                found.unreadable.push(path.to_owned());
            }
            (Kind::File, 0o400)
        };
        let mode = kept_mode(&status) | mode;
        Ok(Some(Node { kind, mode, source: Some(source), origin: origin.clone() }))
    }

    /// What is in a directory; nothing if it may not be read.
    fn look_into(
        &self,
        path: &Path,
        origin: &yaml::Path,
        found: &mut Found,
        guard: &mut Guard,
    ) -> Result<Option<Vec<(OsString, Node)>>, Stop> {
        let cannot = |error: io::Error| words::unread(path, &error).stop(origin);
        let list = match fs::read_dir(path) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.unreadable.push(path.to_owned());
                return Ok(None);
            }
            Err(error) => return Err(cannot(error)),
        };
        let mut entries = Vec::new();
        for entry in list {
            let entry = entry.map_err(cannot)?;
            // One that is gone by now was there for nobody.
            if let Some(node) = self.look(&entry.path(), origin, found, guard)? {
                entries.push((entry.file_name(), node));
            }
        }
        Ok(Some(entries))
    }
}

/// A file that is copied for itself, not for being in a copied directory.
pub(super) fn file_node(path: &Path, origin: &yaml::Path) -> io::Result<Node> {
    let status = fs::metadata(path)?;
    let mut source = source(path, &status);
    source.is_readable = is_readable(path);
    let mode = kept_mode(&status) | 0o400;
    Ok(Node { kind: Kind::File, mode, source: Some(source), origin: origin.clone() })
}

/// Nothing more is known of it than its name.
fn unreadable(path: &Path, origin: &yaml::Path) -> Node {
    let source = Source {
        path: path.to_owned(),
        stamp: "hidden".to_owned(),
        taken: 0,
        shared: None,
        is_readable: false,
        has_attributes: false,
    };
    Node { kind: Kind::File, mode: 0, source: Some(source), origin: origin.clone() }
}

/// Set-user-ID and set-group-ID bits are left out: the file will be somebody else's.
fn kept_mode(status: &Metadata) -> u32 {
    status.mode() & 0o1777
}

fn source(path: &Path, status: &Metadata) -> Source {
    let stamp = match status.is_dir() {
        true => format!("d {:o}", status.mode()),
        false => format!(
            "{:o} {} {}.{} {}.{} {}",
            status.mode(),
            status.size(),
            status.mtime(),
            status.mtime_nsec(),
            status.ctime(),
            status.ctime_nsec(),
            status.ino()
        ),
    };
    Source {
        path: path.to_owned(),
        stamp,
        taken: if status.is_file() { (status.blocks() * 512).min(status.size()) } else { 0 },
        shared: (status.nlink() > 1 && status.is_file()).then(|| (status.dev(), status.ino())),
        is_readable: true,
        has_attributes: !status.is_symlink() && has_attributes(path),
    }
}

fn is_readable(path: &Path) -> bool {
    let asked = faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS);
    // What else may be wrong with it is found when it is opened.
    !matches!(asked, Err(Errno::EACCES | Errno::EPERM))
}

fn has_attributes(path: &Path) -> bool {
    // What cannot be listed is not copied either.
    xattr::list(path).is_ok_and(|mut names| names.any(|name| is_kept_attribute(&name)))
}

fn device(status: &Metadata) -> Option<Device> {
    let kind = status.file_type();
    let is_block = kind.is_block_device();
    (is_block || kind.is_char_device()).then(|| Device { is_block, number: status.rdev() })
}

/// The name a copy gets; none for `folder/.`, and for what has no name.
fn name_of(path: &Path) -> Option<&std::ffi::OsStr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.ends_with(b"/.") || bytes.ends_with(b"/..") {
        return None;
    }
    path.file_name()
}

/// The words for a path that cannot be had.
pub(super) fn in_the_way(path: &Path, trouble: Trouble, origin: yaml::Path) -> Stop {
    let refusal = match trouble {
        Trouble::LeadsOut { link, target } => words::leads_out(path, &link, &target),
        Trouble::Taken(place) => words::conflict(path, &place),
        Trouble::Circle(link) => words::circle(path, &link),
    };
    refusal.stop(&origin)
}
