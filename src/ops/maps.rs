//! Which ids exist in a user namespace: `uid_map`, `gid_map`, `setgroups`
//! (`user_namespaces(7)`), written by the process itself, by the supervisor,
//! or by `newuidmap(1)`.

use std::{fmt, process::Command};

use crate::{
    diagnostic::Refusal,
    model::{Answer, Extent, IdMap, Model, UserId, UserNamespace, capability},
    sys::{Call, Errno, Fault},
};

use super::{Evidence, Need, Operation, Stage, unexplained, yes};

/// Which of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// `uid_map`
    User,
    /// `gid_map`
    Group,
}

impl Ids {
    fn file(self) -> &'static str {
        match self {
            Ids::User => "uid_map",
            Ids::Group => "gid_map",
        }
    }

    fn call(self) -> Call {
        match self {
            Ids::User => Call::WriteUidMap,
            Ids::Group => Call::WriteGidMap,
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Ids::User => "newuidmap",
            Ids::Group => "newgidmap",
        }
    }

    fn capability(self) -> u32 {
        match self {
            Ids::User => capability::SETUID,
            Ids::Group => capability::SETGID,
        }
    }

    /// The map of a namespace.
    pub fn of(self, namespace: &UserNamespace) -> &IdMap {
        match self {
            Ids::User => &namespace.uids,
            Ids::Group => &namespace.gids,
        }
    }
}

/// One line of a map, as the kernel reads it: ids outside are the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// First id inside
    pub inside: u32,
    /// First id outside
    pub outside: u32,
    /// How many
    pub count: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// Who writes the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The process in the namespace
    Itself,
    /// The supervisor, from outside
    Supervisor,
}

/// `deny` to `setgroups`: without it an ordinary user may map no group.
pub struct DenySetgroups;

impl fmt::Display for DenySetgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write deny to setgroups")
    }
}

impl Operation for DenySetgroups {
    fn answer(&self, model: &Model) -> Answer {
        let namespace = model.own_user();
        if !model.administers(model.process.user) {
            return Answer::No(Call::WriteSetgroups.gave(Errno::EACCES));
        }
        if !namespace.gids.is_empty() {
            return Answer::No(Call::WriteSetgroups.gave(Errno::EPERM));
        }
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        model.own_user_mut().setgroups = false;
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.write_own("setgroups", b"deny").map_err(|errno| Call::WriteSetgroups.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        file_refused(fault, before).unwrap_or_else(|| unexplained(self, fault))
    }
}

/// A map, written at once and for good.
pub struct WriteMap {
    ids: Ids,
    lines: Vec<Line>,
    by: Writer,
    text: String,
}

impl WriteMap {
    /// Prepares the text of the map.
    pub fn new(ids: Ids, lines: Vec<Line>, by: Writer) -> Self {
        let text = lines.iter().map(|line| format!("{line}\n")).collect();
        Self { ids, lines, by, text }
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Err(Answer::No(self.ids.call().gave(errno)));
        let namespace = model.own_user();
        if namespace.is_presumed {
            return Ok(());
        }
        if !self.ids.of(namespace).is_empty() {
            return no(Errno::EPERM);
        }
        let is_admin = match self.by {
            Writer::Itself => model.administers(model.process.user),
            Writer::Supervisor => {
                model.supervisor_capable(model.process.user, capability::SYS_ADMIN)
            }
        };
        if !is_admin {
            return no(Errno::EPERM);
        }
        if empty_or_endless(&self.lines).is_some() || overlapping(&self.lines).is_some() {
            return no(Errno::EINVAL);
        }
        if !self.is_permitted(model) || self.unmapped_outside(model).is_some() {
            return no(Errno::EPERM);
        }
        Ok(())
    }

    /// `new_idmap_permitted()`
    fn is_permitted(&self, model: &Model) -> bool {
        let namespace = model.own_user();
        if self.ids == Ids::User && self.maps_root_of_parent() && !self.may_map_root(model) {
            return false;
        }
        if self.maps_only_its_own(model) {
            return true;
        }
        let Some(parent) = namespace.parent else {
            return false;
        };
        self.by == Writer::Supervisor && model.supervisor_capable(parent, self.ids.capability())
    }

    fn maps_root_of_parent(&self) -> bool {
        self.lines.iter().any(|line| line.outside == 0)
    }

    /// `verify_root_map()`
    fn may_map_root(&self, model: &Model) -> bool {
        let namespace = model.own_user();
        match (self.by, namespace.parent) {
            (Writer::Itself, _) => namespace.parent_could_setfcap,
            (_, Some(parent)) => model.supervisor_capable(parent, capability::SETFCAP),
            _ => false,
        }
    }

    /// One line for one id, which is that of the namespace's owner and of the writer.
    fn maps_only_its_own(&self, model: &Model) -> bool {
        let [line] = self.lines[..] else { return false };
        let namespace = model.own_user();
        let host = self.ids.of(model.parent_user()).to_host(line.outside);
        let (writer, group) = match self.by {
            Writer::Itself => (model.process.uid, model.process.gid),
            Writer::Supervisor => (model.host.caller.uid, model.host.caller.gid),
        };
        line.count == 1
            && namespace.owner == writer
            && match self.ids {
                Ids::User => host == Some(writer),
                Ids::Group => host == Some(group) && !namespace.setgroups,
            }
    }

