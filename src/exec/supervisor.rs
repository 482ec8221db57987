//! The process that stays on the host: takes its own steps, passes signals
//! on, looks after the terminal, and knows how it ended.

use std::{
    cell::{Cell, OnceCell, RefCell},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::sys::signalfd::SignalFd;

use crate::{
    ops::{Evidence, Stage, Turnings},
    plan::{Actor, Plan},
    sys::{
        Call, Errno, Fault,
        process::{self, Change},
        signal::{self, Along},
        socket,
    },
};

use super::{
    Onlooker, Outcome,
    child::GAVE_UP,
    console::Console,
    deadline::Deadline,
    init,
    pause::{Ended, Wait},
    pump::Pump,
    relay::Relay,
    turn::{self, Message},
};

/// A command that ends within this time is gone before anybody could look at
/// it, and need not be announced.
const MOMENT: Duration = Duration::from_millis(20);

/// Everything the supervisor holds.
pub(super) struct Supervisor<'a> {
    pub plan: &'a Plan,
    pub pid: i32,
    pub proc: Option<BorrowedFd<'a>>,
    pub slots: &'a [OnceCell<OwnedFd>],
    pub console: &'a Console,
    pub ours: OwnedFd,
    pub signals: SignalFd,
    pub onlooker: &'a dyn Onlooker,
    /// Whether nobody wants to be asked any more
    pub runs_through: Cell<bool>,
    pub deadline: Deadline,
    pub pump: RefCell<Option<Pump>>,
    pub relay: RefCell<Option<Relay>>,
}

/// Why the supervisor does not pass the turn back.
enum Halt {
    Fault(usize, Fault, Evidence),
    Abandoned(Option<i32>),
    Over(Change),
    /// The child does not listen any more
    Unheard,
}

/// How far the child has come.
#[derive(Default)]
struct Progress {
    is_ready: bool,
    is_silent: bool,
    is_broken: bool,
    is_over: bool,
    refused: Option<(usize, Fault, Evidence)>,
    /// How the command ended, in the words of who waited for it
    heard: Option<Change>,
    /// The command that runs, and since when, until somebody is told
    unseen: Option<(i32, Instant)>,
    abandoned: Option<Option<i32>>,
    is_unlike: bool,
    change: Option<Change>,
}

