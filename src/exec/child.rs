//! What the forked child does, from its first instruction to `execve`.
//!
//! The child shares no locks and no allocator with anyone sane: it may only
//! borrow what the supervisor prepared and make system calls.
//!
//! **Invariant:** it never allocates (held by `tests/child.rs`).

use std::{
    cell::OnceCell,
    os::fd::{BorrowedFd, OwnedFd},
};

use crate::{
    ops::{Op, Stage, Turnings},
    plan::{Actor, Plan, Step},
    sys::{
        Call, Errno, Fault, Namespace,
        capability::{self, Sets},
        descriptor, filter, keyring, look,
        namespace::{self, Side},
        process, signal, socket, terminal,
    },
};

use super::{
    init, is_taken_by,
    pump::Ends,
    relay,
    turn::{self, Message},
};

/// What a child exits with when it could not become the command: the
/// supervisor knows why, and nobody else sees it.
pub(super) const GAVE_UP: i32 = 125;

/// What the child is given on its way.
pub(super) struct Birth<'a> {
    pub proc: Option<BorrowedFd<'a>>,
    pub slots: &'a [OnceCell<OwnedFd>],
    pub before: signal::Before,
    /// Whether it stays in the session of the caller
    pub has_terminal: bool,
    /// The terminal that the command is to have
    pub front: Option<BorrowedFd<'a>>,
    pub namespaces: Namespaces,
    /// Whether somebody looks at the sandbox before its command runs
    pub is_inspected: bool,
    /// Where the command prints to, if the supervisor counts it
    pub ends: &'a Ends,
    /// A terminal that nobody else has
    pub own_terminal: Option<relay::Own<'a>>,
}

/// The supervisor's namespaces, in the order of [`Namespace::ALL`]; 0: not known.
pub(super) type Namespaces = [u64; Namespace::ALL.len()];

/// Takes the child's steps, up to the last, which is the command.
pub(super) fn play(plan: &Plan, birth: &Birth, end: BorrowedFd) -> ! {
    let child = Child {
        // Init is told to stop, and stops the command; PID 1 is deaf to it.
        stop: stop_signal(plan, birth),
        birth,
        end,
        is_looked_at: is_looked_at_behind_init(plan),
    };
    let stage = Stage::new(birth.proc, 0, birth.slots, &child);
    if socket::is_alone(end) {
        process::exit(GAVE_UP);
    }
    let tied = process::die_with_parent().map_err(|errno| Call::Prctl.gave(errno));
    let apart = tied.and_then(|()| stand_apart(birth.has_terminal));
    if let Err(fault) = apart.and_then(|()| leave_keys(plan)) {
        child.give_up(plan.steps.len().saturating_sub(1), fault, false, &stage);
    }
    let last = last_free(plan);
    for (index, step) in plan.steps.iter().enumerate() {
        match step.by {
            _ if step.at_birth => {
                if let Err(fault) = child.is_born_into(step, &stage) {
                    child.give_up(index, fault, false, &stage);
                }
            }
            Actor::Supervisor => child.wait_for_supervisor(plan, index, &stage),
            Actor::Child => {
                if plan.pause_before(index).is_some() {
                    child.pass_turn(index, &stage);
                }
                let taken = match index == last {
                    true => child.get_ready(&stage),
                    false => Ok(()),
                };
                if let Err(fault) = taken.and_then(|()| plan.take(index, step, &stage)) {
                    child.give_up(index, fault, is_filtered(plan, index, fault.call), &stage);
                }
            }
        }
    }
    // Whoever becomes the command does not come here.
    child.give_up(plan.steps.len().saturating_sub(1), Call::Execve.lied(), false, &stage)
}

/// What stops whom this process forks. An init is told to stop, and stops the
/// command; PID 1 is deaf to that, and so is who leads a session.
fn stop_signal(plan: &Plan, birth: &Birth) -> i32 {
    let has_init = || plan.steps.iter().any(|step| matches!(step.op, Op::StayAsInit(_)));
    match plan.end.is_init || birth.own_terminal.is_some() && !has_init() {
        true => libc::SIGSTOP,
        false => libc::SIGTSTP,
    }
}

/// The step before which the process gets ready for the command: the command
/// itself, or the first of the filters right before it, which may deny what
/// getting ready takes.
fn last_free(plan: &Plan) -> usize {
    let filter = |step: &Step| matches!(step.op, Op::InstallFilter(_));
    let mut last = plan.steps.len().saturating_sub(1);
    while plan.pause_before(last).is_none()
        && last.checked_sub(1).and_then(|before| plan.steps.get(before)).is_some_and(filter)
    {
        last -= 1;
    }
    last
}

