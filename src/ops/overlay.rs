//! One tree over others: overlayfs (`Documentation/filesystems/overlayfs.rst`).

use std::{
    ffi::{CStr, CString},
    fmt,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::{Refusal, typed},
    model::{Answer, Filesystem, Layers, Model, OverlayTrouble, Slot, Thing},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        landlock::files,
        mount::{self, Configuration, attribute},
    },
};

mod trouble;

use trouble::came_up_read_only;

use super::{Evidence, Need, Operation, Stage, place, unexplained, way, yes};

/// A string of a filesystem's configuration is shorter than this (`fsconfig(2)`).
const LONGEST_STRING: usize = 256;

/// Where an overlay comes from and goes to.
pub struct Overlay {
    /// Read-only trees, the topmost first
    pub lower: Vec<PathBuf>,
    /// Where changes go
    pub upper: PathBuf,
    /// Scratch space on the same mount as `upper`
    pub work: PathBuf,
    /// Where it is mounted
    pub at: PathBuf,
    /// Whether a user namespace mounts it: its marks are then user xattrs
    pub user_xattr: bool,
}

/// An overlay on a place.
pub struct MountOverlay {
    /// Read-only trees, the topmost first
    pub lower: Vec<KernelPath>,
    /// Where changes go
    pub upper: KernelPath,
    /// Scratch space on the same mount as `upper`
    pub work: KernelPath,
    /// Where it is mounted
    pub at: KernelPath,
    /// Whether its marks are user xattrs
    pub user_xattr: bool,
    /// Where to keep it, for a later step that makes something in it
    pub slot: Option<Slot>,
    lower_in_one: CString,
}

impl MountOverlay {
    /// Prepares everything that the kernel wants to be told.
    pub fn new(overlay: Overlay) -> Self {
        Self {
            lower_in_one: in_one(&overlay.lower),
            lower: overlay.lower.iter().map(KernelPath::new).collect(),
            upper: KernelPath::new(overlay.upper),
            work: KernelPath::new(overlay.work),
            at: KernelPath::new(overlay.at),
            user_xattr: overlay.user_xattr,
            slot: None,
        }
    }

    fn find(&self, model: &Model) -> Result<Layers, Answer> {
        let open = |path: &KernelPath| {
            let no = |errno| Answer::No(Call::Open.gave(errno));
            let found = model.walk(path.as_path()).map_err(no)?;
            match found.thing.is_directory() {
                Some(false) => Err(no(Errno::ENOTDIR)),
                _ => Ok(found),
            }
        };
        let mut is_sure = true;
        let mut next = |path: &KernelPath| match open(path) {
            // One before it may have been refused already.
            Err(_) if !is_sure => Err(Answer::KernelDecides),
            found => {
                is_sure &= !found.as_ref().is_ok_and(|found| found.thing == Thing::Unknown);
                found
            }
        };
        Ok(Layers {
            lower: self.lower.iter().map(&mut next).collect::<Result<_, _>>()?,
            upper: next(&self.upper)?,
            work: next(&self.work)?,
        })
    }

    /// The right to mount, each layer, the whole, the place.
    fn check(&self, model: &Model) -> Result<(), Answer> {
        if !model.may_mount() {
            return Err(Answer::No(Call::Fsopen.gave(Errno::EPERM)));
        }
        let layers = self.find(model)?;
        // The kernel lists `work` itself, to see what its filesystem can do (`ovl_make_workdir()`).
        if let Err(objection) = model.lets(&layers.work.at, files::LIST) {
            let fits = model.may_overlay(&layers).is_ok();
            return Err(if fits { objection.to(Call::Fsconfig) } else { Answer::KernelDecides });
        }
        model.may_overlay(&layers).map_err(answer)?;
        model.may_hold_mounts().map_err(|objection| objection.to(Call::Fsmount))?;
        let target = place::target(model, &self.at)?;
        place::may_attach(model, Some(true), &target)
    }

    /// Names every layer by descriptor (Linux 6.13): no path is walked twice.
    fn name_by_place(&self, overlay: &Configuration) -> Result<(), Fault> {
        let set = |key: &CStr, path: &KernelPath| {
            let place = open(path)?;
            overlay.set_place(key, place.as_fd()).map_err(|errno| Call::Fsconfig.gave(errno))
        };
        for path in &self.lower {
            set(c"lowerdir+", path)?;
        }
        set(c"upperdir", &self.upper)?;
        set(c"workdir", &self.work)
    }

