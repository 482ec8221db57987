//! What `apply` says when isorecipe itself cannot go on: no memory is left, it is
//! not who it should be, or a library of ours gave up. The command never begins with less.

use std::{panic, sync::OnceLock};

use crate::{
    diagnostic::{Refusal, render},
    sys::{
        last_words::{self, End, LastWords},
        process,
    },
    yaml,
};

use super::{COULD_NOT_START, Color, Output, speak};

/// Prepares for it. The words are found when they are needed: they are drawn,
/// and that takes longer than to start a sandbox.
pub(super) fn prepare(output: &Output) {
    let _ = MANNER.set(Manner { json: output.json, plain: output.plain, color: output.color });
    last_words::prepare(LastWords { words: last, status: i32::from(COULD_NOT_START) });
    let own = process::own_pid();
    // The standard library gives up where a folder cannot be closed.
    panic::set_hook(Box::new(move |bug| {
        // The end of a child is the supervisor's to explain.
        if process::own_pid() == own {
            speak::on_stderr(&words(broken(&bug.to_string())));
        }
        process::exit(i32::from(COULD_NOT_START));
    }));
}

/// How the caller wants to be talked to.
struct Manner {
    json: bool,
    plain: bool,
    color: Color,
}

static MANNER: OnceLock<Manner> = OnceLock::new();

fn last(end: End) -> String {
    words(match end {
        End::NoMemory => no_memory(),
        End::NotOneself => not_oneself(),
    })
}

fn words(refusal: Refusal) -> String {
    let (json, plain, color) =
        MANNER.get().map_or((false, true, Color::Never), |how| (how.json, how.plain, how.color));
    let output = Output { json, plain, color, ..Output::default() };
    render(&[refusal.at(yaml::Path::root())], &output.style())
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

fn broken(what: &str) -> Refusal {
    Refusal::new("sandbox::bug", "isorecipe came where its authors thought it could not come")
        .why(what.replace('\n', " "))
        .help("tell the project what was run, and this: `isorecipe --version`")
}