/// Leaves the caller's job: signals to it are the supervisor's to pass on, and
/// a command in it could signal everybody there.
fn stand_apart(has_terminal: bool) -> Result<(), Fault> {
    match has_terminal {
        true => process::new_group().map_err(|errno| Call::Setpgid.gave(errno)),
        false => process::new_session().map_err(|errno| Call::Setsid.gave(errno)),
    }?;
    let (session, group) = look::session_and_group();
    let own = process::own_pid();
    match has_terminal {
        true if group != own => Err(Call::Setpgid.lied()),
        false if session != own => Err(Call::Setsid.lied()),
        _ => Ok(()),
    }
}

/// Leaves the caller's keys, which a session keyring gives to all who are in it.
fn leave_keys(plan: &Plan) -> Result<(), Fault> {
    let is_denied = |call| plan.end.process.filtered(call).is_some_and(|it| !it.lets_through());
    match keyring::join_new() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Call::Keyctl.lied()),
        // A kernel that keeps no keys; or a filter around isorecipe, which is around the command too.
        Err(Errno::ENOSYS) => Ok(()),
        Err(_) if filter::denies(Call::Keyctl).is_some() => Ok(()),
        Err(Errno::EDQUOT) if KEY_CALLS.into_iter().all(is_denied) => Ok(()),
        Err(errno) => Err(Call::Keyctl.gave(errno)),
    }
}

/// The calls that read and write keys.
const KEY_CALLS: [&str; 3] = ["add_key", "keyctl", "request_key"];

/// A child on its way.
struct Child<'a> {
    birth: &'a Birth<'a>,
    end: BorrowedFd<'a>,
    stop: i32,
    /// Whether its files in `/proc` are of use once init stays behind
    is_looked_at: bool,
}

/// Maps that the command writes itself, and pauses, come before it is hidden.
fn is_looked_at_behind_init(plan: &Plan) -> bool {
    let stays = |step: &Step| matches!(step.op, Op::StayAsInit(_));
    let Some(init) = plan.steps.iter().position(stays) else { return false };
    let writes =
        |step: &Step| matches!(step.op, Op::DenySetgroups(_) | Op::WriteMap(_) | Op::SetClocks(_));
    plan.steps.iter().skip(init).any(writes) || plan.pauses.iter().any(|pause| pause.before > init)
}

