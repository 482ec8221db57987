//! Console 2: what the host sees of a sandbox, read from `/proc`. Nothing of a
//! sandbox is changed; registrations of those that are over are swept away.
//!
//! It works for any process that the caller may look at, whoever made its
//! namespaces: what isorecipe registered ([`crate::registry`]) adds a name and
//! the overlays, and nothing is believed of it that the kernel can be asked.
//!
//! **Invariant:** what may not be read is told as such; half of the truth about
//! a process is never shown as the whole.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    diagnostic::Refusal,
    host::Names,
    registry::{Owner, Running},
};

mod changes;
mod hostname;
mod ids;
mod mounts;
mod namespaces;
mod processes;
mod target;
mod words;

pub use changes::{Change, Changed, Overlay};
pub use hostname::Hostname;
pub use ids::{Ids, MapLine};
pub use mounts::{Mount, Mounts};
pub use namespaces::Namespace;
pub use processes::{Process as ProcessView, User};
pub use target::{Target, find, find_again};
pub use words::distrusted;

/// A sandbox as its supervisor registered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Registered {
    /// What it is called, by no other sandbox that runs
    pub name: String,
    /// The recipe's file
    pub recipe: Option<String>,
    /// The process of isorecipe that stays on the host
    pub supervisor: i32,
    /// The command; while it is paused, the process that will become it
    pub pid: i32,
    /// When it began, in seconds since 1970
    pub began: u64,
    /// The layer it waits after
    pub paused: Option<String>,
}

/// One sandbox, or any process, as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct View {
    /// What was registered; nothing for a process that isorecipe did not start
    pub sandbox: Option<Registered>,
    /// The process whose namespaces these are
    pub pid: i32,
    /// All eight kinds
    pub namespaces: Vec<Namespace>,
    /// Which ids inside are which outside
    pub ids: Ids,
    /// The machine's name on both sides
    pub hostname: Hostname,
    /// Who began the first process: on the host, outside of it
    pub parent: Option<ProcessView>,
    /// All processes of the sandbox, parents before their children
    pub processes: Vec<ProcessView>,
    /// How its mounts differ from the host's
    pub mounts: Mounts,
    /// What was changed in its overlays
    pub overlays: Vec<Overlay>,
}

/// A sandbox in the list of those that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Listed {
    /// What is known of it
    #[serde(flatten)]
    pub sandbox: Registered,
    /// Whose it is
    pub user: User,
    /// The command line
    pub command: String,
    /// Kinds of namespace that are not the host's; nothing if they may not be read
    pub own: Option<Vec<&'static str>>,
}

/// What `isorecipe observe --json` prints: one sandbox, or all that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "isorecipe observe")]
pub enum Report {
    /// With NAME or PID
    One(Box<View>),
    /// Without
    All {
        /// In the order of their beginning
        sandboxes: Vec<Listed>,
    },
}

/// Looks at a sandbox or a process.
///
/// # Errors
/// When it has ended, or may not be looked at.
pub fn look(target: &Target) -> Result<View, Box<Refusal>> {
    let pid = target.pid();
    let namespaces = namespaces::of(pid).map_err(|error| words::unreadable(pid, &error))?;
    let is_own = |kind| namespaces.iter().any(|found| found.kind == kind && found.own);
    let outside = Names::of_host();
    let inside = ids::names_inside(pid, &outside);
    let ids = ids::of(pid, &outside, &inside).map_err(|error| words::unreadable(pid, &error))?;
    let people = processes::People { outside: &outside, inside: &inside, ids: &ids };
    let (parent, processes) = processes::of(pid, is_own("pid"), &people);
    let mounts = mounts::of(pid).map_err(|error| words::unreadable(pid, &error))?;
    let registered = target.registered().map(|running| running.entry.overlays.as_slice());
    let view = View {
        sandbox: target.registered().map(Registered::from),
        pid,
        hostname: hostname::of(pid, is_own("uts"), is_own("user")),
        overlays: changes::of(registered, &mounts),
        namespaces,
        ids,
        parent,
        processes,
        mounts,
    };
    // What was read after the process ended was perhaps read of another.
    if target.has_ended() { Err(words::gone(pid)) } else { Ok(view) }
}

/// Sandboxes that run, as a list shows them.
pub fn list(running: &[Running]) -> Vec<Listed> {
    let names = Names::of_host();
    let listed = running.iter().map(|running| {
        let pid = running.entry.command.pid;
        let namespaces = namespaces::of(pid).ok();
        let own = |found: Vec<Namespace>| {
            found.into_iter().filter(|found| found.own).map(|found| found.kind).collect()
        };
        Listed {
            sandbox: Registered::from(running),
            user: User::new(running.uid, &names.users),
            command: processes::command_line(pid),
            own: namespaces.map(own),
        }
    });
    listed.collect()
}

impl From<&Running> for Registered {
    fn from(running: &Running) -> Self {
        let entry = &running.entry;
        Self {
            name: entry.name.clone(),
            recipe: entry.recipe.as_ref().map(|path| path.to_string_lossy().into_owned()),
            supervisor: entry.supervisor.pid,
            pid: entry.command.pid,
            began: entry.began,
            paused: entry.paused.clone(),
        }
    }
}

/// Which sandboxes of an owner run.
pub fn running(owner: &Owner) -> crate::registry::Census {
    crate::registry::running(owner)
}
