//! `isorecipe build`: makes the image, or the directory, that a recipe's
//! `image` describes.
//!
//! First everything is looked at ([`survey`]), then compared with what the
//! image was made from the last time ([`state`]), and only then is something
//! written: into a hidden directory beside the target ([`site`]), synced, and
//! put in its place with one rename.
//!
//! **Invariant:** whoever dies when, the target is the old one or the new one,
//! whole. What a killed build leaves lies in that hidden directory, without a
//! lock, and the next build takes it away. Loop devices and mounts belong to
//! descriptors of this process and go with it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use nix::sys::signalfd::SignalFd;

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host::Host,
    recipe::{Filesystem, Image, Owner},
    sys::{ids::Lowered, signal},
    yaml,
};

mod digest;
mod libraries;
mod make;
mod open;
mod programs;
mod site;
mod state;
mod survey;
mod tool;
mod tree;
mod words;
mod write;
mod xfs;

pub use words::no_step_down;

use site::{Locked, Site};
use state::{State, Verdict};
use survey::{Found, Survey};

/// What a build is asked for.
pub struct Order<'a> {
    /// What to make
    pub image: &'a Image,
    /// The folder of the recipe
    pub folder: &'a Path,
    /// Whether the recipe has a user namespace, in which no node can be opened
    pub has_user_layer: bool,
    /// Who builds
    pub host: &'a Host,
    /// Through `sudo`, the way to mount an xfs: everything else is done as the user
    pub lowered: Option<&'a Lowered>,
    /// The caller's PATH
    pub search: OsString,
    /// The caller's SOURCE_DATE_EPOCH
    pub epoch: Option<OsString>,
    /// Build even what is up to date, and over what somebody else has made
    pub force: bool,
    /// Whether the digest is asked for
    pub digest: bool,
}

/// What came of it.
pub struct Built {
    /// Where the image is
    pub target: PathBuf,
    /// Why it was made; nothing if it was up to date
    pub reasons: Vec<String>,
    /// Bytes of an image; of the files in a directory
    pub size: u64,
    /// Files, directories and links in it
    pub files: usize,
    /// `sha256:…`, if it was asked for
    pub digest: Option<String>,
    /// What could not be read, and is not in it
    pub unreadable: Vec<PathBuf>,
    /// What the caller should know besides
    pub warnings: Vec<Diagnostic>,
}

/// Why there is no image.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong
    Refused(Box<Diagnostic>),
    /// The caller sent this signal
    Signal(i32),
}

/// What a build is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for another build of the same image
    Waiting,
    /// Looking at everything that goes in
    Looking,
    /// Copying files; the numbers are bytes
    Copying,
    /// A tool is at work
    Making,
    /// Getting it onto the disk
    Syncing,
    /// Reading it for its digest; the numbers are bytes
    Reading,
}

/// Who wants to see how far a build is.
pub trait Watch {
    /// Called often: what is done, of how much if that is known.
    fn show(&mut self, stage: Stage, done: u64, total: Option<u64>);
}

/// Keeps an eye on the signals that end a program, and shows how far it is.
struct Guard<'a> {
    signals: SignalFd,
    before: signal::Before,
    watch: &'a mut dyn Watch,
}

impl<'a> Guard<'a> {
    fn new(watch: &'a mut dyn Watch) -> Result<Self, Stop> {
        let held = signal::hold_endings();
        let (before, signals) =
            held.map_err(|errno| words::no_signals(errno).stop(&yaml::Path::root()))?;
        Ok(Self { signals, before, watch })
    }

    /// Whether to go on.
    fn look_up(&mut self) -> Result<(), Stop> {
        while let Some(signal) = signal::next(&self.signals) {
            if signal != libc::SIGCHLD {
                return Err(Stop::Signal(signal));
            }
        }
        Ok(())
    }

    fn show(&mut self, stage: Stage, done: u64, total: Option<u64>) {
        self.watch.show(stage, done, total);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It was held a moment ago by the same call.
        let _ = signal::release(&self.before);
    }
}

/// A refusal that ends the build.
trait Ends {
    fn stop(self, at: &yaml::Path) -> Stop;
}

impl Ends for Refusal {
    fn stop(self, at: &yaml::Path) -> Stop {
        Stop::Refused(Box::new(self.at(at.clone())))
    }
}

