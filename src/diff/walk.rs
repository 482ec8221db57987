//! Goes through an upper, directory by directory, and holds every name against
//! what is seen without the upper.
//!
//! Directories wait in a list, not on the stack, and none is open while it
//! waits: neither depth nor width of a hostile tree costs more than memory for
//! the names that are still to come.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use nix::errno::Errno;

use super::{
    MOST_TROUBLES,
    change::{Change, Difference, Facts, Kind, Reason, Trouble, from_bytes},
    content,
    entry::{Entry, errno},
    layers::{DEEPEST, Directory, Found, Layers, Part, Seen},
    marks::{Flavour, Marks},
};

/// What a walk has found so far.
#[derive(Default)]
pub struct Findings {
    pub changes: Vec<Change>,
    pub troubles: Vec<Trouble>,
    pub further_troubles: usize,
    /// What is not seen any more, for those who look for it elsewhere
    pub gone: Vec<Gone>,
    /// Files of the upper that have several names, by inode
    pub links: HashMap<(u64, u64), Vec<PathBuf>>,
}

/// Something that was there, with everything in it.
pub struct Gone {
    pub path: PathBuf,
    pub facts: Facts,
    pub parts: Vec<Part>,
}

/// A directory of the upper that is still to be looked at.
pub struct Job {
    path: PathBuf,
    depth: usize,
    below: Below,
    /// Where it was before, for names of what is redirected beside it
    was: PathBuf,
}

/// What there is below a directory of the upper.
#[derive(Clone)]
enum Below {
    /// These, and they are seen
    Merged(Vec<Part>),
    /// These, and the upper hides them
    Hidden(Vec<Part>),
    Nothing,
    /// Something perhaps, which is not at hand
    Unknown,
}

struct Walk<'l> {
    layers: &'l Layers,
    jobs: Vec<Job>,
    findings: Findings,
}

/// Compares whole layers.
pub fn whole(layers: &Layers) -> Findings {
    let below = match layers.has_no_lower() {
        true => Below::Unknown,
        false => Below::Merged(layers.lower_roots()),
    };
    run(layers, Job { path: PathBuf::new(), depth: 0, below, was: PathBuf::new() })
}

/// Compares a directory of the upper with one that was elsewhere.
pub fn moved(layers: &Layers, path: PathBuf, was: PathBuf, parts: Vec<Part>) -> Findings {
    let depth = path.components().count();
    run(layers, Job { path, depth, below: Below::Hidden(parts), was })
}

fn run(layers: &Layers, first: Job) -> Findings {
    let mut walk = Walk { layers, jobs: vec![first], findings: Findings::default() };
    while let Some(job) = walk.jobs.pop() {
        if let Err(reason) = walk.directory(&job) {
            walk.findings.trouble(job.path, reason);
        }
    }
    walk.findings
}

impl Findings {
    pub fn trouble(&mut self, path: PathBuf, reason: Reason) {
        match self.troubles.len() < MOST_TROUBLES {
            true => self.troubles.push(Trouble { path, reason }),
            false => self.further_troubles += 1,
        }
    }
}

