//! Directories made and removed on the way: `mkdir(2)`, `rmdir(2)`.

use std::{
    ffi::CString,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::{
    diagnostic::Refusal,
    host::Owner,
    model::{Answer, Filesystem, Found, Model, Objection, Position, Slot, Thing},
    sys::{Call, Errno, Fault, KernelPath, directory, landlock::files},
};

use super::{Evidence, Operation, Stage, place, unexplained, way, yes};

mod making;

/// Permission bits of what is missing above a directory, as `mkdir -p` has them.
const PARENT_MODE: u32 = 0o755;

/// A directory with all that is missing above it; one that is there stays as it is.
pub struct MakeDirectory {
    /// The tree that the process may not be led out of
    pub base: Option<KernelPath>,
    /// Which directory; in `base`, if there is one
    pub path: PathBuf,
    names: Vec<CString>,
    /// The way to the directory above it, where it can be walked at once
    above: Option<CString>,
    /// Permission bits of the directory itself
    pub mode: u32,
    named: bool,
    /// The filesystem that new ones have to be in; without it, it is anybody's
    ground: Option<Slot>,
}

impl MakeDirectory {
    /// A directory in the tree that the process sees.
    pub fn new(path: impl AsRef<Path>, mode: u32) -> Self {
        let path = path.as_ref().to_owned();
        let names = names(&path);
        let above = making::above(&names, "/");
        Self { base: None, names, above, path, mode, named: false, ground: None }
    }

    /// A directory inside a tree that the process may not be led out of.
    pub fn within(base: impl AsRef<Path>, path: impl AsRef<Path>, mode: u32) -> Self {
        let made = Self::new(path, mode);
        let above = making::above(&made.names, "./");
        Self { base: Some(KernelPath::new(base)), above, named: true, ..made }
    }

    /// The same, where a layer names the place, so that changing it is no surprise.
    pub fn named(path: impl AsRef<Path>, mode: u32) -> Self {
        Self { named: true, ..Self::new(path, mode) }
    }

    /// The same, in a filesystem of the recipe's own that is kept in a slot.
    pub fn on(self, ground: Option<Slot>) -> Self {
        Self { ground, ..self }
    }

    fn shown(&self) -> PathBuf {
        let path = self.path.strip_prefix("/").unwrap_or(&self.path);
        match &self.base {
            Some(base) => base.as_path().join(path),
            None => self.path.clone(),
        }
    }

    fn start(&self, model: &Model) -> Result<Found, Errno> {
        match &self.base {
            None => model.walk(Path::new("/")),
            Some(base) => model.walk(base.as_path()),
        }
    }

    /// The places where something will be made, if the process may.
    fn check(&self, model: &Model) -> Result<Vec<Position>, Answer> {
        let (parent, missing) = self.walk(model)?;
        if !missing.is_empty() && model.is_proc(&parent) {
            return Err(Answer::No(Call::Mkdir.gave(Errno::ENOENT)));
        }
        if !missing.is_empty() {
            model
                .may_change_by(&parent, files::MAKE_DIRECTORY)
                .map_err(|objection| objection.to(Call::Mkdir))?;
        }
        Ok(missing)
    }

    /// Walks as `run` does: to the last directory that is there, and the
    /// places after it.
    fn walk(&self, model: &Model) -> Result<(Found, Vec<Position>), Answer> {
        let open = |errno| Answer::No(Call::OpenTarget.gave(errno));
        let start = self.start(model).map_err(open)?;
        if start.thing.is_directory() == Some(false) {
            return Err(open(Errno::ENOTDIR));
        }
        let root = match self.base {
            None => model.mounts.root_position(),
            Some(_) => start.at.clone(),
        };
        let mut parent = start;
        let mut names = self.path.components().filter(|name| *name != Component::RootDir);
        while let Some(name) = names.next() {
            let Some(found) = self.find(model, &parent, name)? else {
                let made = missing(&parent.at, name, names).ok_or(Answer::KernelDecides)?;
                return Ok((parent, made));
            };
            // It is there, so it is opened (`mkdirat` has said EEXIST).
            let found = match found.filter(|found| !self.follows(&found.thing)) {
                Some(found) => found,
                None => self.look(model, &root, &parent, name).map_err(open)?,
            };
            match found.thing {
                Thing::Directory(_) | Thing::Unknown => parent = found,
                Thing::Symlink(_) => return Err(open(Errno::ELOOP)),
                _ => return Err(open(Errno::ENOTDIR)),
            }
        }
        match parent.thing {
            Thing::Unknown => Err(Answer::KernelDecides),
            _ => Ok((parent, Vec::new())),
        }
    }

    /// Where the kernel decides, or said no, the directory is taken to be there.
    fn presume(&self, model: &mut Model) {
        let base = match &self.base {
            None => model.mounts.root_position(),
            Some(_) => match self.start(model) {
                Ok(found) => found.at,
                Err(_) => return,
            },
        };
        model.presume_directory(&base, &self.path);
    }

    /// What has this name there, a link maybe (`filename_create()`); nothing, if
    /// nothing has. Of what leads up it is only said that it is there.
    fn find(
        &self,
        model: &Model,
        parent: &Found,
        name: Component,
    ) -> Result<Option<Option<Found>>, Answer> {
        let Component::Normal(name) = name else {
            let is_open = model.may_enter(parent) != Some(false);
            let is_there = is_open.then_some(Some(None));
            return is_there.ok_or(Answer::No(Call::Mkdir.gave(Errno::EACCES)));
        };
        match model.child(parent, name) {
            Ok(found) => Ok(Some(Some(found))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Answer::No(Call::Mkdir.gave(errno))),
        }
    }

    /// Whether to open it means to go somewhere else.
    fn follows(&self, thing: &Thing) -> bool {
        self.base.is_none() && matches!(thing, Thing::Symlink(_))
    }

    /// What has this name: links are followed in the process's own tree only.
    fn look(
        &self,
        model: &Model,
        root: &Position,
        parent: &Found,
        name: Component,
    ) -> Result<Found, Errno> {
        match (&self.base, name) {
            (Some(_), Component::Normal(name)) => model.child(parent, name),
            // What leads up may lead out.
            (Some(_), _) => Err(Errno::EXDEV),
            (None, name) => model.walk_on(root, parent, Path::new(&name)),
        }
    }
}

/// The places that are made, from the first that is missing on; `None`: up from
/// one of them, and who knows what is mounted there.
fn missing<'p>(
    parent: &Position,
    first: Component<'p>,
    rest: impl Iterator<Item = Component<'p>>,
) -> Option<Vec<Position>> {
    let mut at = parent.clone();
    std::iter::once(first)
        .chain(rest)
        .map(|name| {
            at.path.push(name);
            (name != Component::ParentDir).then(|| at.clone())
        })
        .collect()
}

