//! A plan for people and for programs: its steps, and the sandbox at the end.

use std::path::Path;

use serde::Serialize;

use crate::{
    diagnostic::{Diagnostic, Record},
    model::{Answer, Filesystem, Model, capability},
    plan::{Actor, Plan, Step},
    recipe::{Document, Recipe},
    sys::Namespace,
    yaml::spelled_out,
};

use super::{plan::problems, within};

/// Of what is not isolated.
const HOSTS: &str = "the host's";

/// What `isorecipe plan` prints.
#[derive(Serialize)]
pub(super) struct Report {
    recipe: String,
    name: Option<String>,
    about: Option<String>,
    works: bool,
    steps: Vec<Row>,
    sandbox: Sandbox,
    problems: Vec<Record>,
}

#[derive(Serialize)]
struct Row {
    step: usize,
    by: &'static str,
    what: String,
    path: String,
    line: Option<usize>,
    needs: Option<Needs>,
    answer: &'static str,
    call: Option<&'static str>,
    errno: Option<String>,
}

#[derive(Serialize)]
struct Needs {
    capability: &'static str,
    over: &'static str,
    has: bool,
}

/// What the command will be, have, and reach.
#[derive(Serialize)]
struct Sandbox {
    namespaces: Vec<Own>,
    uid: u32,
    gid: u32,
    host_uid: u32,
    host_gid: u32,
    hostname: Option<String>,
    pid_1: &'static str,
    no_new_privs: bool,
    root: &'static str,
    mounts: Vec<Seen>,
    can_read: String,
    can_write: Vec<String>,
    shared_with_host: Vec<&'static str>,
    end: &'static str,
}

#[derive(Serialize)]
struct Own {
    namespace: &'static str,
    own: bool,
}

#[derive(Serialize)]
struct Seen {
    at: String,
    what: String,
    read_only: bool,
}

impl Report {
    pub(super) fn of(name: &str, recipe: &Recipe, document: &Document, plan: &Plan) -> Self {
        let folder = &recipe.folder;
        let problems: Vec<Diagnostic> = problems(document, plan);
        Self {
            recipe: name.to_owned(),
            name: recipe.name.clone(),
            about: recipe.about.clone(),
            works: plan.works(),
            steps: plan
                .steps
                .iter()
                .enumerate()
                .map(|(index, step)| Row::of(index, step, document, folder))
                .collect(),
            sandbox: Sandbox::of(plan, folder),
            problems: problems.iter().map(Record::from).collect(),
        }
    }

    pub(super) fn json(&self) -> String {
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }

    pub(super) fn text(&self, width: usize) -> String {
        let mut text = self.head();
        text.push_str(&self.table(width));
        text.push_str(&self.sandbox.text());
        text
    }

    fn head(&self) -> String {
        let about = self.about.as_ref().map_or(String::new(), |about| format!(": {about}"));
        let name = self.name.as_ref().unwrap_or(&self.recipe);
        format!("{}\n\n", spelled_out(&format!("{name}{about}")))
    }

    fn table(&self, width: usize) -> String {
        let head = ["STEP", "BY", "LINE", "WHAT", "NEEDS"].map(str::to_owned);
        let rows: Vec<[String; 5]> =
            std::iter::once(head).chain(self.steps.iter().map(Row::cells)).collect();
        let widths = [0, 1, 2, 3].map(|column| {
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // The last column goes below where there is no room for it.
            if column == 3 { longest.min(width.saturating_sub(30).max(40)) } else { longest }
        });
        let mut table = String::new();
        for [step, by, line, what, needs] in &rows {
            let [a, b, c, d] = widths;
            let row = format!("{step:>a$}  {by:<b$}  {line:>c$}  {what:<d$}  {needs}");
            table.push_str(row.trim_end());
            table.push('\n');
        }
        table
    }
}

impl Row {
    fn of(index: usize, step: &Step, document: &Document, folder: &Path) -> Self {
        let (answer, fault) = match step.answer {
            Answer::Yes => ("yes", None),
            Answer::No(fault) => ("no", Some(fault)),
            Answer::KernelDecides => ("the kernel decides", None),
        };
        Self {
            step: index + 1,
            by: match step.by {
                _ if step.at_birth => "birth",
                Actor::Supervisor => "supervisor",
                Actor::Child => "child",
            },
            what: within(folder, &step.op.to_string()),
            path: step.origin.to_string(),
            line: document.line(&step.origin),
            needs: step.needs.map(|need| Needs {
                capability: capability::name(need.capability),
                over: need.what,
                has: step.is_capable,
            }),
            answer,
            call: fault.map(|fault| fault.call.name()),
            errno: fault.map(|fault| format!("{:?}", fault.errno)),
        }
    }

    fn cells(&self) -> [String; 5] {
        let needs = self.needs.as_ref().map_or(String::new(), |need| {
            let has = if need.has { "has it" } else { "lacks it" };
            format!("{}: {has}", need.capability)
        });
        let needs = match (self.answer, &self.call, &self.errno) {
            ("no", Some(call), Some(errno)) => format!("NO: {call} gives {errno}; {needs}"),
            _ => needs,
        };
        let line = self.line.map_or(String::new(), |line| line.to_string());
        [
            self.step.to_string(),
            self.by.to_owned(),
            line,
            // The recipe's words: none of them may act on the terminal, or look like another row.
            spelled_out(&self.what).into_owned(),
            needs.trim_end_matches("; ").to_owned(),
        ]
    }
}

