//! Numbers of things, of bytes and of seconds, and `unlimited`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    sys::limit::{Limit, UNLIMITED},
    yaml::refuse,
};

use super::super::{FromWord, words::bytes};

/// The word for no limit.
const UNLIMITED_WORD: &str = "unlimited";

/// How much of something there may be.
pub trait Amount: Copy {
    /// As the kernel counts it.
    fn number(self) -> u64;

    /// The hard limit where only one is said.
    fn hard(self) -> u64 {
        self.number()
    }
}

/// A soft and a hard limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "{T}Bound")]
pub struct Bound<T> {
    /// What the kernel enforces.
    pub soft: T,
    /// What the process may raise the soft limit to; the same if it is left out.
    #[serde(default = "nothing::<T>", skip_serializing_if = "Option::is_none")]
    pub hard: Option<T>,
}

fn nothing<T>() -> Option<T> {
    None
}

impl<T: Amount> Bound<T> {
    /// As the kernel takes it.
    pub fn limit(&self) -> Limit {
        let hard = self.hard.map_or(self.soft.hard(), Amount::number);
        Limit { soft: self.soft.number(), hard }
    }
}

impl<T: Amount + JsonSchema + for<'de> Deserialize<'de>> FromWord for Bound<T> {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        let soft = T::deserialize(de::value::StrDeserializer::new(word))?;
        Ok(Self { soft, hard: None })
    }

    fn words(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

macro_rules! amounts {
    ($($(#[doc = $doc:literal])* $amount:ident, $reads:ident, $refuses:ident, $pattern:literal, $about:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $amount(pub u64);

        impl<'de> Deserialize<'de> for $amount {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                match text.as_str() {
                    UNLIMITED_WORD => Ok(Self(UNLIMITED)),
                    text => $reads(text).map(Self).ok_or_else(|| $refuses::<D::Error>(text)),
                }
            }
        }

        impl Serialize for $amount {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(&self.text())
            }
        }

        impl JsonSchema for $amount {
            fn schema_name() -> Cow<'static, str> {
                stringify!($amount).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["string", "integer"],
                    "pattern": $pattern,
                    "minimum": 0,
                    "description": $about,
                })
            }
        }
    )*};
}

amounts! {
    /// How many
    Count, count, no_count, "^([0-9]+|unlimited)$", "A number, or `unlimited`.";
    /// How many bytes
    Bytes, bytes, no_bytes, "^([0-9]+[KMG]?|unlimited)$",
        "A number of bytes: `65536`, `64K`, `64M`, `2G`, or `unlimited`.";
    /// How many seconds
    Seconds, seconds, no_seconds, "^([0-9]+[smh]|unlimited)$",
        "A time in whole seconds, minutes or hours: `30s`, `5m`, `1h`, or `unlimited`.";
}

impl Count {
    fn text(self) -> String {
        written(self.0, "")
    }
}

impl Bytes {
    fn text(self) -> String {
        written(self.0, "")
    }
}

impl Seconds {
    fn text(self) -> String {
        written(self.0, "s")
    }
}

fn written(number: u64, unit: &str) -> String {
    match number {
        UNLIMITED => UNLIMITED_WORD.to_owned(),
        number => format!("{number}{unit}"),
    }
}

impl Amount for Count {
    fn number(self) -> u64 {
        self.0
    }
}

impl Amount for Bytes {
    fn number(self) -> u64 {
        self.0
    }
}

impl Amount for Seconds {
    fn number(self) -> u64 {
        self.0
    }

    /// At the hard limit comes SIGKILL, which does not say what it is for.
    fn hard(self) -> u64 {
        self.0.saturating_add(1)
    }
}

fn count(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    count(digits)?.checked_mul(unit)
}

fn no_count<E: de::Error>(_: &str) -> E {
    refuse(
        "rlimits::no_count",
        "this is not a number of things",
        "a limit is digits, or `unlimited`",
        "write `1024`",
    )
}

fn no_bytes<E: de::Error>(_: &str) -> E {
    refuse(
        "rlimits::no_bytes",
        "this is not a number of bytes",
        "a size is digits, and K, M or G for 1024, 1024² or 1024³ bytes; or `unlimited`",
        "write `64M`",
    )
}

fn no_seconds<E: de::Error>(text: &str) -> E {
    let help = match count(text) {
        Some(_) => format!("write `{text}s` for seconds, `{text}m` for minutes"),
        None => "write `30s`".to_owned(),
    };
    refuse(
        "rlimits::no_seconds",
        "this is not a time in whole seconds",
        "a time is digits, and s, m or h for seconds, minutes or hours; or `unlimited`",
        help,
    )
}
