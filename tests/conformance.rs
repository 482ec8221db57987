//! What the model says, the kernel does: every ordered list of up to four
//! layers, step by step and errno by errno.
//!
//! Each list is planned with all the facts of this machine, then run to its
//! first fault, and the two are compared: the same step, the same call, the
//! same errno, or no fault at all. Run as root, it does so as root (in mount
//! and UTS namespaces made for the case) and as an ordinary user; run as an
//! ordinary user, as that user. Nothing here runs on test threads: the kernel
//! gives a user namespace only to a process with one thread.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::exit,
};

use isorecipe::{
    exec::{self, Outcome},
    host::Host,
    model::Answer,
    recipe::{Recipe, Run},
    sys::process::Change,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Gid, Uid, chown, fork, pipe, setgid, setgroups, setuid},
};

/// The layers that lists are drawn from.
const VARIANTS: &[&str] = &[
    "user: {map: root}",
    "user: {map: none}",
    "uts: {}",
    "hostname: box",
    "pid: {proc: true, init: false}",
    "mount: {}",
    "proc: PROC",
    "tmpfs: TARGET",
    "bind: {from: source, to: TARGET, read_only: true}",
    "dir: TARGET/made",
    "overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "pivot_root: {new: TARGET}",
];
/// Further ones, drawn at random into lists of the same length.
const RARE: &[&str] = &[
    "user: {map: self}",
    "user: {map: {uid: [{inside: 0, outside: 77, count: 1}], gid: []}}",
    "user: {map: root, setgroups: allow}",
    "domainname: box",
    "uts: {hostname: one, domainname: two}",
    "pid: {}",
    "pid: {proc: true}",
    "mount: {propagation: unchanged}",
    "mount: {propagation: slave}",
    "mount: {propagation: shared}",
    "proc",
    "tmpfs: {at: TARGET, mode: 0700}",
    "tmpfs: missing",
    "tmpfs: file",
    "tmpfs: upper",
    "bind: {from: file, to: TARGET, read_only: true}",
    "bind: {from: file, to: file, read_only: true}",
    "bind: {from: TARGET, to: TARGET}",
    "bind: {from: missing, to: TARGET}",
    "bind: {from: /proc, to: source, read_only: true}",
    "bind: {from: source, to: TARGET/made}",
    "dir: TARGET/made/deep",
    "dir: file/below",
    "dir: /proc/here",
    "overlay: {lower: lower, at: TARGET}",
    "overlay: {lower: [source, lower], upper: upper, work: work, at: TARGET}",
    "overlay: {lower: lower, upper: upper, work: other, at: TARGET}",
    "overlay: {lower: lower, upper: upper, work: upper, at: TARGET}",
    "overlay: {lower: /, upper: upper, work: work, at: TARGET}",
    "overlay: {lower: missing, upper: upper, work: work, at: TARGET}",
    "overlay: {lower: file, upper: upper, work: work, at: TARGET}",
    "overlay: {lower: TARGET, upper: upper, work: work, at: TARGET}",
    "pivot_root: {new: TARGET, old: .old}",
    "pivot_root: {new: source}",
    "pivot_root: {new: /}",
    "pivot_root: {new: missing}",
    "pivot_root: {new: file}",
];
/// Lists about which model and kernel once disagreed.
const FOUND: &[&str] = &[
    "user: {map: none} + mount: {} + overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "user: {map: root} + mount: {} + user: {map: none} + mount: {} + overlay: {lower: /, upper: upper, work: work, at: TARGET}",
    "dir: /proc/here + mount: {} + bind: {from: missing, to: TARGET}",
    "user: {map: root} + mount: {} + bind: {from: /proc, to: source, read_only: true} + pid: {proc: true, init: false} + pivot_root: {new: source} + dir: /proc/here",
    "bind: {from: source, to: TARGET, read_only: true} + bind: {from: /proc, to: source, read_only: true} + dir: TARGET/made/deep",
    "user: {map: root} + mount: {} + overlay: {lower: TARGET, upper: upper, work: work, at: TARGET} + pivot_root: {new: TARGET, old: .old} + user: {map: root} + bind: {from: file, to: file, read_only: true}",
    "bind: {from: source, to: TARGET, read_only: true} + pid: {proc: true, init: false} + pivot_root: {new: TARGET} + overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "user: {map: root} + mount: {} + bind: {from: /proc, to: source, read_only: true} + overlay: {lower: [source, lower], upper: upper, work: work, at: TARGET}",
    "overlay: {lower: [source, lower], upper: upper, work: work, at: TARGET} + domainname: box + pid: {proc: true, init: false} + user: {map: {uid: [{inside: 0, outside: 77, count: 1}], gid: []}}",
    "bind: {from: TARGET, to: TARGET} + overlay: {lower: /, upper: upper, work: work, at: TARGET} + pivot_root: {new: TARGET, old: .old}",
    "pivot_root: {new: /} + pivot_root: {new: TARGET, old: .old}",
];
/// A model that leaves everything to the kernel is never wrong and worth
/// nothing: of a hundred answers, so many at most may be open. The last step,
/// the command, always is.
const MOST_OPEN: usize = 12;
const LONGEST: usize = 4;
const RANDOM_LISTS: usize = 4000;
/// A user that no machine has.
const STRANGER: u32 = 54_321;