/// Makes the image of a recipe, if it is not there as it should be.
///
/// # Errors
/// Why there is none; what was there before is there still.
pub fn build(order: &Order, watch: &mut dyn Watch) -> Result<Built, Stop> {
    let epoch = epoch(order.epoch.as_ref())?;
    let site = Site::find(order)?;
    let mut locked = site.lock(watch)?;
    let mut guard = Guard::new(watch)?;
    let mut warnings = locked.sweep();
    let found = survey(order, &site, &mut guard)?;
    let inputs = state::Inputs::of(order, epoch, &found.tree);
    let kept = State::read(&locked);
    let now = site.look();
    let mut built = Built {
        target: site.path.clone(),
        reasons: Vec::new(),
        size: 0,
        files: count(&found),
        digest: None,
        unreadable: found.unreadable.clone(),
        warnings: Vec::new(),
    };
    match state::judge(kept.as_ref(), now.as_ref(), &inputs, &site) {
        Verdict::UpToDate if !order.force => {}
        Verdict::NotOurs(refusal) if !order.force => {
            return Err(refusal.stop(&file_path()));
        }
        verdict => {
            built.reasons = verdict.reasons();
            let job = make::Job { order, epoch, locked: &locked, id: inputs.id() };
            let late = job.run(&found.tree, inputs, now, &mut guard)?;
            built.unreadable.extend(late.unreadable);
            warnings.extend(late.warnings);
        }
    }
    built.size = digest::size(&site.path);
    if order.digest {
        let digest = digest::of(&site.path, &mut guard)?;
        built.digest = Some(digest);
    }
    drop(locked);
    built.warnings = warnings;
    Ok(built)
}

fn survey(order: &Order, site: &Site, guard: &mut Guard) -> Result<Found, Stop> {
    let survey = Survey {
        image: order.image,
        folder: order.folder,
        home: order.host.caller.home.as_deref(),
        target: &site.path,
        search: &order.search,
        makes_nodes: order.makes_nodes(),
    };
    survey.run(guard)
}

/// How many files there will be, those left out not counted.
fn count(found: &Found) -> usize {
    let mut files = 0;
    found.tree.each(&mut |_, node| {
        let is_read = node.source.as_ref().is_none_or(|source| source.is_readable);
        files += usize::from(is_read || node.entries().is_some());
    });
    files
}

fn file_path() -> yaml::Path {
    yaml::Path::root().key("image").key("file")
}

/// The time of every file, in seconds since 1970
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn epoch(given: Option<&OsString>) -> Result<i64, Stop> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(0) };
    let seconds = text.to_str().and_then(|text| text.parse::<u32>().ok());
    let bad = || words::bad_epoch(&text.to_string_lossy()).stop(&yaml::Path::root());
    seconds.map(i64::from).ok_or_else(bad)
}

impl Order<'_> {
    fn is_host_root(&self) -> bool {
        let is_first = self.host.initial_user_namespace != Some(false);
        is_first && self.host.has(crate::model::capability::SYS_ADMIN)
    }

    /// A node opens its device for its owner, so none is made for an ordinary
    /// user; and none that a user namespace would keep from being opened.
    fn makes_nodes(&self) -> bool {
        self.is_host_root() && !self.has_user_layer
    }

    fn can_mount(&self) -> bool {
        self.is_host_root() || self.lowered.is_some()
    }

    /// Whose the files inside become, where they can be anybody's.
    fn owner(&self) -> (u32, u32) {
        match (self.image.filesystem, self.image.owner) {
            (Filesystem::Directory, Owner::Caller) => (self.host.caller.uid, self.host.caller.gid),
            _ => (0, 0),
        }
    }

    fn has_root(&self) -> bool {
        self.host.is_root()
    }
}

/// What is known of a file of this machine, by its place in an image.
type Files = BTreeMap<String, (String, Option<String>)>;

impl Locked {
    /// What a killed build has left. Whoever holds the lock is the only one at work.
    fn sweep(&mut self) -> Vec<Diagnostic> {
        let stuck = self.remove_leftovers();
        stuck.into_iter().map(|path| words::stuck(&path).at(file_path()).warning()).collect()
    }
}
