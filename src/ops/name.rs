//! A new name in a directory: where it goes, and what the kernel asks before it
//! is there (`openat(2)` with `O_EXCL`, `symlinkat(2)`).
//!
//! The directory is found first and held. If the plan says that it is part of a
//! filesystem that the recipe has made, that is looked at again behind the walk:
//! whoever changes a link on the way in the meantime gets nothing made elsewhere.

use std::{
    ffi::{CString, OsStr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Found, Model, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
    },
};

use super::{Stage, place};

/// A name that nothing has yet.
pub struct NewName {
    /// The whole path
    pub path: PathBuf,
    pub(super) whole: KernelPath,
    directory: KernelPath,
    pub(super) name: CString,
    /// Of the filesystem that it has to be in; without one, it is anybody's
    ground: Option<Slot>,
}

impl NewName {
    /// A name in a filesystem that the recipe has made, kept in a slot.
    pub fn new(path: impl AsRef<Path>, ground: Option<Slot>) -> Self {
        let path = path.as_ref().to_owned();
        let name = path.file_name().unwrap_or(OsStr::new(".")).as_bytes();
        Self {
            whole: KernelPath::new(&path),
            directory: KernelPath::new(path.parent().unwrap_or(Path::new("/"))),
            name: CString::new(name).unwrap_or_default(),
            path,
            ground,
        }
    }

    /// The directory, if the name can be made in it.
    pub(super) fn check(&self, model: &Model, call: Call) -> Result<(), Answer> {
        let no = |errno| Answer::No(call.gave(errno));
        let open = |errno| Answer::No(Call::OpenTarget.gave(errno));
        let Some(name) = self.path.file_name() else { return Err(Answer::KernelDecides) };
        let directory = model.walk(self.directory.as_path()).map_err(open)?;
        match directory.thing.is_directory() {
            Some(true) => {}
            Some(false) => return Err(open(Errno::ENOTDIR)),
            None => return Err(Answer::KernelDecides),
        }
        match model.child(&directory, name) {
            Ok(Found { thing: Thing::Unknown, .. }) => return Err(Answer::KernelDecides),
            Ok(_) => return Err(no(Errno::EEXIST)),
            Err(Errno::ENOENT) if model.is_proc(&directory) => return Err(no(Errno::ENOENT)),
            // What goes to `upper` through an overlay is seen there, too.
            Err(Errno::ENOENT) if model.mounts.is_upper(&directory.at) => {
                return Err(Answer::KernelDecides);
            }
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(no(errno)),
        }
        model.may_change(&directory).map_err(|objection| objection.to(call))
    }

    /// Whether something that is put there may not fit.
    pub(super) fn is_small(&self, model: &Model) -> bool {
        model.walk(self.directory.as_path()).is_ok_and(|found| {
            let (filesystem, _) = model.mounts.within(&found.at);
            model.mounts.filesystem(filesystem).is_small
        })
    }

    /// Puts something there, in the model.
    pub(super) fn take_effect(&self, model: &mut Model, thing: Thing) {
        let Some(name) = self.path.file_name() else { return };
        let Ok(found) = model.walk(self.directory.as_path()) else { return };
        let (filesystem, path) = model.mounts.within(&found.at);
        if let Some(instance) = model.mounts.filesystem_mut(filesystem) {
            instance.entries.entry(path.join(name)).or_insert(thing);
        }
    }

    /// Opens the directory, and looks whether it is where it is meant to be.
    pub(super) fn open(&self, stage: &Stage) -> Result<OwnedFd, Fault> {
        let open = |errno| Call::OpenTarget.gave(errno);
        let root = descriptor::open_directory(None, c"/", Walk::Free).map_err(open)?;
        let path = self.directory.as_c_str();
        let directory =
            descriptor::open_directory(Some(root.as_fd()), path, Walk::InRoot).map_err(open)?;
        match place::is_ground(stage, directory.as_fd(), self.ground)? {
            true => Ok(directory),
            false => Err(open(Errno::EXDEV)),
        }
    }

    /// What the kernel says to a name, in words.
    pub(super) fn refused(&self, fault: Fault) -> Option<Refusal> {
        let shown = self.path.display();
        let above = self.directory.as_path();
        Some(match fault.errno {
            Errno::EEXIST => {
                Refusal::new("file::exists", format!("there is something at {shown} already"))
                    .why("nothing that is there is ever changed")
                    .help("name a place where nothing is; a `bind` covers what is there")
            }
            Errno::EXDEV => {
                Refusal::new("file::elsewhere", format!("{shown} leads elsewhere by now"))
                    .why("somebody has changed a link on the way since it was planned")
                    .help(format!("`namei -l {}` shows the way", typed(above)))
            }
            Errno::ENOENT if fault.call == Call::OpenTarget => {
                let message = format!("there is no directory {} to make it in", above.display());
                Refusal::new("file::no_directory", message)
                    .why("it does not exist at this point")
                    .help(format!("put `dir: {}` before it", typed(above)))
            }
            Errno::ENOENT => {
                Refusal::new("file::in_proc", format!("{shown} cannot be made in a /proc"))
                    .why("it holds what the kernel puts there, and nothing else")
                    .help("name a place outside of it")
            }
            Errno::ENOTDIR => {
                Refusal::new("file::below_file", format!("{shown} leads through a file"))
                    .why("a directory on the way is none")
                    .help("name a path whose parents are directories")
            }
            Errno::EROFS => Refusal::new(
                "file::read_only",
                format!("{shown} cannot be made: the place is read-only"),
            )
            .why("nothing can be written there any more")
            .help("put it before what makes the place read-only"),
            Errno::EACCES => {
                Refusal::new("file::not_permitted", format!("you may not make {shown}"))
                    .why("the directory above does not let you")
                    .help("name a place that you may write")
            }
            Errno::EOVERFLOW => {
                Refusal::new("file::unmapped", format!("{shown} would belong to nobody"))
                    .why("the user has no id in the user namespace of that filesystem")
                    .help("give the `user` layer a map: `user: {map: root}`")
            }
            Errno::ENOSPC => Refusal::new("file::no_room", format!("there is no room for {shown}"))
                .why("the filesystem is full")
                .help("give the `tmpfs` a larger `size`"),
            _ => return None,
        })
    }

    /// What is not known to be the recipe's own is the host's.
    pub(super) fn leak(&self, before: &Model, call: Call) -> Option<Refusal> {
        if self.ground.is_some() || matches!(self.check(before, call), Err(Answer::No(_))) {
            return None;
        }
        let shown = self.path.display();
        Some(
            Refusal::new("file::host", format!("this would make {shown} on the host"))
                .why("the place is a part of the host's own tree")
                .help("put a `tmpfs` or an `overlay` there before"),
        )
    }
}
