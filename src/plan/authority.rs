//! What a sandbox could do: everything its command is, holds, and reaches.
//!
//! Read off the model at the end of a plan, so it can be printed before
//! anything happens, and two recipes can be compared.

use std::path::Path;

use serde::Serialize;

use crate::{
    model::{Filesystem, FilesystemId, Model, Offsets, UserId, capability},
    ops::{Most, Op},
    sys::{
        Namespace,
        limit::{Limit, Resource},
    },
};

use super::{Plan, Step, within};

mod landlock;

/// Of what is not isolated.
const HOSTS: &str = "the host's";
/// Of what it has in common with the host.
const SHARES: &str = "shares";

/// What the command will be, have, and reach.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Authority {
    namespaces: Vec<Own>,
    uid: u32,
    gid: u32,
    host_uid: u32,
    host_gid: u32,
    hostname: Option<String>,
    network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    clocks: Option<String>,
    pid_1: &'static str,
    terminal: &'static str,
    capabilities: String,
    no_new_privs: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    nested_forbidden: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<String>,
    limits: Vec<String>,
    root: &'static str,
    mounts: Vec<Seen>,
    can_read: String,
    can_write: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    landlock: Vec<String>,
    shared_with_host: Vec<&'static str>,
    end: &'static str,
}

/// Whether a kind of namespace is its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Own {
    namespace: &'static str,
    own: bool,
}

/// A mount that the recipe makes.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Seen {
    at: String,
    what: String,
    read_only: bool,
}

/// One thing that a command can or cannot do: what it is about, and how it is.
pub type Line = (&'static str, String);

impl Authority {
    /// The authority at the end of a plan; paths in the recipe's folder begin with `.`.
    pub fn of(plan: &Plan, folder: &Path) -> Self {
        let model = &plan.end;
        let user = model.own_user();
        let overflow = 65534;
        let own = |kind: Namespace| Own { namespace: kind.link(), own: model.has_own(kind) };
        let is_other_root = model.mounts.visible().first().is_some_and(|(_, mount)| mount.own);
        let mounts = mounts(model, folder);
        Self {
            namespaces: Namespace::ALL.into_iter().map(own).collect(),
            uid: user.uids.from_host(model.process.uid).unwrap_or(overflow),
            gid: user.gids.from_host(model.process.gid).unwrap_or(overflow),
            host_uid: model.process.uid,
            host_gid: model.process.gid,
            hostname: model.hostname.clone(),
            network: network(model),
            clocks: model.has_own(Namespace::Time).then(|| clocks(model)),
            pid_1: match (model.pid.own, model.is_init) {
                (false, _) => HOSTS,
                (true, true) => "the command: signals that it does not handle do nothing",
                (true, false) => "isorecipe's init",
            },
            terminal: plan.terminal_in_words(),
            capabilities: capabilities(&plan.start, model),
            nested_forbidden: model.forbids_nested(),
            limits: limits(plan),
            no_new_privs: model.process.no_new_privs,
            calls: filters(plan),
            root: if is_other_root { "its own" } else { "the host's" },
            can_read: match is_other_root {
                true => "what is mounted, and nothing else".to_owned(),
                false => format!("on the host: whatever uid {} may read there", model.process.uid),
            },
            can_write: can_write(model, is_other_root, &mounts),
            landlock: landlock::lines(model, folder),
            mounts,
            shared_with_host: shared(model),
            end: match model.pid.own {
                true => "with PID 1, and everything in it",
                false => "with the command; what it leaves in the background goes on",
            },
        }
    }

    /// All of it in words, in the order of a report.
    pub fn lines(&self) -> Vec<Line> {
        let hostname = match (&self.hostname, self.has_own("uts")) {
            (Some(name), true) => format!("{name}, its own"),
            (None, true) => "its own, with the host's to begin with".to_owned(),
            _ => HOSTS.to_owned(),
        };
        let ids = format!(
            "uid={} gid={} inside, uid={} gid={} on the host",
            self.uid, self.gid, self.host_uid, self.host_gid
        );
        let mut lines = vec![
            ("ids", ids),
            ("holds", self.capabilities.clone()),
            ("hostname", hostname),
            ("network", self.network.clone()),
            ("PID 1", self.pid_1.to_owned()),
            ("terminal", self.terminal.to_owned()),
            ("root", self.root.to_owned()),
        ];
        lines.extend(self.clocks.iter().map(|clocks| ("clocks", clocks.clone())));
        if self.pid_1 != HOSTS && !self.mounts.iter().any(|mount| mount.what == "proc") {
            lines.push(("/proc", "the host's: `ps` shows the host; add `proc: true`".to_owned()));
        }
        for mount in &self.mounts {
            let how = if mount.read_only { ", read-only" } else { "" };
            lines.push(("mount", format!("{}: {}{how}", mount.at, mount.what)));
        }
        lines.extend(self.calls.iter().map(|filter| ("calls", filter.clone())));
        lines.push(("can read", self.can_read.clone()));
        lines.extend(self.can_write.iter().map(|place| ("can write", place.clone())));
        lines.extend(self.landlock.iter().map(|what| ("Landlock", what.clone())));
        lines.push((SHARES, self.shared_with_host.join(", ")));
        lines.push(("ends", self.end.to_owned()));
        if self.nested_forbidden {
            lines.push(("nested", "no user namespace can be made inside".to_owned()));
        }
        lines.extend(self.limits.iter().map(|limit| ("limit", limit.clone())));
        if !self.no_new_privs {
            lines.push(("rights", "set-user-ID programs work: no_new_privs is off".to_owned()));
        }
        lines
    }

    /// What only this one says, and what only the other one says.
    pub fn differences(&self, other: &Self) -> (Vec<Line>, Vec<Line>) {
        let (own, others) = (self.apart(), other.apart());
        let only = |these: &[Line], those: &[Line]| -> Vec<Line> {
            these.iter().filter(|line| !those.contains(line)).cloned().collect()
        };
        (only(&own, &others), only(&others, &own))
    }

    /// The lines, each thing that is shared in one of its own.
    fn apart(&self) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|(what, _)| *what != SHARES);
        lines.extend(self.shared_with_host.iter().map(|what| (SHARES, (*what).to_owned())));
        lines
    }

    fn has_own(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|own| own.namespace == namespace && own.own)
    }
}

