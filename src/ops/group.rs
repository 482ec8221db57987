//! A control group of the sandbox's own, which limits all of it together
//! (`cgroups(7)`, `Documentation/admin-guide/cgroup-v2.rst` of the kernel).

use std::{ffi::CStr, fmt, os::fd::OwnedFd};

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, Slot},
    sys::{
        Call, Errno, Fault, KernelPath,
        cgroup::{self, Controller},
        descriptor::{self, Walk},
    },
};

use super::{Evidence, Operation, Stage, unexplained};

/// The kernel's own period, in microseconds; a share of it is a quota.
const PERIOD: u64 = 100_000;

/// How much of something all processes of a group may have together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Who keeps it
    pub controller: Controller,
    /// Bytes, processes, or percent of one processor
    pub amount: u64,
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.controller.name();
        match self.controller {
            Controller::Memory => write!(f, "{name} {}", bytes(self.amount)),
            Controller::Pids => write!(f, "{name} {}", self.amount),
            Controller::Cpu => write!(f, "{name} {}%", self.amount),
        }
    }
}

/// A number of bytes as a recipe writes it.
fn bytes(amount: u64) -> String {
    crate::sys::limit::Resource::AddressSpace.written(amount)
}

/// The child goes into a new control group; the supervisor removes it at the end.
pub struct EnterGroup {
    /// The folder of the group that it is made below
    pub home: KernelPath,
    /// Of which hierarchy: 1 or 2
    pub version: u8,
    /// Whether it is known that one can be made there
    pub is_known: bool,
    /// What it limits
    pub limits: Vec<Most>,
    /// Where the supervisor holds the group above, since before anything could cover it
    pub above: Slot,
    /// Where the supervisor keeps its own
    pub slot: Slot,
}

/// A file of a group, what is written to it, and whether every kernel has it.
type Setting = (&'static CStr, String, bool);

impl EnterGroup {
    /// Opens the group above, which the supervisor does before it has a child.
    ///
    /// # Errors
    /// As `openat2(2)`.
    pub fn open_above(&self) -> Result<OwnedFd, Errno> {
        descriptor::open_directory(None, self.home.as_c_str(), Walk::Free)
    }

    fn settings(&self) -> Vec<Setting> {
        let settings = |most: &Most| -> Vec<Setting> {
            let amount = most.amount.to_string();
            let quota = (most.amount * PERIOD / 100).to_string();
            match (most.controller, self.version) {
                (Controller::Memory, 1) => vec![
                    (c"memory.limit_in_bytes", amount.clone(), true),
                    (c"memory.memsw.limit_in_bytes", amount, false),
                ],
                (Controller::Memory, _) => vec![
                    (c"memory.max", amount, true),
                    // What is swapped out would not count.
                    (c"memory.swap.max", "0".to_owned(), false),
                    (c"memory.oom.group", "1".to_owned(), false),
                ],
                (Controller::Pids, _) => vec![(c"pids.max", amount, true)],
                (Controller::Cpu, 1) => vec![
                    (c"cpu.cfs_period_us", PERIOD.to_string(), true),
                    (c"cpu.cfs_quota_us", quota, true),
                ],
                (Controller::Cpu, _) => vec![(c"cpu.max", format!("{quota} {PERIOD}"), true)],
            }
        };
        self.limits.iter().flat_map(settings).collect()
    }
}

impl fmt::Display for EnterGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.limits.iter().map(ToString::to_string).collect();
        let home = self.home.as_path().display();
        write!(f, "enter a new control group below {home}: {}", limits.join(", "))
    }
}

impl Operation for EnterGroup {
    fn answer(&self, model: &Model) -> Answer {
        let caller = &model.host.caller;
        // Version 1 lets a user move nobody else's processes (`__cgroup1_procs_write()`).
        if self.version == 1 && caller.uid != 0 && model.process.uid != caller.uid {
            return Answer::No(Call::EnterGroup.gave(Errno::EACCES));
        }
        if self.is_known { Answer::Yes } else { Answer::KernelDecides }
    }

    fn effect(&self, model: &mut Model) {
        for most in &self.limits {
            model.limits.share(most.controller, most.amount, self.version);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let home = stage.slot(self.above).map_err(|_| Call::MakeGroup.gave(Errno::ENOENT))?;
        cgroup::sweep(home);
        let made = cgroup::make(home).map_err(|errno| Call::MakeGroup.gave(errno))?;
        // From here on it is removed, whatever comes.
        stage.keep(self.slot, made).map_err(|errno| Call::MakeGroup.gave(errno))?;
        let group = stage.slot(self.slot).map_err(|errno| Call::MakeGroup.gave(errno))?;
        for (file, value, is_needed) in self.settings() {
            match cgroup::write(group, file, &value) {
                Err(errno) if is_needed => return Err(Call::LimitGroup.gave(errno)),
                _ => {}
            }
        }
        cgroup::write(group, c"cgroup.procs", &stage.child.to_string())
            .map_err(|errno| Call::EnterGroup.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let limit = |errno| Call::LimitGroup.gave(errno);
        let group = stage.slot(self.slot).map_err(limit)?;
        for (file, value, is_needed) in self.settings().into_iter().filter(|(_, _, needed)| *needed)
        {
            let found = cgroup::read(group, file).map_err(limit)?;
            if is_needed && !is_what_was_asked(&found, &value) {
                return Err(stage.lie(Call::LimitGroup, found.trim().as_bytes()));
            }
        }
        let inside = cgroup::processes(group).map_err(|errno| Call::EnterGroup.gave(errno))?;
        match inside.contains(&stage.child) {
            true => Ok(()),
            false => Err(stage.lie(Call::EnterGroup, b"the child is not in it")),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let home = self.home.as_path().display();
        match (fault.call, fault.errno) {
            (Call::EnterGroup, Errno::EACCES)
                if self.version == 1 && before.host.caller.uid != 0 =>
            {
                Refusal::new("limits::another_user", "this limits the processes of another user")
                    .why(
                        "a layer before it has changed the user, and version 1 moves only your own",
                    )
                    .help("put the `limits` layer before `identity`")
            }
            (_, Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT) => Refusal::new(
                "limits::no_group",
                format!("no control group can be made below {home}"),
            )
            .why(fault.in_words())
            .help("`need: prefer` takes limits of each process where there are no groups"),
            _ => unexplained(self, fault),
        }
    }
}

/// Sizes are rounded down to whole pages, of 64 KiB at most.
fn is_what_was_asked(found: &str, asked: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (number(found), number(asked)) {
        (Some(found), Some(asked)) => found <= asked && asked - found < 1 << 16,
        _ => found.trim() == asked,
    }
}
