//! What a time namespace adds to its clocks: `time_namespaces(7)`,
//! `proc_timens_set_offset()` in `kernel/time/namespace.c`.

use std::{fmt, time::Duration};

use crate::{host::Clocks, sys::Errno};

use super::{Model, Objection, UserId, capability};

/// The kernel counts nanoseconds in 63 bits (`KTIME_SEC_MAX`).
const MOST_SECONDS: i64 = i64::MAX / 1_000_000_000;
/// Facts are older than the moment at which the kernel looks, and machines run on.
const TEN_YEARS: i64 = 10 * 366 * 24 * 3600;
const TEN_MINUTES: i64 = 600;

/// Some time, forwards or backwards, as the kernel wants it: whole seconds,
/// and nanoseconds that are added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Seconds, rounded down
    pub seconds: i64,
    /// What is left, below 1 000 000 000
    pub nanoseconds: u32,
}

/// What is added to the kernel's own clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// To `CLOCK_MONOTONIC`
    pub monotonic: Option<Offset>,
    /// To `CLOCK_BOOTTIME`
    pub boottime: Option<Offset>,
}

impl fmt::Display for Offset {
    /// As `humantime` writes durations, with a sign: `+3days`, `-2h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds);
        let distance = nanoseconds.unsigned_abs();
        let whole = u64::try_from(distance / 1_000_000_000).unwrap_or(u64::MAX);
        let rest = (distance % 1_000_000_000) as u32;
        let sign = if nanoseconds < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", humantime::format_duration(Duration::new(whole, rest)))
    }
}

impl Offset {
    /// Whether a clock stays in its range, which begins at 0 and ends at half
    /// of what the kernel can count; `None`: that depends on what it shows.
    pub fn is_in_range(self, now: Option<i64>) -> Option<bool> {
        if !(-MOST_SECONDS..=MOST_SECONDS / 2).contains(&self.seconds) {
            return Some(false);
        }
        let earliest = self.seconds.saturating_add(now.unwrap_or(0));
        let latest = earliest.saturating_add(if now.is_some() { TEN_MINUTES } else { TEN_YEARS });
        match () {
            () if earliest >= 0 && latest <= MOST_SECONDS / 2 => Some(true),
            () if earliest > MOST_SECONDS / 2 => Some(false),
            () if latest < 0 && now.is_some() => Some(false),
            () => None,
        }
    }
}

impl Model {
    /// Why the clocks of the time namespace to come cannot be set so, by the
    /// kernel's order of questions; the file itself was opened.
    pub fn may_set_clocks(&self, offsets: Offsets) -> Result<(), Objection> {
        let owner = self.time.for_children.unwrap_or(UserId::OUTER);
        if !self.capable(owner, capability::SYS_TIME) {
            return Err(Objection::No(Errno::EPERM));
        }
        let now = |of: fn(Clocks) -> i64| self.host.clocks.map(of);
        let clocks = [
            (offsets.monotonic, now(|clocks| clocks.monotonic)),
            (offsets.boottime, now(|clocks| clocks.boottime)),
        ];
        let mut answer = Ok(());
        for (offset, now) in clocks {
            match offset.map_or(Some(true), |offset| offset.is_in_range(now)) {
                Some(true) => {}
                Some(false) => return Err(Objection::No(Errno::ERANGE)),
                None => answer = Err(Objection::Unknown),
            }
        }
        answer
    }
}