impl Supervisor<'_> {
    /// Sees the child through to its end.
    pub(super) fn run(self) -> Outcome {
        let mut progress = Progress::default();
        let change = loop {
            let socket = (!progress.is_silent).then_some(&self.ours);
            match self.wait(socket, self.patience(&progress)) {
                Ok((_, true)) => self.listen(&mut progress),
                Ok((true, _)) => {
                    if let Some(change) = self.heed_signals() {
                        break change;
                    }
                }
                _ => self.console.lend_again(None),
            }
            self.keep_limits();
            self.pass_keys();
            self.announce(&mut progress);
            if let Some(change) = progress.change {
                break change;
            }
        };
        progress.is_over = true;
        self.pass_on_the_rest();
        self.give_what_was_kept();
        self.step_back();
        self.onlooker.is_over();
        // What was said last is still in the socket, and nothing is waited for behind it.
        socket::end(self.ours.as_fd());
        while !progress.is_silent {
            self.listen(&mut progress);
        }
        match change {
            Change::Exited(0..=128) => drop(self.console.take_back()),
            _ => self.console.restore(),
        }
        if let Some(signal) = progress.abandoned {
            return Outcome::Abandoned(signal);
        }
        if progress.is_unlike {
            return Outcome::Unlike;
        }
        match progress.refused {
            Some((step, fault, evidence)) => Outcome::Refused { step, fault, evidence },
            // It may have said why it gave up, unheard.
            None if progress.is_broken && change == Change::Exited(GAVE_UP) => {
                Outcome::Lost(change)
            }
            None if progress.is_ready => self.end_of(progress.end_of_command(change)),
            None => Outcome::Lost(change),
        }
    }

    /// How many milliseconds nothing may happen before there is something to do.
    fn patience(&self, progress: &Progress) -> Option<u16> {
        let moment = progress.unseen.map(|_| MOMENT.as_millis() as u16);
        let look = self.console.time_to_look().or_else(|| self.time_to_look());
        let patience = [look, moment, self.deadline.patience()];
        patience.into_iter().flatten().min()
    }

    /// Tells the onlooker of a command that is there to stay.
    fn announce(&self, progress: &mut Progress) {
        if let Some((command, since)) = progress.unseen
            && since.elapsed() >= MOMENT
        {
            progress.unseen = None;
            self.onlooker.runs(command);
        }
    }

    fn listen(&self, progress: &mut Progress) {
        match turn::next(self.ours.as_fd()) {
            Message::Turn(step, sender) => {
                if let Err(halt) = self.take_turn(step, sender.unwrap_or(self.pid)) {
                    // A number that is free again may be somebody else's.
                    if !matches!(halt, Halt::Over(_)) {
                        self.kill();
                    }
                    progress.note(halt);
                }
            }
            Message::Shown(sender) => self.inspect(sender.unwrap_or(self.pid), progress),
            Message::Fault(step, fault, evidence) => {
                progress.refused.get_or_insert((step, fault, evidence));
            }
            Message::Ready(command) => {
                progress.is_ready = true;
                self.deadline.begin();
                self.console.meet(command);
                self.begin_keys();
                progress.unseen = Some((command.unwrap_or(self.pid), Instant::now()));
            }
            Message::Stopped(signal) if !progress.is_over => self.stop_too(signal),
            Message::Killed(signal) => progress.heard = Some(Change::Killed(signal)),
            Message::Unheard(errno) => progress.heard = Some(Change::Unknown(errno)),
            Message::Stopped(_) | Message::Mount(..) => {}
            Message::End => progress.is_silent = true,
            Message::Broken => {
                progress.is_silent = true;
                progress.is_broken = true;
                // A command that runs has no more to say that must be heard.
                if !progress.is_ready {
                    self.kill();
                }
            }
        }
    }

    /// Lets the onlooker inspect the sandbox, and its command run if that is well.
    fn inspect(&self, child: i32, progress: &mut Progress) {
        progress.is_unlike = !self.onlooker.inspects(self.plan, child);
        // A child that is gone is noticed by its end.
        if progress.is_unlike || turn::pass(self.ours.as_fd(), self.plan.steps.len()).is_err() {
            self.kill();
        }
    }

    /// Takes the supervisor's steps from here on, and passes the turn back.
    ///
    /// They are about the process that asked: if the child had to fork to get
    /// into a PID namespace, that is its child.
    fn take_turn(&self, first: usize, asked_by: i32) -> Result<(), Halt> {
        let stage = Stage::new(self.proc, asked_by, self.slots, &Never);
        self.pause_before(first, asked_by)?;
        let mut step = first;
        while let Some(own) = self.plan.steps.get(step).filter(|step| step.by == Actor::Supervisor)
        {
            if step > first {
                self.pause_before(step, asked_by)?;
            }
            let failed = |fault| Halt::Fault(step, fault, evidence(&stage));
            let taken = self.plan.take(step, own, &stage);
            // What is asked of a child that was killed meanwhile finds nothing done.
            if taken.is_err_and(Fault::is_lie) && self.is_alone_soon() {
                return Err(Halt::Unheard);
            }
            taken.map_err(failed)?;
            if let Some(slot) = own.op.hands_over() {
                let fd = stage.slot(slot).map_err(|errno| failed(Call::Sendmsg.gave(errno)))?;
                turn::hand_over(self.ours.as_fd(), slot, fd).map_err(|e| unsaid(step, e))?;
            }
            step += 1;
        }
        // A child that never hears of it would wait for ever.
        turn::pass(self.ours.as_fd(), step).map_err(|e| unsaid(step.saturating_sub(1), e))
    }

    /// Whether nobody is at the other end, or is about to be.
    fn is_alone_soon(&self) -> bool {
        socket::is_alone_within(self.ours.as_fd(), MOMENT.as_millis() as u16)
    }

    /// Lets the onlooker look around, if the plan has a pause there.
    fn pause_before(&self, step: usize, asked_by: i32) -> Result<(), Halt> {
        let Some(pause) = self.plan.pause_before(step).filter(|_| !self.runs_through.get()) else {
            return Ok(());
        };
        match Wait::new(&self.signals, self.pid).wait(pause, self.onlooker, asked_by) {
            Ended::GoOn => Ok(()),
            Ended::RunThrough => {
                self.runs_through.set(true);
                Ok(())
            }
            Ended::Abandoned(signal) => Err(Halt::Abandoned(signal)),
            Ended::Over(change) => Err(Halt::Over(change)),
        }
    }

    /// Reads every signal that is there; gives the end of the child, if it was one.
    fn heed_signals(&self) -> Option<Change> {
        while let Some(signal) = signal::next(&self.signals) {
            match signal {
                libc::SIGCHLD => {
                    if let Some(end) = self.heed_child() {
                        return Some(end);
                    }
                }
                libc::SIGWINCH if self.resize() => {}
                libc::SIGCONT => self.go_on(None),
                signal if self.onlooker.is_end(signal) => self.end_all(),
                libc::SIGTTIN | libc::SIGTTOU if self.console.is_lent() => self.share(),
                libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => self.stop_command(),
                _ => init::pass_on(self.pid, signal),
            }
        }
        None
    }

    fn heed_child(&self) -> Option<Change> {
        self.end_the_rest();
        match self.poll_child() {
            Ok(Change::None) => None,
            Ok(Change::Stopped(signal)) => {
                self.stop_too(signal);
                None
            }
            Ok(end) => Some(end),
            Err(errno) => Some(Change::Unknown(errno)),
        }
    }

    /// Stops the command; this process stops when the command does.
    pub(super) fn stop_command(&self) {
        let is_deaf = self.plan.end.is_init || !self.console.has_terminal();
        // To PID 1, and to who leads a session, the gentle signal means nothing.
        let signal = match self.console.command() == Some(self.pid) && is_deaf {
            true => libc::SIGSTOP,
            false => libc::SIGTSTP,
        };
        init::pass_on(self.pid, signal);
    }

    /// A neighbour in the pipeline was stopped for want of the terminal.
    fn share(&self) {
        self.console.take_back();
        let _ = signal::continue_group();
    }

    /// This signal stopped the command: so the shell around gets its terminal
    /// back, and sees its job stopped. Both go on together.
    fn stop_too(&self, signal: i32) {
        let wants_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if wants_terminal && self.console.lend() {
            init::pass_on(self.pid, libc::SIGCONT);
            return;
        }
        let is_at_terminal = self.console.has_terminal() || self.has_relay();
        // A clock goes on, and a count, and nobody else would end what the command has left
        // running; only a person at a terminal may stop them.
        if self.plan.watched.is_limited() && !is_at_terminal {
            return;
        }
        let last = self.console.take_back();
        self.step_back();
        // A script that waits for us, and our neighbours, stop as well.
        let along = match is_at_terminal {
            true => Along::Group,
            false => Along::Alone,
        };
        match signal::stop(along) {
            // The shell has put the job in front again, or not.
            Ok(true) => self.go_on(last),
            // Nobody is there to continue a job, so there are no jobs.
            _ if signal == libc::SIGTSTP || self.has_relay() => self.go_on(last),
            _ if wants_terminal => {
                init::pass_on(self.pid, libc::SIGHUP);
                init::pass_on(self.pid, libc::SIGCONT);
            }
            // Who stopped the command itself will continue it.
            _ => {}
        }
    }

    fn go_on(&self, last: Option<i32>) {
        self.console.lend_again(last);
        self.come_to_front();
        init::pass_on(self.pid, libc::SIGCONT);
    }

    /// Ends the child; one that cannot be killed hears that nobody talks to it any more.
    fn kill(&self) {
        let _ = process::send(self.pid, libc::SIGKILL);
        socket::end(self.ours.as_fd());
    }
}

