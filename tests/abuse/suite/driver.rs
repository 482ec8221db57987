//! Runs the payload under a runner, part by part, and looks at it from the host.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    around::{TYPED, lead_session, neighbour},
    check::{Broke, Cannot, Check, Held, How, Scene, Verdict},
    ground::{Ground, PAYLOAD},
    outside::Seen,
};

/// How long a run may take once it was told to end, or has but one thing to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// Within this time all has to be gone once the runner is.
pub const GRACE: Duration = Duration::from_secs(2);

/// A runner: the words before the payload's own.
pub struct Runner<'a> {
    pub ground: &'a Ground,
    pub prefix: &'a [String],
    pub grace: Duration,
}

impl Runner<'_> {
    /// What came of every check.
    pub fn measure(&self, checks: &[&[Check]]) -> BTreeMap<&'static str, Verdict> {
        let mut found = self.main_run(checks);
        for check in checks.iter().copied().flatten() {
            if let How::Alone(scene) = check.how {
                found.insert(check.name, self.play(scene));
            }
        }
        found
    }

    fn command(&self, part: &str, more: &[String]) -> Command {
        let mut command = self.alone();
        command.arg(self.ground.payload()).args(["payload", part]);
        command.arg(format!("token={}", self.ground.token)).args(more);
        command
    }

    /// The runner's own words, from where and with what they are called.
    pub fn alone(&self) -> Command {
        let mut command = Command::new(&self.prefix[0]);
        command.args(&self.prefix[1..]).current_dir(self.ground.path("work"));
        command.env("ABUSE_SECRET", "the caller's").env("HOME", self.ground.path("home"));
        command.env_remove("SUDO_UID").env_remove("SUDO_GID").env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// Starts it as the caller, with what the caller has; `own` comes last.
    pub fn start(&self, mut command: Command, own: impl Fn() + Send + Sync + 'static) -> Child {
        let ground: *const Ground = self.ground;
        let ground = ground as usize;
        // SAFETY: the program has one thread; the ground outlives the call that starts the process.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                (*(ground as *const Ground)).become_caller();
                own();
                Ok(())
            });
        }
        command.spawn().expect("the runner")
    }

    fn quiet(&self, command: &mut Command) {
        let log = File::create(self.ground.path("hidden/stderr")).expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    }

    fn complaint(&self) -> String {
        let text = fs::read_to_string(self.ground.path("hidden/stderr")).unwrap_or_default();
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no word");
        line.chars().take(120).collect()
    }

    fn main_run(&self, checks: &[&[Check]]) -> BTreeMap<&'static str, Verdict> {
        let mut command = self.command("attack", &self.ground.facts.words());
        self.quiet(&mut command);
        let mut child = self.start(command, || {});
        let out = child.stdout.take().expect("a pipe");
        let said = until(out, "@done");
        let mut found = BTreeMap::new();
        for (name, verdict) in said.lines().filter_map(Verdict::parse) {
            if let Some(check) = checks.iter().copied().flatten().find(|check| check.name == name) {
                found.insert(check.name, verdict);
            }
        }
        let seen = self.payload_of("attack").map(|pid| Seen {
            pid,
            kept_groups: self.ground.kept_groups.clone(),
            group: child.id(),
        });
        for check in checks.iter().copied().flatten() {
            match (check.how, &seen) {
                (How::Outside(look), Some(seen)) => drop(found.insert(check.name, look(seen))),
                (How::Alone(_), _) => {}
                _ => {
                    let silent =
                        || Cannot(format!("the payload did not get there: {}", self.complaint()));
                    found.entry(check.name).or_insert_with(silent);
                }
            }
        }
        drop(child.stdin.take());
        self.end(child);
        found
    }

    /// The process of the suite that plays this part, as the host counts.
    fn payload_of(&self, part: &str) -> Option<i32> {
        self.processes(part).into_iter().min()
    }

    fn processes(&self, part: &str) -> Vec<i32> {
        let token = format!("token={}", self.ground.token);
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
        pids.filter(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == PAYLOAD
                && words.nth(2).is_some_and(|word| word == part)
                && words.any(|word| word == token)
        })
        .collect()
    }

    /// Waits for the runner, not for ever, and for nothing that it left.
    fn end(&self, mut child: Child) -> Option<std::process::ExitStatus> {
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
            }
        }
    }

    fn play(&self, scene: Scene) -> Verdict {
        match scene {
            Scene::Terminal => self.terminal(),
            Scene::Group => self.group(),
            Scene::IgnoredChild => self.ignored_child(),
            Scene::ClosedStreams => self.closed_streams(),
            Scene::Statuses => self.statuses(),
            Scene::Background => self.background(),
            Scene::Zombies => self.zombies(),
            Scene::Dies(signal) => self.dies(signal),
        }
    }

    fn run(
        &self,
        part: &str,
        more: &[String],
        own: impl Fn() + Send + Sync + 'static,
    ) -> (Option<std::process::ExitStatus>, String) {
        let mut command = self.command(part, more);
        self.quiet(&mut command);
        command.stdin(Stdio::null());
        let mut child = self.start(command, own);
        let out = child.stdout.take().expect("a pipe");
        // Somebody who was left behind may keep the pipe open.
        let status = self.end(child);
        (status, at_hand(out))
    }

    fn terminal(&self) -> Verdict {
        let (mut master, mut slave) = (0, 0);
        // SAFETY: the numbers outlive the call; no name, modes or size is asked for.
        let opened = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if opened != 0 {
            return Cannot("there is no terminal to be had".to_owned());
        }
        // SAFETY: the descriptors were just made.
        let (master, slave) =
            unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let _ = std::os::unix::fs::fchown(&slave, Some(self.ground.caller.uid), None);
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut command = self.command("terminal", &[]);
        command.stdin(end()).stdout(end()).stderr(end());
        let child = self.start(command, lead_session);
        let status = self.end(child).and_then(|status| status.code());
        let said = at_hand(File::from(master));
        let tried = said.lines().filter_map(|line| Verdict::parse(line.trim_end())).next();
        match tried {
            _ if status == Some(TYPED) => Broke("a letter waits for the caller's shell".to_owned()),
            Some((_, verdict)) => verdict,
            None => Cannot(format!(
                "the payload did not get there: {status:?} {}",
                said.chars().take(80).collect::<String>()
            )),
        }
    }

    /// A neighbour in the runner's process group, as in a pipeline.
    fn group(&self) -> Verdict {
        let (status, _) = self.run("group", &[], neighbour);
        let neighbour = self.named("abuse-neighbour");
        for pid in &neighbour {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(*pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        match status.map(|status| (status.code(), status.signal())) {
            _ if neighbour.is_empty() => Broke("the caller's neighbour was signalled".to_owned()),
            Some((Some(5 | 6), _) | (_, Some(libc::SIGUSR1))) => {
                Held("the neighbour lives".to_owned())
            }
            other => Cannot(format!("it ended with {other:?}")),
        }
    }

    fn named(&self, name: &str) -> Vec<i32> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
        pids.filter(|pid| {
            let found = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let dead = fs::read_to_string(format!("/proc/{pid}/stat"))
                .unwrap_or_default()
                .contains(") Z ");
            found.trim() == name && !dead
        })
        .collect()
    }

    fn ignored_child(&self) -> Verdict {
        // SAFETY: a disposition of the process's own.
        let ignore = || unsafe {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        };
        let (status, _) = self.run("exit", &["status=7".to_owned()], ignore);
        let code = status.and_then(|status| status.code());
        Verdict::broke_if(code != Some(7), format!("7 became {code:?}"))
    }

    fn closed_streams(&self) -> Verdict {
        let close = || {
            for fd in 0..3 {
                // SAFETY: numbers of the process's own.
                unsafe { libc::close(fd) };
            }
        };
        let (status, _) = self.run("streams", &[], close);
        match status.and_then(|status| status.code()) {
            Some(8) => Held("nothing is behind them".to_owned()),
            Some(9) => Broke("a file of the runner's is".to_owned()),
            Some(code) => Held(format!("refused with status {code}")),
            None => Cannot(format!("it ended with {status:?}")),
        }
    }

    fn statuses(&self) -> Verdict {
        for code in [0, 1, 2, 42, 124, 125, 126, 127, 255] {
            let (status, _) = self.run("exit", &[format!("status={code}")], || {});
            if status.and_then(|status| status.code()) != Some(code) {
                return Broke(format!("{code} became {status:?}"));
            }
        }
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGSEGV, libc::SIGKILL, libc::SIGABRT] {
            let (status, _) = self.run("signal", &[format!("status={signal}")], || {});
            let told = status.is_some_and(|status| {
                status.code() == Some(128 + signal) || status.signal() == Some(signal)
            });
            if !told {
                return Broke(format!("signal {signal} became {status:?}"));
            }
        }
        Held("14 of 14".to_owned())
    }

    fn background(&self) -> Verdict {
        let (status, _) = self.run("background", &[], || {});
        match status.and_then(|status| status.code()) {
            Some(0) => self.all_gone("background"),
            code => Cannot(format!("it ended with {code:?}: {}", self.complaint())),
        }
    }

    /// Whether nobody of that part lives; who does is ended.
    fn all_gone(&self, part: &str) -> Verdict {
        let begun = Instant::now();
        let mut left = self.processes(part);
        while !left.is_empty() && begun.elapsed() < self.grace {
            std::thread::sleep(Duration::from_millis(5));
            left = self.processes(part);
        }
        for pid in &left {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(*pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        Verdict::broke_if(!left.is_empty(), format!("{} left", left.len()))
    }

    fn zombies(&self) -> Verdict {
        let (status, said) = self.run("zombies", &[], || {});
        let found = said.lines().filter_map(Verdict::parse).next();
        found.map_or_else(|| Cannot(format!("it ended with {status:?}")), |(_, verdict)| verdict)
    }

    fn dies(&self, signal: i32) -> Verdict {
        let mut command = self.command("stay", &[]);
        self.quiet(&mut command);
        let mut child = self.start(command, || {});
        let said = until(child.stdout.take().expect("a pipe"), "@ready");
        if !said.contains("@ready") {
            self.end(child);
            return Cannot(format!("the payload did not get there: {}", self.complaint()));
        }
        // SAFETY: the child is this process's own, and not reaped yet.
        unsafe { libc::kill(child.id() as i32, signal) };
        let verdict = self.all_gone("stay");
        // A runner that heeds no signal is ended, too.
        let _ = child.kill();
        let _ = child.wait();
        verdict
    }
}

/// Reads until a line is there, or the end.
fn until(from: impl Read, line: &str) -> String {
    let mut said = String::new();
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        said += &text;
        if text.trim_end() == line {
            break;
        }
        bytes.clear();
    }
    said
}

/// What can be read without waiting.
fn at_hand(mut from: impl Read + AsRawFd) -> String {
    let fd = from.as_raw_fd();
    // SAFETY: a number of this process's own.
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
