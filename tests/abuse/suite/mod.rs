//! The abuse suite: what hostile code tries, inside and outside of a sandbox
//! that any runner made.
//!
//! `checks()` is the table. The payload, the weak runners and the driver are one
//! program: it executes itself, by a word in front of its arguments.

#![allow(dead_code)]

use std::collections::BTreeMap;

pub mod around;
pub mod check;
pub mod driver;
pub mod ground;
pub mod outside;
pub mod payload;
pub mod peers;
pub mod table;
pub mod weak;

use check::{Check, Facts, Verdict};

/// Every check, by where it is tried.
pub fn checks() -> [&'static [Check]; 8] {
    [
        payload::inherited::CHECKS,
        payload::runner::CHECKS,
        payload::files::CHECKS,
        payload::mounts::CHECKS,
        payload::knobs::CHECKS,
        payload::calls::CHECKS,
        payload::network::CHECKS,
        outside::CHECKS,
    ]
}

/// Plays the payload or a weak runner, if the program was called for that.
pub fn play() -> Option<i32> {
    let mut words = std::env::args().skip(1);
    match words.next()?.as_str() {
        "payload" => {
            let part = words.next()?;
            let facts = Facts::read(words);
            if part == "attack" {
                payload::attack(&checks(), facts);
                return Some(0);
            }
            Some(payload::scenes::play(&part, &facts))
        }
        "weak" => {
            let name = words.next()?;
            Some(weak::run(&name, &words.collect::<Vec<_>>()))
        }
        "runc" => {
            let shown = words.next()?;
            Some(peers::run_runc(&shown, &words.collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// What a check came to for a runner, seen with what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Pass,
    Fail,
    Open,
    Error,
}

impl Mark {
    pub fn of(check: &Check, verdict: &Verdict, claims: &dyn Fn(&str) -> bool) -> Self {
        match verdict {
            Verdict::Held(_) => Self::Pass,
            Verdict::Cannot(_) => Self::Error,
            Verdict::Broke(_) if check.layer() == check::ALWAYS || claims(check.layer()) => {
                Self::Fail
            }
            Verdict::Broke(_) => Self::Open,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Open => "OPEN",
            Self::Error => "ERROR",
        }
    }
}

/// A runner's marks, by the names of the checks.
pub type Marks = BTreeMap<&'static str, (Mark, String)>;

pub fn marks(found: &BTreeMap<&'static str, Verdict>, claims: &dyn Fn(&str) -> bool) -> Marks {
    let all = checks().into_iter().flatten();
    all.map(|check| {
        let missing = Verdict::Cannot("nobody tried it".to_owned());
        let verdict = found.get(check.name).unwrap_or(&missing);
        (check.name, (Mark::of(check, verdict, claims), verdict.detail().to_owned()))
    })
    .collect()
}
