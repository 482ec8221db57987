//! A terminal of the command's own, behind the one that isorecipe is called on: when there is one, and what passes.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/terminal.rs"]
mod terminal;

use std::fs;

use terminal::{Terminal, expect_in_front, expect_stopped, process, unheard_of};

/// With an init in front of the command, and without one.
const NEW: [&str; 2] = ["new.yaml", "new-alone.yaml"];

/// Types one letter into the terminal, as if somebody had.
const TYPING: &str =
    r#"perl -e '$k = "Z"; print ioctl(STDIN, 0x5412, $k) ? "typed" : "refused", "\n"'"#;

/// Whether this machine lets programs type into their terminal.
fn may_type() -> bool {
    fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.trim() != "0")
}

#[test]
fn a_command_has_a_terminal_of_its_own_where_it_could_type_into_the_callers() {
    let terminal = Terminal::open().sharing(&["step3.yaml"]);
    let filter = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - seccomp: default\n";
    terminal.desk.write("filter.yaml", filter);
    let outer = terminal.says("tty");
    let of = |recipe: &str| terminal.says(&terminal.apply(recipe, "tty"));
    assert_eq!(of("step1.yaml") != outer, may_type());
    assert_ne!(of("new.yaml"), outer);
    assert_eq!(of("step3.yaml"), outer);
    assert_eq!(of("filter.yaml"), outer);
}

#[test]
fn what_a_command_types_into_its_terminal_is_not_read_by_the_shell() {
    let terminal = Terminal::open();
    for recipe in ["step1.yaml", "step3.yaml", "new.yaml", "new-alone.yaml"] {
        terminal.type_line(&terminal.apply(recipe, TYPING));
        terminal.expect(if recipe.starts_with("new") && may_type() { "typed" } else { "ed" });
        terminal.expect_prompt();
        terminal.expect_shell_answers();
    }
}

#[test]
fn a_plan_says_which_terminal_the_command_has() {
    let terminal = Terminal::open().sharing(&["step3.yaml"]);
    let of =
        |recipe: &str| terminal.says(&format!("./isorecipe plan {recipe} | grep '  terminal '"));
    assert!(of("new.yaml").ends_with("a new one, behind the caller's"));
    assert!(of("step3.yaml").contains("the caller's, which it may"));
    let auto = if may_type() { "a new one, since" } else { "the caller's, which it may not" };
    assert!(of("step1.yaml").contains(auto));
}

#[test]
fn streams_that_are_no_terminal_are_the_callers_own_byte_for_byte() {
    let terminal = Terminal::open();
    let bytes: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(terminal.desk.path("in"), &bytes).expect("a file");
    for recipe in NEW {
        let cat = terminal.apply(recipe, "cat");
        terminal.type_line(&format!(
            "{cat} <in >out; cmp in out && cat in | {cat} | cmp in - && echo sa''me"
        ));
        terminal.expect("same");
        terminal.expect_prompt();
        let errors = "bash -c 'printf \"a\\nb\\n\" >&2'";
        terminal.type_line(&format!("{} 2>err; od -An -c err", terminal.apply(recipe, errors)));
        terminal.expect("   a  \\n   b  \\n");
        terminal.expect_prompt();
    }
}

#[test]
fn all_that_is_printed_at_the_end_is_there() {
    for recipe in NEW {
        let terminal = Terminal::open();
        for _ in 0..2 {
            let said = terminal.says(&terminal.apply(recipe, "seq -s, 2000"));
            let numbers: String = said.lines().collect();
            assert!(numbers.ends_with(",1999,2000"), "{said}");
        }
    }
}

#[test]
fn a_program_that_takes_every_key_gets_every_key() {
    let terminal = Terminal::open();
    for recipe in NEW {
        // The keys that would interrupt, stop and end, had it not switched that off.
        let script = "bash -c 'stty raw -echo; echo re\"\"ady; head -c 4 | od -An -tx1; stty sane'";
        terminal.type_line(&terminal.apply(recipe, script));
        terminal.expect("ready");
        for key in ["C-c", "C-z", "C-\\", "C-d"] {
            terminal.press(key);
        }
        terminal.expect_within("03 1a 1c 04");
        terminal.expect_prompt();
        terminal.expect_status("0");
        terminal.expect_shell_answers();
    }
}

