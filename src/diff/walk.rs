//! Goes through an upper, directory by directory, and holds every name against
//! what is seen without the upper.
//!
//! Directories wait in a list, not on the stack, and none is open while it
//! waits: neither depth nor width of a hostile tree costs more than memory for
//! the names that are still to come.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{
    MOST_TROUBLES, by_marks,
    change::{Change, Difference, Facts, Kind, Reason, Trouble},
    compare::{self, Side},
    entry::Entry,
    layers::{Directory, Found, Layers, Part, Seen},
    marks::{self, Flavour, Marks},
};

/// What is found may take so many bytes of memory; a million changes take a third.
const MOST_MEMORY: usize = 1 << 30;

/// What a walk has found so far.
#[derive(Default)]
pub struct Findings {
    pub changes: Vec<Change>,
    pub troubles: Vec<Trouble>,
    pub further_troubles: usize,
    /// What is not seen any more, for those who look for it elsewhere
    pub gone: Vec<Gone>,
    /// Where things were that overlayfs itself has recorded as renamed
    redirected: HashSet<PathBuf>,
    /// Files of the upper that have several names, by inode
    pub links: HashMap<(u64, u64), Vec<PathBuf>>,
    /// Which file of a lower a new one was copied from, where overlayfs has written it down
    pub origins: HashMap<PathBuf, Vec<u8>>,
    /// Whose the upper is
    pub owner: (u32, u32),
    /// Bytes of memory that all of it takes, nearly
    weight: usize,
}

/// Something that was there, with everything in it.
pub struct Gone {
    /// Where it would be
    pub path: PathBuf,
    /// Where it was, before a directory above it was renamed
    pub was: PathBuf,
    pub facts: Facts,
    pub parts: Vec<Part>,
}

/// A directory of the upper that is still to be looked at.
pub struct Job {
    path: PathBuf,
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
    run(layers, Job { path: PathBuf::new(), below, was: PathBuf::new() })
}

/// Compares a directory of the upper with one that was elsewhere.
pub fn moved(layers: &Layers, path: PathBuf, was: PathBuf, parts: Vec<Part>) -> Findings {
    run(layers, Job { path, below: Below::Hidden(parts), was })
}

fn run(layers: &Layers, first: Job) -> Findings {
    let mut walk = Walk { layers, jobs: vec![first], findings: Findings::default() };
    while let Some(job) = walk.jobs.pop() {
        walk.findings.weight = walk.findings.weight.saturating_sub(job.weight());
        if let Err(reason) = walk.directory(&job) {
            walk.findings.trouble(job.path, reason);
        }
    }
    walk.findings.forget_redirected();
    walk.findings
}

impl Findings {
    fn push(&mut self, change: Change) {
        self.weight += change.weight();
        self.changes.push(change);
    }

    /// Whether it is elsewhere with what was renamed, and not deleted from there afterwards.
    fn went_along(&self, gone: &Gone) -> bool {
        let renamed = gone.was.ancestors().find(|above| self.redirected.contains(*above));
        renamed.is_some_and(|renamed| gone.was == renamed || gone.path.starts_with(renamed))
    }

    /// What is elsewhere by its own word is not deleted.
    fn forget_redirected(&mut self) {
        if self.redirected.is_empty() {
            return;
        }
        let (moved, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.gone).into_iter().partition(|gone| self.went_along(gone));
        self.gone = gone;
        let moved: HashSet<PathBuf> = moved.into_iter().map(|gone| gone.path).collect();
        self.changes.retain(|change| change.kind != Kind::Deleted || !moved.contains(&change.path));
    }

    pub fn trouble(&mut self, path: PathBuf, reason: Reason) {
        match self.troubles.len() < MOST_TROUBLES {
            true => self.troubles.push(Trouble { path, reason }),
            false => self.further_troubles += 1,
        }
    }
}

