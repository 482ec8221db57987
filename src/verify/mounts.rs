//! The mount table, point by point: `proc_pid_mountinfo(5)`.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    host::mountinfo::{self, Line},
    model::{Filesystem, MountId},
    ops::Op,
    plan::{Plan, Step},
    sys::Propagation,
};

use super::{Claim, Kind, Process, SELF, listed};

/// Every mount that a step has put where it is, what is there beside, how
/// events travel, and whether the host's root is out of reach.
pub(super) fn of(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    let found = read(child)?;
    let mut claims = Vec::new();
    let points = points(plan);
    for point in &points {
        claims.push(point.claim(plan, &found));
    }
    if plan.end.mounts.mount(plan.end.mounts.root).own {
        claims.push(others(plan, &points, &found));
        claims.push(old_root(plan, &found)?);
    }
    claims.extend(travel(plan, &found));
    Ok(claims)
}

fn read(process: Process) -> io::Result<Vec<Line>> {
    Ok(mountinfo::parse(&fs::read(process.path("mountinfo"))?))
}

/// A mount that a step has made and attached itself.
struct Point<'p> {
    at: PathBuf,
    mount: MountId,
    step: &'p Step,
}

fn points(plan: &Plan) -> Vec<Point<'_>> {
    let by = plan.mounted_by();
    let mounts = &plan.end.mounts;
    let mut points = Vec::new();
    for (at, mount) in mounts.reachable() {
        let below = mounts.mount(mount).on.as_ref().and_then(|on| by.get(&on.mount));
        // What came along below a bind is not asked for by name.
        let maker = by.get(&mount).filter(|maker| below != Some(maker));
        if let Some(step) = maker.and_then(|maker| plan.steps.get(*maker)) {
            points.push(Point { at, mount, step });
        }
    }
    points.retain(|point| mounts_something(&point.step.op));
    points.sort_by(|one, other| (&one.at, one.mount).cmp(&(&other.at, other.mount)));
    points
}

fn mounts_something(op: &Op) -> bool {
    matches!(op, Op::MountNew(_) | Op::MountOverlay(_) | Op::Bind(_) | Op::AttachImage(_))
}

/// What a step asks of its mount.
#[derive(Default)]
struct Wanted {
    filesystem: Option<&'static str>,
    options: Vec<&'static str>,
    /// Options of the filesystem itself
    superblock: Vec<String>,
}

impl Wanted {
    fn of(plan: &Plan, point: &Point) -> Self {
        let mut wanted = match &point.step.op {
            Op::MountNew(new) => Self {
                filesystem: Some(if new.is_proc() { "proc" } else { "tmpfs" }),
                options: match new.is_proc() {
                    true => vec!["nosuid", "nodev", "noexec"],
                    false => vec!["nosuid", "nodev"],
                },
                superblock: shown(new.options()),
            },
            Op::MountOverlay(overlay) => Self {
                filesystem: Some("overlay"),
                options: vec!["nosuid"],
                superblock: [
                    format!("{} lower", overlay.lower.len()),
                    format!("upperdir={}", overlay.upper.as_path().display()),
                    format!("workdir={}", overlay.work.as_path().display()),
                ]
                .into_iter()
                .chain(overlay.user_xattr.then(|| "userxattr".to_owned()))
                .collect(),
            },
            Op::AttachImage(_) => Self { options: vec!["nosuid", "nodev"], ..Self::default() },
            _ => Self::default(),
        };
        let is_read_only = plan.end.mounts.mount(point.mount).read_only;
        let is_writable = matches!(point.step.op, Op::MountNew(_) | Op::MountOverlay(_));
        match (is_read_only, is_writable) {
            (true, _) => wanted.options.insert(0, "ro"),
            (false, true) => wanted.options.insert(0, "rw"),
            // Of a bind, the tree that it shows decides.
            (false, false) => {}
        }
        wanted
    }

    fn words(&self) -> Vec<String> {
        let options = self.options.iter().map(|&option| option.to_owned());
        let kind = self.filesystem.map(str::to_owned);
        kind.into_iter().chain(options).chain(self.superblock.iter().cloned()).collect()
    }

    /// Of what is wanted, that which is so; and in the place of the rest, what is.
    fn met_by(&self, line: &Line) -> Vec<String> {
        let mut is: Vec<String> = Vec::new();
        if self.filesystem.is_some() {
            is.push(line.filesystem.clone());
        }
        for option in &self.options {
            let other = match *option {
                "ro" => "rw",
                "rw" => "ro",
                "nosuid" => "suid",
                "nodev" => "dev",
                _ => "exec",
            };
            let has = line.options.iter().any(|has| has == option);
            is.push(if has { *option } else { other }.to_owned());
        }
        for option in &self.superblock {
            let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
            let lower = format!("{} lower", lowers(&line.superblock));
            let has = line.superblock.contains(option) || *option == lower;
            is.push(if has { option.clone() } else { format!("no such {name}") });
        }
        is
    }
}

