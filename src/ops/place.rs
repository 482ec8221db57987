//! Where something is mounted: what every mounting operation asks of its
//! target and of its right to mount, and the words for a no.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Filesystem, Found, Model, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        look,
        mount::{self, Flags},
    },
};

use super::{Stage, room, way};

/// What a mount operation says when it may not, in words.
pub(super) fn not_allowed(before: &Model) -> Option<Refusal> {
    if before.may_mount() {
        return None;
    }
    if before.mounts.own {
        return Some(
            Refusal::new("mount::foreign", "these mounts belong to another user namespace")
                .why("the mount namespace was made before the `user` layer")
                .help("put the `mount` layer after `user`")
                .wants("user"),
        );
    }
    let refusal = Refusal::new("mount::shared", "these mounts belong to the host")
        .why("no mount namespace yet");
    Some(if before.administers(before.process.user) {
        refusal.help("put a `mount` layer before it").wants("mount")
    } else {
        refusal.help("put `user` and `mount` layers before it").wants("mount")
    })
}

/// What it would mean for the host: everybody there sees the change.
pub(super) fn reaches_host(before: &Model) -> Option<Refusal> {
    if !before.may_mount() || before.is_kept_from_mounting() {
        return None;
    }
    if !before.mounts.own {
        return Some(
            Refusal::new("mount::host", "this would change the mounts of the host")
                .why("no mount namespace yet, and root may do it")
                .help("put a `mount` layer before it")
                .wants("mount"),
        );
    }
    None
}

/// The same for a mount over this place, which may be shared with the host.
pub(super) fn reaches_host_at(before: &Model, at: &KernelPath) -> Option<Refusal> {
    if let Some(refusal) = reaches_host(before) {
        return Some(refusal);
    }
    if !before.may_mount() || before.is_kept_from_mounting() {
        return None;
    }
    let found = before.walk(at.as_path()).ok()?;
    before.mounts.mount(found.at.mount).travel.with_host.then(|| {
        Refusal::new("mount::propagates", "this mount would appear on the host as well")
            .why("the mounts are still shared with the host")
            .help("`mount: {propagation: private}`")
    })
}

/// Looks for a target that is a place to mount on.
pub(super) fn target(model: &Model, at: &KernelPath) -> Result<Found, Answer> {
    model.walk(at.as_path()).map_err(|errno| Answer::No(Call::OpenTarget.gave(errno)))
}

/// The same; `None` where there is nothing, and need not be.
pub(super) fn optional_target(
    model: &Model,
    at: &KernelPath,
    optional: bool,
) -> Result<Option<Found>, Answer> {
    match model.walk(at.as_path()) {
        Err(Errno::ENOENT) if optional => Ok(None),
        found => found.map(Some).map_err(|errno| Answer::No(Call::OpenTarget.gave(errno))),
    }
}

/// Goes on as if the target had been there.
pub(super) fn presume_target(model: &mut Model, at: &KernelPath) {
    let root = model.mounts.root_position();
    model.presume_directory(&root, at.as_path());
}

/// Whether Landlock lets a mount be attached anywhere (`hook_move_mount()`).
pub(super) fn may_move(model: &Model) -> Result<(), Answer> {
    match model.is_kept_from_mounting() {
        true => Err(Answer::No(Call::MoveMount.gave(Errno::EPERM))),
        false => Ok(()),
    }
}

/// Whether a tree may be attached there (`do_move_mount()`).
pub(super) fn may_attach(
    model: &Model,
    is_directory: Option<bool>,
    target: &Found,
) -> Result<(), Answer> {
    // It is asked before what is to be attached is looked at.
    if target.thing != Thing::Unknown {
        may_move(model)?;
    }
    match (is_directory, target.thing.is_directory()) {
        (Some(one), Some(other)) if one != other => {
            Err(Answer::No(Call::MoveMount.gave(Errno::EINVAL)))
        }
        (Some(_), Some(_)) => Ok(()),
        _ => Err(Answer::KernelDecides),
    }
}

/// Opens the target and attaches a detached mount there, and remembers which
/// mount it is, for [`is_attached`].
pub(super) fn attach(stage: &Stage, mount: impl AsFd, at: &KernelPath) -> Result<(), Fault> {
    let target = descriptor::open_place(None, at.as_c_str(), Walk::Free)
        .map_err(|errno| Call::OpenTarget.gave(errno))?;
    attach_to(stage, mount, target)
}

/// The same for a target that is open.
pub(super) fn attach_to(stage: &Stage, mount: impl AsFd, target: impl AsFd) -> Result<(), Fault> {
    let looked = look::over(mount.as_fd()).map_err(|errno| Call::Look.gave(errno))?;
    stage.remember([looked.mount, 0]);
    mount::attach(mount.as_fd(), target.as_fd()).map_err(|errno| Call::MoveMount.gave(errno))
}

/// Keeps a filesystem in a slot, if a later step makes something in it.
pub(super) fn keep_ground(stage: &Stage, slot: Option<Slot>, mount: OwnedFd) -> Result<(), Fault> {
    let Some(slot) = slot else { return Ok(()) };
    stage.keep(slot, mount).map_err(|errno| Call::Fsmount.gave(errno))
}

