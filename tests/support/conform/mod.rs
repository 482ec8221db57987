//! Model against kernel: random recipes are planned, run, and the two compared
//! step by step and errno by errno.
//!
//! `tests/conformance.rs` runs a bounded number of cases, `examples/conform.rs`
//! any number. A case runs where a wrong model can hurt nobody (`ground`), in
//! a process of its own (`trial`); one about which model and kernel disagree
//! is made as small as it goes (`shrink`) and kept for ever (`found`).
//! Nothing here runs on test threads: the kernel gives a user namespace only
//! to a process with one thread.
#![allow(dead_code, missing_docs)]

pub mod case;
pub mod dice;
pub mod end;
pub mod found;
pub mod generate;
pub mod ground;
pub mod scratch;
pub mod shrink;
pub mod tally;
pub mod trial;
pub mod workers;

/// A user that no machine has.
pub const STRANGER: u32 = 54_321;

/// Who runs the cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    /// Whoever started this program, where that is an ordinary user
    Caller,
    /// Root of the machine
    Root,
    /// A user that root becomes
    User(u32),
}

impl Who {
    /// Everybody a case can be run as: as root, root and a stranger; otherwise oneself.
    pub fn all() -> Vec<Who> {
        match nix::unistd::geteuid().is_root() {
            true => vec![Who::Root, Who::User(STRANGER)],
            false => vec![Who::Caller],
        }
    }

    /// The user id.
    pub fn uid(self) -> u32 {
        match self {
            Who::Caller => nix::unistd::geteuid().as_raw(),
            Who::Root => 0,
            Who::User(uid) => uid,
        }
    }

    /// Whether root prepares the ground for it.
    pub fn has_ground(self) -> bool {
        self != Who::Caller
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Root => f.write_str("root"),
            Who::Caller | Who::User(_) => write!(f, "user {}", self.uid()),
        }
    }
}