/// The names on the way, each as the kernel wants it.
fn names(path: &Path) -> Vec<CString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => CString::new(name.as_bytes()).ok(),
            Component::ParentDir => Some(c"..".to_owned()),
            _ => None,
        })
        .collect()
}

impl fmt::Display for MakeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make the directory {}", self.shown().display())
    }
}

impl Operation for MakeDirectory {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model).map(drop))
    }

    fn effect(&self, model: &mut Model) {
        let Ok((_, missing)) = self.walk(model) else {
            return self.presume(model);
        };
        let last = missing.len();
        for (index, at) in missing.into_iter().enumerate() {
            let mode = if index + 1 == last { self.mode } else { PARENT_MODE };
            let owner = Owner { uid: model.process.uid, gid: model.process.gid, mode };
            let (filesystem, path) = model.mounts.within(&at);
            if let Some(instance) = model.mounts.filesystem_mut(filesystem) {
                instance.removed.remove(&path);
                instance.made.insert(path, owner);
            }
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        self.make(stage)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if let (Some(base), Call::OpenTarget, Errno::ENOENT) = (&self.base, fault.call, fault.errno)
        {
            return place::no_new_root(base.as_path());
        }
        let place = self.shown();
        let shown = place.display();
        match fault.errno {
            Errno::ENOENT if fault.call == Call::Mkdir => {
                Refusal::new("dir::in_proc", format!("{shown} cannot be made in a /proc"))
                    .why("it holds what the kernel puts there, and nothing else")
                    .help("name a place outside of it")
            }
            // What was missing has been made on the way; a name that is there and leads nowhere is a link.
            Errno::ENOENT => Refusal::new(
                "dir::leads_nowhere",
                format!("{shown} leads through a link to nothing"),
            )
            .why(way::first_missing(&place, before))
            .help("name a path without that link: `ls -l` shows links"),
            Errno::EROFS => Refusal::new(
                "dir::read_only",
                format!("{shown} cannot be made: the place is read-only"),
            )
            .why("nothing can be written there any more")
            .help("put the `dir` before what makes the place read-only"),
            Errno::EACCES => {
                Refusal::new("dir::not_permitted", format!("you may not make {shown}"))
                    .why("the directory above belongs to somebody else")
                    .help("name a place that you may write, or make it yourself before")
            }
            Errno::EOVERFLOW => {
                Refusal::new("dir::unmapped", format!("{shown} would belong to nobody"))
                    .why("the user has no id in the user namespace of that filesystem")
                    .help("give the `user` layer a map: `user: {map: root}`")
            }
            Errno::ENOTDIR => {
                Refusal::new("dir::below_file", format!("{shown} leads through a file"))
                    .why(way::file_on_the_way(&place, before))
                    .help("name a path whose parents are directories")
            }
            Errno::EXDEV | Errno::ELOOP if self.base.is_some() => {
                Refusal::new("dir::leads_out", format!("{shown} leads out of the new root"))
                    .why("a part of it is a symbolic link")
                    .help("name a path without links")
            }
            errno => {
                way::refused(&place, errno, before).unwrap_or_else(|| unexplained(self, fault))
            }
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        if self.named {
            return None;
        }
        let (parent, missing) = self.walk(before).ok()?;
        let first = missing.first()?;
        let is_refused =
            matches!(before.may_change_by(&parent, files::MAKE_DIRECTORY), Err(Objection::No(_)));
        if is_refused || before.is_proc(&parent) {
            return None;
        }
        let (filesystem, _) = before.mounts.within(first);
        let is_host =
            matches!(before.mounts.filesystem(filesystem).filesystem, Filesystem::Host(_));
        is_host.then(|| {
            let shown = self.shown();
            Refusal::new("dir::host", format!("this would make {} on the host", shown.display()))
                .why("the place is a part of the host's own tree")
                .help("make it on the host yourself, or put a `tmpfs` or an `overlay` there before")
        })
    }
}

/// An empty directory that goes away.
pub struct RemoveDirectory {
    /// Which
    pub path: KernelPath,
}

impl fmt::Display for RemoveDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove the directory {}", self.path.as_path().display())
    }
}

