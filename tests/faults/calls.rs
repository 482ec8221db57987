//! The calls that are struck, and the errors that their man pages list.

use libc::c_long;

pub struct Call {
    pub number: c_long,
    pub name: &'static str,
    /// Errors worth trying, the likeliest first
    pub errors: &'static [i32],
    /// Whether a sandbox would be weaker if it were not done
    pub isolates: bool,
}

pub fn find(number: c_long) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.number == number)
}

pub fn name(number: c_long) -> &'static str {
    find(number).map_or("?", |call| call.name)
}

macro_rules! calls {
    ($($(#[$only:meta])? $kind:ident $name:ident($number:ident): $($error:ident)*;)*) => {
        pub const CALLS: &[Call] = &[$($(#[$only])? Call {
            number: libc::$number,
            name: stringify!($name),
            errors: &[$(libc::$error),*],
            isolates: calls!($kind),
        },)*];
    };
    (isolates) => { true };
    (serves) => { false };
}

// What the allocator and the dynamic loader ask for is not here: nothing of isorecipe's could answer them.
calls! {
    isolates unshare(SYS_unshare): EPERM ENOSPC ENOMEM EUSERS EINVAL;
    isolates clone3(SYS_clone3): EPERM EAGAIN ENOMEM ENOSPC ENOSYS EUSERS EINVAL;
    isolates clone(SYS_clone): EAGAIN ENOMEM EPERM ENOSPC;
    isolates setns(SYS_setns): EPERM EINVAL ENOMEM EBADF;
    isolates mount(SYS_mount): EPERM EINVAL ENOMEM EACCES EBUSY;
    isolates umount2(SYS_umount2): EPERM EBUSY EINVAL ENOMEM;
    isolates pivot_root(SYS_pivot_root): EPERM EBUSY EINVAL ENOTDIR;
    isolates fsopen(SYS_fsopen): EPERM ENODEV EMFILE ENFILE ENOMEM ENOSYS;
    isolates fsconfig(SYS_fsconfig): EPERM EINVAL EBUSY ENOMEM EACCES EOPNOTSUPP;
    isolates fsmount(SYS_fsmount): EPERM EMFILE ENFILE ENOMEM EINVAL;
    isolates move_mount(SYS_move_mount): EPERM EINVAL ENOENT EACCES ENOTDIR;
    isolates mount_setattr(SYS_mount_setattr): EPERM EINVAL EBUSY ENOMEM ENOSYS;
    isolates open_tree(SYS_open_tree): EPERM ENOENT EMFILE ENFILE ENOMEM EACCES;
    isolates prctl(SYS_prctl): EPERM EINVAL EFAULT EACCES;
    isolates capset(SYS_capset): EPERM EINVAL;
    isolates seccomp(SYS_seccomp): EPERM EINVAL ENOMEM EACCES EFAULT;
    isolates setgroups(SYS_setgroups): EPERM EINVAL ENOMEM;
    isolates setresgid(SYS_setresgid): EPERM EINVAL;
    isolates setresuid(SYS_setresuid): EPERM EAGAIN EINVAL;
    isolates sethostname(SYS_sethostname): EPERM EINVAL EFAULT;
    isolates setdomainname(SYS_setdomainname): EPERM EINVAL EFAULT;
    isolates setsid(SYS_setsid): EPERM;
    isolates keyctl(SYS_keyctl): EDQUOT ENOMEM EACCES;
    isolates setpgid(SYS_setpgid): EPERM EACCES EINVAL ESRCH;
    isolates chdir(SYS_chdir): EACCES ENOENT ENOTDIR ENOMEM EIO;
    isolates fchdir(SYS_fchdir): EACCES ENOTDIR EIO;
    isolates close_range(SYS_close_range): EMFILE ENOMEM EINVAL ENOSYS;
    isolates setrlimit(SYS_prlimit64): EPERM EINVAL;
    isolates landlock_create_ruleset(SYS_landlock_create_ruleset): ENOSYS EOPNOTSUPP EINVAL ENOMSG;
    isolates landlock_add_rule(SYS_landlock_add_rule): EINVAL EBADFD EPERM;
    isolates landlock_restrict_self(SYS_landlock_restrict_self): EPERM EINVAL E2BIG;
    isolates keyctl(SYS_keyctl): EDQUOT ENOSYS ENOMEM EPERM;
    isolates write(SYS_write): EPERM EINVAL ENOSPC EIO EINTR EAGAIN;
    serves execve(SYS_execve): ENOENT EACCES ENOMEM E2BIG ENOEXEC ETXTBSY EPERM ELOOP EIO;
    serves openat(SYS_openat): EACCES EMFILE ENFILE ENOENT ENOMEM EINTR EPERM EROFS ELOOP;
    serves openat2(SYS_openat2): EACCES EMFILE ENFILE ENOENT ENOMEM EAGAIN ENOSYS ELOOP EXDEV;
    serves read(SYS_read): EIO EINTR EAGAIN EISDIR;
    serves close(SYS_close): EIO EINTR ENOSPC;
    serves socketpair(SYS_socketpair): EMFILE ENFILE EAFNOSUPPORT EOPNOTSUPP;
    serves setsockopt(SYS_setsockopt): ENOPROTOOPT EINVAL ENOTSOCK;
    serves sendmsg(SYS_sendmsg): EPIPE ENOMEM ENOBUFS EINTR EAGAIN ECONNRESET;
    serves recvmsg(SYS_recvmsg): ENOMEM EINTR EAGAIN ECONNREFUSED EINVAL;
    serves signalfd4(SYS_signalfd4): EMFILE ENFILE ENOMEM ENODEV;
    serves rt_sigaction(SYS_rt_sigaction): EINVAL EFAULT;
    serves rt_sigprocmask(SYS_rt_sigprocmask): EINVAL EFAULT;
    serves rt_sigtimedwait(SYS_rt_sigtimedwait): EINTR EINVAL EAGAIN;
    serves wait4(SYS_wait4): ECHILD EINTR EINVAL;
    serves waitid(SYS_waitid): ECHILD EINTR EINVAL;
    #[cfg(target_arch = "x86_64")] serves poll(SYS_poll): EINTR ENOMEM EINVAL;
    serves ppoll(SYS_ppoll): EINTR ENOMEM EINVAL;
    serves pidfd_open(SYS_pidfd_open): EMFILE ENFILE ENODEV ENOMEM ESRCH;
    serves pidfd_send_signal(SYS_pidfd_send_signal): EPERM ESRCH;
    serves kill(SYS_kill): EPERM ESRCH;
    serves mkdirat(SYS_mkdirat): EACCES ENOSPC EROFS EDQUOT EMLINK ENOENT;
    serves unlinkat(SYS_unlinkat): EACCES EBUSY EROFS EPERM EIO;
    serves renameat2(SYS_renameat2): EACCES ENOSPC EROFS EXDEV;
    serves statx(SYS_statx): EACCES ENOENT ENOMEM ENOTDIR;
    serves fstat(SYS_fstat): EBADF ENOMEM;
    serves newfstatat(SYS_newfstatat): EACCES ENOENT ENOMEM;
    serves fstatfs(SYS_fstatfs): EIO ENOSYS ENOMEM;
    serves statfs(SYS_statfs): EIO EACCES ENOMEM;
    serves readlinkat(SYS_readlinkat): EACCES ENOENT EINVAL;
    serves getcwd(SYS_getcwd): ENOENT EACCES ERANGE;
    serves getgroups(SYS_getgroups): EINVAL EFAULT;
    serves capget(SYS_capget): EPERM EINVAL;
    serves getdents64(SYS_getdents64): ENOENT ENOTDIR EINVAL;
    serves ioctl(SYS_ioctl): ENOTTY EPERM EBUSY ENXIO EACCES;
    serves memfd_create(SYS_memfd_create): EMFILE ENOMEM EPERM;
    serves flock(SYS_flock): EWOULDBLOCK ENOLCK EINTR;
    serves dup2(SYS_dup3): EMFILE EBUSY EINTR;
    serves getrusage(SYS_getrusage): EFAULT EINVAL;
    serves uname(SYS_uname): EFAULT;
    serves pipe2(SYS_pipe2): EMFILE ENFILE;
}
