//! A recipe file: read with all its mistakes, located, planned.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::{Diagnostic, Refusal, Source, typed},
    host::Host,
    layers::{Layer, Place, Word},
    ops::{DetachMount, RemoveDirectory},
    plan::{MadeByRecipe, Plan, Planner, Terminal, Wanted},
    sys::KernelPath,
    yaml::{self, Mistake, Part, Tree},
};

mod course;
mod document;
mod image;
mod last;
mod order;
mod rewrite;
mod words;

pub use course::{Course, Run, Wishes};
pub use document::Document;
pub use image::{Copy, Filesystem, Image, LEAST_XFS, Owner};
pub use order::{Move, Order};

use words::{FORMAT, check_format, say_of_recipes};

/// Facts lead to further questions, but not often in a row.
const MAX_ROUNDS: usize = 64;

/// A sandbox definition: layers of isolation, and the command that runs in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "isorecipe recipe")]
pub struct Recipe {
    /// The number of the format: 1. It comes first.
    #[schemars(extend("const" = FORMAT))]
    pub isorecipe: u32,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Word>")]
    pub name: Option<String>,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Word>")]
    pub about: Option<String>,
    /// Layers of isolation, applied in this order.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// How its lower image is made: `isorecipe build` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What to run, if the command line names nothing; your shell otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1))]
    pub command: Option<Vec<Word>>,
    /// Environment variables, over the inherited ones.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, Word>,
    /// Start from an empty environment.
    #[serde(default)]
    pub clear_env: bool,
    /// Variables that stay though `clear_env` is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Word>")]
    pub pass_env: Vec<String>,
    /// The directory the command starts in: yours otherwise, `/` after a pivot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Place>,
    /// Which terminal the command has, if it is started on one.
    #[serde(default, skip_serializing_if = "Terminal::is_default")]
    pub terminal: Terminal,
    /// No program inside can gain rights (set-user-ID and the like).
    #[serde(default = "on")]
    pub no_new_privs: bool,
    /// Look at the whole sandbox before its command runs, and run it only if all is as asked.
    #[serde(default)]
    pub verify: bool,
    /// The folder of the file: where relative paths start.
    #[serde(skip)]
    pub folder: PathBuf,
    /// How messages call the file, where there is one.
    #[serde(skip)]
    pub called: Option<String>,
}

fn on() -> bool {
    true
}

impl Recipe {
    /// Reads a recipe and finds all its mistakes; relative paths in it start
    /// in `folder`, and messages call it `name`.
    pub fn read(
        bytes: &[u8],
        name: &str,
        folder: &Path,
    ) -> (Option<Recipe>, Document, Vec<Diagnostic>) {
        let mut mistakes = Vec::new();
        let tree = yaml::parse(bytes, &mut mistakes);
        let recipe = tree.as_ref().and_then(|tree| {
            check_format(tree, &mut mistakes);
            yaml::read::<Recipe>(&tree.root, &yaml::Path::root(), &mut mistakes)
        });
        if let (Some(recipe), Some(tree)) = (&recipe, &tree) {
            recipe.check(tree, &mut mistakes);
        }
        let source = Arc::new(Source::new(name, String::from_utf8_lossy(bytes)));
        for mistake in &mut mistakes {
            say_of_recipes(mistake, source.text());
        }
        let recipe = recipe.filter(|_| mistakes.is_empty()).map(|recipe| Recipe {
            folder: folder.to_owned(),
            called: Some(name.to_owned()),
            ..recipe
        });
        let diagnostics =
            mistakes.into_iter().map(|mistake| Diagnostic::mistake(mistake, &source)).collect();
        (recipe, Document { source, tree }, diagnostics)
    }

    /// What no type can say.
    fn check(&self, tree: &Tree, mistakes: &mut Vec<Mistake>) {
        let mut mistake = |path: yaml::Path, part, code, message: &str, why: &str, help: &str| {
            let span = tree.locate(&path, part);
            mistakes.push(Mistake::new(code, message).at(path, span).why(why).help(help));
        };
        if self.command.as_ref().is_some_and(Vec::is_empty) {
            mistake(
                yaml::Path::root().key("command"),
                Part::Key,
                "command::empty",
                "this command has no words",
                "the first word is the program",
                "write `command: [bash]`, or leave `command` out for your shell",
            );
        }
        if let Some(image) = &self.image {
            image.check(&mut mistake);
        }
        let names =
            self.env.keys().map(|name| (yaml::Path::root().key("env").key(name), Part::Key, name));
        let passed = self.pass_env.iter().enumerate().map(|(index, name)| {
            let path = yaml::Path::root().key("pass_env").index(index);
            (path, Part::Value, name)
        });
        for (path, part, name) in names.chain(passed) {
            if name.is_empty() || name.contains(['=', '\0']) {
                mistake(
                    path,
                    part,
                    "env::not_a_name",
                    "this cannot be the name of a variable",
                    "a name has a letter, and no `=` or NUL",
                    "write the value behind a colon: `env: {LANG: C.UTF-8}`",
                );
            }
        }
    }

    /// The recipe as YAML, for one that was made in Rust code.
    ///
    /// # Errors
    /// None for a recipe; the writer's otherwise.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }

