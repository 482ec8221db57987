//! The built program, run from outside, in surroundings that are the same everywhere.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A run of `isorecipe` that is being put together.
pub struct Program(Command);

/// How a run ended, and what it wrote, with its folder as `.`.
#[derive(Debug)]
pub struct Run {
    /// 128 and more for a signal, as a shell counts
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `isorecipe` with these words.
pub fn isorecipe<const N: usize>(words: [&str; N]) -> Program {
    program(env!("CARGO_BIN_EXE_isorecipe")).args(&words)
}

/// A program, in an environment that says as little as possible.
pub fn program(path: impl AsRef<OsStr>) -> Program {
    let mut command = Command::new(path);
    command.env_clear().envs([
        ("PATH", "/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("COLUMNS", "100"),
        ("HOME", "/home/ann"),
        ("SHELL", "/bin/sh"),
    ]);
    Program(command)
}

pub fn folder_of_tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

impl Program {
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.0.arg(word);
        self
    }

    pub fn args(mut self, words: &[&str]) -> Self {
        self.0.args(words);
        self
    }

    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    pub fn env<const N: usize>(mut self, variables: [(&str, &str); N]) -> Self {
        self.0.envs(variables);
        self
    }

    /// What has to be set up in the process itself.
    pub fn command(&mut self) -> &mut Command {
        &mut self.0
    }

    /// Runs it to its end with these bytes on standard input.
    pub fn run(mut self, input: &[u8]) -> Run {
        let folder = self.0.get_current_dir().map(|folder| {
            let folder = folder.canonicalize().expect("the folder");
            folder.display().to_string()
        });
        let mut child = self
            .0
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("isorecipe");
        // A program that ends without reading has closed the pipe, which is its right.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("text");
            match &folder {
                Some(folder) => text.replace(folder.as_str(), "."),
                None => text,
            }
        };
        Run {
            status: status(output.status),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

fn status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let signal = || 128 + status.signal().expect("an end");
    status.code().unwrap_or_else(signal)
}
