//! A way out of a network namespace: a program of the user's that has the
//! sandbox's packets on one side and ordinary sockets on the other (`pasta(1)`).
//!
//! The program runs in the user namespace of the sandbox and in a mount
//! namespace of its own, with the three rights that it needs and as a user of
//! that namespace; the sandbox's files and processes are not its. What listens
//! on the host's 127.0.0.1 cannot be reached through it.
//! It stays outside the sandbox's PID namespace, and dies with the supervisor.

use std::{
    ffi::OsString,
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use crate::{
    diagnostic::Refusal,
    host::{NetworkTools, Tool},
    model::{Answer, Forward, Model, Slot, capability as number},
    sys::{
        Call, Errno, Fault, capability,
        descriptor::{self, Walk},
        entry, mount, signal, socket, wait,
    },
};

use super::{
    Evidence, Operation, Stage,
    program::{self, PLACE, Program, Started},
    unexplained,
};

/// What passes the packets on.
const PASTA: Tool = Tool { name: "pasta", package: "passt" };
/// What it may do, over the user namespace of the sandbox: enter the network,
/// set its interface up, and listen there on any port.
const RIGHTS: [u32; 3] = [number::SYS_ADMIN, number::NET_ADMIN, number::NET_BIND_SERVICE];
/// What begins a line that is about its log and not about the network.
const ABOUT_ITS_LOG: &str = "Failed to send ";

/// The network of the sandbox, joined to that of the host.
pub struct JoinNetwork {
    /// Ports of the host that lead into the sandbox
    pub forwards: Vec<Forward>,
    /// Where the program is kept, so that it can be ended
    pub program: Slot,
    /// Whom the program becomes in the sandbox's user namespace, where the caller is nobody there
    pub ids: Option<(u32, u32)>,
    /// What is known of the machine
    pub tools: Option<NetworkTools>,
}

impl JoinNetwork {
    fn pasta(&self) -> PathBuf {
        let known = self.tools.as_ref().and_then(|tools| tools.pasta.clone());
        known.unwrap_or_else(|| PASTA.name.into())
    }

    fn program(&self) -> Program {
        let place = |name: &str| format!("{}/{name}", PLACE.to_string_lossy());
        let fixed = ["--foreground", "--quiet", "--config-net", "--no-map-gw", "--netns-only"];
        let mut words: Vec<OsString> = fixed.map(OsString::from).to_vec();
        for (option, value) in [
            ("--netns", place("net")),
            ("--pid", place("ready")),
            ("--udp-ports", "none".to_owned()),
            ("--tcp-ns", "none".to_owned()),
            ("--udp-ns", "none".to_owned()),
        ] {
            words.extend([option.into(), value.into()]);
        }
        let lead = |forward: &Forward| format!("127.0.0.1/{}:{}", forward.outside, forward.inside);
        let leads = self.forwards.iter().map(lead);
        let leads = if self.forwards.is_empty() { vec!["none".into()] } else { leads.collect() };
        for lead in leads {
            words.extend(["--tcp-ports".into(), lead.into()]);
        }
        Program::new(&self.pasta(), words)
    }

    fn has_no_tun(&self) -> bool {
        self.tools.as_ref().and_then(|tools| tools.tun) == Some(false)
    }

    /// Whether its complaint is about a port of the host.
    fn port_of(&self, complaint: &str) -> Option<u16> {
        let is_about_port = complaint.contains("bind") || complaint.contains("port");
        let named = |port: u16| {
            let is_digit = |c: char| c.is_ascii_digit();
            complaint.split(|c| !is_digit(c)).any(|number| number == port.to_string())
        };
        let mut outside = self.forwards.iter().map(|forward| forward.outside);
        outside.find(|&port| is_about_port && named(port))
    }
}

fn no_tun(why: String) -> Refusal {
    Refusal::new("net::no_tun", "`pasta` cannot make an interface in the sandbox").why(why).help(
        "`sudo modprobe tun`, and `ls -l /dev/net/tun` shows who may open it: `sudo chmod 666 /dev/net/tun` lets everybody",
    )
}

impl fmt::Display for JoinNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("join the network to the host's with pasta")?;
        for Forward { outside, inside } in &self.forwards {
            write!(f, ", 127.0.0.1:{outside} leads to its port {inside}")?;
        }
        Ok(())
    }
}

impl Operation for JoinNetwork {
    fn answer(&self, _: &Model) -> Answer {
        match &self.tools {
            Some(NetworkTools { pasta: None, .. }) => Answer::No(Call::Program.gave(Errno::ENOENT)),
            Some(tools) if tools.tun == Some(false) => Answer::No(Call::Program.gave(Errno::EIO)),
            _ => Answer::KernelDecides,
        }
    }

    fn effect(&self, model: &mut Model) {
        model.outlet = Some(self.forwards.clone());
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let opened = |errno| Call::OpenTarget.gave(errno);
        let user = stage.open_own("ns/user").map_err(opened)?;
        let net = stage.open_own("ns/net").map_err(opened)?;
        let (ours, theirs) = socket::pair().map_err(|errno| Call::Socketpair.gave(errno))?;
        let (user, theirs) = (user.as_fd(), theirs.as_fd());
        let prepare = || prepare(net.as_fd(), user, theirs, self.ids);
        let used = [Some(user), Some(theirs)];
        let started = self.program().start(net.as_fd(), None, used, prepare)?;
        if let Err(fault) = wait_for_word(&started, ours.as_fd()) {
            started.end();
            stage.keep_words(complaint(&started.words()).as_bytes());
            return Err(fault);
        }
        stage.keep(self.program, started.handle).map_err(|errno| Call::Program.gave(errno))
    }

