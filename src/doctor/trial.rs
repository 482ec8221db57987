//! One thing tried: a child takes the steps of a small plan, and ends.
//!
//! The child is a fork like that of `apply`, so it only borrows and makes
//! system calls. What it made goes with it: it lies in namespaces of its own.

use std::{
    cell::OnceCell,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    ops::{Evidence, LOG_LENGTH, Op, Stage, Turnings},
    plan::{Actor, Plan, Step},
    sys::{
        Call, Errno, Fault, capability,
        descriptor::{self, Walk},
        filter, loop_device,
        mount::{self, Configuration},
        namespace::{self, Namespace, Side},
        process, socket,
    },
};

/// A call that no step of a plan makes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bare {
    /// `clone3` with a user namespace
    Clone3,
    /// `openat2` with a rule for the walk
    Openat2,
    /// A loop device over isorecipe itself, and a filesystem for images
    Image,
}

/// What failed, and what the failing process knows of it.
pub(super) struct Failure {
    /// The step; without one, the bare call after them
    pub step: Option<usize>,
    pub fault: Fault,
    pub seen: Evidence,
    /// Whether the process had `CAP_SYS_ADMIN` over its user namespace
    pub is_admin: bool,
}

/// How a trial ended.
pub(super) enum End {
    Worked,
    Failed(Failure),
    /// Without a word: something killed the child, or it could not be made
    Lost,
}

/// A message: kind, flags, call, step, errno, then the kernel's own words.
const HEAD: usize = 12;
const TURN: u8 = 1;
const FAULT: u8 = 2;
const DONE: u8 = 3;
/// The step number of a bare call.
const BARE: usize = u32::MAX as usize;
const SYS_ADMIN: u32 = 21;

/// Lets a child take the steps of a plan, all but the command, and then the
/// bare call.
pub(super) fn run(plan: &Plan, bare: Option<Bare>) -> End {
    descriptor::fill_standard_streams();
    let proc = descriptor::open_directory(None, c"/proc", Walk::Free).ok();
    let proc = proc.filter(|proc| mount::is_proc(proc));
    let slots: Vec<OnceCell<OwnedFd>> = (0..plan.slots).map(|_| OnceCell::new()).collect();
    let Ok((ours, theirs)) = socket::pair() else { return End::Lost };
    let proc = proc.as_ref().map(AsFd::as_fd);
    match namespace::fork() {
        Err(_) => End::Lost,
        Ok(Side::Child) => {
            drop(ours);
            play(plan, bare, &Stage::new(proc, 0, &slots, &Forks), theirs.as_fd())
        }
        Ok(Side::Parent(pid)) => {
            drop(theirs);
            let end = listen(plan, &Stage::new(proc, pid, &slots, &Forks), ours.as_fd());
            // A child that waits for its turn sees the end of the conversation.
            drop(ours);
            process::reap(pid);
            end
        }
    }
}

fn is_tried(step: &Step) -> bool {
    // What a filter does not let through would not be heard of.
    !matches!(step.op, Op::Execute(_) | Op::InstallFilter(_) | Op::StayAsInit(_))
}

/// The child's side.
fn play(plan: &Plan, bare: Option<Bare>, stage: &Stage, end: BorrowedFd) -> ! {
    if process::die_with_parent().is_err() || socket::is_alone(end) {
        process::exit(1);
    }
    for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| is_tried(step)) {
        let taken = match step.by {
            Actor::Child => step.op.operation().carry_out(stage),
            Actor::Supervisor => {
                hand_over(index, end);
                Ok(())
            }
        };
        if let Err(fault) = taken {
            report(end, index, fault, step.op.namespace().map(Namespace::flag), stage);
        }
    }
    if let Some(Err(fault)) = bare.map(call) {
        report(end, BARE, fault, None, stage);
    }
    let _ = socket::send(end, &head(DONE, 0, 0, 0, 0), None);
    process::exit(0)
}

fn hand_over(step: usize, end: BorrowedFd) {
    let mut answer = [0; HEAD];
    let asked = socket::send(end, &head(TURN, 0, 0, step, 0), None);
    let is_told = socket::receive(end, &mut answer).is_ok_and(|received| received.length > 0);
    if asked.is_err() || !is_told {
        process::exit(1);
    }
}

