//! Security modules, which refuse what the kernel's own rules allow: AppArmor,
//! SELinux, Landlock (`landlock(7)`). No call tells them apart from the kernel;
//! only elimination does.

use crate::{
    diagnostic::Refusal,
    host::Host,
    model::{Answer, Model},
    sys::{Call, Errno, Fault},
};

use super::Operation;

/// By elimination: the process has the right, no filter answers, and the
/// kernel's own rules are known to allow it.
pub(super) fn is_left(operation: &dyn Operation, fault: Fault, before: &Model) -> bool {
    let is_permission = matches!(fault.errno, Errno::EPERM | Errno::EACCES);
    // Calls that ask for the right first, and find nothing to forbid after it.
    let asks_for_a_right = matches!(
        fault.call,
        Call::Fsopen | Call::Mount | Call::MoveMount | Call::PivotRoot | Call::Umount
    );
    let has_right = operation.needs(before).is_some_and(|n| before.capable(n.over, n.capability));
    let is_allowed = !matches!(operation.answer(before), Answer::No(_));
    is_permission && asks_for_a_right && has_right && is_allowed
}

/// A security module says no to a call, in words.
pub fn module_denies(fault: Fault, host: &Host) -> Refusal {
    let known = host.kernel_settings.as_ref().and_then(|known| known.security_modules.as_ref());
    let which = match known {
        Some(modules) => format!("these are on: {}", modules.join(", ")),
        None => "which ones are on is not known here".to_owned(),
    };
    match fault.call {
        Call::Unshare => Refusal::new("user::denied", "no user namespace can be made here")
            .why(format!(
                "no limit, switch or filter forbids it: isorecipe runs in a chroot that is a \
                 mount of its own, or a security module denies it; {which}"
            ))
            .help("start it outside any chroot; then see who denies: `sudo dmesg | grep -iE 'apparmor|avc:'`"),
        call => Refusal::new("lsm::denies", format!("a security module denies `{call}`"))
            .why(format!("the rights are there and no seccomp filter answers; {which}"))
            .help("start it outside any Landlock sandbox; then see who denies: `sudo dmesg | grep -iE 'apparmor|avc:|landlock'`"),
    }
}
