//! The page's ordinary user, and root.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output},
};

/// Who the page's ordinary user is when root runs the tests.
pub const ORDINARY: u32 = 12345;

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The page's ordinary user: whoever runs the tests, but never root.
pub fn reader_id(which: &str) -> String {
    match is_root() {
        true => ORDINARY.to_string(),
        false => text(&run(Command::new("id").arg(which)).stdout).trim().to_owned(),
    }
}

pub fn reader_name() -> String {
    let id = reader_id("-u");
    let found = Command::new("id").args(["-un", "--", &id]).output();
    match found {
        Ok(Output { status, stdout, .. }) if status.success() => text(&stdout).trim().to_owned(),
        _ => id,
    }
}

/// A bash with the same few variables for everybody.
pub fn bash(scratch: &Path, folder: &Path) -> Command {
    let mut bash = Command::new("bash");
    environment(&mut bash, scratch, folder);
    bash
}

pub fn ordinary(scratch: &Path, folder: &Path) -> Command {
    if !is_root() {
        return bash(scratch, folder);
    }
    let id = ORDINARY.to_string();
    let mut bash = Command::new("setpriv");
    bash.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "bash"]);
    environment(&mut bash, scratch, folder);
    bash
}

fn environment(command: &mut Command, scratch: &Path, folder: &Path) {
    // Debian gives its ordinary users no `sbin`.
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", scratch.display());
    command.env_clear().current_dir(folder).process_group(0);
    command.envs([
        ("PATH", path.as_str()),
        ("LANG", "C.UTF-8"),
        ("COLUMNS", "100"),
        ("SHELL", "/bin/bash"),
    ]);
    command.env("HOME", folder).env("USER", reader_name());
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
