//! Which sandboxes run: each has a file in a directory of its user's own, held
//! by a lock for as long as its supervisor lives.
//!
//! The directory is `$XDG_RUNTIME_DIR/isorecipe`, or `/tmp/isorecipe-UID`. Under
//! `sudo` it is that of the user behind it, whose sandbox it is.
//!
//! **Invariant:** what is not held by the supervisor that the file names does
//! not run, whatever the file says; a crash leaves a file that nobody believes.

use std::{collections::BTreeSet, ffi::CString, os::fd::OwnedFd, path::PathBuf};

use nix::errno::Errno;

use crate::sys::{
    self, descriptor,
    ids::Acting,
    lock::{self, Holder},
};

mod entry;
mod place;
mod process;

pub use entry::{Entry, Overlay};
pub use place::{Distrust, Owner};
pub use process::{Process, Stat, is_within};

use entry::{FileName, legible};
use place::{Place, everybody, homes};

/// How a registration's file is called before it is whole.
const UNFINISHED: &str = ".new";

/// What is to be registered, known before the sandbox runs.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it would like to be called
    pub name: String,
    /// The recipe's file
    pub recipe: Option<PathBuf>,
    /// Whose it is
    pub owner: Owner,
}

/// A sandbox that is registered until this is dropped.
pub struct Registration {
    place: Place,
    owner: Owner,
    entry: Entry,
    file: FileName,
    /// Holds the lock.
    _held: OwnedFd,
}

impl Registration {
    /// Registers a sandbox of this process, with the PID of its command.
    ///
    /// # Errors
    /// Why not. The sandbox runs all the same: nobody needs to know of it.
    pub fn begin(
        subject: &Subject,
        command: i32,
        describe: impl FnOnce(&mut Entry),
    ) -> Result<Self, Distrust> {
        let owner = subject.owner;
        let _user = owner.act().map_err(|errno| Distrust::Unreachable(PathBuf::new(), errno))?;
        let place = Place::to_register(&owner)?;
        let gone = |errno| Distrust::Unreachable(place.path.clone(), errno);
        let find = |pid| Process::with_pid(pid).ok_or(gone(Errno::ESRCH));
        let (supervisor, command) = (find(sys::process::own_pid())?, find(command)?);
        let wish = legible(&subject.name);
        let mut entry = Entry::new(free_name(&place, &owner, &wish), supervisor, command);
        entry.recipe = subject.recipe.clone();
        describe(&mut entry);
        let file = FileName { name: entry.name.clone(), supervisor, generation: 0 };
        let held = write(&place, &entry, &file).map_err(gone)?;
        let mut registration = Self { place, owner, entry, file, _held: held };
        // Another may have taken the same name at the same moment; nobody else has this one.
        if registration.is_namesake_there() {
            let name = format!("{wish}-{}", supervisor.pid);
            registration.rewrite(|entry| entry.name = name);
        }
        Ok(registration)
    }

    /// What is registered.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Says something else from now on. If that cannot be written, what was said stays.
    pub fn update(&mut self, change: impl FnOnce(&mut Entry)) {
        let Ok(_user) = self.owner.act() else { return };
        self.rewrite(change);
    }

    fn rewrite(&mut self, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entry.clone();
        change(&mut entry);
        let file = FileName {
            name: entry.name.clone(),
            generation: self.file.generation.wrapping_add(1),
            ..self.file.clone()
        };
        // For a moment both are there, and the newer one counts.
        if let Ok(held) = write(&self.place, &entry, &file) {
            self.place.remove(&c_string(&self.file.text()));
            (self.entry, self.file, self._held) = (entry, file, held);
        }
    }

    fn is_namesake_there(&self) -> bool {
        files(&self.place).iter().any(|file| {
            file.name == self.file.name
                && file.supervisor != self.file.supervisor
                && is_held(&self.place, file)
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Ok(_user) = self.owner.act() else { return };
        self.place.remove(&c_string(&self.file.text()));
    }
}

impl Owner {
    /// Makes and opens files as the owner, if that is somebody else.
    fn act(&self) -> Result<Option<Acting>, Errno> {
        self.by_root.then(|| Acting::new(self.uid, self.gid, &[self.gid])).transpose()
    }
}

/// A sandbox that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// In its supervisor's words
    pub entry: Entry,
    /// Whose it is
    pub uid: u32,
}

/// The sandboxes that run, in the order of their beginning, and the places that were not asked.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// What runs
    pub running: Vec<Running>,
    /// Where something else stands than a directory of the user's own
    pub distrusted: Vec<Distrust>,
}

