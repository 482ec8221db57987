//! Interfaces of a network namespace: `netdevice(7)`.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType},
};

use super::{Call, Fault};

/// What `ip link` calls `UP`.
const UP: libc::c_short = libc::IFF_UP as libc::c_short;

/// Brings the loopback interface up; the kernel gives it 127.0.0.1 and ::1 with that.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over the network namespace; the rest as
/// `socket(2)` and `netdevice(7)` say.
pub fn bring_loopback_up() -> Result<(), Fault> {
    let socket = any_socket().map_err(|errno| Call::Socket.gave(errno))?;
    let flags = flags(&socket).map_err(|errno| Call::Interface.gave(errno))?;
    let mut request = loopback();
    request.ifr_ifru.ifru_flags = flags | UP;
    // SAFETY: the structure outlives the call, which reads its name and flags.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request)
    })
    .map_err(|errno| Call::Interface.gave(errno))
    .map(drop)
}

/// Whether the loopback interface is up.
///
/// # Errors
/// As `socket(2)` and `netdevice(7)`.
pub fn is_loopback_up() -> Result<bool, Errno> {
    Ok(flags(&any_socket()?)? & UP != 0)
}

fn flags(socket: &impl AsRawFd) -> Result<libc::c_short, Errno> {
    let mut request = loopback();
    // SAFETY: the structure outlives the call, which writes its flags.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request)
    })?;
    // SAFETY: the call has just written this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

/// A socket of any family will do; this one needs no network to be built in.
fn any_socket() -> Result<OwnedFd, Errno> {
    nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

/// A request about `lo`, which every network namespace has from the start.
fn loopback() -> libc::ifreq {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    let name = request.ifr_name.iter_mut();
    name.zip(b"lo").for_each(|(to, &from)| *to = from as libc::c_char);
    request
}
