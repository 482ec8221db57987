//! Rights that the process takes from itself, once and for good: `landlock(7)`.

use std::fmt;

use crate::{
    diagnostic::{Refusal, typed},
    host,
    model::{Answer, MOST_RULESETS, Model, Ruleset, Slot, capability},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        landlock::{self, Handled, files, scope, tcp},
        look,
    },
};

use super::{Evidence, Operation, Stage, unexplained, way, yes};

mod missing;

pub use missing::lacks;
use missing::{known, switched_off, too_old, without_landlock};

/// Rulesets that surely fit beside those that were there before the recipe.
const FEW_RULESETS: usize = 8;

/// A ruleset that allows nothing yet of what it handles.
pub struct MakeRuleset {
    /// Where it is kept
    pub slot: Slot,
    /// What it forbids
    pub handled: Handled,
}

/// What a rule allows with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Read files, list directories
    Read,
    /// That, and change what is there
    Write,
    /// Read files, and run them
    Execute,
}

impl Use {
    /// As Landlock's own bits ([`files`]). Devices are never made.
    pub fn access(self) -> u64 {
        let read = files::READ | files::LIST;
        match self {
            Self::Read => read,
            Self::Write => {
                let devices = files::MAKE_CHARACTER_DEVICE | files::MAKE_BLOCK_DEVICE;
                files::ALL & !(devices | files::EXECUTE)
            }
            // The kernel opens a program to read, too.
            Self::Execute => read | files::EXECUTE,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "read and write",
            Self::Execute => "read and execute",
        }
    }
}

/// A rule for a file, or for a directory and all below it.
pub struct AllowFiles {
    /// The ruleset it goes into
    pub slot: Slot,
    /// Where
    pub path: KernelPath,
    /// What
    pub to: Use,
    /// What the ruleset handles of files
    pub handled: u64,
    /// Where nothing is there, nothing is allowed
    pub optional: bool,
}

/// A rule for a TCP port.
pub struct AllowPort {
    /// The ruleset it goes into
    pub slot: Slot,
    /// The port
    pub port: u16,
    /// Of [`tcp`]
    pub access: u64,
}

/// The process puts the ruleset on itself, and so on all that comes of it.
pub struct RestrictSelf {
    /// The ruleset
    pub slot: Slot,
    /// What must not work any more
    pub proof: Proof,
}

/// What shows that a ruleset holds, and costs nothing: the kernel tells nobody
/// which rulesets a process is under.
pub struct Proof {
    /// Where files are handled: the places that are allowed. Nobody changes mounts
    /// any more, and nobody lists the root directory that is none of them.
    pub allowed: Option<Vec<KernelPath>>,
    /// Nobody gets this port any more
    pub port: Option<u16>,
}

impl fmt::Display for MakeRuleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Handled { files, tcp, scope } = self.handled;
        let kinds = [
            (files != 0, "files"),
            (tcp != 0, "TCP ports"),
            (scope & scope::SIGNAL != 0, "signals"),
            (scope & scope::ABSTRACT_UNIX_SOCKET != 0, "abstract sockets"),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect();
        write!(f, "make a Landlock ruleset: {}", kinds.join(", "))
    }
}

impl fmt::Display for AllowFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let if_there = if self.optional { ", if it is there" } else { "" };
        write!(f, "allow to {} {}{if_there}", self.to.verb(), self.path.as_path().display())
    }
}

impl fmt::Display for AllowPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.access == tcp::BIND { "bind" } else { "connect to" };
        write!(f, "allow to {verb} TCP port {}", self.port)
    }
}

impl fmt::Display for RestrictSelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forbid itself the rest, with Landlock")
    }
}

