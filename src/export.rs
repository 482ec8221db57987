//! A recipe in another tool's words: what `isorecipe export` prints.
//!
//! The plan is said, not the layers: order, namespaces that nobody wrote down
//! and defaults are in it already. Every operation is named here by a `match`
//! without a rest, so one that an exporter cannot say does not compile.

use crate::diagnostic::Diagnostic;

mod sh;

pub use sh::to_sh;

/// What came of an export.
pub struct Export {
    /// The result, byte for byte
    pub text: Vec<u8>,
    /// What is not quite the same
    pub warnings: Vec<Diagnostic>,
}
