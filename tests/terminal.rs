//! Whole sessions at a terminal: job control, signals from the keyboard, pipelines, and the terminal given back.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/terminal.rs"]
mod terminal;

use machine::eventually;
use nix::sys::signal::Signal;
use terminal::{
    Terminal, expect_going_on, expect_gone, expect_in_front, expect_stopped, process, send,
    unheard_of,
};

/// Without a PID namespace, with the command as PID 1, and with an init in front of it; then with a terminal of its own,
/// behind an init and without one.
const RECIPES: [&str; 5] = ["step1.yaml", "step3.yaml", "init.yaml", "new.yaml", "new-alone.yaml"];

/// Those whose command has the terminal that isorecipe is called on.
const SHARING: [&str; 3] = ["step1.yaml", "step3.yaml", "init.yaml"];

/// Those whose command is no PID 1, to which the kernel gives no signal that it does not handle.
const WITHOUT_PID_1: [&str; 4] = ["step1.yaml", "init.yaml", "new.yaml", "new-alone.yaml"];

/// A bash that counts the signals it gets, and ends with the fourth. It acts on one at once while it waits, and soon if
/// one came just before.
const COUNTING: &str = r#"bash -c 'n=0; for s in INT TERM HUP QUIT; do trap "n=\$((n+1)); echo got $s \$n" $s; done; echo ready; while [ $n -lt 4 ]; do sleep 0.05 & wait; done; exit 6'"#;

/// Reads from its standard input, and says when it is about to.
const READING: &str = "bash -c 'echo ready; exec cat'";

fn in_every_recipe(test: impl Fn(&Terminal, &str)) {
    in_recipes(&RECIPES, test);
}

fn in_recipes(recipes: &[&str], test: impl Fn(&Terminal, &str)) {
    for recipe in recipes {
        eprintln!("{recipe}");
        test(&Terminal::open().sharing(&SHARING), recipe);
    }
}

#[test]
fn an_interactive_shell_has_job_control() {
    in_every_recipe(|terminal, recipe| {
        let seconds = unheard_of();
        let shell = terminal.apply(recipe, "bash --norc --noprofile");
        terminal.type_line(&format!("PS1='inner> ' {shell}"));
        terminal.expect("inner>");
        terminal.type_line(&format!("sleep {seconds} &"));
        terminal.expect("inner>");
        terminal.type_line("jobs");
        terminal.expect_within("Running");
        terminal.type_line("fg");
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect("inner>");
        terminal.type_line("fg");
        expect_in_front(sleep);
        expect_going_on(sleep);
        terminal.press("C-c");
        terminal.expect("inner>");
        expect_gone(sleep);
        terminal.type_line("echo alive$((40 + 2))");
        terminal.expect("alive42");
        let screen = terminal.screen();
        for complaint in ["cannot set terminal process group", "no job control"] {
            assert!(!screen.contains(complaint), "{screen}");
        }
        terminal.type_line("exit 7");
        terminal.expect_prompt();
        terminal.expect_status("7");
        terminal.expect_shell_answers();
    });
}

#[test]
fn a_shell_inside_suspends_itself() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let shell = terminal.apply(recipe, "bash --norc --noprofile");
        terminal.type_line(&format!("PS1='inner> ' {shell}"));
        terminal.expect("inner>");
        for _ in 0..3 {
            terminal.type_line("suspend");
            terminal.expect_within("Stopped");
            terminal.expect_prompt();
            terminal.expect_shell_answers();
            terminal.type_line("fg");
            terminal.expect_within("isorecipe");
            terminal.type_line("echo alive$((40 + 2))");
            terminal.expect("alive42");
            terminal.expect("inner>");
        }
        terminal.type_line("exit 7");
        terminal.expect_prompt();
        terminal.expect_status("7");
    });
}

