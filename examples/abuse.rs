//! Attacks what a command isolates: `abuse [--as-user UID] [--claims LAYER,…] RUNNER… --`.
//!
//! `{shown}` in the runner's words is the folder that has to be seen inside, for reading.
#![allow(unsafe_code, missing_docs)]

#[path = "../tests/abuse/suite/mod.rs"]
mod suite;

use std::process::ExitCode;

use suite::{
    driver::{self, Runner},
    ground,
};

fn main() -> ExitCode {
    if let Some(status) = suite::play() {
        return ExitCode::from(status as u8);
    }
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let caller = match words.first().map(String::as_str) {
        Some("--as-user") if words.len() > 2 => {
            let uid = words.remove(1).parse().unwrap_or(54_321);
            words.remove(0);
            ground::Caller { uid, gid: uid }
        }
        _ => ground::Caller::own(),
    };
    let claims = match words.first().map(String::as_str) {
        Some("--claims") if words.len() > 2 => {
            let list = words.remove(1);
            words.remove(0);
            Some(list)
        }
        _ => None,
    };
    words.pop_if(|last| last == "--");
    if words.is_empty() {
        eprintln!("abuse [--as-user UID] [--claims LAYER,…] RUNNER… --");
        return ExitCode::from(2);
    }
    ground::enter();
    let ground = ground::Ground::new(caller);
    let shown = ground.shown().display().to_string();
    let prefix: Vec<String> = words.iter().map(|word| word.replace("{shown}", &shown)).collect();
    let found =
        Runner { ground: &ground, prefix: &prefix, grace: driver::GRACE }.measure(&suite::checks());
    let claimed =
        |layer: &str| claims.as_ref().is_none_or(|list| list.split(',').any(|one| one == layer));
    let marks = suite::marks(&found, &claimed);
    print!("{}", suite::table::print(&marks));
    let failed =
        marks.values().any(|(mark, _)| matches!(mark, suite::Mark::Fail | suite::Mark::Error));
    ExitCode::from(u8::from(failed))
}