impl RemoveDirectory {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Answer::No(Call::Rmdir.gave(errno));
        let root = model.mounts.root_position();
        let (parent, name) = model.walk_to_parent(&root, self.path.as_path()).map_err(no)?;
        let found = model.child(&parent, name).map_err(no)?;
        model
            .may_change_by(&parent, files::REMOVE_DIRECTORY)
            .map_err(|objection| objection.to(Call::Rmdir))?;
        let (filesystem, path) = model.mounts.within(&found.at);
        let instance = model.mounts.filesystem(filesystem);
        let mut made = instance.made.keys().chain(instance.entries.keys());
        if made.any(|made| *made != path && made.starts_with(&path)) {
            return Err(no(Errno::ENOTEMPTY));
        }
        // What else there may be in a directory that was there before, nobody told.
        match model.mounts.filesystem(filesystem).made.contains_key(&path) {
            true => Ok(()),
            false => Err(Answer::KernelDecides),
        }
    }
}

impl Operation for RemoveDirectory {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let Ok(found) = model.walk(self.path.as_path()) else {
            return;
        };
        let (filesystem, path) = model.mounts.within(&found.at);
        if let Some(instance) = model.mounts.filesystem_mut(filesystem) {
            instance.made.remove(&path);
            instance.removed.insert(path);
        }
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        directory::remove(self.path.as_c_str()).map_err(|errno| Call::Rmdir.gave(errno))
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        let shown = self.path.as_path().display();
        match fault.errno {
            Errno::ENOTEMPTY => {
                Refusal::new("pivot_root::old_not_empty", format!("{shown} is not empty"))
                    .why("the directory for the old root had something in it before")
                    .help("name one that does not exist, such as `old: .old`")
            }
            Errno::EROFS => Refusal::new(
                "pivot_root::old_read_only",
                format!("{shown} cannot be removed again"),
            )
            .why("the new root is read-only")
            .help("leave `old` out: the old root then goes at once"),
            Errno::EACCES => {
                Refusal::new("dir::not_permitted", format!("you may not remove {shown}"))
                    .why("the directory above belongs to somebody else")
                    .help("leave `old` out: the old root then goes at once")
            }
            _ => unexplained(self, fault),
        }
    }
}
