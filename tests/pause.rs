//! Layer by layer: runs that wait to be looked at, leave a layer out, or stop before the last.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/terminal.rs"]
mod terminal;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use machine::{Desk, Who, eventually, namespace, proc_file, processes_with};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use terminal::Terminal;

/// A run without a terminal, as far as its first pause.
struct Waiting {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    pause: serde_json::Value,
}

impl Waiting {
    fn start(desk: &Desk, words: &[&str]) -> Self {
        let mut command = desk.command(&[&["--json", "apply"], words].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // In the background, if the tests run at a terminal: nobody there is to type.
        let mut child = command.spawn().expect("the program");
        let said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut waiting = Self { child, said, pause: serde_json::Value::Null };
        waiting.next_pause();
        waiting
    }

    fn next_pause(&mut self) {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).expect("a line") > 0, "it went on");
            self.pause = serde_json::from_str(&line).expect("an object");
            // Root is warned of being root before.
            if self.pause["severity"] != "warning" {
                return;
            }
        }
    }

    /// The process that becomes the sandbox.
    fn sandbox(&self) -> i32 {
        self.pause["child"].as_i64().expect("a number") as i32
    }

    fn commands(&self) -> Vec<String> {
        let commands = self.pause["commands"].as_array().expect("a list");
        commands.iter().map(|command| command.as_str().expect("a command").to_owned()).collect()
    }

    fn supervisor(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Types what the pause says ends it.
    fn go_on(&self) {
        let command = self.pause["goes_on_with"].as_str().expect("a command");
        assert_eq!(command, format!("kill -CONT {}", self.supervisor()));
        kill(self.supervisor(), Signal::SIGCONT).expect("a signal");
    }

    /// What came out, and the exit status.
    fn end(mut self) -> (String, i32) {
        let mut out = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("the output");
        (out, self.child.wait().expect("an end").code().unwrap_or(-1))
    }
}

/// A command typed by the owner of the desk in another terminal.
fn type_elsewhere(desk: &Desk, line: &str) {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]);
    if machine::own_uid() == 0 && desk.who != Who::Root {
        shell.uid(desk.who.uid()).gid(desk.who.gid());
    }
    assert!(shell.status().expect("bash").success(), "{line}");
}

#[test]
fn the_commands_of_the_hands_on_map_the_ids_during_the_pause() {
    let desk = Desk::of(Who::ordinary());
    let run = Waiting::start(&desk, &["--pause-after", "user", "step1-unmapped.yaml", "--", "id"]);
    assert_eq!(run.pause["paused_after"]["layer"], "user");
    let (pid, uid, gid) = (run.sandbox(), desk.who.uid(), desk.who.gid());
    assert_eq!(proc_file(pid, "uid_map"), "");
    let commands = run.commands();
    assert_eq!(
        commands,
        [
            format!("isorecipe observe {pid}"),
            format!("echo deny > /proc/{pid}/setgroups"),
            format!("echo \"0 {uid} 1\" > /proc/{pid}/uid_map"),
            format!("echo \"0 {gid} 1\" > /proc/{pid}/gid_map"),
        ]
    );
    for command in &commands[1..] {
        type_elsewhere(&desk, command);
    }
    run.go_on();
    let (out, status) = run.end();
    assert!(out.starts_with("uid=0(root) gid=0(root)"), "{out}");
    assert_eq!(status, 0);
}

#[test]
fn at_a_pause_only_the_layers_before_it_are_there() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let words = ["--pause-after", "user", "--pause-after", "3", "step3.yaml", "--", "hostname"];
        let mut run = Waiting::start(&desk, &words);
        let own = std::process::id() as i32;
        let is_shared = |pid, kind| namespace(pid, kind) == namespace(own, kind);
        assert!(!is_shared(run.sandbox(), "user"));
        assert!(is_shared(run.sandbox(), "uts"));
        // Nothing is left to be written by hand.
        assert_eq!(run.commands().len(), 1);
        run.go_on();
        run.next_pause();
        assert_eq!(run.pause["paused_after"]["layer"], "hostname");
        assert_eq!(run.pause["next"]["layer"], "pid");
        assert!(!is_shared(run.sandbox(), "uts"));
        assert!(is_shared(run.sandbox(), "pid_for_children"));
        run.go_on();
        assert_eq!(run.end(), ("HOGE\n".to_owned(), 0));
    }
}

