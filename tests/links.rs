//! A root filesystem that somebody else made, with links in every place where something is made or mounted, and with
//! places that change while it is set up. Whatever becomes of the sandbox, nothing outside changes.

#[path = "support/machine.rs"]
mod machine;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, fs::symlink},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use machine::{Desk, Who};

/// Where a link stands in the root, and where it leads; `OUT` is a directory beside the root.
const LINKS: [(&str, &str); 14] = [
    ("absolute", "OUT"),
    ("relative", "../../../../../../../../..OUT"),
    ("short", "../outside"),
    ("to a file", "OUT/file"),
    ("dangling", "OUT/new"),
    ("dangling deep", "OUT/new/newer"),
    ("dangling relative", "../outside/new"),
    ("itself", "P"),
    ("through own root", "/proc/self/rootOUT"),
    ("through the root of PID 1", "/proc/1/rootOUT"),
    ("through the root of a parent", "/proc/PARENT/rootOUT"),
    ("through a directory", "/proc/self/cwd/../outside"),
    ("through a descriptor", "/proc/self/fd/3/../outside"),
    ("through the old root", "/.oldOUT"),
];

/// Layers that make or mount something at `AT`.
const LAYERS: [&str; 20] = [
    "dir: AT",
    "dir: AT/deeper/still",
    "file: {at: AT, content: made}",
    "file: {at: AT/made, content: made}",
    "symlink: {at: AT, to: /etc}",
    "symlink: {at: AT/made, to: /etc}",
    "tmpfs: AT",
    "tmpfs: AT/made",
    "bind: {from: INNER, to: AT}",
    "bind: {from: INNER/file, to: AT, read_only: true}",
    "overlay: {lower: INNER, upper: AT/up, work: AT/wk, at: AT/at, create: true}",
    "overlay: {lower: INNER, at: AT}",
    "proc: AT",
    "sysfs: AT",
    "mqueue: AT",
    "dev: AT",
    "dev: /dev",
    "mask: {at: [AT]}",
    "read_only: AT",
    "read_only: {at: AT}",
];

/// Of so many cases one is tried, another of each link: with `LINKS=1`, all.
fn every() -> usize {
    std::env::var("LINKS").ok().and_then(|every| every.parse().ok()).unwrap_or(30)
}

/// What is in a directory and below: of each name its kind, mode, owner and content.
fn picture(of: &Path) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut next = vec![of.to_owned()];
    while let Some(path) = next.pop() {
        let status = fs::symlink_metadata(&path).expect("something");
        let content = if status.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
        if status.is_dir() {
            next.extend(fs::read_dir(&path).expect("a directory").flatten().map(|e| e.path()));
        }
        found.insert(path, (status.mode(), status.uid(), content));
    }
    found
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("mounts")
}

/// A desk with a hostile root in it, and a directory outside that is to stay as it is.
fn desk(who: Who, target: &str) -> Desk {
    let desk = Desk::of(who);
    for directory in
        ["outside/sub", "box/inner", "box/merged", "box/root/proc", "box/root/old", "box/root/.old"]
    {
        desk.make_dir(directory);
    }
    desk.write("outside/file", "outside\n");
    desk.write("box/inner/file", "inner\n");
    let outside = desk.path("outside").display().to_string();
    let parent = std::process::id().to_string();
    let target = target.replace("OUT", &outside).replace("PARENT", &parent);
    desk.make_dir("box/root/dev");
    for link in ["P", "dev/null", "dev/pts", "dev/ptmx", "dev/shm"] {
        let _ = fs::remove_file(desk.path("box/root").join(link));
        symlink(&target, desk.path("box/root").join(link)).expect("a link");
    }
    desk
}

/// The ways to such a root, and what the place is called then.
fn phases(who: Who) -> Vec<(String, &'static str)> {
    let users = match who {
        Who::Root => ["  - user: {map: auto}\n", ""].as_slice(),
        Who::User(_) => ["  - user: {map: root}\n"].as_slice(),
    };
    let mut phases = Vec::new();
    for user in users {
        let head = format!("isorecipe: 1\nlayers:\n{user}  - pid: {{init: false}}\n  - mount\n");
        let bound = format!("{head}  - overlay: {{lower: root, at: merged}}\n");
        let own = "  - proc: merged/proc\n";
        phases.push((head.clone(), "root/P"));
        phases.push((format!("{bound}{own}  - pivot_root: merged\n"), "/P"));
        phases.push((format!("{bound}  - pivot_root: {{new: merged, old: .old}}\n"), "/P"));
        // Through the host's own processes, too.
        let hosts = "  - bind: {from: /proc, to: merged/proc, write: true}\n";
        phases.push((format!("{bound}{hosts}  - pivot_root: merged\n"), "/P"));
    }
    phases
}

