//! What the kernel has written into its log lately, for who may read that:
//! `kmsg(4)`, `Documentation/ABI/testing/dev-kmsg`.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

/// A record is no longer than this (`PRINTKRB_RECORD_MAX` and its head).
const LONGEST: usize = 8192;
/// The log counts by a clock of its own, which strays from `CLOCK_MONOTONIC` by so
/// much from the start on, and by one part in so many.
const STRAY: (Duration, u32) = (Duration::from_secs(2), 5000);

/// `KERN_WARNING` in `linux/kern_levels.h`: what is told above it is no trouble.
const WARNING: u32 = 4;

/// A message of the kernel's.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it is a warning, or worse
    pub is_trouble: bool,
    /// What it says
    pub text: String,
}

/// The messages of the last `span` of time, the oldest first; none where the
/// log is closed.
pub(super) fn of_the_last(span: Duration) -> Vec<Message> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/dev/kmsg");
    let Ok(mut log) = opened else { return Vec::new() };
    let mut records = Vec::new();
    let mut buffer = [0; LONGEST];
    loop {
        match log.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => records.extend(record(buffer.get(..length).unwrap_or_default())),
            // A record was written over before it was read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or_else(|_| Vec::new(), |now| since(records, Duration::from(now).saturating_sub(span)))
}

/// What was written from then on, as far as the clocks agree.
fn since(records: Vec<(Duration, Message)>, then: Duration) -> Vec<Message> {
    let begin = then.saturating_sub(STRAY.0 + then / STRAY.1);
    records.into_iter().filter(|(time, _)| *time >= begin).map(|(_, said)| said).collect()
}

/// When it was written, counted from the start of the machine, and what it says:
/// `6,1234,5678901,-;text`. The lowest three bits of the first are its level.
fn record(bytes: &[u8]) -> Option<(Duration, Message)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once(';')?;
    let mut fields = head.split(',');
    let level = fields.next()?.parse::<u32>().ok()? & 7;
    let time = fields.nth(1)?.parse().ok()?;
    let said = Message { is_trouble: level <= WARNING, text: rest.lines().next()?.to_owned() };
    Some((Duration::from_micros(time), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(is_trouble: bool, text: &str) -> Message {
        Message { is_trouble, text: text.to_owned() }
    }

    #[test]
    fn a_record_has_a_level_a_time_and_one_line() {
        let read = |head: &str| record(format!("{head};overlayfs: no\n SUBSYSTEM=x\n").as_bytes());
        let at = Duration::from_micros(5_000_001);
        assert_eq!(read("6,1234,5000001,-"), Some((at, message(false, "overlayfs: no"))));
        assert_eq!(read("28,1234,5000001,-"), Some((at, message(true, "overlayfs: no"))));
        for odd in [&b""[..], b"6,1", b"6,1,x,-;text", b"x,1,2,-;text", b"6,1,2,-;", b"\xff\xff"] {
            assert_eq!(record(odd), None);
        }
    }

    #[test]
    fn what_is_old_is_left_out() {
        let at = |seconds, text| (Duration::from_secs(seconds), message(true, text));
        let records = vec![at(1, "old"), at(98, "just before"), at(100, "now")];
        let since = since(records, Duration::from_secs(100));
        assert_eq!(since, [message(true, "just before"), message(true, "now")]);
    }
}
