//! The limits that the supervisor keeps itself, and the end of a command that meets one.

use std::os::fd::OwnedFd;

use crate::sys::{
    Errno,
    process::{self, Change},
    signal, stream,
};

use super::{
    Exceeded, Outcome, deadline::Act, groups::Groups, pump::Pump, relay::Relay,
    supervisor::Supervisor,
};

impl Supervisor<'_> {
    /// Waits until a signal or a message is there, or there is something to pass on.
    pub(super) fn wait(
        &self,
        socket: Option<&OwnedFd>,
        patience: Option<u16>,
    ) -> Result<(bool, bool), Errno> {
        let pump = self.pump.borrow();
        let relay = self.relay.borrow();
        let mut wishes = pump.as_ref().map(Pump::wishes).unwrap_or_default();
        wishes.extend(relay.as_ref().map(Relay::wishes).unwrap_or_default());
        stream::poll_all(&self.signals, socket, &wishes, patience)
    }

    /// What was printed last is still in its pipe. Who is to read it may take
    /// his time, until the command's is up or somebody wants it to end.
    pub(super) fn pass_on_the_rest(&self) {
        let is_done = || {
            self.pump.borrow_mut().as_mut().is_none_or(Pump::is_empty)
                && self.relay.borrow_mut().as_mut().is_none_or(Relay::is_empty)
        };
        while !is_done() {
            let _ = self.wait(None, self.deadline.patience());
            let is_wished = |signal| {
                matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
            };
            if self.deadline.is_past() || signal::next(&self.signals).is_some_and(is_wished) {
                return;
            }
        }
    }

    /// Ends a command that prints too much, or whose time is over.
    pub(super) fn keep_limits(&self) {
        if self.pump.borrow_mut().as_mut().is_some_and(Pump::turn) {
            self.end_all();
        }
        match self.deadline.due() {
            // One that is stopped could not hear of it.
            Some(Act::Ask) => self.tell_all(&[libc::SIGTERM, libc::SIGCONT]),
            Some(Act::Force) => self.end_all(),
            None => {}
        }
    }

    /// What was printed is the onlooker's, if it was to be kept.
    pub(super) fn give_what_was_kept(&self) {
        if let Some(printed) = self.pump.borrow_mut().as_mut().and_then(Pump::take_kept) {
            self.onlooker.hears(printed);
        }
    }

    /// How the child has changed; of one that has ended, what it has used is told.
    pub(super) fn poll_child(&self) -> Result<Change, Errno> {
        let (change, usage) = process::poll_child_and_usage(self.pid)?;
        if matches!(change, Change::Exited(_) | Change::Killed(_)) {
            self.onlooker.counts(usage);
        }
        Ok(change)
    }

    pub(super) fn end_all(&self) {
        self.tell_all(&[libc::SIGKILL]);
        let _ = process::send(self.pid, libc::SIGKILL);
        self.groups().end();
    }

    /// The command has ended at a limit, and is not reaped yet, so that its number
    /// is still its own: what is left of its process group ends as well.
    pub(super) fn end_the_rest(&self) {
        let is_at_limit =
            self.deadline.met().is_some() || self.pump.borrow().as_ref().is_some_and(Pump::is_over);
        if is_at_limit && process::has_ended(self.pid) {
            let _ = process::send(-self.pid, libc::SIGKILL);
        }
    }

    /// Signals the command, and who is in its process group.
    fn tell_all(&self, signals: &[i32]) {
        for &signal in signals {
            if process::send(-self.pid, signal).is_err() {
                let _ = process::send(self.pid, signal);
            }
        }
    }

    /// How the command ended, and at which limit.
    pub(super) fn end_of(&self, change: Change) -> Outcome {
        let output = self.pump.borrow().as_ref().and_then(Pump::exceeded).map(Exceeded::Output);
        let time = self.deadline.met().map(Exceeded::Time);
        let own = output.into_iter().chain(time);
        let met: Vec<_> = own.chain(self.groups().met(change)).collect();
        match met.is_empty() {
            true => Outcome::Ended(change),
            false => Outcome::AtLimit(met, change),
        }
    }

    fn groups(&self) -> Groups<'_> {
        Groups { plan: self.plan, slots: self.slots }
    }
}
