//! What a step may use while it runs: everything was prepared before the fork.

use std::{
    cell::{Cell, OnceCell},
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    model::Slot,
    sys::{Call, Errno, Fault, descriptor, look, mount::Configuration},
};

/// The longest kernel message that is kept.
pub const LOG_LENGTH: usize = 256;

/// How a process becomes two, which only the executor can do.
pub trait Turnings {
    /// Goes on as the child of a fork; the parent waits for it and never returns.
    ///
    /// # Errors
    /// As `clone3(2)`.
    fn fork(&self) -> Result<(), Errno>;

    /// The same, with the parent staying as the init of its PID namespace.
    ///
    /// # Errors
    /// As `clone3(2)`; in the parent, that it could not give up its rights.
    fn stay_as_init(&self) -> Result<(), Fault>;
}

/// The surroundings of a running step.
pub struct Stage<'a> {
    /// The root of the host's procfs, opened before anything was covered
    pub proc: Option<BorrowedFd<'a>>,
    /// The child's PID, in the supervisor; 0 in the child
    pub child: i32,
    /// Descriptors kept between steps
    pub slots: &'a [OnceCell<OwnedFd>],
    /// How to fork
    pub turnings: &'a dyn Turnings,
    log: Cell<([u8; LOG_LENGTH], usize)>,
    remembered: Cell<[u64; 2]>,
}

impl<'a> Stage<'a> {
    /// A stage for one process.
    pub fn new(
        proc: Option<BorrowedFd<'a>>,
        child: i32,
        slots: &'a [OnceCell<OwnedFd>],
        turnings: &'a dyn Turnings,
    ) -> Self {
        let log = Cell::new(([0; LOG_LENGTH], 0));
        Self { proc, child, slots, turnings, log, remembered: Cell::default() }
    }

    /// Writes one of the child's own files in `/proc/PID/`.
    ///
    /// # Errors
    /// As `open(2)` and `write(2)`; `ENOENT` without a procfs.
    pub fn write_own(&self, file: &str, bytes: &[u8]) -> Result<(), Errno> {
        let proc = self.proc.ok_or(Errno::ENOENT)?;
        let mut buffer = [0; 64];
        let path = own_path(&mut buffer, self.child, file).ok_or(Errno::ENAMETOOLONG)?;
        let file = descriptor::open_file(proc, path, true)?;
        descriptor::write_once(&file, bytes)
    }

    /// Writes a setting of the kernel, by its path below `/proc`.
    ///
    /// # Errors
    /// As `open(2)` and `write(2)`; `ENOENT` without a procfs.
    pub fn write_setting(&self, file: &CStr, bytes: &[u8]) -> Result<(), Errno> {
        let file = descriptor::open_file(self.proc.ok_or(Errno::ENOENT)?, file, true)?;
        descriptor::write_once(&file, bytes)
    }

