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
            // The second does not end when it is asked to; of the third, only the command does.
            let deaf = "trap '' TERM; sleep 1001; sleep 1001";
            let half = "(trap '' TERM; exec sleep 1001) > /dev/null 2>&1 & exec sleep 1001";
            for script in ["exec sleep 1001", deaf, half] {
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
fn a_command_that_stops_itself_stops_no_clock() {
    let desk = desk(Who::ordinary());
    for recipe in RECIPES {
        let inside = r"kill -STOP \$\$; exec sleep 1003";
        let apply = format!("./isorecipe apply --timeout 100ms {recipe} -- bash -c \"{inside}\"");
        let job = format!("set -m; {apply} & wait $!; echo $?");
        let ran = desk.shell(&["-c", "exec setsid --wait bash -c \"$0\"", &job]).output();
        assert_eq!(Ran(ran.expect("a shell")).out(), "124\n", "{recipe}");
    }
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

#[test]
fn what_is_printed_too_much_is_cut_off_and_ends_the_command() {
    for who in Who::all() {
        let desk = desk(who);
        // Root's own id is not for a sandbox, and a stranger has no others.
        let map = if who == Who::Root { "auto" } else { "root" };
        for around in ["", "pid: {proc: true}, "] {
            let layers = format!("[user: {{map: {map}}}, {around}limits: {{output: 100K}}]");
            desk.write("box.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
            // The last ends by itself, and has printed too much all the same.
            for script in [
                "exec yes",
                "exec yes >&2",
                "yes & yes >&2; sleep 1006",
                "head -c 102401 /dev/zero",
            ] {
                let (ran, facts) = run(&desk, &[], "box.yaml", script);
                let said = "isorecipe: the command was ended at its limit: output 100K\n";
                assert_eq!(ran.code(), 137, "{script}: {}", ran.err());
                let passed = ran.0.stdout.len() + ran.0.stderr.len() - said.len();
                assert_eq!(passed, 102_400, "{script}");
                assert!(ran.err().ends_with(said), "{script}");
                assert_eq!(facts["limit"], "output");
            }
        }
    }
    eventually("nothing is left", || processes_with("sleep\x001006").is_empty());
}

#[test]
fn what_is_printed_within_the_limit_arrives_whole_and_in_order() {
    let desk = desk(Who::ordinary());
    desk.write("box.yaml", "isorecipe: 1\nlayers: [user: {map: root}, limits: {output: 100K}]\n");
    let ran = desk.run(&["apply", "box.yaml", "--", "head", "-c", "102400", "/dev/zero"]);
    assert_eq!((ran.code(), ran.0.stdout.len(), ran.err()), (0, 102_400, String::new()));
    let script =
        "exec ./isorecipe apply box.yaml -- sh -c 'echo a; echo b >&2; echo c; exit 4' 2>&1";
    let ran = Ran(desk.shell(&["-c", script]).output().expect("sh"));
    assert_eq!((ran.code(), ran.out().as_str()), (4, "a\nb\nc\n"));
    // Whoever reads no more ends who writes.
    let script = "{ ./isorecipe apply box.yaml -- yes; echo $? >&2; } | head -n 1";
    let ran = Ran(desk.shell(&["-c", script]).output().expect("sh"));
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("y\n", "141\n"));
}

#[test]
fn without_a_limit_of_output_the_streams_are_the_callers() {
    let desk = desk(Who::ordinary());
    desk.write("own.yaml", "isorecipe: 1\nlayers: [user: {map: root}, limits: {time: 1h}]\n");
    desk.write("pipe.yaml", "isorecipe: 1\nlayers: [user: {map: root}, limits: {output: 1K}]\n");
    for (recipe, is_same) in [("own.yaml", true), ("pipe.yaml", false)] {
        let script = format!(
            "readlink /proc/self/fd/1; exec ./isorecipe apply {recipe} -- readlink /proc/self/fd/1"
        );
        let ran = Ran(desk.shell(&["-c", &script]).output().expect("sh"));
        let out = ran.out();
        let links: Vec<_> = out.lines().collect();
        assert_eq!(links[0] == links[1], is_same, "{out}");
    }
}

/// The kernel's own counters, and what is left of them.
mod groups {
    use super::*;

    /// Folders of groups that isorecipe has made and not removed, in the name of this process.
    fn left(supervisor: i32) -> Vec<String> {
        let name = format!("isorecipe-{supervisor}.*");
        let found = std::process::Command::new("find")
            .args(["/sys/fs/cgroup", "-type", "d", "-name", &name])
            .output()
            .expect("find");
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
    }

    /// Whether a group can be made here; a machine without is tested for what it is told instead.
    fn can_make(desk: &Desk) -> bool {
        desk.write(
            "probe.yaml",
            "isorecipe: 1\nlayers: [limits: {memory: 64M, pids: 64, cpu: 2}]\n",
        );
        let planned = desk.run(&["plan", "probe.yaml"]);
        let is_told = planned.err().contains("error[limits::no_group]");
        assert_eq!(planned.code() != 0, is_told, "{}", planned.err());
        !is_told
    }

    fn recipe(desk: &Desk, layers: &str, limits: &str) {
        let layers = format!("[user: {{map: auto}}, {layers}limits: {{{limits}}}]");
        desk.write("box.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
    }

    /// With an init in front, and without a PID namespace.
    const SURROUNDINGS: [&str; 2] = ["pid: {proc: true}, ", ""];

    #[test]
    fn an_ordinary_user_gets_limits_of_each_process_only_if_that_will_do() {
        let desk = desk(Who::ordinary());
        if can_make(&desk) {
            return;
        }
        desk.write("box.yaml", "isorecipe: 1\nlayers: [limits: {memory: 1G, pids: 99}]\n");
        let ran = desk.run(&["apply", "box.yaml", "--", "echo", "ran"]);
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
        assert!(ran.err().contains("error[limits::no_group]"), "{}", ran.err());
        for (need, is_said) in [("prefer", true), ("optional", false)] {
            let limits = format!("limits: {{memory: 1G, pids: 99, need: {need}}}");
            desk.write(
                "box.yaml",
                &format!("isorecipe: 1\nlayers: [user: {{map: root}}, {limits}]\n"),
            );
            let ran = desk.run(&["apply", "box.yaml", "--", "bash", "-c", "ulimit -v; ulimit -u"]);
            assert_eq!(ran.out(), "1048576\n99\n", "{}", ran.err());
            assert_eq!(ran.err().contains("warning[limits::no_group]"), is_said, "{}", ran.err());
            let planned = desk.run(&["plan", "--plain", "box.yaml"]);
            assert!(planned.err().contains("limits::no_group"), "{}", planned.err());
            assert!(planned.out().contains("Its limit: as: 1G"), "{}", planned.out());
        }
    }

    #[test]
    fn memory_that_runs_out_is_named_and_nothing_is_left() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        for around in SURROUNDINGS {
            recipe(&desk, around, "memory: 64M, time: 60s");
            let (ran, facts) = run(&desk, &[], "box.yaml", "tail /dev/zero; exit $?");
            assert_eq!(ran.code(), 137, "{}", ran.err());
            let said = "isorecipe: the command was ended at its limit: memory 64M\n";
            assert!(ran.err().ends_with(said), "{}", ran.err());
            assert_eq!(facts["limit"], "memory");
            // A shell that goes on has not been ended.
            let (ran, facts) = run(&desk, &[], "box.yaml", "tail /dev/zero; exit 3");
            if ran.code() == 3 {
                assert!(
                    ran.err().contains("the sandbox met its limit: memory 64M"),
                    "{}",
                    ran.err()
                );
            }
            assert_eq!(facts["limit"], "memory");
        }
    }

    #[test]
    fn processes_beyond_the_limit_are_refused_and_it_is_named() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        for around in SURROUNDINGS {
            recipe(&desk, around, "pids: 8, time: 20s");
            let many = "import os, time\nmade = 0\ntry:\n  while made < 99:\n    if os.fork() == 0: time.sleep(1003)\n    \
                        made += 1\nexcept BlockingIOError: print(made)\n";
            let ran = desk.run(&[
                "apply",
                "--report",
                "report.json",
                "box.yaml",
                "--",
                "python3",
                "-c",
                many,
            ]);
            assert_eq!((ran.code(), ran.out().as_str()), (0, "7\n"), "{}", ran.err());
            assert!(
                ran.err().ends_with("met its limit: pids 8 (no more could be made)\n"),
                "{}",
                ran.err()
            );
            assert!(desk.read("report.json").contains("\"limit\":\"pids\""));
            // They are ended with the group, PID namespace or not.
            assert_eq!(processes_with("1003"), Vec::<i32>::new());
        }
    }

    #[test]
    fn a_fork_bomb_ends_with_its_time() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        for around in SURROUNDINGS {
            recipe(&desk, around, "pids: 24, time: 500ms");
            let (ran, facts) =
                run(&desk, &[], "box.yaml", "bomb() { bomb 1004 | bomb 1004 & }; bomb; sleep 1004");
            assert_eq!((ran.code(), &facts["limit"]), (124, &"time".into()), "{}", ran.err());
            assert!(ran.err().contains("its limit: time 500ms"), "{}", ran.err());
            assert_eq!(processes_with("bomb 1004"), Vec::<i32>::new());
        }
    }

    #[test]
    fn a_spinner_gets_its_share_of_a_processor() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        recipe(&desk, "", "cpu: 10%, time: 1s");
        let (ran, facts) = run(&desk, &[], "box.yaml", "while :; do :; done");
        assert_eq!(ran.code(), 124, "{}", ran.err());
        let usage = &facts["usage"];
        let used = usage["user"].as_f64().unwrap_or(9.0) + usage["system"].as_f64().unwrap_or(9.0);
        assert!(used < 0.5, "{used} seconds");
    }

    /// A cgroup namespace begins where the process is when it is made.
    #[test]
    fn a_group_is_the_root_of_a_namespace_that_is_made_after_it() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        let layers = "layers: [user: {map: auto, need: prefer}, limits: {pids: 50}, cgroup]";
        desk.write("view.yaml", &format!("isorecipe: 1\n{layers}\n"));
        let ran = desk.run(&["apply", "view.yaml", "--", "grep", ":pids:", "/proc/self/cgroup"]);
        assert!(ran.out().ends_with(":pids:/\n"), "{}{}", ran.out(), ran.err());
    }

    #[test]
    fn a_group_is_removed_whatever_the_end() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        recipe(&desk, "", "memory: 1G, pids: 99, cpu: 2");
        let running = desk.start("box.yaml", "sleep 1005 & :");
        let supervisor = running.supervisor();
        assert!(!left(supervisor).is_empty());
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait();
        assert_eq!(left(supervisor), Vec::<String>::new());
        assert_eq!(processes_with("sleep\x001005"), Vec::<i32>::new());
        // A run that is refused when its group is there already.
        desk.write(
            "late.yaml",
            "isorecipe: 1\nlayers: [limits: {memory: 1G}]\ncommand: [/no/such]\n",
        );
        let child = desk.command(&["apply", "--unchecked", "late.yaml"]).spawn().expect("a run");
        let refused = child.id() as i32;
        assert_eq!(child.wait_with_output().expect("an end").status.code(), Some(127));
        assert_eq!(left(refused), Vec::<String>::new());
        // Nobody is left to remove it, so the next run does.
        recipe(&desk, "pid: {proc: true}, ", "memory: 1G");
        let running = desk.start("box.yaml", ":");
        let supervisor = running.supervisor();
        running.kill();
        assert!(!left(supervisor).is_empty());
        eventually("the next run sweeps", || {
            desk.run(&["apply", "box.yaml", "--", "true"]);
            left(supervisor).is_empty()
        });
    }

    #[test]
    fn a_group_that_cannot_be_removed_is_named() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        recipe(&desk, "", "memory: 1G");
        let box_yaml = "echo ready; read -r line; exit 7";
        let mut child = desk
            .command(&["apply", "box.yaml", "--", "bash", "-c", box_yaml])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("a run");
        let supervisor = child.id() as i32;
        eventually("the group is there", || !left(supervisor).is_empty());
        // Groups of others below it are not isorecipe's to remove.
        let inner = std::path::Path::new(&left(supervisor)[0]).join("inner");
        std::fs::create_dir(&inner).expect("a group");
        drop(child.stdin.take());
        let ran = Ran(child.wait_with_output().expect("an end"));
        assert_eq!(ran.code(), 7, "{}", ran.err());
        assert!(ran.err().contains("warning[limits::group_left]"), "{}", ran.err());
        std::fs::remove_dir(&inner).expect("no group");
        eventually("the next run sweeps", || {
            desk.run(&["apply", "box.yaml", "--", "true"]);
            left(supervisor).is_empty()
        });
    }

    #[test]
    fn an_init_that_is_one_too_many_is_told_of_the_limit() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        let layers = "[user: {map: auto}, limits: {pids: 1}, pid: {proc: true}]";
        desk.write("box.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
        let ran = desk.run(&["apply", "box.yaml", "--", "true"]);
        assert_eq!(ran.code(), 125, "{}", ran.err());
        assert!(ran.err().contains("error[limits::few_processes]"), "{}", ran.err());
    }

    #[test]
    fn a_script_does_not_look_after_a_group() {
        let desk = desk(Who::Root);
        if machine::own_uid() != 0 || !can_make(&desk) {
            return;
        }
        recipe(&desk, "", "memory: 1G");
        let ran = desk.run(&["export", "--to", "sh", "box.yaml"]);
        assert!(ran.err().contains("error[export::no_limits]"), "{}", ran.err());
    }
}