#[test]
fn ctrl_z_stops_a_command_fg_continues_it_and_ctrl_c_ends_it() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let seconds = unheard_of();
        terminal.type_line(&terminal.apply(recipe, &format!("sleep {seconds}")));
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        for _ in 0..3 {
            terminal.press("C-z");
            terminal.expect_within("Stopped");
            terminal.expect_prompt();
            expect_stopped(sleep);
            terminal.expect_shell_answers();
            terminal.type_line("jobs");
            terminal.expect_within("Stopped");
            terminal.expect_prompt();
            terminal.type_line("fg");
            expect_in_front(sleep);
            expect_going_on(sleep);
        }
        terminal.press("C-c");
        terminal.expect_prompt();
        terminal.expect_status("130");
        expect_gone(sleep);
    });
}

#[test]
fn a_script_that_runs_a_sandbox_is_stopped_with_it() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let seconds = unheard_of();
        let sandbox = terminal.apply(recipe, &format!("sleep {seconds}"));
        terminal.type_line(&format!("bash -c '{sandbox}; echo \"<$?>\"'"));
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        terminal.type_line("fg");
        expect_in_front(sleep);
        expect_going_on(sleep);
        send(sleep, Signal::SIGKILL);
        terminal.expect("<137>");
        terminal.expect_prompt();
    });
}

#[test]
fn a_command_that_goes_on_in_the_background_leaves_the_terminal_alone_when_it_ends() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let seconds = unheard_of();
        terminal.type_line(&terminal.apply(recipe, &format!("sleep {seconds}")));
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        terminal.type_line("bg");
        terminal.expect_prompt();
        expect_going_on(sleep);
        let supervisor = terminal.supervisor(&seconds);
        send(sleep, Signal::SIGKILL);
        expect_gone(supervisor);
        terminal.expect_shell_answers();
        terminal.expect_shell_answers();
    });
}

#[test]
fn a_command_started_in_the_background_reads_when_it_is_brought_to_the_front() {
    in_every_recipe(|terminal, recipe| {
        terminal.type_line(&format!("{} &", terminal.apply(recipe, READING)));
        terminal.expect("ready");
        terminal.press("Enter");
        terminal.expect_prompt();
        terminal.expect_shell_answers();
        // Of one with a terminal of its own, nobody sees that it waits.
        if ["step1.yaml", "init.yaml"].contains(&recipe) {
            eventually("it waits for the terminal", || {
                terminal.type_line("jobs");
                terminal.expect_within("isorecipe").contains("Stopped")
            });
        }
        terminal.type_line("fg");
        terminal.expect_within("isorecipe");
        terminal.type_line("hello");
        terminal.expect("hello");
        terminal.expect("hello");
        terminal.press("C-d");
        terminal.expect_prompt();
        terminal.expect_status("0");
        terminal.expect_shell_answers();
    });
}

#[test]
fn the_terminal_is_sane_after_a_command_that_was_killed_in_raw_mode() {
    in_every_recipe(|terminal, recipe| {
        let seconds = unheard_of();
        terminal.type_line("stty -a >before");
        let raw = format!("bash -c 'stty raw -echo; sleep {seconds}; :'");
        terminal.type_line(&terminal.apply(recipe, &raw));
        process("sleep", &seconds);
        send(process("bash", &seconds), Signal::SIGKILL);
        terminal.expect_prompt();
        terminal.type_line("stty -a >after");
        terminal.expect_status("0");
        assert_eq!(terminal.desk.read("after"), terminal.desk.read("before"));
        assert!(terminal.desk.read("after").contains(" icanon"));
    });
}

#[test]
fn the_terminal_is_sane_while_a_program_that_changed_it_is_stopped_and_after_its_end() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let seconds = unheard_of();
        terminal.type_line("stty -a >before");
        let raw = format!("bash -c 'stty -icanon -echo; exec sleep {seconds}'");
        terminal.type_line(&terminal.apply(recipe, &raw));
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        terminal.type_line("stty -a >between");
        terminal.expect_prompt();
        terminal.type_line("fg");
        expect_in_front(sleep);
        expect_going_on(sleep);
        terminal.press("C-c");
        terminal.expect_prompt();
        terminal.type_line("stty -a >after");
        terminal.expect_status("0");
        assert_eq!(terminal.desk.read("between"), terminal.desk.read("before"));
        assert_eq!(terminal.desk.read("after"), terminal.desk.read("before"));
    });
}

