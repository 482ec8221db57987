//! Mounts in the words of `mount(8)`, `umount(8)` and `pivot_root(8)`.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use crate::{
    ops::{MakeDirectory, MountImage, MountKind, MountNew, MountOverlay, PivotRoot},
    sys::{Propagation, mount::Flags},
};

use super::words::Words;

/// A new filesystem; a tmpfs that root makes for somebody is given to that user.
pub(super) fn new(new: &MountNew, owner: Option<(u32, u32)>) -> Words {
    let (name, options) = match new.kind {
        MountKind::Proc => ("proc", "nosuid,nodev,noexec"),
        MountKind::Tmpfs { .. } => ("tmpfs", "nosuid,nodev"),
    };
    let mut options = options.to_owned();
    for (key, value) in new.options() {
        options += &format!(",{}={}", key.to_string_lossy(), value.to_string_lossy());
    }
    if let Some((uid, gid)) = owner {
        options += &format!(",uid={uid},gid={gid}");
    }
    Words::of(&format!("mount -t {name} -o {options} {name}")).word(new.at.as_path())
}

/// An image file; the kernel frees the loop device with the mount.
pub(super) fn image(image: &MountImage, at: &Path) -> Words {
    let mut options = "loop,nosuid,nodev".to_owned();
    for option in image.options() {
        options += &format!(",{}", option.to_string_lossy());
    }
    Words::of(&format!("mount -t {} -o {options}", image.filesystem().to_string_lossy()))
        .word(image.file.as_path())
        .word(at)
}

/// An overlay. In a path, overlayfs reads `:` and `,` as the end of it.
pub(super) fn overlay(overlay: &MountOverlay) -> Words {
    let mut options = OsString::from("nosuid,lowerdir=");
    for (index, lower) in overlay.lower.iter().enumerate() {
        options.push(if index == 0 { "" } else { ":" });
        options.push(escaped(lower.as_path()));
    }
    for (key, path) in [(",upperdir=", &overlay.upper), (",workdir=", &overlay.work)] {
        options.push(key);
        options.push(escaped(path.as_path()));
    }
    if overlay.user_xattr {
        options.push(",userxattr");
    }
    Words::of("mount -t overlay -o").word(options).raw("overlay").word(overlay.at.as_path())
}

fn escaped(path: &Path) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\' | b'"') {
            bytes.push(b'\\');
        }
        bytes.push(byte);
    }
    OsString::from_vec(bytes)
}

/// These flags from here on, on mounts below too: `mount` before util-linux
/// 2.39 takes them one by one.
pub(super) fn restrict(at: &Path, flags: Flags, has_mounts_below: bool) -> Vec<Words> {
    let names: Vec<&str> = flags.names().collect();
    let remount = format!("mount -o remount,bind,{}", names.join(","));
    if !has_mounts_below {
        return vec![Words::of(&remount).word(at)];
    }
    let found = Words::of("findmnt --list --noheadings --submounts --output TARGET").word(at);
    let each =
        format!("printf \"%s\\n\" \"$mounts\" | while IFS= read -r at; do {remount} \"$at\"; done");
    vec![Words::output_of(found, "mounts"), Words::of(&each)]
}

/// A directory with nothing in it, for good.
pub(super) fn empty(at: &Path) -> Words {
    Words::of("mount -t tmpfs -o ro,nosuid,nodev,noexec,mode=555 tmpfs").word(at)
}

pub(super) fn propagation(propagation: Propagation) -> Words {
    Words::of(match propagation {
        Propagation::Private => "mount --make-rprivate /",
        Propagation::Slave => "mount --make-rslave /",
        Propagation::Shared => "mount --make-rshared /",
    })
}

/// A directory, with exactly these permission bits.
pub(super) fn directory(made: &MakeDirectory) -> Vec<Words> {
    let within = made.path.strip_prefix("/").unwrap_or(&made.path);
    let base = made.base.as_ref().map(|base| base.as_path());
    let path = base.map_or_else(|| made.path.clone(), |base| base.join(within));
    let make = Words::of(&format!("mkdir -p -m {:o}", made.mode)).word(path);
    let guards = base.map(|base| links_on_the_way(base, within)).unwrap_or_default();
    guards.into_iter().map(|link| Words::of("test ! -L").word(link)).chain([make]).collect()
}

/// What may not be a link, lest it leads out of the tree: all but the last part,
/// which `mkdir` does not follow.
fn links_on_the_way(base: &Path, within: &Path) -> Vec<PathBuf> {
    let mut here = base.to_owned();
    let mut on_the_way = Vec::new();
    for part in within.components().filter(|part| matches!(part, Component::Normal(_))) {
        here.push(part);
        on_the_way.push(here.clone());
    }
    on_the_way.pop();
    on_the_way
}

/// Another root. `pivot_root` is where an ordinary user's PATH does not look.
pub(super) fn pivot(pivot: &PivotRoot) -> Vec<Words> {
    let enter = Words::of("cd").word(pivot.new.as_path());
    let to_the_root = Words::of("cd /");
    let change = Words::of("/sbin/pivot_root .");
    match &pivot.old {
        Some(old) => {
            let old = old.as_path();
            let old = Path::new(".").join(old.strip_prefix("/").unwrap_or(old));
            let old =
                old.strip_prefix(".").ok().filter(|old| !starts_like_option(old)).unwrap_or(&old);
            vec![enter, change.word(old), to_the_root]
        }
        None => vec![enter, change.raw("."), Words::of("umount -l ."), to_the_root],
    }
}

fn starts_like_option(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"-")
}
