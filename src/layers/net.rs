//! `net`: which network there is (`network_namespaces(7)`).

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Serialize,
    de::{self, IntoDeserializer},
};

use crate::{
    diagnostic::Refusal,
    ops::{BringLoopbackUp, NewNamespace},
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
}

impl FromWord for Net {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Network::deserialize(word.into_deserializer()).map(|mode| Self { mode })
    }

    fn words(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Network>()
    }
}

impl Plan for Net {
    fn plan(&self, to: &mut Planner) {
        match self.mode {
            Network::None => {
                to.step(NewNamespace(Namespace::Network));
                to.step(BringLoopbackUp);
            }
            Network::Host if to.model().has_own(Namespace::Network) => to.refuse(left_behind()),
            Network::Host => {}
        }
    }
}

fn left_behind() -> Refusal {
    Refusal::new("net::left_host", "the network is not the host's any more")
        .why("another `net` layer before it has made one of its own")
        .help("keep one of the two")
}
