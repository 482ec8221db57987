//! A process that is still the same one: its PID, and when it began
//! (`proc_pid_stat(5)`, `starttime`), since PIDs are given out again.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its PID on the host
    pub pid: i32,
    /// When it began, in clock ticks since the machine did
    pub started: u64,
}

/// What `/proc/PID/stat` says of a process, as far as it is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, …; `Z` has ended and was not waited for
    pub state: char,
    /// The PID of its parent
    pub parent: i32,
    /// When it began, in clock ticks since the machine did
    pub started: u64,
}

impl Process {
    /// The process that has this PID now.
    pub fn with_pid(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// Whether it is there and has not ended.
    pub fn is_running(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && !stat.has_ended())
    }
}

impl Stat {
    /// Of the process that has this PID now.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it is only there to be waited for.
    pub fn has_ended(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// The name in parentheses may hold anything, parentheses too.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let after = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = after.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            // Field 22; state was field 3, and the parent field 4.
            started: fields.nth(17)?.parse().ok()?,
        })
    }
}

/// Whether one process is another, or comes from it.
pub fn is_within(pid: i32, ancestor: i32) -> bool {
    let mut current = pid;
    // Deeper than PID namespaces nest, and an end if the tree changes while it is climbed.
    for _ in 0..256 {
        if current == ancestor {
            return true;
        }
        match Stat::of(current) {
            Some(stat) if stat.parent > 0 => current = stat.parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_nothing() {
        let line = b"42 (a) S 1 (b) R 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9876 0 0\n";
        let found = Stat::parse(line).expect("a stat");
        assert_eq!(found, Stat { state: 'R', parent: 7, started: 9876 });
    }

    #[test]
    fn half_a_line_is_no_process() {
        assert_eq!(Stat::parse(b"42 (a) R 7 1 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }
}
