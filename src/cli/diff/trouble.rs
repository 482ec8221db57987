//! The words for what could not be looked at.

use std::path::Path;

use crate::{
    diagnostic::{Diagnostic, Refusal, typed},
    diff::{Comparison, Reason, Trouble},
    sys::Errno,
    yaml,
};

use super::{line::name, source::Overlay};

/// All troubles of a comparison: one of each kind, and how many more are like it.
pub(super) fn explain_all(found: &Comparison, overlay: &Overlay) -> Vec<Diagnostic> {
    let mut kinds: Vec<(&Trouble, usize)> = Vec::new();
    for trouble in &found.troubles {
        match kinds.iter_mut().find(|(first, _)| first.reason == trouble.reason) {
            Some((_, more)) => *more += 1,
            None => kinds.push((trouble, 0)),
        }
    }
    let mut said = Vec::new();
    for (first, more) in kinds {
        said.push(explain(first, overlay));
        if more > 0 {
            let message = format!("and {more} more like it");
            said.push(unreadable(&message, "for the same reason").at(yaml::Path::root()));
        }
    }
    if found.further_troubles > 0 {
        let message = format!("{} more could not be looked at", found.further_troubles);
        said.push(unreadable(&message, "as those above").at(yaml::Path::root()));
    }
    said
}

/// One trouble.
pub(super) fn explain(trouble: &Trouble, overlay: &Overlay) -> Diagnostic {
    let shown = match trouble.path.as_os_str().is_empty() {
        true => name(&overlay.upper),
        false => name(&trouble.path),
    };
    let refusal = match trouble.reason {
        Reason::Upper(Errno::ENOENT | Errno::ENOTDIR) => return missing(overlay),
        Reason::Lower(Errno::ENOENT | Errno::ENOTDIR) => {
            Refusal::new("diff::no_lower", format!("there is no directory {shown}"))
                .why("what was there before is looked for in it")
                .help("name the `lower` of the overlay: `--lower DIR`")
        }
        Reason::Upper(errno) | Reason::Lower(errno) | Reason::Errno(errno) => unreadable(
            &format!("{shown} cannot be looked at"),
            &format!("{errno:?} ({})", errno.desc()),
        ),
        Reason::Changing => unreadable(
            &format!("{shown} was changed while it was looked at"),
            "somebody renames or removes directories at the moment",
        )
        .help("wait for the end of the run, and look again"),
        Reason::TooDeep => unreadable(
            &format!("{} is too deep to be looked at", shortened(&shown)),
            "its path is more than four times as long as the kernel takes at once",
        )
        .help("remove it: `rm -r` can"),
        Reason::NoProc => Refusal::new("diff::no_proc", "there is no /proc to look through")
            .why("files are looked at through /proc/self/fd, so that nobody can exchange them")
            .help("mount it: `mount -t proc proc /proc`"),
        Reason::MountedOver => {
            Refusal::new("diff::mounted_over", format!("something is mounted on {shown}"))
                .why("the overlay sees what is below the mount, and nobody else can")
                .help("unmount it and look again, or name a copy: `--lower DIR`")
        }
        Reason::MarksHidden => Refusal::new(
            "diff::marks_hidden",
            format!("nobody but root can know whether {shown} was made anew"),
        )
        .why("root's overlays keep that in trusted.overlay.opaque")
        .help("look as root: `sudo isorecipe diff`"),
        Reason::Redirect => Refusal::new(
            "diff::redirect",
            format!("{shown} says it was renamed, but not from where"),
        )
        .why("overlayfs would not follow its redirect either")
        .help("`getfattr -d -m overlay` shows it"),
        Reason::ManyRenames => Refusal::new("diff::too_many", "renames were not looked for")
            .why("so much was deleted")
            .help("take D and A for what they are"),
        Reason::ManyChanges => {
            Refusal::new("diff::too_many", format!("what else changed in {shown} is not shown"))
                .why("it does not fit in memory")
                .help("look at one directory of the upper at a time, with the same of `--lower`")
        }
    };
    refusal.at(yaml::Path::root())
}

fn unreadable(message: &str, why: &str) -> Refusal {
    Refusal::new("diff::unreadable", message).why(why).help("look as root: `sudo isorecipe diff`")
}

fn missing(overlay: &Overlay) -> Diagnostic {
    let refusal = absent(&overlay.upper);
    match &overlay.made_by {
        Some(recipe) => refusal
            .why("nothing has run yet, or what it changed was removed")
            .help(format!("run it: `isorecipe apply {}`", typed(recipe)))
            .at(yaml::Path::root()),
        None => no_upper(&overlay.upper),
    }
}

/// Of a path that was given.
pub(super) fn no_upper(path: &Path) -> Diagnostic {
    absent(path)
        .why("no such directory, and no recipe of that name")
        .help("name the `upper` of an overlay, or the recipe that has it")
        .at(yaml::Path::root())
}

fn absent(path: &Path) -> Refusal {
    Refusal::new("diff::no_upper", format!("there is no {}", name(path)))
}

/// Said once, where contents would have been compared.
pub(super) fn no_lower_at_hand(overlay: &Overlay) -> Diagnostic {
    let message = format!("what was there before {} is not at hand", name(&overlay.upper));
    Refusal::new("diff::no_lower_at_hand", message)
        .why("no `lower` directory is known, so overlayfs's marks were asked and no content compared")
        .help("name it, or where its image is mounted: `--lower DIR`")
        .at(yaml::Path::root())
        .warning()
}

fn shortened(name: &str) -> String {
    let start: String = name.chars().take(60).collect();
    format!("{start}...")
}
