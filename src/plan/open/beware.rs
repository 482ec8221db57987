//! What is worth a warning by name: sockets of the host in a directory that is
//! shown, groups that stay, a terminal that can be typed into.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host::SocketsBelow,
    ops::Op,
    plan::Plan,
    sys::Namespace,
    yaml,
};

use super::end::End;

/// As many are named.
const FEW: usize = 3;
/// Filesystems without sockets of anybody's, and those whose server may never answer.
const NOT_LOOKED_INTO: [&str; 10] =
    ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "nfs", "nfs4", "cifs", "autofs"];

impl Plan {
    /// Warns of what a recipe that hides the host's files leaves open all the
    /// same, and few would think of. Of this machine, it looks for sockets.
    pub fn beware(&mut self, is_live: bool) {
        let end = End::of(self, false);
        if !end.hides_host() {
            return;
        }
        let mut said = Vec::new();
        if !end.has_no_groups()
            && let Some(groups) = self.end.process.groups.as_ref().filter(|all| !all.is_empty())
        {
            said.push(groups_stay(groups).at(self.place_of_user()));
        }
        if is_live && !end.connects_nowhere() {
            said.extend(self.sockets(&end));
        }
        self.notes.extend(said.into_iter().map(Diagnostic::warning));
    }

    fn place_of_user(&self) -> yaml::Path {
        let is_user = |op: &Op| matches!(op, Op::NewNamespace(new) if new.0 == Namespace::User);
        let step = self.steps.iter().find(|step| is_user(&step.op));
        step.map_or_else(yaml::Path::root, |step| step.origin.clone())
    }

    fn sockets(&self, end: &End) -> Vec<Diagnostic> {
        let mounts = self.end.mounts.clone();
        let by = self.mounted_by();
        let mut said = Vec::new();
        for (id, step) in by {
            let mount = mounts.mount(id);
            let trees = end.shown(mount);
            let kind = mounts.filesystem(mount.filesystem).kind.as_deref().unwrap_or_default();
            if NOT_LOOKED_INTO.contains(&kind) || kind.starts_with("fuse") || trees.is_empty() {
                continue;
            }
            let found = self.start.host.sockets_below(&trees);
            let Some(step) = self.steps.get(step) else { continue };
            if let Some(refusal) = in_reach(&found) {
                said.push(refusal.at(step.origin.clone()));
            }
        }
        said.dedup();
        said
    }
}

fn groups_stay(groups: &[u32]) -> Refusal {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    Refusal::new("sandbox::groups_stay", "the groups of the caller stay")
        .why(format!("what groups {} may open, it may", groups.join(", ")))
        .help("write `map: auto`, which takes a line for you in /etc/subuid and /etc/subgid")
}

fn in_reach(found: &SocketsBelow) -> Option<Refusal> {
    let first = found.paths.first()?;
    let others = found.paths.len() - 1;
    let message = match others {
        0 => format!("a socket of the host is in reach: {}", first.display()),
        _ => format!("{} sockets of the host are in reach: {}", others + 1, named(&found.paths)),
    };
    let cut = match found.cut.is_empty() {
        true => "",
        false => "; the tree is too large to have looked everywhere",
    };
    let refusal = Refusal::new("sandbox::sockets", message);
    let refusal = refusal.why(format!("read-only does not stop a connection{cut}"));
    Some(refusal.help("show less of it, put a `mask` over it, or write `seccomp: strict`"))
}

fn named(paths: &BTreeSet<PathBuf>) -> String {
    let few: Vec<String> = paths.iter().take(FEW).map(|path| path.display().to_string()).collect();
    let more = if paths.len() > FEW { ", …" } else { "" };
    few.join(", ") + more
}
