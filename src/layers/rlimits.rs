//! `rlimits`: what each process may use up (`getrlimit(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Refusal,
    ops::SetLimit,
    plan::Planner,
    sys::limit::{Limit, Resource},
};

use super::{Plan, WordOrMap};

mod amount;

pub use amount::{Amount, Bound, Bytes, Count, Seconds};

/// Limits of each process: `getrlimit(2)`. A value sets the soft and the hard
/// limit, `{soft, hard}` each, and `unlimited` is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rlimits {
    /// Address space of a process, in bytes: `512M`. What is asked for beyond
    /// it is refused (ENOMEM).
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub address_space: Option<WordOrMap<Bound<Bytes>>>,
    /// The longest core dump, in bytes; `0` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<WordOrMap<Bound<Bytes>>>,
    /// Time on a processor, in whole seconds: `5s`. At the soft limit the
    /// process gets SIGXCPU, at the hard one, a second later, SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<WordOrMap<Bound<Seconds>>>,
    /// Data of a process, in bytes: what it allocates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<WordOrMap<Bound<Bytes>>>,
    /// The longest file it may write, in bytes: `10M`. Beyond it the process
    /// gets SIGXFSZ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsize: Option<WordOrMap<Bound<Bytes>>>,
    /// Memory that it may lock, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memlock: Option<WordOrMap<Bound<Bytes>>>,
    /// POSIX message queues of the user, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msgqueue: Option<WordOrMap<Bound<Bytes>>>,
    /// 20 less the lowest nice value it may take: `20` for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<WordOrMap<Bound<Count>>>,
    /// One more than the highest descriptor it may have. What opens one more
    /// is refused (EMFILE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<WordOrMap<Bound<Count>>>,
    /// Processes and threads of the user in this user namespace. One more is
    /// refused (EAGAIN), except to root of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<WordOrMap<Bound<Count>>>,
    /// The highest real-time priority it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtprio: Option<WordOrMap<Bound<Count>>>,
    /// Signals of the user that wait to be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigpending: Option<WordOrMap<Bound<Count>>>,
    /// The stack, in bytes: `8M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<WordOrMap<Bound<Bytes>>>,
}

impl Rlimits {
    /// What is set, in the order of the names.
    fn all(&self) -> impl Iterator<Item = (Resource, Limit)> {
        use Resource as R;
        fn limit<T: Amount>(bound: &Option<WordOrMap<Bound<T>>>) -> Option<Limit> {
            bound.as_ref().map(|bound| bound.0.limit())
        }
        let all = [
            (R::AddressSpace, limit(&self.address_space)),
            (R::Core, limit(&self.core)),
            (R::Cpu, limit(&self.cpu)),
            (R::Data, limit(&self.data)),
            (R::FileSize, limit(&self.fsize)),
            (R::LockedMemory, limit(&self.memlock)),
            (R::MessageQueues, limit(&self.msgqueue)),
            (R::Nice, limit(&self.nice)),
            (R::OpenFiles, limit(&self.nofile)),
            (R::Processes, limit(&self.nproc)),
            (R::RealTimePriority, limit(&self.rtprio)),
            (R::PendingSignals, limit(&self.sigpending)),
            (R::Stack, limit(&self.stack)),
        ];
        all.into_iter().filter_map(|(resource, limit)| Some((resource, limit?)))
    }
}

impl Plan for Rlimits {
    fn plan(&self, to: &mut Planner) {
        let mut is_empty = true;
        for (resource, limit) in self.all() {
            is_empty = false;
            match limit.soft > limit.hard {
                true => to.at(resource.name()).refuse(upside_down(resource, limit)),
                false => to.at(resource.name()).step(SetLimit { resource, limit }),
            }
        }
        if is_empty {
            to.refuse(
                Refusal::new("rlimits::empty", "this layer limits nothing")
                    .why("no resource is named")
                    .help("name one: `rlimits: {nofile: 1024}`"),
            );
        }
    }

    fn is_for_command(&self) -> bool {
        true
    }
}

fn upside_down(resource: Resource, limit: Limit) -> Refusal {
    let name = resource.name();
    let (soft, hard) = (resource.written(limit.soft), resource.written(limit.hard));
    Refusal::new(
        "rlimits::upside_down",
        format!("the soft limit of `{name}` is above the hard one"),
    )
    .why(format!("{soft} is more than {hard}"))
    .help("swap them: the hard limit is the highest that the soft one may be raised to")
}
