//! The kernel's own words about a fault, or about an end, for who may read its log.

use std::time::Duration;

use crate::{
    host::{Host, ImageKind},
    ops::{Evidence, Op},
    seccomp,
    sys::{Call, Fault},
};

/// What a step's filesystem has written about the fault, where it has said
/// nothing on the spot.
pub(super) fn of_fault(op: &Op, fault: Fault, seen: &Evidence, span: Duration) -> Evidence {
    let begins: &[&str] = match op {
        Op::MountImage(image) => match image.kind {
            ImageKind::Xfs => &["XFS ("],
            ImageKind::Ext4 => &["EXT4-fs"],
            ImageKind::Erofs => &["erofs"],
            ImageKind::Squashfs => &["SQUASHFS", "squashfs:"],
        },
        Op::MountOverlay(_) => &["overlayfs:"],
        _ => return seen.clone(),
    };
    if !seen.log.is_empty() || !matches!(fault.call, Call::Fsconfig | Call::Fsmount) {
        return seen.clone();
    }
    let messages = Host::kernel_log(span);
    let own = messages.iter().rfind(|message| {
        message.is_trouble && begins.iter().any(|begin| message.text.starts_with(begin))
    });
    let log = own.map(|message| message.text.trim_end_matches('.').to_owned()).unwrap_or_default();
    Evidence { log, ..seen.clone() }
}

/// The call that a filter has ended a process for (`audit_seccomp()`).
pub(super) fn call_of_filter(span: Duration) -> Option<&'static str> {
    let messages = Host::kernel_log(span);
    messages.iter().rev().find_map(|message| ended_for(&message.text))
}

/// `audit: type=1326 … sig=31 … syscall=83 …`
fn ended_for(record: &str) -> Option<&'static str> {
    let field = |name: &str| record.split(' ').find_map(|word| word.strip_prefix(name));
    let is_own = field("type=") == Some("1326") && field("sig=") == Some("31");
    // Of another way into the kernel the numbers mean other calls.
    let is_native = field("compat=") == Some("0");
    let number = field("syscall=").filter(|_| is_own && is_native)?;
    seccomp::name(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_filter_names_the_call() {
        let record = |signal, compat, number: u32| {
            format!(
                "audit: type=1326 audit(1.1:7): auid=1 uid=0 comm=\"mkdir\" sig={signal} arch=c000003e \
                 syscall={number} compat={compat} ip=0x1 code=0x80000000"
            )
        };
        let mkdir = match seccomp::find("mkdirat") {
            seccomp::Found::Here(number) => number,
            _ => 0,
        };
        assert_eq!(ended_for(&record(31, 0, mkdir)), Some("mkdirat"));
        assert_eq!(ended_for(&record(0, 0, mkdir)), None);
        assert_eq!(ended_for(&record(31, 1, mkdir)), None);
        assert_eq!(ended_for("overlayfs: syscall=83"), None);
    }
}
