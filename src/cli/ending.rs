//! How a run of `apply` ended: in words, as an exit status, and as facts in a file.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use nix::fcntl::{FcntlArg, OFlag};
use serde::Serialize;

use crate::{
    diagnostic::{Diagnostic, Record, Refusal},
    exec::{Exceeded, Outcome},
    host::{Host, Invoker},
    ops::{Evidence, Op},
    plan::{Plan, Step},
    recipe::{Document, Recipe, Run},
    sys::{
        Call, Errno, Fault, error_words,
        ids::Acting,
        limit::Resource,
        process::{self, Change, Usage},
        signal,
    },
    verify::Attestation,
    yaml,
};

use super::{COULD_NOT_START, Output, inspection::Inspection, kernel_log, limits, located, pause};

/// As `timeout(1)` says it.
const TIME_IS_UP: u8 = 124;

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// The plan spoke against it: nothing was begun
    Plan,
    /// A step failed: the command never ran
    Steps,
    /// Whoever watched ended it at a pause
    Abandoned,
    /// The command ran
    Command,
    /// Nobody knows: its supervisor ended before it could say
    Lost,
}

/// How a run ended, as facts: what `--report` writes.
#[derive(Serialize)]
pub(super) struct Account {
    /// How far it came
    pub phase: Phase,
    /// The step of the plan that failed, from 1
    pub step: Option<usize>,
    /// What isorecipe exits with
    pub status: u8,
    /// What the command exited with
    pub exit: Option<i32>,
    /// The signal that killed the command
    pub signal: Option<i32>,
    /// The limit that it met: `cpu`, `fsize`, `time`, `output`, `memory`, `pids`
    pub limit: Option<&'static str>,
    /// From the first process of the sandbox to the last, in seconds
    pub duration: f64,
    /// What the processes of the sandbox used together
    pub usage: Option<Usage>,
    /// What was said about it
    pub problems: Vec<Record>,
    /// What `--verify` has compared, line by line
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
}

impl Account {
    fn new(duration: Duration) -> Self {
        Self {
            phase: Phase::Steps,
            step: None,
            status: COULD_NOT_START,
            exit: None,
            signal: None,
            limit: None,
            duration: duration.as_secs_f64(),
            usage: process::usage_of_children(),
            problems: Vec::new(),
            attestation: None,
        }
    }

    /// Of a run that its plan forbade.
    pub(super) fn of_plan(status: u8, problems: &[Diagnostic]) -> Self {
        let problems = problems.iter().map(Record::from).collect();
        Self { phase: Phase::Plan, status, usage: None, problems, ..Self::new(Duration::ZERO) }
    }

    fn ended(&mut self, change: Change) {
        self.phase = Phase::Command;
        self.status = status(change);
        match change {
            Change::Exited(status) => self.exit = Some(status),
            Change::Killed(signal) => self.signal = Some(signal),
            Change::Stopped(_) | Change::None | Change::Unknown(_) => {}
        }
    }
}

impl Account {
    fn met(&mut self, met: &[Exceeded]) {
        self.limit = met.first().map(Exceeded::name);
        match met.first() {
            Some(Exceeded::Time(_)) => self.status = TIME_IS_UP,
            // It may have ended by itself before it was stopped.
            Some(Exceeded::Output(_)) => self.status = killed(libc::SIGKILL),
            _ => {}
        }
    }
}

/// The file that an account goes to, opened before anything runs.
pub(super) struct Ledger {
    file: File,
    path: PathBuf,
}

impl Ledger {
    /// # Errors
    /// It cannot be written, which is better known before.
    pub(super) fn open(path: &Path) -> Result<Self, Box<Diagnostic>> {
        let refuse = |error: io::Error| Box::new(unwritable(path, &error));
        // Root may write anywhere; whoever called `sudo` may not.
        let invoker = Host::at_hand().invoker.filter(|_| nix::unistd::geteuid().is_root());
        let act = |user: Invoker| Acting::new(user.uid, user.gid, &user.groups);
        let acting = invoker.map(act).transpose().map_err(|errno| refuse(errno.into()))?;
        let file = open_to_write(path).map_err(refuse);
        drop(acting);
        let file = file?.ok_or_else(|| Box::new(not_a_place(path)))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes the account. The status of the command stays what it is.
    pub(super) fn keep(mut self, account: &Account, output: &Output) {
        let text = format!("{}\n", serde_json::to_string(account).unwrap_or_default());
        // A pipe or a terminal has no length to set.
        let _ = self.file.set_len(0);
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            output.complain(&[unwritable(&self.path, &error).warning()]);
        }
    }
}