impl Walk<'_> {
    fn directory(&mut self, job: &Job) -> Result<(), Reason> {
        let upper = self.layers.directory(&Part::upper(&job.path))?;
        if job.path.as_os_str().is_empty() {
            self.findings.owner = (upper.entry.facts.uid, upper.entry.facts.gid);
        }
        let below = match &job.below {
            Below::Merged(parts) | Below::Hidden(parts) => self.layers.directories(parts)?,
            Below::Nothing | Below::Unknown => Vec::new(),
        };
        let hides = matches!(job.below, Below::Hidden(_));
        let mut names = BTreeSet::new();
        for name in upper.entry.read_dir()? {
            let name = name?;
            if self.findings.weight > MOST_MEMORY {
                return Err(Reason::ManyChanges);
            }
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
        let before = self.layers.names(below)?;
        for name in before.difference(names) {
            if let Some(found) = self.layers.look_up(below, name)? {
                self.deleted(job.path.join(name), job.was.join(name), found);
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
                    Some(before) => self.deleted(path, job.was.join(name), before),
                    None if matches!(job.below, Below::Unknown) => {
                        self.findings.push(Change::new(path, Kind::Deleted));
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
                    self.later(&here, here.was.clone(), Below::Nothing);
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
        self.later(&here, here.was.clone(), below);
        self.compare(here, before, Kind::Modified)
    }

    /// A new file, or one where something was.
    fn file(&mut self, here: Here, before: Option<Found>) -> Result<(), Reason> {
        match before {
            None => {
                if let Some(handle) = here.marks.origin.as_deref().and_then(marks::handle_in) {
                    self.findings.origins.insert(here.path.clone(), handle);
                }
                let added = Change::new(here.path, Kind::Added);
                let after = Some(Box::new(here.entry.facts));
                self.findings.push(Change { after, ..added });
                Ok(())
            }
            Some(before) => {
                if before.entry.facts.file_type != here.entry.facts.file_type {
                    self.gone(&here.path, &here.was, &before);
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
            self.deleted(here.path.clone(), here.was.clone(), before);
        }
        let was = by_marks::origin(redirect, &job.was);
        self.findings.redirected.insert(was.clone());
        if here.entry.facts.is_directory() {
            self.later(&here, was.clone(), Below::Merged(from.parts.clone()));
        }
        self.compare(here, from, Kind::Renamed { from: was })
    }

    fn later(&mut self, here: &Here, was: PathBuf, below: Below) {
        let job = Job { path: here.path.clone(), below, was };
        self.findings.weight += job.weight();
        self.jobs.push(job);
    }

    /// Says what differs, if anything does or it has another name.
    fn compare(&mut self, here: Here, before: Found, kind: Kind) -> Result<(), Reason> {
        let bytes = before.parts.into_iter().next();
        let old = Side { entry: &before.entry, marks: &before.marks, bytes: bytes.as_ref() };
        let is_file = here.entry.facts.is_file();
        // A copy without bytes has those of what is below.
        let after_at = match here.marks.is_metacopy {
            true => bytes.clone().filter(|_| is_file),
            false => is_file.then(|| Part::upper(&here.path)),
        };
        let new = Side { entry: &here.entry, marks: &here.marks, bytes: after_at.as_ref() };
        let (differs, troubles) = compare::sides(self.layers, &old, &new);
        for reason in troubles {
            self.findings.trouble(here.path.clone(), reason);
        }
        if differs.is_empty() && kind == Kind::Modified {
            return Ok(());
        }
        let before_at = bytes.filter(|_| before.entry.facts.is_file()).map(Box::new);
        let after_at = after_at.filter(|part| part.layer != 0).map(Box::new);
        let (before, after) =
            (Some(Box::new(before.entry.facts)), Some(Box::new(here.entry.facts)));
        let change = Change::new(here.path, kind);
        self.findings.push(Change { before, after, differs, before_at, after_at, ..change });
        Ok(())
    }

    /// Without lowers: what overlayfs has written beside the file.
    fn by_marks(&mut self, job: &Job, here: Here) {
        let facts = &here.entry.facts;
        let kind = by_marks::kind(self.layers.flavour, &here.marks, facts, &job.was);
        let is_directory = facts.is_directory();
        if is_directory {
            let is_new = kind == Kind::Added;
            let below = if is_new { Below::Nothing } else { Below::Unknown };
            self.later(&here, here.was.clone(), below);
        }
        // That a directory was copied up says nothing about it.
        if is_directory && kind == Kind::Modified {
            return;
        }
        let has_bytes = facts.is_file() && !here.marks.is_metacopy;
        let is_unknown = has_bytes && kind != Kind::Added;
        let differs = if is_unknown { vec![Difference::ContentUnknown] } else { Vec::new() };
        let change = Change::new(here.path, kind);
        let after = Some(Box::new(here.entry.facts));
        self.findings.push(Change { after, differs, ..change });
    }

    fn deleted(&mut self, path: PathBuf, was: PathBuf, found: Found) {
        self.gone(&path, &was, &found);
        let is_file = found.entry.facts.is_file();
        let before_at = found.parts.into_iter().next().filter(|_| is_file).map(Box::new);
        let deleted = Change::new(path, Kind::Deleted);
        let before = Some(Box::new(found.entry.facts));
        self.findings.push(Change { before, before_at, ..deleted });
    }

    fn gone(&mut self, path: &Path, was: &Path, found: &Found) {
        let (path, was) = (path.to_owned(), was.to_owned());
        let (facts, parts) = (found.entry.facts.clone(), found.parts.clone());
        self.findings.gone.push(Gone { path, was, facts, parts });
    }
}

/// A file of the upper.
struct Here {
    path: PathBuf,
    was: PathBuf,
    entry: Box<Entry>,
    marks: Marks,
}

impl Job {
    /// Bytes of memory that it takes, nearly.
    fn weight(&self) -> usize {
        size_of::<Job>() + 3 * self.path.as_os_str().len()
    }
}
