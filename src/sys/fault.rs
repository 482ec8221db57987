//! What goes wrong: a call and the errno it gave, both small numbers, so that
//! they cross a process boundary as they are.

use std::{fmt, io};

use nix::errno::Errno;

/// One of the step's calls, and what the kernel said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which call.
    pub call: Call,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Fault {
    /// `unshare gave EPERM: Operation not permitted`
    pub fn in_words(self) -> String {
        let Self { call, errno } = self;
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
    Chdir => "chdir",
    Clone => "clone3",
    CloseRange => "close_range",
    Execve => "execve",
    Fchdir => "fchdir",
    Fork => "clone",
    Fsconfig => "fsconfig",
    Fsmount => "fsmount",
    Fsopen => "fsopen",
    Helper => "newuidmap",
    Interface => "SIOCSIFFLAGS",
    Loop => "LOOP_CONFIGURE",
    MemoryFile => "memfd_create",
    Mkdir => "mkdirat",
    Mount => "mount",
    MountSetattr => "mount_setattr",
    MoveMount => "move_mount",
    Open => "openat2",
    OpenTarget => "openat2",
    OpenCache => "openat",
    OpenFuse => "open /dev/fuse",
    PivotRoot => "pivot_root",
    Poll => "poll",
    Prctl => "prctl",
    Program => "execve",
    ReadOnly => "statfs",
    Recvmsg => "recvmsg",
    Rename => "rename",
    Rmdir => "rmdir",
    Sendmsg => "sendmsg",
    Setdomainname => "setdomainname",
    Setgroups => "setgroups",
    Sethostname => "sethostname",
    Setns => "setns",
    Setpgid => "setpgid",
    Setresgid => "setresgid",
    Setresuid => "setresuid",
    Setsid => "setsid",
    Setsockopt => "setsockopt",
    Sigaction => "rt_sigaction",
    Signalfd => "signalfd4",
    Sigprocmask => "rt_sigprocmask",
    Socket => "socket",
    Socketpair => "socketpair",
    Umount => "umount2",
    Unshare => "unshare",
    WriteGidMap => "write gid_map",
    WriteSetgroups => "write setgroups",
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
}