/// Whether a directory is in the filesystem that is kept in a slot; without a
/// slot, any will do.
pub(super) fn is_ground(
    stage: &Stage,
    directory: BorrowedFd,
    slot: Option<Slot>,
) -> Result<bool, Fault> {
    let Some(slot) = slot else { return Ok(true) };
    let looked = |errno| Call::Look.gave(errno);
    let ground = stage.slot(slot).map_err(looked)?;
    let ground = look::at_open(ground).map_err(looked)?.file;
    let found = look::at_open(directory).map_err(looked)?.file;
    Ok((ground.0, ground.1) == (found.0, found.1))
}

/// Flags are what fails silently most often: look instead of believing.
pub(super) fn is_as_asked(stage: &Stage, mount: impl AsFd, flags: Flags) -> Result<(), Fault> {
    match mount::has_flags(mount, flags) {
        _ if flags.is_empty() => Ok(()),
        Ok(true) => Ok(()),
        Ok(false) if flags.read_only => Err(stage.lie(Call::MountSetattr, b"it can be written")),
        Ok(false) => Err(stage.lie(Call::MountSetattr, b"flags are missing")),
        Err(errno) => Err(Call::ReadOnly.gave(errno)),
    }
}

/// There is nothing to do for this operation, as its layer allows.
pub(super) fn skip<T>(stage: &Stage, operation: &T) -> Result<(), Fault> {
    stage.remember(nothing_for(operation));
    Ok(())
}

/// Whether this very operation found nothing to do.
pub(super) fn is_skipped<T>(stage: &Stage, operation: &T) -> bool {
    stage.remembered() == nothing_for(operation)
}

/// What no other operation leaves: no mount has the number.
fn nothing_for<T>(operation: &T) -> [u64; 2] {
    [u64::MAX, std::ptr::from_ref(operation) as u64]
}

/// Whether the place leads to the mount that was attached last.
pub(super) fn is_attached(stage: &Stage, at: &KernelPath) -> Result<(), Fault> {
    // What is mounted over the root is above it; the root itself stays where it is.
    let top = if at.as_path() == Path::new("/") { c"/.." } else { at.as_c_str() };
    match (look::at(top), stage.remembered()) {
        (Ok(found), [mount, _]) if mount == found.mount => Ok(()),
        (Ok(_), _) => Err(stage.lie(Call::MoveMount, b"another mount is there")),
        // The way was there a moment ago. Who mounts on a copy of a shared tree
        // mounts on the tree as well, and may cover the way with it.
        (Err(Errno::ENOENT | Errno::ENOTDIR), _) => Ok(()),
        (Err(errno), _) => Err(Call::Look.gave(errno)),
    }
}

/// What a missing or unreachable target says, in words.
pub(super) fn target_refused(at: &Path, fault: Fault, before: &Model) -> Option<Refusal> {
    if fault.call != Call::OpenTarget {
        return room::refused(fault, before);
    }
    let shown = at.display();
    match fault.errno {
        Errno::ENOENT => {
            let end = way::missing_end_of_link(at, before);
            let missing = end.as_deref().unwrap_or(at);
            Some(
                Refusal::new("mount::no_target", format!("there is no {shown} to mount on"))
                    .why(way::first_missing(at, before))
                    .help(match is_on_host(at, before) {
                        true => format!(
                            "take a directory that is there, such as /mnt, or `mkdir -p {}` first",
                            typed(missing)
                        ),
                        false => format!("put `dir: {}` before it", missing.display()),
                    }),
            )
        }
        Errno::ENOTDIR => Some(
            Refusal::new("mount::target_below_file", format!("{shown} leads through a file"))
                .why(way::file_on_the_way(at, before))
                .help("name a path whose parents are directories"),
        ),
        Errno::EACCES => Some(
            Refusal::new("mount::target_hidden", format!("you may not search the way to {shown}"))
                .why(way::closed_on_the_way(at, before))
                .help(format!("`namei -l {}` shows which", typed(at))),
        ),
        errno => way::refused(at, errno, before),
    }
}

/// A directory cannot cover a file, in words.
pub(super) fn onto_file(at: &Path, before: &Model) -> Option<Refusal> {
    let found = before.walk(at).ok()?;
    let message = format!("{} is a file, and a directory goes over it", at.display());
    (found.thing.is_directory() == Some(false)).then(|| {
        Refusal::new("mount::onto_file", message)
            .why("only a file can cover a file")
            .help("name a directory")
    })
}

/// Whether what a path leads to, or would, is in the host's own tree.
fn is_on_host(path: &Path, before: &Model) -> bool {
    let there = path.ancestors().find_map(|part| before.walk(part).ok());
    there.is_some_and(|found| {
        let (filesystem, _) = before.mounts.within(&found.at);
        matches!(before.mounts.filesystem(filesystem).filesystem, Filesystem::Host(_))
    })
}

/// There is nothing that could become the root.
pub(super) fn no_new_root(path: &Path) -> Refusal {
    Refusal::new(
        "pivot_root::no_new_root",
        format!("there is no {} to become the root", path.display()),
    )
    .why("the new root has to be there before")
    .help("mount something there first: an `overlay`, a `bind` or a `tmpfs`")
}
