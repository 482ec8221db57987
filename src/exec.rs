//! Running a plan: a supervisor that stays on the host and a child that
//! becomes the sandbox play the same list of steps, each its own.
//!
//! **Invariant:** either the command starts with exactly what the plan says,
//! or it never starts and one fault says why. The end of the conversation
//! means stop, never "go on".

use std::{
    cell::{Cell, OnceCell, RefCell},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use crate::{
    ops::{Evidence, Op, Stage},
    plan::{Actor, Pause, Plan},
    sys::{
        Call, Errno, Fault, Namespace,
        descriptor::{self, Walk},
        mount,
        namespace::{self, Side},
        process::{self, Change, Usage},
        signal, socket,
    },
};

mod borrow;
mod child;
mod console;
mod deadline;
mod groups;
mod init;
mod keeping;
mod keys;
mod pause;
mod pump;
mod relay;
mod supervisor;
mod turn;

pub use pause::EndsWith;
pub use pump::{Kept, Printed};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command ran and ended like this
    Ended(Change),
    /// The command ran, and met limits: the first says most about its end
    AtLimit(Vec<Exceeded>, Change),
    /// A step failed; the command never ran
    Refused {
        /// Which, counted from 0
        step: usize,
        /// What the kernel said to which call
        fault: Fault,
        /// What else was seen
        evidence: Evidence,
    },
    /// The child ended before the command began, without a word
    Lost(Change),
    /// Not even a child could be made
    Stillborn(Fault),
    /// Whoever inspected it before its command ran did not find what was asked
    Unlike,
    /// Whoever watched it stopped it at a pause, by this signal if it was one
    Abandoned(Option<i32>),
}

/// A limit of the sandbox that was met, and how high it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The time that the command may take
    Time(Duration),
    /// What it printed, in bytes
    Output(u64),
    /// The memory of the sandbox, in bytes
    Memory {
        /// How much
        most: u64,
        /// Whether the command itself was ended, and not only some of what it started
        ended: bool,
    },
    /// The number of its processes; one more was refused
    Processes(u64),
}

impl Exceeded {
    /// The name of the limit, as a recipe spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Output(_) => "output",
            Self::Memory { .. } => "memory",
            Self::Processes(_) => "pids",
        }
    }

    /// Whether it ended the command.
    pub fn ends(&self) -> bool {
        matches!(self, Self::Time(_) | Self::Output(_) | Self::Memory { ended: true, .. })
    }
}

/// Who watches a run, from the side of the host.
pub trait Onlooker {
    /// The command runs: it is this process, as the host counts.
    fn runs(&self, _command: i32) {}

    /// The run waits here; the child has this PID, as the host counts.
    fn pauses(&self, _pause: &Pause, _child: i32, _ends: EndsWith) {}

    /// What was typed is no answer, or the run is back in the foreground.
    fn asks_again(&self, _ends: EndsWith) {}

    /// Whether the sandbox is to wait once more, to be inspected before its command runs.
    fn wants_to_inspect(&self) -> bool {
        false
    }

    /// The sandbox is as its command will find it, and waits; the child has
    /// this PID, as the host counts. Says whether the command may run.
    fn inspects(&self, _plan: &Plan, _child: i32) -> bool {
        true
    }

    /// How many bytes of standard output, and as many of standard error, to keep
    /// for the onlooker. Without a number, they go where the caller's go.
    fn keeps(&self) -> Option<usize> {
        None
    }

    /// What was printed, where it was to be kept.
    fn hears(&self, _printed: Printed) {}

    /// What the processes of the sandbox have used together.
    fn counts(&self, _usage: Usage) {}

    /// Whether this signal to the supervisor asks it to end all at once, and is
    /// not for the command.
    fn is_end(&self, _signal: i32) -> bool {
        false
    }

    /// Nothing runs any more.
    fn is_over(&self) {}

    /// This could not be removed from the host.
    fn leaves_behind(&self, _what: &str) {}
}

/// An onlooker who does not care.
pub struct Nobody;

impl Onlooker for Nobody {}

/// Runs a plan to its end.
///
/// The calling process must have one thread. Signals that arrive meanwhile
/// are passed on to the command.
pub fn run(plan: &mut Plan, onlooker: &dyn Onlooker) -> Outcome {
    descriptor::fill_standard_streams();
    match attempt(plan, onlooker) {
        // What was to be made at once is made one by one, to see which fails.
        Err(_) if !plan.birth.is_empty() => {
            plan.unmerge();
            attempt(plan, onlooker).unwrap_or_else(Outcome::Stillborn)
        }
        other => other.unwrap_or_else(Outcome::Stillborn),
    }
}

