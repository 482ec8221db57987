//! The read-only layers of an overlay: directories, and images with the ways
//! that lead into them.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    host::{ImageKind, PathFact},
    model::UserId,
    ops::{self, AttachImage, MakeDirectory, MountImage, ServeImage, UnpackImage},
    plan::Planner,
    sys::KernelPath,
    yaml,
};

use super::{FromWord, OneOrMany, Place};

mod way;

pub use way::Way;
use way::{is_foreign, may_mount};

/// As many as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

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
    /// Refused: planning goes on as if there were a directory
    Presumed,
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
            Found::Presumed => {
                to.presume_directory(&place);
                return place;
            }
        };
        match way {
            Way::Unpack => {
                unpack(to, &file, kind).unwrap_or_else(|| Found::Presumed.plan(to, at, index))
            }
            Way::Kernel | Way::Fuse => {
                let slot = to.slot();
                let file = KernelPath::new(file);
                let ground = to.ground(&place);
                to.at("lower").step(MakeDirectory::named(&place, 0o755).on(ground));
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

/// Where the tree is then, unless it cannot be there, or not be seen.
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
    tree.filter(|tree| is_in_sight(to, tree))
}

/// The child takes the tree from where it is, as it sees it by then.
fn is_in_sight(to: &mut Planner, tree: &Path) -> bool {
    let shown = tree.display();
    let message = "the unpacked image cannot be seen at this point";
    let refusal = Refusal::new("image::out_of_sight", message);
    let refusal = if is_foreign(to) {
        refusal
            .why(format!("nobody but you may go to {shown}, and the sandbox has other ids"))
            .help("take another way, `via: [kernel]`, or other ids: `user: {map: root}`")
    } else if to.has_pivoted() || to.model().walk(tree).is_err() {
        refusal
            .why(format!("an earlier layer covers {shown}, or the root is another"))
            .help("put the `overlay` first, or move the cache: `export XDG_CACHE_HOME=/…`")
    } else {
        return true;
    };
    to.at("lower").refuse(refusal);
    false
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
    let path = followed(to, path);
    match (to.look_at(&path), lower) {
        (Some(PathFact::File(_, Some(kind))), _) => {
            match way::choose(to, &path, kind, allowed, via) {
                Some(way) => {
                    if way == Way::Kernel && may_mount(to) {
                        warn_of_kernel(to, lower, &path);
                    }
                    Found::Image(path, kind, way)
                }
                None => Found::Presumed,
            }
        }
        (None, Lower::Image(_)) => {
            to.at("lower").warn(not_recorded(&path));
            Found::Presumed
        }
        (Some(found), Lower::Image(_)) => {
            let refusal = no_image(to, &path, &found);
            to.at("lower").refuse(refusal);
            Found::Presumed
        }
        // A plan that knows says so itself, at its step.
        (Some(PathFact::Missing), Lower::Path(_))
            if !to.host().paths.contains_key(&path) && to.is_missing(&path) =>
        {
            to.at("lower").refuse(ops::no_layer(&path));
            Found::Directory(path)
        }
        _ => Found::Directory(path),
    }
}

/// The image that a link leads to; anything else is found in its own way.
fn followed(to: &Planner, path: PathBuf) -> PathBuf {
    let mut last = path.clone();
    for _ in 0..MOST_LINKS {
        match to.look_at(&last) {
            Some(PathFact::Symlink(target)) => {
                last = last.parent().unwrap_or(Path::new("/")).join(target);
            }
            Some(PathFact::File(_, Some(_))) => return last,
            _ => break,
        }
    }
    path
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

/// Nobody looked at it there: what is not known is not refused.
fn not_recorded(path: &Path) -> Refusal {
    let message = format!("what {} holds is not recorded", path.display());
    Refusal::new("image::not_recorded", message)
        .why("its steps are left out of this plan, as if it were there")
        .help("name the recipe when that machine is recorded: `isorecipe host RECIPE`")
}

fn no_image(to: &Planner, path: &Path, found: &PathFact) -> Refusal {
    let refusal =
        Refusal::new("image::unknown_kind", format!("{} is not an image", path.display()));
    match found {
        PathFact::Missing => ops::image_missing(path),
        // What it holds is not known of a file that cannot be read.
        PathFact::File(owner, None) if !to.caller_may_read(*owner) => ops::image_hidden(path),
        PathFact::Hidden => ops::image_hidden(path),
        PathFact::Directory(_) => {
            refusal.why("it is a directory").help("write its path alone: `lower: rootfs`")
        }
        PathFact::Special(_) => refusal
            .why("it is a device, a socket or a pipe")
            .help("name a file that holds xfs, ext4, squashfs or erofs"),
        _ => refusal
            .why("it begins like none of xfs, ext4, squashfs and erofs")
            .help("name an image, or a directory by its path alone: `lower: rootfs`"),
    }
}
