//! `time`: clocks of its own (`time_namespaces(7)`).

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    model::{self, Offsets},
    ops::{NewNamespace, SetClocks},
    plan::Planner,
    sys::Namespace,
    yaml::refuse,
};

use super::Plan;

/// A time namespace: clocks that count from another moment. The clock of the
/// day is everybody's and not among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// What to add to `CLOCK_MONOTONIC`, which programs measure time with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic: Option<Offset>,
    /// What to add to `CLOCK_BOOTTIME`, and so to the uptime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boottime: Option<Offset>,
    /// There is no such thing: who writes it is told so.
    #[serde(default, skip_serializing, rename = "realtime")]
    #[schemars(skip)]
    pub nothing: Realtime,
}

/// The clock of the day, which no namespace sets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Realtime;

impl<'de> Deserialize<'de> for Realtime {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(refuse(
            "time::realtime",
            "the clock of the day is the same for everybody",
            "a time namespace has a `monotonic` and a `boottime` clock, and no other",
            "take `realtime` out; `faketime COMMAND` tells one command another date",
        ))
    }
}

/// Some time, forwards or backwards: `3days`, `-2h`, `1h 30min`, `250ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset(pub model::Offset);

impl Offset {
    fn read(text: &str) -> Option<Self> {
        let (is_back, distance) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let distance: Duration = humantime::parse_duration(distance).ok()?;
        let (seconds, nanoseconds) = (distance.as_secs(), distance.subsec_nanos());
        let seconds = i64::try_from(seconds).ok()?;
        Some(Self(match (is_back, nanoseconds) {
            (false, nanoseconds) => model::Offset { seconds, nanoseconds },
            (true, 0) => model::Offset { seconds: -seconds, nanoseconds: 0 },
            // The kernel adds the nanoseconds to whole seconds further back.
            (true, nanoseconds) => {
                model::Offset { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }
            }
        }))
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| {
            refuse(
                "time::not_a_duration",
                "this is not a duration",
                "a duration is numbers with units, of ns, us, ms, s, min, h, days and weeks",
                "write `3days`, or `-2h` to go back",
            )
        })
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[+-]?[0-9][0-9a-zµ ]*$",
            "description": "Some time, forwards or backwards: `3days`, `-2h`, `1h 30min`, `250ms`.",
        })
    }
}

impl Plan for Time {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Time));
        let offset = |offset: Option<Offset>| offset.map(|offset| offset.0);
        let offsets =
            Offsets { monotonic: offset(self.monotonic), boottime: offset(self.boottime) };
        if offsets != Offsets::default() {
            to.step(SetClocks::new(offsets));
        }
    }
}