    /// Names every layer by its path, for kernels that take no descriptor.
    /// Between two walks somebody may move a directory: only its owner can,
    /// and only to what the sandbox's user may mount anyway.
    fn name_by_path(&self, overlay: &Configuration) -> Result<(), Errno> {
        overlay.set(c"lowerdir", &self.lower_in_one)?;
        overlay.set(c"upperdir", self.upper.as_c_str())?;
        overlay.set(c"workdir", self.work.as_c_str())
    }

    /// A configuration with all its layers. An older kernel answers EINVAL to
    /// the first descriptor, and EOPNOTSUPP before Linux 6.5; so it is started anew.
    fn configure(&self, stage: &Stage) -> Result<Configuration, Fault> {
        let overlay = new_overlay()?;
        match self.name_by_place(&overlay) {
            Ok(()) => return Ok(overlay),
            Err(Fault { call: Call::Fsconfig, errno: Errno::EINVAL | Errno::EOPNOTSUPP }) => {}
            Err(fault) => {
                stage.keep_log(&overlay);
                return Err(fault);
            }
        }
        // What is missing is said as it would be of a newer one.
        self.lower
            .iter()
            .chain([&self.upper, &self.work])
            .try_for_each(|path| open(path).map(drop))?;
        let overlay = new_overlay()?;
        self.name_by_path(&overlay).map_err(|errno| {
            stage.keep_log(&overlay);
            Call::Fsconfig.gave(errno)
        })?;
        Ok(overlay)
    }
}

/// What the kernel says to a trouble.
fn answer(trouble: OverlayTrouble) -> Answer {
    match trouble {
        OverlayTrouble::Unknown => Answer::KernelDecides,
        OverlayTrouble::Unmapped => Answer::No(Call::Fsconfig.gave(Errno::EACCES)),
        OverlayTrouble::Overlap(_) => Answer::No(Call::Fsconfig.gave(Errno::ELOOP)),
        OverlayTrouble::Unwritable => Answer::No(Call::ReadOnly.gave(Errno::EROFS)),
        _ => Answer::No(Call::Fsconfig.gave(Errno::EINVAL)),
    }
}