fn attempt(plan: &Plan, onlooker: &dyn Onlooker) -> Result<Outcome, Fault> {
    let slots: Vec<OnceCell<OwnedFd>> = (0..plan.slots).map(|_| OnceCell::new()).collect();
    groups::open_above(plan, &slots);
    let proc = open_proc(plan);
    let proc = proc.as_ref().map(AsFd::as_fd);
    let (ours, theirs) = socket::pair().map_err(|errno| Call::Socketpair.gave(errno))?;
    socket::ask_for_sender(ours.as_fd()).map_err(|errno| Call::Setsockopt.gave(errno))?;
    // Made before the child, so that no early end is missed; and before the signals are held,
    // so that a second attempt does not take what is held now for the caller's wish.
    let signals = signal::descriptor().map_err(|errno| Call::Signalfd.gave(errno))?;
    let namespaces = namespaces(plan, proc)?;
    let pump = pump::Pump::open(plan.watched.output, onlooker.keeps());
    let (pump, ends) = pump.map_err(|errno| Call::Pipe.gave(errno))?;
    let before = signal::hold().map_err(|errno| Call::Sigprocmask.gave(errno))?;
    let relay = match relay::Relay::open(plan) {
        Ok(relay) => relay,
        Err(fault) => {
            let _ = signal::release(&before);
            return Err(fault);
        }
    };
    let console = match &relay {
        Some(_) => console::Console::apart(),
        None => console::Console::open(plan.end.is_init),
    };
    let front = console.lend_at_once();
    let birth = child::Birth {
        proc,
        slots: &slots,
        before,
        has_terminal: console.has_terminal(),
        front,
        namespaces,
        is_inspected: onlooker.wants_to_inspect(),
        ends: &ends,
        own_terminal: relay.as_ref().map(relay::Relay::for_command),
    };
    let forked = match (plan.injected_at_birth(), plan.flags_at_birth()) {
        (Some(errno), _) => Err(errno),
        (None, flags) if borrow::may(plan, &birth) => {
            let borrowed = borrow::fork(plan, &birth, flags, [ours.as_fd(), theirs.as_fd()]);
            match borrowed {
                // A filter around isorecipe may deny `clone3`, and not `clone`.
                Err(errno) if errno != Errno::ECHILD => fork(flags),
                other => other.map(Side::Parent),
            }
        }
        (None, flags) => fork(flags),
    };
    let side = forked.map_err(|errno| {
        let _ = signal::release(&before);
        match errno {
            Errno::ECHILD => Call::Clone.lied(),
            errno => Call::Clone.gave(errno),
        }
    })?;
    match side {
        Side::Child => {
            drop(ours);
            child::play(plan, &birth, theirs.as_fd())
        }
        Side::Parent(pid) => {
            drop((theirs, ends));
            let outcome = supervisor::Supervisor {
                plan,
                pid,
                proc,
                slots: &slots,
                console: &console,
                ours,
                signals,
                onlooker,
                runs_through: Cell::new(false),
                deadline: deadline::Deadline::new(plan.watched.time),
                pump: RefCell::new(pump),
                relay: RefCell::new(relay),
            }
            .run();
            end_programs(plan, &slots);
            for left in (groups::Groups { plan, slots: &slots }).remove() {
                onlooker.leaves_behind(&left);
            }
            let _ = signal::release(&before);
            Ok(outcome)
        }
    }
}

/// Forks, into new namespaces if there are any to be made.
fn fork(flags: u64) -> Result<Side, Errno> {
    match flags {
        0 => namespace::fork(),
        flags => namespace::fork_into(flags),
    }
}

/// The host's procfs, for the plans that write to it; a fake one is none.
fn open_proc(plan: &Plan) -> Option<OwnedFd> {
    let is_needed = plan.steps.iter().any(|step| needs_proc(&step.op));
    if !is_needed {
        return None;
    }
    descriptor::open_directory(None, c"/proc", Walk::Free).ok().filter(|proc| mount::is_proc(proc))
}

fn needs_proc(op: &Op) -> bool {
    matches!(
        op,
        Op::DenySetgroups(_)
            | Op::ForbidNested(_)
            | Op::WriteMap(_)
            | Op::SetClocks(_)
            | Op::HelperMap(_)
            | Op::JoinNetwork(_)
            | Op::NewNamespace(_)
            | Op::MountImage(_)
            | Op::ServeImage(_)
            | Op::UnpackImage(_)
    )
}

/// The namespaces of this process, of those kinds that the child is born into
/// others; nothing of the kinds that no procfs tells of.
fn namespaces(plan: &Plan, proc: Option<BorrowedFd>) -> Result<child::Namespaces, Fault> {
    let stage = Stage::new(proc, 0, &[], &supervisor::Never);
    let mut found = child::Namespaces::default();
    for (kind, found) in Namespace::ALL.into_iter().zip(&mut found) {
        if plan.birth.contains(&kind) {
            *found = stage.namespace(kind.link_of_next())?.unwrap_or_default();
        }
    }
    Ok(found)
}

/// Ends the programs that the supervisor has started for the sandbox.
fn end_programs(plan: &Plan, slots: &[OnceCell<OwnedFd>]) {
    let kept = plan.steps.iter().filter_map(|step| step.op.keeps_running());
    for program in kept.filter_map(|slot| slots.get(slot)?.get()) {
        process::end(program.as_fd());
    }
}

/// Whether this step is this actor's.
fn is_taken_by(plan: &Plan, step: usize, actor: Actor) -> bool {
    plan.steps.get(step).is_some_and(|step| step.by == actor)
}
