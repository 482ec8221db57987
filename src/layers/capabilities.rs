//! `capabilities`: which of root's rights the command may have (`capabilities(7)`).

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    diagnostic::Refusal,
    model::capability,
    ops::LimitCapabilities,
    plan::Planner,
    sys::capability::NAMES,
    yaml::{self, nearest, refuse},
};

use super::{FromWord, Plan};

/// Which of root's rights the command may have: `none`, or those that are kept
/// or all but those that are dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Those that the command may have; all others are gone for good, also for
    /// every program that it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<CapabilityName>>,
    /// Those that are gone for good; all others stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<CapabilityName>>,
    /// Those that the command has even if it does not run as root, and that
    /// the programs it starts have too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<CapabilityName>,
}

/// A capability by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CapabilityName(pub u32);

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let plain = text.to_lowercase();
        let plain = plain.strip_prefix("cap_").unwrap_or(&plain);
        let found = NAMES.iter().find(|(_, name)| short(name) == plain);
        found.map(|(number, _)| Self(*number)).ok_or_else(|| unknown(&text, plain))
    }
}

impl Serialize for CapabilityName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&short(capability::name(self.0)))
    }
}

impl JsonSchema for CapabilityName {
    fn schema_name() -> Cow<'static, str> {
        "Capability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let small: Vec<String> = NAMES.iter().map(|(_, name)| short(name)).collect();
        let small = small.join("|");
        let large = small.to_uppercase();
        json_schema!({
            "type": "string",
            "pattern": format!("^((cap_)?({small})|(CAP_)?({large}))$"),
            "description": "The name of a capability, with or without `cap_`: `net_raw`.",
        })
    }
}

fn short(name: &str) -> String {
    name.trim_start_matches("CAP_").to_lowercase()
}

fn unknown<E: de::Error>(text: &str, plain: &str) -> E {
    let known: Vec<String> = NAMES.iter().map(|(_, name)| short(name)).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(plain, &known) {
        Some(meant) => format!("write `{meant}`"),
        None => "`man 7 capabilities` lists them; write one as `net_raw`".to_owned(),
    };
    refuse(
        "capabilities::unknown",
        format!("there is no capability `{}`", yaml::printable(text)),
        "not a name that Linux has for one",
        help,
    )
}

impl FromWord for Capabilities {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        match word {
            "none" => Ok(Self { keep: Some(Vec::new()), ..Self::default() }),
            _ => Err(refuse(
                "capabilities::unknown_word",
                format!("there are no capabilities `{}`", yaml::printable(word)),
                "the only word is `none`",
                "write `capabilities: none`, or name those that stay: `keep: [net_raw]`",
            )),
        }
    }

    fn words(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["none"] })
    }
}

impl Plan for Capabilities {
    fn plan(&self, to: &mut Planner) {
        let keep = match (&self.keep, &self.drop) {
            (Some(_), Some(_)) => return to.at("drop").refuse(both()),
            (None, None) if self.ambient.is_empty() => return to.refuse(empty()),
            (Some(kept), None) => set(kept),
            (None, Some(dropped)) => capability::ALL & !set(dropped),
            (None, None) => capability::ALL,
        };
        let ambient = set(&self.ambient);
        if ambient & !keep != 0 {
            return to.at("ambient").refuse(ambient_not_kept(ambient & !keep));
        }
        let asked = if self.keep.is_some() { keep & !ambient } else { 0 };
        if asked != 0 && !is_root(to) {
            to.at("keep").warn(lost_at_start(asked));
        }
        to.step(LimitCapabilities { keep, ambient });
    }
}

fn set(names: &[CapabilityName]) -> u64 {
    names.iter().fold(0, |set, name| set | 1 << name.0)
}

/// Root, in its own user namespace.
fn is_root(to: &Planner) -> bool {
    let model = to.model();
    model.own_user().uids.from_host(model.process.uid) == Some(0)
}

fn both() -> Refusal {
    Refusal::new("capabilities::keep_and_drop", "this says both what is kept and what is dropped")
        .why("what is not kept is dropped anyway")
        .help("write `keep` or `drop`, not both")
}

fn empty() -> Refusal {
    Refusal::new("capabilities::empty", "this layer changes no capability")
        .why("it names none")
        .help("write `capabilities: none`, or name those that stay: `keep: [net_raw]`")
}

fn ambient_not_kept(set: u64) -> Refusal {
    let names = capability::names(set);
    Refusal::new(
        "capabilities::ambient_not_kept",
        format!("{names} is to be ambient, and not kept"),
    )
    .why("what every program is to have must not be dropped")
    .help(format!("name it in `keep` too: `keep: [{names}]`"))
}

/// The rule of `execve(2)` that surprises everybody.
fn lost_at_start(set: u64) -> Refusal {
    let names = capability::names(set);
    Refusal::new("capabilities::lost_at_start", format!("the command will not have {names}"))
        .why("it does not run as user 0, and `execve` leaves to others only what is ambient")
        .help(format!("name it in `ambient` too: `ambient: [{names}]`"))
}
