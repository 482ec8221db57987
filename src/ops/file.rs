//! Files and symbolic links that the recipe makes: `openat(2)`, `symlinkat(2)`.

use std::{ffi::CString, fmt, os::fd::AsFd};

use crate::{
    diagnostic::Refusal,
    host::{Owner, Program},
    model::{Answer, Model, Thing},
    sys::{Call, Errno, Fault, descriptor, entry},
};

use super::{Evidence, NewName, Operation, Stage, unexplained, yes};

/// A file with a content, where nothing was.
pub struct MakeFile {
    /// Where
    pub at: NewName,
    /// What is in it
    pub content: Vec<u8>,
    /// Permission bits
    pub mode: u32,
}

impl fmt::Display for MakeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = if self.content.len() == 1 { "byte" } else { "bytes" };
        let (at, size) = (self.at.path.display(), self.content.len());
        write!(f, "make the file {at} of {size} {bytes}")
    }
}

impl Operation for MakeFile {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.at.check(model, Call::MakeFile).and_then(|()| {
            let fits = self.content.is_empty() || !self.at.is_small(model);
            fits.then_some(()).ok_or(Answer::KernelDecides)
        }))
    }

    fn effect(&self, model: &mut Model) {
        let owner = Owner { uid: model.process.uid, gid: model.process.gid, mode: self.mode };
        self.at.take_effect(model, Thing::File(owner, Program::Unknown));
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let directory = self.at.open(stage)?;
        let file = entry::make_file(directory.as_fd(), &self.at.name)
            .map_err(|errno| Call::MakeFile.gave(errno))?;
        entry::write_all(file.as_fd(), &self.content)
            .map_err(|errno| Call::WriteFile.gave(errno))?;
        entry::set_mode(file.as_fd(), self.mode).map_err(|errno| Call::Chmod.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let looked = |errno| Call::Look.gave(errno);
        let directory = self.at.open(stage)?;
        let file = match descriptor::open_entry(directory.as_fd(), &self.at.name) {
            Err(Errno::ENOENT) => return Err(stage.lie(Call::MakeFile, b"nothing")),
            file => file.map_err(looked)?,
        };
        match entry::is_file_of(file.as_fd(), self.content.len(), self.mode).map_err(looked)? {
            (true, true) => Ok(()),
            (false, _) => Err(stage.lie(Call::WriteFile, b"another file")),
            (true, false) => Err(stage.lie(Call::Chmod, b"other permission bits")),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        match self.at.refused(fault) {
            Some(refusal) => refusal.field("at"),
            None => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        self.at.leak(before, Call::MakeFile)
    }
}

/// A symbolic link, where nothing was.
pub struct MakeLink {
    /// Where
    pub at: NewName,
    /// Where it leads; nobody looks whether that is there
    pub to: CString,
}

impl fmt::Display for MakeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} to {}", self.at.path.display(), self.to.to_string_lossy())
    }
}

impl Operation for MakeLink {
    fn answer(&self, model: &Model) -> Answer {
        yes(self
            .at
            .check(model, Call::Symlink)
            .and_then(|()| (!self.at.is_small(model)).then_some(()).ok_or(Answer::KernelDecides)))
    }

    fn effect(&self, model: &mut Model) {
        let to = self.to.to_string_lossy().into_owned();
        self.at.take_effect(model, Thing::Symlink(to.into()));
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let directory = self.at.open(stage)?;
        entry::make_link(&self.to, directory.as_fd(), &self.at.name)
            .map_err(|errno| Call::Symlink.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let directory = self.at.open(stage)?;
        match entry::leads_to(directory.as_fd(), &self.at.name, &self.to) {
            Ok(true) => Ok(()),
            Ok(false) => Err(stage.lie(Call::Symlink, b"another link")),
            Err(Errno::ENOENT) => Err(stage.lie(Call::Symlink, b"nothing")),
            Err(errno) => Err(Call::Look.gave(errno)),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        match self.at.refused(fault) {
            Some(refusal) => refusal.field("at"),
            None => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        self.at.leak(before, Call::Symlink)
    }
}
