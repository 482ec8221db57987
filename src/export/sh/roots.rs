//! From one root to another: the pivot, and binds of what only the old root has.

use std::path::PathBuf;

use crate::{
    model::Slot,
    ops::{Bind, HoldSource, Mask, Op, PivotRoot, Restrict, Source},
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
        if step.is_idle {
            return;
        }
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
        // What is skipped needs no words.
        if step.is_idle {
            return;
        }
        let words = Words::of(if bind.extent.recursive { "mount --rbind" } else { "mount --bind" });
        let Some(words) = self.source_words(words, &bind.from, step) else { return };
        let at = bind.to.as_path();
        self.line(words.word(at));
        if !bind.flags.is_empty() {
            let has_mounts_below = bind.extent.recursive && self.has_mounts_below(&bind.from);
            let lines = mounts::restrict(at, bind.flags, has_mounts_below);
            lines.into_iter().for_each(|line| self.line(line));
        }
    }

    /// The words with a source after them, which has to have a path.
    fn source_words(&mut self, words: Words, source: &Source, step: &Step) -> Option<Words> {
        let words = match source {
            Source::Path(path) => Some(words.word(path.as_path())),
            Source::Slot(slot, _) => self.held_words(words, *slot),
        };
        if words.is_none() {
            self.refuse(limits::held_source(), step);
        }
        words
    }

    pub(super) fn restrict(&mut self, restrict: &Restrict, step: &Step) {
        if step.is_idle {
            return;
        }
        let at = restrict.at.as_path();
        let mounts = &self.model.mounts;
        let has_mounts_below = self.model.walk(at).is_ok_and(|found| {
            mounts.mount(found.at.mount).opaque || mounts.children(found.at.mount).next().is_some()
        });
        let lines = mounts::restrict(at, restrict.flags, has_mounts_below);
        lines.into_iter().for_each(|line| self.line(line));
    }

    pub(super) fn mask(&mut self, mask: &Mask, step: &Step) {
        if step.is_idle {
            return;
        }
        let at = mask.at.as_path();
        let found = self.model.walk(at).ok();
        if found.and_then(|found| found.thing.is_directory()) == Some(true) {
            return self.line(mounts::empty(at));
        }
        let words = Words::of("mount --bind");
        let Some(words) = self.source_words(words, &mask.null, step) else { return };
        self.line(words.word(at));
        mounts::restrict(at, Mask::NODE, false).into_iter().for_each(|line| self.line(line));
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
