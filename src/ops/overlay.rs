//! One tree over others: overlayfs (`Documentation/filesystems/overlayfs.rst`).

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::Refusal,
    host::Owner,
    model::{Answer, Filesystem, FilesystemId, Found, Model, Objection, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        mount::{self, Configuration, attribute},
    },
};

use super::{Evidence, Need, Operation, Stage, place, unexplained, yes};

/// Before Linux 6.13 a layer was named by a string shorter than this.
const LONGEST_NAME: usize = 256;

/// Where a layer of the overlay comes from.
pub enum Layer {
    /// A directory
    Path(KernelPath),
    /// A mount that the supervisor made and the child has attached
    Slot(Slot, KernelPath),
}

impl Layer {
    fn path(&self) -> &KernelPath {
        match self {
            Layer::Path(path) | Layer::Slot(_, path) => path,
        }
    }
}

/// An overlay on a place.
pub struct MountOverlay {
    /// Read-only trees, the topmost first
    pub lower: Vec<Layer>,
    /// Where changes go
    pub upper: KernelPath,
    /// Scratch space on the same mount as `upper`
    pub work: KernelPath,
    /// Where it is mounted
    pub at: KernelPath,
    /// Whether a user namespace mounts it: its marks are then user xattrs
    pub user_xattr: bool,
}

/// The layers of an overlay, found in the model.
struct Places {
    lower: Vec<(FilesystemId, PathBuf, Thing)>,
    upper: Found,
    work: Found,
}

impl MountOverlay {
    fn find(&self, model: &Model) -> Result<Places, Answer> {
        let open = |path: &Path| {
            let found = model.walk(path).map_err(|errno| Answer::No(Call::Open.gave(errno)))?;
            match found.thing.is_directory() {
                Some(false) => Err(Answer::No(Call::Open.gave(Errno::ENOTDIR))),
                _ => Ok(found),
            }
        };
        let mut lower = Vec::new();
        for layer in &self.lower {
            match layer {
                Layer::Path(path) => {
                    let found = open(path.as_path())?;
                    let (filesystem, path) = model.mounts.within(&found.at);
                    lower.push((filesystem, path, found.thing));
                }
                Layer::Slot(slot, _) => {
                    let held = model.held.get(slot).ok_or(Answer::KernelDecides)?;
                    let filesystem = model.mounts.mount(held.tree).filesystem;
                    lower.push((filesystem, PathBuf::new(), Thing::Directory(None)));
                }
            }
        }
        let (upper, work) = (open(self.upper.as_path())?, open(self.work.as_path())?);
        Ok(Places { lower, upper, work })
    }

    /// The kernel's own order: permission, each option as it is set, then the
    /// whole (`ovl_fill_super()`).
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Err(Answer::No(Call::Fsconfig.gave(errno)));
        if !model.may_mount() {
            return Err(Answer::No(Call::Fsopen.gave(Errno::EPERM)));
        }
        let places = self.find(model)?;
        let mounts = &model.mounts;
        let (upper, work) = (&places.upper, &places.work);
        let is_unknown = places.lower.iter().any(|(_, _, thing)| *thing == Thing::Unknown)
            || [upper, work].iter().any(|found| found.thing == Thing::Unknown);
        if is_unknown {
            return Err(Answer::KernelDecides);
        }
        let upper_mount = mounts.mount(upper.at.mount);
        if matches!(
            mounts.filesystem(upper_mount.filesystem).filesystem,
            Filesystem::Overlay { .. } | Filesystem::Proc
        ) || upper_mount.read_only
        {
            return no(Errno::EINVAL);
        }
        if upper.at.mount != work.at.mount
            || upper.at.path.starts_with(&work.at.path)
            || work.at.path.starts_with(&upper.at.path)
        {
            return no(Errno::EINVAL);
        }
        if !self.may_use_own_scratch(model) {
            return Err(Answer::No(Call::Fsconfig.gave(Errno::EACCES)));
        }
        for found in self.lower_places(model).into_iter().flatten() {
            match mounts.has_locked_below(&found.at) {
                Some(true) => return no(Errno::EINVAL),
                Some(false) => {}
                None => return Err(Answer::KernelDecides),
            }
        }
        for (id, _, _) in &places.lower {
            match mounts.can_be_lower(*id, &model.host) {
                Some(true) => {}
                Some(false) => return no(Errno::EINVAL),
                None => return Err(Answer::KernelDecides),
            }
        }
        if self.overlaps(&places, model) {
            return Err(Answer::KernelDecides);
        }
        self.may_write(&places, model).map_err(|objection| objection.to(Call::ReadOnly))?;
        let target = place::target(model, &self.at)?;
        place::may_attach(Some(true), &target)
    }

    fn lower_places(&self, model: &Model) -> Vec<Option<Found>> {
        self.lower
            .iter()
            .map(|layer| match layer {
                Layer::Path(path) => model.walk(path.as_path()).ok(),
                Layer::Slot(..) => None,
            })
            .collect()
    }

    /// Whether one layer lies within another, where the kernel's answer hangs
    /// on more than the paths.
    fn overlaps(&self, places: &Places, model: &Model) -> bool {
        let upper = model.mounts.within(&places.upper.at);
        let work = model.mounts.within(&places.work.at);
        places.lower.iter().any(|(filesystem, path, _)| {
            [&upper, &work].into_iter().any(|(other, at)| {
                filesystem == other && (path.starts_with(at) || at.starts_with(path))
            })
        })
    }

    /// The kernel makes a directory of mode 0 in `work`, and then works in it
    /// with nothing but the mounter's capabilities over its own files.
    fn may_use_own_scratch(&self, model: &Model) -> bool {
        let (uid, gid) = (model.process.uid, model.process.gid);
        model.may_search(Owner { uid, gid, mode: 0 })
    }

    /// Whether the mounter may prepare `work`; if not, the overlay comes up
    /// read-only without a word (row 132 of the catalogue).
    fn may_write(&self, places: &Places, model: &Model) -> Result<(), Objection> {
        let Thing::Directory(Some(owner)) = places.work.thing else {
            return Err(Objection::Unknown);
        };
        match model.may_change(&places.work) {
            Err(Objection::No(_)) => Err(Objection::No(Errno::EROFS)),
            Ok(()) if model.may_write(owner) => Ok(()),
            other => other,
        }
    }
}

