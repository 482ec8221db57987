//! Which of root's rights the command may have: `capabilities(7)`, `capset(2)`,
//! `PR_CAPBSET_DROP(2const)`, `PR_CAP_AMBIENT(2const)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Capabilities, Model, UserId, capability},
    sys::{
        Call, Errno, Fault,
        capability::{self as sets, Sets},
    },
};

use super::{Evidence, Need, Operation, Stage, unexplained, yes};

/// No capability but these from now on, and these in the ambient set.
///
/// First the bounding set, as long as CAP_SETPCAP is there to change it; then
/// the permitted, effective and inheritable ones; last the ambient one.
pub struct LimitCapabilities {
    /// Those that may stay
    pub keep: u64,
    /// Those that every program has
    pub ambient: u64,
}

impl LimitCapabilities {
    /// `cap_task_prctl()`, `cap_capset()`
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let own = &model.process.capabilities;
        let no = |call: Call| Err(Answer::No(call.gave(Errno::EPERM)));
        let may_change = model.capable(model.process.user, capability::SETPCAP);
        let is_kept = |set: u64| capability::known(set & !self.keep) == 0;
        match own.bounding {
            Some(bounding) if !is_kept(bounding) && !may_change => return no(Call::DropBounding),
            None if !is_kept(capability::ALL) && !may_change => {
                return Err(Answer::KernelDecides);
            }
            _ => {}
        }
        let is_within = |set: u64| self.ambient & !set == 0;
        if !may_change && !is_within(own.inheritable | own.permitted) {
            return no(Call::Capset);
        }
        match own.bounding {
            Some(bounding) if !is_within(own.inheritable | bounding) => return no(Call::Capset),
            None if !is_within(own.inheritable) => return Err(Answer::KernelDecides),
            _ => {}
        }
        if !is_within(own.permitted) { no(Call::RaiseAmbient) } else { Ok(()) }
    }
}

impl fmt::Display for LimitCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = capability::known(!self.keep);
        let kept = capability::known(self.keep);
        match (dropped, kept) {
            (_, 0) => f.write_str("drop every capability")?,
            (0, _) => f.write_str("change the capabilities")?,
            // The shorter list of the two.
            _ if kept.count_ones() <= dropped.count_ones() => {
                write!(f, "drop every capability but {}", capability::names(kept))?;
            }
            _ => write!(f, "drop {}", capability::names(dropped))?,
        }
        match self.ambient {
            0 => Ok(()),
            ambient => write!(f, "; ambient: {}", capability::names(ambient)),
        }
    }
}

impl Operation for LimitCapabilities {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let own = &mut model.process.capabilities;
        own.bounding = own.bounding.map(|set| set & self.keep);
        own.permitted &= self.keep;
        own.effective &= self.keep;
        own.inheritable = self.ambient;
        own.ambient = self.ambient & own.permitted;
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        let own = sets::sets().map_err(|errno| Call::Capset.gave(errno))?;
        sets::bound(self.keep).map_err(|errno| Call::DropBounding.gave(errno))?;
        let left = Sets {
            effective: own.effective & self.keep,
            permitted: own.permitted & self.keep,
            inheritable: self.ambient,
        };
        sets::set(left).map_err(|errno| Call::Capset.gave(errno))?;
        sets::set_ambient(self.ambient).map_err(|errno| Call::RaiseAmbient.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let own = sets::sets().map_err(|errno| Call::Capset.gave(errno))?;
        let bounding = sets::bounding().map_err(|errno| Call::DropBounding.gave(errno))?;
        // Nothing is ambient that is not both (`cap_ambient_invariant_ok()`): mostly, nothing can be.
        let ambient = match own.permitted & own.inheritable {
            0 => 0,
            _ => sets::ambient().map_err(|errno| Call::RaiseAmbient.gave(errno))?,
        };
        let odd = [
            (Call::DropBounding, bounding & !self.keep),
            (Call::Capset, (own.effective | own.permitted) & !self.keep),
            (Call::Capset, own.inheritable ^ self.ambient),
            (Call::RaiseAmbient, ambient ^ self.ambient),
        ];
        match odd.into_iter().find(|(_, set)| *set != 0) {
            None => Ok(()),
            Some((call, set)) => {
                Err(stage.lie(call, capability::name(set.trailing_zeros()).as_bytes()))
            }
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let own = &before.process.capabilities;
        let is_host = before.process.user == UserId::HOST;
        match (fault.call, fault.errno) {
            (Call::DropBounding, Errno::EPERM) if is_host => Refusal::new(
                "capabilities::needs_user",
                "to drop capabilities for good takes CAP_SETPCAP",
            )
            .why("no user namespace yet")
            .help("put a `user` layer before it")
            .wants("user"),
            (Call::DropBounding, Errno::EPERM) => Refusal::new(
                "capabilities::no_setpcap",
                "the process may drop no capability for good any more",
            )
            .why("an earlier layer has taken CAP_SETPCAP away")
            .help("say it in one `capabilities` layer"),
            (Call::Capset | Call::RaiseAmbient, Errno::EPERM)
                if self.ambient & !own.permitted != 0 =>
            {
                let lacks = capability::names(self.ambient & !own.permitted);
                Refusal::new("capabilities::not_held", format!("{lacks} cannot be ambient"))
                    .why("the process itself does not have it by then")
                    .help("name in `ambient` what is there, or put a `user` layer before it")
            }
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        let bounding = before.process.capabilities.bounding.unwrap_or(capability::ALL);
        (capability::known(bounding & !self.keep) != 0).then_some(Need {
            capability: capability::SETPCAP,
            over: before.process.user,
            what: "its user namespace",
        })
    }
}

/// A step that lacks what an earlier layer of the recipe has given up.
pub(super) fn given_up(operation: &dyn Operation, fault: Fault, before: &Model) -> Option<Refusal> {
    let is_own_story = matches!(
        fault.call,
        Call::DropBounding
            | Call::Capset
            | Call::RaiseAmbient
            | Call::Setgroups
            | Call::Setresgid
            | Call::Setresuid
    );
    let need = operation.needs(before)?;
    if is_own_story || before.capable(need.over, need.capability) {
        return None;
    }
    let mut with_rights = before.clone();
    with_rights.process.capabilities = match before.process.user {
        UserId::HOST => Capabilities::of(&before.host),
        _ => Capabilities::FULL,
    };
    let is_cause = with_rights.capable(need.over, need.capability)
        && !matches!(operation.answer(&with_rights), Answer::No(_));
    let name = capability::name(need.capability);
    is_cause.then(|| {
        Refusal::new("capabilities::given_up", format!("this step takes {name}, which is gone"))
            .why("a layer before it has given it up")
            .help("move the layer that drops capabilities below it")
    })
}
