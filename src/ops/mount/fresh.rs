//! Fresh filesystems that show what a namespace keeps: who may mount one, and
//! the words for a no.

use std::path::Path;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, MountId, Owned, Revealing, UserId},
    sys::{Call, Errno, Fault},
};

/// Which of them.
#[derive(Clone, Copy)]
pub(super) enum Fresh {
    Proc,
    Sysfs,
    Mqueue,
}

impl Fresh {
    fn revealing(self) -> Option<Revealing> {
        match self {
            Self::Proc => Some(Revealing::Proc),
            Self::Sysfs => Some(Revealing::Sysfs),
            Self::Mqueue => None,
        }
    }
}

/// Whether the kernel gives one here: its own questions, before any place is looked at.
pub(super) fn check(fresh: Fresh, read_only: bool, model: &Model) -> Result<(), Answer> {
    let (shown, call) = match fresh {
        Fresh::Proc => (model.pid, Call::Fsconfig),
        Fresh::Mqueue => (model.ipc, Call::Fsconfig),
        // It asks as soon as it is named (`sysfs_init_fs_context()`).
        Fresh::Sysfs => (model.network, Call::Fsopen),
    };
    if !model.administers(shown.owner) {
        return Err(Answer::No(call.gave(Errno::EPERM)));
    }
    match fresh.revealing() {
        Some(kind) => model.may_reveal(kind, read_only).map_err(|no| no.to(Call::Fsmount)),
        None => Ok(()),
    }
}

/// What is read-only beside one that has to be, has to be as well.
pub(super) fn pass_lock_on(fresh: Fresh, mount: MountId, model: &mut Model) {
    // In the first user namespace nobody asks.
    if let Some(kind) = fresh.revealing().filter(|_| model.mounts.owner != UserId::HOST) {
        let lock = model.mounts.passes_read_only_on(kind, mount);
        model.mounts.lock_read_only(mount, lock);
    }
}

/// What the kernel says to one that it does not give, in words.
pub(super) fn refused(fresh: Fresh, fault: Fault, before: &Model) -> Option<Refusal> {
    match (fresh, fault.call, fault.errno) {
        (Fresh::Proc, Call::Fsconfig, Errno::EPERM) => Some(not_owned(&PROC, before.pid)),
        (Fresh::Sysfs, Call::Fsopen, Errno::EPERM) => Some(not_owned(&SYSFS, before.network)),
        (Fresh::Mqueue, Call::Fsconfig, Errno::EPERM) => Some(not_owned(&MQUEUE, before.ipc)),
        (Fresh::Proc, Call::Fsmount, Errno::EPERM) => Some(match before.has(Revealing::Proc) {
            true => masked_proc(before),
            false => none_left(&PROC),
        }),
        (Fresh::Sysfs, Call::Fsmount, Errno::EPERM) => Some(match before.has(Revealing::Sysfs) {
            true => masked_sysfs(before),
            false => none_left(&SYSFS),
        }),
        (Fresh::Sysfs | Fresh::Mqueue, Call::Fsopen, Errno::ENODEV) => {
            let name = if matches!(fresh, Fresh::Sysfs) { "sysfs" } else { "mqueue" };
            let message = format!("this kernel has no {name}");
            Some(
                Refusal::new("host::not_built_in", message)
                    .why("it was built without that filesystem")
                    .help(format!("leave the `{name}` layer out")),
            )
        }
        _ => None,
    }
}

/// What is said of each of them.
struct Words {
    /// The place that it usually has
    usual: &'static str,
    layer: &'static str,
    /// The layer that makes the namespace which is shown
    shows: &'static str,
    namespace: &'static str,
    needs: &'static str,
    foreign: &'static str,
    none_left: &'static str,
}

