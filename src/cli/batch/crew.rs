//! The processes that make the sandboxes of a batch: forked from one that has
//! planned, each with a line to it.
//!
//! **Invariant:** a member has no descriptor but its line and `/dev/null`, no
//! terminal, and ends with the process that hired it.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::{
    signalfd::SignalFd,
    wait::{Id, WaitPidFlag, WaitStatus, waitid},
};

use crate::sys::{
    Errno, descriptor,
    namespace::{self, Side},
    process, signal,
};

/// What a member ends with that could not begin.
const GAVE_UP: i32 = 125;

/// The members, and who may join.
pub(super) struct Crew<'a> {
    most: usize,
    work: &'a dyn Fn(UnixStream) -> u8,
    members: Vec<Member>,
    before: signal::Before,
    own: OwnedFd,
    /// `/dev/null`, for reading and writing
    nothing: OwnedFd,
}

/// One of them.
pub(super) struct Member {
    pid: i32,
    line: UnixStream,
    /// What it is at: the place of a line among all, and its number
    task: Option<Task>,
    said: Vec<u8>,
}

/// A line that is worked on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Task {
    pub place: usize,
    pub number: u64,
}

/// What a member has to say.
pub(super) enum Word {
    /// Nothing whole yet
    Nothing,
    /// The result of its task
    Result(Task, Vec<u8>),
    /// It is gone, and this is what became of it; and the task that it was at
    Gone(Option<Task>, String),
}

impl<'a> Crew<'a> {
    /// A crew of so many at most, nobody yet; and the signals that now wait to be read.
    ///
    /// # Errors
    /// As `signalfd(2)`, `pidfd_open(2)` and `open(2)`.
    pub(super) fn hire(
        most: usize,
        work: &'a dyn Fn(UnixStream) -> u8,
    ) -> Result<(Self, SignalFd), Errno> {
        let (before, signals) = signal::hold_endings()?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let (own, nothing) = (process::open_own()?, null.into());
        Ok((Self { most, work, members: Vec::new(), before, own, nothing }, signals))
    }

    /// How many there can be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether somebody could take a line now; hires somebody for it if need be.
    ///
    /// # Errors
    /// Nobody is there, and nobody can be made: as `fork(2)`.
    pub(super) fn has_somebody(&mut self) -> Result<bool, Errno> {
        if self.members.iter().any(|member| member.task.is_none()) {
            return Ok(true);
        }
        if self.members.len() >= self.most {
            return Ok(false);
        }
        match self.hire_one() {
            Ok(member) => {
                self.members.push(member);
                Ok(true)
            }
            Err(errno) if self.members.is_empty() => Err(errno),
            // Fewer do it as well.
            Err(_) => {
                self.most = self.members.len();
                Ok(false)
            }
        }
    }

    fn hire_one(&self) -> Result<Member, Errno> {
        let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        match namespace::fork()? {
            Side::Parent(pid) => Ok(Member { pid, line: ours, task: None, said: Vec::new() }),
            Side::Child => {
                self.begin(&theirs).unwrap_or_else(|_| process::exit(GAVE_UP));
                process::exit(i32::from((self.work)(theirs)))
            }
        }
    }

    /// In the new member: apart from everything of its maker's.
    fn begin(&self, line: &UnixStream) -> Result<(), Errno> {
        signal::release(&self.before)?;
        process::die_with_parent()?;
        if process::is_over(&self.own) {
            return Err(Errno::ESRCH);
        }
        process::new_session()?;
        for stream in 0..=2 {
            descriptor::put_at(self.nothing.as_fd(), stream)?;
        }
        descriptor::close_all_but([line.as_fd()])
    }

    /// Gives a line to somebody idle. Who is gone meanwhile is noticed by its end.
    pub(super) fn give(&mut self, task: Task, line: &[u8]) {
        if let Some(member) = self.members.iter_mut().find(|member| member.task.is_none()) {
            member.task = Some(task);
            let head = format!("{} ", task.number);
            let _ = member.line.write_all(&[head.as_bytes(), line, b"\n"].concat());
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.members.iter().any(|member| member.task.is_some())
    }

    /// What to wait for.
    pub(super) fn lines(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.members.iter().map(|member| member.line.as_fd())
    }

    /// Hears a member that has something to say.
    pub(super) fn hear(&mut self, which: usize) -> Word {
        let Some(member) = self.members.get_mut(which) else { return Word::Nothing };
        let mut part = [0; 16 * 1024];
        match member.line.read(&mut part) {
            Ok(length) if length > 0 => {
                member.said.extend_from_slice(part.get(..length).unwrap_or_default());
                match (member.said.last(), member.task) {
                    (Some(b'\n'), Some(task)) => {
                        member.task = None;
                        Word::Result(task, std::mem::take(&mut member.said))
                    }
                    _ => Word::Nothing,
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Word::Nothing,
            _ => {
                let member = self.members.swap_remove(which);
                Word::Gone(member.task, member.end())
            }
        }
    }

    /// A member that is gone, though its line may not be: a child of it that is stuck in
    /// the kernel still holds that. To hear it waits for nothing any more.
    pub(super) fn departed(&self) -> Option<usize> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let is_gone = |member: &Member| {
            let pid = nix::unistd::Pid::from_raw(member.pid);
            !matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
        };
        let which = self.members.iter().position(is_gone)?;
        self.members.get(which)?.line.set_nonblocking(true).ok()?;
        Some(which)
    }

    /// Signals those who are at something.
    pub(super) fn signal(&self, signal: i32) {
        for member in self.members.iter().filter(|member| member.task.is_some()) {
            let _ = process::send(member.pid, signal);
        }
    }

    /// Lets everybody go, and sees them leave.
    pub(super) fn dismiss(self) {
        for member in self.members {
            member.end();
        }
    }
}

impl Member {
    /// Waits for its end, which comes with that of its line.
    fn end(self) -> String {
        drop(self.line);
        let pid = nix::unistd::Pid::from_raw(self.pid);
        loop {
            match nix::sys::wait::waitpid(pid, None) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    return format!("{signal} killed it");
                }
                Ok(WaitStatus::Exited(_, status)) => {
                    return format!("it ended with status {status}");
                }
                _ => return "nothing more is known".to_owned(),
            }
        }
    }
}