/// Opens a place for the account; nothing if it is no place for one. What is in
/// it stays until there is something to say.
fn open_to_write(path: &Path) -> io::Result<Option<File>> {
    let is_own_stream = ["/dev/stdout", "/dev/stderr"].iter().any(|own| path == Path::new(own))
        || ["/dev/fd", "/proc/self/fd"].iter().any(|own| path.parent() == Some(Path::new(own)));
    // In a folder of everybody's, a link may lead wherever somebody wishes.
    let follow = if is_own_stream { 0 } else { libc::O_NOFOLLOW };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(follow | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let found = file.metadata()?;
    let is_own = found.uid() == nix::unistd::geteuid().as_raw() && found.nlink() == 1;
    let kind = found.file_type();
    let is_place = match is_own_stream || kind.is_fifo() || kind.is_char_device() {
        true => !kind.is_block_device(),
        false => kind.is_file() && is_own,
    };
    // Only to open it was not to be waited for.
    nix::fcntl::fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(is_place.then_some(file))
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let why = match error.raw_os_error() {
        Some(libc::ELOOP) => "it is a symbolic link".to_owned(),
        _ => error_words(error),
    };
    no_report(path).why(why).at(yaml::Path::root())
}

fn not_a_place(path: &Path) -> Diagnostic {
    no_report(path).why("it is no file of yours, or it has another name too").at(yaml::Path::root())
}

fn no_report(path: &Path) -> Refusal {
    Refusal::new("report::unwritable", format!("the report cannot go to {}", path.display()))
        .help("name a file in a folder of yours: `--report report.json`")
}

/// What is needed to say how it ended.
pub(super) struct Ending<'a> {
    pub recipe: &'a Recipe,
    pub document: &'a Document,
    pub run: &'a Run,
    pub plan: &'a Plan,
    pub output: &'a Output,
    pub inspection: Option<&'a Inspection<'a>>,
}

impl Ending<'_> {
    /// Says on standard error how it ended, and gives it as facts.
    pub(super) fn report(&self, outcome: Outcome, duration: Duration) -> Account {
        let mut account = Account::new(duration);
        if let Some(inspection) = self.inspection {
            (account.attestation, account.problems) = inspection.take();
        }
        match outcome {
            Outcome::Ended(Change::Unknown(errno)) => {
                account.phase = Phase::Command;
                self.complain(&mut account, Some(end_unknown(errno)));
            }
            Outcome::Ended(change) => account.ended(change),
            Outcome::AtLimit(met, change) => {
                account.ended(change);
                account.met(&met);
                limits::say_met(&met, self.output);
                if met.iter().any(|limit| limit.ends()) {
                    return account;
                }
            }
            Outcome::Abandoned(signal) => {
                pause::say_abandoned(self.output);
                account.phase = Phase::Abandoned;
                account.status = signal.map_or(COULD_NOT_START, killed);
            }
            Outcome::Refused { step, fault, evidence } => {
                account.step = Some(step + 1);
                account.status = refusal_status(fault);
                let seen = match self.plan.steps.get(step) {
                    Some(taken) => kernel_log::of_fault(&taken.op, fault, &evidence, duration),
                    None => evidence,
                };
                self.complain(&mut account, self.explain(step, fault, &seen));
            }
            // It has been said already.
            Outcome::Unlike => {}
            Outcome::Lost(change) => self.complain(&mut account, Some(lost(change))),
            Outcome::Stillborn(fault) => self.complain(&mut account, Some(stillborn(fault))),
        }
        if let Some(signal) = account.signal.filter(|signal| !is_wished_for(*signal)) {
            let limit = self.limit_of(signal);
            account.limit = limit.map(|(resource, _)| resource.name());
            self.say_killed(signal, limit, duration);
        }
        account
    }

    /// The limit of the recipe that the kernel sends this signal for, and how high it is.
    fn limit_of(&self, signal: i32) -> Option<(Resource, u64)> {
        let resource = match signal {
            libc::SIGXCPU => Resource::Cpu,
            libc::SIGXFSZ => Resource::FileSize,
            _ => return None,
        };
        let limit = self.plan.end.limits.own(resource)?;
        Some((resource, limit.soft))
    }

    /// As the shell says it of its own commands.
    fn say_killed(&self, signal: i32, limit: Option<(Resource, u64)>, took: Duration) {
        let name = signal::name(signal);
        let text = match (self.output.json, limit) {
            (true, limit) => {
                let limit = limit.map(|(resource, _)| resource.name());
                let killed = serde_json::json!({ "killed": signal, "name": name, "limit": limit });
                format!("{killed}\n")
            }
            (false, None) => {
                let why = self.filter_that_kills(signal, took).unwrap_or_default();
                format!("isorecipe: {name} (signal {signal}) killed the command{why}\n")
            }
            (false, Some((resource, most))) => format!(
                "isorecipe: {name} (signal {signal}) killed the command at its limit: {} {}\n",
                resource.name(),
                resource.written(most)
            ),
        };
        self.output.say(&text);
    }

    /// Which call it was, only the kernel's log tells, and mostly only root may read that.
    fn filter_that_kills(&self, signal: i32, took: Duration) -> Option<String> {
        let filter = |step: &&Step| matches!(step.op, Op::InstallFilter(_));
        let step = self.plan.steps.iter().find(filter).filter(|_| signal == libc::SIGSYS)?;
        let line = self.document.line(&step.origin).map(|line| format!(" of line {line}"));
        let line = line.unwrap_or_default();
        Some(match kernel_log::call_of_filter(took) {
            Some(call) => format!(": the filter{line} ends a process for `{call}`"),
            None => format!(
                ": a call that the filter{line} ends a process for; its number: `sudo dmesg | grep type=1326`"
            ),
        })
    }

    fn complain(&self, account: &mut Account, diagnostic: Option<Diagnostic>) {
        let diagnostics = located(self.document, diagnostic.into_iter().collect());
        self.output.complain(&diagnostics);
        account.problems = diagnostics.iter().map(Record::from).collect();
    }

    /// Explains with every fact there is: now they are worth looking for.
    fn explain(&self, step: usize, fault: Fault, evidence: &Evidence) -> Option<Diagnostic> {
        let (mut known, host) = self.recipe.plan_learning(Host::probe(), self.run);
        self.recipe.point_at_order(&mut known, &Rc::new(host), self.run);
        let is_same = known.steps.len() == self.plan.steps.len();
        let plan = if is_same { &known } else { self.plan };
        let explained = plan.explain(step, fault, evidence)?;
        // Foreseen with all facts, it may be known where the line belongs.
        let foreseen = plan.refusals.iter().find(|refusal| refusal.is_about_the_same(&explained));
        Some(foreseen.cloned().unwrap_or(explained))
    }
}