/// The filters of system calls, each in words.
fn filters(plan: &Plan) -> Vec<String> {
    let words = |step: &Step| match &step.op {
        Op::InstallFilter(filter) => Some(filter.words().to_owned()),
        _ => None,
    };
    plan.steps.iter().filter_map(words).collect()
}

/// What `execve` leaves (`capabilities(7)`).
fn capabilities(start: &Model, end: &Model) -> String {
    let held = held(end);
    let all = capability::known(capability::ALL);
    if held == 0 {
        return "no capability".to_owned();
    }
    let is_host = end.process.user == UserId::HOST;
    if is_host && held == self::held(start) {
        return "the capabilities of the host's root".to_owned();
    }
    let which = match capability::known(!held) {
        0 => "every capability".to_owned(),
        few if few.count_ones() < held.count_ones() => {
            format!("every capability but {}", capability::names(few))
        }
        _ => capability::names(held & all),
    };
    match is_host {
        true => format!("{which}, over the host"),
        false => format!("{which} over its own user namespace, none over the host's"),
    }
}

fn held(model: &Model) -> u64 {
    let process = &model.process;
    let is_root = model.own_user().uids.from_host(process.uid) == Some(0);
    let after = process.capabilities.after_exec(is_root, process.no_new_privs);
    capability::known(after.effective)
}

/// Those of each process, of all together, and what isorecipe itself keeps.
fn limits(plan: &Plan) -> Vec<String> {
    let shared = plan.end.limits.all_shared().map(|(controller, amount, version)| {
        let most = Most { controller, amount };
        format!("{most} for all together, by a control group of version {version}")
    });
    let time = plan.watched.time.map(|time| {
        let seconds = time.as_secs_f64();
        format!("time {seconds}s, by isorecipe")
    });
    let output = plan.watched.output.map(|most| {
        let most = Resource::FileSize.written(most);
        format!("output {most}, by isorecipe, which all that is printed goes through")
    });
    let own = plan.end.limits.all_own().map(limit);
    own.chain(shared)
        .chain(time)
        .chain(output)
        .chain(plan.watched.unlimited.iter().cloned())
        .collect()
}

