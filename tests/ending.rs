//! How a run ended: in one line for people, as an exit status for shells, and as facts in a file.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Who};
use serde_json::Value;

/// Without a PID namespace, with the command as PID 1, and with an init in front of it.
const RECIPES: [&str; 3] = ["step1.yaml", "step3.yaml", "init.yaml"];

fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.write(
        "init.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
    );
    desk.make_dir("reports");
    desk
}

/// What a run says, and what its report says.
fn run(desk: &Desk, recipe: &str, script: &str) -> (i32, String, Value) {
    let report = desk.path("reports/report.json").display().to_string();
    // Whoever runs the tests in the background may have them ignore the keyboard's signals.
    let command = ["env", "--default-signal", "bash", "-c", script];
    let ran = desk.run(&[&["apply", "--report", &report, recipe, "--"], &command[..]].concat());
    let facts = serde_json::from_str(&desk.read("reports/report.json")).expect("a report");
    (ran.code(), ran.err(), facts)
}

#[test]
fn a_command_that_ends_by_itself_is_told_by_its_status() {
    for who in Who::all() {
        let desk = desk(who);
        for recipe in RECIPES {
            let (status, said, facts) = run(&desk, recipe, "exit 3");
            assert_eq!(status, 3);
            assert!(!said.contains("isorecipe:"), "{said}");
            assert_eq!(
                (&facts["phase"], &facts["exit"]),
                (&"command".into(), &3.into()),
                "{facts}"
            );
            assert_eq!(facts["signal"], Value::Null);
            assert!(facts["duration"].as_f64().expect("seconds") > 0.0);
            assert!(facts["usage"]["max_rss"].as_i64().expect("KiB") > 500, "{facts}");
        }
    }
}

#[test]
fn a_command_that_a_signal_killed_is_told_in_a_line() {
    let desk = desk(Who::ordinary());
    // PID 1 can only be killed from outside, or by its own fault.
    for recipe in ["step1.yaml", "init.yaml"] {
        for (signal, name) in [(11, "SIGSEGV"), (9, "SIGKILL"), (15, "SIGTERM"), (40, "SIG40")] {
            let (status, said, facts) = run(&desk, recipe, &format!("kill -{signal} $$"));
            assert_eq!(status, 128 + signal);
            assert_eq!(said, format!("isorecipe: {name} (signal {signal}) killed the command\n"));
            assert_eq!((&facts["signal"], &facts["exit"]), (&signal.into(), &Value::Null));
        }
    }
}

/// A status above 128 is a signal's only if a signal there was.
#[test]
fn a_command_that_exits_as_if_killed_was_not() {
    let desk = desk(Who::ordinary());
    for recipe in RECIPES {
        let (status, said, facts) = run(&desk, recipe, "exit 139");
        assert_eq!((status, said.as_str()), (139, ""));
        assert_eq!((&facts["signal"], &facts["exit"]), (&Value::Null, &139.into()));
    }
}

#[test]
fn what_the_keyboard_or_a_closed_pipe_does_is_no_news() {
    let desk = desk(Who::ordinary());
    for signal in [2, 13] {
        let (status, said, facts) = run(&desk, "step1.yaml", &format!("kill -{signal} $$"));
        assert_eq!((status, said.as_str()), (128 + signal, ""));
        assert_eq!(facts["signal"], signal);
    }
}

#[test]
fn a_run_that_never_began_says_how_far_it_came() {
    let desk = desk(Who::ordinary());
    let (status, _, facts) = run(&desk, "step2-no-uts.yaml", "true");
    assert_eq!((status, &facts["phase"]), (125, &"plan".into()));
    assert_eq!(facts["problems"][0]["code"], "hostname::shared");
    let report = desk.path("reports/report.json").display().to_string();
    let words = ["apply", "--unchecked", "--report", &report, "step2-no-uts.yaml"];
    assert_eq!(desk.run(&words).code(), 125);
    let facts: Value = serde_json::from_str(&desk.read("reports/report.json")).expect("a report");
    assert_eq!((&facts["phase"], &facts["step"]), (&"steps".into(), &5.into()), "{facts}");
    assert_eq!(facts["problems"][0]["code"], "hostname::shared");
}

#[test]
fn a_report_that_cannot_be_written_is_known_before_anything_runs() {
    let desk = desk(Who::ordinary());
    let ran =
        desk.run(&["apply", "--report", "/proc/none/such", "step1.yaml", "--", "echo", "ran"]);
    assert_eq!((ran.code(), ran.out().as_str()), (125, ""));
    assert!(ran.err().contains("error[report::unwritable]"), "{}", ran.err());
    let full = desk.run(&["apply", "--report", "/dev/full", "step1.yaml", "--", "echo", "ran"]);
    assert_eq!((full.code(), full.out().as_str()), (0, "ran\n"), "{}", full.err());
    assert!(full.err().contains("warning[report::unwritable]"), "{}", full.err());
}

#[test]
fn a_report_goes_through_no_link_and_into_nobody_elses_file() {
    let desk = desk(Who::ordinary());
    desk.write("precious", "precious");
    let apply = |report: &str| {
        let report = desk.path(report).display().to_string();
        desk.command(&["apply", "--report", &report, "step0.yaml", "--", "echo", "ran"])
    };
    let check_refused = |mut command: std::process::Command| {
        let ran = machine::Ran(command.output().expect("isorecipe"));
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
        assert!(ran.err().contains("error[report::unwritable]"), "{}", ran.err());
        assert_eq!(desk.read("precious"), "precious");
    };
    std::os::unix::fs::symlink("precious", desk.path("link")).expect("a link");
    check_refused(apply("link"));
    std::fs::hard_link(desk.path("precious"), desk.path("twin")).expect("a name");
    check_refused(apply("twin"));
    if machine::own_uid() == 0 {
        std::fs::write(desk.path("of-root"), "root's").expect("a file");
        check_refused(desk.through_sudo(apply("of-root")));
        assert_eq!(desk.read("of-root"), "root's");
    }
}
