//! A share of the processors: `50%` of one, `1.5` of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yaml::refuse;

/// More processors than there are.
const MOST: f64 = 100_000.0;

/// How much of the processors, in percent of one; at least one percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(u32);

impl Share {
    /// Of one processor.
    pub fn percent(self) -> u64 {
        u64::from(self.0)
    }

    fn read(text: &str) -> Option<Self> {
        let (number, factor) = match text.strip_suffix('%') {
            Some(number) => (number, 1.0),
            None => (text, 100.0),
        };
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let percent = number.parse::<f64>().ok().filter(|_| is_number)? * factor;
        (1.0..=MOST).contains(&percent).then_some(Self(percent.round() as u32))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| {
            refuse(
                "limits::no_share",
                "this is not a share of the processors",
                "a share is a percentage of one processor, from 1%, or a number of them",
                "write `50%` for half of one, `2` for two",
            )
        })
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}%", self.0))
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "pattern": "^[0-9]+(\\.[0-9]*)?%?$",
            "description": "A share of the processors: `50%` of one, `1.5` of them.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_percent_of_one_processor() {
        for (text, percent) in [("50%", 50), ("150%", 150), ("1.5", 150), ("2", 200), ("0.01", 1)] {
            assert_eq!(Share::read(text).map(Share::percent), Some(percent), "{text}");
        }
        for text in
            ["", "%", "0", "0%", "0.001", "-1", "+1", "1e1", "nan", "half", "50 %", "9999999"]
        {
            assert_eq!(Share::read(text), None, "{text}");
        }
    }
}
