//! What everybody is given to do.

use std::fmt;

/// One kind of sandbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A user namespace, with root mapped
    Step1,
    /// And a hostname of its own
    Step2,
    /// And process ids of its own, with a fresh `/proc`
    Step3,
    /// And a root of its own, on an overlay
    Step4,
    /// Eight namespaces, a root put together of 12 trees, `/dev`, no rights, a filter
    Full,
    /// The same, with so many more trees
    Binds(usize),
    /// Step 3, on a machine with so many more mounts
    Mounts(usize),
}

impl Work {
    /// What the floor and its recipe are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step1 => "step1",
            Self::Step2 => "step2",
            Self::Step3 | Self::Mounts(_) => "step3",
            Self::Step4 => "step4",
            Self::Full | Self::Binds(_) => "full",
        }
    }

    /// How many more trees there are to bind.
    pub fn binds(self) -> usize {
        if let Self::Binds(count) = self { count } else { 0 }
    }

    /// Whether the command finds another root than the caller.
    pub fn has_own_root(self) -> bool {
        matches!(self.name(), "step4" | "full")
    }
}

impl fmt::Display for Work {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Binds(count) => write!(to, "full, {count} binds"),
            Self::Mounts(count) => write!(to, "step3, {count} host mounts"),
            work => to.write_str(work.name()),
        }
    }
}
