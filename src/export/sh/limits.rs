//! What a shell cannot say, or says only almost.

use std::path::Path;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Filesystem, Model, Offset, Offsets},
    ops::Op,
    plan::Step,
};

/// A shell as PID 1 is nearly an init.
pub(super) fn no_init() -> Refusal {
    Refusal::new("export::no_init", "in the script, a shell stays as PID 1")
        .why("it reaps orphans as isorecipe's init does, but passes no signals on")
        .help("`init: false` makes the command PID 1, in the script and without it")
}

/// `mount` before util-linux 2.39 cannot make an idmapped mount.
pub(super) fn no_id_map() -> Refusal {
    Refusal::new("export::no_id_map", "the script mounts the image without translating its ids")
        .why("files of root in it belong to nobody in the script's sandbox")
        .help("`isorecipe apply` translates them")
}

pub(super) fn image_below_mounts() -> Refusal {
    Refusal::new("export::image_below_mounts", "a shell cannot bring the image to this place")
        .why("root mounts it beforehand, and the place is below another mount of the recipe")
        .help("put the overlay on a directory of the host, and before other mounts")
}

/// The ways without root go through programs that isorecipe looks after.
pub(super) fn image_without_root() -> Refusal {
    Refusal::new("export::image_without_root", "a script does not look after an image without root")
        .why("the program that serves or unpacks it has to end with the sandbox")
        .help("export it as root does it, through `sudo`, or take a directory as `lower`")
}

/// A group has to be removed, whatever the end.
fn no_limits() -> Refusal {
    Refusal::new("export::no_limits", "a script does not look after a control group")
        .why("somebody has to stay, to see which limit was met, and to remove it")
        .help("`isorecipe apply` does; to export the rest, take the `limits` layer out")
}

/// No tool of util-linux takes a filter in words.
fn no_filter() -> Refusal {
    Refusal::new("export::no_filter", "a shell cannot filter system calls")
        .why("no command that comes with a system does it")
        .help("`isorecipe apply` does; to export the rest, take the `seccomp` layer out")
}

pub(super) fn held_source() -> Refusal {
    Refusal::new("export::held_source", "a shell cannot hold this source over the pivot")
        .why("it needs a path, and the old root is gone by then")
        .help("keep the old root for a while: `pivot_root: {new: merged, old: .old}`")
}

/// `setpriv` of util-linux 2.41 could, for some of it.
fn landlock() -> Refusal {
    Refusal::new("export::landlock", "a shell cannot restrict itself with Landlock")
        .why("its tools, before util-linux 2.41, do not have the call")
        .help("run it with `isorecipe apply`, or take the layer out for the script")
}

/// What the tools need to say this step, and do not have.
pub(super) fn of(step: &Step, before: &Model) -> Option<Refusal> {
    // A step that fails anyway may fail for want of a right, too.
    if matches!(step.answer, Answer::No(_)) {
        return None;
    }
    let is_root = is_root(before);
    match &step.op {
        Op::MountNew(_)
        | Op::MountOverlay(_)
        | Op::AttachImage(_)
        | Op::Bind(_)
        | Op::Mask(_)
        | Op::PlaceDevice(_)
        | Op::Restrict(_)
        | Op::PivotRoot(_)
        | Op::SetPropagation(_)
        | Op::DetachMount(_)
            if !is_root =>
        {
            Some(mount_needs_root())
        }
        Op::MakeRuleset(_) => Some(landlock()),
        Op::EnterGroup(_) => Some(no_limits()),
        Op::InstallFilter(_) => Some(no_filter()),
        Op::ServeImage(_) | Op::UnpackImage(_) => Some(image_without_root()),
        Op::SetClocks(set) if is_fine(set.offsets()) => Some(fine_clock()),
        Op::SetHostname(name) if !is_hostname(&name.0) => Some(odd_hostname(&name.0)),
        Op::Mask(_) | Op::PlaceDevice(_) | Op::Restrict(_) => no_proc(before, Path::new("/proc")),
        Op::Bind(bind) if !bind.flags.is_empty() => no_proc(before, Path::new("/proc")),
        Op::DetachMount(_) => no_proc(before, Path::new("/proc")),
        Op::PivotRoot(pivot) if pivot.old.is_none() => {
            no_proc(before, &pivot.new.as_path().join("proc"))
        }
        _ => None,
    }
}

/// Whether a clock is set more finely than by seconds.
pub(super) fn is_fine(offsets: Offsets) -> bool {
    let is_fine = |offset: Option<Offset>| offset.is_some_and(|offset| offset.nanoseconds != 0);
    is_fine(offsets.monotonic) || is_fine(offsets.boottime)
}

fn fine_clock() -> Refusal {
    Refusal::new("export::fine_clock", "`unshare` sets clocks by whole seconds")
        .why("the kernel takes nanoseconds as well")
        .help("round it: `time: {boottime: 3days}`")
}

/// Root in its own user namespace.
pub(super) fn is_root(model: &Model) -> bool {
    model.own_user().uids.from_host(model.process.uid) == Some(0)
}

fn mount_needs_root() -> Refusal {
    Refusal::new("export::mount_needs_root", "`mount` does this for user 0 only")
        .why("the recipe maps the user to another id, or to none")
        .help("be root inside: `user: {map: root}`")
}

/// As `hostname(1)` checks it, before it asks the kernel.
fn is_hostname(name: &str) -> bool {
    let is_end = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    let is_label = |label: &str| {
        let mut characters = label.chars();
        characters.all(|c| c.is_ascii_alphanumeric() || c == '-')
            && is_end(label.chars().next())
            && is_end(label.chars().last())
    };
    name.split('.').all(is_label)
}

fn odd_hostname(name: &str) -> Refusal {
    Refusal::new("export::odd_hostname", format!("`hostname` does not take the name `{name}`"))
        .why("it wants letters and digits, with `-` and `.` between them; the kernel takes more")
        .help("choose another name: `hostname: box`")
}

/// Rights that the shell would have had to bring along.
pub(super) fn no_capabilities() -> Refusal {
    Refusal::new("export::no_capabilities", "a shell has no rights in this user namespace")
        .why("only user 0 keeps them when a program is started")
        .help("map yourself to 0: `uid: [{inside: 0, outside: …}]`")
}

/// `umount` and a remount look into `/proc/self/mountinfo` first.
fn no_proc(model: &Model, at: &Path) -> Option<Refusal> {
    let found = model.walk(at).ok();
    let is_proc = found.is_some_and(|found| {
        let (filesystem, _) = model.mounts.within(&found.at);
        let filesystem = &model.mounts.filesystem(filesystem).filesystem;
        *filesystem == Filesystem::Proc
            || model.on_host(&found).as_deref() == Some(Path::new("/proc"))
    });
    (!is_proc).then(|| {
        Refusal::new("export::no_proc", "`mount` and `umount` want a /proc for this")
            .why("there is none at this point")
            .help("put `proc: /proc` before it, and a `pid` layer before that")
    })
}
