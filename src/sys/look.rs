//! What is, as numbers: `statx(2)`, `statmount(2)`, `nsfs(5)`, `prctl(2)`.
//!
//! A call that says yes is believed after a look. No look here allocates, and
//! each is a call or two by descriptor: the child has one behind most steps.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

use nix::errno::Errno;

use super::{Propagation, call, descriptor};

/// The same number on every architecture that isorecipe runs on (Linux 6.8).
const SYS_STATMOUNT: libc::c_long = 457;
const STATX_MNT_ID_UNIQUE: libc::c_uint = 0x4000;
const STATMOUNT_MNT_BASIC: u64 = 0x02;
const MS_SHARED: u64 = 1 << 20;
const MS_SLAVE: u64 = 1 << 19;

/// Where something is: the mount, and the file in its filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The number of the mount, for as long as it is attached or held
    pub mount: u64,
    /// Device and inode
    pub file: (u32, u32, u64),
}

/// Where a path leads.
///
/// # Errors
/// As `statx(2)`.
pub fn at(path: &CStr) -> Result<Whereabouts, Errno> {
    statx(libc::AT_FDCWD, path, libc::STATX_MNT_ID | libc::STATX_INO)
        .map(|found| whereabouts(&found))
}

/// Where an open place is.
///
/// # Errors
/// As `statx(2)`.
pub fn at_open(place: BorrowedFd) -> Result<Whereabouts, Errno> {
    statx(place.as_raw_fd(), c"", libc::STATX_MNT_ID | libc::STATX_INO)
        .map(|found| whereabouts(&found))
}

fn whereabouts(found: &libc::statx) -> Whereabouts {
    Whereabouts {
        mount: found.stx_mnt_id,
        file: (found.stx_dev_major, found.stx_dev_minor, found.stx_ino),
    }
}

/// The number of what a file of `/proc/PID/ns/` leads to.
///
/// # Errors
/// As `statx(2)`.
pub fn namespace(proc: BorrowedFd, link: &CStr) -> Result<u64, Errno> {
    statx(proc.as_raw_fd(), link, libc::STATX_INO).map(|found| found.stx_ino)
}

fn statx(at: libc::c_int, path: &CStr, mask: libc::c_uint) -> Result<libc::statx, Errno> {
    // SAFETY: all zeros is a `struct statx`.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_NO_AUTOMOUNT | libc::AT_EMPTY_PATH;
    // SAFETY: path and structure outlive the call.
    Errno::result(unsafe { libc::statx(at, path.as_ptr(), flags, mask, &raw mut found) })?;
    Ok(found)
}

/// `struct mnt_id_req`
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    wanted: u64,
}

/// The head of `struct statmount`, and room for what is not asked for.
#[repr(C)]
struct Found {
    size: u32,
    options: u32,
    mask: u64,
    device: [u32; 2],
    magic: u64,
    flags: u32,
    kind: u32,
    mount: u64,
    parent: u64,
    old_mount: u32,
    old_parent: u32,
    attributes: u64,
    propagation: u64,
    rest: [u64; 64],
}

/// How mount events travel to and from the root.
///
/// # Errors
/// As `statx(2)` and `statmount(2)`; before Linux 6.8, as reading
/// `/proc/self/mountinfo` through this procfs.
pub fn propagation_of_root(proc: Option<BorrowedFd>) -> Result<Propagation, Errno> {
    let root = statx(libc::AT_FDCWD, c"/", STATX_MNT_ID_UNIQUE)?;
    if root.stx_mask & STATX_MNT_ID_UNIQUE == 0 {
        return listed_propagation(proc.ok_or(Errno::ENOSYS)?);
    }
    let request =
        Request { size: 24, spare: 0, mount: root.stx_mnt_id, wanted: STATMOUNT_MNT_BASIC };
    // SAFETY: all zeros is a `Found`.
    let mut found: Found = unsafe { std::mem::zeroed() };
    // SAFETY: both structures outlive the call.
    let asked = unsafe {
        call(
            SYS_STATMOUNT,
            [
                ptr::from_ref(&request) as libc::c_long,
                &raw mut found as libc::c_long,
                size_of::<Found>() as libc::c_long,
                0,
                0,
            ],
        )
    };
    match asked {
        Ok(_) if found.mask & STATMOUNT_MNT_BASIC == 0 => Err(Errno::ENODATA),
        Ok(_) => {
            Ok(propagation(found.propagation & MS_SHARED != 0, found.propagation & MS_SLAVE != 0))
        }
        // A filter in between, or a kernel that has the one and not the other.
        Err(Errno::ENOSYS | Errno::EPERM) => listed_propagation(proc.ok_or(Errno::ENOSYS)?),
        Err(errno) => Err(errno),
    }
}

fn propagation(is_shared: bool, is_slave: bool) -> Propagation {
    match (is_shared, is_slave) {
        (true, _) => Propagation::Shared,
        (false, true) => Propagation::Slave,
        (false, false) => Propagation::Private,
    }
}

/// The same from the list of mounts, a block at a time.
fn listed_propagation(proc: BorrowedFd) -> Result<Propagation, Errno> {
    let root = at(c"/")?.mount;
    let list = descriptor::open_file(proc, c"self/mountinfo", false)?;
    let mut line = Line::default();
    let mut block = [0; 1024];
    loop {
        let read = nix::unistd::read(&list, &mut block)?;
        if read == 0 {
            return Err(Errno::ENOENT);
        }
        for &byte in block.get(..read).unwrap_or_default() {
            if let Some(found) = line.take(byte, root) {
                return Ok(found);
            }
        }
    }
}