/// Which sandboxes of an owner run; for root, everybody's. Whatever is left of
/// those that do not is removed.
pub fn running(owner: &Owner) -> Census {
    let mut census = Census::default();
    let is_root = nix::unistd::geteuid().is_root();
    let others = if is_root { everybody() } else { Vec::new() };
    let own = if is_root && owner.uid != 0 { vec![0] } else { Vec::new() };
    let others = others.into_iter().chain(own).filter(|&uid| uid != owner.uid);
    let stranger = |uid| Owner { uid, gid: uid, by_root: uid != 0 };
    for whose in std::iter::once(*owner).chain(others.map(stranger)) {
        let Ok(_user) = whose.act() else { continue };
        for home in homes(&whose) {
            match Place::to_read(&home, whose.uid) {
                Ok(Some(place)) => census.take(&place),
                // What stands in other people's way is theirs to hear of.
                Err(distrust) if whose == *owner => census.distrusted.push(distrust),
                Ok(None) | Err(_) => {}
            }
        }
    }
    census.running.sort_by_key(|running| {
        (running.entry.began, running.entry.supervisor.started, running.entry.supervisor.pid)
    });
    census
}

impl Census {
    fn take(&mut self, place: &Place) {
        let mut running: Vec<FileName> = Vec::new();
        for name in place.names().unwrap_or_default() {
            let Ok(text) = name.to_str() else { continue };
            let is_unfinished = text.ends_with(UNFINISHED);
            let Some(file) = FileName::parse(text.trim_end_matches(UNFINISHED)) else { continue };
            match held_by(place, &name) {
                // One that is not held yet may be written just now.
                Some(Holder::Nobody) if is_unfinished && file.supervisor.is_running() => {}
                Some(Holder::Nobody) => place.remove(&name),
                Some(Holder::Process(pid)) if pid == file.supervisor.pid && !is_unfinished => {
                    running.push(file);
                }
                _ => {}
            }
        }
        // Of two moments of one supervisor the later counts.
        running.sort_by_key(|file| file.generation);
        for file in running {
            let Some(entry) = believed(place, &file) else { continue };
            self.running.retain(|earlier| earlier.entry.supervisor != entry.supervisor);
            self.running.push(Running { entry, uid: place.uid });
        }
    }
}

/// What a file says, if it speaks of its own supervisor's processes and they live.
fn believed(place: &Place, file: &FileName) -> Option<Entry> {
    let bytes = place::read(&place.open_file(&c_string(&file.text())).ok()?)?;
    let entry = Entry::parse(&bytes, file)?;
    let is_running = entry.supervisor.is_running() && entry.command.is_running();
    (is_running && is_within(entry.command.pid, entry.supervisor.pid)).then_some(entry)
}

/// Writes a registration that is held from before it can be seen.
fn write(place: &Place, entry: &Entry, file: &FileName) -> Result<OwnedFd, Errno> {
    let text = serde_json::to_vec(entry).map_err(|_| Errno::EINVAL)?;
    let unfinished = c_string(&format!("{}{UNFINISHED}", file.text()));
    // Nobody else writes by this name: what is there was left by who had our PID before us.
    place.remove(&unfinished);
    let held = place.create(&unfinished)?;
    let written = lock::hold(&held)
        .and_then(|()| descriptor::write_once(&held, &text))
        .and_then(|()| place.rename(&unfinished, &c_string(&file.text())));
    if written.is_err() {
        place.remove(&unfinished);
    }
    written.map(|()| held)
}

/// The name itself, or with the first number that makes it free in all of the owner's places.
fn free_name(place: &Place, owner: &Owner, wish: &str) -> String {
    let others = homes(owner).into_iter().filter(|home| *home != place.path);
    let others: Vec<Place> =
        others.filter_map(|home| Place::to_read(&home, owner.uid).ok().flatten()).collect();
    let mut taken = BTreeSet::new();
    for place in std::iter::once(place).chain(&others) {
        let alike = files(place).into_iter().filter(|file| file.name.starts_with(wish));
        taken.extend(alike.filter(|file| is_held(place, file)).map(|file| file.name));
    }
    let numbered = (2..).map(|number: u64| format!("{wish}-{number}"));
    let mut names = std::iter::once(wish.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

fn files(place: &Place) -> Vec<FileName> {
    let names = place.names().unwrap_or_default();
    names.iter().filter_map(|name| FileName::parse(name.to_str().ok()?)).collect()
}

/// Whether a registration's supervisor lives; one whose does not is removed.
fn is_held(place: &Place, file: &FileName) -> bool {
    let name = c_string(&file.text());
    match held_by(place, &name) {
        Some(Holder::Nobody) => {
            place.remove(&name);
            false
        }
        Some(_) => true,
        None => false,
    }
}

fn held_by(place: &Place, name: &CString) -> Option<Holder> {
    lock::holder(place.open_file(name).ok()?).ok()
}

/// A name of ours has no NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
