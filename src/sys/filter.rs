//! Who answers a call: the kernel, or a seccomp filter in its place (`seccomp(2)`).
//!
//! The kernel rejects nonsense in the arguments before it looks at anybody's
//! rights, and a filter denies the call whatever the arguments mean. So a call
//! that is made with nonsense, and changes nothing, tells the two apart.

use nix::errno::Errno;

use super::{Call, Namespace};

/// An address at which no process has anything.
const NOWHERE: libc::c_long = 1;

/// The errno by which something other than the kernel's own check of the
/// arguments has answered, if it was so; nothing for a call that has no such
/// check.
pub fn denies(call: Call) -> Option<Errno> {
    nonsense(call)?.answered_otherwise()
}

/// The same for `unshare(2)` of this kind of namespace: a filter may let the
/// others through.
pub fn denies_namespace(flag: u64) -> Option<Errno> {
    unshare(flag).answered_otherwise()
}

/// Whether the kernel looks for a capability before it looks at the arguments,
/// so that an EPERM to nonsense may be its own.
pub fn asks_capability_first(call: Call) -> bool {
    matches!(
        call,
        Call::Fsmount | Call::Fsopen | Call::MoveMount | Call::PivotRoot | Call::Sethostname
    )
}

/// The first Linux that has the call, where that is later than 5.0.
pub fn since(call: Call) -> Option<(u32, u32)> {
    Some(match call {
        Call::Bind | Call::Fsconfig | Call::Fsmount | Call::Fsopen | Call::MoveMount => (5, 2),
        Call::Clone => (5, 3),
        Call::Open | Call::OpenTarget => (5, 6),
        Call::CloseRange => (5, 9),
        Call::MountSetattr => (5, 12),
        _ => return None,
    })
}

/// A call with nonsense in its arguments.
struct Nonsense {
    number: libc::c_long,
    arguments: [libc::c_long; 5],
    /// What the kernel says to it
    kernel: Errno,
}

impl Nonsense {
    fn answered_otherwise(&self) -> Option<Errno> {
        // SAFETY: the addresses are nowhere, so the kernel reads and writes nothing.
        let answer = unsafe { super::call(self.number, self.arguments) };
        answer.err().filter(|&errno| errno != self.kernel)
    }
}

/// A bit that no kind of namespace has, beside the one that filters look for.
fn unshare(flag: u64) -> Nonsense {
    let arguments = [flag as libc::c_long | 1, 0, 0, 0, 0];
    Nonsense { number: libc::SYS_unshare, arguments, kernel: Errno::EINVAL }
}

fn nonsense(call: Call) -> Option<Nonsense> {
    let here = libc::c_long::from(libc::AT_FDCWD);
    let (number, arguments, kernel) = match call {
        Call::Unshare => return Some(unshare(Namespace::User.flag())),
        Call::Clone => (libc::SYS_clone3, [NOWHERE, 0, 0, 0, 0], Errno::EINVAL),
        Call::Mount => (libc::SYS_mount, [NOWHERE, NOWHERE, NOWHERE, 0, 0], Errno::EFAULT),
        Call::Umount => (libc::SYS_umount2, [NOWHERE, 0, 0, 0, 0], Errno::EFAULT),
        Call::Bind => (libc::SYS_open_tree, [here, NOWHERE, 0, 0, 0], Errno::EFAULT),
        Call::MountSetattr => {
            (libc::SYS_mount_setattr, [here, NOWHERE, 0, NOWHERE, 0], Errno::EINVAL)
        }
        Call::Open | Call::OpenTarget => {
            (libc::SYS_openat2, [here, NOWHERE, NOWHERE, 0, 0], Errno::EINVAL)
        }
        Call::Fsconfig => (libc::SYS_fsconfig, [-1, 0, 0, 0, 0], Errno::EINVAL),
        Call::Fsmount => (libc::SYS_fsmount, [-1, -1, -1, 0, 0], Errno::EINVAL),
        Call::Fsopen => (libc::SYS_fsopen, [NOWHERE, 0, 0, 0, 0], Errno::EFAULT),
        Call::MoveMount => (libc::SYS_move_mount, [-1, NOWHERE, -1, NOWHERE, -1], Errno::EINVAL),
        Call::PivotRoot => (libc::SYS_pivot_root, [NOWHERE, NOWHERE, 0, 0, 0], Errno::EFAULT),
        // No such command of it.
        Call::Keyctl => (libc::SYS_keyctl, [-1, 0, 0, 0, 0], Errno::EOPNOTSUPP),
        Call::Sethostname => (libc::SYS_sethostname, [NOWHERE, -1, 0, 0, 0], Errno::EINVAL),
        Call::Prctl => {
            let option = libc::c_long::from(libc::PR_SET_NO_NEW_PRIVS);
            (libc::SYS_prctl, [option, 2, 0, 0, 0], Errno::EINVAL)
        }
        _ => return None,
    };
    Some(Nonsense { number, arguments, kernel })
}
