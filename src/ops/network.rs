//! Interfaces of a network namespace: `network_namespaces(7)`, `netdevice(7)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, capability},
    sys::{Call, Errno, Fault, network},
};

use super::{Evidence, Need, Operation, Stage, unexplained};

/// The loopback interface, which is down in a new network namespace.
pub struct BringLoopbackUp;

impl fmt::Display for BringLoopbackUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bring the loopback interface up")
    }
}

impl Operation for BringLoopbackUp {
    fn answer(&self, model: &Model) -> Answer {
        match model.capable(model.network.owner, capability::NET_ADMIN) {
            true => Answer::Yes,
            false => Answer::No(Call::Interface.gave(Errno::EPERM)),
        }
    }

    fn effect(&self, model: &mut Model) {
        model.has_loopback = true;
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        network::bring_loopback_up()
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let is_capable = before.capable(before.network.owner, capability::NET_ADMIN);
        match (fault.call, fault.errno) {
            (Call::Interface, Errno::EPERM) if !is_capable => Refusal::new(
                "net::needs_net_admin",
                "the loopback interface is brought up with CAP_NET_ADMIN",
            )
            .why("who runs isorecipe has CAP_SYS_ADMIN, and not this one")
            .help("put a `user` layer before it, which gives both")
            .wants("user"),
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        let is_allowed = before.capable(before.network.owner, capability::NET_ADMIN);
        (!before.network.own && is_allowed).then(|| {
            Refusal::new("net::host", "this would change an interface of the host")
                .why("no network namespace yet, and root may do it")
                .help("put a `net` layer before it")
                .wants("net")
        })
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        let over = before.network.owner;
        Some(Need { capability: capability::NET_ADMIN, over, what: "the network namespace" })
    }
}
