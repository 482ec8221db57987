//! What goes wrong: a call and the errno it gave, both small numbers, so that
//! they cross a process boundary as they are.

use std::{fmt, io};

use nix::errno::Errno;

/// One of the step's calls, and what the kernel said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which call.
    pub call: Call,
    /// The kernel's answer; 0: it said yes, and a look shows that it did not do it.
    pub errno: Errno,
}

/// In the place of an errno: the kernel gave none, so it said yes, and did not do it.
pub const NOT_DONE: Errno = Errno::UnknownErrno;

impl Fault {
    /// Whether the call said that it was done, and it was not.
    pub fn is_lie(self) -> bool {
        self.errno == NOT_DONE
    }

    /// `unshare gave EPERM: Operation not permitted`
    pub fn in_words(self) -> String {
        let Self { call, errno } = self;
        if self.is_lie() {
            return format!("{call} said yes, and did not do it");
        }
        format!("{call} gave {errno:?}: {}", errno.desc())
    }
}

macro_rules! calls {
    ($($call:ident => $name:literal,)*) => {
        /// A system call (or the file it writes), as the man pages name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Call { $(#[doc = $name] $call,)* }

        impl Call {
            /// Every call, in the order of their numbers.
            pub const ALL: &'static [Call] = &[$(Call::$call,)*];

            /// The name, as the man pages spell it.
            pub fn name(self) -> &'static str {
                match self { $(Call::$call => $name,)* }
            }
        }
    };
}

calls! {
    Bind => "open_tree",
    CacheOwner => "fstat",
    Capset => "capset",
    Chdir => "chdir",
    Chmod => "fchmod",
    Clone => "clone3",
    CloseRange => "close_range",
    Device => "fstat",
    DropBounding => "prctl",
    EnterGroup => "write cgroup.procs",
    Execve => "execve",
    Fchdir => "fchdir",
    Fork => "clone",
    Fcntl => "fcntl",
    Fsconfig => "fsconfig",
    Fsmount => "fsmount",
    Fsopen => "fsopen",
    Getgroups => "getgroups",
    Getresgid => "getresgid",
    Getresuid => "getresuid",
    Helper => "newuidmap",
    KeepCapabilities => "prctl",
    Look => "statx",
    Interface => "SIOCSIFFLAGS",
    LandlockCreate => "landlock_create_ruleset",
    Keyctl => "keyctl",
    LandlockRestrict => "landlock_restrict_self",
    LandlockRule => "landlock_add_rule",
    LimitGroup => "write",
    Loop => "LOOP_CONFIGURE",
    MemoryFile => "memfd_create",
    MakeGroup => "mkdir",
    MakeFile => "openat",
    Mkdir => "mkdirat",
    Mount => "mount",
    MountSetattr => "mount_setattr",
    MoveMount => "move_mount",
    Open => "openat2",
    OpenTarget => "openat2",
    OpenCache => "openat",
    OpenFuse => "open /dev/fuse",
    NewTerminal => "open /dev/ptmx",
    PivotRoot => "pivot_root",
    Pipe => "pipe2",
    Poll => "poll",
    Prctl => "prctl",
    Prlimit => "prlimit64",
    Program => "execve",
    RaiseAmbient => "prctl",
    ReadOnly => "statfs",
    Recvmsg => "recvmsg",
    Rename => "rename",
    Rmdir => "rmdir",
    Seccomp => "seccomp",
    Sendmsg => "sendmsg",
    Setdomainname => "setdomainname",
    Setgroups => "setgroups",
    Sethostname => "sethostname",
    Setns => "setns",
    Setpgid => "setpgid",
    Setresgid => "setresgid",
    Setresuid => "setresuid",
    Setsid => "setsid",
    TakeTerminal => "TIOCSCTTY",
    Setsockopt => "setsockopt",
    Sigaction => "rt_sigaction",
    Signalfd => "signalfd4",
    Sigprocmask => "rt_sigprocmask",
    Statmount => "statmount",
    Socket => "socket",
    Socketpair => "socketpair",
    Symlink => "symlinkat",
    Umount => "umount2",
    Wait => "wait4",
    Uname => "uname",
    Unshare => "unshare",
    WriteClocks => "write timens_offsets",
    WriteFile => "write",
    WriteGidMap => "write gid_map",
    WriteSetgroups => "write setgroups",
    WriteSysctl => "write max_user_namespaces",
    WriteUidMap => "write uid_map",
}

impl Call {
    /// The call with this number, as sent by another process.
    pub fn from_number(number: u16) -> Option<Call> {
        Call::ALL.get(usize::from(number)).copied()
    }

    /// A fault of this call.
    pub fn gave(self, errno: Errno) -> Fault {
        Fault { call: self, errno }
    }

    /// This call said yes, and did not do it.
    pub fn lied(self) -> Fault {
        self.gave(NOT_DONE)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error of the standard library as the kernel's own words, without the number behind them.
pub fn error_words(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => errno.desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_the_call_the_errno_and_what_it_means() {
        let fault = Call::Unshare.gave(Errno::EPERM);
        assert_eq!(fault.in_words(), "unshare gave EPERM: Operation not permitted");
    }

    #[test]
    fn a_yes_that_is_none_is_a_fault_too() {
        let fault = Call::Unshare.lied();
        assert!(fault.is_lie());
        assert_eq!(fault.in_words(), "unshare said yes, and did not do it");
    }
}
