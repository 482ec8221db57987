//! What the process may use up: `getrlimit(2)`, `do_prlimit()` of `kernel/sys.c`.

use std::collections::BTreeMap;

use crate::{
    host::Host,
    sys::{
        Errno,
        cgroup::Controller,
        limit::{Limit, Resource},
    },
};

use super::{Model, Objection, UserId, capability};

/// Fewer descriptors than this, and a step may find none free.
const FEW_DESCRIPTORS: u64 = 32;
/// Less memory than this, and a program may not start.
const LITTLE_MEMORY: u64 = 1 << 30;
/// The same of what is in use, for all processes together.
const LITTLE_TOGETHER: u64 = 32 << 20;
/// Fewer processes than this, and an init or a shell may be one too many.
const FEW_PROCESSES: u64 = 8;

/// The limits of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// As far as known
    known: BTreeMap<Resource, Limit>,
    /// Those that the recipe has set
    own: BTreeMap<Resource, Limit>,
    /// What its control group limits: how much, and in which version
    shared: BTreeMap<Controller, (u64, u8)>,
    /// Whether the user has changed since the number of processes was limited
    counts_other_user: bool,
}

impl Limits {
    /// Those that the caller has, where known.
    pub fn of(host: &Host) -> Self {
        let confinement = host.confinement.as_ref();
        let known = confinement.and_then(|known| known.limits.as_ref()).into_iter().flatten();
        let known = known.filter_map(|(name, limit)| Some((Resource::named(name)?, *limit)));
        Self { known: known.collect(), ..Self::default() }
    }

    /// A limit that the recipe has set.
    pub fn own(&self, resource: Resource) -> Option<Limit> {
        self.own.get(&resource).copied()
    }

    /// Every limit that the recipe has set.
    pub fn all_own(&self) -> impl Iterator<Item = (Resource, Limit)> {
        self.own.iter().map(|(resource, limit)| (*resource, *limit))
    }

    /// A limit, where known.
    pub fn get(&self, resource: Resource) -> Option<Limit> {
        self.own(resource).or_else(|| self.known.get(&resource).copied())
    }

    /// Sets one.
    pub fn set(&mut self, resource: Resource, limit: Limit) {
        self.own.insert(resource, limit);
        if resource == Resource::Processes {
            self.counts_other_user = false;
        }
    }

    /// A control group limits it from now on.
    pub fn share(&mut self, controller: Controller, amount: u64, version: u8) {
        self.shared.insert(controller, (amount, version));
    }

    /// Whether the recipe has made a control group.
    pub fn is_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// What the recipe's control group limits: how much, and in which version.
    pub fn all_shared(&self) -> impl Iterator<Item = (Controller, u64, u8)> {
        self.shared.iter().map(|(controller, (amount, version))| (*controller, *amount, *version))
    }

    /// How much the recipe's control group allows.
    pub fn shared(&self, controller: Controller) -> Option<u64> {
        self.shared.get(&controller).map(|(amount, _)| *amount)
    }

    /// The processes of another user are counted from now on.
    pub fn change_user(&mut self) {
        self.counts_other_user = self.own.contains_key(&Resource::Processes);
    }

    /// Whether a step may find no descriptor free, because of the recipe.
    pub fn are_few_descriptors(&self) -> bool {
        self.own(Resource::OpenFiles).is_some_and(|limit| limit.soft < FEW_DESCRIPTORS)
    }

    /// Whether a program may not start for want of memory, because of the recipe.
    pub fn is_little_memory(&self) -> bool {
        let all = [Resource::AddressSpace, Resource::Data, Resource::Stack];
        let enough = |resource| match resource {
            // The kernel's own part of it is small.
            Resource::Stack => 1 << 20,
            _ => LITTLE_MEMORY,
        };
        all.into_iter().any(|which| self.own(which).is_some_and(|own| own.soft < enough(which)))
            || self.shared(Controller::Memory).is_some_and(|most| most < LITTLE_TOGETHER)
    }

    /// Whether there may be too many processes of the user by now (`PF_NPROC_EXCEEDED`).
    pub fn may_be_exceeded(&self) -> bool {
        self.counts_other_user
    }
}

impl Model {
    /// Whether the process may set a limit. Only the first user namespace has
    /// a say in raising what others had lowered (`capable()`).
    pub fn may_limit(&self, resource: Resource, limit: Limit) -> Result<(), Objection> {
        if limit.soft > limit.hard {
            return Err(Objection::No(Errno::EINVAL));
        }
        let settings = self.host.kernel_settings.as_ref();
        let most_files = settings.and_then(|known| known.nr_open);
        let is_past = match (resource, most_files) {
            (Resource::OpenFiles, Some(most)) => limit.hard > most,
            _ => false,
        };
        if is_past {
            return Err(Objection::No(Errno::EPERM));
        }
        let is_open = resource == Resource::OpenFiles && most_files.is_none();
        let is_raised = self.limits.get(resource).map(|now| limit.hard > now.hard);
        match (is_raised, self.may_raise_limits()) {
            (Some(false), _) | (_, Some(true)) if is_open => Err(Objection::Unknown),
            (Some(false), _) | (_, Some(true)) => Ok(()),
            (Some(true), Some(false)) => Err(Objection::No(Errno::EPERM)),
            _ => Err(Objection::Unknown),
        }
    }

    fn may_raise_limits(&self) -> Option<bool> {
        let has = self.process.has(capability::SYS_RESOURCE);
        match (self.process.user == UserId::HOST && has, self.host.initial_user_namespace) {
            (false, _) | (_, Some(false)) => Some(false),
            (true, known) => known,
        }
    }

    /// Whether one more process may be too many, because of the recipe
    /// (`is_rlimit_overlimit()`).
    pub fn may_lack_processes(&self) -> bool {
        let most = self.limits.shared(Controller::Pids);
        most.is_some_and(|most| most < FEW_PROCESSES)
            || self.counts_processes() && self.limits.own(Resource::Processes).is_some()
    }

    /// Whether the kernel counts the processes of the user; of root of the
    /// machine it never does.
    pub fn counts_processes(&self) -> bool {
        self.process.uid != 0 || self.host.initial_user_namespace != Some(true)
    }
}
