//! A time that passes: `500ms`, `1.5s`, `10m`, `1h`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yaml::refuse;

/// How long a year is, and longer than anything is waited for.
const LONGEST: f64 = 366.0 * 24.0 * 3600.0;

/// A time that passes, more than none.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl Span {
    /// Reads digits, maybe with a point, and `ms`, `s`, `m` or `h`.
    ///
    /// # Errors
    /// Says how a time is written.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        const HOW: &str = "a time is a number and `ms`, `s`, `m` or `h`: `1.5s`, up to a year";
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(HOW)?;
        let (number, unit) = text.split_at_checked(unit_at).ok_or(HOW)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(HOW),
        };
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let number: f64 = number.parse().ok().filter(|_| is_number).ok_or(HOW)?;
        let seconds = number * seconds;
        match (0.001..=LONGEST).contains(&seconds) {
            true => Ok(Self(Duration::from_millis((seconds * 1000.0).round() as u64))),
            false => Err(HOW),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            (0, parts) => write!(f, "{parts}ms"),
            (seconds, parts) => {
                let parts = format!("{parts:03}");
                write!(f, "{seconds}.{}s", parts.trim_end_matches('0'))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).map_err(|how| {
            let help = match text.parse::<u64>() {
                Ok(number) if number > 0 => {
                    format!("write `{number}s` for seconds, `{number}m` for minutes")
                }
                _ => "write `30s`".to_owned(),
            };
            refuse("limits::no_time", "this is not a time that passes", how, help)
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]*)?(ms|s|m|h)$",
            "description": "A time that passes: `500ms`, `1.5s`, `10m`, `1h`.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_it_is_written() {
        for (text, written) in [
            ("10s", "10s"),
            ("1.5s", "1.5s"),
            ("500ms", "500ms"),
            ("2m", "120s"),
            ("0.05s", "50ms"),
        ] {
            assert_eq!(Span::read(text).expect("a time").to_string(), written);
        }
        for text in ["", "10", "s", "-1s", "0s", "+1s", "1e3s", "1d", "1 s", ".5s", "9999999h"] {
            assert!(Span::read(text).is_err(), "{text}");
        }
    }
}
