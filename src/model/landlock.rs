//! What Landlock lets the process do: `landlock(7)`, `security/landlock/fs.c`.

use std::path::{Path, PathBuf};

use crate::sys::{
    Errno,
    landlock::{Handled, files},
};

use super::{Found, Model, Objection, Position};

/// As many rulesets as one process can put on itself (`LANDLOCK_MAX_NUM_LAYERS`).
pub const MOST_RULESETS: usize = 16;

/// A ruleset: what is forbidden, but for what is allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    /// What it forbids
    pub handled: Handled,
    /// What it allows with files
    pub paths: Vec<PathRule>,
    /// Ports, and what it allows with them
    pub ports: Vec<(u16, u64)>,
}

/// What is allowed with a file, or a directory and all below it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathRule {
    /// As the recipe names it
    pub path: PathBuf,
    /// Of [`files`]
    pub access: u64,
    /// Which file it is; `None`: not known, or none
    inode: Option<(String, PathBuf)>,
}

impl Ruleset {
    /// All that is allowed with what lies on the way from a place to the root
    /// (`is_access_to_paths_allowed()`); and whether nothing more is.
    fn allows(&self, model: &Model, at: &Position) -> (u64, bool) {
        let mut allowed = 0;
        let mut is_sure = self.paths.iter().all(|rule| rule.inode.is_some());
        let mut here = at.clone();
        loop {
            let inode = model.mounts.inode(&here);
            let rules = self.paths.iter().filter(|rule| rule.inode.as_ref() == Some(&inode));
            allowed |= rules.fold(0, |allowed, rule| allowed | rule.access);
            // Of a tree whose mounts nobody told of, another name may be the same.
            let mount = model.mounts.mount(here.mount);
            is_sure &= !mount.opaque && !mount.uncertain;
            // What a mount covers does not count.
            while here.path.as_os_str().is_empty() {
                match model.mounts.mount(here.mount).on.clone() {
                    Some(on) => here = on,
                    None => return (allowed, is_sure),
                }
            }
            here.path.pop();
        }
    }
}

impl Model {
    /// A rule for what a path leads to now.
    pub fn path_rule(&self, path: &Path, access: u64) -> PathRule {
        let known = self.walk(path).ok().filter(|found| found.thing.is_directory().is_some());
        let is_file = known.as_ref().is_some_and(|known| known.thing.is_directory() == Some(false));
        PathRule {
            path: path.to_owned(),
            access: if is_file { access & files::OF_A_FILE } else { access },
            inode: known.map(|known| self.mounts.inode(&known.at)),
        }
    }

    /// Whether it may change no mount, whatever its capabilities (`hook_sb_mount()`).
    pub fn is_kept_from_mounting(&self) -> bool {
        self.process.rulesets.iter().any(|ruleset| ruleset.handled.files != 0)
    }

    /// Whether every ruleset lets it do this of [`files`] at a place.
    pub fn lets(&self, at: &Position, access: u64) -> Result<(), Objection> {
        let mut answer = Ok(());
        for ruleset in &self.process.rulesets {
            let wanted = access & ruleset.handled.files;
            match ruleset.allows(self, at) {
                (allowed, _) if wanted & !allowed == 0 => {}
                (_, true) => return Err(Objection::No(Errno::EACCES)),
                (_, false) => answer = Err(Objection::Unknown),
            }
        }
        answer
    }

    /// Whether it may write its own files in `/proc`, wherever that is by now.
    pub fn lets_write_proc(&self) -> Result<(), Objection> {
        let write = files::WRITE;
        let handling =
            self.process.rulesets.iter().filter(|known| known.handled.files & write != 0);
        let mut answer = Ok(());
        for ruleset in handling {
            if ruleset.paths.iter().all(|rule| rule.access & write == 0) {
                return Err(Objection::No(Errno::EACCES));
            }
            answer = Err(Objection::Unknown);
        }
        answer
    }

    /// Whether it may make or remove something in a directory, where that is
    /// this of [`files`]: Landlock is asked after the mount and before the
    /// permission bits (`security_path_mkdir()`).
    pub fn may_change_by(&self, directory: &Found, access: u64) -> Result<(), Objection> {
        let by_mode = self.may_change(directory);
        match (by_mode, self.lets(&directory.at, access)) {
            (Err(Objection::No(Errno::EROFS)), _) => by_mode,
            (Err(Objection::Unknown), Err(_)) => Err(Objection::Unknown),
            (_, Err(objection)) => Err(objection),
            (by_mode, Ok(())) => by_mode,
        }
    }

    /// Puts a ruleset on the process, for good.
    pub fn enter_domain(&mut self, ruleset: Ruleset) {
        self.process.rulesets.push(ruleset);
    }
}
