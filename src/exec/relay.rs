//! A terminal of the command's own, between it and the caller's: what is typed
//! goes in, what is printed comes out, and nothing that the command does to it
//! reaches the shell around (`pty(7)`).
//!
//! **Invariant:** the caller's terminal has its own modes again whenever the
//! command is stopped, and when this is dropped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{
    host::Host,
    plan::Plan,
    sys::{
        Call, Errno, Fault, descriptor,
        stream::Wish,
        terminal::{self, Modes},
    },
};

/// So much is passed on at once.
const PART: usize = 4096;
/// After so many parts, somebody else gets a turn.
const PARTS: usize = 16;
/// So much is passed on of what somebody still prints when the command is over.
const REST: usize = 1 << 20;

/// The caller's terminal, and the command's.
pub(super) struct Relay {
    outer: OwnedFd,
    screen: OwnedFd,
    /// Kept open, so that the command may close its own and come back
    user: OwnedFd,
    /// Which standard streams it is to be
    streams: [bool; 3],
    /// Whether what the command prints goes there, and so what is typed, too
    is_screen: bool,
    /// Whether something else is printed there by the line
    keeps_output: bool,
    /// The caller's own, while keys are the command's
    modes: Option<Modes>,
    /// Whether the caller's job is in front, and keys are for the command
    is_front: bool,
    has_begun: bool,
    /// Nobody types any more
    is_mute: bool,
    to_command: Vec<u8>,
    /// What was typed behind a Ctrl-Z
    later: Vec<u8>,
    to_caller: Vec<u8>,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    GoOn,
    /// Ctrl-Z, which means nothing to a command that leads a session
    Stop,
}

impl Relay {
    /// A new terminal, if the caller has one to pass on and the plan wants it.
    ///
    /// # Errors
    /// None can be had.
    pub(super) fn open(plan: &Plan) -> Result<Option<Self>, Fault> {
        let streams = descriptor::standard_streams().map(terminal::is_terminal);
        if !streams.contains(&true) || !plan.takes_new_terminal(Host::legacy_tiocsti) {
            return Ok(None);
        }
        let Some(outer) = terminal::controlling_unwaiting() else { return Ok(None) };
        let gave = |errno| Call::NewTerminal.gave(errno);
        let (screen, user) = terminal::pair().map_err(gave)?;
        let [_, is_screen, _] = streams;
        // Of a job in the background, the modes are those of the shell that is in front.
        let like = if terminal::is_foreground(outer.as_fd()) { &outer } else { &user };
        let modes = terminal::modes(like.as_fd()).map_err(gave)?;
        // Keys are shown once: by the caller's terminal where it still reads lines.
        let modes = if is_screen { modes } else { modes.unseen() };
        terminal::set_modes(user.as_fd(), &modes).map_err(gave)?;
        terminal::copy_size(outer.as_fd(), screen.as_fd());
        Ok(Some(Self {
            outer,
            screen,
            user,
            streams,
            is_screen,
            keeps_output: plan.watched.output.is_some(),
            modes: None,
            is_front: false,
            has_begun: false,
            is_mute: false,
            to_command: Vec::new(),
            later: Vec::new(),
            to_caller: Vec::new(),
        }))
    }

