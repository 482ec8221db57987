//! Which ids exist in a user namespace: `uid_map`, `gid_map`, `setgroups`
//! (`user_namespaces(7)`), written by the process itself, by the supervisor,
//! or by `newuidmap(1)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, Objection, UserId, capability},
    sys::{Call, Errno, Fault, look},
};

use super::{
    Evidence, Need, Operation, Stage,
    idmap::{Ids, Line, Listed, from_afar, is_written, map, not_a_range, overlap, overlapping},
    restricted_by_apparmor, unexplained, yes,
};

/// The kernel takes a map in one write, smaller than a page.
const LONGEST_MAP: usize = 4096;

/// Who writes the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The process in the namespace
    Itself,
    /// The supervisor, from outside
    Supervisor,
}

/// `deny` to `setgroups`: without it an ordinary user may map no group.
pub struct DenySetgroups {
    /// Who writes it
    pub by: Writer,
}

impl fmt::Display for DenySetgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write deny to setgroups")
    }
}

impl Operation for DenySetgroups {
    fn answer(&self, model: &Model) -> Answer {
        let namespace = model.own_user();
        if let Err(objection) = may_open(model, self.by) {
            return objection.to(Call::WriteSetgroups);
        }
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

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let failed = |errno| Call::Look.gave(errno);
        let file = stage.open_own("setgroups").map_err(failed)?;
        let mut found = [0; 16];
        let length = look::read(&file, &mut found).map_err(failed)?;
        match found.get(..length).unwrap_or_default() {
            b"deny\n" => Ok(()),
            found => Err(stage.lie(Call::WriteSetgroups, found)),
        }
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

    /// The call that it is about.
    pub fn call(&self) -> Call {
        self.ids.call()
    }

    /// Which of the two maps.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// What is in it.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Who writes it.
    pub fn writer(&self) -> Writer {
        self.by
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Err(Answer::No(self.ids.call().gave(errno)));
        let namespace = model.own_user();
        if namespace.is_presumed {
            return Ok(());
        }
        may_open(model, self.by).map_err(|objection| objection.to(self.ids.call()))?;
        if self.is_from_afar(model) {
            return no(Errno::EPERM);
        }
        if self.text.len() >= LONGEST_MAP {
            return no(Errno::EINVAL);
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
        if not_a_range(&self.lines).is_some() || overlapping(&self.lines).is_some() {
            return no(Errno::EINVAL);
        }
        if !self.is_permitted(model) || self.unmapped_outside(model).is_some() {
            return no(Errno::EPERM);
        }
        Ok(())
    }

    /// A map is taken from the namespace itself or from the one around it, and
    /// from nowhere else (`proc_uid_map_write()`).
    fn is_from_afar(&self, model: &Model) -> bool {
        self.by == Writer::Supervisor && model.own_user().parent != Some(UserId::HOST)
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
            let last = line.outside.saturating_add(line.count.saturating_sub(1));
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

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        is_written(stage, self.ids, &self.lines, self.ids.call())
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        if let Some(refusal) = file_refused(fault, before) {
            return refusal;
        }
        if self.is_from_afar(before) {
            return from_afar();
        }
        if let Some(refusal) = not_a_range(&self.lines) {
            return refusal;
        }
        if self.text.len() >= LONGEST_MAP {
            return Refusal::new(
                "map::too_long",
                format!("this map has {} ranges", self.lines.len()),
            )
            .why("the kernel takes no more than fit a page of memory")
            .help("join ranges that follow each other");
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
        match (self.is_permitted(before), may_be_restricted(before)) {
            (true, true) => restricted_by_apparmor(),
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
        Errno::EACCES if is_undumpable(before) => Some(
            Refusal::new("map::not_dumpable", "isorecipe may not write its own id maps")
                .why("you cannot read its program file, so what /proc has of it is root's")
                .help("`sudo chmod a+r $(command -v isorecipe)`"),
        ),
        Errno::EACCES if may_be_restricted(before) => Some(restricted_by_apparmor()),
        _ => None,
    }
}

/// Where AppArmor restricts users, and nothing is known that excepts this one.
fn may_be_restricted(before: &Model) -> bool {
    let host = &before.host;
    host.apparmor_restricts_userns == Some(true) && host.is_restricted_by_apparmor() != Some(false)
}

/// Whether the process's own `/proc` files are root's (`proc(5)`).
fn is_undumpable(before: &Model) -> bool {
    let host = &before.host;
    let is_known = host.confinement.as_ref().and_then(|known| known.dumpable) == Some(false);
    is_known && !host.is_root()
}

/// What opening a file of the process in `/proc` says before anything else.
fn may_open(model: &Model, by: Writer) -> Result<(), Objection> {
    model.may_open_map_files()?;
    match by {
        _ if is_undumpable(model) => Err(Objection::No(Errno::EACCES)),
        Writer::Itself => model.lets_write_proc(),
        Writer::Supervisor => Ok(()),
    }
}