fn main() {
    let seed = env::var("CONFORM_SEED").ok().and_then(|seed| seed.parse().ok());
    let fresh = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed_0000_0000);
    let only = env::var("CONFORM_ONLY").ok();
    let split = |list: &str| list.split(" + ").map(str::to_owned).collect::<Vec<_>>();
    let mut lists: Vec<_> = FOUND.iter().map(|list| split(list)).collect();
    lists.extend(every_list());
    lists.extend(random_lists(1, RANDOM_LISTS / 2));
    lists.extend(random_lists(fresh, RANDOM_LISTS / 2));
    if let Some(only) = &only {
        lists = vec![split(only)];
    }
    println!("{} lists of layers, fresh seed {fresh}", lists.len());
    let is_root = Uid::effective().is_root();
    let mut disagreements = 0;
    for user in if is_root { vec![None, Some(STRANGER)] } else { vec![None] } {
        disagreements += check_all(&lists, user, is_root);
    }
    let failed = usize::from(disagreements > 0);
    println!(
        "\ntest result: {}. {} passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" },
        1 - failed
    );
    exit(i32::from(failed > 0));
}

/// Ordered lists of one to four of the variants, no variant twice.
fn every_list() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut longest: Vec<Vec<String>> = vec![Vec::new()];
    for _ in 0..LONGEST {
        longest = longest
            .iter()
            .flat_map(|list| {
                VARIANTS.iter().filter(|layer| !list.iter().any(|had| had == *layer)).map(|layer| {
                    let mut longer = list.clone();
                    longer.push((*layer).to_owned());
                    longer
                })
            })
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

/// Lists that begin as a sandbox does, so that they get beyond the first layer.
fn random_lists(seed: u64, count: usize) -> Vec<Vec<String>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let pool: Vec<&str> = VARIANTS.iter().chain(RARE).copied().collect();
    (0..count)
        .map(|_| {
            let mut list = Vec::new();
            if next(4) > 0 {
                list.push(VARIANTS[0].to_owned());
                list.push(VARIANTS[5].to_owned());
            }
            for _ in 0..1 + next(4) {
                list.push(pool[next(pool.len())].to_owned());
            }
            list
        })
        .collect()
}

/// What came of one list.
enum Verdict {
    Agree { decided: usize, open: usize },
    Disagree(String),
}

/// What came of many lists: a line each, so that it goes through a pipe.
#[derive(Default)]
struct Tally {
    decided: usize,
    open: usize,
    disagreements: Vec<(String, String)>,
}

impl Tally {
    fn to_lines(&self) -> String {
        let counts = format!("{} {}\n", self.decided, self.open);
        let all = self.disagreements.iter().map(|(how, list)| format!("{how}\t{list}\n"));
        std::iter::once(counts).chain(all).collect()
    }

    fn add_lines(&mut self, lines: &str) {
        let mut lines = lines.lines();
        let counts = lines.next().and_then(|counts| counts.split_once(' ')).expect("counts");
        self.decided += counts.0.parse::<usize>().expect("a number");
        self.open += counts.1.parse::<usize>().expect("a number");
        self.disagreements.extend(lines.filter_map(|line| {
            let (how, list) = line.split_once('\t')?;
            Some((how.to_owned(), list.to_owned()))
        }));
    }
}

/// A list spends most of its time waiting for the kernel to let go of mounts:
/// so several processes work at once.
const WORKERS: usize = 4;

