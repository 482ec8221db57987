//! `kill -9` of isorecipe at any moment of a start: nothing is left of the
//! sandbox, no process and no mount.
//!
//! `STORM=2000 cargo test --test storm` kills as many, of each user's.

#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use machine::{Desk, Who, eventually, processes_with};

/// How many are killed if nobody says.
const FEW: u32 = 80;
/// About as long as a start takes; the kills are spread over it.
const START: Duration = Duration::from_millis(60);

fn how_many() -> u32 {
    std::env::var("STORM").ok().and_then(|number| number.parse().ok()).unwrap_or(FEW)
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").expect("the mounts").lines().count()
}

/// Starts one whose command would stay for ever; the length of its stay tells whose it is.
fn start(desk: &Desk) -> Child {
    let words = ["apply", "shell.yaml", "--", "sleep", &stay(desk)];
    desk.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
}

/// Seconds that no other test sleeps. The words stand on isorecipe's own line as
/// well, so they find all processes of it.
fn stay(desk: &Desk) -> String {
    format!("{}{:06}", 9_000 + std::process::id() % 1_000, desk.who.uid())
}

fn left(desk: &Desk) -> Vec<i32> {
    processes_with(&format!("sleep\0{}", stay(desk)))
}

#[test]
fn a_kill_during_the_start_leaves_nothing() {
    let before = mounts();
    for who in Who::all() {
        let desk = Desk::of(who);
        let many = how_many();
        for number in 0..many {
            let mut child = start(&desk);
            std::thread::sleep(START * number / many);
            child.kill().expect("a kill");
            child.wait().expect("an end");
        }
        eventually("everything of the sandboxes is gone", || left(&desk).is_empty());
    }
    assert_eq!(mounts(), before);
}

/// The same count, where it has to be more than none.
#[test]
fn what_is_not_killed_is_counted() {
    let desk = Desk::of(Who::ordinary());
    let mut child = start(&desk);
    // isorecipe, its init, and the command.
    eventually("a sandbox runs", || left(&desk).len() > 2);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    eventually("it is gone", || left(&desk).is_empty());
}
