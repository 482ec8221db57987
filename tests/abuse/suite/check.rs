//! What a check is, and what can come of it.

use std::{collections::BTreeMap, fmt};

use isorecipe::plan::open;

use super::outside::Seen;

/// What somebody inside tries. Whose business it is to stop it stands in the
/// table that `isorecipe plan` lists from.
pub struct Check {
    pub name: &'static str,
    pub how: How,
}

impl Check {
    /// The layer that holds it; [`ALWAYS`] for what every runner owes.
    pub fn layer(&self) -> &'static str {
        self.known().map_or("", |(layer, _)| layer)
    }

    pub fn tries(&self) -> &'static str {
        self.known().map_or("", |(_, check)| check.tries)
    }

    fn known(&self) -> Option<(&'static str, &'static open::Check)> {
        open::checks().find(|(_, check)| check.name == self.name)
    }
}

pub use open::ALWAYS;

/// Where it is tried.
#[derive(Clone, Copy)]
pub enum How {
    /// By the payload, in a process of its own
    Inside(fn(&Facts) -> Verdict),
    /// By the driver, while the payload waits
    Outside(fn(&Seen) -> Verdict),
    /// In a run of its own
    Alone(Scene),
}

/// A run that is about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    Terminal,
    ClosedStreams,
    IgnoredChild,
    Group,
    Statuses,
    Background,
    Zombies,
    Dies(i32),
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was stopped
    Held(String),
    /// It worked
    Broke(String),
    /// It could not be tried
    Cannot(String),
}

pub use Verdict::{Broke, Cannot, Held};

impl Verdict {
    pub fn broke_if(broke: bool, seen: impl fmt::Display) -> Self {
        if broke { Broke(seen.to_string()) } else { Held(seen.to_string()) }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Held(_) => "held",
            Broke(_) => "broke",
            Cannot(_) => "cannot",
        }
    }

    pub fn detail(&self) -> &str {
        match self {
            Held(text) | Broke(text) | Cannot(text) => text,
        }
    }

    /// As the payload says it.
    pub fn line(&self, name: &str) -> String {
        let detail: String =
            self.detail().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("\n@{name}\t{}\t{detail}\n", self.word())
    }

    pub fn parse(line: &str) -> Option<(&str, Self)> {
        let mut parts = line.strip_prefix('@')?.splitn(3, '\t');
        let (name, word, detail) = (parts.next()?, parts.next()?, parts.next()?.to_owned());
        let verdict = match word {
            "held" => Held(detail),
            "broke" => Broke(detail),
            "cannot" => Cannot(detail),
            _ => return None,
        };
        Some((name, verdict))
    }
}

/// What the payload is told about the host it is to reach.
#[derive(Clone, Debug, Default)]
pub struct Facts(pub BTreeMap<String, String>);

impl Facts {
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or(-1)
    }

    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    pub fn read(words: impl Iterator<Item = String>) -> Self {
        let pairs = words.filter_map(|word| {
            word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        Self(pairs.collect())
    }
}