    fn explain(&self, fault: Fault, _: &Model, seen: &Evidence) -> Refusal {
        let says = format!("it says: {}", seen.log);
        match (fault.call, fault.errno) {
            (Call::Program, Errno::ENOENT) => {
                Refusal::new("net::no_program", format!("`{}` is not installed", PASTA.name))
                    .why("it passes packets on between the sandbox and the host")
                    .help(program::install(&PASTA))
            }
            (Call::Program, Errno::EINTR) => {
                Refusal::new("net::interrupted", "the network was not joined to the host's")
                    .why("a signal stopped isorecipe before")
                    .help("run it again: nothing half done is left")
            }
            (Call::Program, Errno::EIO) if seen.log.contains("tun") => no_tun(says),
            (Call::Program, Errno::EIO) if seen.log.is_empty() && self.has_no_tun() => no_tun(
                "it takes /dev/net/tun, which you may not open, or which is not there".to_owned(),
            ),
            (Call::Program, Errno::EIO) => {
                match self.port_of(&seen.log) {
                    Some(port) => {
                        let message = format!("port {port} of 127.0.0.1 cannot be listened on");
                        Refusal::new("net::port_not_free", message).why(says).help(match port {
                            ..1024 => "take one from 1024 on: those below are root's".to_owned(),
                            _ => {
                                format!("`ss -ltn sport = :{port}` shows who has it; take another")
                            }
                        })
                    }
                    None => {
                        let refusal = Refusal::new("net::not_joined", "`pasta` does not join the networks")
                        .help("`ip route` should show a default route, which it follows; see `pasta(1)`");
                        match seen.log.is_empty() {
                            true => refusal.why("it ended without a word"),
                            false => refusal.why(says),
                        }
                    }
                }
            }
            _ => unexplained(self, fault),
        }
    }
}

/// In the process that becomes the program: apart from the host's mounts, the
/// network at one name and a pipe for its word at another, and few rights.
fn prepare(
    net: BorrowedFd,
    user: BorrowedFd,
    to: BorrowedFd,
    ids: Option<(u32, u32)>,
) -> Result<(), Fault> {
    program::stand_apart(Some(user), ids)?;
    let made = |errno| Call::MakeFile.gave(errno);
    let folder = descriptor::open_directory(None, PLACE, Walk::Free).map_err(made)?;
    entry::make_file(folder.as_fd(), c"net").map_err(made)?;
    let pipe = entry::make_pipe(folder.as_fd(), c"ready").map_err(made)?;
    // By a name, since a program may close what it was not told of.
    let copy = mount::clone_file(net).map_err(|errno| Call::Bind.gave(errno))?;
    descriptor::open_place(Some(folder.as_fd()), c"net", Walk::Beneath)
        .and_then(|at| mount::attach(copy.as_fd(), at.as_fd()))
        .map_err(|errno| Call::MoveMount.gave(errno))?;
    socket::send(to, &[0], Some(pipe.as_fd())).map_err(|errno| Call::Sendmsg.gave(errno))?;
    let rights = RIGHTS.into_iter().fold(0, |all, one| all | 1 << one);
    capability::keep_only(rights).map_err(|errno| Call::Prctl.gave(errno))
}

/// Waits until the program says its number, as it does when all is set up; `EIO`
/// if it ends instead, `EINTR` if somebody wants isorecipe to stop.
fn wait_for_word(started: &Started, from: BorrowedFd) -> Result<(), Fault> {
    let poll = |errno| Call::Poll.gave(errno);
    let gone = || Call::Program.gave(Errno::EIO);
    let received = socket::receive(from, &mut [0; 8]).map_err(|e| Call::Recvmsg.gave(e))?;
    let pipe: OwnedFd = received.fd.ok_or_else(gone)?;
    let stop = signal::wish_to_stop().map_err(poll)?;
    match wait::for_words(started.handle.as_fd(), stop.as_fd(), pipe.as_fd()).map_err(poll)? {
        [true, _, _] => Err(gone()),
        [_, true, _] => Err(Call::Program.gave(Errno::EINTR)),
        _ => Ok(()),
    }
}

/// What it says last that is about the network.
fn complaint(words: &str) -> &str {
    let is_meant = |line: &&str| !line.trim().is_empty() && !line.starts_with(ABOUT_ITS_LOG);
    words.lines().rfind(is_meant).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_about_the_log_is_none_about_the_network() {
        let words = "Failed to send 45 bytes to syslog\nFailed to open tun socket in namespace\nFailed to send 1 bytes to syslog\n";
        assert_eq!(complaint(words), "Failed to open tun socket in namespace");
        assert_eq!(complaint("Failed to send 1 bytes to syslog\n\n"), "");
    }

    #[test]
    fn a_port_is_blamed_by_its_own_number() {
        let forwards = vec![Forward { outside: 8080, inside: 80 }];
        let join = JoinNetwork { forwards, program: 0, ids: None, tools: None };
        assert_eq!(join.port_of("Failed to bind port 8080 (Address already in use)"), Some(8080));
        assert_eq!(join.port_of("Failed to bind port 18080"), None);
        assert_eq!(join.port_of("8080"), None);
    }
}
