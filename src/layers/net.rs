//! `net`: which network there is (`network_namespaces(7)`).

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Serialize,
    de::{self, IntoDeserializer},
};

use crate::{
    diagnostic::Refusal,
    model::{self, UserId},
    ops::{BringLoopbackUp, JoinNetwork, NewNamespace},
    plan::Planner,
    sys::Namespace,
};

use super::{FromWord, Plan};

/// The network of the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Net {
    /// Which network it is: none but a loopback of its own, if nothing is said.
    #[serde(default)]
    pub mode: Network,
    /// TCP ports of the host's 127.0.0.1 that lead into the sandbox, with `mode: pasta`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Forward>,
}

/// A port of the host that leads to one of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The TCP port of the host, on 127.0.0.1
    pub outside: u16,
    /// The TCP port in the sandbox
    pub inside: u16,
}

/// A network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network namespace of its own, with a loopback interface and nothing else
    #[default]
    None,
    /// The host's, on purpose
    Host,
    /// A network namespace of its own, which `pasta` leads out of: other machines
    /// are reached through sockets of yours, and the host's 127.0.0.1 is not
    Pasta,
}

impl FromWord for Net {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Network::deserialize(word.into_deserializer())
            .map(|mode| Self { mode, forward: Vec::new() })
    }

    fn words(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Network>()
    }
}

impl Plan for Net {
    fn plan(&self, to: &mut Planner) {
        if self.mode != Network::Pasta && !self.forward.is_empty() {
            to.at("forward").refuse(leads_nowhere());
        }
        match self.mode {
            Network::None => {
                to.step(NewNamespace(Namespace::Network));
                to.step(BringLoopbackUp);
            }
            Network::Host if to.model().has_own(Namespace::Network) => to.refuse(left_behind()),
            Network::Host => {}
            Network::Pasta => self.join(to),
        }
    }
}

impl Net {
    /// A network of its own, and the way out of it.
    fn join(&self, to: &mut Planner) {
        let forwards = self.forwards(to);
        to.step(NewNamespace(Namespace::Network));
        to.step(BringLoopbackUp);
        let model = to.model();
        let own = model.own_user();
        let first = |map: &model::IdMap| map.0.first().map(|extent| extent.inside);
        let Some(somebody) = first(&own.uids).zip(first(&own.gids)) else {
            to.refuse(needs_user());
            return;
        };
        if model.process.user == UserId::HOST {
            to.refuse(needs_user());
            return;
        }
        // Who is nobody in there could make nothing.
        let caller = &to.host().caller;
        let is_known =
            own.uids.from_host(caller.uid).is_some() && own.gids.from_host(caller.gid).is_some();
        let ids = (!is_known).then_some(somebody);
        let (program, tools) = (to.slot(), to.network_tools());
        to.supervisor(JoinNetwork { forwards, program, ids, tools });
    }

    /// The ports, those that cannot be refused at their place.
    fn forwards(&self, to: &mut Planner) -> Vec<model::Forward> {
        let mut forwards: Vec<model::Forward> = Vec::new();
        for (index, &Forward { outside, inside }) in self.forward.iter().enumerate() {
            let is_taken = forwards.iter().any(|other| other.outside == outside);
            let refusal = match (outside, inside) {
                (0, _) | (_, 0) => Some(no_port()),
                _ if is_taken => Some(twice(outside)),
                _ => None,
            };
            if let Some(refusal) = refusal {
                to.at_place(|layer| layer.key("forward").index(index)).refuse(refusal);
            }
            forwards.push(model::Forward { outside, inside });
        }
        forwards
    }
}

fn leads_nowhere() -> Refusal {
    Refusal::new("net::leads_nowhere", "no port leads into this network")
        .why("nothing passes packets on between it and the host")
        .help("write `net: {mode: pasta, forward: [{outside: 8080, inside: 80}]}`")
}

fn needs_user() -> Refusal {
    Refusal::new("net::needs_user", "`pasta` works in a user namespace with a user in it")
        .why("outside of one it would run with all that root may do")
        .help("put a `user` layer before it: `user: {map: auto}`")
        .wants("user")
}

fn no_port() -> Refusal {
    Refusal::new("net::no_port", "0 is no port").why("nobody can connect to it").help(
        "ports go from 1 to 65535, and those of the host below 1024 are root's: `outside: 8080`",
    )
}

fn twice(port: u16) -> Refusal {
    Refusal::new("net::port_twice", format!("port {port} of the host leads to two places"))
        .why("who connects to it can be given to one only")
        .help("take another port for one of them")
}

fn left_behind() -> Refusal {
    Refusal::new("net::left_host", "the network is not the host's any more")
        .why("another `net` layer before it has made one of its own")
        .help("keep one of the two")
}
