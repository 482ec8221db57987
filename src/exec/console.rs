//! Who has the terminal: the caller's job, which the supervisor is one of, or
//! the command, which has a process group of its own (`credentials(7)`).
//!
//! It is lent to the command, and taken back when the command stops or ends.
//! In a pipeline it stays with the job, whose other programs may want it, until
//! the command asks: the kernel stops who reads in the background.

use std::{
    cell::{Cell, OnceCell},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::sys::{
    descriptor, process,
    terminal::{self, Modes},
};

/// The terminal of the session, and what becomes of it.
pub(super) struct Console {
    terminal: Option<OwnedFd>,
    is_eager: bool,
    /// PID 1 cannot be stopped by reading, so nobody would hear it ask.
    is_mute: bool,
    /// The command's process group, once it is known.
    command: Cell<Option<i32>>,
    is_lent: Cell<bool>,
    /// As they were before the command could change them.
    modes: OnceCell<Modes>,
}

impl Console {
    /// The terminal, if the caller gave one to the command.
    pub(super) fn open(command_is_pid_1: bool) -> Self {
        let streams = descriptor::standard_streams();
        let [input, output, _] = streams;
        let is_asked_for = streams.into_iter().any(terminal::is_terminal);
        let has_no_neighbours = terminal::is_terminal(input) && !descriptor::is_pipe(output);
        Self {
            terminal: is_asked_for.then(terminal::controlling).flatten(),
            is_eager: has_no_neighbours || command_is_pid_1,
            is_mute: command_is_pid_1,
            command: Cell::new(None),
            is_lent: Cell::new(false),
            modes: OnceCell::new(),
        }
    }

    /// None: the command has one of its own.
    pub(super) fn apart() -> Self {
        Self {
            terminal: None,
            is_eager: false,
            is_mute: false,
            command: Cell::new(None),
            is_lent: Cell::new(false),
            modes: OnceCell::new(),
        }
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The terminal that the command is to take before it begins.
    pub(super) fn lend_at_once(&self) -> Option<BorrowedFd<'_>> {
        let terminal = self.at_hand().filter(|_| self.is_eager)?;
        self.keep_modes(terminal);
        self.is_lent.set(true);
        Some(terminal)
    }

    /// The command is the process that leads this group.
    pub(super) fn meet(&self, command: Option<i32>) {
        self.command.set(command);
    }

    pub(super) fn command(&self) -> Option<i32> {
        self.command.get()
    }

    pub(super) fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Lends the terminal to the command that asks for it; whether it is ours to lend.
    pub(super) fn lend(&self) -> bool {
        self.command.get().is_some_and(|group| self.lend_to(group))
    }

    /// Lends the terminal again to who had it, or to a command that need not ask.
    pub(super) fn lend_again(&self, last: Option<i32>) {
        let eager = self.command.get().filter(|_| self.is_eager);
        if let Some(group) = last.or(eager) {
            self.lend_to(group);
        }
    }

    /// How many milliseconds until it is time to look whether a shell has put
    /// the job in front: it tells nobody, and the command cannot ask.
    pub(super) fn time_to_look(&self) -> Option<u16> {
        (self.is_mute && self.has_terminal() && !self.is_lent()).then_some(100)
    }

    /// Takes the terminal back, if it is lent; says which group had it.
    pub(super) fn take_back(&self) -> Option<i32> {
        let terminal = self.terminal.as_ref()?.as_fd();
        if !self.is_lent.replace(false) || terminal::is_foreground(terminal) {
            return None;
        }
        let group = terminal::foreground(terminal).ok()?;
        // A shell that saw us stop has taken it already.
        if Some(group) == process::parent_group() {
            return None;
        }
        terminal::take(terminal).ok().map(|()| group)
    }

    /// Takes the terminal back from a command that could not put it in order.
    pub(super) fn restore(&self) {
        if self.take_back().is_some()
            && let (Some(terminal), Some(modes)) = (&self.terminal, self.modes.get())
        {
            let _ = terminal::set_modes(terminal.as_fd(), modes);
        }
    }

    fn lend_to(&self, group: i32) -> bool {
        let Some(terminal) = self.at_hand() else {
            return false;
        };
        self.keep_modes(terminal);
        let is_lent = terminal::give(terminal, group).is_ok();
        self.is_lent.set(is_lent);
        is_lent
    }

    /// The terminal, while the caller's job is in front.
    fn at_hand(&self) -> Option<BorrowedFd<'_>> {
        let terminal = self.terminal.as_ref()?.as_fd();
        terminal::is_foreground(terminal).then_some(terminal)
    }

    fn keep_modes(&self, terminal: BorrowedFd) {
        if self.modes.get().is_none()
            && let Ok(modes) = terminal::modes(terminal)
        {
            let _ = self.modes.set(modes);
        }
    }
}
