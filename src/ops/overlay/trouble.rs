//! Why there is no such overlay, in words.

use std::path::Path;

use crate::{diagnostic::Refusal, model::OverlayTrouble, sys::KernelPath};

/// The trouble, with the paths of the layers.
pub(super) fn explain(
    trouble: OverlayTrouble,
    lower: &[KernelPath],
    upper: &KernelPath,
    work: &KernelPath,
) -> Refusal {
    let (upper, work) = (upper.as_path().display(), work.as_path().display());
    let lower = |index| lower.get(index).map_or(Path::new(""), KernelPath::as_path).display();
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
                .why("a user namespace may not show what is below them")
                .help("take a `lower` without mounts inside, such as /usr")
        }
        OverlayTrouble::MountsBelowUpper => {
            Refusal::new("overlay::mounts_below", format!("{upper} has mounts of the host inside"))
                .why("a user namespace may not show what is below them")
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
        OverlayTrouble::Apart => {
            let message = "`upper` and `work` are on different mounts";
            Refusal::new("overlay::upper_and_work_apart", message)
                .why("overlayfs moves files between them, which only one mount allows")
                .help(format!("put `work` beside `upper`: {upper}/../work"))
        }
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
        OverlayTrouble::Unwritable | OverlayTrouble::Unknown => came_up_read_only(),
    }
}

pub(super) fn came_up_read_only() -> Refusal {
    let message = "the overlay would be read-only, without a word from the kernel";
    Refusal::new("overlay::came_up_read_only", message)
        .why("the kernel cannot prepare `work`: it belongs to somebody else")
        .help("make `upper` and `work` directories of your own")
}
