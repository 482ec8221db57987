//! What is said when an image cannot be made.

use std::{io, path::Path};

use nix::errno::Errno;

use crate::{
    diagnostic::{Refusal, typed},
    sys::{Call, Fault, error_words},
};

use super::tool::Tool;

const MIB: u64 = 1 << 20;

pub(super) fn no_signals(errno: Errno) -> Refusal {
    Refusal::new("build::no_signals", "the build could not be interrupted")
        .why(Call::Signalfd.gave(errno).in_words())
        .help("see `ulimit -n`: it has to be 16 or more")
}

/// The words for a user that `sudo` names, and that root cannot become.
pub fn no_step_down(errno: Errno) -> Refusal {
    Refusal::new("build::no_step_down", "the build cannot be done as the user behind `sudo`")
        .why(format!("the change of ids gave {errno:?}: {}", errno.desc()))
        .help("run it without `sudo`; xfs alone takes that")
}

pub(super) fn bad_epoch(text: &str) -> Refusal {
    Refusal::new("build::bad_epoch", format!("SOURCE_DATE_EPOCH is `{text}`"))
        .why("it is a number of seconds since 1970")
        .help("`unset SOURCE_DATE_EPOCH`, or give it one: `SOURCE_DATE_EPOCH=0 isorecipe build …`")
}

pub(super) fn no_folder_for(path: &Path, error: &io::Error) -> Refusal {
    let (shown, typed) = (path.display(), typed(path));
    let refusal = match error.kind() {
        io::ErrorKind::NotFound => {
            Refusal::new("build::no_folder", format!("there is no directory {shown}"))
                .help(format!("`mkdir -p {typed}`"))
        }
        _ => Refusal::new("build::no_folder", format!("the directory {shown} cannot be entered"))
            .help(format!("`namei -l {typed}` shows why")),
    };
    refusal.why(error_words(error))
}

pub(super) fn outside(path: &Path) -> Refusal {
    let message = format!("the image would be made at {}", path.display());
    Refusal::new("build::outside", message)
        .why("it lies outside the folder of the recipe")
        .help("give it a name in that folder: `file: rootfs.dat`")
}

pub(super) fn unwritable(path: &Path, errno: Errno) -> Refusal {
    let above = path.parent().unwrap_or(path);
    let message = format!("nothing can be made at {}", path.display());
    let refusal = Refusal::new("build::unwritable", message).why(errno.desc());
    match errno {
        Errno::ELOOP | Errno::ENOTDIR => {
            refusal.help(format!("`rm {}`: it is no directory", typed(path)))
        }
        Errno::ENOSPC | Errno::EDQUOT => {
            refusal.help(format!("`df -h {}` shows what is left", typed(above)))
        }
        _ => refusal.help(format!(
            "make it a folder of your own: `ls -ld {}` shows whose it is",
            typed(above)
        )),
    }
}

pub(super) fn foreign_state(path: &Path) -> Refusal {
    let message = format!("{} could be written by somebody else", path.display());
    Refusal::new("build::foreign_state", message)
        .why("what stands in it would be believed")
        .help(format!("look at it, and `sudo rm -r {}`", typed(path)))
}

pub(super) fn not_ours(path: &Path) -> Refusal {
    let message = format!("{} was not made by `isorecipe build`", path.display());
    Refusal::new("build::not_ours", message)
        .why("nothing here tells what it was made from")
        .help("move it away, or replace it: `isorecipe build --force RECIPE`")
}

pub(super) fn changed_by_others(path: &Path) -> Refusal {
    let message = format!("somebody has changed {} since it was built", path.display());
    Refusal::new("build::changed_since", message)
        .why("what was put into it would be lost")
        .help("move it away, or replace it: `isorecipe build --force RECIPE`")
}

pub(super) fn stuck(path: &Path) -> Refusal {
    let message = format!("{} is left of an earlier build", path.display());
    Refusal::new("build::leftover", message)
        .why("somebody else made it, or part of it")
        .help(format!("`sudo rm -r {}`", typed(path)))
}

