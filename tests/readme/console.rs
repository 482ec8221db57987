//! The two terminal windows of the page.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::person::{bash, reader_id, reader_name, text};

/// How long a command may say nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal window: a shell, and above it the one that `sudo` gave.
pub struct Console(Vec<Shell>);

impl Console {
    pub fn new(bash: &mut Command) -> Self {
        Self(vec![Shell::start(bash)])
    }

    pub fn shell(&mut self) -> &mut Shell {
        self.0.last_mut().expect("the first shell stays")
    }

    /// Types a command. The shell of `sudo` is left when its command has ended.
    pub fn say(&mut self, command: &str) -> Result<Reply, String> {
        let reply = self.shell().say(command)?;
        if self.0.len() > 1 && reply.is_outside {
            self.0.pop();
        }
        Ok(reply)
    }

    pub fn become_root(&mut self, scratch: &Path) {
        let here =
            fs::read_link(format!("/proc/{}/cwd", self.shell().process.id())).expect("a directory");
        let ids = [reader_id("-u"), reader_id("-g")];
        let mut bash = bash(scratch, &here);
        bash.envs([("SUDO_UID", &ids[0]), ("SUDO_GID", &ids[1]), ("SUDO_USER", &reader_name())]);
        // The caller's shell would have expanded `$(which isorecipe)`; here root's does.
        let sbin = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = format!("{sbin}:{}/bin", scratch.display());
        self.0.push(Shell::start(bash.env("PATH", path)));
    }
}

/// A bash that reads its commands from a pipe, as the shells in sandboxes do
/// that it starts.
pub struct Shell {
    process: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    pub euid: String,
    status: i32,
}

pub struct Reply {
    pub lines: Vec<String>,
    pub status: i32,
    pub is_outside: bool,
}

impl Shell {
    fn start(bash: &mut Command) -> Self {
        bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = bash.spawn().expect("bash starts");
        let input = process.stdin.take().expect("a pipe");
        let mut pipe = process.stdout.take().expect("a pipe");
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self { process, input, output, euid: String::new(), status: 0 };
        shell.say("exec 2>&1; OUTSIDE=outside").expect("bash answers");
        shell
    }

    /// Waits for the answer of whatever shell reads the input now. `OUTSIDE`
    /// is not exported: only the shell that the test itself started has it.
    pub fn say(&mut self, command: &str) -> Result<Reply, String> {
        const MARK: &str = "@that-was-it";
        let before = match command.contains("$?") {
            true => format!("(exit {})\n", self.status),
            false => String::new(),
        };
        let question = format!("printf '\\n{MARK} %s %s %s\\n' $? $EUID ${{OUTSIDE-inside}}");
        writeln!(self.input, "{before}{command}\n{question}")
            .map_err(|error| format!("{command}: {error}"))?;
        let mut bytes = Vec::new();
        loop {
            let said = text(&bytes);
            if let Some((output, answer)) = said.rsplit_once(MARK)
                && let [status, euid, whose] = answer.split_whitespace().collect::<Vec<_>>()[..]
                && answer.ends_with('\n')
            {
                self.euid = euid.to_owned();
                self.status = status.parse().unwrap_or(-1);
                return Ok(Reply {
                    lines: output.trim_end().lines().map(str::to_owned).collect(),
                    status: self.status,
                    is_outside: whose == "outside",
                });
            }
            match self.output.recv_timeout(PATIENCE) {
                Ok(more) => bytes.extend(more),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("`{command}` says no more after {said}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("`{command}` ended the shell after {said}"));
                }
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