fn attack(who: Who, (number, (kind, target)): (usize, (&str, &str))) {
    let desk = desk(who, target);
    let before = (picture(&desk.path("outside")), mounts());
    let every = every();
    let cases = std::cell::Cell::new(number);
    let check = |recipe: &str| {
        cases.set(cases.get() + 1);
        if cases.get() % every != 0 {
            return;
        }
        desk.write("box/r.yaml", recipe);
        let ran = desk.run(&["--plain", "apply", "box/r.yaml", "--", "/no/such/command"]);
        // Whatever it came to, nothing has panicked and nobody was killed.
        assert!(matches!(ran.code(), 125..=127), "{kind}: {}\n{recipe}{}", ran.code(), ran.err());
        assert!(
            picture(&desk.path("outside")) == before.0,
            "{kind}, {who:?}\n{recipe}{}",
            ran.err()
        );
        assert_eq!(mounts(), before.1, "{kind}, {who:?}\n{recipe}");
    };
    for (head, at) in phases(who) {
        let inner = if at.starts_with('/') { "/old" } else { "inner" };
        for layer in LAYERS {
            let layer = layer.replace("AT", at).replace("INNER", inner);
            check(&format!("{head}  - {layer}\n"));
        }
        check(&format!("{head}cwd: {at}\n"));
    }
    for user in ["  - user: {map: root}\n", "  - user: {map: auto, need: prefer}\n"] {
        let head = format!("isorecipe: 1\nlayers:\n{user}  - pid: {{}}\n  - mount\n");
        let bound = "  - bind: {from: root, to: root, write: true}\n";
        for last in [
            "  - pivot_root: {new: root, old: P}\n",
            "  - pivot_root: {new: root, old: P/sub}\n",
            "  - pivot_root: root/P\n",
            "  - root: {read_only: [root/P], write: [root]}\n",
        ] {
            check(&format!("{head}{bound}{last}"));
        }
    }
}

#[test]
fn a_link_in_a_place_where_something_is_made_or_mounted_changes_nothing_outside() {
    for who in Who::all() {
        std::thread::scope(|scope| {
            for (number, link) in LINKS.into_iter().enumerate() {
                scope.spawn(move || attack(who, (number, link)));
            }
        });
    }
}

#[test]
fn the_same_without_a_link_works() {
    let desk = desk(Who::ordinary(), "nowhere");
    for link in ["P", "dev/null"] {
        fs::remove_file(desk.path("box/root").join(link)).expect("a link");
    }
    desk.make_rootfs("box/root", &["true"]);
    let (head, _) = phases(Who::ordinary()).swap_remove(1);
    for layer in ["dir: /P/deeper", "file: {at: /P, content: a}", "symlink: {at: /P, to: /etc}"] {
        desk.write("box/r.yaml", &format!("{head}  - {layer}\n"));
        desk.run(&["--plain", "apply", "box/r.yaml", "--", "/bin/true"]).succeeds();
        assert!(fs::symlink_metadata(desk.path("box/root/P")).is_err(), "{layer}");
    }
}

/// Exchanges a directory and a link again and again, while sandboxes are set up over them.
#[test]
fn a_place_that_is_exchanged_for_a_link_meanwhile_changes_nothing_outside() {
    for who in Who::all() {
        let desk = desk(who, "OUT");
        desk.make_dir("box/root/Q/sub");
        let before = (picture(&desk.path("outside")), mounts());
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, root) = (Arc::clone(&is_over), desk.path("box/root"));
        let flips = std::thread::spawn(move || {
            let mut flips = 0_u64;
            let names = ["P", "Q"].map(|name| {
                std::ffi::CString::new(root.join(name).display().to_string()).expect("a path")
            });
            while !over.load(Ordering::Relaxed) {
                let here = nix::fcntl::AT_FDCWD;
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                let [one, other] = names.each_ref().map(std::ffi::CString::as_c_str);
                nix::fcntl::renameat2(here, one, here, other, flags).expect("an exchange");
                flips += 1;
            }
            flips
        });
        let (mut starts, mut cases) = (0_u64, 0);
        for (head, at) in phases(who) {
            let inner = if at.starts_with('/') { "/old" } else { "inner" };
            for layer in LAYERS {
                let layer = layer.replace("AT", at).replace("INNER", inner);
                desk.write("box/r.yaml", &format!("{head}  - {layer}\n"));
                cases += 1;
                // What an overlay makes for itself on the host is looked at by the plan only;
                // SECURITY.md says so.
                if layer.contains("create: true") && !at.starts_with('/') {
                    continue;
                }
                if cases % every().div_ceil(2) != 0 {
                    continue;
                }
                for _ in 0..3 {
                    let mut apply = desk.command(&["--plain", "apply", "box/r.yaml", "--", "/no"]);
                    apply.stdout(Stdio::null()).stderr(Stdio::null());
                    let code = apply.status().expect("the program").code();
                    assert!(matches!(code, Some(125..=127)), "{code:?}\n{head}{layer}");
                    starts += 1;
                }
                let now = picture(&desk.path("outside"));
                assert!(now == before.0, "{who:?}\n{head}{layer}\n{:?}", now.keys());
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let flips = flips.join().expect("flips");
        println!("{who:?}: {starts} starts, {flips} exchanges");
        assert!(flips > starts, "{flips} exchanges for {starts} starts");
        assert_eq!(mounts(), before.1);
    }
}