#[test]
fn step_by_step_every_layer_is_waited_for_and_a_signal_ends_it() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("rootfs");
    let mut run = Waiting::start(&desk, &["--step", "step4-rootless.yaml", "--", "true"]);
    assert_eq!(run.pause["paused_after"], serde_json::Value::Null);
    let mut seen = Vec::new();
    while run.pause["next"]["layer"] != "overlay" {
        seen.push(run.pause["next"]["layer"].as_str().expect("a layer").to_owned());
        run.go_on();
        run.next_pause();
    }
    assert_eq!(seen, ["user", "uts", "hostname", "pid", "mount"]);
    kill(run.supervisor(), Signal::SIGTERM).expect("a signal");
    assert_eq!(run.end(), (String::new(), 143));
}

#[test]
fn a_pause_comes_before_and_after_what_the_supervisor_does() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let recipe = "isorecipe: 1\nlayers:\n  - user: {map: auto}\n  - uts\ncommand: [id, -u]\n";
        desk.write("auto.yaml", recipe);
        // Whoever has subordinate ids gets them; a stranger has none.
        if desk.run(&["plan", "auto.yaml"]).code() != 0 {
            assert_ne!(who, Who::Root);
            let ran = desk.run(&["apply", "--step", "auto.yaml"]);
            assert!(ran.err().contains("error[map::"), "{}", ran.err());
            continue;
        }
        let mut run = Waiting::start(&desk, &["--step", "auto.yaml"]);
        run.go_on();
        run.next_pause();
        assert_eq!(run.pause["paused_after"]["layer"], "user");
        assert_ne!(proc_file(run.sandbox(), "uid_map"), "");
        run.go_on();
        run.next_pause();
        assert_eq!(run.pause["next"], serde_json::Value::Null);
        run.go_on();
        assert_eq!(run.end(), ("0\n".to_owned(), 0));
    }
}

#[test]
fn who_is_killed_at_a_pause_leaves_nothing() {
    let desk = Desk::of(Who::ordinary());
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        for layer in ["user", "pid"] {
            let run = Waiting::start(&desk, &["--pause-after", layer, "step3.yaml"]);
            let program = desk.path("isorecipe").display().to_string();
            assert!(processes_with(&program).len() >= 2);
            kill(run.supervisor(), signal).expect("a signal");
            let (out, status) = run.end();
            assert_eq!(out, "");
            assert_eq!(status, if signal == Signal::SIGINT { 130 } else { -1 });
            eventually("nobody is left", || processes_with(&program).is_empty());
        }
    }
}

#[test]
fn a_sandbox_that_dies_at_a_pause_is_missed() {
    let desk = Desk::of(Who::ordinary());
    let mut run = Waiting::start(&desk, &["--pause-after", "uts", "step2.yaml"]);
    kill(Pid::from_raw(run.sandbox()), Signal::SIGKILL).expect("a signal");
    let mut said = String::new();
    run.said.read_to_string(&mut said).expect("the rest");
    assert!(said.contains("sandbox::lost") && said.contains("signal 9"), "{said}");
    assert_eq!(run.end().1, 125);
}

#[test]
fn until_a_layer_gives_a_shell_with_the_layers_so_far() {
    let desk = Desk::of(Who::ordinary());
    let ran = desk.run(&["apply", "--until", "uts", "step4-rootless.yaml", "--", "id", "-u"]);
    assert_eq!(ran.succeeds().out(), "0\n");
    let planned = desk.run(&["plan", "--until", "uts", "step4-rootless.yaml"]).succeeds().out();
    assert!(planned.contains("execute /bin/sh"), "{planned}");
    assert!(!planned.contains("mount namespace"), "{planned}");
}

