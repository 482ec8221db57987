//! The machine's names: `sethostname(2)`, `setdomainname(2)`, `uname(2)`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{
    Call, Fault, descriptor,
    namespace::{self, Side},
    process, socket,
};

/// As long as a hostname can be, and one byte more.
const LONGEST: usize = 65;

/// Sets the hostname of the UTS namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over it, `EINVAL` over 64 bytes.
pub fn set_hostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name has `len` bytes and outlives the call.
    Errno::result(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// As [`set_hostname`].
pub fn set_domainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name has `len` bytes and outlives the call.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// `uname -r`
///
/// # Errors
/// As `uname(2)`.
pub fn kernel_release() -> Result<[u8; 65], Errno> {
    // SAFETY: an all-zero structure is a valid one, and outlives the call.
    let found = unsafe {
        let mut found: libc::utsname = std::mem::zeroed();
        Errno::result(libc::uname(&raw mut found))?;
        found
    };
    Ok(found.release.map(|byte| byte as u8))
}

/// The hostname in another UTS namespace: a child goes there and reads it.
/// The caller must have one thread.
///
/// The right to enter comes from the user namespace that owns it: so the child
/// goes to `user` first, if that is given, unless it may enter as it is.
///
/// # Errors
/// What the child was refused, or why there is none.
pub fn hostname_in(uts: BorrowedFd, user: Option<BorrowedFd>) -> Result<Vec<u8>, Fault> {
    let (ours, theirs) = socket::pair().map_err(|errno| Call::Socketpair.gave(errno))?;
    let pid = match namespace::fork().map_err(|errno| Call::Fork.gave(errno))? {
        Side::Child => {
            let needed = [Some(uts), user, Some(theirs.as_fd())];
            let mut answer = [0; LONGEST + 1];
            let visited = hide(needed).and_then(|()| visit(uts, user, &mut answer));
            let length = match visited {
                Ok(length) => length,
                Err(errno) => {
                    // An errno is less than 134, and a name is never told without a 0 before it.
                    answer = [0; LONGEST + 1];
                    answer[0] = errno as i32 as u8;
                    1
                }
            };
            let _ = socket::send(theirs.as_fd(), answer.get(..length).unwrap_or_default(), None);
            process::exit(0)
        }
        Side::Parent(pid) => pid,
    };
    drop(theirs);
    let mut answer = [0; LONGEST + 1];
    let received = socket::receive(ours.as_fd(), &mut answer);
    process::reap(pid);
    let length = received.map_err(|errno| Call::Recvmsg.gave(errno))?.length;
    match answer.get(..length).and_then(<[u8]>::split_first) {
        Some((0, name)) => Ok(name.to_owned()),
        Some((&errno, _)) => Err(Call::Setns.gave(Errno::from_raw(i32::from(errno)))),
        None => Err(Call::Recvmsg.gave(Errno::EPIPE)),
    }
}

/// In the child: keeps it from those whose user namespace it is about to enter.
///
/// Their root could trace it there otherwise, and would be on the host's side:
/// the child stays in the host's mounts and pid namespace. Of a process that
/// is not dumpable, `ptrace_may_access` asks for `CAP_SYS_PTRACE` over the user
/// namespace that the program was started in, which is the host's. Beside that,
/// nothing of the caller's is left open in it.
fn hide(needed: [Option<BorrowedFd>; 3]) -> Result<(), Errno> {
    process::become_undumpable()?;
    let mut needed = needed.map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd()));
    needed.sort_unstable();
    let mut next = 0;
    for fd in needed.into_iter().filter(|&fd| fd >= 0) {
        descriptor::close_between(next, fd)?;
        next = fd + 1;
    }
    descriptor::close_from(next)
}

/// In the child: reads the name behind a first byte of 0, without allocating.
fn visit(
    uts: BorrowedFd,
    user: Option<BorrowedFd>,
    answer: &mut [u8; LONGEST + 1],
) -> Result<usize, Errno> {
    if let Err(refused) = namespace::enter(uts) {
        namespace::enter(user.ok_or(refused)?)?;
        namespace::enter(uts)?;
    }
    let name = answer.get_mut(1..).unwrap_or_default();
    // SAFETY: the buffer has so many bytes and outlives the call.
    Errno::result(unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) })?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(end + 1)
}
