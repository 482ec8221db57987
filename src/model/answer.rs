//! What the kernel would say, and why not yes.

use crate::sys::{Call, Errno, Fault};

/// What the kernel would say to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It works
    Yes,
    /// It fails, so
    No(Fault),
    /// A fact is not known
    KernelDecides,
}

/// Why a question was not answered with yes, before it is known who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The kernel says no
    No(Errno),
    /// A fact is not known
    Unknown,
}

impl Objection {
    /// The objection as the answer to this call.
    pub fn to(self, call: Call) -> Answer {
        match self {
            Self::No(errno) => Answer::No(call.gave(errno)),
            Self::Unknown => Answer::KernelDecides,
        }
    }
}