#[test]
fn skipping_a_layer_produces_the_failure() {
    let desk = Desk::of(Who::ordinary());
    for options in [&["apply"][..], &["apply", "--unchecked"], &["plan"]] {
        let ran = desk.run(&[options, &["--skip", "uts", "step2.yaml"]].concat());
        assert!(ran.err().contains("error[hostname::shared]"), "{}", ran.err());
        assert!(ran.err().contains("take `--skip uts` away"), "{}", ran.err());
        assert!(ran.err().contains("this is left out"), "{}", ran.err());
        assert_ne!(ran.code(), 0);
    }
}

#[test]
fn a_layer_that_is_not_there_or_not_alone_is_named() {
    let desk = Desk::of(Who::ordinary());
    let says = |words: &[&str], code: &str, help: &str| {
        let ran = desk.run(&[&["--plain", "apply"], words, &["step4-rootless.yaml"]].concat());
        assert_eq!(ran.code(), 125);
        assert!(ran.err().contains(code), "{}", ran.err());
        assert!(ran.err().contains(help), "{}", ran.err());
    };
    says(&["--skip", "net"], "layer::unknown", "1 user, 2 uts, 3 hostname");
    says(&["--until", "0"], "layer::unknown", "name one of these");
    says(&["--until", "bind"], "layer::ambiguous", "by its number: 9, 10");
    says(&["--skip", "uts", "--pause-after", "2"], "layer::left_out", "take `--skip` away");
    says(&["--until", "uts", "--pause-after", "pid"], "layer::left_out", "before `--until`");
    assert_eq!(desk.run(&["plan", "--skip", "net", "step2.yaml"]).code(), 2);
    assert!(!fs::exists(desk.path("merged")).expect("an answer"), "nothing was begun");
}

#[test]
fn enter_goes_from_layer_to_layer() {
    let terminal = Terminal::open();
    terminal.type_line("./isorecipe apply --step step3.yaml -- hostname");
    for layer in ["user", "uts", "hostname", "pid"] {
        terminal.expect_within("paused ");
        terminal.expect_within(&format!(", `{layer}` (line "));
        terminal.expect_within("Enter goes on");
        terminal.type_line("");
    }
    terminal.expect_within("next comes the command:");
    terminal.expect_within("execute hostname");
    terminal.type_line("");
    terminal.expect("HOGE");
    terminal.expect_prompt();
    terminal.expect_status("0");
}

#[test]
fn at_a_pause_the_keyboard_stops_it_runs_through_or_ends_it() {
    let terminal = Terminal::open();
    let shell = "PS1='inner> ' ./isorecipe apply --step step3.yaml -- bash --norc --noprofile";
    terminal.type_line(shell);
    terminal.expect_within("`q` ends it here");
    terminal.type_line("what?");
    terminal.expect_within("`q` ends it here");
    terminal.press("C-z");
    terminal.expect_within("Stopped");
    terminal.expect_prompt();
    terminal.type_line("fg");
    terminal.expect_within("`q` ends it here");
    terminal.type_line("c");
    terminal.expect("inner>");
    terminal.type_line("sleep 100 &");
    terminal.type_line("jobs");
    terminal.expect_within("Running");
    terminal.type_line("exit");
    terminal.expect_prompt();
    for (key, status) in [("C-c", "130"), ("C-d", "125")] {
        terminal.type_line(shell);
        terminal.expect_within("`q` ends it here");
        terminal.press(key);
        terminal.expect("ended at the pause: the command never ran");
        terminal.expect_prompt();
        terminal.expect_status(status);
    }
    terminal.expect_shell_answers();
}
