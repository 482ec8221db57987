//! An answer given in the kernel's place, to see what isorecipe makes of it.

use std::str::FromStr;

use crate::{
    ops::Stage,
    sys::{Errno, Fault},
};

use super::{Plan, Step};

/// The step whose call never reaches the kernel, and what it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Which step, counted from 0
    pub step: usize,
    /// The answer
    pub answer: Injected,
}

/// What is answered in the kernel's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// This errno
    Refusal(Errno),
    /// Yes, though nothing was done
    Lie,
}

/// Linux has no errno above this one (`ERESTARTSYS` and above never reach a program).
const LAST_ERRNO: i32 = 511;

impl FromStr for Injection {
    type Err = String;

    /// Reads `7:EPERM` or `7:lie`, with the step's number as `plan` prints it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (step, answer) = text.split_once(':').ok_or("write STEP:ERRNO, such as 7:EPERM")?;
        let number = step.parse().ok().filter(|_| step.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(step) = number.and_then(|step: usize| step.checked_sub(1)) else {
            return Err("STEP is the number of a step, from 1: `isorecipe plan` shows it".into());
        };
        let answer = match answer {
            "lie" => Injected::Lie,
            name => {
                let known = (1..=LAST_ERRNO).map(Errno::from_raw);
                let mut known = known.filter(|errno| *errno != Errno::UnknownErrno);
                let errno = known.find(|errno| format!("{errno:?}") == name);
                let unknown = "ERRNO is the name of an error, such as EPERM, or the word lie";
                Injected::Refusal(errno.ok_or(unknown)?)
            }
        };
        Ok(Self { step, answer })
    }
}

impl Plan {
    /// Takes a step: the kernel answers, or the injection in its place.
    ///
    /// # Errors
    /// As the step's operation.
    pub fn take(&self, index: usize, step: &Step, stage: &Stage) -> Result<(), Fault> {
        match self.injected_at(index) {
            None => step.op.operation().carry_out(stage),
            Some(Injected::Lie) => {
                let operation = step.op.operation();
                operation.note(stage).and_then(|()| operation.read_back(stage))
            }
            Some(Injected::Refusal(errno)) => Err(step.op.call().gave(errno)),
        }
    }

    /// What the `clone3` that makes the child is answered in the kernel's place.
    pub fn injected_at_birth(&self) -> Option<Errno> {
        let injection = self.injection?;
        let is_there = self.steps.get(injection.step).is_some_and(|step| step.at_birth);
        match injection.answer {
            Injected::Refusal(errno) if is_there => Some(errno),
            _ => None,
        }
    }

    /// The namespaces of the `clone3` that makes the child; the one that is
    /// only said to be made is none.
    pub fn flags_at_birth(&self) -> u64 {
        let lie = self.injection.filter(|injection| injection.answer == Injected::Lie);
        let lie = lie.and_then(|lie| self.steps.get(lie.step)?.op.namespace());
        let made = self.birth.iter().filter(|kind| Some(**kind) != lie);
        made.fold(0, |flags, kind| flags | kind.flag())
    }

    fn injected_at(&self, index: usize) -> Option<Injected> {
        self.injection.filter(|injection| injection.step == index).map(|found| found.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_and_an_errno_are_read() {
        let injected = |step, answer| Ok(Injection { step, answer });
        assert_eq!("7:EPERM".parse(), injected(6, Injected::Refusal(Errno::EPERM)));
        assert_eq!("1:EHWPOISON".parse(), injected(0, Injected::Refusal(Errno::EHWPOISON)));
        assert_eq!("12:lie".parse(), injected(11, Injected::Lie));
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        for wrong in ["", "7", "EPERM", "7:", "0:EPERM", "-1:EPERM", "+1:EPERM", ":EPERM"] {
            assert!(wrong.parse::<Injection>().is_err(), "{wrong}");
        }
        for wrong in ["7:EPERMX", "7:1", "7:eperm", "7:UnknownErrno", "7: EPERM", "7:LIE"] {
            let error = wrong.parse::<Injection>().expect_err(wrong);
            assert!(error.contains("such as EPERM"), "{error}");
        }
    }
}
