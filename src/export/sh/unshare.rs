//! What one `unshare(1)` does: namespaces at once, then a fork, maps,
//! propagation and `/proc`, in this order.

use crate::{
    model::Offsets,
    ops::{Ids, Line, Op, Writer},
    plan::{Actor, Step},
    sys::{Namespace, Propagation},
};

use super::{limits, order, words::Words};

/// The steps that one `unshare` takes.
#[derive(Default)]
pub(super) struct Unshare {
    kinds: Vec<Namespace>,
    is_forked: bool,
    uid: Option<Line>,
    gid: Option<Line>,
    denies_setgroups: bool,
    propagation: Option<Propagation>,
    clocks: Offsets,
    mounts_proc: bool,
    /// Commands of who stays outside, for `$holder`
    outside: Vec<Words>,
    /// The ids it takes on after that
    becomes: Option<(u32, u32)>,
}

impl Unshare {
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(super) fn makes_user(&self) -> bool {
        self.kinds.contains(&Namespace::User)
    }

    /// What has to be done from outside, between its birth and its first step.
    pub(super) fn outside(&self) -> &[Words] {
        &self.outside
    }

    /// Takes a step, if it can be said here.
    pub(super) fn takes(&mut self, step: &Step) -> bool {
        let has = |kind| self.kinds.contains(&kind);
        match &step.op {
            Op::NewNamespace(made) => return self.makes(made.0),
            Op::Fork(_) if has(Namespace::Pid) && !self.is_forked => self.is_forked = true,
            // It forks for that anyway.
            Op::EnterTime(_) if has(Namespace::Time) => {}
            Op::SetClocks(set) if has(Namespace::Time) && !limits::is_fine(set.offsets()) => {
                self.clocks = set.offsets();
            }
            Op::SetPropagation(set) if has(Namespace::Mount) && self.propagation.is_none() => {
                self.propagation = Some(set.0);
            }
            // With another propagation, `unshare` would take it off `/proc`.
            Op::MountNew(new) if order::is_proc(new) && self.is_private() => {
                self.mounts_proc = true;
            }
            _ => return self.maps(step),
        }
        true
    }

    fn is_private(&self) -> bool {
        self.propagation == Some(Propagation::Private) && !self.mounts_proc
    }

    fn makes(&mut self, kind: Namespace) -> bool {
        // The kernel makes the user namespace first; a `/proc` shows what was made before it.
        let is_too_late = match kind {
            Namespace::User => !self.kinds.is_empty(),
            _ => self.mounts_proc,
        };
        let takes = !is_too_late && self.outside.is_empty() && !self.kinds.contains(&kind);
        if takes {
            self.kinds.push(kind);
        }
        takes
    }

    fn maps(&mut self, step: &Step) -> bool {
        if !self.makes_user() {
            return false;
        }
        match (&step.op, step.by) {
            (Op::DenySetgroups(_), Actor::Child) => self.denies_setgroups = true,
            (Op::WriteMap(map), _) if map.writer() == Writer::Itself => {
                let own = match map.ids() {
                    Ids::User => &mut self.uid,
                    Ids::Group => &mut self.gid,
                };
                return match map.lines() {
                    [line] if own.is_none() => own.replace(*line).is_none(),
                    _ => false,
                };
            }
            // Nothing else is there before the maps are written.
            _ if self.kinds.len() > 1 => return false,
            (Op::DenySetgroups(_), Actor::Supervisor) => {
                self.outside.push(Words::of("echo deny >\"/proc/$holder/setgroups\""));
            }
            (Op::WriteMap(map), _) => {
                self.outside.push(written(map.ids(), map.lines()));
            }
            (Op::HelperMap(map), _) => {
                let words = Words::of(map.ids.helper()).raw("\"$holder\"");
                let line = |words: Words, line: &Line| words.raw(&line.to_string());
                self.outside.push(map.lines.iter().fold(words, line));
            }
            (Op::Become(own), _)
                if !self.outside.is_empty() && own.groups.as_ref().is_some_and(Vec::is_empty) =>
            {
                self.becomes = Some((own.uid, own.gid));
            }
            _ => return false,
        }
        true
    }