#[test]
fn the_shell_has_the_terminal_back_however_the_sandbox_ends() {
    let waiting = |marker: &str| {
        format!(
            "bash -c 'trap \"exit 9\" TERM; echo re\"\"ady; until read -r -t 0.1 line; do :; done; exit 5; : {marker}'"
        )
    };
    in_every_recipe(|terminal, recipe| {
        let start = || {
            let marker = unheard_of();
            terminal.type_line(&terminal.apply(recipe, &waiting(&marker)));
            let command = process("bash", &marker);
            expect_in_front(command);
            terminal.expect("ready");
            (command, terminal.supervisor(&marker))
        };
        start();
        terminal.type_line("anything");
        terminal.expect_prompt();
        terminal.expect_status("5");
        terminal.expect_shell_answers();

        let (command, _) = start();
        send(command, Signal::SIGKILL);
        terminal.expect_prompt();
        terminal.expect_status("137");
        terminal.expect_shell_answers();

        let (command, supervisor) = start();
        send(supervisor, Signal::SIGKILL);
        terminal.expect_prompt();
        // Until the kernel has come to kill it too, it may still read what is typed.
        expect_gone(command);
        terminal.expect_status("137");
        terminal.expect_shell_answers();

        let (_, supervisor) = start();
        send(supervisor, Signal::SIGTERM);
        terminal.expect_prompt();
        terminal.expect_status("9");
        terminal.expect_shell_answers();
    });
}

#[test]
fn a_script_has_the_terminal_back_after_a_sandbox() {
    in_every_recipe(|terminal, recipe| {
        let sandbox = terminal.apply(recipe, "true");
        terminal
            .type_line(&format!("bash -c '{sandbox}; echo go on; read -r line; echo \"<$line>\"'"));
        terminal.expect("go on");
        terminal.type_line("hello");
        terminal.expect("<hello>");
        terminal.expect_prompt();
    });
}

#[test]
fn a_signal_from_the_keyboard_reaches_the_command_once() {
    in_every_recipe(|terminal, recipe| {
        terminal.type_line(&terminal.apply(recipe, COUNTING));
        expect_counted_keys(terminal);
        terminal.expect_status("6");
    });
}

#[test]
fn a_signal_from_the_keyboard_reaches_a_command_in_a_pipeline_once() {
    in_recipes(&WITHOUT_PID_1, |terminal, recipe| {
        let sandbox = terminal.apply(recipe, COUNTING);
        terminal.type_line(&format!("{sandbox} | (trap '' INT QUIT; cat)"));
        expect_counted_keys(terminal);
        terminal.expect_status("6 0");
    });
}

#[track_caller]
fn expect_counted_keys(terminal: &Terminal) {
    terminal.expect("ready");
    let keys = [("C-c", "INT"), ("C-\\", "QUIT"), ("C-\\", "QUIT"), ("C-c", "INT")];
    for (count, (key, signal)) in (1..).zip(keys) {
        terminal.press(key);
        terminal.expect(&format!("got {signal} {count}"));
    }
    terminal.expect_prompt();
}

#[test]
fn a_signal_to_the_supervisor_reaches_the_command_once() {
    in_every_recipe(|terminal, recipe| {
        let marker = unheard_of();
        terminal.type_line(&terminal.apply(recipe, &format!("{COUNTING} {marker}")));
        terminal.expect("ready");
        let supervisor = terminal.supervisor(&marker);
        let signals = [
            (Signal::SIGINT, "INT"),
            (Signal::SIGTERM, "TERM"),
            (Signal::SIGHUP, "HUP"),
            (Signal::SIGQUIT, "QUIT"),
        ];
        for (count, (signal, name)) in (1..).zip(signals) {
            send(supervisor, signal);
            terminal.expect(&format!("got {name} {count}"));
        }
        terminal.expect_prompt();
        terminal.expect_status("6");
    });
}

