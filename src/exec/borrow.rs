//! A child that borrows the supervisor's memory until it is the command: to
//! copy the page tables, and each page that either of them writes, takes
//! longer than all the namespaces of a small sandbox.
//!
//! **Invariant:** only a child that nobody has to talk to borrows, that ends in
//! one `execve`, and that stays the caller: whoever may trace the child could
//! write to the supervisor's memory, so both have to be the same user without
//! more rights. The supervisor sleeps meanwhile and hears no signal, so nothing
//! borrows that a person waits for or a clock runs against.

use std::{
    cell::OnceCell,
    os::fd::{BorrowedFd, IntoRawFd, OwnedFd},
};

use crate::{
    ops::Op,
    plan::{Actor, Plan, Step},
    sys::{Errno, Namespace, descriptor, namespace},
};

use super::child::{self, Birth};

/// Whether the child of this plan may borrow.
pub(super) fn may(plan: &Plan, birth: &Birth) -> bool {
    let caller = &plan.start.host.caller;
    let is_ordinary = caller.uid != 0 && caller.capabilities == 0;
    let is_watched = birth.has_terminal
        || birth.own_terminal.is_some()
        || birth.is_inspected
        || !plan.pauses.is_empty();
    let is_timed = plan.watched.time.is_some();
    // Who borrows memory borrows its clocks as well (`timens_on_fork()`): it would come into a
    // time namespace with `execve` only, where nobody could look, and before Linux 6.1 never.
    let has_clocks = plan.birth.contains(&Namespace::Time);
    is_ordinary && !is_watched && !is_timed && !has_clocks && plan.steps.iter().all(is_quiet)
}

/// Whether a step is one call after the other, all the child's own. A time namespace
/// is none: the clocks that are read without a call are part of the memory.
fn is_quiet(step: &Step) -> bool {
    step.by == Actor::Child
        && match step.op {
            Op::Fork(_) => step.at_birth,
            Op::BringLoopbackUp(_)
            | Op::Bind(_)
            | Op::ChangeDirectory(_)
            | Op::DenySetgroups(_)
            | Op::DetachMount(_)
            | Op::Execute(_)
            | Op::HoldSource(_)
            | Op::InstallFilter(_)
            | Op::LimitCapabilities(_)
            | Op::MakeDirectory(_)
            | Op::MakeFile(_)
            | Op::MakeLink(_)
            | Op::Mask(_)
            | Op::MountNew(_)
            | Op::MountOverlay(_)
            | Op::NewNamespace(_)
            | Op::NoNewPrivileges(_)
            | Op::PivotRoot(_)
            | Op::PlaceDevice(_)
            | Op::RemoveDirectory(_)
            | Op::Restrict(_)
            | Op::SetDomainname(_)
            | Op::SetHostname(_)
            | Op::SetLimit(_)
            | Op::SetPropagation(_)
            | Op::WriteMap(_) => true,
            _ => false,
        }
}

/// Makes the child, and waits until it is the command or has ended.
///
/// # Errors
/// As `clone3(2)`.
pub(super) fn fork(
    plan: &Plan,
    birth: &Birth,
    flags: u64,
    [ours, theirs]: [BorrowedFd; 2],
) -> Result<i32, Errno> {
    // What the child keeps are descriptors of its own; here their numbers mean nothing.
    let slots: Vec<OnceCell<OwnedFd>> = (0..plan.slots).map(|_| OnceCell::new()).collect();
    let birth = Birth { slots: &slots, ..*birth };
    let made = namespace::fork_borrowing(flags, &|| {
        descriptor::close_borrowed(ours);
        child::play(plan, &birth, theirs)
    });
    for number in slots.into_iter().filter_map(OnceCell::into_inner) {
        let _ = number.into_raw_fd();
    }
    made
}
