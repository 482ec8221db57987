//! The read-only layers of an overlay: directories, and images with the ways
//! that lead into them.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    host::{FuseDevice, ImageKind, PathFact},
    model::{UserId, capability},
    ops::{self, AttachImage, MakeDirectory, MountImage, ServeImage, UnpackImage},
    plan::Planner,
    sys::KernelPath,
    yaml,
};

use super::{FromWord, OneOrMany, Place};

/// A read-only layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Lower {
    /// A directory, or an image file
    Path(Place),
    /// An image file, with what makes it trusted
    Image(Image),
}

/// A filesystem image: xfs, ext4, squashfs or erofs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The file.
    pub image: Place,
    /// You made it, or trust who did: where root mounts it, the kernel reads its bytes as root.
    #[serde(default)]
    pub trusted: bool,
    /// The ways into it that are allowed; all of them otherwise. The first that works is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<OneOrMany<Way>>,
}

/// A way into an image. The first of these that works here is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The kernel mounts it, for root only
    Kernel,
    /// `squashfuse`, `erofsfuse` or `fuse2fs` serves it, where /dev/fuse may be opened
    Fuse,
    /// It is unpacked once, into your cache
    Unpack,
}

impl Way {
    const ALL: [Way; 3] = [Way::Kernel, Way::Fuse, Way::Unpack];

    fn leads_into(self, kind: ImageKind) -> bool {
        match self {
            Way::Kernel => true,
            Way::Fuse => kind.server().is_some(),
            Way::Unpack => kind.unpacker().is_some(),
        }
    }

    /// What is in the way on this host, for this caller; the unknown is not.
    fn obstacle(self, to: &Planner, kind: ImageKind) -> Option<String> {
        let tools = || to.image_tools();
        let missing = |tool: Option<_>| {
            let (tools, tool) = (tools()?, tool?);
            tools.place(&tool).is_none().then(|| format!("`{}` is not installed", tool.name))
        };
        match self {
            Way::Kernel => (!may_mount(to)).then(|| "only root can mount it".to_owned()),
            Way::Fuse => match tools()?.fuse {
                FuseDevice::Opens => missing(kind.server()),
                _ => Some("/dev/fuse does not open".to_owned()),
            },
            Way::Unpack => missing(kind.unpacker()),
        }
    }
}

/// Whether the supervisor is root of the machine, and not of a sandbox only.
fn may_mount(to: &Planner) -> bool {
    to.model().supervisor_capable(UserId::HOST, capability::SYS_ADMIN)
        && to.host().initial_user_namespace != Some(false)
}

impl FromWord for Lower {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Place::new(word).map(Lower::Path)
    }
}

impl<'de> Deserialize<'de> for Lower {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Image::deserialize(from).map(Lower::Image)
    }
}

impl JsonSchema for Lower {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lower".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Image>()
    }
}

/// A lower layer, looked at.
pub(super) enum Found {
    /// To be taken as it is
    Directory(PathBuf),
    /// To be made ready in this way
    Image(PathBuf, ImageKind, Way),
}

impl Found {
    /// Whether it is mounted somewhere before the overlay is.
    pub(super) fn needs_place(&self) -> bool {
        matches!(self, Found::Image(_, _, Way::Kernel | Way::Fuse))
    }

    /// Where the layer is, after the steps that bring it there.
    pub(super) fn plan(self, to: &mut Planner, at: &Path, index: usize) -> PathBuf {
        let place = at.join(format!("lower{index}"));
        let (file, kind, way) = match self {
            Found::Directory(path) => return path,
            Found::Image(file, kind, way) => (file, kind, way),
        };
        match way {
            Way::Unpack => unpack(to, &file, kind).unwrap_or(place),
            Way::Kernel | Way::Fuse => {
                let slot = to.slot();
                let file = KernelPath::new(file);
                to.at("lower").step(MakeDirectory::named(&place, 0o755));
                match way {
                    Way::Fuse => serve(to, file, kind, slot),
                    _ => {
                        let map_ids = has_user(to);
                        to.at("lower").supervisor(MountImage { file, kind, slot, map_ids });
                    }
                }
                to.at("lower").step(AttachImage { slot, at: KernelPath::new(&place) });
                place
            }
        }
    }
}

fn has_user(to: &Planner) -> bool {
    to.model().process.user != UserId::HOST
}

fn serve(to: &mut Planner, file: KernelPath, kind: ImageKind, slot: usize) {
    let Some(tool) = kind.server() else { return };
    let own = to.model().own_user();
    let only = |ids: &[crate::model::Extent]| match ids {
        [one] if one.count == 1 => Some(one.inside),
        _ => None,
    };
    let ids = only(&own.uids.0).zip(only(&own.gids.0));
    let serve = ServeImage {
        file,
        kind,
        tool,
        slot,
        program: to.slot(),
        has_user: has_user(to),
        ids,
        user: to.host().invoker.clone(),
        tools: to.image_tools(),
    };
    to.at("lower").supervisor(serve);
}

/// Where the tree is then, unless there is no cache.
fn unpack(to: &mut Planner, file: &Path, kind: ImageKind) -> Option<PathBuf> {
    let tool = kind.unpacker()?;
    let unpacked = to.unpacked(file);
    let tree = unpacked.as_ref().map(|unpacked| unpacked.tree.clone());
    let unpack = UnpackImage {
        file: KernelPath::new(file),
        kind,
        tool,
        unpacked,
        slot: to.slot(),
        user: to.host().invoker.clone(),
        tools: to.image_tools(),
    };
    to.at("lower").supervisor(unpack);
    if let Some(tree) = tree.as_ref().filter(|tree| to.model().walk(tree).is_err()) {
        to.at("lower").refuse(out_of_sight(tree));
    }
    tree
}

