//! Faults on the way: whatever call fails, lies, or is the last one, the command starts with all of its isolation or not
//! at all, one diagnostic says why, nothing is left, and nobody waits for ever.
//!
//! It is its own harness: who traces has one thread, and two processes share the work. `FAULTS=all` strikes every call
//! with every error that its man page lists; without it a fixed share of them. `FAULTS=step3` runs what has that in its name.
#![allow(unsafe_code)]

#[path = "../support/lowers.rs"]
mod lowers;
#[path = "../support/machine.rs"]
mod machine;

mod calls;
mod judge;
mod scene;
mod table;
mod tracer;
mod view;
mod work;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--worker") => work::work(),
        _ => table::report(),
    }
}