/// What the keyboard or the end of a pipeline does is no news to anybody.
fn is_wished_for(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGPIPE)
}

/// As the shell counts (`bash(1)`, "EXIT STATUS").
fn status(change: Change) -> u8 {
    match change {
        Change::Exited(status) => (status & 0xff) as u8,
        Change::Killed(signal) => killed(signal),
        Change::Stopped(_) | Change::None | Change::Unknown(_) => COULD_NOT_START,
    }
}

pub(super) fn killed(signal: i32) -> u8 {
    ((128 + signal) & 0xff) as u8
}

/// As the shell counts: 127 for a command that is not found, 126 for one that
/// may not be executed.
pub(super) fn refusal_status(fault: Fault) -> u8 {
    match (fault.call, fault.errno) {
        (Call::Execve, Errno::ENOENT | Errno::ENOTDIR) => 127,
        (Call::Execve, _) => 126,
        _ => COULD_NOT_START,
    }
}

fn lost(change: Change) -> Diagnostic {
    let why = match change {
        Change::Killed(signal) => format!("signal {signal} killed it"),
        Change::Exited(status) => format!("it ended with status {status}"),
        Change::Unknown(errno) => Call::Wait.gave(errno).in_words(),
        Change::Stopped(_) | Change::None => "nothing more is known".to_owned(),
    };
    Refusal::new("sandbox::lost", "the sandbox ended before its command began")
        .why(why)
        .help("if nobody killed it, look for the kernel's reasons: `sudo dmesg | tail`")
        .at(yaml::Path::root())
}

fn end_unknown(errno: Errno) -> Diagnostic {
    Refusal::new("sandbox::end_unknown", "the command ran, and nobody knows how it ended")
        .why(Call::Wait.gave(errno).in_words())
        .help("if nobody else waits for its children, tell the project: `isorecipe --version`")
        .at(yaml::Path::root())
}

pub(super) fn stillborn(fault: Fault) -> Diagnostic {
    let why = fault.in_words();
    if fault.call == Call::NewTerminal {
        return Refusal::new("terminal::none", "no new terminal can be had for the command")
            .why(why)
            .help("`ls -l /dev/ptmx`; or write `terminal: shared`, and it has the caller's")
            .at(yaml::Path::root().key("terminal"));
    }
    let refusal = Refusal::new("sandbox::not_born", "no process could be made for the sandbox");
    let help = match fault.errno {
        Errno::EMFILE => "see `ulimit -n`: it has to be 16 or more",
        Errno::ENFILE => "see `sysctl fs.file-max`",
        _ => "see `ulimit -u`, and the `pids.max` of the control group",
    };
    refusal.why(why).help(help).at(yaml::Path::root())
}
