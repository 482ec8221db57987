//! Processes around the runner, as a shell and a pipeline have them. They are
//! forked where the runner is about to be executed, and allocate nothing.

/// What the caller's shell ends with if something was typed for it.
pub const TYPED: i32 = 77;

/// Leads the session of the terminal as a shell does, and starts the runner;
/// with its leader, a terminal would lose what was typed.
pub fn lead_session() {
    // SAFETY: the process has one thread, and calls nothing that allocates.
    unsafe {
        libc::ioctl(0, libc::TIOCSCTTY, 0);
        let runner = libc::fork();
        if runner == 0 {
            return;
        }
        libc::waitpid(runner, std::ptr::null_mut(), 0);
        for signal in [libc::SIGTTIN, libc::SIGTTOU] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::tcsetpgrp(0, libc::getpgrp());
        let mut modes: libc::termios = std::mem::zeroed();
        libc::tcgetattr(0, &raw mut modes);
        libc::cfmakeraw(&raw mut modes);
        libc::tcsetattr(0, libc::TCSANOW, &raw const modes);
        libc::fcntl(0, libc::F_SETFL, libc::O_NONBLOCK);
        let mut letter = 0_u8;
        let read = libc::read(0, (&raw mut letter).cast(), 1);
        libc::_exit(if read == 1 && letter == b'Z' { TYPED } else { 0 });
    }
}

/// A process that waits in the caller's group.
pub fn neighbour() {
    // SAFETY: the process has one thread, and the child calls nothing that allocates.
    unsafe {
        if libc::fork() == 0 {
            libc::prctl(libc::PR_SET_NAME, c"abuse-neighbour".as_ptr());
            libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
            libc::alarm(120);
            loop {
                libc::pause();
            }
        }
    }
}
