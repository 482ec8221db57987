//! Questions about the state at the end of a plan: is this stopped, for sure?
//!
//! Where the plan cannot tell, the answer is no.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    host::Kernel,
    model::{Answer, Model, Mount, capability},
    ops::Op,
    plan::{Plan, Terminal},
    seccomp::{Arguments, Found, Verdict, find},
    sys::{Namespace, cgroup::Controller, limit::Resource},
};

mod files;

const NET_RAW: u32 = 13;
const SYS_NICE: u32 = 23;
const SYSLOG: u32 = 34;

/// Calls that make, change or leave mounts.
const MOUNTING: &[&str] = &[
    "mount",
    "umount2",
    "pivot_root",
    "open_tree",
    "fsopen",
    "fsmount",
    "move_mount",
    "mount_setattr",
    "setns",
];
const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
const NEW_MOUNTS: u64 = libc::CLONE_NEWNS as u64;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const ADDR_NO_RANDOMIZE: u64 = 0x004_0000;

/// The state at the end of a plan.
pub(in crate::plan) struct End {
    model: Model,
    clears_environment: bool,
    /// What the command holds
    held: u64,
    mounts: BTreeMap<PathBuf, Mount>,
    /// The kernel will refuse a control group
    lacks_group: bool,
    terminal: Terminal,
}

impl End {
    pub(super) fn of(plan: &Plan, clears_environment: bool) -> Self {
        let model = plan.end.clone();
        let process = &model.process;
        let is_root = model.own_user().uids.from_host(process.uid) == Some(0);
        let after = process.capabilities.after_exec(is_root, process.no_new_privs);
        let visible = model.mounts.visible().into_iter();
        let mounts = visible.map(|(at, mount)| (at, mount.clone())).collect();
        let lacks_group = plan.steps.iter().any(|step| {
            matches!(step.op, Op::EnterGroup(_)) && matches!(step.answer, Answer::No(_))
        });
        let (held, terminal) = (after.effective, plan.terminal);
        Self { clears_environment, held, mounts, lacks_group, terminal, model }
    }

    pub(super) fn always(&self) -> bool {
        true
    }

    pub(super) fn clears_environment(&self) -> bool {
        self.clears_environment
    }
}

/// Who it is, and whom it sees.
impl End {
    fn has(&self, kind: Namespace) -> bool {
        self.model.has_own(kind)
    }

    pub(super) fn has_every_namespace(&self) -> bool {
        use Namespace as N;
        [N::User, N::Pid, N::Mount, N::Network, N::Ipc, N::Uts, N::Cgroup]
            .into_iter()
            .all(|kind| self.has(kind))
    }

    pub(super) fn hides_user_keyring(&self) -> bool {
        self.has(Namespace::User) || self.denies("keyctl", &[])
    }

    /// Whoever is in the caller's own may join what the same user has made elsewhere.
    pub(super) fn keeps_out_of_namespaces(&self) -> bool {
        self.has(Namespace::User) || self.has_nothing_over_host() && self.hides_processes()
    }

    /// Whether no right of its own counts outside.
    fn has_nothing_over_host(&self) -> bool {
        self.has(Namespace::User) || capability::known(self.held) == 0
    }

    pub(super) fn is_not_host_root(&self) -> bool {
        self.model.process.uid != 0 && self.model.process.gid != 0
    }

    /// Whether what only root of the machine may do is nothing it may do.
    fn is_nobody_there(&self) -> bool {
        self.model.process.uid != 0 && self.has_nothing_over_host()
    }

    pub(super) fn has_no_groups(&self) -> bool {
        let process = &self.model.process;
        process.groups.as_ref().is_some_and(|all| all.iter().all(|group| *group == process.gid))
    }

    pub(super) fn keeps_groups(&self) -> bool {
        !self.can(capability::SETGID) || !self.model.own_user().setgroups || self.has_no_groups()
    }

