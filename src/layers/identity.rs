//! `identity`: user and groups that the command runs as (`credentials(7)`).

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use crate::{
    ops::{Become, KeepCapabilities, TakeUpCapabilities},
    plan::Planner,
    yaml::refuse,
};

use super::Plan;

/// User and groups that the command runs as, by the numbers of the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// User id inside.
    pub uid: Id,
    /// Group id inside.
    pub gid: Id,
    /// Further groups; none if it is left out. `keep` leaves those that it has.
    #[serde(default)]
    pub groups: Groups,
}

/// An id of a user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Id(pub u32);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u32::deserialize(from)? {
            // To the kernel it means "leave it as it is".
            u32::MAX => Err(refuse(
                "identity::no_id",
                "nobody has the id 4294967295",
                "it is -1, which the kernel takes for no change",
                "write another id",
            )),
            id => Ok(Self(id)),
        }
    }
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "minimum": 0,
            "maximum": u32::MAX - 1,
            "description": "The number of a user or group, inside.",
        })
    }
}

/// Supplementary groups.
#[derive(Clone, Debug, PartialEq)]
pub enum Groups {
    /// Those that it has
    Keep,
    /// These
    Only(Vec<Id>),
}

impl Default for Groups {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Serialize for Groups {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep => to.serialize_str("keep"),
            Self::Only(groups) => groups.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(GroupsVisitor)
    }
}

struct GroupsVisitor;

impl<'de> Visitor<'de> for GroupsVisitor {
    type Value = Groups;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of group ids, or `keep`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Groups, E> {
        match word {
            "keep" => Ok(Groups::Keep),
            _ => Err(refuse(
                "identity::unknown_groups",
                "these are no groups",
                "groups are a list of numbers, or the word `keep`",
                "write `groups: [27]`, or `groups: keep`",
            )),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Groups, A::Error> {
        let mut groups = Vec::new();
        while let Some(group) = list.next_element()? {
            groups.push(group);
        }
        Ok(Groups::Only(groups))
    }
}

impl JsonSchema for Groups {
    fn schema_name() -> Cow<'static, str> {
        "Groups".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let id = generator.subschema_for::<Id>();
        json_schema!({
            "anyOf": [{ "enum": ["keep"] }, { "type": "array", "items": id }],
        })
    }
}

impl Plan for Identity {
    fn plan(&self, to: &mut Planner) {
        let groups = match &self.groups {
            Groups::Keep => None,
            Groups::Only(groups) => Some(groups.iter().map(|group| group.0).collect()),
        };
        // Layers after it may need rights that the kernel takes from who is
        // no longer root; `execve` takes them in any case.
        let keeps = leaves_root(to, self.uid) && to.model().process.capabilities.permitted != 0;
        if keeps {
            to.step(KeepCapabilities);
        }
        to.step(Become { uid: self.uid.0, gid: self.gid.0, groups });
        if keeps {
            to.step(TakeUpCapabilities);
        }
    }
}

fn leaves_root(to: &Planner, uid: Id) -> bool {
    let model = to.model();
    uid.0 != 0 && model.own_user().uids.from_host(model.process.uid) == Some(0)
}