fn report(end: BorrowedFd, step: usize, fault: Fault, namespace: Option<u64>, stage: &Stage) -> ! {
    let denied = match (fault.call, namespace) {
        (Call::Unshare, Some(flag)) => filter::denies_namespace(flag),
        (call, _) => filter::denies(call),
    };
    let is_filtered = denied.is_some();
    let is_admin = capability::effective().is_ok_and(|set| set & 1 << SYS_ADMIN != 0);
    let flags = u8::from(is_filtered) | u8::from(is_admin) << 1;
    let mut message = [0; HEAD + LOG_LENGTH];
    let (log, length) = stage.log();
    let (front, back) = message.split_at_mut(HEAD);
    front.copy_from_slice(&head(FAULT, flags, fault.call as u16, step, fault.errno as i32));
    back.copy_from_slice(&log);
    let _ = socket::send(end, message.get(..HEAD + length).unwrap_or_default(), None);
    process::exit(1)
}

fn head(kind: u8, flags: u8, call: u16, step: usize, errno: i32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = kind;
    head[1] = flags;
    head[2..4].copy_from_slice(&call.to_ne_bytes());
    head[4..8].copy_from_slice(&(step as u32).to_ne_bytes());
    head[8..12].copy_from_slice(&errno.to_ne_bytes());
    head
}

/// The supervisor's side: takes its steps when it is its turn.
fn listen(plan: &Plan, stage: &Stage, end: BorrowedFd) -> End {
    loop {
        let mut message = [0; HEAD + LOG_LENGTH];
        let length = socket::receive(end, &mut message).map_or(0, |received| received.length);
        let (head, log) = message.split_at(HEAD);
        let number = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let step = number(4) as usize;
        match (length, head[0]) {
            (HEAD.., DONE) => return End::Worked,
            (HEAD.., FAULT) => {
                let call = Call::from_number(u16::from_ne_bytes([head[2], head[3]]));
                let Some(call) = call else { return End::Lost };
                let words = log.get(..length - HEAD).unwrap_or_default();
                return End::Failed(Failure {
                    step: (step != BARE).then_some(step),
                    fault: call.gave(Errno::from_raw(number(8) as i32)),
                    seen: Evidence::from_log(words, head[1] & 1 != 0),
                    is_admin: head[1] & 2 != 0,
                });
            }
            (HEAD.., TURN) => {
                let Some(taken) = plan.steps.get(step) else { return End::Lost };
                if let Err(fault) = taken.op.operation().carry_out(stage) {
                    let (log, length) = stage.log();
                    let words = log.get(..length).unwrap_or_default();
                    let seen = Evidence::from_log(words, false);
                    return End::Failed(Failure { step: Some(step), fault, seen, is_admin: true });
                }
                if socket::send(end, &[TURN], None).is_err() {
                    return End::Lost;
                }
            }
            _ => return End::Lost,
        }
    }
}

/// A fork in a trial: the parent only waits, and ends with its child.
struct Forks;

impl Turnings for Forks {
    fn fork(&self) -> Result<(), Errno> {
        match namespace::fork()? {
            Side::Child => process::die_with_parent(),
            Side::Parent(pid) => {
                process::reap(pid);
                process::exit(0)
            }
        }
    }

    fn stay_as_init(&self) -> Result<(), Fault> {
        Err(Call::Fork.gave(Errno::ENOSYS))
    }
}

/// Makes a bare call, in the child.
fn call(bare: Bare) -> Result<(), Fault> {
    match bare {
        Bare::Clone3 => {
            let flags = Namespace::User.flag();
            match namespace::fork_into(flags).map_err(|errno| Call::Clone.gave(errno))? {
                Side::Child => process::exit(0),
                Side::Parent(pid) => {
                    process::reap(pid);
                    Ok(())
                }
            }
        }
        Bare::Openat2 => descriptor::open_place(None, c"/", Walk::InRoot)
            .map(drop)
            .map_err(|errno| Call::Open.gave(errno)),
        Bare::Image => image(),
    }
}

/// The device goes with its last descriptor, at the latest when the child ends.
fn image() -> Result<(), Fault> {
    let own = descriptor::open_to_read(c"/proc/self/exe").map_err(|e| Call::Open.gave(e))?;
    drop(loop_device::attach(&own).map_err(|errno| Call::Loop.gave(errno))?);
    let mut last = Errno::ENODEV;
    for filesystem in [c"xfs", c"ext4", c"squashfs", c"erofs"] {
        match Configuration::open(filesystem) {
            Ok(_) => return Ok(()),
            Err(errno) => last = errno,
        }
    }
    Err(Call::Fsopen.gave(last))
}