    /// What the command is to have as its terminal, and as which streams.
    pub(super) fn for_command(&self) -> Own<'_> {
        Own { terminal: self.user.as_fd(), streams: self.streams }
    }

    /// From here on keys are for the command, while the caller's job is in front.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
        self.come_to_front();
    }

    /// Takes the keys, if the caller's job is in front.
    pub(super) fn come_to_front(&mut self) {
        if !self.has_begun || self.is_front || !terminal::is_foreground(self.outer.as_fd()) {
            return;
        }
        self.is_front = true;
        self.resize();
        self.modes = terminal::modes(self.outer.as_fd()).ok().filter(|_| self.is_screen);
        if let Some(modes) = &self.modes {
            // Without it keys come by the line: worse, and no reason to stop.
            let _ = terminal::set_modes(self.outer.as_fd(), &modes.raw(self.keeps_output));
        }
        self.to_command.append(&mut self.later);
    }

    /// Gives the caller's terminal its own modes, once all that was printed is out.
    pub(super) fn step_back(&mut self) {
        self.pass_on(PARTS);
        self.is_front = false;
        if let Some(modes) = self.modes.take()
            && terminal::is_foreground(self.outer.as_fd())
        {
            let _ = terminal::set_modes(self.outer.as_fd(), &modes);
        }
    }

    pub(super) fn resize(&self) {
        terminal::copy_size(self.outer.as_fd(), self.screen.as_fd());
    }

    /// How many milliseconds until it is time to look whether a shell has put
    /// the job in front: it need not tell.
    pub(super) fn time_to_look(&self) -> Option<u16> {
        (self.has_begun && !self.is_front).then_some(100)
    }

    /// What the supervisor has to wait for.
    pub(super) fn wishes(&self) -> Vec<(BorrowedFd<'_>, Wish)> {
        let keys = match self.to_command.is_empty() {
            false => Some((self.screen.as_fd(), Wish::Write)),
            true => (self.is_front && !self.is_mute).then(|| (self.outer.as_fd(), Wish::Read)),
        };
        let words = match self.to_caller.is_empty() {
            false => (self.outer.as_fd(), Wish::Write),
            true => (self.screen.as_fd(), Wish::Read),
        };
        keys.into_iter().chain([words]).collect()
    }

    /// Passes on what there is, as far as it is taken without waiting.
    /// `would_stop` says whether a Ctrl-Z would stop the command, if it could,
    /// where this process group is in front.
    pub(super) fn turn(&mut self, would_stop: impl Fn(i32) -> bool) -> Turn {
        self.come_to_front();
        self.pass_on(PARTS);
        if self.to_command.is_empty() && self.is_front && !self.is_mute {
            self.read_keys();
        }
        let stop = self.find_stop(would_stop);
        write_all(self.screen.as_fd(), &mut self.to_command);
        stop
    }

    fn read_keys(&mut self) {
        let mut part = [0; PART];
        match terminal::read(self.outer.as_fd(), &mut part) {
            Ok(0) if self.modes.is_some() => self.is_mute = true,
            // A line that is none: the end of what is typed.
            Ok(0) => self.to_command.extend(self.inner_modes().map(|modes| modes.end_key())),
            Ok(length) => {
                self.to_command.extend_from_slice(part.get(..length).unwrap_or_default());
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) if terminal::is_foreground(self.outer.as_fd()) => self.is_mute = true,
            // Somebody else is in front, and has the modes by now.
            Err(_) => {
                self.is_front = false;
                self.modes = None;
            }
        }
    }

    fn inner_modes(&self) -> Option<Modes> {
        terminal::modes(self.user.as_fd()).ok()
    }

    /// The kernel gives no SIGTSTP to an orphaned process group, which that of
    /// who leads a session is (`setpgid(2)`): it is stopped from outside.
    fn find_stop(&mut self, would_stop: impl Fn(i32) -> bool) -> Turn {
        let key = self.inner_modes().and_then(|modes| modes.stop_key());
        let at = self.to_command.iter().position(|byte| Some(*byte) == key);
        let Some(at) = at.filter(|_| self.modes.is_some()) else { return Turn::GoOn };
        let front = terminal::foreground(self.screen.as_fd());
        if !front.is_ok_and(would_stop) {
            return Turn::GoOn;
        }
        self.later = self.to_command.split_off(at).split_off(1);
        Turn::Stop
    }

    fn pass_on(&mut self, parts: usize) -> usize {
        let mut passed = 0;
        for _ in 0..parts {
            if self.to_caller.is_empty() {
                let mut part = [0; PART];
                let length = nix::unistd::read(&self.screen, &mut part).unwrap_or(0);
                self.to_caller.extend_from_slice(part.get(..length).unwrap_or_default());
            }
            passed += self.to_caller.len();
            if self.to_caller.is_empty() || !write_all(self.outer.as_fd(), &mut self.to_caller) {
                break;
            }
        }
        passed
    }

    /// Whether everything that was printed before the end is passed on.
    pub(super) fn is_empty(&mut self) -> bool {
        let mut passed = 0;
        loop {
            match self.pass_on(PARTS) {
                0 => return true,
                _ if !self.to_caller.is_empty() => return false,
                more => passed += more,
            }
            if passed > REST {
                return true;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.step_back();
    }
}

/// Writes what is taken; says whether all of it is gone.
fn write_all(to: BorrowedFd, held: &mut Vec<u8>) -> bool {
    match nix::unistd::write(to, held) {
        Ok(length) => drop(held.drain(..length.min(held.len()))),
        Err(Errno::EAGAIN | Errno::EINTR) => {}
        // Nobody is there any more.
        Err(_) => held.clear(),
    }
    held.is_empty()
}

/// The terminal that the command is to have.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    terminal: BorrowedFd<'a>,
    streams: [bool; 3],
}

impl Own<'_> {
    /// Makes it the terminal of this session, and of the streams that were the
    /// caller's. In the child: nothing is allocated.
    ///
    /// # Errors
    /// As `ioctl_tty(2)` and `dup2(2)`.
    pub(super) fn take(&self) -> Result<(), Fault> {
        terminal::adopt(self.terminal).map_err(|errno| Call::TakeTerminal.gave(errno))?;
        for (stream, _) in (0..).zip(self.streams).filter(|(_, is_terminal)| *is_terminal) {
            descriptor::put_at(self.terminal, stream).map_err(|errno| Call::Fcntl.gave(errno))?;
        }
        Ok(())
    }
}
