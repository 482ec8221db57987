//! What ends a command that takes too much: which limit, in a line and in the report, and nothing left.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Ran, Who, eventually, processes_with};
use serde_json::Value;

/// Without a PID namespace, with the command as PID 1, and with an init in front of it.
const RECIPES: [&str; 3] = ["step1.yaml", "step3.yaml", "init.yaml"];

fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.write(
        "init.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
    );
    desk
}

/// What became of a run, and its report.
fn run(desk: &Desk, options: &[&str], recipe: &str, script: &str) -> (Ran, Value) {
    let report = ["--report", "report.json", recipe, "--", "bash", "-c", script];
    let ran = desk.run(&[&["apply"], options, &report[..]].concat());
    let facts = serde_json::from_str(&desk.read("report.json")).expect("a report");
    (ran, facts)
}

#[test]
fn a_command_whose_time_is_up_is_ended_and_the_limit_is_named() {
    for who in Who::all() {
        let desk = desk(who);
        for recipe in RECIPES {
            // The second does not end when it is asked to.
            for script in ["exec sleep 1001", "trap '' TERM; sleep 1001; sleep 1001"] {
                let (ran, facts) = run(&desk, &["--timeout", "50ms"], recipe, script);
                assert_eq!(ran.code(), 124, "{recipe}: {}", ran.err());
                let said = "isorecipe: the command was ended at its limit: time 50ms\n";
                assert!(ran.err().ends_with(said), "{}", ran.err());
                assert_eq!((&facts["limit"], &facts["status"]), (&"time".into(), &124.into()));
                assert!(facts["signal"].is_i64(), "{facts}");
            }
        }
    }
    eventually("nothing is left", || processes_with("sleep\x001001").is_empty());
}

#[test]
fn a_command_that_cleans_up_when_its_time_is_up_is_told_by_the_limit_too() {
    let desk = desk(Who::ordinary());
    let script = "trap 'echo cleaned; exit 7' TERM; sleep 1002 & wait";
    let (ran, facts) = run(&desk, &["--timeout", "2s"], "init.yaml", script);
    assert_eq!((ran.code(), ran.out().as_str()), (124, "cleaned\n"), "{}", ran.err());
    assert_eq!((&facts["exit"], &facts["signal"]), (&7.into(), &Value::Null));
}

#[test]
fn a_command_that_is_done_in_time_is_told_by_its_status() {
    let desk = desk(Who::ordinary());
    for recipe in RECIPES {
        let (ran, facts) = run(&desk, &["--timeout", "1h"], recipe, "exit 3");
        assert_eq!((ran.code(), ran.err().as_str()), (3, ""));
        assert_eq!(facts["limit"], Value::Null);
    }
}

#[test]
fn a_time_that_is_none_is_wrong_usage() {
    let desk = desk(Who::ordinary());
    for time in ["10", "0s", "-1s", "soon"] {
        let ran = desk.run(&["apply", "--timeout", time, "step1.yaml", "--", "echo", "ran"]);
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
    }
}