const PROC: Words = Words {
    usual: "/proc",
    layer: "proc",
    shows: "pid",
    namespace: "PID namespace",
    needs: "proc::needs_pid",
    foreign: "proc::foreign_pid",
    none_left: "proc::none_left",
};
const SYSFS: Words = Words {
    usual: "/sys",
    layer: "sysfs",
    shows: "net",
    namespace: "network namespace",
    needs: "sysfs::needs_net",
    foreign: "sysfs::foreign_net",
    none_left: "sysfs::none_left",
};
const MQUEUE: Words = Words {
    usual: "/dev/mqueue",
    layer: "mqueue",
    shows: "ipc",
    namespace: "IPC namespace",
    needs: "mqueue::needs_ipc",
    foreign: "mqueue::foreign_ipc",
    none_left: "",
};

fn not_owned(fresh: &Words, shown: Owned) -> Refusal {
    let Words { usual, shows, namespace, .. } = fresh;
    match shown.own {
        false => {
            let article = if *shows == "ipc" { "an" } else { "a" };
            let message = format!("a fresh {usual} shows {article} {namespace} of its own");
            Refusal::new(fresh.needs, message)
                .why(format!("no {namespace} yet"))
                .help(match *shows {
                    "ipc" => "put an `ipc` layer before it".to_owned(),
                    layer => format!("put a `{layer}` layer before it"),
                })
                .wants(shows)
        }
        true => {
            let message = format!("the {namespace} belongs to another user namespace");
            Refusal::new(fresh.foreign, message)
                .why(format!("the `{shows}` layer stands before the `user` layer"))
                .help(format!("put the `{shows}` layer after `user`"))
                .wants("user")
        }
    }
}

fn none_left(fresh: &Words) -> Refusal {
    let Words { usual, layer, .. } = fresh;
    let message = format!("the kernel gives a fresh {usual} only beside another");
    Refusal::new(fresh.none_left, message)
        .why(format!("the old root went away, and its {usual} with it"))
        .help(format!(
            "put `{layer}` before `pivot_root`, or keep the old root: `pivot_root: {{old: .old}}`"
        ))
}

fn masked_proc(before: &Model) -> Refusal {
    Refusal::new("proc::masked", "the kernel gives no fresh /proc beside a masked one")
        .why(covered("/proc", &before.host.masks_of(Path::new("/proc"))))
        .help(
            "start the outer container with an unmasked /proc (docker: `--security-opt \
             systempaths=unconfined`, podman: `--security-opt unmask=ALL`), or bind the one \
             there is: `bind: {from: /proc, to: /proc, read_only: true}`",
        )
}

fn masked_sysfs(before: &Model) -> Refusal {
    if before.may_reveal(Revealing::Sysfs, true).is_ok() {
        return Refusal::new(
            "sysfs::read_only_outside",
            "the kernel gives no writable /sys beside a read-only one",
        )
        .why("the /sys outside is mounted read-only")
        .help("`sysfs: {read_only: true}`");
    }
    let place = Path::new("/sys");
    let mut masks = before.host.masks_of(place);
    masks.retain(|mask| mask.strip_prefix(place).is_ok_and(|part| Revealing::Sysfs.may_hide(part)));
    Refusal::new("sysfs::masked", "the kernel gives no fresh /sys beside a masked one")
        .why(covered("/sys", &masks))
        .help(
            "start the outer container with an unmasked /sys (docker: `--security-opt \
             systempaths=unconfined`, podman: `--security-opt unmask=ALL`), or bind the one \
             there is: `bind: {from: /sys, to: /sys, read_only: true}`",
        )
}

/// Which parts are covered, where that is known.
fn covered(place: &str, masks: &[&Path]) -> String {
    let what = format!("parts of the {place} outside are covered");
    let names: Vec<_> = masks.iter().take(3).map(|mask| mask.display().to_string()).collect();
    match masks.len() {
        0 => what,
        1..=3 => format!("{what}: {}", names.join(", ")),
        count => format!("{what}: {} and {} more", names.join(", "), count - names.len()),
    }
}
