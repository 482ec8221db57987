//! Faults on the way: whatever call fails, the command starts with all of its isolation or not at all, one message says
//! why, and nobody waits for ever. A bounded share of what SECURITY.md counts.

#[path = "support/machine.rs"]
mod machine;

use std::process::Command;

use machine::{Desk, Ran, Who, processes_with};

/// Calls that isorecipe makes between reading the recipe and `execve`, and that the command below does not.
const CALLS: &[&str] = &[
    "clone3",
    "close_range",
    "fchdir",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mkdirat",
    "mount",
    "move_mount",
    "openat2",
    "pivot_root",
    "prctl",
    "recvmsg",
    "sendmsg",
    "sethostname",
    "setsid",
    "setsockopt",
    "signalfd4",
    "socketpair",
    "umount2",
    "unshare",
];

/// What the command finds itself to be; asked without a further process, which could be hit as well.
const REPORT: &str = r#"
    echo "ran $EUID $HOSTNAME $PWD $$"
    while read -r name rest; do case $name in
        Groups:|NoNewPrivs:|Cap*|SigBlk:|SigIgn:|Seccomp:) echo "$name $rest";;
    esac; done < /proc/self/status
    read -r own _ _ _ group session _ < /proc/self/stat
    [ "$group" = "$own" ] && [ "$session" = "$own" ] && echo "a session of its own"
    while read -r _ _ _ root at _; do echo "$root $at"; done < /proc/self/mountinfo
    for place in /*; do echo "$place"; done
"#;

/// The program under `strace`, which makes the call fail the first, second or third time.
fn strike(desk: &Desk, recipe: &str, injection: Option<&str>) -> Ran {
    let plain = desk.command(&["--plain", "apply", recipe, "--", "/usr/bin/bash", "-c", REPORT]);
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "10"]);
    if let Some(injection) = injection {
        let call = injection.split(':').next().unwrap_or_default();
        command.args(["strace", "-f", "-qq", "-o", "/dev/null"]);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={injection}")]);
    }
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(desk.folder());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if machine::own_uid() == 0 && desk.who != Who::Root {
        use std::os::unix::process::CommandExt;
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    Ran(command.output().expect("timeout"))
}

/// Strikes every call of one recipe; gives how many strikes there were.
fn storm(desk: &Desk, recipe: &str) -> usize {
    which::which("strace").expect("strace is not installed: `sudo apt install strace`");
    let whole = strike(desk, recipe, None).succeeds().out();
    assert!(whole.starts_with("ran "), "{whole}");
    let mut strikes = 0;
    for call in CALLS {
        for when in 1..=3 {
            let ran = strike(desk, recipe, Some(&format!("{call}:error=EPERM:when={when}")));
            let what =
                format!("{recipe}: {call} {when}: {}\n{}{}", ran.code(), ran.out(), ran.err());
            strikes += 1;
            match ran.code() {
                0 => assert_eq!(ran.out(), whole, "weaker: {what}"),
                125..=127 => {
                    assert!(!ran.out().contains("ran "), "ran all the same: {what}");
                    let said = ran.err().lines().filter(|line| line.starts_with("error")).count();
                    assert_eq!(said, 1, "one message: {what}");
                }
                _ => panic!("{what}"),
            }
        }
    }
    let marker = desk.folder().display().to_string();
    assert!(processes_with(&marker).is_empty(), "something is left of {recipe}");
    strikes
}

#[test]
fn a_call_that_fails_never_weakens_step_3() {
    let desk = Desk::of(Who::ordinary());
    assert_eq!(storm(&desk, "step3.yaml"), 3 * CALLS.len());
}

#[test]
fn a_call_that_fails_never_weakens_step_4() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash"]);
    storm(&desk, "step4-rootless.yaml");
}

#[test]
fn a_call_that_fails_never_weakens_a_sandbox_with_init() {
    let desk = Desk::of(Who::ordinary());
    desk.write(
        "init.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
    );
    storm(&desk, "init.yaml");
}

const RANGES: &str = "\
isorecipe: 1
layers:
  - user:
      map:
        uid: [{inside: 0, outside: 100000, count: 10}]
        gid: [{inside: 0, outside: 100000, count: 10}]
  - pid: {init: false}
";

#[test]
fn a_conversation_that_breaks_ends_both_sides() {
    if machine::own_uid() != 0 {
        // Only root writes a map of ranges itself, for which child and supervisor have to talk.
        let desk = Desk::of(Who::ordinary());
        desk.write("ranges.yaml", RANGES);
        let ran = desk.run(&["apply", "ranges.yaml", "--", "true"]);
        assert_eq!(ran.code(), 125, "{}", ran.err());
        return;
    }
    let desk = Desk::of(Who::Root);
    desk.write("ranges.yaml", RANGES);
    storm(&desk, "ranges.yaml");
}
