//! Maps with subordinate ids, written by the set-user-ID helpers `newuidmap(1)`
//! and `newgidmap(1)` (`subuid(5)`, `subgid(5)`).

use std::{ffi::CString, fmt, os::fd::AsFd};

use crate::{
    diagnostic::{Refusal, typed},
    host::{Helper, Powerless},
    model::{Answer, Model, UserId},
    sys::{
        Call, Errno, Fault, KernelPath, descriptor, memory_file,
        namespace::{self, Side},
        process::{self, Change, Vector},
        signal,
    },
};

use super::{
    Evidence, Operation, Stage,
    idmap::{Ids, Line, Listed, from_afar, is_written, map, not_a_range, overlap, overlapping},
};

/// A map with subordinate ids, written by the set-user-ID helper
/// (`newuidmap(1)`, `newgidmap(1)`).
pub struct HelperMap {
    /// Which of the two maps
    pub ids: Ids,
    /// What is in it
    pub lines: Vec<Line>,
}

impl HelperMap {
    /// A map for the helper to write.
    pub fn new(ids: Ids, lines: Vec<Line>) -> Self {
        Self { ids, lines }
    }

    fn is_installed(&self, model: &Model) -> Option<bool> {
        let known = model.host.subordinate.as_ref()?;
        Some(match self.ids {
            Ids::User => known.newuidmap.is_some(),
            Ids::Group => known.newgidmap.is_some(),
        })
    }

    /// Whether the helper would find every id in the caller's lines.
    fn is_allowed(&self, model: &Model) -> Option<bool> {
        let known = model.host.subordinate.as_ref()?;
        let (range, own) = match self.ids {
            Ids::User => (known.uid, model.host.caller.uid),
            Ids::Group => (known.gid, model.host.caller.gid),
        };
        Some(self.lines.iter().all(|line| is_allowed(line, range, own)))
    }

    /// The helper's file, where it was looked at.
    fn file<'a>(&self, model: &'a Model) -> Option<&'a Helper> {
        let helpers = model.host.helpers.as_ref()?;
        match self.ids {
            Ids::User => helpers.newuidmap.as_ref(),
            Ids::Group => helpers.newgidmap.as_ref(),
        }
    }

    /// Why the helper has no more rights than its caller, where that is known.
    fn powerless(&self, model: &Model) -> Option<Refusal> {
        let helper = self.ids.helper();
        let host = &model.host;
        let message = format!("`{helper}` gets no rights to write the map");
        let file = self.file(model);
        if host.confinement.as_ref().and_then(|known| known.no_new_privs) == Some(true) {
            return Some(
                Refusal::new("map::helper_no_new_privs", message)
                    .why("isorecipe was started with no_new_privs on, and nobody can turn it off")
                    .help("start it without: a systemd unit needs `NoNewPrivileges=no`, a container no `--security-opt no-new-privileges`")
                    .once(),
            );
        }
        let file = file?;
        let path = file.path.display();
        match file.powerless()? {
            Powerless::Plain => Some(
                Refusal::new("map::helper_not_setuid", message)
                    .why(format!(
                        "{path} has mode {:04o} and owner {}, and no file capability",
                        file.mode, file.uid
                    ))
                    .help("`sudo apt install --reinstall uidmap` (Debian, Ubuntu) or `sudo dnf reinstall shadow-utils`")
                    .once(),
            ),
            Powerless::NoSuid => Some(
                Refusal::new("map::helper_on_nosuid", message)
                    .why(format!("{path} lies on a mount that ignores set-user-ID bits"))
                    .help(format!("`sudo mount -o remount,suid $(findmnt -n -o TARGET --target {})`", typed(&file.path)))
                    .once(),
            ),
        }
    }

    /// What the caller could ask for instead, or ask root for.
    fn not_allowed(&self, before: &Model) -> Refusal {
        let host = &before.host;
        let known = host.subordinate.clone().unwrap_or_default();
        let (range, file, option, own) = match self.ids {
            Ids::User => (known.uid, "/etc/subuid", "--add-subuids", host.caller.uid),
            Ids::Group => (known.gid, "/etc/subgid", "--add-subgids", host.caller.gid),
        };
        if let Some((first, count)) = range {
            let last = first.saturating_add(count.saturating_sub(1));
            return Refusal::new("map::outside_your_ids", "this map takes ids that are not yours")
                .why(format!("{file} gives you {first} to {last}, and {own} is your own"))
                .help(format!("take ids from there: `outside: {first}`"));
        }
        let name = host.caller.name.clone().unwrap_or_else(|| host.caller.uid.to_string());
        let wanted = self.lines.iter().find(|line| !is_allowed(line, range, own));
        let (first, count) = wanted.map_or((100_000, 65_536), |line| (line.outside, line.count));
        let last = first.saturating_add(count.saturating_sub(1));
        Refusal::new("map::no_subordinate_ids", "you have no subordinate ids for this map")
            .why(format!("{file} has no line for you"))
            .help(format!("`sudo usermod {option} {first}-{last} {}`", typed(name)))
    }
}

/// How much of what a helper says is kept.
const WORDS: u16 = 1024;