/// The settings of a tmpfs as the list of mounts shows them: none that is as it
/// would be anyway, and a size in KiB (`shmem_show_options()`).
fn shown(options: &[(CString, CString)]) -> Vec<String> {
    let shown = |(key, value): &(CString, CString)| {
        let value = value.to_str().ok()?;
        match key.to_str().ok()? {
            "mode" if value == "1777" => None,
            "mode" => Some(format!("mode={value:0>3}")),
            // Whole pages, which differ from one machine to another.
            "size" => value
                .parse::<u64>()
                .ok()
                .filter(|size| size % 65536 == 0 && *size > 0)
                .map(|size| format!("size={}k", size / 1024)),
            _ => None,
        }
    };
    options.iter().filter_map(shown).collect()
}

/// How many layers an overlay lies over: each has an option of its own since
/// Linux 6.13, and a place in one before.
fn lowers(options: &[String]) -> usize {
    let own = options.iter().filter(|option| option.starts_with("lowerdir+=")).count();
    let in_one = options.iter().find_map(|option| option.strip_prefix("lowerdir="));
    own + in_one.map_or(0, |all| all.replace("\\:", "").split(':').count())
}

impl Point<'_> {
    fn claim(&self, plan: &Plan, found: &[Line]) -> Claim {
        let wanted = Wanted::of(plan, self);
        let what = format!("mount {}", self.at.display());
        let asked = listed_or(&wanted.words(), "mounted");
        let origin = self.step.origin.clone();
        if plan.end.mounts.is_covered(self.mount) {
            let claim = Claim::new(what, asked, "covered");
            return Claim { origin, kind: Kind::Covered, ..claim };
        }
        let is = match found.iter().rfind(|line| line.at == self.at) {
            Some(line) => listed_or(&wanted.met_by(line), "mounted"),
            None => "not mounted".to_owned(),
        };
        Claim { origin, ..Claim::new(what, asked, is) }
    }
}

fn listed_or(all: &[String], empty: &str) -> String {
    if all.is_empty() { empty.to_owned() } else { listed(all) }
}

/// Under a root of its own nothing is mounted that nobody asked for, but for
/// what came along below a bind.
fn others(plan: &Plan, points: &[Point], found: &[Line]) -> Claim {
    let asked: BTreeSet<&Path> = points.iter().map(|point| point.at.as_path()).collect();
    let along = |point: &&Point| matches!(point.step.op, Op::Bind(_));
    let along: Vec<&Path> = points.iter().filter(along).map(|point| point.at.as_path()).collect();
    let is_other = |line: &&Line| {
        let at = line.at.as_path();
        at != Path::new("/")
            && !asked.contains(at)
            && !along.iter().any(|bind| at.starts_with(bind))
    };
    let other: Vec<String> =
        found.iter().filter(is_other).map(|line| line.at.display().to_string()).collect();
    Claim::new("other mounts", "none", listed(&other))
        .asked_by(plan, |op| matches!(op, Op::PivotRoot(_)))
}

/// Nothing shows the directory that the host's root is.
fn old_root(plan: &Plan, found: &[Line]) -> io::Result<Claim> {
    let host = read(SELF)?;
    let root = host.iter().rfind(|line| line.at == Path::new("/"));
    let binds_root = plan.end.mounts.visible().iter().any(|(_, mount)| {
        let filesystem = &plan.end.mounts.filesystem(mount.filesystem).filesystem;
        *filesystem == Filesystem::Host("/".into()) && mount.root.as_os_str().is_empty()
    });
    let shows_it = |line: &&Line| {
        root.is_some_and(|root| (&root.device, &root.root) == (&line.device, &line.root))
    };
    let shown: Vec<String> =
        found.iter().filter(shows_it).map(|line| line.at.display().to_string()).collect();
    let is = if shown.is_empty() { "out of reach".to_owned() } else { listed(&shown) };
    let asked = if binds_root { is.clone() } else { "out of reach".to_owned() };
    Ok(Claim::new("the host's root", asked, is).asked_by(plan, |op| matches!(op, Op::PivotRoot(_))))
}

/// How events travel, if the recipe says so and nothing afterwards made it otherwise.
fn travel(plan: &Plan, found: &[Line]) -> Option<Claim> {
    let set = |op: &Op| matches!(op, Op::SetPropagation(_));
    let asked = plan.steps.iter().rev().find_map(|step| match &step.op {
        Op::SetPropagation(set) => Some(set.0),
        _ => None,
    })?;
    let forbidden: &[&str] = match asked {
        Propagation::Private => &["shared:", "master:"],
        Propagation::Slave => &["shared:"],
        Propagation::Shared => return None,
    };
    let strays = |line: &&Line| {
        line.propagation.iter().any(|word| forbidden.iter().any(|it| word.starts_with(it)))
    };
    let strays: Vec<String> =
        found.iter().filter(strays).map(|line| line.at.display().to_string()).collect();
    let word = if asked == Propagation::Private { "private" } else { "slave" };
    let is =
        if strays.is_empty() { word.to_owned() } else { format!("other: {}", listed(&strays)) };
    Some(Claim::new("propagation", word, is).asked_by(plan, set))
}