impl Walk<'_> {
    fn directory(&mut self, job: &Job) -> Result<(), Reason> {
        if job.depth > DEEPEST {
            return Err(Reason::TooDeep);
        }
        let upper = self.layers.directory(&upper(&job.path)).map_err(while_looking)?;
        let below = match &job.below {
            Below::Merged(parts) | Below::Hidden(parts) => {
                self.layers.directories(parts).map_err(while_looking)?
            }
            Below::Nothing | Below::Unknown => Vec::new(),
        };
        let hides = matches!(job.below, Below::Hidden(_));
        let mut names = BTreeSet::new();
        for name in upper.entry.read_dir().map_err(|error| Reason::Errno(errno(&error)))? {
            let name = name.map_err(|error| Reason::Errno(errno(&error)))?;
            if let Err(reason) = self.name(job, &upper, &below, &name) {
                self.findings.trouble(job.path.join(&name), reason);
            }
            if hides {
                names.insert(name);
            }
        }
        if hides {
            self.hidden(job, &below, &names)?;
        }
        Ok(())
    }

    /// What a directory that hides those below it does not have again.
    fn hidden(
        &mut self,
        job: &Job,
        below: &[Directory],
        names: &BTreeSet<OsString>,
    ) -> Result<(), Reason> {
        let before = self.layers.names(below).map_err(|error| Reason::Errno(errno(&error)))?;
        for name in before.difference(names) {
            if let Some(found) = self.layers.look_up(below, name)? {
                self.deleted(job.path.join(name), found);
            }
        }
        Ok(())
    }

    fn name(
        &mut self,
        job: &Job,
        upper: &Directory,
        below: &[Directory],
        name: &OsStr,
    ) -> Result<(), Reason> {
        let path = job.path.join(name);
        let before = self.layers.look_up(below, name)?;
        let (entry, marks) = match upper.see(name, self.layers.flavour)? {
            Seen::Something(entry, marks) => (entry, marks),
            // Gone since its name was read.
            Seen::Nothing => return Ok(()),
            Seen::Whiteout => {
                match before {
                    Some(before) => self.deleted(path, before),
                    None if matches!(job.below, Below::Unknown) => {
                        self.findings.changes.push(Change::new(path, Kind::Deleted));
                    }
                    None => {}
                }
                return Ok(());
            }
        };
        let here = Here { path, was: job.was.join(name), entry, marks };
        if !here.entry.facts.is_directory() && here.entry.names > 1 {
            self.findings.links.entry(here.entry.inode).or_default().push(here.path.clone());
        }
        if let Below::Unknown = job.below {
            self.by_marks(job, here);
            return Ok(());
        }
        if let Some(redirect) = here.marks.redirect.clone()
            && let Some(from) = self.layers.follow(below, &redirect)?
        {
            return self.redirected(job, here, before, from, &redirect);
        }
        match (here.entry.facts.is_directory(), before) {
            (true, Some(before)) if before.entry.facts.is_directory() => {
                self.directory_again(job, here, before)
            }
            (is_directory, before) => {
                if is_directory {
                    self.later(job, &here, Below::Nothing);
                }
                self.file(here, before)
            }
        }
    }

    /// A directory where one was.
    fn directory_again(&mut self, job: &Job, here: Here, before: Found) -> Result<(), Reason> {
        let is_merged = matches!(job.below, Below::Merged(_)) && !here.marks.is_opaque;
        if is_merged && self.layers.flavour == Flavour::Hidden && !here.marks.is_marked {
            self.findings.trouble(here.path.clone(), Reason::MarksHidden);
        }
        let below = match is_merged {
            true => Below::Merged(before.parts.clone()),
            false => Below::Hidden(before.parts.clone()),
        };
        self.later(job, &here, below);
        self.compare(here, before, Kind::Modified)
    }

    /// A new file, or one where something was.
    fn file(&mut self, here: Here, before: Option<Found>) -> Result<(), Reason> {
        match before {
            None => {
                let after_at = here.entry.facts.is_file().then(|| upper(&here.path));
                let added = Change::new(here.path, Kind::Added);
                let after = Some(here.entry.facts);
                self.findings.changes.push(Change { after, after_at, ..added });
                Ok(())
            }
            Some(before) => {
                if before.entry.facts.file_type != here.entry.facts.file_type {
                    self.gone(&here.path, &before);
                }
                self.compare(here, before, Kind::Modified)
            }
        }
    }

    /// What overlayfs itself has recorded as renamed (`redirect_dir`, `metacopy`).
    fn redirected(
        &mut self,
        job: &Job,
        here: Here,
        before: Option<Found>,
        from: Found,
        redirect: &[u8],
    ) -> Result<(), Reason> {
        if let Some(before) = before {
            self.deleted(here.path.clone(), before);
        }
        let was = match redirect.strip_prefix(b"/") {
            Some(path) => from_bytes(path.to_vec()),
            None => job.was.join(from_bytes(redirect.to_vec())),
        };
        if here.entry.facts.is_directory() {
            let here_was = Job { was: was.clone(), ..job.here(&here) };
            self.jobs.push(Job { below: Below::Merged(from.parts.clone()), ..here_was });
        }
        self.compare(here, from, Kind::Renamed { from: was })
    }

    fn later(&mut self, job: &Job, here: &Here, below: Below) {
        self.jobs.push(Job { below, ..job.here(here) });
    }

    /// Says what differs, if anything does or it has another name.
    fn compare(&mut self, here: Here, before: Found, kind: Kind) -> Result<(), Reason> {
        let (facts, bytes) = (here.entry.facts.clone(), before.parts.first().cloned());
        let mut differs = before.entry.facts.compare(&facts);
        let are_files = facts.is_file() && before.entry.facts.is_file();
        // A copy without bytes has those of what is below.
        let after_at = match (facts.is_file(), here.marks.is_metacopy) {
            (true, true) => bytes.clone(),
            (true, false) => Some(upper(&here.path)),
            (false, _) => None,
        };
        if are_files && after_at != bytes {
            differs.extend(self.contents(&here, bytes.as_ref(), &differs));
        }
        if facts.file_type == before.entry.facts.file_type {
            match xattrs_that_differ(&before, &here) {
                Ok(names) if names.is_empty() => {}
                Ok(names) => differs.push(Difference::Xattrs(names)),
                Err(error) => {
                    self.findings.trouble(here.path.clone(), Reason::Errno(errno(&error)));
                }
            }
        }
        if differs.is_empty() && kind == Kind::Modified {
            return Ok(());
        }
        differs.sort();
        let before_at = bytes.filter(|_| before.entry.facts.is_file());
        let before = Some(before.entry.facts);
        let change = Change::new(here.path, kind);
        self.findings.changes.push(Change {
            before,
            after: Some(facts),
            differs,
            before_at,
            after_at,
            ..change
        });
        Ok(())
    }

    /// Whether the bytes differ, which other sizes tell without reading.
    fn contents(
        &mut self,
        here: &Here,
        bytes: Option<&Part>,
        differs: &[Difference],
    ) -> Option<Difference> {
        if differs.contains(&Difference::Size) {
            return Some(Difference::Content);
        }
        if here.entry.facts.size == 0 {
            return None;
        }
        let is_same = || {
            let part = bytes.ok_or(Errno::ENOENT)?;
            let before = self.layers.open_file(part)?;
            content::is_same(&before, &here.entry.open_file()?, here.entry.facts.size)
        };
        match is_same() {
            Ok(true) => None,
            Ok(false) => Some(Difference::Content),
            Err(error) => {
                self.findings.trouble(here.path.clone(), Reason::Errno(errno(&error)));
                Some(Difference::ContentUnknown)
            }
        }
    }

    /// Without lowers: what overlayfs has written beside the file.
    fn by_marks(&mut self, job: &Job, here: Here) {
        let (marks, facts) = (&here.marks, &here.entry.facts);
        let is_hidden = self.layers.flavour == Flavour::Hidden && !marks.is_marked;
        // `user.*` stands on files and directories only (`xattr(7)`).
        let can_be_marked = facts.is_file()
            || facts.is_directory()
            || self.layers.flavour == Flavour::Trusted
            || self.layers.flavour == Flavour::Either;
        let renamed = marks.redirect.as_ref().map(|to| match to.strip_prefix(b"/") {
            Some(path) => from_bytes(path.to_vec()),
            None => job.was.join(from_bytes(to.clone())),
        });
        let is_copy = marks.has_origin || marks.is_metacopy;
        let (kind, below) = match renamed {
            Some(from) => (Kind::Renamed { from }, Below::Unknown),
            None if is_hidden || !can_be_marked => (Kind::AddedOrModified, Below::Unknown),
            None if is_copy && !marks.is_opaque => (Kind::Modified, Below::Unknown),
            None => (Kind::Added, Below::Nothing),
        };
        let is_directory = facts.is_directory();
        if is_directory {
            self.later(job, &here, below);
        }
        // That a directory was copied up says nothing about it.
        if is_directory && kind == Kind::Modified {
            return;
        }
        let is_unknown = facts.is_file() && !marks.is_metacopy && kind != Kind::Added;
        let differs = if is_unknown { vec![Difference::ContentUnknown] } else { Vec::new() };
        let has_bytes = facts.is_file() && !marks.is_metacopy;
        let after_at = has_bytes.then(|| upper(&here.path));
        let change = Change::new(here.path, kind);
        let after = Some(here.entry.facts);
        self.findings.changes.push(Change { after, differs, after_at, ..change });
    }

    fn deleted(&mut self, path: PathBuf, found: Found) {
        self.gone(&path, &found);
        let is_file = found.entry.facts.is_file();
        let before_at = found.parts.into_iter().next().filter(|_| is_file);
        let deleted = Change::new(path, Kind::Deleted);
        let before = Some(found.entry.facts);
        self.findings.changes.push(Change { before, before_at, ..deleted });
    }

    fn gone(&mut self, path: &std::path::Path, found: &Found) {
        let (facts, parts) = (found.entry.facts.clone(), found.parts.clone());
        self.findings.gone.push(Gone { path: path.to_owned(), facts, parts });
    }
}

