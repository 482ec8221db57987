//! What the command may use up: `prlimit(2)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model},
    sys::{
        Call, Errno, Fault,
        cgroup::Controller,
        limit::{self, Limit, Resource},
    },
};

use super::{Evidence, Op, Operation, Stage, unexplained};

/// A limit of the process, and of all that it starts.
pub struct SetLimit {
    /// Of what
    pub resource: Resource,
    /// How much
    pub limit: Limit,
}

impl fmt::Display for SetLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, limit } = self;
        write!(f, "limit {} to {}", resource.name(), resource.written(limit.soft))?;
        match limit.soft == limit.hard {
            true => Ok(()),
            false => write!(f, ", at most {}", resource.written(limit.hard)),
        }
    }
}

impl Operation for SetLimit {
    fn answer(&self, model: &Model) -> Answer {
        match model.may_limit(self.resource, self.limit) {
            Ok(()) => Answer::Yes,
            Err(objection) => objection.to(Call::Prlimit),
        }
    }

    fn effect(&self, model: &mut Model) {
        model.limits.set(self.resource, self.limit);
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        limit::set(self.resource, self.limit).map_err(|errno| Call::Prlimit.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match limit::get(self.resource).map_err(|errno| Call::Prlimit.gave(errno))? {
            now if now == self.limit => Ok(()),
            _ => Err(stage.lie(Call::Prlimit, b"")),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let name = self.resource.name();
        if fault.errno != Errno::EPERM {
            return unexplained(self, fault);
        }
        let most = before.host.kernel_settings.as_ref().and_then(|known| known.nr_open);
        if let (Resource::OpenFiles, Some(most)) = (self.resource, most)
            && self.limit.hard > most
        {
            return Refusal::new(
                "rlimits::past_nr_open",
                format!("no process of this machine may have more than {most} descriptors"),
            )
            .why("fs.nr_open says so, to root too")
            .help(format!("write `nofile: {most}` or less"));
        }
        let now = before.limits.get(self.resource);
        let Some(now) = now.filter(|now| self.limit.hard > now.hard) else {
            return unexplained(self, fault);
        };
        let hard = self.resource.written(now.hard);
        let refusal = Refusal::new(
            "rlimits::cannot_raise",
            format!("the hard limit of `{name}` is {hard}, and cannot be raised"),
        )
        .help(format!("write `{name}: {hard}` or less"));
        match before.limits.own(self.resource) {
            Some(_) => refusal.why("a layer before it has lowered it"),
            None => refusal
                .why("only who has CAP_SYS_RESOURCE in the machine's first user namespace may"),
        }
    }
}

impl Op {
    /// What the kernel would say, as far as the limits that the recipe has set
    /// let it come to that.
    pub fn answer(&self, model: &Model) -> Answer {
        let limits = &model.limits;
        let is_starved = match self {
            Op::EnterTime(_) | Op::Fork(_) | Op::StayAsInit(_) => {
                limits.are_few_descriptors() || model.may_lack_processes()
            }
            Op::EnterGroup(_) => false,
            Op::Execute(_) => limits.is_little_memory() || limits.may_be_exceeded(),
            Op::Become(_)
            | Op::ChangeDirectory(_)
            | Op::KeepCapabilities(_)
            | Op::LimitCapabilities(_)
            | Op::NewNamespace(_)
            | Op::NoNewPrivileges(_)
            | Op::SetDomainname(_)
            | Op::SetHostname(_)
            | Op::SetLimit(_)
            | Op::TakeUpCapabilities(_) => false,
            _ => limits.are_few_descriptors(),
        };
        // Asked in any case: what it looks at is wanted when it fails.
        let answer = self.operation().answer(model);
        if is_starved { Answer::KernelDecides } else { answer }
    }

    /// The answer and, unless it is no, the effect.
    pub fn simulate(&self, model: &mut Model) -> Answer {
        let answer = self.answer(model);
        if !matches!(answer, Answer::No(_)) {
            self.operation().effect(model);
        }
        answer
    }
}

/// What a step meets with because the recipe has limited it.
pub(super) fn explain(fault: Fault, before: &Model) -> Option<Refusal> {
    let limits = &before.limits;
    match (fault.call, fault.errno) {
        (_, Errno::EMFILE) if limits.are_few_descriptors() => Some(few_descriptors()),
        (Call::Fork | Call::Clone | Call::Execve, Errno::EAGAIN) => {
            let shared = limits.shared(Controller::Pids).map(|_| few_in_group());
            shared.or_else(|| limits.own(Resource::Processes).map(|_| few_processes()))
        }
        (Call::Execve, Errno::E2BIG | Errno::ENOMEM) if limits.is_little_memory() => {
            Some(little_memory())
        }
        _ => None,
    }
}

fn few_descriptors() -> Refusal {
    Refusal::new("rlimits::few_descriptors", "this step finds no descriptor free")
        .why("`nofile` was limited before it")
        .help("move the `rlimits` layer below it, or raise `nofile`")
}

fn few_processes() -> Refusal {
    Refusal::new("rlimits::few_processes", "there can be no more processes of this user")
        .why("`nproc` counts all of them, threads and an init included")
        .help("raise `nproc`")
}

fn few_in_group() -> Refusal {
    Refusal::new("limits::few_processes", "the sandbox may have no more processes")
        .why("`pids` counts all of them, threads and an init included")
        .help("raise `pids`, or put the `limits` layer after the `pid` layer")
}

fn little_memory() -> Refusal {
    Refusal::new("rlimits::little_memory", "the limits leave too little memory to start a program")
        .why("its arguments, its stack and its libraries have to fit into `as`, `data` and `stack`")
        .help("raise them: `rlimits: {as: 512M, stack: 8M}`")
}