    /// The command and its options; the program to start follows.
    pub(super) fn words(&self, keeps_capabilities: bool) -> Words {
        let mut words = Words::of("unshare");
        let has = |kind| self.kinds.contains(&kind);
        let mut option = |is_on: bool, option: &str| {
            if is_on {
                words = std::mem::take(&mut words).raw(option);
            }
        };
        option(has(Namespace::User), "--user");
        for map in self.map_options() {
            option(true, &map);
        }
        option(keeps_capabilities, "--keep-caps");
        option(has(Namespace::Uts), "--uts");
        option(has(Namespace::Ipc), "--ipc");
        option(has(Namespace::Network), "--net");
        option(has(Namespace::Cgroup), "--cgroup");
        option(has(Namespace::Pid), "--pid");
        option(has(Namespace::Time), "--time");
        let clocks = [("monotonic", self.clocks.monotonic), ("boottime", self.clocks.boottime)];
        for (name, offset) in clocks {
            let seconds = offset.map_or(0, |offset| offset.seconds);
            option(offset.is_some(), &format!("--{name}={seconds}"));
        }
        // Kernels differ whether a program that is started enters; a child always does.
        option(self.is_forked || has(Namespace::Time), "--fork");
        option(has(Namespace::Mount) && !self.mounts_proc, "--mount");
        option(self.mounts_proc, "--mount-proc");
        if has(Namespace::Mount) {
            option(self.propagation != Some(Propagation::Private), self.propagation_option());
        }
        words
    }

    fn propagation_option(&self) -> &'static str {
        match self.propagation {
            Some(Propagation::Private) => "--propagation private",
            Some(Propagation::Slave) => "--propagation slave",
            Some(Propagation::Shared) => "--propagation shared",
            None => "--propagation unchanged",
        }
    }

    /// `unshare` maps the caller's own ids, and denies setgroups with a group.
    fn map_options(&self) -> Vec<String> {
        let inside = |line: Option<Line>| line.map(|line| line.inside);
        let is_itself = |line: Option<Line>| line.is_some_and(|line| line.inside == line.outside);
        let mut options = match (inside(self.uid), inside(self.gid)) {
            (Some(0), Some(0)) => vec!["--map-root-user".to_owned()],
            _ if is_itself(self.uid) && is_itself(self.gid) => {
                vec!["--map-current-user".to_owned()]
            }
            (uid, gid) => {
                let uid = uid.map(|id| format!("--map-user={id}"));
                uid.into_iter().chain(gid.map(|id| format!("--map-group={id}"))).collect()
            }
        };
        match (self.gid, self.denies_setgroups) {
            (None, true) => options.push("--setgroups=deny".to_owned()),
            (Some(_), false) => options.push("--setgroups=allow".to_owned()),
            _ => {}
        }
        options
    }

    /// How to enter the namespace that `$holder` keeps.
    pub(super) fn enter(&self) -> Words {
        let words = Words::of("nsenter");
        let words = match self.becomes {
            Some((uid, gid)) => words.raw(&format!("--setuid={uid} --setgid={gid}")),
            None => words.raw("--preserve-credentials"),
        };
        words.raw("--user=\"/proc/$holder/ns/user\"")
    }
}

/// The kernel takes a map in one `write(2)`; a shell's own `printf` may write
/// line by line.
fn written(ids: Ids, lines: &[Line]) -> Words {
    let words = lines
        .iter()
        .fold(Words::of("env printf \"%s\\n\""), |words, line| words.raw(&format!("\"{line}\"")));
    words.raw(&format!(">\"/proc/$holder/{}\"", ids.file()))
}