impl fmt::Display for MountOverlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mount an overlay of ")?;
        for path in &self.lower {
            write!(f, "{}, ", path.as_path().display())?;
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
        let Ok(target) = model.walk(self.at.as_path()) else { return };
        let layers = self.find(model);
        let filesystem = match &layers {
            Err(_) => Filesystem::Unknown,
            Ok(Layers { lower, upper, .. }) => {
                let all = std::iter::once(upper).chain(lower);
                Filesystem::Overlay {
                    layers: all.map(|found| model.mounts.within(&found.at)).collect(),
                }
            }
        };
        let user = model.process.user;
        let instance = model.mounts.instance(filesystem, user);
        if let Ok(layers) = &layers {
            model.take_layers(instance, layers);
        }
        model.mounts.attach(target.at, instance);
    }

    fn intend(&self, model: &mut Model) {
        place::presume_target(model, &self.at);
        self.effect(model);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let overlay = self.configure(stage)?;
        let keep = |errno| {
            stage.keep_log(&overlay);
            Call::Fsconfig.gave(errno)
        };
        if self.user_xattr {
            overlay.set_flag(c"userxattr").map_err(keep)?;
        }
        overlay.create().map_err(keep)?;
        let mount = overlay.mount(attribute::NO_SUID).map_err(|e| Call::Fsmount.gave(e))?;
        // The kernel says nothing when it cannot write to `work`: look.
        if mount::is_read_only(&mount).map_err(|errno| Call::ReadOnly.gave(errno))? {
            return Err(Call::ReadOnly.gave(Errno::EROFS));
        }
        place::attach(stage, &mount, &self.at)?;
        place::keep_ground(stage, self.slot, mount)
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        place::is_attached(stage, &self.at)
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
        if fault == Call::MoveMount.gave(Errno::EINVAL)
            && let Some(refusal) = place::onto_file(self.at.as_path(), before)
        {
            return refusal.field("at");
        }
        let trouble = self.find(before).ok().and_then(|layers| before.may_overlay(&layers).err());
        match (fault.call, trouble) {
            (Call::Open, _) => self.explain_layer(fault, before),
            // An errno has many fathers: it is this trouble's only if the
            // trouble gives just this fault.
            (_, Some(trouble)) if answer(trouble) == Answer::No(fault) => {
                trouble::explain(trouble, self, before)
            }
            (Call::ReadOnly, _) => came_up_read_only(self.work.as_path(), before),
            (Call::Fsconfig, None | Some(OverlayTrouble::Unknown))
                if fault.errno == Errno::EINVAL && self.deep_lower(before).is_some() =>
            {
                let index = self.deep_lower(before).unwrap_or_default();
                trouble::explain(OverlayTrouble::LowerUnfit(index), self, before)
            }
            _ if seen.log.is_empty() => unexplained(self, fault),
            _ => unexplained(self, fault).help(format!("the kernel says: {}", seen.log)),
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
    /// The first lower layer that is on an overlay of the host's: how deep that
    /// is already nobody tells, and only the depth is left to be wrong.
    fn deep_lower(&self, before: &Model) -> Option<usize> {
        self.lower.iter().position(|path| {
            let found = before.walk(path.as_path());
            found.is_ok_and(|found| before.mounts.is_overlay_of_host(found.at.mount))
        })
    }

    fn explain_layer(&self, fault: Fault, before: &Model) -> Refusal {
        let fails = |(_, path): &(&'static str, &KernelPath)| match before.walk(path.as_path()) {
            Err(found) => found == fault.errno,
            Ok(found) => fault.errno == Errno::ENOTDIR && found.thing.is_directory() == Some(false),
        };
        let lower = self.lower.iter().map(|path| ("lower", path));
        let mut all = lower.chain([("upper", &self.upper), ("work", &self.work)]);
        let Some((field, layer)) = all.find(fails) else { return unexplained(self, fault) };
        let shown = layer.as_path().display();
        match fault.errno {
            Errno::ENOENT if field == "lower" => {
                let refusal = no_layer(layer.as_path()).field(field);
                match way::missing_end_of_link(layer.as_path(), before) {
                    Some(_) => refusal.why(way::first_missing(layer.as_path(), before)),
                    None => refusal,
                }
            }
            Errno::ENOENT => Refusal::new("overlay::no_layer", format!("there is no {shown}"))
                .why("every layer of an overlay has to be there before")
                .help(format!("`mkdir -p {}`, or `create: true`", typed(layer.as_path())))
                .field(field),
            Errno::ENOTDIR if before.walk(layer.as_path()).is_err() => {
                let message = format!("{shown} leads through a file");
                Refusal::new("overlay::layer_below_file", message)
                    .why(way::file_on_the_way(layer.as_path(), before))
                    .help("name a path whose parents are directories")
                    .field(field)
            }
            Errno::ENOTDIR => Refusal::new("overlay::layer_is_file", format!("{shown} is a file"))
                .why("a layer is a directory, or an image that isorecipe knows")
                .help(match field {
                    "lower" => "xfs, ext4, squashfs and erofs images can be a `lower`",
                    _ => "name a directory",
                })
                .field(field),
            Errno::EACCES => {
                let message = format!("you may not search the way to {shown}");
                Refusal::new("overlay::layer_hidden", message)
                    .why(way::closed_on_the_way(layer.as_path(), before))
                    .help(format!("`namei -l {}` shows which", typed(layer.as_path())))
                    .field(field)
            }
            errno => way::refused(layer.as_path(), errno, before)
                .unwrap_or_else(|| unexplained(self, fault))
                .field(field),
        }
    }
}

/// Nothing is where a read-only layer should be.
pub fn no_layer(path: &Path) -> Refusal {
    let shown = path.display();
    Refusal::new("overlay::no_layer", format!("there is no {shown}"))
        .why("every layer of an overlay has to be there before")
        .help(format!("make {shown} and fill it; the recipe's `image` can say how"))
        .lacks(path)
}

fn new_overlay() -> Result<Configuration, Fault> {
    let overlay = Configuration::open(c"overlay").map_err(|errno| Call::Fsopen.gave(errno))?;
    // What `mount` shows in the place of a device.
    overlay.set(c"source", c"overlay").map_err(|errno| Call::Fsconfig.gave(errno))?;
    Ok(overlay)
}

fn open(path: &KernelPath) -> Result<OwnedFd, Fault> {
    descriptor::open_directory(None, path.as_c_str(), Walk::Free)
        .map_err(|errno| Call::Open.gave(errno))
}

/// Paths with colons between, as `lowerdir` wants them; a colon of a path is
/// escaped. One that is too long is left to the kernel to refuse.
fn in_one(paths: &[PathBuf]) -> CString {
    let mut bytes = Vec::with_capacity(LONGEST_STRING);
    for path in paths {
        if !bytes.is_empty() {
            bytes.push(b':');
        }
        for &byte in path.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                bytes.push(b'\\');
            }
            bytes.push(byte);
        }
    }
    bytes.retain(|&byte| byte != 0);
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_path_does_not_end_it() {
        let paths = ["/a:b", "/c\\d"].map(PathBuf::from);
        assert_eq!(in_one(&paths).as_c_str(), c"/a\\:b:/c\\\\d");
    }
}
