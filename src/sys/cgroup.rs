//! Control groups of our own: made, filled, read, ended and removed (`cgroups(7)`).
//!
//! Their name tells who made them, so that what a killed isorecipe has left is
//! known again.

use std::{
    ffi::{CStr, CString},
    fs,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    thread,
    time::Duration,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    descriptor::{self, Walk},
    directory, process,
};

/// What shares something out among groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Memory
    Memory,
    /// Processes and threads
    Pids,
    /// Time on the processors
    Cpu,
}

impl Controller {
    /// Every one that isorecipe has a use for.
    pub const ALL: [Controller; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// How the name of every group begins.
const PREFIX: &str = "isorecipe-";
/// As long as no file of a group is: one with a process a line may be.
const LONGEST: usize = 64 << 10;
/// So many processes are held by descriptor at once.
const CHUNK: usize = 32;
/// How often an end is waited for, and how long each time.
const ATTEMPTS: u32 = 400;
const MOMENT: Duration = Duration::from_millis(5);

/// The name of this process's own group: `isorecipe-PID.NAMESPACE`, since the
/// same PID may be somebody else's in another PID namespace.
pub fn own_name() -> CString {
    let name = format!("{PREFIX}{}.{}", process::own_pid(), pid_namespace());
    CString::new(name).unwrap_or_default()
}

fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino())
}

/// Makes the group of this process below another.
///
/// # Errors
/// As `openat2(2)` and `mkdir(2)`.
pub fn make(home: BorrowedFd) -> Result<OwnedFd, Errno> {
    let name = own_name();
    match directory::make(home, &name, 0o755) {
        // Of somebody dead who had the same number.
        Err(Errno::EEXIST) => {
            unlinkat(home, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
            directory::make(home, &name, 0o755)
        }
        made => made,
    }?;
    descriptor::open_directory(Some(home), &name, Walk::Beneath)
}

/// Removes the empty groups below another whose makers are dead.
pub fn sweep(home: BorrowedFd) {
    let again = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(mut list) = Dir::openat(home, c".", again, Mode::empty()) else { return };
    let own = pid_namespace();
    for entry in list.iter().flatten() {
        if maker(entry.file_name(), own).is_some_and(is_dead) {
            // One that somebody is in stays.
            let _ = unlinkat(home, entry.file_name(), UnlinkatFlags::RemoveDir);
        }
    }
}

/// The process that made a group of this name in this PID namespace.
fn maker(name: &CStr, namespace: u64) -> Option<i32> {
    let (pid, of) = name.to_str().ok()?.strip_prefix(PREFIX)?.split_once('.')?;
    let is_ours = namespace != 0 && of.parse() == Ok(namespace);
    pid.parse().ok().filter(|&pid| is_ours && pid > 0)
}

fn is_dead(pid: i32) -> bool {
    process::send(pid, 0) == Err(Errno::ESRCH)
}

/// Writes a file of a group.
///
/// # Errors
/// As `open(2)` and `write(2)`.
pub fn write(group: BorrowedFd, file: &CStr, value: &str) -> Result<(), Errno> {
    descriptor::write_once(descriptor::open_file(group, file, true)?, value.as_bytes())
}

/// Reads a file of a group.
///
/// # Errors
/// As `open(2)` and `read(2)`.
pub fn read(group: BorrowedFd, file: &CStr) -> Result<String, Errno> {
    let file = descriptor::open_file(group, file, false)?;
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while text.len() < LONGEST {
        match nix::unistd::read(&file, &mut part)? {
            0 => break,
            length => text.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The number behind a word, in a file of such lines: `oom_kill 3`.
pub fn count(group: BorrowedFd, file: &CStr, word: &str) -> Option<u64> {
    let text = read(group, file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The processes of a group.
///
/// # Errors
/// As [`read`].
pub fn processes(group: BorrowedFd) -> Result<Vec<i32>, Errno> {
    let text = read(group, c"cgroup.procs")?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Ends every process of a group; those that it makes meanwhile too.
pub fn end(group: BorrowedFd) {
    // Nothing is forked any more, where that can be said.
    let _ = write(group, c"pids.max", "0");
    // Linux 5.14, and version 2 only.
    if write(group, c"cgroup.kill", "1").is_ok() {
        return;
    }
    // A process may fork before it is reached; its children are met the next time.
    for _ in 0..ATTEMPTS {
        let found = processes(group).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        found.chunks(CHUNK).for_each(|some| kill(group, some));
        thread::sleep(MOMENT);
    }
}

/// Kills processes of a group, and nobody who has got the number of one meanwhile.
fn kill(group: BorrowedFd, some: &[i32]) {
    // 0 is a process of another PID namespace, for which there is no number here.
    let some = some.iter().filter(|pid| **pid > 0 && **pid != process::own_pid());
    let held: Vec<_> = some.filter_map(|pid| Some((*pid, process::open(*pid).ok()?))).collect();
    let still = processes(group).unwrap_or_default();
    for (_, fd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
        // One that is gone by now need not be told.
        let _ = process::kill(fd.as_fd());
    }
}

/// Removes a group, once all in it have ended.
///
/// # Errors
/// As `rmdir(2)`: `EBUSY` if somebody in it does not end.
pub fn remove(group: BorrowedFd) -> Result<(), Errno> {
    let home = descriptor::open_directory(Some(group), c"..", Walk::Free)?;
    // Only what this process has made is ever removed.
    let name = own_name();
    for _ in 0..ATTEMPTS {
        match unlinkat(&home, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::EBUSY) => thread::sleep(MOMENT),
            other => return other,
        }
    }
    Err(Errno::EBUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_groups_of_isorecipe_in_this_pid_namespace_have_a_maker() {
        assert_eq!(maker(c"isorecipe-17.4026", 4026), Some(17));
        for other in
            [c"isorecipe-17.4027", c"isorecipe-17", c"isorecipe--17.4026", c"docker-17.4026"]
        {
            assert_eq!(maker(other, 4026), None, "{other:?}");
        }
        assert_eq!(maker(c"isorecipe-17.0", 0), None);
    }
}
