//! `overlay`: one writable tree over read-only ones
//! (`Documentation/filesystems/overlayfs.rst`).

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    host::PathFact,
    model::UserId,
    ops::{self, AttachImage, MakeDirectory, MountImage, MountNew, MountOverlay},
    plan::Planner,
    sys::KernelPath,
};

use super::{FromWord, OneOrMany, Place, Plan, WordOrMap};

/// One tree made of several: reading goes down through the layers, writing
/// goes to `upper` and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// Read-only directories, the topmost first; or a filesystem image (xfs,
    /// ext4, squashfs, erofs), which takes host root to mount.
    pub lower: OneOrMany<WordOrMap<Lower>>,
    /// Where changes go. Without it they go to memory and end with the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Place>,
    /// An empty directory on the same mount as `upper`, for overlayfs's own use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Place>,
    /// The directory it covers.
    pub at: Place,
    /// Make `upper`, `work` and `at` where they are missing.
    #[serde(default)]
    pub create: bool,
}

/// A read-only layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Lower {
    /// A directory, or an image file
    Path(Place),
    /// An image file, with what makes it trusted
    Image(Image),
}

/// A filesystem image that root is asked to mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The file.
    pub image: Place,
    /// You made it, or trust who did: the kernel reads its bytes as root.
    #[serde(default)]
    pub trusted: bool,
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

impl Plan for Overlay {
    fn plan(&self, to: &mut Planner) {
        let at = to.path(self.at.as_path());
        let changes = self.changes(to, &at);
        if self.create {
            to.at("at").step(MakeDirectory::named(&at, 0o755));
        }
        let lower = self.lower.0.iter().map(|lower| layer(to, &lower.0, &at)).collect();
        if self.upper.is_none() {
            to.at("at").step(MountNew::tmpfs(&at, 0o755, None));
        }
        if self.upper.is_none() || self.create {
            to.at("upper").step(MakeDirectory::named(&changes.upper, 0o755));
            to.at("work").step(MakeDirectory::named(&changes.work, 0o755));
        }
        to.step(MountOverlay {
            lower,
            upper: KernelPath::new(changes.upper),
            work: KernelPath::new(changes.work),
            at: KernelPath::new(at),
            user_xattr: to.model().mounts.owner != UserId::HOST,
        });
    }

    fn mounts(&self) -> bool {
        true
    }
}

/// Where changes go.
struct Changes {
    upper: PathBuf,
    work: PathBuf,
}

impl Overlay {
    fn changes(&self, to: &mut Planner, at: &Path) -> Changes {
        if let (Some(_), None) | (None, Some(_)) = (&self.upper, &self.work) {
            to.refuse(
                Refusal::new("overlay::upper_without_work", "`upper` and `work` go together")
                    .why("one of them is missing")
                    .help("name both, side by side: `upper: upper`, `work: work`"),
            );
        }
        let or = |given: &Option<Place>, otherwise: &str, to: &Planner| match given {
            Some(place) => to.path(place.as_path()),
            None => at.join(otherwise),
        };
        Changes { upper: or(&self.upper, "upper", to), work: or(&self.work, "work", to) }
    }
}

/// A lower layer: a directory as it is, an image mounted by the supervisor.
fn layer(to: &mut Planner, lower: &Lower, at: &Path) -> ops::Layer {
    let (place, is_trusted) = match lower {
        Lower::Path(place) => (place, false),
        Lower::Image(image) => (&image.image, image.trusted),
    };
    let path = to.path(place.as_path());
    let found = to.look_at(&path);
    let Some(PathFact::File(_, Some(kind))) = found else {
        match (lower, &found) {
            (Lower::Image(_), found) => {
                to.at("lower").refuse(no_image(&path, found.as_ref()));
                to.presume_directory(&path);
            }
            // Said before anything is made for it, where the plan would not know.
            (Lower::Path(_), Some(PathFact::Missing))
                if !to.host().paths.contains_key(&path) && !to.is_made(&path) =>
            {
                to.at("lower").refuse(ops::no_layer(&path));
            }
            _ => {}
        }
        return ops::Layer::Path(KernelPath::new(path));
    };
    if !is_trusted {
        to.at("lower").warn(
            Refusal::new(
                "image::unpinned",
                format!("root mounts {} without knowing it", path.display()),
            )
            .why("the kernel reads the image's bytes with all its rights")
            .help(format!(
                "if you made it: `lower: {{image: {}, trusted: true}}`",
                place.as_path().display()
            )),
        );
    }
    let slot = to.slot();
    let map_ids = to.model().process.user != UserId::HOST;
    let file = KernelPath::new(path);
    to.at("lower").supervisor(MountImage { file: file.clone(), kind, slot, map_ids });
    to.at("lower").step(AttachImage { slot, at: KernelPath::new(at) });
    ops::Layer::Slot(slot, file)
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