    pub(super) fn has_own_processes(&self) -> bool {
        self.model.pid.own
    }

    pub(super) fn hides_processes(&self) -> bool {
        !self.model.sees_host_processes()
    }

    pub(super) fn is_not_first(&self) -> bool {
        !self.model.is_init
    }

    pub(super) fn has_init(&self) -> bool {
        self.model.pid.own && !self.model.is_init
    }

    pub(super) fn has_own_ipc(&self) -> bool {
        self.has(Namespace::Ipc)
    }

    pub(super) fn has_own_network(&self) -> bool {
        self.has(Namespace::Network)
    }

    pub(super) fn has_no_way_out(&self) -> bool {
        self.has(Namespace::Network) && self.model.outlet.is_none()
    }

    pub(super) fn has_own_groups(&self) -> bool {
        self.has(Namespace::Cgroup)
    }

    pub(super) fn keeps_hostname(&self) -> bool {
        self.model.uts.own || self.has_nothing_over_host()
    }

    pub(super) fn keeps_mounts_inside(&self) -> bool {
        self.has(Namespace::Mount) && self.mounts.values().all(|mount| !mount.travel.with_host)
    }

    pub(super) fn dumps_no_core(&self) -> bool {
        self.model.limits.get(Resource::Core).is_some_and(|limit| limit.hard <= 1)
    }

    /// A control group counts when it is sure, or when the plan has found a place for it.
    pub(super) fn limits_processes(&self) -> bool {
        self.limits(Controller::Pids)
    }

    pub(super) fn limits_memory(&self) -> bool {
        self.limits(Controller::Memory)
    }

    fn limits(&self, controller: Controller) -> bool {
        self.model.limits.shared(controller).is_some() && !self.lacks_group
    }
}

/// What it may do.
impl End {
    fn can(&self, capability: u32) -> bool {
        self.held & 1 << capability != 0
    }

    /// Whether a right is none, or none outside.
    fn cannot_outside(&self, capability: u32) -> bool {
        self.has(Namespace::User) || !self.can(capability)
    }

    pub(super) fn has_no_capability(&self) -> bool {
        let sets = &self.model.process.capabilities;
        let all = self.held | sets.permitted | sets.inheritable | sets.ambient;
        capability::known(all) == 0
            && sets.bounding.is_some_and(|bounding| capability::known(bounding) == 0)
    }

    pub(super) fn has_no_new_privs(&self) -> bool {
        self.model.process.no_new_privs
    }

    pub(super) fn may_not_mount(&self) -> bool {
        let denies_all = || {
            MOUNTING.iter().all(|call| self.denies(call, &[]))
                && self.denies("unshare", &[(0, NEW_MOUNTS)])
        };
        !self.can(capability::SYS_ADMIN) || denies_all()
    }

    pub(super) fn forbids_nested(&self) -> bool {
        let denies_all = || {
            self.denies("unshare", &[(0, NEW_USER)])
                && self.denies("clone", &[(0, NEW_USER | libc::SIGCHLD as u64)])
                && self.denies("clone3", &[])
        };
        self.model.forbids_nested() || denies_all()
    }

    pub(super) fn forbids_mounts_everywhere(&self) -> bool {
        self.forbids_nested() && self.may_not_mount()
    }

    pub(super) fn opens_no_handle(&self) -> bool {
        !self.can(capability::DAC_READ_SEARCH) || self.denies("open_by_handle_at", &[])
    }

    pub(super) fn makes_no_node(&self) -> bool {
        const MKNOD: u32 = 27;
        self.cannot_outside(MKNOD)
    }

    pub(super) fn keeps_read_only(&self) -> bool {
        self.may_not_mount() && (self.model.process.uid != 0 || self.keeps_system())
    }

    pub(super) fn sets_no_clock(&self) -> bool {
        self.cannot_outside(capability::SYS_TIME)
    }

    pub(super) fn stays_nice(&self) -> bool {
        self.cannot_outside(SYS_NICE)
    }