impl Sandbox {
    fn of(plan: &Plan, folder: &Path) -> Self {
        let model = &plan.end;
        let user = model.own_user();
        let overflow = 65534;
        let own = |kind: Namespace| Own { namespace: kind.link(), own: model.has_own(kind) };
        let is_other_root = model.mounts.visible().first().is_some_and(|(_, mount)| mount.own);
        let mounts = mounts(model, folder);
        Self {
            namespaces: Namespace::ALL.into_iter().map(own).collect(),
            uid: user.uids.from_host(model.process.uid).unwrap_or(overflow),
            gid: user.gids.from_host(model.process.gid).unwrap_or(overflow),
            host_uid: model.process.uid,
            host_gid: model.process.gid,
            hostname: model.hostname.clone(),
            pid_1: match (model.pid.own, model.is_init) {
                (false, _) => HOSTS,
                (true, true) => "the command: signals that it does not handle do nothing",
                (true, false) => "isorecipe's init",
            },
            no_new_privs: model.process.no_new_privs,
            root: if is_other_root { "its own" } else { "the host's" },
            can_read: match is_other_root {
                true => "what is mounted, and nothing else".to_owned(),
                false => format!("on the host: whatever uid {} may read there", model.process.uid),
            },
            can_write: can_write(model, is_other_root, &mounts),
            mounts,
            shared_with_host: shared(model),
            end: match model.pid.own {
                true => "with PID 1, and everything in it",
                false => "with the command; what it leaves in the background goes on",
            },
        }
    }

    fn text(&self) -> String {
        let hostname = match (&self.hostname, self.has_own("uts")) {
            (Some(name), true) => format!("{name}, its own"),
            (None, true) => "its own, with the host's to begin with".to_owned(),
            _ => "the host's".to_owned(),
        };
        let mut lines = vec![
            (
                "ids",
                format!(
                    "uid={} gid={} inside, uid={} gid={} on the host",
                    self.uid, self.gid, self.host_uid, self.host_gid
                ),
            ),
            ("hostname", hostname),
            ("PID 1", self.pid_1.to_owned()),
            ("root", self.root.to_owned()),
        ];
        if self.pid_1 != HOSTS && !self.mounts.iter().any(|mount| mount.what == "proc") {
            lines.push(("/proc", "the host's: `ps` shows the host; add `proc: true`".to_owned()));
        }
        for mount in &self.mounts {
            let how = if mount.read_only { ", read-only" } else { "" };
            lines.push(("mount", format!("{}: {}{how}", mount.at, mount.what)));
        }
        lines.push(("can read", self.can_read.clone()));
        for place in &self.can_write {
            lines.push(("can write", place.clone()));
        }
        lines.push(("shares", self.shared_with_host.join(", ")));
        lines.push(("ends", self.end.to_owned()));
        if !self.no_new_privs {
            lines.push(("rights", "set-user-ID programs work: no_new_privs is off".to_owned()));
        }
        let body: String = lines
            .iter()
            .map(|(what, how)| format!("  {what:<9}  {}\n", spelled_out(how)))
            .collect();
        format!("\nThe sandbox then\n{body}")
    }

    fn has_own(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|own| own.namespace == namespace && own.own)
    }
}

/// The mounts that the recipe makes.
fn mounts(model: &Model, folder: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (at, mount) in model.mounts.visible() {
        if !mount.own {
            continue;
        }
        let what = match &model.mounts.filesystem(mount.filesystem).filesystem {
            Filesystem::Host(base) => format!("{} of the host", base.join(&mount.root).display()),
            Filesystem::Tmpfs(_) => "tmpfs, in memory".to_owned(),
            Filesystem::Proc => "proc".to_owned(),
            Filesystem::Image(file) => format!("the image {}", file.display()),
            Filesystem::Overlay { layers } => match layers.first() {
                Some((upper, path)) => {
                    format!("overlay, changes go to {}", place(model, *upper, path))
                }
                None => "overlay".to_owned(),
            },
            Filesystem::Unknown => "unknown, see the errors".to_owned(),
        };
        let path = within(folder, &at.display().to_string());
        seen.push(Seen { at: path, what: within(folder, &what), read_only: mount.read_only });
    }
    seen
}

fn place(model: &Model, filesystem: crate::model::FilesystemId, path: &Path) -> String {
    match &model.mounts.filesystem(filesystem).filesystem {
        Filesystem::Host(base) => base.join(path).display().to_string(),
        Filesystem::Tmpfs(_) => "memory".to_owned(),
        _ => path.display().to_string(),
    }
}

fn can_write(model: &Model, is_other_root: bool, mounts: &[Seen]) -> Vec<String> {
    if !is_other_root {
        let uid = model.process.uid;
        return vec![format!("on the host: whatever uid {uid} may write there")];
    }
    mounts
        .iter()
        .filter(|mount| !mount.read_only && mount.what != "proc")
        .map(|mount| format!("{}: {}", mount.at, mount.what))
        .collect()
}

/// Namespaces that no layer has made, the kinds that no layer makes included.
fn shared(model: &Model) -> Vec<&'static str> {
    let mut shared = Vec::new();
    for (kind, what) in [
        (Namespace::User, "user ids"),
        (Namespace::Mount, "mounts"),
        (Namespace::Uts, "hostname"),
        (Namespace::Pid, "processes"),
    ] {
        if !model.has_own(kind) {
            shared.push(what);
        }
    }
    shared.extend(["network", "System V IPC", "control groups", "clocks"]);
    shared
}
