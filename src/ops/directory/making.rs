//! How a directory is made: at once where all above it is there, otherwise
//! name by name.
//!
//! **Invariant:** both ways make the same, or nothing; only the second has a
//! say in what is wrong, as it finds the name that is.

use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use crate::sys::{
    Call, Errno, Fault, KernelPath,
    descriptor::{self, Walk},
    directory,
};

use super::{
    super::{Stage, place},
    MakeDirectory, PARENT_MODE,
};

/// The way to what is above the last name; nothing where a name leads up, for
/// one walk over many names may go where many walks over one may not.
pub(super) fn above(names: &[CString], start: &str) -> Option<CString> {
    let (_, above) = names.split_last()?;
    if names.iter().any(|name| name.as_c_str() == c"..") {
        return None;
    }
    let mut way = start.as_bytes().to_vec();
    way.extend(above.iter().map(|name| name.as_bytes()).collect::<Vec<_>>().join(&b'/'));
    CString::new(way).ok()
}

impl MakeDirectory {
    /// Makes it, and what is missing above it.
    pub(super) fn make(&self, stage: &Stage) -> Result<(), Fault> {
        match self.make_at_once(stage) {
            Ok(()) => Ok(()),
            // Something is missing or in the way: name by name it is made, or found.
            Err(_) => self.make_one_by_one(stage),
        }
    }

    /// The usual case, where all above it is there: a few calls instead of a few for each name.
    fn make_at_once(&self, stage: &Stage) -> Result<(), Fault> {
        let open = |errno| Call::OpenTarget.gave(errno);
        let (Some(above), Some(name)) = (&self.above, self.names.last()) else {
            return Err(open(Errno::ENOTSUP));
        };
        let above = match &self.base {
            None => descriptor::open_directory(None, above, Walk::Free),
            Some(base) => descriptor::open_directory(None, base.as_c_str(), Walk::Free)
                .and_then(|base| descriptor::open_directory(Some(base.as_fd()), above, self.how())),
        };
        let above = above.map_err(open)?;
        if !place::is_ground(stage, above.as_fd(), self.ground)? {
            return Err(open(Errno::EXDEV));
        }
        directory::make_or_find(above.as_fd(), name, self.mode)
            .map_err(|errno| Call::Mkdir.gave(errno))?;
        let made = descriptor::open_directory(Some(above.as_fd()), name, self.how());
        made.map(drop).map_err(open)
    }

    fn how(&self) -> Walk {
        if self.base.is_some() { Walk::Beneath } else { Walk::Free }
    }

    fn make_one_by_one(&self, stage: &Stage) -> Result<(), Fault> {
        let open = |errno| Call::OpenTarget.gave(errno);
        let start = self.base.as_ref().map_or(c"/", KernelPath::as_c_str);
        let root = descriptor::open_directory(None, start, Walk::Free).map_err(open)?;
        let mut here: Option<OwnedFd> = None;
        for (index, name) in self.names.iter().enumerate() {
            let at = here.as_ref().map_or(root.as_fd(), OwnedFd::as_fd);
            let mode = if index + 1 == self.names.len() { self.mode } else { PARENT_MODE };
            let is_ground = place::is_ground(stage, at, self.ground)?;
            // Elsewhere it is there already, or somebody has moved the place.
            if is_ground {
                directory::make_or_find(at, name, mode).map_err(|errno| Call::Mkdir.gave(errno))?;
            }
            let next = descriptor::open_directory(Some(at), name, self.how());
            here = Some(next.map_err(|errno| match errno {
                Errno::EACCES if !is_ground => Call::Mkdir.gave(errno),
                errno => open(errno),
            })?);
        }
        Ok(())
    }
}
