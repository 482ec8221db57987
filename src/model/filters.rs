//! The recipe's own filters of system calls, and what is left to isorecipe
//! under them.

use crate::seccomp::{Action, Arguments, Found, Policy, Verdict, find};

use super::Process;

macro_rules! names {
    ($($name:ident)*) => { &[$(stringify!($name),)*] };
}

/// What the steps of a recipe, and what goes on between them, may come to call
/// in the child. A filter that lets all of it through is in nobody's way.
const OWN_CALLS: &[&str] = names! {
    capget capset chdir chroot clone clone3 close close_range dup3 execve exit_group
    faccessat fchdir fchmod fchmodat fchown fchownat fcntl fsconfig fsmount fsopen fstat
    fstatfs ftruncate getegid geteuid getgid getgroups getpid getppid getresgid getresuid
    getsid getuid ioctl keyctl kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self linkat lseek mkdirat mknodat mount mount_setattr move_mount
    newfstatat open open_tree openat openat2 pidfd_open pidfd_send_signal pivot_root poll
    ppoll prctl prlimit64 read readlinkat recvmsg renameat2 rt_sigaction rt_sigprocmask
    rt_sigreturn rt_sigtimedwait seccomp sendmsg setdomainname setgroups sethostname setns
    setpgid setresgid setresuid setsid setsockopt socket socketpair statfs statmount statx
    symlinkat umask umount2 uname unlinkat unshare wait4 waitid write
};

const ANY: Arguments = [None; 6];

/// Without these a command cannot be executed, or it cannot be said why not.
const NEEDED: [&str; 3] = ["execve", "write", "exit_group"];

impl Process {
    /// What the filters say to a call, whatever its arguments; nothing where
    /// that depends on them.
    pub fn filtered(&self, call: &str) -> Option<Action> {
        let Found::Here(number) = find(call) else { return Some(Action::Allow) };
        let mut worst = Action::Allow;
        for filter in &self.filters {
            match filter.verdict(number, &ANY) {
                Verdict::Sure(action) => worst = worse(action, worst),
                Verdict::Depends => return None,
            }
        }
        Some(worst)
    }

    /// The first call of isorecipe's own that a filter may not let through.
    pub fn held_back(&self) -> Option<&'static str> {
        if self.filters.is_empty() {
            return None;
        }
        let passes = |call: &&str| self.filtered(call).is_some_and(Action::lets_through);
        OWN_CALLS.iter().copied().find(|call| !passes(call))
    }
}

/// The first call that a policy denies for sure, of those that come after it.
pub fn denies_needed(policy: &Policy) -> Option<(&'static str, Action)> {
    NEEDED.into_iter().find_map(|call| {
        let Found::Here(number) = find(call) else { return None };
        match policy.verdict(number, &ANY) {
            Verdict::Sure(action) if !action.lets_through() => Some((call, action)),
            _ => None,
        }
    })
}

/// Of several filters, the kernel takes the least that one of them grants, and
/// of several errnos the one of the filter that came last.
fn worse(new: Action, old: Action) -> Action {
    let rank = |action: Action| match action {
        Action::Allow => 0,
        Action::Log => 1,
        Action::Errno(_) => 2,
        Action::Kill => 3,
    };
    if rank(new) >= rank(old) { new } else { old }
}
