//! Words where others have pictures: `--plain` says in sentences what is otherwise drawn, and `--help` what is so.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Who};

#[test]
fn a_plan_is_said_in_sentences() {
    let desk = Desk::of(Who::ordinary());
    let recipe = "isorecipe: 1\nname: box\nlayers:\n  - user: {map: root}\n  - uts\n  - hostname: HOGE\ncommand: [/bin/sh]\n";
    desk.write("box.yaml", recipe);
    let said = desk.run(&["--plain", "plan", "box.yaml"]).succeeds().out();
    let (uid, lines) = (desk.who.uid(), said.lines().collect::<Vec<_>>());
    assert_eq!(lines[..2], ["box", "This plan works."], "{said}");
    for line in [
        &format!("taken by the child, line 4: write uid_map: 0 {uid} 1."),
        "taken by the child, line 6: set the hostname to HOGE. It needs CAP_SYS_ADMIN over the \
         recipe's own user namespace, and has it.",
        "The hostname is HOGE, its own.",
        "It shares with the host: mounts, processes, network, System V IPC, control groups, clocks.",
        "It ends with the command; what it leaves in the background goes on.",
    ] {
        assert!(lines.iter().any(|said| said.ends_with(line)), "{line} in {said}");
    }
    // Nothing is aligned, and every line is a sentence.
    assert!(lines.iter().skip(1).all(|line| line.ends_with('.') && !line.contains("  ")), "{said}");
}

#[test]
fn what_the_kernel_will_refuse_is_said_in_the_sentence_of_the_step() {
    let desk = Desk::of(Who::ordinary());
    let recipe = "isorecipe: 1\nlayers:\n  - hostname: HOGE\ncommand: [/bin/sh]\n";
    desk.write("box.yaml", recipe);
    let ran = desk.run(&["--plain", "plan", "box.yaml"]);
    assert_eq!(ran.code(), 1);
    let no = "line 3: set the hostname to HOGE. It needs CAP_SYS_ADMIN over the host's user namespace, and lacks it. \
              The kernel will refuse it: sethostname gives EPERM.";
    assert!(ran.out().contains("This plan does not work.\n"), "{}", ran.out());
    assert!(ran.out().lines().any(|line| line.ends_with(no)), "{}", ran.out());
}

#[test]
fn what_a_change_allows_is_said_in_sentences() {
    let desk = Desk::of(Who::ordinary());
    let ran = desk.run(&["--plain", "plan", "step2.yaml", "--against", "step3.yaml"]);
    assert_eq!(ran.code(), 1);
    let out = ran.out();
    for line in [
        "Only step2.yaml: It shares with the host: processes.",
        "Only step2.yaml: PID 1 is the host's.",
    ] {
        assert!(out.lines().any(|said| said == line), "{line} in {out}");
    }
}

#[test]
fn changes_are_named_by_words() {
    let desk = Desk::of(Who::ordinary());
    for name in ["lower", "upper"] {
        desk.make_dir(name);
    }
    desk.write("lower/a", "one");
    desk.write("upper/a", "three");
    desk.write("upper/b", "new");
    let words = ["--plain", "--color", "always", "diff", "upper", "--lower", "lower"];
    let ran = desk.run(&words);
    assert_eq!(ran.code(), 1, "{}", ran.err());
    let said = ran.out();
    let starts: Vec<&str> =
        said.lines().map(|line| line.split(" (").next().expect("a name")).collect();
    assert_eq!(starts, ["modified: a", "added: b"], "{said}");
}

#[test]
fn the_help_says_how_a_command_ends_and_what_it_leaves() {
    let desk = Desk::of(Who::ordinary());
    let help = |command: &str| {
        let said = desk.run(&[command, "--help"]).succeeds().out();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for command in ["plan", "observe", "export", "build", "doctor", "diff"] {
        assert!(help(command).contains("Exit status"), "{command}");
        // It begins a paragraph, where it is found.
        let lines = desk.run(&[command, "--help"]).out();
        assert!(lines.contains("\n\nExit status"), "{command}: {lines}");
    }
    for command in ["observe", "build"] {
        assert!(help(command).contains("128+N if signal N ended it"), "{command}");
    }
    assert!(help("observe").contains("Nothing of a sandbox is changed"));
    for command in ["plan", "apply"] {
        assert!(help(command).contains("Take only the layers up to this one"), "{command}");
    }
}
