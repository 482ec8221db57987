//! A filter of system calls: `seccomp(2)`.

use std::{fmt, rc::Rc};

use crate::{
    diagnostic::Refusal,
    host::Seccomp,
    model::{Answer, Model, capability},
    seccomp::{Action, Policy},
    sys::{Call, Errno, Fault, filter, seccomp},
};

use super::{Evidence, Need, Operation, Stage, unexplained, yes};

/// So many instructions of one recipe's filters are surely not too many
/// (`MAX_INSNS_PER_PATH`), though the kernel counts longer ones of its own.
const SURELY_ROOM: usize = 8192;

/// The answers of a policy, from now on, to the process and its children.
pub struct InstallFilter {
    policy: Rc<Policy>,
    program: seccomp::Program,
    /// What it is, for people
    words: String,
    /// Whether the filter lets isorecipe ask whether it is there
    may_ask: bool,
    /// What it says to a call that the kernel refuses in another way
    tells: Option<Errno>,
}

impl InstallFilter {
    /// The policy, the same as instructions, and what to call it; `before` is
    /// the state in which it is installed.
    pub fn new(
        policy: Policy,
        instructions: Vec<libc::sock_filter>,
        words: String,
        before: &Model,
    ) -> Self {
        let policy = Rc::new(policy);
        let mut after = before.process.clone();
        after.filters.push(Rc::clone(&policy));
        let tells = match after.filtered("clone3") {
            Some(Action::Errno(errno)) if errno != Errno::EINVAL => Some(errno),
            _ => None,
        };
        Self {
            may_ask: after.filtered("prctl").is_some_and(Action::lets_through),
            tells,
            policy,
            program: seccomp::Program::new(instructions),
            words,
        }
    }

    /// What it is, for people.
    pub fn words(&self) -> &str {
        &self.words
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Err(Answer::No(Call::Seccomp.gave(errno)));
        match model.process.filtered("seccomp") {
            Some(action) if action.lets_through() => {}
            Some(Action::Errno(errno)) => return no(errno),
            _ => return Err(Answer::KernelDecides),
        }
        let process = &model.process;
        if !process.no_new_privs && !model.capable(process.user, capability::SYS_ADMIN) {
            return no(Errno::EACCES);
        }
        let is_short = self.program.length() * (process.filters.len() + 1) <= SURELY_ROOM;
        let around = model.host.confinement.as_ref().and_then(|known| known.seccomp);
        match around {
            // Another filter may deny it, and its instructions count as well.
            Some(Seccomp::Filter | Seccomp::Strict) => Err(Answer::KernelDecides),
            _ if !is_short => Err(Answer::KernelDecides),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for InstallFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "install a seccomp filter: {}", self.words)
    }
}

impl Operation for InstallFilter {
    /// As `seccomp_prepare_filter()` and `seccomp_attach_filter()` ask.
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        model.process.filters.push(Rc::clone(&self.policy));
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        seccomp::install(&self.program).map_err(|errno| Call::Seccomp.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let lie = || Err(stage.lie(Call::Seccomp, b"calls are not filtered"));
        if self.may_ask && seccomp::is_filtered() != Ok(true) {
            return lie();
        }
        // Another filter may be around; so this one is asked for what it says.
        match self.tells {
            Some(errno) if filter::denies(Call::Clone) != Some(errno) => lie(),
            _ => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        match fault.errno {
            Errno::EACCES if !before.process.no_new_privs => {
                Refusal::new("seccomp::needs_no_new_privs", "a filter needs no_new_privs first")
                    .why("without it, a set-user-ID program could be misled, so the kernel asks for CAP_SYS_ADMIN")
                    .help("take `no_new_privs: false` out")
            }
            Errno::ENOMEM => Refusal::new("seccomp::too_many", "there is no room for one more filter")
                .why("the kernel takes 32768 instructions in all, and filters around this one count")
                .help("make one `seccomp` layer of several, or start isorecipe under fewer filters"),
            Errno::ENOSYS | Errno::EINVAL => not_built_in(),
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        let process = &before.process;
        (!process.no_new_privs).then(|| Need::admin(process.user, "its user namespace"))
    }
}

/// A kernel without filters.
pub fn not_built_in() -> Refusal {
    Refusal::new("seccomp::not_built_in", "this kernel filters no system calls")
        .why("it was built without CONFIG_SECCOMP_FILTER")
        .help("run it on a kernel that a distribution ships")
}
