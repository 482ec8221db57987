//! What the kernel can be told: a closed set, one file a family.
//!
//! Every operation can be printed, simulated on a [`Model`] and run on the
//! real kernel, and it alone has the words for what goes wrong. A predicted
//! and an observed failure come out of the same `explain`, so they read the
//! same, and the model can be tested against the kernel step by step.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    host::Host,
    model::{Answer, Capabilities, Model, UserId, capability},
    sys::{Call, Errno, Fault, filter},
};

mod bind;
mod capabilities;
mod command;
mod detach;
mod directory;
mod file;
mod fuse;
mod group;
mod helper_map;
mod identity;
mod idmap;
mod image;
mod landlock;
mod lie;
mod limit;
mod maps;
mod mask;
mod module;
mod mount;
mod name;
mod namespace;
mod nested;
mod network;
mod node;
mod op;
mod overlay;
mod pivot;
mod place;
mod program;
mod restrict;
mod room;
mod seccomp;
mod source;
mod stage;
mod time;
mod unpack;
mod uts;
mod way;

pub use bind::{Bind, HoldSource};
pub use capabilities::LimitCapabilities;
pub use command::{ChangeDirectory, Execute, NoNewPrivileges, StayAsInit};
pub use detach::DetachMount;
pub use directory::{MakeDirectory, RemoveDirectory};
pub use file::{MakeFile, MakeLink};
pub use fuse::ServeImage;
pub use group::{EnterGroup, Most};
pub use helper_map::HelperMap;
pub use identity::{Become, KeepCapabilities, TakeUpCapabilities};
pub use idmap::{Ids, Line};
pub use image::{AttachImage, MountImage};
pub use landlock::{
    AllowFiles, AllowPort, MakeRuleset, Proof, RestrictSelf, Use, lacks as lacks_landlock,
};
pub use limit::SetLimit;
pub use maps::{DenySetgroups, WriteMap, Writer};
pub use mask::Mask;
pub use module::module_denies;
pub use mount::{MountKind, MountNew, SetPropagation};
pub use name::NewName;
pub use namespace::{Fork, NewNamespace};
pub use nested::ForbidNested;
pub use network::BringLoopbackUp;
pub use node::PlaceDevice;
pub use overlay::{MountOverlay, Overlay, no_layer};
pub use pivot::PivotRoot;
pub use program::{image_hidden, image_missing, install};
pub use restrict::Restrict;
pub use seccomp::{InstallFilter, not_built_in as no_filters};
pub use source::{Extent, Source};
pub use stage::{Evidence, LOG_LENGTH, Stage, Turnings};
pub use time::{EnterTime, SetClocks, no_way_into_time};
pub use unpack::UnpackImage;
pub use uts::{SetDomainname, SetHostname};

/// One thing the kernel can be told.
pub trait Operation: fmt::Display {
    /// What the kernel would say, asked in its own order of questions.
    fn answer(&self, model: &Model) -> Answer;

    /// What is different afterwards.
    fn effect(&self, model: &mut Model);

    /// The answer and, unless it is no, the effect.
    fn simulate(&self, model: &mut Model) -> Answer {
        let answer = self.answer(model);
        if !matches!(answer, Answer::No(_)) {
            self.effect(model);
        }
        answer
    }

    /// What the author meant to be different afterwards, though the kernel
    /// said no: planning goes on from there, so that a mere consequence is not
    /// taken for a mistake of its own.
    fn intend(&self, model: &mut Model) {
        self.effect(model);
    }

    /// Tells the kernel. In the child this may not allocate.
    ///
    /// # Errors
    /// The first call that failed, and its errno.
    fn run(&self, stage: &Stage) -> Result<(), Fault>;

    /// Looks whether what [`Operation::run`] was told is done is done: some
    /// calls fail without a word, and somebody may answer in the kernel's place.
    ///
    /// It follows `run` at once, in the same process, so it may not allocate
    /// in the child, and costs a call or two by descriptor. A lie is
    /// [`Stage::lie`], which keeps what is; what was asked is in `Display`. What
    /// has to be known from before, `run` leaves with [`Stage::remember`].
    ///
    /// # Errors
    /// The call that said yes and did not do it, or a look that failed.
    fn read_back(&self, _stage: &Stage) -> Result<(), Fault> {
        Ok(())
    }

    /// Tells the kernel, and looks whether it is done.
    ///
    /// # Errors
    /// As [`Operation::run`] and [`Operation::read_back`].
    fn carry_out(&self, stage: &Stage) -> Result<(), Fault> {
        self.note(stage)?;
        self.run(stage)?;
        self.read_back(stage)
    }

    /// Looks, before it runs, at what its read-back compares with.
    ///
    /// # Errors
    /// As [`Operation::read_back`].
    fn note(&self, _stage: &Stage) -> Result<(), Fault> {
        Ok(())
    }

    /// The fault in words: what is, why, and what to type.
    fn explain(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal;

    /// What would change outside the sandbox, if the kernel let it.
    fn leak(&self, _before: &Model) -> Option<Refusal> {
        None
    }

    /// Whether it finds nothing to do, as the layer allows.
    fn is_idle(&self, _before: &Model) -> bool {
        false
    }

    /// The capability it asks for, and over whose namespace.
    fn needs(&self, _before: &Model) -> Option<Need> {
        None
    }
}

/// A capability, and the user namespace it must be held over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its number
    pub capability: u32,
    /// Owner of what is to be changed
    pub over: UserId,
    /// What is to be changed, in a word
    pub what: &'static str,
}

impl Need {
    /// `CAP_SYS_ADMIN` over the owner of something.
    pub fn admin(over: UserId, what: &'static str) -> Self {
        Self { capability: capability::SYS_ADMIN, over, what }
    }
}