    /// Plans the recipe for what is known of a host, and for nothing else.
    pub fn plan(&self, host: Rc<Host>, run: &Run) -> Plan {
        let names = self.taken(&run.course).map(|(index, layer)| place(index, layer)).collect();
        let mut planner = Planner::new(host, self.folder.clone(), names, run.is_live);
        planner.leaves_out(self.left_out(&run.course));
        planner.wants_no_new_privs(self.no_new_privs);
        planner.terminal(self.terminal);
        if let Some(image) = &self.image {
            let file = planner.source_path(image.file.as_path());
            let command = image.build_command(self.called.as_deref(), planner.host());
            planner.makes(MadeByRecipe { file, command });
        }
        let mounts = |(_, layer): &(usize, &Layer)| layer.layer().mounts();
        let last_mount = self.taken(&run.course).rfind(mounts).map(|(index, _)| index);
        let setup = self.taken(&run.course).rfind(|(_, layer)| !layer.layer().ends_setup());
        let setup = setup.map(|(index, _)| index);
        let mut is_settled = false;
        let mut init = self.init(&run.course);
        let mut done = None;
        for (index, layer) in self.taken(&run.course) {
            let here = place(index, layer);
            self.pause(&mut planner, run, done, Some(index));
            if is_new_root(layer) {
                planner.enter(here.clone());
                planner.hold_sources(self.later_sources(index, &run.course));
            }
            if layer.layer().is_for_command() {
                if init.is_some_and(|pid| pid < index) {
                    self.stay_as_init(&mut planner, &mut init);
                }
                self.enter_time(&mut planner, run);
            }
            if !is_settled && setup.is_none_or(|last| index > last) {
                self.settle(&mut planner, run, &mut init);
                is_settled = true;
            }
            planner.enter(here);
            layer.layer().plan(&mut planner);
            if last_mount.is_some_and(|last| index >= last) {
                drop_old_root(&mut planner);
            }
            done = Some(index);
        }
        self.pause(&mut planner, run, done, None);
        if !is_settled {
            self.settle(&mut planner, run, &mut init);
        }
        self.finish(&mut planner, run);
        planner.finish()
    }

    /// Between two layers, if the run pauses there.
    fn pause(&self, planner: &mut Planner, run: &Run, done: Option<usize>, next: Option<usize>) {
        let path = |index: usize| self.layers.get(index).map(|layer| place(index, layer));
        if run.course.pauses_after(done) {
            planner.pause(done.and_then(path), next.and_then(path));
        }
    }

    /// Plans with every fact of this machine that the recipe asks for.
    pub fn plan_knowing(&self, host: Host, run: &Run) -> Plan {
        self.plan_learning(host, run).0
    }

    /// The same, and the host with all that was asked for. A recorded host is
    /// not asked.
    pub fn plan_learning(&self, mut host: Host, run: &Run) -> (Plan, Host) {
        let mut plan = self.plan(Rc::new(host.clone()), run);
        for _ in 0..MAX_ROUNDS {
            let asked = plan.take_asked();
            if asked.is_empty() || !run.is_live {
                break;
            }
            host.paths.extend(asked.into_iter().map(|path| {
                let fact = Host::look_at(&path);
                (path, fact)
            }));
            plan = self.plan(Rc::new(host.clone()), run);
        }
        (plan, host)
    }

    /// What the layers after a pivot, up to the next one, need of the old tree.
    fn later_sources(&self, pivot: usize, course: &Course) -> Vec<(yaml::Path, Wanted)> {
        self.taken(course)
            .filter(|(index, _)| *index > pivot)
            .take_while(|(_, layer)| !is_new_root(layer))
            .flat_map(|(index, layer)| {
                let at = place(index, layer);
                layer.layer().sources().into_iter().map(move |wanted| (at.clone(), wanted))
            })
            .collect()
    }
}

/// Whether it leaves the old tree behind.
fn is_new_root(layer: &Layer) -> bool {
    matches!(layer, Layer::PivotRoot(_) | Layer::Root(_))
}

/// Where a layer stands.
fn place(index: usize, layer: &Layer) -> yaml::Path {
    yaml::Path::root().key("layers").index(index).key(layer.name())
}

/// The old root goes after the last layer that could still need it.
fn drop_old_root(planner: &mut Planner) {
    let Some((old, origin)) = planner.take_old_root() else {
        return;
    };
    planner.enter(origin);
    planner.step(DetachMount { at: KernelPath::new(&old) });
    planner.step(RemoveDirectory { path: KernelPath::new(&old) });
}

/// The caller's own directory, where relative paths would start, is gone.
pub fn nowhere(error: &std::io::Error) -> Diagnostic {
    Refusal::new("recipe::nowhere", "the current directory cannot be named")
        .why(error.to_string())
        .help("go to one that exists: `cd`")
        .at(yaml::Path::root())
}

/// An error about the recipe as a whole, before there is a place in it.
pub fn unreadable(name: &str, error: &std::io::Error) -> Diagnostic {
    let refusal = match error.kind() {
        std::io::ErrorKind::NotFound => {
            Refusal::new("recipe::missing", format!("there is no recipe {name}"))
                .why("no such file")
                .help(match Path::new("recipes").is_dir() {
                    true => "`ls recipes` shows the ones that come with isorecipe",
                    false => "`pwd` shows where you are, `ls` what is there",
                })
        }
        std::io::ErrorKind::PermissionDenied => {
            Refusal::new("recipe::hidden", format!("you may not read {name}"))
                .why("its permission bits or those of a directory above do not let you")
                .help(format!("`namei -l {}` shows which", typed(name)))
        }
        std::io::ErrorKind::IsADirectory => {
            Refusal::new("recipe::is_directory", format!("{name} is a directory"))
                .why("a recipe is one file")
                .help(format!("name a file in it: `ls {}`", typed(name)))
        }
        _ => Refusal::new("recipe::unreadable", format!("{name} cannot be read"))
            .why(error.to_string())
            .help("check the file"),
    };
    refusal.at(yaml::Path::root())
}
