//! What is not as it was asked for, in words.

use std::io;

use crate::{
    diagnostic::{Diagnostic, Refusal},
    sys, yaml,
};

use super::{Claim, Kind};

/// The sandbox cannot be looked at.
pub(super) fn unseen(error: &io::Error) -> Diagnostic {
    Refusal::new("verify::unseen", "the sandbox cannot be looked at from outside")
        .why(sys::error_words(error))
        .help("it takes the host's /proc: `mount -t proc proc /proc`")
        .at(yaml::Path::root())
}

/// What was asked, and what is.
pub(super) fn difference(claim: &Claim) -> Diagnostic {
    let Claim { what, asked, is, .. } = claim;
    let refusal = match claim.kind {
        Kind::Differs => Refusal::new("verify::differs", format!("{what}: not what was asked for"))
            .why(format!("asked: {asked}; is: {is}"))
            .help("`isorecipe doctor` shows what this machine can do; without `--verify` it would run like this"),
        Kind::Covered => Refusal::new("verify::covered", format!("{what} cannot be reached"))
            .why("a later mount stands over it")
            .help("take one of the two out of the recipe, or put the lower one behind the other"),
    };
    refusal.at(claim.origin.clone())
}