#[test]
fn a_supervisor_that_is_told_to_stop_or_go_on_takes_the_command_along() {
    in_every_recipe(|terminal, recipe| {
        let seconds = unheard_of();
        terminal.type_line(&terminal.apply(recipe, &format!("sleep {seconds}")));
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        let supervisor = terminal.supervisor(&seconds);
        for _ in 0..20 {
            send(supervisor, Signal::SIGTSTP);
            expect_stopped(sleep);
            expect_stopped(supervisor);
            send(supervisor, Signal::SIGCONT);
            expect_going_on(sleep);
            expect_going_on(supervisor);
        }
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        terminal.expect_shell_answers();
        terminal.type_line("fg");
        terminal.expect(&seconds);
        send(sleep, Signal::SIGKILL);
        terminal.expect_prompt();
        terminal.expect_status("137");
        terminal.expect_shell_answers();
    });
}

#[test]
fn the_command_learns_the_size_of_the_window() {
    in_every_recipe(|terminal, recipe| {
        let script = "bash -c 'trap \"stty size\" WINCH; trap \"exit 5\" INT; echo ready; while :; do sleep 0.1; done'";
        terminal.type_line(&terminal.apply(recipe, script));
        terminal.expect("ready");
        terminal.resize(90, 301);
        terminal.expect("301 90");
        terminal.resize(110, 302);
        terminal.expect("302 110");
        terminal.press("C-c");
        terminal.expect_prompt();
        terminal.expect_status("5");
    });
}

#[test]
fn the_command_in_a_pipeline_learns_the_size_of_the_window() {
    in_every_recipe(|terminal, recipe| {
        let script = "bash -c 'trap \"stty size </dev/tty\" WINCH; trap \"exit 5\" INT; echo ready; while :; do sleep 0.1; done'";
        terminal.type_line(&format!("{} | cat", terminal.apply(recipe, script)));
        terminal.expect("ready");
        terminal.resize(90, 301);
        terminal.expect("301 90");
        terminal.press("C-c");
        terminal.expect_prompt();
        // PID 1 has the terminal for itself, since it cannot ask for it.
        let is_pid_1 = recipe == "step3.yaml";
        terminal.expect_status(if is_pid_1 { "5 0" } else { "5 130" });
    });
}

#[test]
fn a_command_stands_in_a_pipeline() {
    in_every_recipe(|terminal, recipe| {
        terminal.type_line(&format!("echo h''i | {} | cat", terminal.apply(recipe, "cat")));
        terminal.expect("hi");
        terminal.expect_prompt();
        terminal.expect_status("0 0 0");
        let marker = unheard_of();
        let yes = terminal.apply(recipe, &format!("yes {marker}"));
        terminal.type_line(&format!("{yes} | head -n 1 | tr 0-9 x"));
        terminal.expect(&"x".repeat(marker.len()));
        terminal.expect_prompt();
        eventually("nothing is left", || machine::processes_with(&marker).is_empty());
        if recipe != "step3.yaml" {
            terminal.expect_status("141 0 0");
            let screen = terminal.screen();
            assert!(!screen.contains("Broken pipe"), "{screen}");
        }
    });
}

#[test]
fn a_neighbour_in_a_pipeline_reads_the_keyboard() {
    in_every_recipe(|terminal, recipe| {
        let seconds = unheard_of();
        let sandbox = terminal.apply(recipe, &format!("sleep {seconds}"));
        let neighbour = "bash -c 'stty -echo </dev/tty; echo ready; read -r key </dev/tty; stty echo </dev/tty; echo \"<$key>\"'";
        terminal.type_line(&format!("{sandbox} | {neighbour}"));
        let sleep = process("sleep", &seconds);
        terminal.expect("ready");
        terminal.type_line("hello");
        terminal.expect("<hello>");
        send(sleep, Signal::SIGKILL);
        terminal.expect_prompt();
        terminal.expect_status("137 0");
        terminal.expect_shell_answers();
    });
}

#[test]
fn a_command_in_a_pipeline_reads_the_keyboard() {
    in_every_recipe(|terminal, recipe| {
        terminal.type_line(&format!("{} | cat", terminal.apply(recipe, READING)));
        terminal.expect("ready");
        terminal.type_line("hello");
        terminal.expect("hello");
        terminal.expect("hello");
        terminal.press("C-d");
        terminal.expect_prompt();
        terminal.expect_status("0 0");
        let asks =
            "bash -c 'read -r line; echo ready; read -r key </dev/tty; echo \"<$line $key>\"'";
        terminal.type_line(&format!("echo a | {}", terminal.apply(recipe, asks)));
        terminal.expect("ready");
        terminal.type_line("b");
        terminal.expect("<a b>");
        terminal.expect_prompt();
        terminal.expect_status("0 0");
        terminal.expect_shell_answers();
    });
}

