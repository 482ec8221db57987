//! What `apply` says when isorecipe itself cannot go on: no memory is left, or it
//! is not who it should be. The command never begins with less.

use crate::{
    diagnostic::{Refusal, render},
    sys::last_words::{self, LastWords},
    yaml,
};

use super::{COULD_NOT_START, Output};

/// Prepares the words, since nobody can find any later.
pub(super) fn prepare(output: &Output) {
    let style = output.style();
    let words = |refusal: Refusal| render(&[refusal.at(yaml::Path::root())], &style);
    last_words::prepare(LastWords {
        no_memory: words(no_memory()),
        not_oneself: words(not_oneself()),
        status: i32::from(COULD_NOT_START),
    });
}

fn no_memory() -> Refusal {
    Refusal::new("host::out_of_memory", "there is no memory left for isorecipe")
        .why("the kernel gives no more: a limit of the caller, or of its control group, is reached")
        .help("see `ulimit -v`, and the `memory.max` of the control group")
}

fn not_oneself() -> Refusal {
    Refusal::new("host::ids_refused", "isorecipe could not take its own ids back")
        .why("it acted for a user, and the kernel refused to let it be root again")
        .help("`isorecipe doctor` finds out who denies it")
}
