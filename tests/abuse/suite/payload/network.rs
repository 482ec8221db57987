//! Sockets, and what else lets processes talk.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::{linux::net::SocketAddrExt, unix::net::UnixStream},
    time::Duration,
};

use super::{
    super::check::{Broke, Cannot, Check, Facts, Held, How, Verdict},
    all, c, call, named, read, refused,
};

pub const CHECKS: &[Check] = &[
    Check { name: "loopback", how: How::Inside(loopback) },
    Check { name: "interfaces", how: How::Inside(interfaces) },
    Check { name: "abstract_sock", how: How::Inside(abstract_sock) },
    Check { name: "path_sock", how: How::Inside(path_sock) },
    Check { name: "vsock", how: How::Inside(vsock) },
    Check { name: "af_alg", how: How::Inside(af_alg) },
    Check { name: "rawsock", how: How::Inside(rawsock) },
    Check { name: "netlink", how: How::Inside(netlink) },
    Check { name: "sysv_shm", how: How::Inside(sysv_shm) },
    Check { name: "posix_mq", how: How::Inside(posix_mq) },
];

fn loopback(facts: &Facts) -> Verdict {
    let port = facts.number("port") as u16;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        Ok(_) => Broke("connected".to_owned()),
        Err(error) => Held(error.to_string()),
    }
}

fn interfaces(_: &Facts) -> Verdict {
    match read("/proc/self/net/dev") {
        Ok(text) => {
            let names =
                text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
            let others: Vec<&str> = names.filter(|name| *name != "lo").collect();
            Verdict::broke_if(!others.is_empty(), format!("beside lo: {}", others.join(" ")))
        }
        Err(errno) => Held(format!("/proc/self/net/dev: {}", named(errno))),
    }
}

fn abstract_sock(facts: &Facts) -> Verdict {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(facts.get("abstract"));
    match address.and_then(|address| UnixStream::connect_addr(&address)) {
        Ok(_) => Broke("connected".to_owned()),
        Err(error) => Held(error.to_string()),
    }
}

fn path_sock(facts: &Facts) -> Verdict {
    match UnixStream::connect(facts.get("socket")) {
        Ok(_) => Broke("connected".to_owned()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            Cannot("the socket is not shown".to_owned())
        }
        Err(error) => Held(error.to_string()),
    }
}

fn socket(domain: i32, kind: i32, protocol: i32, what: &str) -> Verdict {
    let found = call(libc::SYS_socket, &[domain as usize, kind as usize, protocol as usize]);
    refused(found, what)
}

fn vsock(_: &Facts) -> Verdict {
    socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0, "AF_VSOCK")
}

fn af_alg(_: &Facts) -> Verdict {
    socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0, "AF_ALG")
}

fn rawsock(_: &Facts) -> Verdict {
    all([
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP, "SOCK_RAW"),
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0, "AF_PACKET"),
    ])
}

fn netlink(_: &Facts) -> Verdict {
    const NETFILTER: i32 = 12;
    all([
        socket(libc::AF_NETLINK, libc::SOCK_RAW, 0, "NETLINK_ROUTE"),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, NETFILTER, "NETLINK_NETFILTER"),
    ])
}

fn sysv_shm(facts: &Facts) -> Verdict {
    let key = facts.number("shm");
    refused(call(libc::SYS_shmget, &[key as usize, 1, 0]), "shmget")
}

fn posix_mq(facts: &Facts) -> Verdict {
    let name = c(facts.get("queue"));
    let found = call(libc::SYS_mq_open, &[name.as_ptr() as usize, libc::O_RDONLY as usize, 0, 0]);
    refused(found, "mq_open")
}
