//! `limits`: what all processes of the sandbox may take together (`cgroups(7)`),
//! how long its command may run, and how much it may print.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Refusal,
    host::{Home, Layout},
    ops::{EnterGroup, Most, SetLimit},
    plan::Planner,
    sys::{
        KernelPath,
        cgroup::Controller,
        limit::{Limit, Resource},
    },
};

use super::{Need, Plan, Size, Span};

mod share;

pub use share::Share;

/// Limits of the sandbox as a whole. A control group keeps `memory`, `pids` and
/// `cpu`; isorecipe itself keeps `time` and `output`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of all its processes together, in bytes: `256M`. At the limit the
    /// kernel ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Processes and threads, all together. One more is refused (EAGAIN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Time on the processors: `50%` of one, or `1.5` of them. Beyond it, it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Share>,
    /// How long the command may run: `10s`, `5m`. It gets SIGTERM then, and
    /// SIGKILL a second later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// How much it may print, standard output and error together, in bytes:
    /// `1M`. They are pipes then, through isorecipe; more ends it (SIGKILL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Size>,
    /// What becomes of the run where no control group can be made: `require` (it
    /// does not run), `prefer` (limits of each process instead, said on standard
    /// error and in the plan) or `optional` (said in the plan only).
    #[serde(default)]
    pub need: Need,
}

impl Plan for Limits {
    fn plan(&self, to: &mut Planner) {
        let wanted = self.of_groups();
        if wanted.is_empty() && self.time.is_none() && self.output.is_none() {
            to.refuse(empty());
        }
        if self.pids == Some(0) {
            to.at("pids").refuse(no_process());
        }
        to.limit_time(self.time.map(|time| time.0));
        to.limit_output(self.output.map(|size| size.0));
        if wanted.is_empty() {
            return;
        }
        if to.model().limits.is_shared() {
            to.refuse(twice());
            return;
        }
        let homes = homes(to, &wanted);
        let missing: Vec<Most> = without_home(&homes);
        if !missing.is_empty() && !self.need.goes_without(to, no_group(to, &missing)) {
            to.refuse(no_group(to, &missing).help(
                "`need: prefer` takes what there is for each process; \
                 `systemd-run --user --scope -p Delegate=yes` gives you groups, where systemd runs",
            ));
            return;
        }
        enter(to, homes);
        for most in missing {
            limit_each_process(to, most);
        }
    }

    fn is_for_command(&self) -> bool {
        true
    }
}

impl Limits {
    /// What only a control group can keep.
    fn of_groups(&self) -> Vec<Most> {
        let most = |controller, amount: Option<u64>| Some(Most { controller, amount: amount? });
        [
            most(Controller::Memory, self.memory.map(|size| size.0)),
            most(Controller::Pids, self.pids.map(u64::from)),
            most(Controller::Cpu, self.cpu.map(|share| share.percent())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A limit, and where the group for it can be made, if that is known.
enum Place {
    At(Home),
    Nowhere,
    Unknown,
}

fn homes(to: &Planner, wanted: &[Most]) -> Vec<(Most, Place)> {
    let homes = to.group_homes();
    let place = |most: &Most| match &homes {
        None => Place::Unknown,
        Some(homes) => match homes.get(most.controller.name()) {
            Some(home) => Place::At(home.clone()),
            None => Place::Nowhere,
        },
    };
    wanted.iter().map(|most| (*most, place(most))).collect()
}

fn without_home(homes: &[(Most, Place)]) -> Vec<Most> {
    homes
        .iter()
        .filter(|(_, place)| matches!(place, Place::Nowhere))
        .map(|(most, _)| *most)
        .collect()
}

/// One group in each hierarchy that keeps some of it.
fn enter(to: &mut Planner, homes: Vec<(Most, Place)>) {
    let mut groups: Vec<(Home, bool, Vec<Most>)> = Vec::new();
    for (most, place) in homes {
        let (home, is_known) = match place {
            Place::At(home) => (home, true),
            Place::Unknown => (Home { at: "/sys/fs/cgroup".into(), version: 2 }, false),
            Place::Nowhere => continue,
        };
        match groups.iter_mut().find(|(other, ..)| *other == home) {
            Some((.., limits)) => limits.push(most),
            None => groups.push((home, is_known, vec![most])),
        }
    }
    for (home, is_known, limits) in groups {
        let (above, slot) = (to.slot(), to.slot());
        let (home, version) = (KernelPath::new(home.at), home.version);
        to.supervisor(EnterGroup { home, version, is_known, limits, above, slot });
    }
}

/// What comes closest where there is no group.
fn limit_each_process(to: &mut Planner, most: Most) {
    let limit = Limit { soft: most.amount, hard: most.amount };
    match most.controller {
        Controller::Memory => {
            to.at("memory").step(SetLimit { resource: Resource::AddressSpace, limit });
        }
        Controller::Pids if to.model().counts_processes() => {
            to.at("pids").step(SetLimit { resource: Resource::Processes, limit });
        }
        Controller::Pids | Controller::Cpu => {
            to.goes_unlimited(format!("{}: not limited here", most.controller.name()));
        }
    }
}

/// What is missing, and what there is instead.
fn no_group(to: &Planner, missing: &[Most]) -> Refusal {
    let names: Vec<_> =
        missing.iter().map(|most| format!("`{}`", most.controller.name())).collect();
    let instead: Vec<_> = missing.iter().map(|most| instead(to, most.controller)).collect();
    let layout = to.host().control_groups.as_ref().map(|groups| groups.layout);
    let reason = match layout {
        Some(Layout::None) => "no control groups are mounted",
        _ => "you may make none",
    };
    Refusal::new("limits::no_group", format!("there is no control group for {}", names.join(", ")))
        .why(format!("{reason}; without one, {}", instead.join(", ")))
}

fn instead(to: &Planner, controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "each process has the memory for itself",
        Controller::Pids if to.model().counts_processes() => {
            "processes are counted by user, not by sandbox"
        }
        Controller::Pids => "nothing counts processes of root",
        Controller::Cpu => "nothing shares the processors out",
    }
}

fn empty() -> Refusal {
    Refusal::new("limits::empty", "this layer limits nothing")
        .why("nothing that it can limit is named")
        .help("name some: `limits: {memory: 256M, pids: 64, time: 10s}`")
}

fn no_process() -> Refusal {
    Refusal::new("limits::no_process", "no process may run under this limit")
        .why("the command itself is one")
        .help("write `pids: 64`")
}

fn twice() -> Refusal {
    Refusal::new("limits::twice", "the sandbox has a control group already")
        .why("a `limits` layer before it made one")
        .help("write all limits into one layer")
}