/// Runs a program to its end; gives how it ended, and keeps what it said.
///
/// Not with `std::process::Command`: that panics when a pipe cannot be read, and
/// waits for ever for one that was not closed.
fn run(path: &KernelPath, words: Vector, stage: &Stage) -> Result<Change, Errno> {
    let environment = Vector::new(vec![c"LC_ALL=C".to_owned()]);
    let said = memory_file::of_size(WORDS)?;
    let nothing = descriptor::open_to_read(c"/dev/null")?;
    match namespace::fork()? {
        Side::Child => {
            let streams = [(nothing.as_fd(), 0), (said.as_fd(), 1), (said.as_fd(), 2)];
            // In a session of its own no keyboard stops it, for which we would wait.
            let is_ready = process::new_session()
                .and_then(|()| process::die_with_parent())
                .and_then(|()| {
                    streams.into_iter().try_for_each(|(fd, to)| descriptor::put_at(fd, to))
                })
                .and_then(|()| descriptor::close_on_exec_from(3))
                .and_then(|()| signal::let_all_through());
            match is_ready {
                Ok(()) => {
                    process::exit(process::execute(path.as_c_str(), &words, &environment) as i32)
                }
                Err(errno) => process::exit(errno as i32),
            }
        }
        Side::Parent(pid) => {
            let ended = process::open(pid).and_then(|child| process::wait_for(child.as_fd()))?;
            let mut buffer = [0; WORDS as usize];
            stage.keep_words(memory_file::read(said.as_fd(), &mut buffer)?);
            Ok(ended)
        }
    }
}

/// Whether the helper finds the ids of a line in the caller's range, or the
/// line is for the caller alone.
fn is_allowed(line: &Line, range: Option<(u32, u32)>, own: u32) -> bool {
    let is_own = line.outside == own && line.count == 1;
    is_own
        || range.is_some_and(|(first, count)| {
            line.outside >= first
                && u64::from(line.outside) + u64::from(line.count)
                    <= u64::from(first) + u64::from(count)
        })
}

impl fmt::Display for HelperMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} with {}: {}", self.ids.file(), self.ids.helper(), Listed(&self.lines))
    }
}

impl Operation for HelperMap {
    fn answer(&self, model: &Model) -> Answer {
        let is_installed = self.is_installed(model);
        if is_installed == Some(false) {
            return Answer::No(Call::Helper.gave(Errno::ENOENT));
        }
        if model.own_user().parent != Some(UserId::HOST) && is_installed == Some(true) {
            return Answer::No(Call::Helper.gave(Errno::EPERM));
        }
        if not_a_range(&self.lines).is_some() || overlapping(&self.lines).is_some() {
            return Answer::No(Call::Helper.gave(Errno::EPERM));
        }
        match (is_installed, self.is_allowed(model)) {
            (Some(true), Some(false)) => Answer::No(Call::Helper.gave(Errno::EPERM)),
            _ if self.powerless(model).is_some() => Answer::No(Call::Helper.gave(Errno::EPERM)),
            // It may lack a right that only a try can tell.
            _ => Answer::KernelDecides,
        }
    }

    fn effect(&self, model: &mut Model) {
        map(model, self.ids, &self.lines);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let refused = |errno| Call::Helper.gave(errno);
        let path = which::which(self.ids.helper()).map_err(|_| refused(Errno::ENOENT))?;
        let numbers = self.lines.iter().flat_map(|line| [line.inside, line.outside, line.count]);
        let child = stage.child.unsigned_abs();
        let numbers = std::iter::once(child).chain(numbers).map(|number| number.to_string());
        let words = std::iter::once(self.ids.helper().to_owned()).chain(numbers);
        let words = words.map(|word| CString::new(word).unwrap_or_default()).collect();
        match run(&KernelPath::new(path), Vector::new(words), stage).map_err(refused)? {
            Change::Exited(0) => Ok(()),
            _ => Err(refused(Errno::EPERM)),
        }
    }

    /// A helper may know better than it was told.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        is_written(stage, self.ids, &self.lines, Call::Helper)
    }

    fn explain(&self, fault: Fault, before: &Model, seen: &Evidence) -> Refusal {
        let helper = self.ids.helper();
        if fault.errno == Errno::ENOENT {
            return Refusal::new("map::helper_missing", format!("`{helper}` is not installed"))
                .why("more than one id can only be mapped with its help")
                .help(
                    "`sudo apt install uidmap` (Debian, Ubuntu) or `sudo dnf install shadow-utils`",
                );
        }
        if before.own_user().parent != Some(UserId::HOST) {
            return from_afar();
        }
        if let Some(refusal) = not_a_range(&self.lines) {
            return refusal;
        }
        if overlapping(&self.lines).is_some() {
            return overlap(&self.lines);
        }
        if self.is_allowed(before) == Some(false) {
            return self.not_allowed(before);
        }
        if let Some(refusal) = self.powerless(before) {
            return refusal;
        }
        let refusal =
            Refusal::new("map::helper_refused", format!("`{helper}` did not write the map"));
        let help =
            format!("see `{helper}(1)`; `ls -l $(command -v {helper})` should show `-rwsr-xr-x`");
        match seen.log.is_empty() {
            true => refusal.why("it did not say why").help(help),
            false => refusal.why(format!("it says: {}", seen.log)).help(help),
        }
    }
}
