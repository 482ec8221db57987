//! The smallest words of a recipe: names, paths, permission bits, sizes.
//!
//! Each is read from the scalar's own text, so that `0755` is what it looks
//! like and never 755.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::yaml::{self, refuse};

/// The longest name a UTS namespace keeps (`__NEW_UTS_LEN`).
const LONGEST_NAME: usize = 64;
/// The longest path the kernel takes, its NUL included (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// A hostname or domain name: 1 to 64 visible bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Name(pub String);

impl Name {
    fn new<E: de::Error>(text: &str) -> Result<Self, E> {
        let is_odd = |c: char| c.is_whitespace() || c == '/' || yaml::is_hidden(c);
        if text.is_empty() {
            return Err(refuse(
                "name::empty",
                "this name is empty",
                "no letter in it",
                "write a name",
            ));
        }
        if text.len() > LONGEST_NAME {
            return Err(refuse(
                "name::too_long",
                format!("this name has {} bytes", text.len()),
                format!("the kernel keeps {LONGEST_NAME} at most"),
                "shorten it",
            ));
        }
        if text.contains(is_odd) {
            return Err(refuse(
                "name::odd_character",
                "this name has a character that no name should have",
                "spaces, slashes and hidden characters confuse who reads it",
                "use letters, digits, `-` and `.`",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "minLength": 1,
            "maxLength": LONGEST_NAME,
            "description": "A name of 1 to 64 visible bytes.",
        })
    }
}

/// A path. Relative ones start in the folder of the recipe, `~/` is the
/// caller's home; after a pivot, paths inside start at the new root.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Place(pub PathBuf);

impl Place {
    /// As written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Reads a path.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new<E: de::Error>(text: &str) -> Result<Self, E> {
        if text.is_empty() {
            return Err(refuse(
                "path::empty",
                "this path is empty",
                "no name in it",
                "write a path",
            ));
        }
        if text.len() >= LONGEST_PATH {
            return Err(refuse(
                "path::too_long",
                format!("this path has {} bytes", text.len()),
                format!("the kernel takes {} at most", LONGEST_PATH - 1),
                "shorten it",
            ));
        }
        if text.contains(yaml::is_hidden) {
            return Err(refuse(
                "path::hidden_character",
                "this path has a hidden character",
                "control and direction characters confuse who reads it",
                "write the path with visible characters",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?)
    }
}

impl JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "minLength": 1,
            "description": "A path. Relative ones start in the folder of the recipe; `~/` is the caller's home; after a pivot, paths inside start at the new root.",
        })
    }
}

/// Permission bits, as chmod(1) writes them: `0755`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode(pub u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("0{:o}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let octal = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
        if let Some(bits) = octal.and_then(|digits| u32::from_str_radix(digits, 8).ok())
            && bits <= 0o7777
        {
            return Ok(Self(bits));
        }
        let help = match text.parse::<u32>() {
            Ok(number) if u32::from_str_radix(&text, 8).is_ok() => {
                format!(
                    "write `0{text}` for chmod's {text}, or `0{number:o}` if you mean {number} decimal"
                )
            }
            _ => "write it as chmod does, with a leading zero: `0755`".to_owned(),
        };
        Err(refuse(
            "mode::not_octal",
            "permission bits are octal",
            "no leading zero, or no octal number",
            help,
        ))
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^0o?[0-7]{1,4}$",
            "description": "Permission bits, as chmod(1) writes them: `0755`.",
        })
    }
}

/// A number of bytes: `65536`, `64K`, `64M`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub u64);

impl Size {
    /// Reads one from a command line.
    ///
    /// # Errors
    /// Says how a size is written.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        const HOW: &str = "a size is digits, and K, M or G for 1024, 1024² or 1024³ bytes: `64K`";
        bytes(text).filter(|bytes| *bytes > 0).map(Self).ok_or(HOW)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match bytes(&text) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(refuse(
                "size::unreadable",
                "this is not a number of bytes",
                "a size is digits, and K, M or G for 1024, 1024² or 1024³ bytes",
                "write `64M`",
            )),
        }
    }
}

/// Digits, and K, M or G for 1024, 1024² or 1024³.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    number?.checked_mul(1 << shift)
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^0*[1-9][0-9]*[KMG]?$",
            "minimum": 1,
            "description": "A number of bytes: `65536`, `64K`, `64M`, `2G`.",
        })
    }
}

/// A word of a command, or the value of a variable: anything without a NUL,
/// which is where the kernel would cut it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains('\0') {
            return Err(refuse(
                "word::nul",
                "this text has a NUL byte",
                "the kernel would cut it off there",
                "take the `\\0` out",
            ));
        }
        Ok(Self(text))
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}
