//! Who may read the keyboard: `tcsetpgrp(3)`, `termios(3)`, `credentials(7)`,
//! `pty(7)`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::termios::{LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw},
    unistd::Pid,
};

use super::NOT_DONE;

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

    /// The same, with every key passed on as it is, Ctrl-C and Ctrl-Z too; what is
    /// printed as well, unless that is `kept`.
    pub fn raw(&self, kept: bool) -> Modes {
        let mut modes = self.0.clone();
        cfmakeraw(&mut modes);
        if kept {
            modes.output_flags = self.0.output_flags | OutputFlags::OPOST;
        }
        Modes(modes)
    }

    /// The same, without what is typed being shown.
    pub fn unseen(&self) -> Modes {
        let mut modes = self.0.clone();
        modes.local_flags.remove(LocalFlags::ECHO);
        Modes(modes)
    }

    /// The key that stops the program in front, if one does: Ctrl-Z.
    pub fn stop_key(&self) -> Option<u8> {
        let key = self.0.control_chars[SpecialCharacterIndices::VSUSP as usize];
        (self.0.local_flags.contains(LocalFlags::ISIG) && key != 0).then_some(key)
    }

    /// The key that ends the input, where lines are read: Ctrl-D.
    pub fn end_key(&self) -> u8 {
        self.0.control_chars[SpecialCharacterIndices::VEOF as usize]
    }
}

/// A new terminal: the end to act as its keyboard and screen, which nobody
/// waits at, and the end for who uses it. Neither becomes the caller's own.
///
/// # Errors
/// As `open(2)` of `/dev/ptmx`, and `ioctl_tty(2)`.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is a literal.
    let fd = Errno::result(unsafe { libc::open(c"/dev/ptmx".as_ptr(), flags | libc::O_NONBLOCK) })?;
    let screen = super::descriptor::own(libc::c_long::from(fd));
    let unlocked: libc::c_int = 0;
    // SAFETY: the number outlives the call; the second one takes flags and gives a descriptor.
    let user = unsafe {
        Errno::result(libc::ioctl(fd, libc::TIOCSPTLCK as _, &raw const unlocked))?;
        Errno::result(libc::ioctl(fd, libc::TIOCGPTPEER as _, flags))?
    };
    Ok((screen, super::descriptor::own(libc::c_long::from(user))))
}

/// Makes this the terminal of the caller's session, which it leads and which
/// has none, and looks whether it is.
///
/// # Errors
/// As `ioctl_tty(2)`, `TIOCSCTTY`; [`NOT_DONE`].
pub fn adopt(terminal: BorrowedFd) -> Result<(), Errno> {
    // SAFETY: the call takes a number.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, 0) })?;
    if is_foreground(terminal) { Ok(()) } else { Err(NOT_DONE) }
}

/// Gives a terminal the size of another.
pub fn copy_size(from: BorrowedFd, to: BorrowedFd) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure outlives both calls. A size that cannot be had stays.
    unsafe {
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ as _, &raw mut size) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size);
        }
    }
}

/// The controlling terminal once more, of which nobody waits for a key.
pub fn controlling_unwaiting() -> Option<OwnedFd> {
    let terminal = controlling()?;
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(terminal.as_fd(), nix::fcntl::FcntlArg::F_SETFL(flags)).ok()?;
    Some(terminal)
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