impl Child<'_> {
    /// Says what went wrong, and ends.
    fn give_up(&self, step: usize, fault: Fault, filtered: bool, stage: &Stage) -> ! {
        turn::fail(self.end, step, fault, filtered, stage);
        process::exit(GAVE_UP)
    }

    /// What was to be done while it was made is done, and not only claimed.
    fn is_born_into(&self, step: &Step, stage: &Stage) -> Result<(), Fault> {
        if let Some(kind) = step.op.namespace() {
            let before = Namespace::ALL.iter().zip(self.birth.namespaces);
            let before = before.filter(|(other, _)| **other == kind).map(|(_, number)| number);
            stage.remember([before.sum(), 0]);
        }
        if let Op::EnterTime(_) = step.op {
            // Who is born into it has not looked at it from outside.
            step.op.operation().note(stage)?;
        }
        let found = step.op.operation().read_back(stage);
        found.map_err(|fault| if fault.is_lie() { Call::Clone.lied() } else { fault })
    }

    /// Lets the supervisor take its steps. The first of them speaks for all
    /// that follow directly.
    fn wait_for_supervisor(&self, plan: &Plan, step: usize, stage: &Stage) {
        if step > 0 && is_taken_by(plan, step - 1, Actor::Supervisor) {
            return;
        }
        self.pass_turn(step, stage);
    }

    /// Waits until the supervisor passes the turn back.
    fn pass_turn(&self, step: usize, stage: &Stage) {
        if turn::pass(self.end, step).is_err() {
            process::exit(GAVE_UP);
        }
        loop {
            match turn::next(self.end) {
                Message::Turn(..) => return,
                Message::Mount(slot, Some(fd)) => {
                    if stage.keep(slot, fd).is_err() {
                        process::exit(GAVE_UP);
                    }
                }
                _ => process::exit(GAVE_UP),
            }
        }
    }

    /// Waits until whoever inspects the sandbox lets its command run.
    fn be_inspected(&self) {
        let shown = turn::show(self.end);
        if shown.is_err() || !matches!(turn::next(self.end), Message::Turn(..)) {
            process::exit(GAVE_UP);
        }
    }

    /// Makes the process an ordinary one again: the terminal, the caller's
    /// signals, no descriptor but the first three.
    fn get_ready(&self, stage: &Stage) -> Result<(), Fault> {
        let prctl = |errno| Call::Prctl.gave(errno);
        if let Some(terminal) = self.birth.front {
            // A terminal that is gone is not worth stopping for.
            let _ = terminal::take(terminal);
        }
        if let Some(own) = &self.birth.own_terminal {
            own.take()?;
        }
        // A change of ids took it away.
        process::die_with_parent().map_err(prctl)?;
        if socket::is_alone(self.end) {
            process::exit(GAVE_UP);
        }
        self.birth.ends.take_places().map_err(|errno| Call::Fcntl.gave(errno))?;
        self.close_the_rest(stage)?;
        signal::default_sigpipe().map_err(|errno| Call::Sigaction.gave(errno))?;
        if self.birth.is_inspected {
            // What init's child must not be, it is again with `execve`.
            process::become_dumpable().map_err(prctl)?;
            self.be_inspected();
        }
        if turn::ready(self.end).is_err() {
            process::exit(GAVE_UP);
        }
        signal::release(&self.birth.before).map_err(|errno| Call::Sigprocmask.gave(errno))
    }

    /// Lets no descriptor but the first three live on in the command. Ours end
    /// with `execve` anyhow; what somebody else left open shows by one that would not.
    fn close_the_rest(&self, stage: &Stage) -> Result<(), Fault> {
        let fcntl = |errno| Call::Fcntl.gave(errno);
        descriptor::keep_on_exec(self.end).map_err(fcntl)?;
        descriptor::close_on_exec_from(3).map_err(|errno| Call::CloseRange.gave(errno))?;
        match look::is_closed_on_exec(self.end).map_err(fcntl)? {
            true => Ok(()),
            false => Err(stage.lie(Call::CloseRange, b"descriptors stay open")),
        }
    }

    fn go_on_in_child(&self) -> Result<Option<i32>, Errno> {
        let parent = process::open_own()?;
        match namespace::fork()? {
            Side::Parent(pid) => Ok(Some(pid)),
            Side::Child => {
                process::die_with_parent()?;
                // Who died before could not be heard of; and the first of a PID
                // namespace cannot ask who its parent is.
                if process::is_over(&parent) {
                    process::exit(GAVE_UP);
                }
                // Who goes on stands as far apart as who began.
                stand_apart(self.birth.has_terminal).map_err(|fault| fault.errno)?;
                Ok(None)
            }
        }
    }
}

impl Turnings for Child<'_> {
    fn fork(&self) -> Result<(), Errno> {
        match self.go_on_in_child()? {
            Some(pid) => init::stay(pid, self.end, self.stop),
            None => Ok(()),
        }
    }

    fn stay_as_init(&self) -> Result<(), Fault> {
        let forked = |errno| Call::Fork.gave(errno);
        // Nobody inside may look into init, from the first moment on; `execve`
        // gives it back to the command.
        process::become_undumpable().map_err(forked)?;
        match self.go_on_in_child().map_err(forked)? {
            Some(pid) => {
                // Signals are all that it is left to send. Who cannot give up the
                // rest says so, and the command ends with its init.
                give_up_capabilities()?;
                let stop = match self.birth.own_terminal {
                    Some(_) => libc::SIGSTOP,
                    None => libc::SIGTSTP,
                };
                init::stay(pid, self.end, stop)
            }
            None if self.is_looked_at => process::become_dumpable().map_err(forked),
            None => Ok(()),
        }
    }
}

/// Leaves init none but CAP_KILL: the command may have become somebody else,
/// and is to be signalled all the same.
fn give_up_capabilities() -> Result<(), Fault> {
    const KILL: u64 = 1 << 5;
    let gave = |errno| Call::Capset.gave(errno);
    let left = capability::sets().map_err(gave)?.permitted & KILL;
    let left = Sets { effective: left, permitted: left, inheritable: 0 };
    capability::set(left).map_err(gave)?;
    match capability::sets().map_err(gave)? == left {
        true => Ok(()),
        false => Err(Call::Capset.lied()),
    }
}

/// Whether something answers this call in the kernel's place.
fn is_filtered(plan: &Plan, step: usize, call: Call) -> bool {
    let mut before = plan.steps.iter().take(step);
    // Under a filter of its own, to ask might be the end.
    if before.any(|step| matches!(step.op, Op::InstallFilter(_))) {
        return false;
    }
    match (call, plan.steps.get(step).and_then(|step| step.op.namespace())) {
        (Call::Unshare, Some(kind)) => filter::denies_namespace(kind.flag()).is_some(),
        _ => filter::denies(call).is_some(),
    }
}
