//! `apply --inject`: a step that is answered in the kernel's place is a step that failed, and nothing else.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Ran, Who};
use serde_json::Value;

fn apply(desk: &Desk, options: &[&str]) -> Ran {
    let command = ["step3.yaml", "--", "true"];
    desk.run(&[&["--json", "apply"], options, &command].concat())
}

/// The one error that was said.
fn error(ran: &Ran) -> Value {
    let said = ran.err();
    let records = said.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let errors: Vec<Value> =
        records.filter(|record: &Value| record["severity"] == "error").collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors.into_iter().next().unwrap_or_default()
}

/// The steps of the plan, as `plan` counts them.
fn steps(desk: &Desk) -> usize {
    let plan: Value =
        serde_json::from_str(&desk.run(&["--json", "plan", "step3.yaml"]).out()).expect("JSON");
    plan["steps"].as_array().map_or(0, Vec::len)
}

#[test]
fn every_step_can_fail_with_every_common_errno() {
    for who in Who::all() {
        let desk = Desk::of(who);
        for step in 1..=steps(&desk) {
            for errno in ["EPERM", "ENOMEM", "EINVAL", "EAGAIN", "ENOSYS"] {
                let ran = apply(&desk, &["--inject", &format!("{step}:{errno}")]);
                assert!(matches!(ran.code(), 125..=126), "{step}:{errno}: {}", ran.code());
                let error = error(&ran);
                assert_eq!((&error["step"], &error["errno_name"]), (&step.into(), &errno.into()));
                assert!(error["call"].is_string(), "{error}");
            }
        }
    }
}

#[test]
fn a_step_that_is_not_there_or_an_errno_that_is_not_is_wrong_usage() {
    let desk = Desk::of(Who::ordinary());
    for wrong in ["99:EPERM", "0:EPERM", "EPERM", "3:EPERMISSION", "3:", "3:1", ":lie"] {
        let ran = apply(&desk, &["--inject", wrong]);
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{wrong}");
        assert!(ran.err().contains("--inject"), "{wrong}: {}", ran.err());
    }
}

#[test]
fn nobody_is_shown_the_option() {
    let desk = Desk::of(Who::ordinary());
    let pages: [&[&str]; 4] = [
        &["apply", "--help"],
        &["man", "apply"],
        &["completions", "bash"],
        &["completions", "zsh"],
    ];
    for page in pages {
        let shown = desk.run(page).succeeds().out();
        assert!(shown.contains("unchecked"), "{page:?}");
        assert!(!shown.contains("inject"), "{page:?}");
    }
}
