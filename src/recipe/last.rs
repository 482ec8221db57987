//! The last steps of a plan: where the command starts, who stays behind as
//! init, and the command itself.

use std::ffi::OsString;

use crate::{
    diagnostic::Refusal,
    host::Host,
    layers::{Layer, Word},
    ops::{ChangeDirectory, EnterTime, Execute, StayAsInit, no_way_into_time},
    plan::Planner,
    sys::KernelPath,
    yaml,
};

use super::{Course, Recipe, Run, place};

/// What a recipe without a command runs, if the caller has no shell.
const SHELL: &str = "/bin/sh";

impl Recipe {
    /// The last `pid` layer that a run takes, if it wants an init.
    pub(super) fn init(&self, course: &Course) -> Option<usize> {
        let mut taken = self.taken(course).rev();
        taken
            .find_map(|(index, layer)| match layer {
                Layer::Pid(pid) => Some((index, pid.init)),
                _ => None,
            })
            .and_then(|(index, init)| init.then_some(index))
    }

    /// From here on steps are about the command, and init stays behind.
    pub(super) fn stay_as_init(&self, planner: &mut Planner, init: &mut Option<usize>) {
        let Some(layer) = init.take() else { return };
        planner.enter(yaml::Path::root().key("layers").index(layer).key("pid"));
        planner.at("init").step(StayAsInit);
    }

    /// Only a child enters a time namespace; where none is made for another
    /// reason, one is made for that.
    pub(super) fn enter_time(&self, planner: &mut Planner, run: &Run) {
        if planner.model().time.for_children.is_none() {
            return;
        }
        let mut taken = self.taken(&run.course).rev();
        if let Some((index, layer)) = taken.find(|(_, layer)| matches!(layer, Layer::Time(_))) {
            planner.enter(place(index, layer));
        }
        match planner.model().is_init {
            true => planner.refuse(no_way_into_time()),
            false => planner.step(EnterTime),
        }
    }

    /// What is left to do before the command, but for giving up rights.
    pub(super) fn settle(&self, planner: &mut Planner, run: &Run, init: &mut Option<usize>) {
        let root = yaml::Path::root();
        // Where it starts may lie behind the layers that are left out.
        if let Some(cwd) = self.cwd.as_ref().filter(|_| !run.course.is_cut_short()) {
            planner.enter(root.key("cwd"));
            let cwd = planner.path(cwd.as_path());
            planner.step(ChangeDirectory(KernelPath::new(cwd)));
        }
        self.stay_as_init(planner, init);
        self.enter_time(planner, run);
    }

    pub(super) fn finish(&self, planner: &mut Planner, run: &Run) {
        let root = yaml::Path::root();
        planner.enter(root.key("no_new_privs"));
        planner.no_new_privs();
        // What was typed, or taken for granted, stands nowhere in the file.
        let own = self.own_command(run);
        let is_written = run.command.is_empty() && own.is_some();
        planner.enter(if is_written { root.key("command") } else { root });
        let execute = self.execution(run, planner.host());
        planner.step(execute);
        self.keep_outlet_out_of_sight(planner);
    }

    /// The command of a run, with its environment.
    pub fn execution(&self, run: &Run, host: &Host) -> Execute {
        let environment = self.environment(run);
        let path =
            environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        let execute = Execute::new(&self.command(run, host), environment, path.as_deref());
        let is_given = !run.command.is_empty() || self.own_command(run).is_some();
        if is_given { execute } else { execute.by_default() }
    }

    /// Who could take hold of the program that leads the network out would have the host's.
    fn keep_outlet_out_of_sight(&self, planner: &mut Planner) {
        let model = planner.model();
        if model.outlet.is_none() || !model.sees_host_processes() {
            return;
        }
        let is_net = |(_, layer): &(usize, &Layer)| layer.name() == "net";
        if let Some((index, layer)) = self.layers.iter().enumerate().rfind(is_net) {
            planner.enter(place(index, layer));
        }
        planner.refuse(in_sight());
    }

    fn command(&self, run: &Run, host: &Host) -> Vec<OsString> {
        if !run.command.is_empty() {
            return run.command.clone();
        }
        match self.own_command(run) {
            Some(words) => words.iter().map(|word| word.0.clone().into()).collect(),
            None => vec![host.caller.shell.clone().unwrap_or_else(|| SHELL.into()).into()],
        }
    }

    /// What the recipe would run: behind half of its layers, a shell to look around instead.
    fn own_command(&self, run: &Run) -> Option<&Vec<Word>> {
        self.command.as_ref().filter(|_| !run.course.is_cut_short())
    }

    /// Inherited variables, those that the recipe sets over them, and those of the run over all.
    fn environment(&self, run: &Run) -> Vec<(OsString, OsString)> {
        let is_run_s = |name: &OsString| run.variables.iter().any(|(own, _)| own == name);
        let passes = |name: &OsString| {
            !self.clear_env || self.pass_env.iter().any(|passed| name == passed.as_str())
        };
        let is_set =
            |name: &OsString| name.to_str().is_some_and(|name| self.env.contains_key(name));
        let inherited =
            run.environment.iter().filter(|(name, _)| passes(name) && !is_set(name)).cloned();
        let set = self.env.iter().map(|(name, value)| (name.into(), value.0.clone().into()));
        let before = inherited.chain(set).filter(|(name, _)| !is_run_s(name));
        before.chain(run.variables.iter().cloned()).collect()
    }
}

fn in_sight() -> Refusal {
    Refusal::new("net::program_in_sight", "the sandbox could take hold of `pasta`")
        .why("it sees the processes of the host, and its root may do all to this one")
        .help("have a PID namespace with its own `/proc`: `pid: {proc: true}`, or a `root` layer behind `pid`")
        .wants("pid")
}