#[test]
fn the_keyboard_stops_and_ends_a_whole_pipeline() {
    in_every_recipe(|terminal, recipe| {
        let seconds = unheard_of();
        // The first sleep is no command of its own, as in most scripts.
        let script = format!("bash -c 'trap \"exit 130\" INT; sleep {seconds}; echo never'");
        terminal.type_line(&format!("{} | cat", terminal.apply(recipe, &script)));
        let sleep = process("sleep", &seconds);
        if recipe != "step3.yaml" {
            terminal.press("C-z");
            terminal.expect_within("Stopped");
            terminal.expect_prompt();
            expect_stopped(sleep);
            terminal.expect_shell_answers();
            terminal.type_line("fg");
            expect_going_on(sleep);
        }
        terminal.press("C-c");
        terminal.expect_prompt();
        expect_gone(sleep);
        assert!(!terminal.screen().contains("\nnever"));
    });
}

#[test]
fn a_closed_standard_stream_is_dev_null_inside() {
    in_every_recipe(|terminal, recipe| {
        let list = "bash -c 'exec >found; for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done; ls /proc/self/fd'";
        let closed = "bash -c 'readlink /proc/self/fd/0 /proc/self/fd/1 >&2'";
        terminal.type_line(&format!("{} <&- >&-", terminal.apply(recipe, closed)));
        terminal.expect("/dev/null");
        terminal.expect_prompt();
        terminal.type_line(&format!("{} <&- >&- 2>&-", terminal.apply(recipe, list)));
        terminal.expect_prompt();
        terminal.expect_status("0");
        let found = terminal.desk.read("found");
        let lines: Vec<_> = found.lines().collect();
        assert_eq!(lines[0], "/dev/null");
        assert_eq!(lines[2], "/dev/null");
        assert_eq!(lines[3..], ["0", "1", "2", "3"]);
    });
}

#[test]
fn a_signal_to_the_commands_own_group_stays_inside() {
    in_every_recipe(|terminal, recipe| {
        for (pipeline, statuses) in [
            ("SANDBOX", "0"),
            ("SANDBOX | cat", "0 0"),
            ("sleep 0 | SANDBOX | cat", "0 0 0"),
            ("SANDBOX </dev/null 2>&1 | cat", "0 0"),
        ] {
            let script = "bash -c 'trap : TERM; kill -TERM 0; echo survived'";
            let sandbox = terminal.apply(recipe, script);
            terminal.type_line(&pipeline.replace("SANDBOX", &sandbox));
            terminal.expect("survived");
            terminal.expect_prompt();
            terminal.expect_status(statuses);
        }
        if recipe != "step3.yaml" {
            let sandbox = terminal.apply(recipe, "bash -c 'kill -TERM 0; echo never'");
            terminal.type_line(&format!("{sandbox} | cat"));
            terminal.expect_prompt();
            terminal.expect_status("143 0");
        }
        terminal.expect_shell_answers();
    });
}

#[test]
fn the_shell_sees_the_commands_exit_status() {
    in_every_recipe(|terminal, recipe| {
        for status in ["0", "42", "255"] {
            let command = format!("bash -c 'exit {status}'");
            terminal.type_line(&terminal.apply(recipe, &command));
            terminal.expect_prompt();
            terminal.expect_status(status);
        }
        if recipe == "step3.yaml" {
            return;
        }
        for (signal, status) in
            [(Signal::SIGINT, "130"), (Signal::SIGKILL, "137"), (Signal::SIGTERM, "143")]
        {
            let seconds = unheard_of();
            terminal.type_line(&terminal.apply(recipe, &format!("sleep {seconds}")));
            let sleep = process("sleep", &seconds);
            expect_in_front(sleep);
            send(sleep, signal);
            terminal.expect_prompt();
            terminal.expect_status(status);
        }
    });
}