fn check_all(lists: &[Vec<String>], user: Option<u32>, is_root: bool) -> usize {
    let mut readers = Vec::new();
    for worker in 0..WORKERS {
        let (read, write) = pipe().expect("a pipe");
        // SAFETY: this program has one thread.
        #[allow(unsafe_code)]
        match unsafe { fork() }.expect("a process") {
            ForkResult::Child => {
                drop(read);
                let own = lists.iter().skip(worker).step_by(WORKERS);
                let tally = check_some(own, user, is_root);
                let _ = fs::File::from(write).write_all(tally.to_lines().as_bytes());
                exit(0);
            }
            ForkResult::Parent { child } => readers.push((child, fs::File::from(read))),
        }
    }
    let mut tally = Tally::default();
    for (child, mut reader) in readers {
        let mut lines = String::new();
        reader.read_to_string(&mut lines).expect("what it found");
        tally.add_lines(&lines);
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
    report(&tally, lists.len(), if is_root && user.is_none() { "root" } else { "an ordinary user" })
}

fn check_some<'l>(
    lists: impl Iterator<Item = &'l Vec<String>>,
    user: Option<u32>,
    is_root: bool,
) -> Tally {
    let scratch = Scratch::new(user);
    let mut tally = Tally::default();
    for list in lists {
        scratch.reset();
        match check(list, &scratch, user, is_root) {
            Verdict::Agree { decided, open } => {
                tally.decided += decided;
                tally.open += open;
            }
            Verdict::Disagree(how) => {
                tally.disagreements.push((how.replace(['\n', '\t'], " "), list.join(" + ")));
            }
        }
    }
    tally
}

/// Says what came of it, each disagreement with its shortest list; gives how
/// many there were.
fn report(tally: &Tally, lists: usize, who: &str) -> usize {
    let Tally { decided, open, disagreements } = tally;
    let all = disagreements.len();
    println!(
        "as {who}: {all} disagreements; {decided} answers of the model, {open} left to the kernel"
    );
    let mut kinds: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (how, list) in disagreements {
        let kind = kinds.entry(how).or_insert((0, list));
        kind.0 += 1;
        if list.len() < kind.1.len() {
            kind.1 = list;
        }
    }
    for (how, (count, list)) in kinds {
        println!("\n{count} times: {how}\n  CONFORM_ONLY='{list}'");
    }
    if lists > WORKERS && open * 100 > MOST_OPEN * (decided + open) {
        println!("\nthe model leaves more than {MOST_OPEN} % to the kernel");
        return all + 1;
    }
    all
}

/// Plans and runs one list in a process of its own.
fn check(list: &[String], scratch: &Scratch, user: Option<u32>, is_root: bool) -> Verdict {
    let (read, write) = pipe().expect("a pipe");
    // SAFETY: this program has one thread.
    #[allow(unsafe_code)]
    match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            drop(read);
            let said = in_sacrificial_namespaces(user, is_root)
                .and_then(|()| predict_and_run(list, &scratch.folder));
            let said = said.unwrap_or_else(|error| format!("! {error}"));
            let _ = fs::File::from(write).write_all(said.as_bytes());
            exit(0);
        }
        ForkResult::Parent { child } => {
            drop(write);
            let mut said = String::new();
            let _ = fs::File::from(read).read_to_string(&mut said);
            let status = waitpid(child, None).expect("its end");
            if status != WaitStatus::Exited(child, 0) {
                return Verdict::Disagree(format!("the run ended with {status:?}"));
            }
            match said.strip_prefix("= ").and_then(|counts| counts.split_once(' ')) {
                Some((decided, open)) => Verdict::Agree {
                    decided: decided.parse().expect("a number"),
                    open: open.parse().expect("a number"),
                },
                None => Verdict::Disagree(said),
            }
        }
    }
}

/// Where a wrong model can hurt nobody: mounts and names of its own.
fn in_sacrificial_namespaces(user: Option<u32>, is_root: bool) -> Result<(), String> {
    if !is_root {
        return Ok(());
    }
    let failed = |what: &str, errno: nix::Error| format!("{what}: {errno}");
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(flags).map_err(|errno| failed("unshare", errno))?;
    let all = |kind: MsFlags| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>)
    };
    all(MsFlags::MS_PRIVATE).map_err(|errno| failed("private", errno))?;
    all(MsFlags::MS_SHARED).map_err(|errno| failed("shared", errno))?;
    if let Some(uid) = user {
        setgroups(&[]).map_err(|errno| failed("setgroups", errno))?;
        setgid(Gid::from_raw(uid)).map_err(|errno| failed("setgid", errno))?;
        setuid(Uid::from_raw(uid)).map_err(|errno| failed("setuid", errno))?;
        nix::sys::prctl::set_dumpable(true).map_err(|errno| failed("dumpable", errno))?;
    }
    Ok(())
}

