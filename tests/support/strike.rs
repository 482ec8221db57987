//! The program under `strace`, which answers a call in the kernel's place.
#![allow(dead_code, missing_docs)]

use std::{os::unix::process::CommandExt, process::Command};

use super::machine::{self, Desk, Ran, Who};

/// What the command finds itself to be; asked without a further process, which could be hit as well.
pub const REPORT: &str = r#"
    echo "ran $EUID $HOSTNAME $PWD $$"
    while read -r name rest; do case $name in
        Groups:|NoNewPrivs:|Cap*|SigBlk:|SigIgn:|Seccomp:) echo "$name $rest";;
    esac; done < /proc/self/status
    read -r own _ _ _ group session _ < /proc/self/stat
    [ "$group" = "$own" ] && [ "$session" = "$own" ] && echo "a session of its own"
    while read -r _ _ _ root at _; do echo "$root $at"; done < /proc/self/mountinfo
    for place in /*; do echo "$place"; done
"#;

/// `isorecipe apply WORDS` with a command that says what it is, with one call struck: `CALL:error=EPERM:when=2`.
pub fn strike(desk: &Desk, words: &[&str], injection: Option<&str>) -> Ran {
    let plain = desk.command(&["--plain", "apply"]);
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "10"]);
    if let Some(injection) = injection {
        which::which("strace").expect("strace is not installed: `sudo apt install strace`");
        let call = injection.split(':').next().unwrap_or_default();
        command.args(["strace", "-f", "-qq", "-o", "/dev/null"]);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={injection}")]);
    }
    command.arg(plain.get_program()).args(plain.get_args()).args(words);
    command.args(["--", "/usr/bin/bash", "-c", REPORT]).current_dir(desk.folder());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if machine::own_uid() == 0 && desk.who != Who::Root {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    Ran(command.output().expect("timeout"))
}
