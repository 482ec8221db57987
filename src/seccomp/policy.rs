//! What is to be said to each call.

use std::collections::BTreeMap;

use crate::sys::Errno;

use super::{calls, condition::Condition};

/// What is said to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel takes it
    Allow,
    /// The kernel takes it, and its log says so
    Log,
    /// The call gives this errno, and nothing is done
    Errno(Errno),
    /// The process ends by SIGSYS
    Kill,
}

impl Action {
    /// Whether the kernel takes the call.
    pub fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// What is said where all of these hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// All of them; none always hold
    pub when: Vec<Condition>,
    /// What is said then
    pub then: Action,
}

/// The arguments of a call, where they are known.
pub type Arguments = [Option<u64>; 6];

/// What a policy says to a call of which not everything may be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This, whatever the rest
    Sure(Action),
    /// That depends on arguments that are not known
    Depends,
}

/// What is said to each call.
///
/// A call of another architecture ends the process. One of x32, which numbers
/// the same calls again, is answered with ENOSYS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    cases: BTreeMap<u32, Vec<Case>>,
    otherwise: Action,
    unknown: Action,
}

impl Policy {
    /// Says this to every call.
    pub fn of(otherwise: Action) -> Self {
        Self { cases: BTreeMap::new(), otherwise, unknown: otherwise }
    }

    /// Says this to what is a call to nobody here: a newer kernel's.
    pub fn unknown(self, unknown: Action) -> Self {
        Self { unknown, ..self }
    }

    /// Adds a case of a call: what was added before it is asked before it.
    pub fn add(&mut self, call: u32, case: Case) {
        self.cases.entry(call).or_default().push(case);
    }

    /// The cases of a call, in order, and what is said where none holds.
    pub(super) fn on(&self, call: u32) -> (&[Case], Action) {
        let cases = self.cases.get(&call).map_or(&[][..], Vec::as_slice);
        (cases, self.otherwise)
    }

    /// How many conditions its longest case has.
    pub(super) fn most_conditions(&self) -> usize {
        self.cases.values().flatten().map(|case| case.when.len()).max().unwrap_or(0)
    }

    pub(super) fn to_unknown(&self) -> Action {
        self.unknown
    }

    /// What is said to a call of this architecture, by its number.
    pub fn verdict(&self, call: u32, arguments: &Arguments) -> Verdict {
        if calls::name(call).is_none() && !self.cases.contains_key(&call) {
            return Verdict::Sure(self.unknown);
        }
        let (cases, otherwise) = self.on(call);
        let mut possible = None;
        for case in cases {
            match holds(&case.when, arguments) {
                Some(false) => {}
                Some(true) => return settle(possible, case.then),
                None if possible.is_some_and(|action| action != case.then) => {
                    return Verdict::Depends;
                }
                None => possible = Some(case.then),
            }
        }
        settle(possible, otherwise)
    }

    /// How many of the known calls are let through whatever their arguments,
    /// and how many are for some.
    pub fn count(&self) -> (usize, usize) {
        let verdicts = calls::known().map(|(_, number)| self.verdict(number, &[None; 6]));
        let verdicts: Vec<Verdict> = verdicts.collect();
        let always =
            |verdict: &&Verdict| matches!(verdict, Verdict::Sure(action) if action.lets_through());
        let some = verdicts.iter().filter(|verdict| **verdict == Verdict::Depends).count();
        (verdicts.iter().filter(always).count(), some)
    }
}

/// Whether all hold, if that is known.
fn holds(when: &[Condition], arguments: &Arguments) -> Option<bool> {
    let mut all = Some(true);
    for condition in when {
        let argument = arguments.get(usize::from(condition.argument)).copied().flatten();
        match argument.map(|argument| condition.holds(argument)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

/// A sure answer, unless another was possible before it.
fn settle(possible: Option<Action>, action: Action) -> Verdict {
    match possible {
        Some(other) if other != action => Verdict::Depends,
        _ => Verdict::Sure(action),
    }
}