pub(super) fn no_source(path: &Path) -> Refusal {
    Refusal::new("build::no_source", format!("there is no {}", path.display()))
        .why("it cannot be copied")
        .help(format!("`ls -d {}*` shows what is there", typed(path)))
}

pub(super) fn no_folder(path: &Path) -> Refusal {
    Refusal::new("build::no_content", format!("{} is no directory", path.display()))
        .why("`/.` at its end means everything in it")
        .help("take `/.` away to copy the thing itself")
}

pub(super) fn no_device(path: &Path) -> Refusal {
    Refusal::new("build::no_device", format!("{} is no device here", path.display()))
        .why("its node would be copied from this machine")
        .help("take it out, or list it under `dirs`")
}

pub(super) fn source_in_target(source: &Path, target: &Path) -> Refusal {
    let message = format!("{} lies in the image itself", source.display());
    Refusal::new("build::source_in_target", message)
        .why(format!("{} is replaced by what is built", target.display()))
        .help("keep what is copied outside of it")
}

pub(super) fn target_in_source(target: &Path, source: &Path) -> Refusal {
    let message = format!("{} would be copied into itself", source.display());
    Refusal::new("build::target_in_source", message)
        .why(format!("the image {} lies in it", target.display()))
        .help("name what you want from it, one by one: `from: [bin, etc]`")
}

pub(super) fn unread(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new("build::unread", format!("{} cannot be read", path.display()))
        .why(error_words(error))
        .help(format!("`stat {}` shows what it is", typed(path)))
}

pub(super) fn leads_out(path: &Path, link: &Path, target: &Path) -> Refusal {
    let (link, target) = (link.display(), target.display());
    Refusal::new("image::leads_out", format!("{} would be outside of the image", path.display()))
        .why(format!("{link} is a link to {target}, which the image does not have"))
        .help(format!("write where it should be, without {link}"))
}

pub(super) fn conflict(path: &Path, place: &Path) -> Refusal {
    let message = format!("{} cannot be put into the image", path.display());
    Refusal::new("image::conflict", message)
        .why(format!("{} is there already, and something else", place.display()))
        .help("give one of the two another place")
}

pub(super) fn circle(path: &Path, link: &Path) -> Refusal {
    let message = format!("{} leads nowhere in the image", path.display());
    Refusal::new("image::link_circle", message)
        .why(format!("the link {} leads to itself in the end", link.display()))
        .help("give the link another target")
}

pub(super) fn elsewhere(path: &Path, real: &Path) -> Refusal {
    let message = format!("{} would be missing in the image", path.display());
    Refusal::new("image::other_way", message)
        .why(format!("here it is a link to {}, there something else is in its way", real.display()))
        .help("leave that place to the programs: take it out of `dirs`, `links` or `copy`")
}

pub(super) fn no_program(name: &str) -> Refusal {
    let typed = typed(name);
    let refusal = Refusal::new("build::no_program", format!("there is no program `{name}`"));
    match name.contains('/') {
        true => refusal
            .why("no such file")
            .help(format!("a relative path starts in the folder of the recipe: `ls {typed}`")),
        false => refusal
            .why("it is in no directory of your PATH")
            .help(format!("install it; `type -a {typed}` says where it is then")),
    }
}

pub(super) fn no_library(program: &Path, library: &str) -> Refusal {
    Refusal::new("build::no_library", format!("{} needs {library}", program.display()))
        .why("the loader of this machine would not find it either")
        .help(format!("install it: `readelf -d {}` names what it needs", typed(program)))
}

pub(super) fn no_interpreter(program: &Path, interpreter: &Path) -> Refusal {
    let (program, interpreter) = (program.display(), interpreter.display());
    Refusal::new("build::no_interpreter", format!("{program} needs {interpreter}"))
        .why("it cannot start without, and there is none")
        .help(format!("install {interpreter}, or leave the program out"))
}

pub(super) fn no_tool(tool: Tool) -> Refusal {
    let Tool { name, debian, fedora } = tool;
    let refusal = Refusal::new("build::no_tool", format!("`{name}` is not installed"))
        .why("it makes this filesystem");
    let apt = format!("`sudo apt-get install {debian}`");
    match debian == fedora {
        true => refusal.help(format!("{apt}; the package has the same name elsewhere")),
        false => refusal.help(format!("{apt}, or `sudo dnf install {fedora}`")),
    }
}