fn out_of_sight(tree: &Path) -> Refusal {
    Refusal::new("image::out_of_sight", "the unpacked image cannot be seen at this point")
        .why(format!("an earlier layer covers {}, or the root is another", tree.display()))
        .help(
            "put the `overlay` layer before it, or name another cache: `export XDG_CACHE_HOME=/…`",
        )
}

/// Looks at a lower layer, and says what is wrong with it before anything is made.
pub(super) fn find(
    to: &mut Planner,
    lower: &Lower,
    via: impl Fn(&yaml::Path) -> yaml::Path,
) -> Found {
    let (path, allowed) = match lower {
        Lower::Path(place) => (to.path(place.as_path()), None),
        Lower::Image(image) => (to.source_path(image.image.as_path()), image.via.as_ref()),
    };
    let allowed = allowed.map_or(&Way::ALL[..], |ways| &ways.0);
    match (to.look_at(&path), lower) {
        (Some(PathFact::File(_, Some(kind))), _) => match choose(to, &path, kind, allowed, via) {
            Some(way) => {
                if way == Way::Kernel {
                    warn_of_kernel(to, lower, &path);
                }
                Found::Image(path, kind, way)
            }
            None => presumed(to, path),
        },
        (found, Lower::Image(_)) => {
            to.at("lower").refuse(no_image(&path, found.as_ref()));
            presumed(to, path)
        }
        // A plan that knows says so itself, at its step.
        (Some(PathFact::Missing), Lower::Path(_))
            if !to.host().paths.contains_key(&path) && !to.is_made(&path) =>
        {
            to.at("lower").refuse(ops::no_layer(&path));
            Found::Directory(path)
        }
        _ => Found::Directory(path),
    }
}

/// After a refusal, planning goes on as if there were a directory.
fn presumed(to: &mut Planner, path: PathBuf) -> Found {
    to.presume_directory(&path);
    Found::Directory(path)
}

/// The first way that is allowed and works; where only one could, it says
/// itself what it lacks.
fn choose(
    to: &mut Planner,
    path: &Path,
    kind: ImageKind,
    allowed: &[Way],
    via: impl Fn(&yaml::Path) -> yaml::Path,
) -> Option<Way> {
    let mut ways = Way::ALL.into_iter().filter(|way| allowed.contains(way) && way.leads_into(kind));
    let (first, mut obstacles) = (ways.clone().next(), Vec::new());
    let works = ways.find(|way| match way.obstacle(to, kind) {
        None => true,
        Some(obstacle) => {
            obstacles.push(obstacle);
            false
        }
    });
    match (works, first, obstacles.len()) {
        (Some(way), _, _) => return Some(way),
        (None, Some(only), 1) => return Some(only),
        (None, None, _) => to.at_place(via).refuse(kernel_only(path, kind)),
        (None, Some(_), _) => to.at("lower").refuse(no_way(path, kind, &obstacles)),
    }
    None
}

fn kernel_only(path: &Path, kind: ImageKind) -> Refusal {
    let (shown, kind) = (path.display(), kind.name());
    Refusal::new(
        "image::kernel_only",
        format!("nothing but the kernel reads the {kind} image {shown}"),
    )
    .why(format!("there is no program that serves or unpacks {kind}"))
    .help("allow `kernel` and run it through `sudo`, or make the image ext4, squashfs or erofs")
}

fn no_way(path: &Path, kind: ImageKind, obstacles: &[String]) -> Refusal {
    let message = format!("no way leads into the {} image {}", kind.name(), path.display());
    let package = kind.unpacker().map_or("", |tool| tool.package);
    Refusal::new("image::no_way", message)
        .why(obstacles.join("; "))
        .help(format!("`sudo apt install {package}`, or what your system calls it"))
}

/// The kernel reads it as root: somebody has to vouch for it.
fn warn_of_kernel(to: &mut Planner, lower: &Lower, path: &Path) {
    let place = match lower {
        Lower::Image(image) if image.trusted => return,
        Lower::Image(image) => &image.image,
        Lower::Path(place) => place,
    };
    let message = format!("root mounts {} without knowing it", path.display());
    let refusal = Refusal::new("image::unpinned", message)
        .why("the kernel reads the image's bytes with all its rights")
        .help(format!(
            "if you made it: `lower: {{image: {}, trusted: true}}`",
            place.as_path().display()
        ));
    to.at("lower").warn(refusal);
}

fn no_image(path: &Path, found: Option<&PathFact>) -> Refusal {
    let shown = path.display();
    match found {
        Some(PathFact::Missing) => {
            Refusal::new("image::missing", format!("there is no image {shown}"))
                .why("no such file")
                .help(format!(
                    "make one: `fallocate -l 400M {shown} && mkfs.xfs {shown}`, and fill it"
                ))
        }
        _ => Refusal::new("image::unknown_kind", format!("{shown} is not an image"))
            .why("it begins like none of xfs, ext4, squashfs and erofs")
            .help("for a directory, write its path alone: `lower: rootfs`"),
    }
}
