//! `overlay`: one writable tree over read-only ones
//! (`Documentation/filesystems/overlayfs.rst`).

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    host::{ImageKind, PathFact},
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
    /// Changes may go to an `upper` outside the folder of the recipe.
    #[serde(default)]
    pub write: bool,
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
        let lower: Vec<Found> = self.lower.0.iter().map(|lower| find(to, &lower.0)).collect();
        if self.create {
            to.at("at").step(MakeDirectory::named(&at, 0o755));
        }
        // What has no place of its own gets one in memory, below the overlay.
        let needs_memory = self.upper.is_none() || lower.iter().any(Found::is_image);
        if needs_memory {
            to.at("at").step(MountNew::tmpfs(&at, 0o755, None));
        }
        let numbered = lower.into_iter().enumerate();
        let lower = numbered.map(|(index, found)| found.plan(to, &at, index)).collect();
        if self.upper.is_none() || self.create {
            to.at("upper").step(MakeDirectory::named(&changes.upper, 0o755));
            to.at("work").step(MakeDirectory::named(&changes.work, 0o755));
        }
        let user_xattr = to.model().mounts.owner != UserId::HOST;
        let Changes { upper, work } = changes;
        to.step(MountOverlay::new(ops::Overlay { lower, upper, work, at, user_xattr }));
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
        let changes =
            Changes { upper: or(&self.upper, "upper", to), work: or(&self.work, "work", to) };
        self.check_writing(to, at, &changes);
        changes
    }
}

impl Overlay {
    /// A recipe from somewhere else must not change the host's files quietly.
    fn check_writing(&self, to: &mut Planner, at: &Path, changes: &Changes) {
        if self.write {
            return;
        }
        let given = [("upper", &self.upper, &changes.upper), ("work", &self.work, &changes.work)];
        let given = given.into_iter().filter(|(_, given, _)| given.is_some());
        let is_missing = to.look_at(at) == Some(PathFact::Missing);
        let made = (self.create && is_missing).then_some(("at", at));
        let all = given.map(|(field, _, path)| (field, path.as_path())).chain(made);
        for (field, path) in all {
            if to.is_recipes_place(path) {
                continue;
            }
            let shown = path.display();
            to.at(field).refuse(
                Refusal::new(
                    "overlay::writes_outside",
                    format!("the overlay would write to {shown} on the host"),
                )
                .why("it lies outside the folder of the recipe")
                .help("add `write: true` if that is what you want"),
            );
        }
    }
}

/// A lower layer, looked at.
enum Found {
    /// To be taken as it is
    Directory(PathBuf),
    /// To be mounted by the supervisor
    Image(PathBuf, ImageKind),
}

impl Found {
    fn is_image(&self) -> bool {
        matches!(self, Found::Image(..))
    }

    /// Where the layer is, after the steps that bring it there.
    fn plan(self, to: &mut Planner, at: &Path, index: usize) -> PathBuf {
        let (file, kind) = match self {
            Found::Directory(path) => return path,
            Found::Image(file, kind) => (KernelPath::new(file), kind),
        };
        let place = at.join(format!("lower{index}"));
        let slot = to.slot();
        let map_ids = to.model().process.user != UserId::HOST;
        to.at("lower").step(MakeDirectory::named(&place, 0o755));
        to.at("lower").supervisor(MountImage { file, kind, slot, map_ids });
        to.at("lower").step(AttachImage { slot, at: KernelPath::new(&place) });
        place
    }
}

/// Looks at a lower layer, and says what is wrong with it before anything is made.
fn find(to: &mut Planner, lower: &Lower) -> Found {
    let (place, is_trusted) = match lower {
        Lower::Path(place) => (place, false),
        Lower::Image(image) => (&image.image, image.trusted),
    };
    let path = to.path(place.as_path());
    match (to.look_at(&path), lower) {
        (Some(PathFact::File(_, Some(kind))), _) => {
            if !is_trusted {
                to.at("lower").warn(unpinned(&path, place));
            }
            Found::Image(path, kind)
        }
        (found, Lower::Image(_)) => {
            to.at("lower").refuse(no_image(&path, found.as_ref()));
            to.presume_directory(&path);
            Found::Directory(path)
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

fn unpinned(path: &Path, place: &Place) -> Refusal {
    let message = format!("root mounts {} without knowing it", path.display());
    Refusal::new("image::unpinned", message)
        .why("the kernel reads the image's bytes with all its rights")
        .help(format!(
            "if you made it: `lower: {{image: {}, trusted: true}}`",
            place.as_path().display()
        ))
}

fn no_image(path: &Path, found: Option<&PathFact>) -> Refusal {
    let shown = path.display();
    match found {
        Some(PathFact::Missing) => {
            Refusal::new("image::missing", format!("there is no image {shown}"))
                .why("no such file")
                .help("let the recipe make it: the README shows how, \"Building images\"")
                .lacks(path)
        }
        _ => Refusal::new("image::unknown_kind", format!("{shown} is not an image"))
            .why("it begins like none of xfs, ext4, squashfs and erofs")
            .help("for a directory, write its path alone: `lower: rootfs`"),
    }
}
