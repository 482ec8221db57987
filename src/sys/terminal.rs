//! Who may read the keyboard: `tcsetpgrp(3)`, `termios(3)`, `credentials(7)`.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::termios::{LocalFlags, SetArg, Termios},
    unistd::Pid,
};

/// How a terminal treats what is typed and printed.
pub struct Modes(Termios);

impl Modes {
    /// The same, with every key to be read at once and not shown; Ctrl-C and
    /// Ctrl-Z still are signals.
    pub fn key_by_key(&self) -> Modes {
        let mut modes = self.0.clone();
        modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        Modes(modes)
    }
}

/// The controlling terminal of the session, if it has one (`tty(4)`).
pub fn controlling() -> Option<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path is a literal.
    let fd = Errno::result(unsafe { libc::open(c"/dev/tty".as_ptr(), flags) }).ok()?;
    Some(super::descriptor::own(libc::c_long::from(fd)))
}

/// The modes of a terminal.
///
/// # Errors
/// As `tcgetattr(3)`.
pub fn modes(terminal: BorrowedFd) -> Result<Modes, Errno> {
    nix::sys::termios::tcgetattr(terminal).map(Modes)
}

/// Gives a terminal its modes, once all that was printed is out.
///
/// # Errors
/// As `tcsetattr(3)`.
pub fn set_modes(terminal: BorrowedFd, modes: &Modes) -> Result<(), Errno> {
    nix::sys::termios::tcsetattr(terminal, SetArg::TCSADRAIN, &modes.0)
}

/// Whether the caller's process group is in the foreground of this terminal.
pub fn is_foreground(terminal: BorrowedFd) -> bool {
    nix::unistd::tcgetpgrp(terminal).is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// Whether this is a terminal at all.
pub fn is_terminal(descriptor: BorrowedFd) -> bool {
    nix::unistd::isatty(descriptor).unwrap_or(false)
}

/// Puts the caller's own process group in the foreground. SIGTTOU must be
/// blocked: the kernel sends it to whoever does this from the background.
///
/// # Errors
/// As `tcsetpgrp(3)`.
pub fn take(terminal: BorrowedFd) -> Result<(), Errno> {
    give(terminal, nix::unistd::getpgrp().as_raw())
}

/// Puts a process group in the foreground.
///
/// # Errors
/// As `tcsetpgrp(3)`.
pub fn give(terminal: BorrowedFd, group: i32) -> Result<(), Errno> {
    nix::unistd::tcsetpgrp(terminal, Pid::from_raw(group))
}

/// The process group in the foreground.
///
/// # Errors
/// As `tcgetpgrp(3)`.
pub fn foreground(terminal: BorrowedFd) -> Result<i32, Errno> {
    nix::unistd::tcgetpgrp(terminal).map(Pid::as_raw)
}

/// Reads what was typed, a line at most in the usual mode; 0 at its end.
///
/// # Errors
/// As `read(2)`; `EIO` from the background.
pub fn read(terminal: BorrowedFd, line: &mut [u8]) -> Result<usize, Errno> {
    nix::unistd::read(terminal, line)
}

/// How many columns the terminal on standard error (or output) has.
pub fn width() -> Option<u16> {
    [2, 1].into_iter().filter_map(size_of).map(|(columns, _)| columns).next()
}

/// How many columns and rows the terminal on standard output has.
pub fn size() -> Option<(u16, u16)> {
    size_of(1)
}

fn size_of(fd: i32) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure outlives the call.
    let found = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ as _, &raw mut size) };
    (found == 0 && size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}
