//! Whom an observer means: a sandbox by its name, or a process by its PID.

use crate::{
    diagnostic::Refusal,
    registry::{Process, Running, is_within},
};

use super::{processes, words};

/// Who is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A registered sandbox
    Sandbox(Box<Running>),
    /// A process that isorecipe does not know
    Process(Process),
}

impl Target {
    /// The process whose namespaces are looked at.
    pub fn pid(&self) -> i32 {
        match self {
            Target::Sandbox(running) => running.entry.command.pid,
            Target::Process(process) => process.pid,
        }
    }

    /// What was registered.
    pub fn registered(&self) -> Option<&Running> {
        match self {
            Target::Sandbox(running) => Some(running),
            Target::Process(_) => None,
        }
    }

    /// Whether there is nothing more of it to see.
    pub fn has_ended(&self) -> bool {
        match self {
            Target::Sandbox(running) => !running.entry.command.is_running(),
            Target::Process(process) => !process.is_running(),
        }
    }

    /// How people call it.
    pub fn name(&self) -> String {
        match self {
            Target::Sandbox(running) => running.entry.name.clone(),
            Target::Process(process) => format!("process {}", process.pid),
        }
    }
}

/// Finds whom a word means among the sandboxes that run: a name, or the PID of
/// a supervisor, of a command, of any process inside, or of any process at all.
///
/// # Errors
/// When nobody is called so, or more than one.
pub fn find(word: &str, running: &[Running]) -> Result<Target, Box<Refusal>> {
    let named: Vec<&Running> = running.iter().filter(|found| found.entry.name == word).collect();
    match (named.as_slice(), word.parse::<i32>()) {
        ([one], _) => Ok(Target::Sandbox(Box::new((*one).clone()))),
        ([], Ok(pid)) if pid > 0 => with_pid(pid, running),
        ([], _) => Err(words::unknown(word, running)),
        (several, _) => Err(words::ambiguous(word, several)),
    }
}

/// Finds somebody whom an earlier look has found, with what is registered now.
///
/// # Errors
/// When it has ended.
pub fn find_again(known: &Target, running: &[Running]) -> Result<Target, Box<Refusal>> {
    let Target::Sandbox(before) = known else { return Ok(known.clone()) };
    let same = running.iter().find(|now| now.entry.supervisor == before.entry.supervisor);
    let same = same.map(|now| Target::Sandbox(Box::new(now.clone())));
    same.ok_or_else(|| words::gone(known.pid()))
}

fn with_pid(pid: i32, running: &[Running]) -> Result<Target, Box<Refusal>> {
    let process = Process::with_pid(pid).filter(|process| process.is_running());
    let process = process.ok_or_else(|| words::gone(pid))?;
    let has = |found: &&Running| {
        is_within(pid, found.entry.supervisor.pid)
            || processes::live_together(pid, found.entry.command.pid)
    };
    // A sandbox in a sandbox is the inner one's.
    let innermost = running.iter().filter(has).max_by_key(|found| found.entry.supervisor.started);
    Ok(match innermost {
        Some(found) => Target::Sandbox(Box::new(found.clone())),
        None => Target::Process(process),
    })
}
