//! `root`: a root directory made of a few trees of the host (`pivot_root(2)`).

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    host::PathFact,
    ops::{self, Extent, MakeDirectory, MakeFile, MakeLink, MountNew, PivotRoot, Source},
    plan::{Planner, Wanted},
    sys::{KernelPath, mount::Flags},
    yaml,
};

use super::{FromPlaces, OneOrMany, Place, Plan, nodes};

/// Where the new root is put together: a directory that every machine has. It
/// is covered for the sandbox only, and only until the root is entered.
const SITE: &str = "/tmp";
/// What distributions have moved into `/usr`, with links where it was (`hier(7)`).
const MOVED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// A new root in memory with trees of the host in it, each at its own path, and
/// a `/tmp`, `/dev` and `/proc` of its own. The old root is gone behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// What can be seen and not written; one path, or a list of them. With
    /// `/usr` come the links that lead into it, such as `/bin`.
    pub read_only: OneOrMany<Place>,
    /// What can be written on the host as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<Place>,
    /// An empty `/tmp` in memory.
    #[serde(default = "on")]
    pub tmp: bool,
    /// A minimal `/dev`, as the `dev` layer makes it.
    #[serde(default = "on")]
    pub dev: bool,
    /// A fresh `/proc`, which takes a `pid` layer before it.
    #[serde(default = "on")]
    pub proc: bool,
}

fn on() -> bool {
    true
}

impl FromPlaces for Root {
    fn from_places(read_only: OneOrMany<Place>) -> Self {
        Self { read_only, write: Vec::new(), tmp: true, dev: true, proc: true }
    }
}

/// A tree that is to be seen in the new root.
struct Part {
    wanted: Wanted,
    path: PathBuf,
    is_file: bool,
    read_only: bool,
}

impl Plan for Root {
    fn plan(&self, to: &mut Planner) {
        let site = Path::new(SITE);
        let parts = self.parts(to);
        let links = self.links(to);
        // The place where the root is put together may cover some of them.
        let sources: Vec<Source> = parts.iter().map(|part| to.hold(&part.wanted)).collect();
        to.step(MountNew::tmpfs(site, 0o755, None));
        if self.tmp {
            to.at("tmp").step(MakeDirectory::within(site, "tmp", 0o1777));
            to.at("tmp").step(MountNew::tmpfs(site.join("tmp"), 0o1777, None));
        }
        for (part, from) in parts.into_iter().zip(sources) {
            part.plan(to, site, from);
        }
        for (name, leads) in links {
            let at = to.new_name(&site.join(name.trim_start_matches('/')));
            let leads = CString::new(leads.as_os_str().as_bytes()).unwrap_or_default();
            to.step(MakeLink { at, to: leads });
        }
        if self.dev {
            to.at("dev").step(MakeDirectory::within(site, "dev", 0o755));
            nodes::plan(to, &site.join("dev"), &yaml::Path::root().key("dev"));
        }
        if self.proc {
            to.at("proc").step(MakeDirectory::within(site, "proc", 0o555));
            to.at("proc").step(MountNew::proc(site.join("proc")));
        }
        to.step(PivotRoot { new: KernelPath::new(site), old: None });
        to.pivoted(None);
    }

    fn mounts(&self) -> bool {
        true
    }
}

impl Root {
    /// Everything that is bound, and where the recipe names it.
    fn parts(&self, to: &mut Planner) -> Vec<Part> {
        let list = |field: &'static str, places: &[Place]| -> Vec<(yaml::Path, PathBuf)> {
            let at = |index| yaml::Path::root().key(field).index(index);
            let all = places.iter().enumerate();
            all.map(|(index, place)| (at(index), place.as_path().to_owned())).collect()
        };
        let mut named: Vec<_> =
            list("read_only", &self.read_only.0).into_iter().map(|it| (it, true)).collect();
        named.extend(list("write", &self.write).into_iter().map(|it| (it, false)));
        // Where nothing has been moved, what belongs to /usr stands beside it.
        if self.has_usr(to) {
            let is_directory =
                |path: &str| matches!(to.look_at(Path::new(path)), Some(PathFact::Directory(_)));
            let beside = MOVED.into_iter().filter(|path| is_directory(path)).map(PathBuf::from);
            let at = yaml::Path::root().key("read_only");
            named.extend(beside.map(|path| ((at.key(path.to_string_lossy()), path), true)));
        }
        let part = |((within, path), read_only): ((yaml::Path, PathBuf), bool)| {
            let found = to.source_path(&path);
            to.learn(&found);
            let thing = to.model().walk(&found).ok().and_then(|found| found.thing.is_directory());
            let wanted = Wanted { within, path, extent: Extent::WHOLE };
            Part { wanted, path: found, is_file: thing == Some(false), read_only }
        };
        named.into_iter().map(part).collect()
    }

    fn has_usr(&self, to: &Planner) -> bool {
        let mut all = self.read_only.0.iter().chain(&self.write);
        all.any(|place| to.source_path(place.as_path()) == Path::new("/usr"))
    }

    /// The links of the host that lead into /usr.
    fn links(&self, to: &Planner) -> Vec<(&'static str, PathBuf)> {
        if !self.has_usr(to) {
            return Vec::new();
        }
        let link = |name: &'static str| match to.look_at(Path::new(name)) {
            Some(PathFact::Symlink(leads)) => Some((name, leads)),
            _ => None,
        };
        MOVED.into_iter().filter_map(link).collect()
    }
}

impl Part {
    fn plan(self, to: &mut Planner, site: &Path, from: Source) {
        let within = self.path.strip_prefix("/").unwrap_or(&self.path);
        let target = site.join(within);
        let place = self.wanted.within;
        let directory = if self.is_file { within.parent() } else { Some(within) };
        if let Some(directory) = directory.filter(|path| !path.as_os_str().is_empty()) {
            let made = MakeDirectory::within(site, directory, 0o755);
            to.at_place(|layer| layer.join(&place)).step(made);
        }
        // A file covers a file.
        if self.is_file && !to.is_made_already(&target) {
            let at = to.new_name(&target);
            let empty = MakeFile { at, content: Vec::new(), mode: 0o444 };
            to.at_place(|layer| layer.join(&place)).step(empty);
        }
        // A device that is named is wanted; one in a tree is nobody's.
        let no_dev = !self.is_file;
        let flags = Flags { read_only: self.read_only, no_suid: true, no_dev, no_exec: false };
        let bind = ops::Bind { from, to: KernelPath::new(&target), extent: Extent::WHOLE, flags };
        to.at_place(|layer| layer.join(&place)).step(bind);
    }
}
