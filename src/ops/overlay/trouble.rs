//! Why there is no such overlay, in words.

use std::path::Path;

use crate::{
    diagnostic::{Refusal, typed},
    model::{Model, OverlayTrouble, Thing},
    sys::KernelPath,
};

use super::MountOverlay;

/// The trouble, with the paths of the layers.
pub(super) fn explain(trouble: OverlayTrouble, of: &MountOverlay, before: &Model) -> Refusal {
    let (upper, work) = (of.upper.as_path().display(), of.work.as_path().display());
    let path = |index| of.lower.get(index).map_or(Path::new(""), KernelPath::as_path);
    let lower = |index| path(index).display();
    match trouble {
        OverlayTrouble::UpperReadOnly => {
            Refusal::new("overlay::upper_read_only", format!("nothing can be written to {upper}"))
                .why("`upper` lies on a read-only mount")
                .help("leave `upper` and `work` out: changes then go to memory")
        }
        OverlayTrouble::UpperUnfit => {
            Refusal::new("overlay::upper_on_overlay", "an `upper` cannot lie on another overlay")
                .why(format!("{upper} is part of an overlay already"))
                .help("put `upper` and `work` on a `tmpfs`, or leave them out")
        }
        OverlayTrouble::MountsBelow(index) => {
            let shown = lower(index);
            Refusal::new("overlay::mounts_below", format!("{shown} has mounts of the host inside"))
                .why(mounts_below(path(index), before))
                .help("take a `lower` without mounts inside, such as /usr")
        }
        OverlayTrouble::MountsBelowUpper => {
            Refusal::new("overlay::mounts_below", format!("{upper} has mounts of the host inside"))
                .why(mounts_below(of.upper.as_path(), before))
                .help("take an `upper` without mounts inside, or leave it out")
        }
        OverlayTrouble::Overlap(index) => {
            let shown = lower(index);
            Refusal::new("overlay::layers_overlap", format!("{shown} is in two layers at once"))
                .why("it is another layer too, or lies within one")
                .help("name each directory once, and none inside another")
        }
        OverlayTrouble::LowerUnfit(index) => {
            let shown = lower(index);
            Refusal::new("overlay::lower_unfit", format!("no overlay can stand on {shown}"))
                .why("it is two overlays deep already, or a /proc")
                .help("take a directory of an ordinary filesystem as `lower`")
        }
        OverlayTrouble::Apart => apart(of.upper.as_path(), of.work.as_path(), before),
        OverlayTrouble::Nested => {
            let message = "`upper` and `work` lie within each other";
            Refusal::new("overlay::upper_and_work_nested", message)
                .why(format!("{upper} and {work} share a path"))
                .help("give each a directory of its own")
        }
        OverlayTrouble::Unmapped => {
            let message = "what the overlay keeps in `work` would belong to nobody";
            Refusal::new("overlay::unmapped", message)
                .why("the user has no id in the user namespace")
                .help("give the `user` layer a map: `user: {map: root}`")
        }
        OverlayTrouble::Unwritable | OverlayTrouble::Unknown => {
            came_up_read_only(of.work.as_path(), before)
        }
    }
}

fn apart(upper: &Path, work: &Path, before: &Model) -> Refusal {
    let mount = |path: &Path| {
        let found = before.walk(path).ok()?;
        before.mounts.path_of(found.at.mount)
    };
    let message = "`upper` and `work` are on different mounts";
    let refusal = Refusal::new("overlay::upper_and_work_apart", message);
    let refusal = match (mount(upper), mount(work)) {
        (Some(one), Some(other)) if one != other => refusal.why(format!(
            "{} is on the mount at {}, {} on the one at {}",
            upper.display(),
            one.display(),
            work.display(),
            other.display()
        )),
        _ => refusal.why("overlayfs moves files between them, which only one mount allows"),
    };
    // What is a mount itself has nothing beside it on that mount.
    let beside = match mount(upper) {
        Some(at) if at == upper => upper.join("work"),
        _ => upper.with_file_name("work-beside-upper"),
    };
    match mount(upper) {
        Some(at) if at == upper => refusal.help(format!(
            "take two directories of one mount: `mkdir {} {}`",
            typed(upper.join("upper")),
            typed(&beside)
        )),
        _ => refusal.help(format!(
            "put `work` beside `upper`: `mkdir {}`, and `work: {}`",
            typed(&beside),
            beside.display()
        )),
    }
}

/// Which mounts are in the way.
fn mounts_below(layer: &Path, before: &Model) -> String {
    let visible = before.mounts.visible();
    let mut below =
        visible.iter().map(|(at, _)| at).filter(|at| *at != layer && at.starts_with(layer));
    match below.next() {
        Some(first) => format!("a user namespace may not show what is below {}", first.display()),
        None => "a user namespace may not show what is below them".to_owned(),
    }
}

pub(super) fn came_up_read_only(work: &Path, before: &Model) -> Refusal {
    let message = "the overlay would be read-only, without a word from the kernel";
    let owner = match before.walk(work).map(|found| found.thing) {
        Ok(Thing::Directory(Some(owner))) => {
            format!("{} belongs to user {}", work.display(), owner.uid)
        }
        _ => "it belongs to somebody else".to_owned(),
    };
    Refusal::new("overlay::came_up_read_only", message)
        .why(format!("the kernel cannot prepare `work`: {owner}"))
        .help("make `upper` and `work` directories of your own")
}