#[test]
fn a_command_that_handles_ctrl_z_itself_is_not_stopped_from_outside() {
    let terminal = Terminal::open();
    for recipe in NEW {
        let script = "bash -c 'trap \"echo hea\"\"rd; exit 4\" TSTP; echo re\"\"ady; while :; do sleep 0.05; done'";
        terminal.type_line(&terminal.apply(recipe, script));
        terminal.expect("ready");
        terminal.press("C-z");
        terminal.expect("heard");
        terminal.expect_prompt();
        terminal.expect_status("4");
    }
}

#[test]
fn keys_behind_a_ctrl_z_are_the_commands_when_it_goes_on() {
    let terminal = Terminal::open();
    for recipe in NEW {
        terminal.type_line(&terminal.apply(recipe, "cat"));
        let cat = process("cat", "cat");
        expect_in_front(cat);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        expect_stopped(cat);
        terminal.expect_shell_answers();
        terminal.type_line("fg");
        terminal.expect_within("isorecipe");
        terminal.type_line("hello");
        terminal.expect("hello");
        terminal.expect("hello");
        terminal.press("C-d");
        terminal.expect_prompt();
        terminal.expect_status("0");
    }
}

#[test]
fn the_window_has_its_size_from_the_beginning_and_after_a_stop() {
    for recipe in NEW {
        let terminal = Terminal::open();
        let script = "bash -c 'stty size; sleep SECONDS; stty size'";
        let seconds = unheard_of();
        terminal.type_line(&terminal.apply(recipe, &script.replace("SECONDS", &seconds)));
        terminal.expect("300 100");
        let sleep = process("sleep", &seconds);
        expect_in_front(sleep);
        terminal.press("C-z");
        terminal.expect_within("Stopped");
        terminal.expect_prompt();
        terminal.resize(90, 301);
        terminal.type_line("fg");
        terminal.expect_within("isorecipe");
        terminal::send(sleep, nix::sys::signal::Signal::SIGTERM);
        terminal.expect("301 90");
        terminal.expect_prompt();
    }
}

#[test]
fn the_terminal_is_sane_after_a_limit_and_the_line_about_it_stands_at_the_left() {
    let terminal = Terminal::open();
    for recipe in NEW {
        terminal.type_line("stty -a >before");
        let raw = "bash -c 'stty raw -echo; sleep 1000'";
        terminal.type_line(&format!("./isorecipe --plain apply --timeout 300ms {recipe} -- {raw}"));
        let line = terminal.expect_within("300");
        terminal.expect_prompt();
        assert!(!line.starts_with(' '), "{line:?}");
        terminal.expect_status("124");
        terminal.type_line("stty -a >after");
        terminal.expect_prompt();
        assert_eq!(terminal.desk.read("after"), terminal.desk.read("before"));
    }
}

#[test]
fn where_no_terminal_can_be_had_the_command_does_not_start() {
    let terminal = Terminal::open();
    let without =
        "mount --bind /dev/null /dev/ptmx && ./isorecipe --plain apply new.yaml -- echo nev''er";
    terminal.type_line(&format!("unshare --user --map-root-user --mount sh -c \"{without}\""));
    terminal.expect_within("error[terminal::none]");
    terminal.expect_prompt();
    terminal.expect_status("125");
    assert!(!terminal.screen().contains("\nnever"));
}

#[test]
fn a_command_without_a_terminal_gets_none() {
    let terminal = Terminal::open();
    for recipe in NEW {
        terminal.desk.write("in", "");
        let asks = "bash -c ': </dev/tty || echo no''ne'";
        terminal.type_line(&format!("{} <in >out 2>&1; cat out", terminal.apply(recipe, asks)));
        terminal.expect("none");
        terminal.expect_prompt();
    }
}
