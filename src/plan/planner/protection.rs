//! What protective layers ask of the planner: `no_new_privs` at the place where
//! the kernel wants it first, and words for what a sandbox goes without.

use crate::{diagnostic::Refusal, ops::NoNewPrivileges};

use super::Planner;

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

    /// This is worth a line in the plan; a run does not say it.
    pub fn note(&mut self, refusal: Refusal) {
        let origin = self.origin();
        self.plan.notes.push(refusal.at(origin).warning());
    }
}
