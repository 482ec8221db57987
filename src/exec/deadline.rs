//! The end of a command's time: it is asked to end, and soon made to.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// How long a command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(1);

/// When the time of a command is over, and how far its end has come.
pub(super) struct Deadline {
    limit: Option<Duration>,
    next: Cell<Option<(Instant, Act)>>,
    is_met: Cell<bool>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGTERM: a chance to clean up
    Ask,
    /// SIGKILL
    Force,
}

impl Deadline {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, next: Cell::new(None), is_met: Cell::new(false) }
    }

    /// The command begins now; what was prepared for it does not count.
    pub(super) fn begin(&self) {
        let end = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        self.next.set(end.map(|end| (end, Act::Ask)));
    }

    /// How many milliseconds there is nothing to do, as far as a poll can wait.
    pub(super) fn patience(&self) -> Option<u16> {
        let (at, _) = self.next.get()?;
        let left = at.saturating_duration_since(Instant::now());
        // Rounded up, so that it is due when the poll comes back.
        Some(u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX))
    }

    /// What is due.
    pub(super) fn due(&self) -> Option<Act> {
        let (_, act) = self.next.get().filter(|(at, _)| *at <= Instant::now())?;
        self.is_met.set(true);
        let then = Instant::now().checked_add(GRACE).map(|at| (at, Act::Force));
        self.next.set(then.filter(|_| act == Act::Ask));
        Some(act)
    }

    /// Whether something is due, which is not done any more once the command has ended.
    pub(super) fn is_past(&self) -> bool {
        self.next.get().is_some_and(|(at, _)| at <= Instant::now())
    }

    /// The limit, if it was met.
    pub(super) fn met(&self) -> Option<Duration> {
        self.limit.filter(|_| self.is_met.get())
    }
}