/// A line of the list of mounts as it goes by: its number, and its optional fields.
#[derive(Default)]
struct Line {
    field: u32,
    number: u64,
    word: [u8; 7],
    length: usize,
    is_shared: bool,
    is_slave: bool,
}

impl Line {
    /// Takes one byte; at the end of the line of this mount, gives what it says.
    fn take(&mut self, byte: u8, mount: u64) -> Option<Propagation> {
        match byte {
            b' ' | b'\n' => {
                match self.word.get(..self.length) {
                    Some(b"shared:") if self.field >= 6 => self.is_shared = true,
                    Some(b"master:") if self.field >= 6 => self.is_slave = true,
                    // What comes behind are words of the filesystem.
                    Some(b"-") if self.field >= 6 => self.field = 100,
                    _ => {}
                }
                (self.field, self.length) = (self.field.saturating_add(1), 0);
                if self.field > 100 {
                    // A filesystem that is called "shared:" is none of ours.
                    self.word = [0; 7];
                }
            }
            _ if self.field == 0 => {
                let digit = u64::from(byte.wrapping_sub(b'0'));
                self.number = self.number.wrapping_mul(10).wrapping_add(digit);
            }
            _ => {
                if let Some(place) = self.word.get_mut(self.length).filter(|_| self.field < 100) {
                    *place = byte;
                    self.length += 1;
                }
            }
        }
        if byte != b'\n' {
            return None;
        }
        let line = std::mem::take(self);
        (line.number == mount).then(|| propagation(line.is_shared, line.is_slave))
    }
}

/// Some bytes of an open file; 0 at its end.
///
/// # Errors
/// As `read(2)`.
pub fn read(file: impl AsFd, into: &mut [u8]) -> Result<usize, Errno> {
    nix::unistd::read(file, into)
}

/// Which signal comes when the parent dies; 0 for none (`PR_GET_PDEATHSIG`).
///
/// # Errors
/// As `prctl(2)`.
pub fn death_signal() -> Result<i32, Errno> {
    let mut signal = 0;
    // SAFETY: the number outlives the call.
    Errno::result(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0) })?;
    Ok(signal)
}

/// Whether a descriptor is closed when the process executes a program.
///
/// # Errors
/// As `fcntl(2)`.
pub fn is_closed_on_exec(descriptor: BorrowedFd) -> Result<bool, Errno> {
    // SAFETY: `fcntl` takes numbers here.
    let flags = Errno::result(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) })?;
    Ok(flags & libc::FD_CLOEXEC != 0)
}

/// Real, effective and saved user id.
///
/// # Errors
/// As `getresuid(2)`.
pub fn user_ids() -> Result<[u32; 3], Errno> {
    let found = nix::unistd::getresuid()?;
    Ok([found.real, found.effective, found.saved].map(nix::unistd::Uid::as_raw))
}

/// Real, effective and saved group id.
///
/// # Errors
/// As `getresgid(2)`.
pub fn group_ids() -> Result<[u32; 3], Errno> {
    let found = nix::unistd::getresgid()?;
    Ok([found.real, found.effective, found.saved].map(nix::unistd::Gid::as_raw))
}

/// The supplementary groups, and how many there are; without room, only that.
///
/// # Errors
/// As `getgroups(2)`; `EINVAL` where there are more than fit.
pub fn groups(into: &mut [u32]) -> Result<usize, Errno> {
    let room = libc::c_int::try_from(into.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: there is room for so many, and it outlives the call.
    let count = Errno::result(unsafe { libc::getgroups(room, into.as_mut_ptr()) })?;
    Ok(count.unsigned_abs() as usize)
}

/// The hostname and the NIS domain name, each ended by NUL.
///
/// # Errors
/// As `uname(2)`.
pub fn names() -> Result<([u8; 65], [u8; 65]), Errno> {
    // SAFETY: an all-zero structure is a valid one, and outlives the call.
    let found = unsafe {
        let mut found: libc::utsname = std::mem::zeroed();
        Errno::result(libc::uname(&raw mut found))?;
        found
    };
    Ok((found.nodename.map(|byte| byte as u8), found.domainname.map(|byte| byte as u8)))
}

/// The session and the process group that the caller is in; 0 for one that its
/// PID namespace does not know.
pub fn session_and_group() -> (i32, i32) {
    // SAFETY: both calls take a number or nothing.
    unsafe { (libc::getsid(0), libc::getpgrp()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], mount: u64) -> Option<Propagation> {
        let mut line = Line::default();
        text.iter().find_map(|&byte| line.take(byte, mount))
    }

    #[test]
    fn how_mounts_travel_is_read_from_the_list() {
        let list = b"36 35 8:0 / / rw,noatime shared:1 - ext3 /dev/root ro\n\
                     37 36 8:0 / /a rw master:3 propagate_from:2 - tmpfs shared: rw\n\
                     38 36 8:0 / shared:4 rw - tmpfs shared:7 rw\n\
                     39 36 8:0 / /b rw shared:5 master:6 - tmpfs none rw\n";
        assert_eq!(read(list, 36), Some(Propagation::Shared));
        assert_eq!(read(list, 37), Some(Propagation::Slave));
        assert_eq!(read(list, 38), Some(Propagation::Private));
        assert_eq!(read(list, 39), Some(Propagation::Shared));
        assert_eq!(read(list, 40), None);
    }
}
