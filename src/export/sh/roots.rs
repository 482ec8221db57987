//! From one root to another: the pivot, and binds of what only the old root has.

use std::path::PathBuf;

use crate::{
    model::Slot,
    ops::{Bind, HoldSource, Op, PivotRoot, Source},
    plan::Step,
};

use super::{Words, Writer, limits, mounts};

/// A source that is wanted after the pivot, and how the script will name it.
pub(super) enum Held {
    /// By its path in the old root
    Path(PathBuf),
    /// By its path in the old root, which only the script can find out
    Variable(String, usize),
}

impl Writer<'_> {
    /// Remembers a source, without a word where its path says it all.
    pub(super) fn hold(&mut self, held: &HoldSource, step: &Step) {
        let path = held.from.as_path();
        let found = self.model.walk(path).ok();
        let real = found.and_then(|found| self.model.on_host(&found));
        let held_as = if real.as_deref() == Some(path) {
            Held::Path(path.to_owned())
        } else {
            let name = format!("source{}", held.slot);
            self.comment(step);
            self.line(Words::output_of(Words::of("realpath").word(path), &name));
            Held::Variable(name, self.levels.len())
        };
        self.held.insert(held.slot, held_as);
    }

    pub(super) fn bind(&mut self, bind: &Bind, step: &Step) {
        let words = Words::of("mount --rbind");
        let words = match &bind.from {
            Source::Path(path) => Some(words.word(path.as_path())),
            Source::Slot(slot, _) => self.held_words(words, *slot),
        };
        let Some(words) = words else {
            return self.refuse(limits::held_source(), step);
        };
        let at = bind.to.as_path();
        self.line(words.word(at));
        if bind.read_only {
            let lines = mounts::read_only(at, self.has_mounts_below(&bind.from));
            lines.into_iter().for_each(|line| self.line(line));
        }
    }

    /// Whether a source has mounts inside; where nobody knows, it may have.
    fn has_mounts_below(&self, source: &Source) -> bool {
        let mut mounts = self.model.mounts.clone();
        let tree = match source {
            Source::Path(path) => {
                self.model.walk(path.as_path()).ok().map(|found| mounts.clone_tree(&found.at))
            }
            Source::Slot(slot, _) => self.model.held.get(slot).map(|held| held.tree),
        };
        tree.is_none_or(|tree| mounts.mount(tree).opaque || mounts.children(tree).next().is_some())
    }

    /// A held source as the old root has it, while that is there.
    fn held_words(&self, words: Words, slot: Slot) -> Option<Words> {
        let old = self.old_root.as_ref()?;
        match self.held.get(&slot)? {
            Held::Path(path) => Some(words.word(old.join(path.strip_prefix("/").ok()?))),
            Held::Variable(name, level) if *level == self.levels.len() => {
                Some(words.path_before(old, name))
            }
            Held::Variable(..) => None,
        }
    }

    pub(super) fn pivot(&mut self, pivot: &PivotRoot) {
        self.old_root = pivot.old.as_ref().map(|old| old.as_path().to_owned());
        self.give_up_rights_early();
        mounts::pivot(pivot).into_iter().for_each(|line| self.line(line));
        self.has_pivoted = true;
    }

    /// Sets no_new_privs for the whole of this shell: the new root need not have
    /// `setpriv`. Only the set-user-ID helpers would feel it.
    fn give_up_rights_early(&mut self) {
        let mut to_come = self.to_come.iter().filter_map(|index| self.plan.steps.get(*index));
        let is_early = !self.is_given_up
            && self.command.recipe.no_new_privs
            && !to_come.any(|step| matches!(step.op, Op::HelperMap(_)));
        if let [_, .., level] = self.levels.as_mut_slice()
            && is_early
        {
            level.opening = std::mem::take(&mut level.opening).raw("setpriv --no-new-privs");
            self.is_given_up = true;
        }
    }
}
