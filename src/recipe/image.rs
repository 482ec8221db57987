//! `image`: how a lower image is made, for `isorecipe build`.

use std::path::Component;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::typed,
    host::Host,
    layers::{OneOrMany, Place, Size, Word},
    yaml::{self, Part},
};

/// What `mkfs.xfs` has refused to go below since version 5.19.
pub const LEAST_XFS: u64 = 300 << 20;

/// A filesystem image, or a directory, that `isorecipe build` makes: what a
/// `lower` can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ImageToBuild")]
pub struct Image {
    /// The file, or the directory, that is made. It lies in the folder of the recipe.
    pub file: Place,
    /// What is made.
    pub filesystem: Filesystem,
    /// How large the image is; xfs (at least `300M`) and ext4 only. As large
    /// as its content takes, and a little more, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// What is copied into it, as `cp -r` does: links stay links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<Copy>,
    /// Programs, found along your PATH, each with the libraries and the loader
    /// or interpreter it needs, at the same paths as here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Word>,
    /// Empty directories, with all that is missing above them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<Place>,
    /// Symbolic links, and what each leads to.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub links: IndexMap<String, Place>,
    /// Devices of this machine: nodes where they could be opened (made by root
    /// itself, for a recipe without a `user` layer), otherwise empty files to bind them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Place>,
    /// Whose the files are.
    #[serde(default)]
    pub owner: Owner,
}

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// The hands-on's own. Host root makes it, with `mkfs.xfs` and a mount that nobody sees.
    Xfs,
    /// Made by `mke2fs`, without root.
    Ext4,
    /// Read-only and compressed; made by `mksquashfs`, without root.
    Squashfs,
    /// Read-only; made by `mkfs.erofs`, without root.
    Erofs,
    /// A directory, which takes no root to use either.
    Directory,
}

impl Filesystem {
    /// The word of the recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Directory => "directory",
        }
    }

    /// Whether it has a size of its own, whatever is in it.
    pub fn has_size(self) -> bool {
        matches!(self, Self::Xfs | Self::Ext4)
    }
}

/// Whose the files of an image are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Whoever will be root inside: id 0 in an image, which is translated when
    /// it is mounted; you yourself in a directory.
    #[default]
    #[serde(rename = "self")]
    Caller,
    /// Id 0, in a directory as well, which takes host root.
    Root,
}

/// Files and directories to copy, and the directory that they go into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// What, by its path on this machine; `folder/.` is all that is in a folder.
    pub from: OneOrMany<Place>,
    /// The directory of the image that it goes into.
    pub to: Place,
}

/// A mistake that no type can tell: its path, the part, the code, and three sentences.
pub(super) type Report<'a> = dyn FnMut(yaml::Path, Part, &'static str, &str, &str, &str) + 'a;

impl Image {
    /// What makes it, to be typed by whoever this host is planned for.
    pub(super) fn build_command(&self, recipe: Option<&str>, host: &Host) -> String {
        let recipe = match recipe {
            Some("(standard input)") => "-".to_owned(),
            Some(name) => typed(name),
            None => "RECIPE".to_owned(),
        };
        let is_root = host.is_root() && host.invoker.is_none();
        let sudo = if self.filesystem == Filesystem::Xfs && !is_root { "sudo " } else { "" };
        format!("{sudo}isorecipe build {recipe}")
    }

    /// What no type can say.
    pub(super) fn check(&self, report: &mut Report) {
        let root = yaml::Path::root().key("image");
        self.check_size(&root, report);
        if self.file.as_path().file_name().is_none() {
            report(
                root.key("file"),
                Part::Value,
                "image::no_name",
                "this path does not end in a name",
                "the image is made under that name",
                "write `file: rootfs.dat`",
            );
        }
        for (path, part, place) in self.places(&root) {
            if place.components().any(|part| part == Component::ParentDir) {
                report(
                    path,
                    part,
                    "image::climbs",
                    "this path climbs out of the image with `..`",
                    "paths in an image start at its root",
                    "write it from the root on: `/etc`",
                );
            }
        }
    }

    fn check_size(&self, root: &yaml::Path, report: &mut Report) {
        let Some(size) = self.size else { return };
        let name = self.filesystem.name();
        if !self.filesystem.has_size() {
            report(
                root.key("size"),
                Part::Key,
                "image::size_not_taken",
                &format!("{name} takes no size"),
                "it is as large as what is in it",
                "take `size` out, or write `filesystem: ext4`",
            );
        }
        if self.filesystem == Filesystem::Xfs && size.0 < LEAST_XFS {
            report(
                root.key("size"),
                Part::Value,
                "image::xfs_too_small",
                "no xfs is smaller than 300 MiB",
                "`mkfs.xfs` refuses to make it",
                "write `size: 300M`, or `filesystem: ext4`",
            );
        }
    }

    /// Every path that is one of the image itself.
    fn places(&self, root: &yaml::Path) -> Vec<(yaml::Path, Part, &std::path::Path)> {
        let copied = self.copy.iter().enumerate().map(|(index, copy)| {
            (root.key("copy").index(index).key("to"), Part::Value, copy.to.as_path())
        });
        let listed = [("dirs", &self.dirs), ("devices", &self.devices)];
        let listed = listed.into_iter().flat_map(|(key, places)| {
            let path = root.key(key);
            places
                .iter()
                .enumerate()
                .map(move |(index, place)| (path.index(index), Part::Value, place.as_path()))
        });
        let links = self.links.keys().map(|link| {
            (root.key("links").key(link), Part::Key, std::path::Path::new(link.as_str()))
        });
        copied.chain(listed).chain(links).collect()
    }
}
