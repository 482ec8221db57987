//! A conversation between two processes: `unix(7)`, `SOCK_SEQPACKET`.
//!
//! A message arrives whole or not at all, may carry one descriptor, and the
//! end of a process is the end of its messages: a death notice that cannot be
//! forged or missed.

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

use super::{NOT_DONE, descriptor::own};

/// Room for a control message with one descriptor and one with credentials,
/// aligned as `cmsg(3)` asks.
#[repr(align(8))]
struct Control([u8; 64]);

/// What came in one message.
#[derive(Debug, Default)]
pub struct Received {
    /// Its length; 0 at the end of the conversation
    pub length: usize,
    /// The descriptor that came with it
    pub fd: Option<OwnedFd>,
    /// Who sent it, by the receiver's count, if [`ask_for_sender`] was called
    pub sender: Option<i32>,
}

/// From now on every message says which process sent it (`SO_PASSCRED`).
///
/// # Errors
/// As `setsockopt(2)`.
pub fn ask_for_sender(end: BorrowedFd) -> Result<(), Errno> {
    nix::sys::socket::setsockopt(&end, nix::sys::socket::sockopt::PassCred, &true)
}

/// Two connected ends, both closed by `execve`.
///
/// # Errors
/// As `socketpair(2)`.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two numbers, which outlives the call.
    Errno::result(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    let [one, other] = ends.map(libc::c_long::from);
    if one < 0 || other < 0 { Err(NOT_DONE) } else { Ok((own(one), own(other))) }
}

/// Sends one message, with a descriptor if there is one.
///
/// # Errors
/// As `sendmsg(2)`; `EPIPE` when the other end is gone.
pub fn send(to: BorrowedFd, message: &[u8], fd: Option<BorrowedFd>) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: message.as_ptr() as *mut _, iov_len: message.len() };
    let mut control = Control([0; 64]);
    let mut header = header(&mut part, &mut control);
    match fd {
        None => header.msg_controllen = 0,
        // SAFETY: `control` has room for exactly one descriptor, and the macros
        // stay within `msg_controllen`.
        Some(fd) => unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(first).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        },
    }
    // SAFETY: message and control outlive the call.
    let sent = unsafe { libc::sendmsg(to.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    Errno::result(sent).map(drop)
}

/// Sends one message by `write(2)`, which the narrowest filter lets through.
///
/// # Errors
/// As `write(2)`; `EPIPE` when the other end is gone.
pub fn send_plainly(to: BorrowedFd, message: &[u8]) -> Result<(), Errno> {
    nix::unistd::write(to, message).map(drop)
}

/// Receives one message into `into`.
///
/// # Errors
/// As `recvmsg(2)`.
pub fn receive(from: BorrowedFd, into: &mut [u8]) -> Result<Received, Errno> {
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut control = Control([0; 64]);
    let mut header = header(&mut part, &mut control);
    let length = loop {
        // SAFETY: both buffers outlive the call and their lengths are told.
        let read =
            unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(read) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(length) => break length as usize,
        }
    };
    let mut received = Received { length, ..Received::default() };
    // SAFETY: the kernel filled `control` up to `msg_controllen` with whole
    // messages, and the macros walk no further.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            let content = libc::CMSG_DATA(message);
            match (*message).cmsg_type {
                libc::SCM_RIGHTS => {
                    let fd = content.cast::<RawFd>().read_unaligned();
                    received.fd = Some(super::descriptor::own(libc::c_long::from(fd)));
                }
                libc::SCM_CREDENTIALS => {
                    received.sender = Some(content.cast::<libc::ucred>().read_unaligned().pid);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok(received)
}

/// Ends the conversation on both sides; what was said before can still be received.
pub fn end(end: BorrowedFd) {
    // Who is not connected any more has ended it already.
    let _ = nix::sys::socket::shutdown(end.as_raw_fd(), nix::sys::socket::Shutdown::Both);
}

/// Whether the other end is closed.
pub fn is_alone(end: BorrowedFd) -> bool {
    is_alone_within(end, 0)
}

/// The same, after at most so many milliseconds.
pub fn is_alone_within(end: BorrowedFd, milliseconds: u16) -> bool {
    let mut poll = libc::pollfd { fd: end.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one structure, and its count.
    let found = unsafe { libc::poll(&raw mut poll, 1, milliseconds.into()) };
    found > 0 && poll.revents & libc::POLLHUP != 0
}

fn header(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is an empty one.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    header
}
