//! A recipe as a shell script: the hands-on's own commands.
//!
//! The steps of the plan are said one after the other. What `unshare(1)` does
//! in one go is gathered first; what comes after it is a script of its own,
//! which the program behind `unshare` runs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    model::{Answer, Model, Slot},
    ops::{MountImage, Op},
    plan::{Plan, Step},
    recipe::{Recipe, Run},
    sys::Namespace,
    yaml::Segment,
};

mod command;
mod comment;
mod image;
mod limits;
mod mounts;
mod names;
mod order;
mod rights;
mod roots;
mod text;
mod tools;
mod unshare;
mod words;

use command::Command;
use rights::Rights;
use roots::Held;
use text::{Level, Line};
use unshare::Unshare;
use words::Words;

use super::Export;

/// The plan of a recipe as a POSIX shell script, with a comment for each layer
/// if wished for.
///
/// # Errors
/// What a shell cannot say; nothing where the plan itself is forbidden.
pub fn to_sh(
    recipe: &Recipe,
    run: &Run,
    plan: &Plan,
    has_comments: bool,
) -> Result<Export, Vec<Diagnostic>> {
    let mut writer = Writer::new(recipe, run, plan, has_comments);
    writer.write();
    let is_forbidden = !plan.prohibitions.is_empty() || !plan.leaks.is_empty();
    match is_forbidden || !writer.refusals.is_empty() {
        true => Err(writer.refusals),
        false => Ok(Export { text: text::text(&writer.levels), warnings: writer.warnings }),
    }
}