macro_rules! operations {
    ($($name:ident,)*) => {
        /// Every operation there is.
        pub enum Op { $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name),)* }

        impl Op {
            /// The operation itself.
            pub fn operation(&self) -> &dyn Operation {
                match self { $(Op::$name(operation) => operation,)* }
            }
        }

        $(impl From<$name> for Op {
            fn from(operation: $name) -> Op { Op::$name(operation) }
        })*
    };
}

operations! {
    AllowFiles,
    AllowPort,
    AttachImage,
    Become,
    Bind,
    BringLoopbackUp,
    ChangeDirectory,
    DenySetgroups,
    DetachMount,
    EnterGroup,
    EnterTime,
    Execute,
    ForbidNested,
    Fork,
    HelperMap,
    HoldSource,
    InstallFilter,
    KeepCapabilities,
    LimitCapabilities,
    MakeDirectory,
    MakeFile,
    MakeLink,
    MakeRuleset,
    Mask,
    MountImage,
    MountNew,
    MountOverlay,
    NewNamespace,
    NoNewPrivileges,
    PivotRoot,
    PlaceDevice,
    RemoveDirectory,
    Restrict,
    RestrictSelf,
    ServeImage,
    SetClocks,
    SetDomainname,
    SetHostname,
    SetLimit,
    SetPropagation,
    StayAsInit,
    TakeUpCapabilities,
    UnpackImage,
    WriteMap,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation().fmt(f)
    }
}

/// A fault whose cause nobody knows: the step, the call, the errno, no more.
fn unexplained(operation: &dyn Operation, fault: Fault) -> Refusal {
    Refusal::new("step::refused", format!("the kernel refused to {operation}"))
        .why(fault.in_words())
        .help(match fault.errno {
            Errno::EPERM | Errno::EACCES | Errno::ENOSYS => {
                "`isorecipe doctor` finds out who denies it"
            }
            _ => "`isorecipe plan` shows the state before each step",
        })
}

/// A fault in words. What is not the kernel's answer is no operation's to explain.
pub fn explain(
    operation: &dyn Operation,
    fault: Fault,
    before: &Model,
    seen: &Evidence,
) -> Refusal {
    if fault.is_lie() {
        return lie::not_done(operation, fault, seen);
    }
    let host = &before.host;
    let is_recorded = host.denies(fault.call) == Some(fault.errno);
    // Who lacks the capability is told so by the kernel, whatever the arguments.
    let is_seen = seen.filtered
        && !(filter::asks_capability_first(fault.call)
            && matches!(operation.answer(before), Answer::No(_)));
    if !is_recorded && !is_seen {
        if let Some(refusal) = landlock::forbidden(operation, fault, before) {
            return refusal;
        }
        let is_permission = matches!(fault.errno, Errno::EPERM | Errno::EACCES);
        if let Some(refusal) = limit::explain(fault, before) {
            return refusal;
        }
        return match is_permission && before.is_stripped_by_apparmor() {
            true => explain_stripped(operation, fault, before, seen),
            false if is_permission => capabilities::given_up(operation, fault, before)
                .or_else(|| {
                    module::is_left(operation, fault, before).then(|| module_denies(fault, host))
                })
                .unwrap_or_else(|| operation.explain(fault, before, seen)),
            false => operation.explain(fault, before, seen),
        };
    }
    answered_by_filter(fault, host)
}

/// A call that the kernel did not answer as it does, in words.
pub fn answered_by_filter(fault: Fault, host: &Host) -> Refusal {
    match (fault.errno, filter::since(fault.call), host.kernel_version()) {
        (Errno::ENOSYS, Some(since), Some(version)) if version < since => {
            too_old(fault.call, since, version)
        }
        _ => filtered(fault.call),
    }
}

/// What would be refused with every right too is a mistake of its own.
fn explain_stripped(
    operation: &dyn Operation,
    fault: Fault,
    before: &Model,
    seen: &Evidence,
) -> Refusal {
    let mut with_rights = before.clone();
    with_rights.process.capabilities = Capabilities::FULL;
    match operation.answer(&with_rights) {
        Answer::No(_) => operation.explain(fault, &with_rights, seen),
        _ => restricted_by_apparmor(),
    }
}

/// Ubuntu's way: the namespace is made, and every right in it is taken away.
fn restricted_by_apparmor() -> Refusal {
    Refusal::new(
        "user::restricted_by_apparmor",
        "AppArmor lets you make a user namespace, not use it",
    )
    .why("kernel.apparmor_restrict_unprivileged_userns is 1")
    .help(
        "install the profile `apparmor/isorecipe`; to try without: \
         `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    )
    .once()
}

fn filtered(call: Call) -> Refusal {
    Refusal::new("seccomp::denies", format!("a seccomp filter denies `{call}`"))
        .why("the filter that isorecipe was started under answers for the kernel")
        .help(format!(
            "start the outer container with a profile that allows `{call}`: \
             `--security-opt seccomp=PROFILE.json`, or `seccomp=unconfined` to try"
        ))
        .once()
}

fn too_old(call: Call, since: (u32, u32), version: (u32, u32)) -> Refusal {
    Refusal::new("host::kernel_too_old", format!("this kernel has no `{call}`"))
        .why(format!(
            "it is Linux {}.{}, and the call came with {}.{}",
            version.0, version.1, since.0, since.1
        ))
        .help("run it on a newer kernel: isorecipe wants Linux 5.14")
}

/// What the kernel's yes means to a check that has a fault to report.
fn yes(checked: Result<(), Answer>) -> Answer {
    match checked {
        Ok(()) => Answer::Yes,
        Err(answer) => answer,
    }
}