/// A file of the upper.
struct Here {
    path: PathBuf,
    was: PathBuf,
    entry: Entry,
    marks: Marks,
}

impl Job {
    fn here(&self, here: &Here) -> Job {
        Job {
            path: here.path.clone(),
            depth: self.depth + 1,
            below: Below::Nothing,
            was: here.was.clone(),
        }
    }
}

impl Change {
    pub(super) fn new(path: PathBuf, kind: Kind) -> Change {
        Change {
            path,
            kind,
            before: None,
            after: None,
            differs: Vec::new(),
            link_to: None,
            before_at: None,
            after_at: None,
        }
    }
}

/// In the upper a directory stands where the overlay shows it.
fn upper(path: &std::path::Path) -> Part {
    Part { layer: 0, path: path.to_owned() }
}

/// A directory that was there a moment ago.
fn while_looking(errno: Errno) -> Reason {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Reason::Changing,
        Errno::EXDEV => Reason::MountedOver,
        errno => Reason::Errno(errno),
    }
}

/// Extended attributes that only one has, or that have other values.
fn xattrs_that_differ(before: &Found, after: &Here) -> std::io::Result<Vec<String>> {
    // Which files can have them is the filesystem's business.
    let (old, new) = (&before.marks.xattrs, &after.marks.xattrs);
    if old.is_empty() && new.is_empty() {
        return Ok(Vec::new());
    }
    let (old, new) = (before.entry.xattrs(old)?, after.entry.xattrs(new)?);
    let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    Ok(differing.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}