    /// The first id outside that does not exist there.
    fn unmapped_outside(&self, model: &Model) -> Option<u32> {
        let parent = self.ids.of(model.parent_user());
        self.lines.iter().find_map(|line| {
            let last = line.outside.saturating_add(line.count - 1);
            [line.outside, last].into_iter().find(|&id| parent.to_host(id).is_none())
        })
    }
}

impl fmt::Display for WriteMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}: {}", self.ids.file(), Listed(&self.lines))
    }
}

impl Operation for WriteMap {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        map(model, self.ids, &self.lines);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage
            .write_own(self.ids.file(), self.text.as_bytes())
            .map_err(|errno| self.ids.call().gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if let Some(refusal) = file_refused(fault, before) {
            return refusal;
        }
        if let Some(line) = empty_or_endless(&self.lines) {
            return Refusal::new("map::not_a_range", format!("`{line}` is no range of ids"))
                .why("it has no id in it, or goes beyond the last, 4294967294")
                .help("write how many ids there are: `count: 1`");
        }
        if overlapping(&self.lines).is_some() {
            return overlap(&self.lines);
        }
        if fault.errno != Errno::EPERM {
            return unexplained(self, fault);
        }
        if let Some(id) = self.unmapped_outside(before) {
            return Refusal::new(
                "map::outside_unmapped",
                format!("id {id} does not exist outside"),
            )
            .why("the user namespace around has no such id")
            .help("map an id that `/proc/self/uid_map` outside lists");
        }
        if self.ids == Ids::User && self.maps_root_of_parent() && !self.may_map_root(before) {
            return Refusal::new("map::host_root", "the host's root cannot be mapped here")
                .why("that needs CAP_SETFCAP over the namespace around")
                .help("map another id: `map: auto`");
        }
        match (self.is_permitted(before), before.host.apparmor_restricts_userns) {
            (true, Some(true)) => restricted_by_apparmor(),
            (true, _) => unexplained(self, fault),
            (false, _) => not_yours(self.ids, before),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        let parent = before.own_user().parent?;
        (!self.maps_only_its_own(before)).then_some(Need {
            capability: self.ids.capability(),
            over: parent,
            what: "the user namespace around",
        })
    }
}

fn not_yours(ids: Ids, before: &Model) -> Refusal {
    let (own, noun) = match ids {
        Ids::User => (before.host.caller.uid, "user"),
        Ids::Group => (before.host.caller.gid, "group"),
    };
    if ids == Ids::Group && before.own_user().setgroups {
        return Refusal::new("map::setgroups_allowed", "a group map needs `setgroups: deny` first")
            .why("else you could drop a group that keeps you out of a file")
            .help("write `setgroups: deny`, or use `map: auto`");
    }
    Refusal::new("map::not_yours", format!("only your own {noun} id can be mapped without help"))
        .why(format!("your {noun} id is {own}, and one id is all the kernel gives"))
        .help("use `map: auto`, which takes your subordinate ids from /etc/subuid and /etc/subgid")
}

fn restricted_by_apparmor() -> Refusal {
    Refusal::new("user::restricted_by_apparmor", "AppArmor lets you make a user namespace, not use it")
        .why("kernel.apparmor_restrict_unprivileged_userns is 1")
        .help("install the profile `apparmor/isorecipe`; to try without: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`")
}

/// What opening the file itself can say.
fn file_refused(fault: Fault, before: &Model) -> Option<Refusal> {
    match fault.errno {
        Errno::ENOENT => Some(
            Refusal::new("map::no_proc", "id maps are written through /proc, which is not there")
                .why("no procfs was mounted on /proc when isorecipe was started")
                .help("`mount -t proc proc /proc`"),
        ),
        Errno::EROFS => Some(
            Refusal::new(
                "map::read_only_proc",
                "id maps are written through /proc, which is read-only",
            )
            .why("/proc was mounted read-only when isorecipe was started")
            .help("start isorecipe where /proc can be written"),
        ),
        Errno::EACCES if before.host.apparmor_restricts_userns == Some(true) => {
            Some(restricted_by_apparmor())
        }
        _ => None,
    }
}

/// The first line without an id, or with one too many (`map_write()`).
fn empty_or_endless(lines: &[Line]) -> Option<Line> {
    let ends = |first: u32, count| first.checked_add(count).is_some_and(|end| end > first);
    let is_range = |line: &&Line| ends(line.inside, line.count) && ends(line.outside, line.count);
    lines.iter().find(|line| !is_range(line)).copied()
}

fn overlap(lines: &[Line]) -> Refusal {
    let shared =
        overlapping(lines).map_or(String::new(), |(one, other)| format!("`{one}` and `{other}`"));
    Refusal::new("map::overlap", "two ranges of the map overlap")
        .why(format!("{shared} share ids"))
        .help("give every id, inside and outside, one place only")
}

/// The first two lines that share an id, inside or outside.
pub(crate) fn overlapping(lines: &[Line]) -> Option<(Line, Line)> {
    let shares = |a: u32, b: u32, one: &Line, other: &Line| {
        u64::from(a) < u64::from(b) + u64::from(other.count)
            && u64::from(b) < u64::from(a) + u64::from(one.count)
    };
    lines.iter().enumerate().find_map(|(index, one)| {
        let other = lines.iter().skip(index + 1).find(|other| {
            shares(one.inside, other.inside, one, other)
                || shares(one.outside, other.outside, one, other)
        })?;
        Some((*one, *other))
    })
}

fn map(model: &mut Model, ids: Ids, lines: &[Line]) {
    let parent = ids.of(model.parent_user()).clone();
    let extents = lines
        .iter()
        .map(|line| Extent {
            inside: line.inside,
            host: parent.to_host(line.outside).unwrap_or(line.outside),
            count: line.count,
        })
        .collect();
    let namespace = model.own_user_mut();
    match ids {
        Ids::User => namespace.uids = IdMap(extents),
        Ids::Group => namespace.gids = IdMap(extents),
    }
}

/// Lines with commas between, for one row of the plan.
struct Listed<'a>(&'a [Line]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            write!(f, "{}{line}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A map with subordinate ids, written by the set-user-ID helper
/// (`newuidmap(1)`, `newgidmap(1)`).
pub struct HelperMap {
    ids: Ids,
    lines: Vec<Line>,
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

    /// What the caller could ask for instead, or ask root for.
    fn not_allowed(&self, before: &Model) -> Refusal {
        let host = &before.host;
        let known = host.subordinate.clone().unwrap_or_default();
        let (range, file, option, own) = match self.ids {
            Ids::User => (known.uid, "/etc/subuid", "--add-subuids", host.caller.uid),
            Ids::Group => (known.gid, "/etc/subgid", "--add-subgids", host.caller.gid),
        };
        if let Some((first, count)) = range {
            let last = first.saturating_add(count - 1);
            return Refusal::new("map::outside_your_ids", "this map takes ids that are not yours")
                .why(format!("{file} gives you {first} to {last}, and {own} is your own"))
                .help(format!("take ids from there: `outside: {first}`"));
        }
        let name = host.caller.name.clone().unwrap_or_else(|| host.caller.uid.to_string());
        let wanted = self.lines.iter().find(|line| !is_allowed(line, range, own));
        let (first, count) = wanted.map_or((100_000, 65_536), |line| (line.outside, line.count));
        let last = first.saturating_add(count - 1);
        Refusal::new("map::no_subordinate_ids", "you have no subordinate ids for this map")
            .why(format!("{file} has no line for you"))
            .help(format!("`sudo usermod {option} {first}-{last} {name}`"))
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
        if model.own_user().parent != Some(UserId::HOST) {
            // The helper looks the ids up as the host counts them.
            return Answer::KernelDecides;
        }
        if overlapping(&self.lines).is_some() {
            return Answer::No(Call::Helper.gave(Errno::EPERM));
        }
        match (self.is_installed(model), self.is_allowed(model)) {
            (Some(false), _) => Answer::No(Call::Helper.gave(Errno::ENOENT)),
            (Some(true), Some(false)) => Answer::No(Call::Helper.gave(Errno::EPERM)),
            // It may have lost its set-user-ID bit, which only a try can tell.
            _ => Answer::KernelDecides,
        }
    }

    fn effect(&self, model: &mut Model) {
        map(model, self.ids, &self.lines);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let mut command = Command::new(self.ids.helper());
        command.arg(stage.child.to_string());
        for line in &self.lines {
            command.args([line.inside, line.outside, line.count].map(|number| number.to_string()));
        }
        let status = command.output().map_err(|error| {
            Call::Helper.gave(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
        })?;
        if status.status.success() { Ok(()) } else { Err(Call::Helper.gave(Errno::EPERM)) }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let helper = self.ids.helper();
        if fault.errno == Errno::ENOENT {
            return Refusal::new("map::helper_missing", format!("`{helper}` is not installed"))
                .why("more than one id can only be mapped with its help")
                .help(
                    "`sudo apt install uidmap` (Debian, Ubuntu) or `sudo dnf install shadow-utils`",
                );
        }
        if overlapping(&self.lines).is_some() {
            return overlap(&self.lines);
        }
        if self.is_allowed(before) == Some(false) {
            return self.not_allowed(before);
        }
        Refusal::new("map::helper_refused", format!("`{helper}` could not write the map"))
            .why("it has lost its set-user-ID bit, or runs where that does nothing")
            .help(format!(
                "`ls -l $(command -v {helper})` should show `-rwsr-xr-x`; reinstall the package"
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn line(inside: u32, outside: u32, count: u32) -> Line {
        Line { inside, outside, count }
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        assert_eq!(overlapping(&[line(0, 1000, 1), line(1, 100_000, 65_536)]), None);
    }

    #[test]
    fn ranges_that_share_an_id_outside_overlap() {
        let lines = [line(0, 100_000, 1), line(1, 100_000, 2)];
        assert_eq!(overlapping(&lines), Some((lines[0], lines[1])));
    }
}
