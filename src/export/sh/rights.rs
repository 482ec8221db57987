//! What the command gives up on its way: who it was, capabilities, limits.
//!
//! `setpriv(1)` and `prlimit(1)` do it for the program that they start, so it
//! is gathered until there is one.

use crate::{
    model::capability,
    ops::{Become, LimitCapabilities, SetLimit},
    sys::limit::UNLIMITED,
};

use super::words::Words;

/// What is given up before the next program is started.
#[derive(Clone, Default)]
pub(super) struct Rights {
    /// No program gains rights from here on
    pub no_new_privs: bool,
    /// Capabilities were kept over `execve`, for the shell only
    pub kept_capabilities: bool,
    /// Options of `prlimit`
    limits: Words,
    /// Options of `setpriv`
    options: Words,
    /// Whether a shell behind it has no rights
    leaves_root: bool,
}

impl Rights {
    /// Becomes somebody else, as long as there are the rights for it.
    pub(super) fn become_user(&mut self, who: &Become, keeps_capabilities: bool) {
        let groups = match who.groups.as_deref() {
            None => "--keep-groups".to_owned(),
            Some([]) => "--clear-groups".to_owned(),
            Some(groups) => {
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                format!("--groups={}", groups.join(","))
            }
        };
        self.option(&format!("--reuid={} --regid={} {groups}", who.uid, who.gid));
        self.leaves_root |= keeps_capabilities;
    }

    /// Drops capabilities; the program that is started has what the bounding set leaves.
    pub(super) fn limit_capabilities(&mut self, limit: &LimitCapabilities) {
        self.kept_capabilities = false;
        let only = |set: u64| match capability::names(set).replace(", ", ",+") {
            names if names.is_empty() => "-all".to_owned(),
            names => format!("-all,+{names}"),
        };
        let dropped = capability::known(!limit.keep);
        let kept = capability::known(limit.keep);
        if dropped != 0 {
            let bounding = match dropped.count_ones() < kept.count_ones() {
                true => format!("-{}", capability::names(dropped).replace(", ", ",-")),
                false => only(kept),
            };
            self.option(&format!("--bounding-set={bounding}"));
        }
        self.option(&format!("--inh-caps={}", only(limit.ambient)));
        if limit.ambient != 0 {
            self.option(&format!("--ambient-caps={}", only(limit.ambient)));
        }
    }

    /// Limits a resource.
    pub(super) fn limit(&mut self, set: &SetLimit) {
        let number = |amount: u64| match amount {
            UNLIMITED => "unlimited".to_owned(),
            amount => amount.to_string(),
        };
        let (soft, hard) = (number(set.limit.soft), number(set.limit.hard));
        let option = format!("--{}={soft}:{hard}", set.resource.name());
        self.limits = std::mem::take(&mut self.limits).raw(&option);
    }

    fn option(&mut self, option: &str) {
        self.options = std::mem::take(&mut self.options).raw(option);
    }

    /// Whether a shell behind it has lost what root had.
    pub(super) fn leaves_root(&self) -> bool {
        self.leaves_root
    }

    /// Takes what belongs before the next program, whichever it is.
    pub(super) fn take(&mut self) -> Words {
        let kept = Self { kept_capabilities: self.kept_capabilities, ..Self::default() };
        let gone = Self { kept_capabilities: false, ..std::mem::replace(self, kept) };
        self.no_new_privs = gone.no_new_privs;
        Self { no_new_privs: false, ..gone }.words()
    }

    pub(super) fn words(&self) -> Words {
        let mut options = self.options.clone();
        if self.kept_capabilities {
            // With them the kernel takes the ambient ones away (`capabilities(7)`).
            options = options.raw("--inh-caps=-all");
        }
        if self.no_new_privs {
            options = options.raw("--no-new-privs");
        }
        let with = |tool: &str, options: Words| match options.is_empty() {
            true => Words::default(),
            false => Words::of(tool).then(options),
        };
        with("prlimit", self.limits.clone()).then(with("setpriv", options))
    }

    /// The programs that do it.
    pub(super) fn tools(&self) -> Vec<&'static str> {
        let changes = !self.options.is_empty() || self.kept_capabilities || self.no_new_privs;
        let limits = (!self.limits.is_empty()).then_some("prlimit");
        limits.into_iter().chain(changes.then_some("setpriv")).collect()
    }
}
