//! What `apply` says when isorecipe itself cannot go on: no memory is left, or it
//! has a bug. The command never begins with less, and nobody is left to guess.

use std::panic;

use crate::{
    diagnostic::{Refusal, render},
    sys::{memory, process},
    yaml,
};

use super::{COULD_NOT_START, Output, speak};

/// Prepares the words, since nobody can find any later.
pub(super) fn prepare(output: &Output) {
    let style = output.style();
    let words = move |refusal: Refusal| render(&[refusal.at(yaml::Path::root())], &style);
    let exhausted = words(no_memory());
    memory::when_exhausted(exhausted.into_bytes(), i32::from(COULD_NOT_START));
    let own = process::own_pid();
    panic::set_hook(Box::new(move |bug| {
        // The child's end is the supervisor's to explain.
        if process::own_pid() == own {
            speak::on_stderr(&words(broken(&bug.to_string())));
        }
        process::exit(i32::from(COULD_NOT_START));
    }));
}

fn no_memory() -> Refusal {
    Refusal::new("host::out_of_memory", "there is no memory left for isorecipe")
        .why("the kernel gives no more: a limit of the caller, or of its control group, is reached")
        .help("see `ulimit -v`, and the `memory.max` of the control group")
}

fn broken(what: &str) -> Refusal {
    Refusal::new("sandbox::bug", "isorecipe has a bug, and stopped")
        .why(what.replace('\n', " "))
        .help("tell the project what was run: `isorecipe --version`")
}