impl Progress {
    /// How the command ended, if another process of ours waited for it.
    fn end_of_command(&self, change: Change) -> Change {
        match (self.heard, change) {
            (Some(Change::Killed(signal)), Change::Exited(status)) if status == 128 + signal => {
                Change::Killed(signal)
            }
            (Some(Change::Unknown(errno)), Change::Exited(GAVE_UP)) => Change::Unknown(errno),
            _ => change,
        }
    }

    fn note(&mut self, halt: Halt) {
        match halt {
            Halt::Fault(step, fault, evidence) => {
                self.refused.get_or_insert((step, fault, evidence));
            }
            Halt::Abandoned(signal) => self.abandoned = Some(signal),
            Halt::Over(change) => self.change = Some(change),
            Halt::Unheard => {}
        }
    }
}

/// A child that is gone has said why, or its end does.
fn unsaid(step: usize, errno: Errno) -> Halt {
    match errno {
        Errno::EPIPE => Halt::Unheard,
        errno => Halt::Fault(step, Call::Sendmsg.gave(errno), Evidence::default()),
    }
}

fn evidence(stage: &Stage) -> Evidence {
    let (log, length) = stage.log();
    Evidence::from_log(log.get(..length).unwrap_or_default(), false)
}

/// The supervisor forks once, and no step asks it to.
pub(super) struct Never;

impl Turnings for Never {
    fn fork(&self) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn stay_as_init(&self) -> Result<(), Fault> {
        Err(Call::Fork.gave(Errno::ENOSYS))
    }
}