impl Operation for MakeRuleset {
    fn answer(&self, model: &Model) -> Answer {
        let no = |errno| Answer::No(Call::LandlockCreate.gave(errno));
        let interface = match known(&model.host) {
            None => return Answer::KernelDecides,
            Some(host::Landlock::Missing) => return no(Errno::ENOSYS),
            Some(host::Landlock::Off) => return no(Errno::EOPNOTSUPP),
            Some(host::Landlock::Interface(interface)) => interface,
        };
        let Handled { files, tcp, scope } = self.handled;
        // What older kernels do not know of must be zero (`copy_struct_from_user()`).
        let is_larger = interface < 4 && tcp != 0 || interface < 6 && scope != 0;
        match Handled::known_to(interface) {
            _ if is_larger => no(Errno::E2BIG),
            known if known.and(self.handled) != self.handled => no(Errno::EINVAL),
            _ if (files, tcp, scope) == (0, 0, 0) => no(Errno::ENOMSG),
            _ => Answer::Yes,
        }
    }

    fn effect(&self, model: &mut Model) {
        let ruleset = Ruleset { handled: self.handled, ..Ruleset::default() };
        model.rulesets.insert(self.slot, ruleset);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        landlock::create(&self.handled)
            .and_then(|ruleset| stage.keep(self.slot, ruleset))
            .map_err(|errno| Call::LandlockCreate.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let host = &before.host;
        match fault.errno {
            Errno::ENOSYS => without_landlock(host),
            Errno::EOPNOTSUPP => switched_off(),
            Errno::EINVAL | Errno::E2BIG => match known(host) {
                Some(host::Landlock::Interface(interface)) => {
                    too_old(host, interface, self.handled)
                        .unwrap_or_else(|| unexplained(self, fault))
                }
                _ => unexplained(self, fault),
            },
            _ => unexplained(self, fault),
        }
    }
}

impl AllowFiles {
    fn access(&self) -> u64 {
        self.to.access() & self.handled
    }

    fn is_left_out(&self, errno: Errno) -> bool {
        self.optional && matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
    }
}

impl Operation for AllowFiles {
    fn answer(&self, model: &Model) -> Answer {
        match model.walk(self.path.as_path()) {
            Err(errno) if self.is_left_out(errno) => Answer::Yes,
            Err(errno) => Answer::No(Call::OpenTarget.gave(errno)),
            Ok(found) if found.thing.is_directory().is_none() => Answer::KernelDecides,
            Ok(_) => Answer::Yes,
        }
    }

    fn effect(&self, model: &mut Model) {
        let is_left_out =
            model.walk(self.path.as_path()).is_err_and(|errno| self.is_left_out(errno));
        if is_left_out {
            return;
        }
        let rule = model.path_rule(self.path.as_path(), self.access());
        if let Some(ruleset) = model.rulesets.get_mut(&self.slot) {
            ruleset.paths.push(rule);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let rule = |errno| Call::LandlockRule.gave(errno);
        let place = match descriptor::open_place(None, self.path.as_c_str(), Walk::Free) {
            Err(errno) if self.is_left_out(errno) => return Ok(()),
            place => place.map_err(|errno| Call::OpenTarget.gave(errno))?,
        };
        let ruleset = stage.slot(self.slot).map_err(rule)?;
        landlock::allow_below(ruleset, std::os::fd::AsFd::as_fd(&place), self.access())
            .map_err(rule)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let path = self.path.as_path();
        let shown = path.display();
        match (fault.call, fault.errno) {
            (Call::OpenTarget, Errno::ENOENT) => {
                Refusal::new("landlock::no_path", format!("there is no {shown} to allow"))
                    .why(way::first_missing(path, before))
                    .help(format!(
                        "`{{path: {shown}, optional: true}}` allows it where it is there"
                    ))
            }
            (Call::OpenTarget, Errno::ENOTDIR) => {
                Refusal::new("landlock::path_below_file", format!("{shown} leads through a file"))
                    .why("a directory on the way is none")
                    .help("name a path whose parents are directories")
            }
            (Call::OpenTarget, Errno::EACCES) => Refusal::new(
                "landlock::path_hidden",
                format!("you may not search the way to {shown}"),
            )
            .why("a directory on the way does not let you through")
            .help(format!("`namei -l {}` shows which", typed(path))),
            _ => unexplained(self, fault),
        }
    }
}

impl Operation for AllowPort {
    fn answer(&self, model: &Model) -> Answer {
        match model.rulesets.contains_key(&self.slot) {
            true => Answer::Yes,
            false => Answer::KernelDecides,
        }
    }

