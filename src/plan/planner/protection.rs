//! What protective layers ask of the planner: `no_new_privs` at the place where
//! the kernel wants it first, and words for what a sandbox goes without.

use std::time::Duration;

use crate::{
    diagnostic::Refusal,
    model::Answer,
    ops::{NoNewPrivileges, Op},
    sys::seccomp,
};

use super::{super::Terminal, Planner};

impl Planner {
    /// Whether the recipe wants `no_new_privs` at all.
    pub fn wants_no_new_privs(&mut self, is_wanted: bool) {
        self.wants_no_new_privs = is_wanted;
    }

    /// Sets `no_new_privs` here, if the recipe wants it and no step before has.
    ///
    /// A layer that takes rights away asks for it right before its own steps:
    /// without it the kernel wants `CAP_SYS_ADMIN`, so that nobody can take
    /// rights from a set-user-ID program (`seccomp(2)`, `landlock_restrict_self(2)`).
    pub fn no_new_privs(&mut self) {
        if !self.wants_no_new_privs {
            return;
        }
        self.wants_no_new_privs = false;
        self.step(NoNewPrivileges);
    }

    /// Whether the machine is known to filter no system calls.
    pub fn has_no_filters(&self) -> bool {
        match &self.host().confinement {
            Some(known) => known.bounding.is_some() && known.seccomp.is_none(),
            None => self.is_live && seccomp::is_filtered() == Err(crate::sys::Errno::EINVAL),
        }
    }

    /// Under a filter of the recipe's own that denies what steps may call, the
    /// answer to one is open, and such a recipe is refused. Filters themselves
    /// and the command know what is said to theirs.
    pub(super) fn held_back(&mut self, op: &Op) -> Option<Answer> {
        if let Op::InstallFilter(_) = op {
            self.filter.get_or_insert_with(|| self.layer.clone());
            return None;
        }
        if let Op::Execute(_) = op {
            return None;
        }
        let call = self.model.process.held_back()?;
        let late = self.layer.clone();
        let refusal = Refusal::new("seccomp::not_last", "this filter is in the way of later steps")
            .why(format!("it may deny `{call}`, and isorecipe still makes such calls"))
            .help("put the `seccomp` layer last")
            .also(late, "this comes after it");
        let place = self.filter.clone();
        let layer = place.map(|place| std::mem::replace(&mut self.layer, place));
        let origin = self.place.take();
        self.refuse(refusal);
        self.place = origin;
        if let Some(layer) = layer {
            self.layer = layer;
        }
        Some(Answer::KernelDecides)
    }

    /// Which terminal the command has.
    pub fn terminal(&mut self, terminal: Terminal) {
        self.plan.terminal = terminal;
    }

    /// The supervisor ends a command that takes longer.
    pub fn limit_time(&mut self, time: Option<Duration>) {
        self.plan.watched.limit_time(time);
    }

    /// The supervisor passes on what is printed, and ends a command that prints more.
    pub fn limit_output(&mut self, bytes: Option<u64>) {
        let watched = &mut self.plan.watched;
        watched.output = [watched.output, bytes].into_iter().flatten().min();
    }

    /// Nothing limits this, although it was to be; in words for the plan.
    pub fn goes_unlimited(&mut self, what: String) {
        self.plan.watched.unlimited.push(what);
    }

    /// This is worth a line in the plan; a run does not say it.
    pub fn note(&mut self, refusal: Refusal) {
        let origin = self.origin();
        self.plan.notes.push(refusal.at(origin).warning());
    }
}
