//! The policies that come with isorecipe.
//!
//! Both name what is allowed: what a later kernel brings is not in them. To a
//! call that nobody here knows they say ENOSYS, as an older kernel would, so
//! that a libc falls back to what it did before there was such a call.

use crate::sys::Errno;

use super::{
    calls::{self, Found},
    policy::{Action, Case, Policy},
    words,
};

/// A policy that comes with isorecipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// About what container engines allow
    Default,
    /// What an ordinary program needs to compute
    Strict,
}

impl Profile {
    /// The profile as a policy; what it does not allow gets EPERM.
    pub fn policy(self) -> Policy {
        let mut policy = Policy::of(EPERM).unknown(ENOSYS);
        self.add_to(&mut policy);
        policy
    }

    /// Adds the profile behind what a policy has already.
    pub fn add_to(self, policy: &mut Policy) {
        for (call, when, then) in self.cases() {
            let Found::Here(number) = calls::find(call) else { continue };
            let conditions = when.iter().filter_map(|words| words::condition(call, words).ok());
            policy.add(number, Case { when: conditions.collect(), then: *then });
        }
        for list in self.allows() {
            for call in *list {
                if let Found::Here(number) = calls::find(call) {
                    policy.add(number, Case { when: Vec::new(), then: Action::Allow });
                }
            }
        }
    }

    fn allows(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Default => &[COMPUTING, BESIDE_COMPUTING],
            Self::Strict => &[COMPUTING],
        }
    }

    fn cases(self) -> impl Iterator<Item = &'static Line> {
        let own = match self {
            Self::Default => IN_DEFAULT,
            Self::Strict => IN_STRICT,
        };
        own.iter().chain(IN_BOTH)
    }
}

/// A call, what is asked of its arguments, and what is said then.
type Line = (&'static str, &'static [&'static str], Action);

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Errno(Errno::EPERM);
/// As a kernel without it: a libc then takes the older call.
const ENOSYS: Action = Action::Errno(Errno::ENOSYS);
/// As a kernel without the protocol.
const EAFNOSUPPORT: Action = Action::Errno(Errno::EAFNOSUPPORT);

/// No namespace: with one of users, much of the kernel is a few calls away.
const NO_NAMESPACE: &[&str] = &["flags & 0x7e020000 == 0"];

static IN_BOTH: &[Line] = &[
    // The flags are behind a pointer, where no filter can look.
    ("clone3", &[], ENOSYS),
    ("clone", NO_NAMESPACE, ALLOW),
    // Types into the terminal of the caller.
    ("ioctl", &["cmd == TIOCSTI"], EPERM),
    // Pastes on the console.
    ("ioctl", &["cmd == TIOCLINUX"], EPERM),
    ("ioctl", &[], ALLOW),
    ("socketpair", &["domain == AF_UNIX"], ALLOW),
    ("socketpair", &[], EAFNOSUPPORT),
    // What `setarch` asks first: which one is it?
    ("personality", &["persona == 0xffffffff"], ALLOW),
];

static IN_DEFAULT: &[Line] = &[
    ("socket", &["domain == AF_UNIX"], ALLOW),
    ("socket", &["domain == AF_INET"], ALLOW),
    ("socket", &["domain == AF_INET6"], ALLOW),
    ("socket", &["domain == AF_NETLINK"], ALLOW),
    ("socket", &[], EAFNOSUPPORT),
    ("unshare", &["flags & 0x7e020080 == 0"], ALLOW),
    // Linux, Linux for 32 bits, and both with the name of 2.6.
    ("personality", &["persona & 0xfffdfff7 == 0"], ALLOW),
];

static IN_STRICT: &[Line] = &[
    // Redirects what is written on the console; another line discipline.
    ("ioctl", &["cmd == TIOCCONS"], EPERM),
    ("ioctl", &["cmd == TIOCSETD"], EPERM),
    ("mknod", &["mode & S_IFMT == S_IFIFO"], ALLOW),
    ("mknodat", &["mode & S_IFMT == S_IFIFO"], ALLOW),
];

macro_rules! names {
    ($($name:ident)*) => { &[$(stringify!($name),)*] };
}

/// Memory, files, processes and threads, signals, time, waiting.
const COMPUTING: &[&str] = names! {
    access alarm arch_prctl brk cachestat capget chdir chmod chown clock_getres clock_gettime
    clock_nanosleep close close_range copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat
    exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2
    fchown fchownat fcntl fdatasync fgetxattr file_getattr file_setattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait
    futex_waitv futex_wake futimesat get_robust_list getcpu getcwd getdents getdents64 getegid
    geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockopt gettid gettimeofday getuid getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioprio_get kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
    listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack
    membarrier memfd_create mincore mkdir mkdirat mlock mlock2 mlockall mmap mprotect mremap mseal
    msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64
    preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat
    renameat2 restart_syscall riscv_flush_icache rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_yield seccomp select sendfile
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setitimer setpgid
    setpriority setrlimit setsid setsockopt setxattr setxattrat shutdown sigaltstack signalfd
    signalfd4 splice stat statfs statx symlink symlinkat sync sync_file_range sync_file_range2
    syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname
    unlink unlinkat uretprobe utime utimensat utimes vfork wait4 waitid write writev
};

/// What container engines allow beyond that: a network, other users,
/// System V's queues and memory, message queues, devices where there are rights.
const BESIDE_COMPUTING: &[&str] = names! {
    accept accept4 adjtimex bind capset chroot clock_adjtime connect epoll_ctl_old epoll_wait_old
    fanotify_mark get_thread_area getpeername getsockname io_cancel io_destroy io_getevents
    io_pgetevents io_setup io_submit ioprio_set listen listmount memfd_secret mknod mknodat
    modify_ldt mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl
    msgget msgrcv msgsnd name_to_handle_at process_mrelease riscv_hwprobe sched_setattr
    sched_setparam sched_setscheduler semctl semget semop semtimedop setfsgid setfsuid setgid
    setgroups setregid setresgid setresuid setreuid setuid shmat shmctl shmdt shmget statmount
    vmsplice
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_names_calls_and_reads_its_own_words() {
        let lists = COMPUTING.iter().chain(BESIDE_COMPUTING);
        let lines = || IN_BOTH.iter().chain(IN_DEFAULT).chain(IN_STRICT);
        for call in lists.copied().chain(lines().map(|(call, ..)| *call)) {
            assert_ne!(calls::find(call), Found::Nowhere, "{call}");
        }
        for (call, when, _) in lines() {
            for words in *when {
                assert!(words::condition(call, words).is_ok(), "{call}: {words}");
            }
        }
    }

    #[test]
    fn a_call_stands_in_one_list_once() {
        let mut all: Vec<&str> = COMPUTING.iter().chain(BESIDE_COMPUTING).copied().collect();
        let length = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), length);
    }
}