/// `nofile: 1024`, or `nofile: 1024, at most 4096`
fn limit((resource, limit): (Resource, Limit)) -> String {
    let name = resource.name();
    match limit.soft == limit.hard {
        true => format!("{name}: {}", resource.written(limit.soft)),
        false => {
            let (soft, hard) = (resource.written(limit.soft), resource.written(limit.hard));
            format!("{name}: {soft}, at most {hard}")
        }
    }
}

/// What its own clocks show.
fn clocks(model: &Model) -> String {
    let Offsets { monotonic, boottime } = model.clocks;
    let set = [("monotonic", monotonic), ("boottime", boottime)];
    let set = set.iter().filter_map(|(name, offset)| Some(format!("{name} {}", (*offset)?)));
    let set: Vec<String> = set.collect();
    match set.is_empty() {
        true => "its own, which show what the host's do".to_owned(),
        false => format!("its own, beside the host's: {}", set.join(", ")),
    }
}

/// What can be reached through sockets.
fn network(model: &Model) -> String {
    if let Some(forwards) = &model.outlet {
        let leads = forwards.iter().map(|forward| {
            format!(
                "; port {} of 127.0.0.1 outside leads to its {}",
                forward.outside, forward.inside
            )
        });
        let reached = "its own, joined by pasta: whatever the host reaches, not its 127.0.0.1";
        return std::iter::once(reached.to_owned()).chain(leads).collect();
    }
    let reached = match (model.network.own, model.has_loopback) {
        (false, _) => "the host's: whatever it reaches, and its services on 127.0.0.1",
        (true, true) => "its own: 127.0.0.1, and no other machine",
        (true, false) => "its own, with nothing up in it",
    };
    reached.to_owned()
}

/// The mounts that the recipe makes.
fn mounts(model: &Model, folder: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (at, mount) in model.mounts.visible() {
        if !mount.own {
            continue;
        }
        let what = match &model.mounts.filesystem(mount.filesystem).filesystem {
            Filesystem::Host(base) => format!("{} of the host", base.join(&mount.root).display()),
            Filesystem::Tmpfs(_) => "tmpfs, in memory".to_owned(),
            Filesystem::Proc => "proc".to_owned(),
            Filesystem::Pts => "devpts, terminals of its own".to_owned(),
            Filesystem::Sysfs => "sysfs".to_owned(),
            Filesystem::Mqueue => "message queues".to_owned(),
            Filesystem::Image(file) => format!("the image {}", file.display()),
            Filesystem::Overlay { layers } => match layers.first() {
                Some((upper, path)) => {
                    format!("overlay, changes go to {}", place(model, *upper, path))
                }
                None => "overlay".to_owned(),
            },
            Filesystem::Unknown => "unknown, see the errors".to_owned(),
        };
        let path = within(folder, &at.display().to_string());
        seen.push(Seen { at: path, what: within(folder, &what), read_only: mount.read_only });
    }
    seen
}

fn place(model: &Model, filesystem: FilesystemId, path: &Path) -> String {
    match &model.mounts.filesystem(filesystem).filesystem {
        Filesystem::Host(base) => base.join(path).display().to_string(),
        Filesystem::Tmpfs(_) => "memory".to_owned(),
        _ => path.display().to_string(),
    }
}

fn can_write(model: &Model, is_other_root: bool, mounts: &[Seen]) -> Vec<String> {
    if !is_other_root {
        let uid = model.process.uid;
        return vec![format!("on the host: whatever uid {uid} may write there")];
    }
    mounts
        .iter()
        .filter(|mount| !mount.read_only && mount.what != "proc")
        .map(|mount| format!("{}: {}", mount.at, mount.what))
        .collect()
}

/// Namespaces that no layer has made.
fn shared(model: &Model) -> Vec<&'static str> {
    let mut shared = Vec::new();
    for (kind, what) in [
        (Namespace::User, "user ids"),
        (Namespace::Mount, "mounts"),
        (Namespace::Uts, "hostname"),
        (Namespace::Pid, "processes"),
        (Namespace::Network, "network"),
        (Namespace::Ipc, "System V IPC"),
        (Namespace::Cgroup, "control groups"),
        (Namespace::Time, "clocks"),
    ] {
        if !model.has_own(kind) {
            shared.push(what);
        }
    }
    shared
}