pub(super) fn no_start(program: &Path, error: &io::Error) -> Refusal {
    Refusal::new("build::no_start", format!("{} cannot be started", program.display()))
        .why(error_words(error))
        .help(format!("try it by hand: `{} -V`", typed(program)))
}

pub(super) fn no_user_namespace(error: &io::Error) -> Refusal {
    Refusal::new(
        "build::no_user_namespace",
        "an ext4 needs a user namespace to be made without root",
    )
    .why(format!("the kernel says: {}; in it your files would be root's", error_words(error)))
    .help("write `filesystem: squashfs`, or let root itself build it")
}

pub(super) fn tool_failed(name: &str, words: &str) -> Refusal {
    Refusal::new("build::tool_failed", format!("`{name}` could not make the image"))
        .why(format!("it says: {words}"))
        .help(format!(
            "look for what it says in `man {}`, or write another `filesystem`",
            typed(name)
        ))
}

pub(super) fn needs_root() -> Refusal {
    Refusal::new("build::needs_root", "only root can make an xfs with something in it")
        .why("the kernel has to mount it, and does that for nobody else")
        .help("run it through `sudo`, or write `filesystem: ext4`")
}

pub(super) fn owner_needs_root() -> Refusal {
    Refusal::new("build::owner_needs_root", "only root can make files of root's")
        .why("in a directory, `root` is the root of this machine")
        .help("write `owner: self`, or let root itself build it: through `sudo` it is still you")
}

pub(super) fn too_small(size: u64, enough: u64) -> Refusal {
    let message = format!("the image is too small: {}", mebibytes(size));
    Refusal::new("image::too_small", message)
        .why("what the recipe puts into it takes more")
        .help(format!("write `size: {}M`, or leave `size` out", enough.div_ceil(MIB)))
}

pub(super) fn disk_full(path: &Path) -> Refusal {
    let above = path.ancestors().nth(2).unwrap_or(path);
    let typed = typed(above);
    Refusal::new("build::disk_full", "there is no room for the image")
        .why(format!("the disk of {} is full, or your quota is", above.display()))
        .help(format!("make some: `df -h {typed}` shows what is left"))
}

pub(super) fn unwritten(path: &Path, errno: Errno) -> Refusal {
    let message = format!("{} cannot be written", Path::new("/").join(path).display());
    Refusal::new("build::unwritten", message)
        .why(format!("{errno:?}: {}", errno.desc()))
        .help("`sudo dmesg | tail` may say more")
}

pub(super) fn unplaced(path: &Path, errno: Errno) -> Refusal {
    let message = format!("{} cannot be replaced", path.display());
    Refusal::new("build::unplaced", message)
        .why(format!("{errno:?}: {}", errno.desc()))
        .help(format!("`findmnt {}` shows whether something is mounted there", typed(path)))
}

pub(super) fn no_mount(fault: Fault) -> Refusal {
    let said = fault.in_words();
    match (fault.call, fault.errno) {
        (Call::Loop, Errno::ENOENT) => {
            Refusal::new("image::no_loop", "this machine has no loop devices")
                .why("/dev/loop-control is not there")
                .help("`sudo modprobe loop`, or write `filesystem: ext4`")
        }
        (Call::Fsopen, Errno::ENODEV) => {
            Refusal::new("image::unknown_filesystem", "this kernel cannot read xfs")
                .why("the filesystem is not in /proc/filesystems")
                .help("`sudo modprobe xfs`, or write `filesystem: ext4`")
        }
        _ => Refusal::new("build::no_mount", "the new image cannot be mounted to be filled")
            .why(said)
            .help("`sudo dmesg | tail` may say more; `filesystem: ext4` needs no mount"),
    }
}

fn mebibytes(bytes: u64) -> String {
    match bytes % MIB {
        0 => format!("{} MiB", bytes / MIB),
        _ => format!("{bytes} bytes"),
    }
}