    /// Reads one.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`; `ENOENT` without a procfs.
    pub fn read_setting<'r>(&self, file: &CStr, room: &'r mut [u8]) -> Result<&'r [u8], Errno> {
        let file = descriptor::open_file(self.proc.ok_or(Errno::ENOENT)?, file, false)?;
        let length = nix::unistd::read(&file, room)?;
        room.get(..length).ok_or(Errno::EOVERFLOW)
    }

    /// Opens one of the child's own files in `/proc/PID/` to read.
    ///
    /// # Errors
    /// As `open(2)`; `ENOENT` without a procfs.
    pub fn open_own(&self, file: &str) -> Result<OwnedFd, Errno> {
        self.open_of(self.child, file)
    }

    /// Opens a file of a process in `/proc/PID/` to read.
    ///
    /// # Errors
    /// As [`Stage::open_own`].
    pub fn open_of(&self, pid: i32, file: &str) -> Result<OwnedFd, Errno> {
        let proc = self.proc.ok_or(Errno::ENOENT)?;
        let mut buffer = [0; 64];
        let path = own_path(&mut buffer, pid, file).ok_or(Errno::ENAMETOOLONG)?;
        descriptor::open_file(proc, path, false)
    }

    /// The descriptor in a slot.
    ///
    /// # Errors
    /// `EBADF` for a slot that no step has filled.
    pub fn slot(&self, slot: Slot) -> Result<BorrowedFd<'_>, Errno> {
        self.slots.get(slot).and_then(OnceCell::get).map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    /// Fills a slot.
    ///
    /// # Errors
    /// `EBADF` for a slot that is not there or full.
    pub fn keep(&self, slot: Slot, fd: OwnedFd) -> Result<(), Errno> {
        self.slots.get(slot).ok_or(Errno::EBADF)?.set(fd).map_err(|_| Errno::EBADF)
    }

    /// Keeps what a filesystem has to say about its refusal.
    pub fn keep_log(&self, configuration: &Configuration) {
        let mut buffer = [0; LOG_LENGTH];
        let length = configuration.log(&mut buffer).len();
        self.log.set((buffer, length));
    }

    /// Keeps what a helper has to say about its refusal.
    pub fn keep_words(&self, words: &[u8]) {
        let mut buffer = [0; LOG_LENGTH];
        let length = words.len().min(LOG_LENGTH);
        buffer[..length].copy_from_slice(&words[..length]);
        self.log.set((buffer, length));
    }

    /// Leaves two numbers for the read-back of the same step.
    pub fn remember(&self, seen: [u64; 2]) {
        self.remembered.set(seen);
    }

    /// The numbers that were left last.
    pub fn remembered(&self) -> [u64; 2] {
        self.remembered.get()
    }

    /// This call said yes, and this is what is instead; empty: what was before.
    pub fn lie(&self, call: Call, is: &[u8]) -> Fault {
        self.keep_words(is);
        call.lied()
    }

    /// As [`Stage::lie`], for what is a number.
    pub fn lie_number(&self, call: Call, is: u32) -> Fault {
        self.lie(call, decimal(&mut [0; 10], is))
    }

    /// The number of a namespace of this process, by its link in `/proc/PID/ns/`;
    /// nothing where there is no procfs to ask.
    ///
    /// # Errors
    /// As `statx(2)`, of the call [`Call::Look`].
    pub fn namespace(&self, link: &str) -> Result<Option<u64>, Fault> {
        let Some(proc) = self.proc else { return Ok(None) };
        let mut buffer = [0; 64];
        let failed = |errno| Call::Look.gave(errno);
        let path =
            link_path(&mut buffer, self.child, link).ok_or_else(|| failed(Errno::ENAMETOOLONG))?;
        match look::namespace(proc, path) {
            Ok(number) => Ok(Some(number)),
            // A procfs of other processes does not tell of this one.
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The kept words, and how many bytes of them count.
    pub fn log(&self) -> ([u8; LOG_LENGTH], usize) {
        self.log.get()
    }
}

/// Writes `self/FILE` or `PID/FILE`, ended by NUL, without allocating.
fn own_path<'b>(buffer: &'b mut [u8; 64], pid: i32, file: &str) -> Option<&'b CStr> {
    path_below(buffer, pid, ["/", file])
}

fn link_path<'b>(buffer: &'b mut [u8; 64], pid: i32, link: &str) -> Option<&'b CStr> {
    path_below(buffer, pid, ["/ns/", link])
}

fn path_below<'b>(buffer: &'b mut [u8; 64], pid: i32, names: [&str; 2]) -> Option<&'b CStr> {
    let mut digits = [0; 10];
    let owner = if pid == 0 { b"self" } else { decimal(&mut digits, pid.unsigned_abs()) };
    let [first, second] = names.map(str::as_bytes);
    let parts = [owner, first, second];
    let mut end = 0;
    for part in parts {
        buffer.get_mut(end..end + part.len())?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(buffer).ok()
}

fn decimal(digits: &mut [u8; 10], number: u32) -> &[u8] {
    let mut rest = number;
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// What was seen around a fault, beyond its errno.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the filesystem itself said (`fsopen(2)`, the message log)
    pub log: String,
    /// A seccomp filter answers in the kernel's place
    pub filtered: bool,
}

impl Evidence {
    /// Reads the kernel's own words: the first line, without the mark that
    /// says how bad it is (`e overlay: …`).
    pub fn from_log(log: &[u8], filtered: bool) -> Self {
        let text = String::from_utf8_lossy(log);
        let line = text.lines().next().unwrap_or_default();
        Self { log: line.strip_prefix("e ").unwrap_or(line).trim().to_owned(), filtered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_proc_file_names_the_process() {
        let mut buffer = [0; 64];
        assert_eq!(own_path(&mut buffer, 0, "uid_map"), Some(c"self/uid_map"));
        let mut buffer = [0; 64];
        assert_eq!(own_path(&mut buffer, 4_194_304, "uid_map"), Some(c"4194304/uid_map"));
        let mut buffer = [0; 64];
        assert_eq!(own_path(&mut buffer, 1, &"x".repeat(70)), None);
    }
}