    fn effect(&self, model: &mut Model) {
        if let Some(ruleset) = model.rulesets.get_mut(&self.slot) {
            ruleset.ports.push((self.port, self.access));
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage
            .slot(self.slot)
            .and_then(|ruleset| landlock::allow_port(ruleset, self.port, self.access))
            .map_err(|errno| Call::LandlockRule.gave(errno))
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}

impl RestrictSelf {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Answer::No(Call::LandlockRestrict.gave(errno));
        if !model.process.no_new_privs && !model.capable(model.process.user, capability::SYS_ADMIN)
        {
            return Err(no(Errno::EPERM));
        }
        match model.process.rulesets.len() {
            count if count >= MOST_RULESETS => Err(no(Errno::E2BIG)),
            // How many there were before, nobody tells.
            count if count >= FEW_RULESETS => Err(Answer::KernelDecides),
            _ => Ok(()),
        }
    }
}

impl RestrictSelf {
    /// Whether the root directory is none of the places that are allowed. That of a
    /// chroot may lie in one of them, seen from further up.
    fn shuts_root(&self) -> bool {
        if look::is_mount_root(c"/") != Ok(true) {
            return false;
        }
        let (Some(allowed), Ok(root)) = (&self.proof.allowed, look::at(c"/")) else { return false };
        let is_root = |place: &KernelPath| {
            look::at(place.as_c_str()).is_ok_and(|found| found.file == root.file)
        };
        !allowed.iter().any(is_root)
    }
}

impl Operation for RestrictSelf {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        if let Some(ruleset) = model.rulesets.get(&self.slot).cloned() {
            model.enter_domain(ruleset);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.remember([u64::from(self.shuts_root()), 0]);
        stage
            .slot(self.slot)
            .and_then(landlock::restrict_self)
            .map_err(|errno| Call::LandlockRestrict.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let [is_shut, _] = stage.remembered();
        let has_files = self.proof.allowed.is_some();
        let found: &[u8] = match self.proof.port {
            _ if has_files && landlock::lets_mount() => b"mounts can be changed",
            _ if is_shut == 1 && landlock::lets_list_root() => b"the root directory can be listed",
            Some(port) if landlock::lets_bind(port) => b"another port can be bound",
            _ => return Ok(()),
        };
        Err(stage.lie(Call::LandlockRestrict, found))
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        match fault.errno {
            Errno::EPERM => Refusal::new(
                "landlock::needs_no_new_privs",
                "Landlock takes rights only from who can gain none",
            )
            .why("no_new_privs is off, and CAP_SYS_ADMIN is not there")
            .help("take `no_new_privs: false` out of the recipe"),
            Errno::E2BIG => Refusal::new(
                "landlock::too_many",
                format!("a process takes {MOST_RULESETS} Landlock rulesets, and no more"),
            )
            .why("each `landlock` layer is one, and those around isorecipe count as well")
            .help("join the `landlock` layers"),
            _ => unexplained(self, fault),
        }
    }
}

/// What Landlock alone forbids, in words: without it, the model would not say this no.
pub(super) fn forbidden(
    operation: &dyn Operation,
    fault: Fault,
    before: &Model,
) -> Option<Refusal> {
    let is_about_rights = matches!(fault.errno, Errno::EPERM | Errno::EACCES);
    if before.process.rulesets.is_empty() || !is_about_rights || fault.call == Call::Execve {
        return None;
    }
    let mut without = before.clone();
    without.process.rulesets.clear();
    let no = Answer::No(fault);
    if operation.answer(before) != no || operation.answer(&without) == no {
        return None;
    }
    Some(match (fault.call, fault.errno) {
        (_, Errno::EPERM) | (Call::Fsconfig, _) => {
            Refusal::new("landlock::mounts", "Landlock forbids changing mounts")
                .why("a `landlock` layer stands before it")
                .help("move the `landlock` layer below every layer that mounts")
        }
        _ => Refusal::new("landlock::forbids", format!("Landlock does not let it {operation}"))
            .why("a `landlock` layer before it does not allow that")
            .help("move the `landlock` layer below it")
            .once(),
    })
}
