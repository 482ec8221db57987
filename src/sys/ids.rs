//! Who the process is: `credentials(7)`.

use nix::errno::Errno;

use super::last_words::{self, End};

/// Sets all three user ids, past the C library's thread broadcast.
///
/// # Errors
/// `EINVAL` for an id without a mapping, `EPERM` without `CAP_SETUID`.
pub fn set_uid(uid: u32) -> Result<(), Errno> {
    let id = libc::c_long::from(uid);
    // SAFETY: `setresuid` takes numbers.
    unsafe { super::call(libc::SYS_setresuid, [id, id, id, 0, 0]) }.map(drop)
}

/// Sets all three group ids.
///
/// # Errors
/// `EINVAL` for an id without a mapping, `EPERM` without `CAP_SETGID`.
pub fn set_gid(gid: u32) -> Result<(), Errno> {
    let id = libc::c_long::from(gid);
    // SAFETY: `setresgid` takes numbers.
    unsafe { super::call(libc::SYS_setresgid, [id, id, id, 0, 0]) }.map(drop)
}

/// Replaces the supplementary groups.
///
/// # Errors
/// `EPERM` without `CAP_SETGID`, or where `setgroups` is denied.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let count = groups.len() as libc::c_long;
    let list = groups.as_ptr() as libc::c_long;
    // SAFETY: the list has `count` ids and outlives the call.
    unsafe { super::call(libc::SYS_setgroups, [count, list, 0, 0, 0]) }.map(drop)
}

/// Who else files are made and opened as, until this is dropped: the effective
/// ids and the groups. The process can always go back.
pub struct Acting {
    before: Effective,
}

/// The effective ids and the groups of a process.
struct Effective {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Acting {
    /// Makes and opens files as somebody else from here on.
    ///
    /// # Errors
    /// As `setgroups(2)` and `setresuid(2)`; what was changed by then is changed back.
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> Result<Self, Errno> {
        let before = Effective {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            groups: nix::unistd::getgroups()?.into_iter().map(|group| group.as_raw()).collect(),
        };
        set_groups(groups)?;
        let set = set_effective(libc::SYS_setresgid, gid)
            .and_then(|()| set_effective(libc::SYS_setresuid, uid));
        match set {
            Ok(()) => Ok(Self { before }),
            Err(errno) => {
                before.restore();
                Err(errno)
            }
        }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.before.restore();
    }
}

impl Effective {
    /// Nothing that follows may be done as somebody else than it is meant.
    fn restore(&self) {
        let back = set_effective(libc::SYS_setresuid, self.uid)
            .and_then(|()| set_effective(libc::SYS_setresgid, self.gid))
            .and_then(|()| set_groups(&self.groups));
        if back.is_err() {
            last_words::say(End::NotOneself);
        }
    }
}

/// What root does for a user, done as that user: nothing is opened or made with
/// more rights. The process can be root again for a moment, until it gives that up.
pub struct Lowered {
    uid: u32,
    gid: u32,
}

impl Lowered {
    /// Becomes somebody else but for the saved user id, which `execve(2)` forgets.
    ///
    /// # Errors
    /// As `setresuid(2)` and its kind, and `EPERM` where rights would be left
    /// (`SECBIT_NO_SETUID_FIXUP`); the process is somebody in between then.
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> Result<Self, Errno> {
        set_groups(groups)?;
        set_gid(gid)?;
        let id = libc::c_long::from(uid);
        // SAFETY: `setresuid` takes numbers.
        unsafe { super::call(libc::SYS_setresuid, [id, id, 0, 0, 0]) }?;
        match super::capability::effective() {
            Ok(0) => Ok(Self { uid, gid }),
            Ok(_) => Err(Errno::EPERM),
            Err(errno) => Err(errno),
        }
    }

    /// The user's id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The id of the user's group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Does one thing as root.
    ///
    /// # Errors
    /// `EPERM` once it was given up.
    pub fn as_root<T>(&self, act: impl FnOnce() -> T) -> Result<T, Errno> {
        set_effective(libc::SYS_setresuid, 0)?;
        let done = act();
        // Nothing that follows may be done as root.
        if set_effective(libc::SYS_setresuid, self.uid).is_err() {
            last_words::say(End::NotOneself);
        }
        Ok(done)
    }

    /// Gives up the way back.
    ///
    /// # Errors
    /// As `setresuid(2)`.
    pub fn for_good(&self) -> Result<(), Errno> {
        set_uid(self.uid)
    }
}

/// Sets an effective id only; the saved one leads back.
fn set_effective(call: libc::c_long, id: u32) -> Result<(), Errno> {
    let same = libc::c_long::from(-1);
    // SAFETY: both calls take numbers.
    unsafe { super::call(call, [same, libc::c_long::from(id), same, 0, 0]) }.map(drop)
}