impl fmt::Display for MountOverlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mount an overlay of ")?;
        for layer in &self.lower {
            write!(f, "{}, ", layer.path().as_path().display())?;
        }
        let (upper, at) = (self.upper.as_path().display(), self.at.as_path().display());
        write!(f, "changes in {upper}, on {at}")
    }
}

impl Operation for MountOverlay {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let Ok(target) = model.walk(self.at.as_path()) else {
            return;
        };
        let Ok(places) = self.find(model) else {
            let instance = model.mounts.instance(Filesystem::Unknown, model.process.user);
            model.mounts.attach(target.at, instance, false);
            return;
        };
        let upper = model.mounts.within(&places.upper.at);
        let layers = std::iter::once(upper)
            .chain(places.lower.into_iter().map(|(filesystem, path, _)| (filesystem, path)))
            .collect();
        let user = model.process.user;
        let instance = model.mounts.instance(Filesystem::Overlay { layers }, user);
        model.mounts.attach(target.at, instance, false);
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.at);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let overlay = Configuration::open(c"overlay").map_err(|e| Call::Fsopen.gave(e))?;
        let keep = |errno| {
            stage.keep_log(&overlay);
            Call::Fsconfig.gave(errno)
        };
        overlay.set(c"source", c"overlay").map_err(keep)?;
        for layer in &self.lower {
            match layer {
                Layer::Path(path) => {
                    let place = open(path)?;
                    set(&overlay, c"lowerdir+", path, place.as_fd()).map_err(keep)?;
                }
                Layer::Slot(slot, path) => {
                    let mount = stage.slot(*slot).map_err(|e| Call::Open.gave(e))?;
                    set(&overlay, c"lowerdir+", path, mount).map_err(keep)?;
                }
            }
        }
        let (upper, work) = (open(&self.upper)?, open(&self.work)?);
        set(&overlay, c"upperdir", &self.upper, upper.as_fd()).map_err(keep)?;
        set(&overlay, c"workdir", &self.work, work.as_fd()).map_err(keep)?;
        if self.user_xattr {
            overlay.set_flag(c"userxattr").map_err(keep)?;
        }
        overlay.create().map_err(keep)?;
        let mount = overlay.mount(attribute::NO_SUID).map_err(|errno| Call::Fsmount.gave(errno))?;
        if mount::is_read_only(&mount).map_err(|errno| Call::ReadOnly.gave(errno))? {
            return Err(Call::ReadOnly.gave(Errno::EROFS));
        }
        place::attach(&mount, &self.at)
    }

    fn explain(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal {
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        if let Some(refusal) = place::target_refused(self.at.as_path(), fault, before) {
            return refusal.field("at");
        }
        match (fault.call, fault.errno) {
            (Call::Open, errno) => self.explain_layer(errno, fault, before),
            (Call::ReadOnly, _) => Refusal::new(
                "overlay::came_up_read_only",
                "the overlay would be read-only, without a word from the kernel",
            )
            .why("the kernel cannot prepare `work`: it belongs to somebody else")
            .help("make `upper` and `work` directories of your own"),
            (Call::Fsconfig, Errno::EACCES) if !self.may_use_own_scratch(before) => Refusal::new(
                "overlay::unmapped",
                "what the overlay keeps in `work` would belong to nobody",
            )
            .why("the user has no id in the user namespace")
            .help("give the `user` layer a map: `user: {map: root}`"),
            (Call::Fsconfig, Errno::EINVAL) => self.explain_whole(fault, before, seen),
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host_at(before, &self.at)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}

impl MountOverlay {
    fn explain_layer(&self, errno: Errno, fault: Fault, before: &Model) -> Refusal {
        let fails = |(_, path): &(&'static str, &KernelPath)| match before.walk(path.as_path()) {
            Err(found) => found == errno,
            Ok(found) => errno == Errno::ENOTDIR && found.thing.is_directory() == Some(false),
        };
        let lower = self.lower.iter().map(|layer| ("lower", layer.path()));
        let all = lower.chain([("upper", &self.upper), ("work", &self.work)]);
        let Some((field, layer)) = all.into_iter().find(fails) else {
            return unexplained(self, fault);
        };
        let shown = layer.as_path().display();
        match errno {
            Errno::ENOENT => no_layer(layer.as_path()).field(field),
            Errno::ENOTDIR => Refusal::new("overlay::layer_is_file", format!("{shown} is a file"))
                .why("a layer is a directory, or an image that isorecipe knows")
                .help("xfs, ext4, squashfs and erofs images can be a `lower`")
                .field(field),
            _ => unexplained(self, fault),
        }
    }

    /// EINVAL has many fathers; the model knows which one it is here.
    fn explain_whole(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal {
        let Ok(places) = self.find(before) else {
            return unexplained(self, fault);
        };
        let mounts = &before.mounts;
        let (upper, work) = (self.upper.as_path().display(), self.work.as_path().display());
        let upper_mount = mounts.mount(places.upper.at.mount);
        if upper_mount.read_only {
            return Refusal::new(
                "overlay::upper_read_only",
                format!("nothing can be written to {upper}"),
            )
            .why("`upper` lies on a read-only mount")
            .help("leave `upper` and `work` out: changes then go to memory");
        }
        if let Filesystem::Overlay { .. } = mounts.filesystem(upper_mount.filesystem).filesystem {
            return Refusal::new(
                "overlay::upper_on_overlay",
                "an `upper` cannot lie on another overlay",
            )
            .why(format!("{upper} is part of an overlay already"))
            .help("put `upper` and `work` on a `tmpfs`, or leave them out");
        }
        let locked = self
            .lower_places(before)
            .into_iter()
            .flatten()
            .zip(&self.lower)
            .find(|(found, _)| mounts.has_locked_below(&found.at) == Some(true));
        if let Some((_, layer)) = locked {
            let shown = layer.path().as_path().display();
            return Refusal::new(
                "overlay::mounts_below",
                format!("{shown} has mounts of the host inside"),
            )
            .why("a user namespace may not show what is below them")
            .help("take a `lower` without mounts inside, such as /usr");
        }
        if places.upper.at.mount != places.work.at.mount {
            return Refusal::new(
                "overlay::upper_and_work_apart",
                "`upper` and `work` are on different mounts",
            )
            .why("overlayfs moves files between them, which only one mount allows")
            .help(format!("put `work` beside `upper`: {upper}/../work"));
        }
        let (one, other) = (&places.upper.at.path, &places.work.at.path);
        if one.starts_with(other) || other.starts_with(one) {
            return Refusal::new(
                "overlay::upper_and_work_nested",
                "`upper` and `work` lie within each other",
            )
            .why(format!("{upper} and {work} share a path"))
            .help("give each a directory of its own");
        }
        let refusal = unexplained(self, fault);
        if seen.log.is_empty() {
            refusal
        } else {
            refusal.help(format!("the kernel says: {}", seen.log))
        }
    }
}

fn open(path: &KernelPath) -> Result<OwnedFd, Fault> {
    descriptor::open_directory(None, path.as_c_str(), Walk::Free)
        .map_err(|errno| Call::Open.gave(errno))
}

/// Nothing is where a layer should be.
pub fn no_layer(path: &Path) -> Refusal {
    let shown = path.display();
    Refusal::new("overlay::no_layer", format!("there is no {shown}"))
        .why("every layer of an overlay has to be there before")
        .help(format!("`mkdir -p {shown}`, or `create: true` for `upper`, `work` and `at`"))
}

/// Names a layer by descriptor; by its path on kernels before 6.13, which
/// answer EINVAL (a path from before the descriptor was opened: the same
/// place, unless somebody moves it in between).
fn set(
    overlay: &Configuration,
    key: &std::ffi::CStr,
    path: &KernelPath,
    place: BorrowedFd,
) -> Result<(), Errno> {
    match overlay.set_place(key, place) {
        Err(Errno::EINVAL) if path.as_c_str().to_bytes().len() < LONGEST_NAME => {
            overlay.set(key, path.as_c_str())
        }
        other => other,
    }
}
