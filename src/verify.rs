//! A sandbox as it is, beside what its plan says: looked at from outside, just
//! before its command runs, line by line and always in the same order.
//!
//! The child reads back what each step did, as numbers (`Operation::read_back`).
//! Here the whole is looked at once more, through `/proc/PID/` of the child that
//! waits: what two steps made of each other shows only now.

use std::{fs, io, path::PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{diagnostic::Diagnostic, ops::Op, plan::Plan, yaml};

mod mounts;
mod rights;
mod surroundings;
mod words;

/// One thing that was asked for, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What it is about
    pub what: String,
    /// What the recipe comes to
    pub asked: String,
    /// What was found
    pub is: String,
    /// Whether they agree
    pub holds: bool,
    /// The place in the recipe it comes from
    #[serde(skip)]
    origin: yaml::Path,
    /// Which kind of difference it would be
    #[serde(skip)]
    kind: Kind,
}

/// Why a claim does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    /// It is otherwise
    #[default]
    Differs,
    /// Another mount hides it
    Covered,
}

impl Claim {
    /// What is asked for and what is found, both in words.
    fn new(what: impl Into<String>, asked: impl Into<String>, is: impl Into<String>) -> Self {
        let (asked, is) = (asked.into(), is.into());
        let holds = asked == is;
        let origin = yaml::Path::root();
        Self { what: what.into(), asked, is, holds, origin, kind: Kind::Differs }
    }

    /// The same, asked for by the last step of this kind.
    fn asked_by(self, plan: &Plan, is_it: impl Fn(&Op) -> bool) -> Self {
        let step = plan.steps.iter().rev().find(|step| is_it(&step.op));
        Self { origin: step.map_or(self.origin, |step| step.origin.clone()), ..self }
    }
}

/// What was asked and what is, of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attestation {
    /// The SHA-256 of the recipe's bytes
    pub recipe: String,
    /// The kernel it ran on
    pub kernel: String,
    /// Line by line
    pub claims: Vec<Claim>,
}

impl Attestation {
    /// Looks at a process that waits to become the command of this plan.
    ///
    /// # Errors
    /// It cannot be looked at: then nothing is known, which is no yes.
    pub fn of(plan: &Plan, recipe: &[u8], child: i32) -> Result<Self, Box<Diagnostic>> {
        let child = Process(child);
        let looked = || -> io::Result<Vec<Claim>> {
            let mut claims = surroundings::namespaces(plan, child)?;
            claims.extend(rights::of(plan, child)?);
            claims.extend(surroundings::names(plan, child)?);
            claims.extend(mounts::of(plan, child)?);
            claims.extend(surroundings::of(plan, child)?);
            Ok(claims)
        };
        let claims = looked().map_err(|error| Box::new(words::unseen(&error)))?;
        let release = crate::sys::uts::kernel_release().unwrap_or([0; 65]);
        let end = release.iter().position(|&byte| byte == 0).unwrap_or(release.len());
        let release = String::from_utf8_lossy(release.get(..end).unwrap_or_default());
        Ok(Self { recipe: digest(recipe), kernel: format!("Linux {release}"), claims })
    }

    /// What is not as it was asked for.
    pub fn differences(&self) -> Vec<Diagnostic> {
        self.claims.iter().filter(|claim| !claim.holds).map(words::difference).collect()
    }
}

fn digest(recipe: &[u8]) -> String {
    let bytes = Sha256::digest(recipe);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A process, by its number as the host counts.
#[derive(Clone, Copy)]
struct Process(i32);

/// Who looks.
const SELF: Process = Process(0);

impl Process {
    fn path(self, file: &str) -> PathBuf {
        match self.0 {
            0 => format!("/proc/self/{file}").into(),
            pid => format!("/proc/{pid}/{file}").into(),
        }
    }

    fn read(self, file: &str) -> io::Result<String> {
        fs::read(self.path(file)).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// A line of `/proc/PID/status`, with single spaces.
    fn status(self, name: &str) -> io::Result<String> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let line = line.ok_or(io::ErrorKind::Unsupported)?;
        Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// A list in words.
fn listed(all: &[String]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
