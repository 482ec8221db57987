//! System calls by name, and filters of them: said, asked, and compiled to the
//! kernel's own small machine (`seccomp(2)`, `bpf(4)`).
//!
//! Nothing here makes a call: a [`Policy`] can be asked what it says to one,
//! and [`compile`] gives the instructions that say the same.
//!
//! **Invariant:** policy and instructions agree on every call, and no other
//! architecture and no second numbering of calls is a way around
//! (held by `tests/seccomp_compile.rs`).

mod calls;
mod compile;
mod condition;
mod policy;
mod profile;
mod words;

pub use calls::{Found, find, known, name, nearest};
pub use compile::{LONGEST, MOST_CONDITIONS, TooLong, compile};
pub use condition::{Comparison, Condition, Width};
pub use policy::{Action, Arguments, Case, Policy, Verdict};
pub use profile::Profile;
pub use words::{Mistake, condition};