/// `= DECIDED OPEN` if model and kernel agree, what they say otherwise.
fn predict_and_run(list: &[String], folder: &Path) -> Result<String, String> {
    let yaml = recipe(list, folder);
    let (recipe, _, mistakes) = Recipe::read(yaml.as_bytes(), "case", folder);
    let recipe = recipe.ok_or_else(|| format!("{mistakes:?}"))?;
    let run = Run { is_live: true, ..Run::default() };
    let mut plan = recipe.plan_knowing(Host::probe(), &run);
    let predicted = plan.first_no();
    let steps: Vec<_> = plan.steps.iter().map(|step| (step.op.to_string(), step.answer)).collect();
    let observed = match exec::run(&mut plan, &exec::Nobody) {
        Outcome::Refused { step, fault, .. } => Some((step, fault)),
        Outcome::Ended(Change::Exited(0)) => None,
        other => return Ok(format!("the run ended oddly: {other:?}")),
    };
    let reached = observed.map_or(steps.len(), |(step, _)| step);
    let is_open = |step: &usize| steps[*step].1 == Answer::KernelDecides;
    let open = (0..steps.len().min(reached + 1)).filter(is_open).count();
    let decided = reached.min(steps.len()) - open.min(reached);
    let agrees = match (predicted, observed) {
        (predicted, observed) if predicted == observed => true,
        // The model did not commit itself, and the kernel said no.
        (_, Some((step, _))) => is_open(&step),
        _ => false,
    };
    if agrees {
        return Ok(format!("= {decided} {open}"));
    }
    let say = |which: Option<(usize, isorecipe::sys::Fault)>| match which {
        None => "works".to_owned(),
        Some((step, fault)) => {
            let what = &steps.get(step).map_or("?", |(what, _)| what.as_str());
            let what = what.replace(&folder.display().to_string(), ".");
            format!("`{what}`: {} {:?}", fault.call, fault.errno)
        }
    };
    Ok(format!("model {}, kernel {}", say(predicted), say(observed)))
}

/// Before a pivot the target is in the scratch folder, after it the root itself.
fn recipe(list: &[String], folder: &Path) -> String {
    let mut yaml = String::from("isorecipe: 1\nlayers:\n");
    let mut has_pivoted = false;
    for layer in list {
        let (target, proc) = match has_pivoted {
            false => (format!("{}/target", folder.display()), "/proc"),
            true => (String::new(), "/"),
        };
        let layer = layer.replace("TARGET/", &format!("{target}/"));
        let target = if target.is_empty() { "/".to_owned() } else { target };
        let layer = layer.replace("TARGET", &target).replace("PROC", proc);
        yaml.push_str(&format!("  - {layer}\n"));
        has_pivoted |= layer.starts_with("pivot_root");
    }
    yaml.push_str("command: [/bin/true]\n");
    yaml
}

/// The folder that recipes of a case stand in.
struct Scratch {
    folder: PathBuf,
    owner: Option<u32>,
}

impl Scratch {
    fn new(owner: Option<u32>) -> Self {
        let folder = env::temp_dir().join(format!("isorecipe-conformance-{}", std::process::id()));
        let scratch = Self { folder, owner };
        scratch.reset();
        scratch
    }

    /// The folder as every case finds it.
    fn reset(&self) {
        let made = self.folder.join("target/made");
        let is_fresh = self.folder.join("file").exists() && !made.exists();
        let is_clean =
            |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let folders = ["target", "source", "lower", "upper", "work", "other"];
        if is_fresh && folders.iter().all(|name| is_clean(&self.folder.join(name))) {
            return;
        }
        let _ = fs::remove_dir_all(&self.folder);
        for name in folders {
            fs::create_dir_all(self.folder.join(name)).expect("a folder");
        }
        fs::write(self.folder.join("file"), "").expect("a file");
        let all = folders
            .iter()
            .map(|name| self.folder.join(name))
            .chain([self.folder.clone(), self.folder.join("file")]);
        for path in all {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
            if let Some(owner) = self.owner {
                chown(&path, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
                    .expect("an owner");
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