/// The script as it grows.
struct Writer<'a> {
    command: Command<'a>,
    plan: &'a Plan,
    has_comments: bool,
    /// The state before the step that is said
    model: Model,
    /// That step and those after it
    to_come: VecDeque<usize>,
    levels: Vec<Level>,
    /// What stands before the next program that is started
    prefix: Words,
    unshare: Unshare,
    rights: Rights,
    /// A shell that is no longer root has lost what the steps would still have
    is_powerless: bool,
    /// no_new_privs is set already
    is_given_up: bool,
    stays: bool,
    /// Where the old root is, after a pivot that keeps it
    old_root: Option<PathBuf>,
    has_pivoted: bool,
    held: BTreeMap<Slot, Held>,
    images: BTreeMap<Slot, &'a MountImage>,
    /// Steps that the script has taken before
    taken: BTreeSet<usize>,
    commented: BTreeSet<usize>,
    refusals: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Writer<'a> {
    fn new(recipe: &'a Recipe, run: &'a Run, plan: &'a Plan, has_comments: bool) -> Self {
        Self {
            command: Command { recipe, run },
            plan,
            has_comments,
            model: plan.start.clone(),
            to_come: VecDeque::new(),
            levels: vec![Level::default()],
            prefix: Words::default(),
            unshare: Unshare::default(),
            rights: Rights::default(),
            is_powerless: false,
            is_given_up: false,
            stays: false,
            old_root: None,
            has_pivoted: false,
            held: BTreeMap::new(),
            images: BTreeMap::new(),
            taken: BTreeSet::new(),
            commented: BTreeSet::new(),
            refusals: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn write(&mut self) {
        if let Some(about) = comment::of_recipe(self.command.recipe).filter(|_| self.has_comments) {
            self.push(Words::of(&about));
        }
        self.refusals.extend(self.command.unsayable());
        self.mount_images();
        self.to_come = order::order(self.plan).into();
        while let Some(&index) = self.to_come.front() {
            let Some(step) = self.plan.steps.get(index) else { break };
            if !self.taken.contains(&index) {
                self.say(step);
            }
            let operation = step.op.operation();
            match step.answer {
                Answer::No(_) => operation.intend(&mut self.model),
                _ => operation.effect(&mut self.model),
            }
            self.to_come.pop_front();
        }
    }

    fn say(&mut self, step: &'a Step) {
        if self.unshare.takes(step) {
            return self.comment(step);
        }
        self.start(step);
        // Whether there is anything to say of it yet is not known before.
        if !matches!(step.op, Op::HoldSource(_)) {
            self.comment(step);
        }
        if self.unshare.takes(step) {
            return;
        }
        if let Some(refusal) = self.limit(step) {
            return self.refuse(refusal, step);
        }
        match &step.op {
            Op::Become(who) => {
                self.rights.become_user(who, self.model.process.capabilities.are_kept)
            }
            Op::KeepCapabilities(_) | Op::TakeUpCapabilities(_) => {}
            Op::LimitCapabilities(limit) => self.rights.limit_capabilities(limit),
            Op::SetLimit(set) => self.rights.limit(set),
            Op::MountImage(image) => drop(self.images.insert(image.slot, image)),
            Op::NoNewPrivileges(_) => self.rights.no_new_privs = !self.is_given_up,
            Op::StayAsInit(_) => self.stay(step),
            Op::HoldSource(held) => self.hold(held, step),
            Op::Bind(bind) => self.bind(bind, step),
            Op::Mask(mask) => self.mask(mask, step),
            Op::PlaceDevice(device) => self.device(device, step),
            Op::Restrict(restrict) => self.restrict(restrict, step),
            Op::PivotRoot(pivot) => self.pivot(pivot),
            Op::Execute(_) => self.finish(step),
            _ => self.lines(step).into_iter().for_each(|line| self.line(line)),
        }
    }

    /// Why the tools cannot do what the kernel would.
    fn limit(&self, step: &Step) -> Option<Refusal> {
        let is_late = self.is_powerless && step.needs.is_some();
        let limit = limits::of(step, &self.model).or(is_late.then(limits::no_capabilities));
        limit.or_else(|| match self.has_pivoted {
            true => tools::missing(step, &self.model, self.command.search_path()),
            false => None,
        })
    }

    /// Steps that are lines, and nothing else.
    fn lines(&self, step: &Step) -> Vec<Words> {
        match &step.op {
            Op::BringLoopbackUp(_) => vec![Words::of("ip link set lo up")],
            Op::SetHostname(name) => vec![Words::of("hostname").word(&name.0)],
            // A name may begin like an option.
            Op::SetDomainname(name) => vec![Words::of("domainname --").word(&name.0)],
            Op::SetPropagation(set) => vec![mounts::propagation(set.0)],
            Op::ForbidNested(_) => {
                vec![Words::of("echo 0 >/proc/sys/user/max_user_namespaces")]
            }
            Op::MountNew(new) => vec![mounts::new(new, None)],
            Op::MountOverlay(overlay) => vec![mounts::overlay(overlay)],
            Op::MakeDirectory(made) => mounts::directory(made),
            Op::MakeFile(made) => names::file(made),
            Op::MakeLink(made) => vec![names::link(made)],
            Op::RemoveDirectory(removed) => {
                vec![Words::of("rmdir").word(removed.path.as_path())]
            }
            Op::DetachMount(detached) => vec![Words::of("umount -l").word(detached.at.as_path())],
            Op::ChangeDirectory(to) => vec![Words::of("cd").word(to.0.as_path())],
            Op::AttachImage(attached) => {
                let image = self.images.get(&attached.slot);
                image.map(|image| mounts::image(image, attached.at.as_path())).into_iter().collect()
            }
            // Each has been said or refused in `say`, or said by `unshare`.
            Op::AllowFiles(_)
            | Op::AllowPort(_)
            | Op::Become(_)
            | Op::Bind(_)
            | Op::DenySetgroups(_)
            | Op::EnterGroup(_)
            | Op::EnterTime(_)
            | Op::Execute(_)
            | Op::Fork(_)
            | Op::HelperMap(_)
            | Op::HoldSource(_)
            | Op::InstallFilter(_)
            | Op::Mask(_)
            | Op::KeepCapabilities(_)
            | Op::LimitCapabilities(_)
            | Op::MakeRuleset(_)
            | Op::MountImage(_)
            | Op::NewNamespace(_)
            | Op::NoNewPrivileges(_)
            | Op::PivotRoot(_)
            | Op::PlaceDevice(_)
            | Op::Restrict(_)
            | Op::RestrictSelf(_)
            | Op::ServeImage(_)
            | Op::SetClocks(_)
            | Op::SetLimit(_)
            | Op::StayAsInit(_)
            | Op::TakeUpCapabilities(_)
            | Op::UnpackImage(_)
            | Op::WriteMap(_) => Vec::new(),
        }
    }

    /// A command of the shell that is there by now.
    fn line(&mut self, words: Words) {
        self.give_up_rights();
        if !self.prefix.is_empty() {
            let opening = std::mem::take(&mut self.prefix);
            self.levels.push(Level::behind(opening));
        }
        self.push(words);
    }

    /// What was to be given up is, by the next program that is started.
    fn give_up_rights(&mut self) {
        self.is_powerless |= self.rights.leaves_root();
        self.prefix = std::mem::take(&mut self.prefix).then(self.rights.take());
    }

    fn push(&mut self, words: Words) {
        if let Some(level) = self.levels.last_mut() {
            level.push(words);
        }
    }

    fn comment(&mut self, step: &Step) {
        let [Segment::Key(_), Segment::Index(index), ..] = step.origin.segments() else { return };
        let Some(layer) = self.command.recipe.layers.get(*index) else { return };
        if self.has_comments && self.commented.insert(*index) {
            self.push(Words::of(&comment::of_layer(*index, layer)));
        }
    }

    /// Starts what has been gathered for `unshare`.
    fn start(&mut self, next: &Step) {
        if self.unshare.is_empty() {
            return;
        }
        self.give_up_rights();
        let unshare = std::mem::take(&mut self.unshare);
        let loses = unshare.makes_user() && self.loses_capabilities();
        let keeps = loses && unshare.outside().is_empty();
        if loses && !keeps {
            self.refuse(limits::no_capabilities(), next);
        }
        self.rights.kept_capabilities |= keeps;
        let prefix = std::mem::take(&mut self.prefix);
        let words = prefix.clone().then(unshare.words(keeps));
        if unshare.outside().is_empty() {
            self.levels.push(Level::behind(words));
            return;
        }
        // A process keeps the namespace until its maps are there: Console 2 writes them.
        let keeper = words.raw("sh -c \"echo \\$\\$; exec sleep 60 >/dev/null\" &");
        self.push(Words::output_of(keeper, "holder"));
        self.push(Words::of("trap \"kill \\$holder\" EXIT"));
        unshare.outside().iter().for_each(|line| self.push(line.clone()));
        let mut level = Level::behind(prefix.then(unshare.enter()));
        level.arguments = Words::of("sh \"$holder\"");
        level.push(Words::of("kill \"$1\""));
        self.levels.push(level);
    }

    /// Whoever is not root in a new user namespace loses its capabilities there
    /// with the first `execve` (`capabilities(7)`), which the shell is; and
    /// steps to come may want them.
    fn loses_capabilities(&self) -> bool {
        let mut to_come = self.to_come.iter().filter_map(|index| self.plan.steps.get(*index));
        let is_user = |step: &&Step| step.op.namespace() == Some(Namespace::User);
        !limits::is_root(&self.model)
            && to_come.by_ref().take_while(|step| !is_user(step)).any(|step| step.needs.is_some())
    }

    fn stay(&mut self, step: &Step) {
        self.stays = true;
        self.warnings.push(limits::no_init().at(step.origin.clone()).warning());
    }

    fn finish(&mut self, step: &Step) {
        let tools = self.command.tools(&self.rights, self.stays);
        if self.has_pivoted
            && let Some(refusal) =
                tools::first_missing(&tools, &self.model, self.command.search_path())
        {
            return self.refuse(refusal, step);
        }
        let words = self.command.words(&self.rights, self.stays);
        let prefix = std::mem::take(&mut self.prefix);
        let words = prefix.then(words);
        if self.stays {
            self.push(Words::of("status=0"));
            self.push(words.raw("|| status=$?"));
            self.push(Words::of("exit \"$status\""));
            return;
        }
        if let Some(level) = self.levels.last_mut() {
            level.lines.push(Line::Become(words));
        }
    }

    fn refuse(&mut self, refusal: Refusal, step: &Step) {
        self.refusals.push(refusal.at(step.origin.clone()));
    }
}
