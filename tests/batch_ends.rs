//! How a batch ends: with its input, by a signal, by a reader who went away; and that nothing is left of it.

#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use machine::{Desk, Ran, Who, children, eventually, proc_file, processes_with};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// With the command as PID 1, with an init in front of it, and with no PID namespace.
const RECIPES: [&str; 3] = ["step3.yaml", "init.yaml", "step1.yaml"];

/// A batch that is told its lines one by one.
struct Batch {
    child: Child,
    input: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Batch {
    fn start(who: Who, words: &[&str]) -> (Desk, Self) {
        let desk = Desk::of(who);
        desk.write(
            "init.yaml",
            "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
        );
        // Who starts the tests may ignore signals, and all that they start would.
        let words = words.join(" ");
        let line = format!("exec env --default-signal ./isorecipe --plain batch {words}");
        let mut command = desk.shell(&["-c", &line]);
        let mut child =
            (command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
                .spawn()
                .expect("the program");
        let input = child.stdin.take().expect("a pipe");
        let results = BufReader::new(child.stdout.take().expect("a pipe"));
        (desk, Self { child, input, results })
    }

    fn say(&mut self, lines: &str) {
        self.input.write_all(lines.as_bytes()).expect("the lines");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.results.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_default()
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a signal");
    }

    /// The rest of the results, and the status and the words at the end.
    fn end(self) -> (Vec<Value>, Ran) {
        let Self { child, input, results } = self;
        drop(input);
        let lines = results.lines().map(|line| serde_json::from_str(&line.expect("a line")));
        let rest = lines.collect::<Result<_, _>>().expect("results");
        (rest, Ran(child.wait_with_output().expect("an end")))
    }
}

#[track_caller]
fn nothing_is_left(line: &str) {
    eventually("nothing is left", || processes_with(line).is_empty());
}

/// How many sandboxes run this.
fn running(line: &str) -> usize {
    processes_with(line).into_iter().filter(|&pid| proc_file(pid, "comm") == "sleep").count()
}

#[test]
fn a_signal_ends_all_and_each_that_had_begun_has_its_result() {
    for who in Who::all() {
        for recipe in RECIPES {
            for signal in [Signal::SIGTERM, Signal::SIGINT] {
                let (_desk, mut batch) = Batch::start(who, &["--jobs", "3", recipe]);
                batch.say("echo first\n");
                assert_eq!(batch.hear()["stdout"], "first\n");
                batch.say(&"sleep 1401\n".repeat(6));
                eventually("three run", || running("sleep\x001401") == 3);
                batch.signal(signal);
                let (rest, ran) = batch.end();
                assert_eq!(ran.0.status.code(), Some(128 + signal as i32), "{}", ran.err());
                let lines: Vec<_> = rest.iter().map(|result| result["line"].as_u64()).collect();
                assert_eq!(lines, [2, 3, 4].map(Some));
                assert!(rest.iter().all(|result| result["signal"].is_i64()), "{rest:?}");
                nothing_is_left("sleep\x001401");
            }
        }
    }
}

#[test]
fn what_does_not_end_when_asked_is_made_to() {
    for recipe in RECIPES {
        let (_desk, mut batch) = Batch::start(Who::ordinary(), &["--jobs", "2", recipe]);
        batch.say(&"bash -c \"trap '' TERM; sleep 1402 & wait; wait\"\n".repeat(2));
        eventually("two run", || running("sleep\x001402") == 2);
        batch.signal(Signal::SIGTERM);
        let (rest, ran) = batch.end();
        assert_eq!(ran.code(), 143);
        assert_eq!(rest.len(), 2);
        nothing_is_left("sleep\x001402");
    }
}

#[test]
fn a_signal_that_the_caller_ignores_is_ignored() {
    let desk = Desk::of(Who::ordinary());
    let script = "trap '' HUP; (sleep 0.1; kill -HUP $$; sleep 0.1; echo true) | exec ./isorecipe batch step1.yaml";
    let ran = Ran(desk.shell(&["-c", script]).output().expect("sh"));
    assert_eq!((ran.code(), ran.out().lines().count()), (0, 1), "{}", ran.err());
}

#[test]
fn a_kill_leaves_nothing() {
    for who in Who::all() {
        for recipe in ["step3.yaml", "init.yaml", "step1.yaml"] {
            let (_desk, mut batch) = Batch::start(who, &["--jobs", "3", recipe]);
            batch.say(&"sleep 1403\n".repeat(3));
            eventually("three run", || running("sleep\x001403") == 3);
            batch.signal(Signal::SIGKILL);
            batch.end();
            nothing_is_left("sleep\x001403");
        }
    }
}

#[test]
fn a_supervisor_that_is_killed_costs_one_result() {
    let (_desk, mut batch) = Batch::start(Who::ordinary(), &["--jobs", "1", "step3.yaml"]);
    batch.say("sleep 1404\necho after\n");
    eventually("it runs", || running("sleep\x001404") == 1);
    let member = children(batch.pid());
    kill(Pid::from_raw(member[0]), Signal::SIGKILL).expect("a kill");
    let lost = batch.hear();
    assert_eq!((&lost["line"], &lost["phase"]), (&1.into(), &"lost".into()));
    assert_eq!(lost["problems"][0]["code"], "batch::lost");
    nothing_is_left("sleep\x001404");
    assert_eq!(batch.hear()["stdout"], "after\n");
    let (_, ran) = batch.end();
    assert_eq!((ran.code(), ran.err().as_str()), (1, ""));
}

#[test]
fn nobody_runs_on_for_a_reader_who_went_away() {
    let (_desk, mut batch) = Batch::start(Who::ordinary(), &["--jobs", "2", "step3.yaml"]);
    batch.say("sleep 1405\n");
    eventually("it runs", || running("sleep\x001405") == 1);
    let Batch { child, mut input, results } = batch;
    drop(results);
    // In its place the result of the second would wait for the first.
    let pid = children(child.id() as i32)[0];
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("a signal");
    eventually("the kill of PID 1 comes", || {
        children(pid).iter().all(|&command| kill(Pid::from_raw(command), Signal::SIGKILL).is_ok())
    });
    let _ = input.write_all(b"sleep 1405\nsleep 1405\n");
    let ran = Ran(child.wait_with_output().expect("an end"));
    assert_eq!((ran.code(), ran.err().as_str()), (141, ""));
    nothing_is_left("sleep\x001405");
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let desk = Desk::of(Who::ordinary());
    let shell = |script| Ran(desk.shell(&["-c", script]).output().expect("sh"));
    let ran = shell("./isorecipe --plain batch step1.yaml < .");
    assert_eq!(ran.code(), 1);
    assert!(ran.err().contains("error[batch::unreadable]"), "{}", ran.err());
    let ran = shell("echo true | ./isorecipe --plain batch step1.yaml > /dev/full");
    assert_eq!(ran.code(), 1);
    assert!(ran.err().contains("error[batch::unwritable]"), "{}", ran.err());
}

#[test]
fn an_upper_that_all_sandboxes_have_is_warned_of() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("lower");
    desk.make_dir("stays");
    desk.write(
        "upper.yaml",
        "isorecipe: 1\nlayers: [user: {map: root}, mount, overlay: {lower: lower, upper: stays, work: w, at: at, create: true}]\n",
    );
    let ran = Ran(desk
        .shell(&["-c", "echo 'touch at/one' | ./isorecipe --plain batch upper.yaml"])
        .output()
        .expect("sh"));
    assert_eq!(ran.code(), 0, "{}", ran.err());
    assert!(ran.err().contains("warning[batch::one_upper]"), "{}", ran.err());
    assert!(desk.path("stays/one").exists());
}

#[test]
fn a_batch_of_the_recipe_for_agents_is_verified_and_leaves_nothing() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_dir("work");
        let script = "for i in 1 2 3; do echo \"python3 -c 'print($i)'\"; done | ./isorecipe --plain batch --verify agent.yaml";
        let ran = Ran(desk.shell(&["-c", script]).output().expect("sh")).succeeds();
        let results: Vec<Value> =
            ran.out().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let printed: Vec<_> = results.iter().map(|result| result["stdout"].as_str()).collect();
        assert_eq!(printed, [Some("1\n"), Some("2\n"), Some("3\n")]);
        assert!(results.iter().all(|result| result["attestation"]["claims"].is_array()));
    }
}

#[test]
fn nothing_piles_up_from_one_sandbox_to_the_next() {
    let open = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count();
    let memory = |pid: i32| -> u64 {
        let status = proc_file(pid, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS: ")).expect("a line");
        line.trim_end_matches(" kB").parse().expect("a number")
    };
    let (_desk, mut batch) = Batch::start(Who::ordinary(), &["--jobs", "1", "init.yaml"]);
    let mut run = |count: usize| {
        batch.say(&"true\n".repeat(count));
        (0..count).for_each(|_| assert_eq!(batch.hear()["status"], 0));
        let all = [batch.pid(), children(batch.pid())[0]];
        (all.map(open), all.map(memory))
    };
    let (open_before, memory_before) = run(50);
    let (open_after, memory_after) = run(300);
    assert_eq!(open_before, open_after);
    for (before, after) in memory_before.into_iter().zip(memory_after) {
        assert!(after < before + 200, "{before} KiB, then {after}");
    }
}
