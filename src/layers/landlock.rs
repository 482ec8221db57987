//! `landlock`: what the command may do with files, TCP ports and its
//! neighbours, whoever it is (`landlock(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    host::Landlock as Known,
    ops::{self, AllowFiles, AllowPort, MakeRuleset, Proof, RestrictSelf, Use},
    plan::Planner,
    sys::{
        KernelPath,
        landlock::{Handled, files, scope, tcp},
    },
};

use super::{FromWord, Need, Place, Plan, WordOrMap};

/// Everything that is not allowed here is forbidden, to root as well, for good.
///
/// Files are restricted once `read`, `write` or `execute` is there, TCP once
/// `bind` or `connect` is. Belongs below every layer that mounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landlock {
    /// Files that can be read and directories that can be listed, with all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Vec<WordOrMap<Allowed>>>,
    /// Where everything can be changed, and read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<WordOrMap<Allowed>>>,
    /// Programs that can be run, and read; the loader of a program is one, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute: Option<Vec<WordOrMap<Allowed>>>,
    /// TCP ports that a socket can be bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<Vec<u16>>,
    /// TCP ports that can be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Vec<u16>>,
    /// What no longer reaches processes outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<Scope>,
    /// What becomes of the run where the kernel lacks some of it.
    #[serde(default)]
    pub need: Need,
}

/// A file, or a directory with all below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Which, as it is called at this point.
    pub path: Place,
    /// It may be missing; then nothing is allowed.
    #[serde(default)]
    pub optional: bool,
}

impl FromWord for Allowed {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { path: Place::new(word)?, optional: false })
    }
}

/// A way to reach processes outside of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Connecting to their abstract unix sockets
    AbstractUnixSocket,
    /// Sending them signals
    Signal,
}

impl Plan for Landlock {
    fn plan(&self, to: &mut Planner) {
        let wanted = self.wanted();
        if wanted == Handled::default() {
            return to.refuse(
                Refusal::new("landlock::nothing", "this `landlock` layer forbids nothing")
                    .why("it says neither what is allowed nor what is out of scope")
                    .help("write what is allowed: `landlock: {read: [/usr], execute: [/usr]}`"),
            );
        }
        let Some(handled) = self.handled(to, wanted) else { return };
        to.no_new_privs();
        let slot = to.slot();
        to.step(MakeRuleset { slot, handled });
        self.allow_files(to, slot, handled.files);
        self.allow_ports(to, slot, handled.tcp);
        let proof = self.proof(to, handled);
        to.step(RestrictSelf { slot, proof });
    }
}

impl Landlock {
    /// What it forbids, if the kernel knows it all.
    fn wanted(&self) -> Handled {
        let has_files = [&self.read, &self.write, &self.execute].iter().any(|list| list.is_some());
        let has_ports = self.bind.is_some() || self.connect.is_some();
        let scopes = self.scope.iter().map(|scope| match scope {
            Scope::AbstractUnixSocket => scope::ABSTRACT_UNIX_SOCKET,
            Scope::Signal => scope::SIGNAL,
        });
        Handled {
            files: if has_files { files::ALL } else { 0 },
            tcp: if has_ports { tcp::BIND | tcp::CONNECT } else { 0 },
            scope: scopes.fold(0, |all, one| all | one),
        }
    }

    /// What it forbids here: nothing is left out that the author has asked for,
    /// unless `need` lets it. `None`: there is no Landlock, and it may do without.
    fn handled(&self, to: &mut Planner, wanted: Handled) -> Option<Handled> {
        let known = match to.landlock() {
            None => return Some(wanted),
            Some(Known::Missing | Known::Off) => Handled::default(),
            Some(Known::Interface(interface)) => Handled::known_to(interface),
        };
        let enforced = wanted.and(known);
        // Nobody asks for these by name: where the kernel has not learned of them
        // yet, moving is forbidden anyway, and devices take every command.
        let unasked = files::REFER | files::CONTROL_DEVICE;
        let asked = Handled { files: wanted.files & !unasked, ..wanted };
        if let Some(missing) = ops::lacks_landlock(to.host(), asked) {
            return match self.need.goes_without(to, missing) {
                true => (enforced != Handled::default()).then_some(enforced),
                // The kernel will refuse it, as it stands.
                false => Some(Handled { files: asked.files | enforced.files, ..asked }),
            };
        }
        let devices = Handled { files: wanted.files & files::CONTROL_DEVICE, ..Handled::default() };
        if let Some(missing) = ops::lacks_landlock(to.host(), devices) {
            to.note(missing.help("bind only the devices that the command needs"));
        }
        Some(enforced)
    }

    /// What must not work behind it.
    fn proof(&self, to: &Planner, handled: Handled) -> Proof {
        let lists = [&self.read, &self.write, &self.execute].into_iter().flatten().flatten();
        let allowed = lists.map(|WordOrMap(one)| KernelPath::new(to.path(one.path.as_path())));
        let bound = self.bind.as_deref().unwrap_or_default();
        Proof {
            allowed: (handled.files != 0).then(|| allowed.collect()),
            port: (1024..=u16::MAX).rev().find(|port| handled.tcp != 0 && !bound.contains(port)),
        }
    }

    fn allow_files(&self, to: &mut Planner, slot: usize, handled: u64) {
        let lists = [
            ("read", &self.read, Use::Read),
            ("write", &self.write, Use::Write),
            ("execute", &self.execute, Use::Execute),
        ];
        for (field, list, allowed) in lists {
            for (index, WordOrMap(one)) in list.iter().flatten().enumerate() {
                let path = KernelPath::new(to.path(one.path.as_path()));
                let place = to.at_place(|layer| layer.key(field).index(index));
                let optional = one.optional;
                place.step(AllowFiles { slot, path, to: allowed, handled, optional });
            }
        }
    }

    fn allow_ports(&self, to: &mut Planner, slot: usize, handled: u64) {
        for (field, list, access) in
            [("bind", &self.bind, tcp::BIND), ("connect", &self.connect, tcp::CONNECT)]
        {
            if handled & access == 0 {
                continue;
            }
            for (index, &port) in list.iter().flatten().enumerate() {
                let place = to.at_place(|layer| layer.key(field).index(index));
                place.step(AllowPort { slot, port, access });
            }
        }
    }
}