    pub(super) fn sends_no_raw_packet(&self) -> bool {
        !self.can(NET_RAW)
    }

    pub(super) fn loads_no_module(&self) -> bool {
        let all = ["init_module", "finit_module", "kexec_load", "swapon", "acct"];
        self.has_nothing_over_host() || all.iter().all(|call| self.denies(call, &[]))
    }

    pub(super) fn reads_no_log(&self) -> bool {
        let is_restricted = self.knows(|kernel| kernel.dmesg_restrict) == Some(true);
        self.denies("syslog", &[]) || is_restricted && self.cannot_outside(SYSLOG)
    }

    fn knows<T>(&self, fact: impl Fn(&Kernel) -> Option<T>) -> Option<T> {
        self.model.host.kernel_settings.as_ref().and_then(fact)
    }
}

/// Which calls are filtered.
impl End {
    /// Whether a filter denies a call whatever the arguments that are not given.
    fn denies(&self, call: &str, given: &[(usize, u64)]) -> bool {
        let Found::Here(number) = find(call) else { return true };
        let mut arguments: Arguments = [None; 6];
        for (index, value) in given {
            if let Some(argument) = arguments.get_mut(*index) {
                *argument = Some(*value);
            }
        }
        let denies = |verdict| matches!(verdict, Verdict::Sure(action) if !action.lets_through());
        let mut filters = self.model.process.filters.iter();
        filters.any(|filter| denies(filter.verdict(number, &arguments)))
    }

    pub(super) fn is_filtered(&self) -> bool {
        !self.model.process.filters.is_empty()
    }

    /// Into one of its own it may.
    pub(super) fn does_not_type(&self) -> bool {
        self.terminal != Terminal::Shared
            || !self.may_type(|| self.knows(|kernel| kernel.legacy_tiocsti))
    }

    /// Without the sysctl, only root of the machine types into a terminal.
    pub(super) fn may_type(&self, is_allowed: impl FnOnce() -> Option<bool>) -> bool {
        let is_off = || self.cannot_outside(capability::SYS_ADMIN) && is_allowed() == Some(false);
        !self.denies("ioctl", &[(1, TIOCSTI)]) && !is_off()
    }

    pub(super) fn does_not_paste(&self) -> bool {
        self.denies("ioctl", &[(1, TIOCLINUX)])
    }

    pub(super) fn has_no_ring(&self) -> bool {
        self.denies("io_uring_setup", &[])
    }

    pub(super) fn has_no_bpf(&self) -> bool {
        self.denies("bpf", &[])
    }

    pub(super) fn has_no_perf(&self) -> bool {
        self.denies("perf_event_open", &[])
    }

    pub(super) fn stops_no_copy(&self) -> bool {
        self.denies("userfaultfd", &[])
    }

    pub(super) fn makes_no_key(&self) -> bool {
        self.denies("add_key", &[]) && self.denies("keyctl", &[])
    }

    pub(super) fn keeps_addresses(&self) -> bool {
        self.denies("personality", &[(0, ADDR_NO_RANDOMIZE)])
    }

    fn denies_sockets(&self, family: i32) -> bool {
        self.denies("socket", &[(0, family as u64)])
    }

    pub(super) fn has_no_hypervisor(&self) -> bool {
        self.denies_sockets(libc::AF_VSOCK)
    }

    pub(super) fn has_no_ciphers(&self) -> bool {
        self.denies_sockets(libc::AF_ALG)
    }

    pub(super) fn has_no_netlink(&self) -> bool {
        self.denies_sockets(libc::AF_NETLINK)
    }

    /// Read-only does not stop a connection.
    pub(super) fn connects_nowhere(&self) -> bool {
        let is_hosts = |mount: &Mount| !self.shown(mount).is_empty();
        self.denies_sockets(libc::AF_UNIX)
            || self.has_own_root() && !self.mounts.values().any(is_hosts)
    }
}
