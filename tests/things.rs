//! What a recipe puts into the tree, as it is inside; and that a hostile tree leads nobody out while it is put there.

#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use machine::{Desk, Who};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

const HEAD: &str = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount\n";

/// What a shell says in a sandbox of these layers, as root and as a user.
#[track_caller]
fn says(layers: &str, script: &str, said: &str) {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_dir("tree/in");
        desk.make_dir("x");
        desk.write("r.yaml", &format!("{HEAD}{layers}"));
        let ran = desk.run(&["--plain", "apply", "r.yaml", "--", "sh", "-c", script]).succeeds();
        assert_eq!(ran.out(), said, "{who:?}: {}", ran.err());
    }
}

#[test]
fn a_bind_is_read_only_with_what_is_mounted_below() {
    says(
        "  - tmpfs: x\n  - dir: x/in\n  - tmpfs: x/in\n  - bind: {from: x, to: tree, read_only: true}\n",
        "touch tree/a 2>/dev/null || touch tree/in/a 2>/dev/null || echo kept; touch x/in/b && echo made",
        "kept\nmade\n",
    );
}

#[test]
fn a_bind_takes_flags_and_may_leave_mounts_out() {
    let flags = "findmnt --noheadings --raw --output VFS-OPTIONS --target tree | grep -o 'nosuid\\|nodev\\|noexec'";
    says(
        "  - bind: {from: x, to: tree, nosuid: true, nodev: true, noexec: true}\n",
        flags,
        "nosuid\nnodev\nnoexec\n",
    );
    says(
        "  - tmpfs: x\n  - dir: x/in\n  - tmpfs: x/in\n  - file: {at: x/in/a}\n  - bind: {from: x, to: tree, recursive: false}\n",
        "ls x/in; ls tree/in",
        "a\n",
    );
}

#[test]
fn a_source_that_need_not_be_there_is_left_out_and_the_plan_says_so() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("x");
    let layers = "  - bind: {from: gone, to: x, optional: true}\n  - mask: {at: x/gone, optional: true}\n  - read_only: {at: x/gone, optional: true}\n";
    desk.write("r.yaml", &format!("{HEAD}{layers}"));
    let plan = desk.run(&["plan", "r.yaml"]).out();
    assert_eq!(plan.matches("skipped, there is nothing").count(), 3, "{plan}");
    desk.run(&["apply", "r.yaml", "--", "true"]).succeeds();
    desk.write("r.yaml", &format!("{HEAD}{}", layers.replace(", optional: true", "")));
    assert_eq!(desk.run(&["apply", "r.yaml", "--", "true"]).code(), 125);
    // What is there and cannot be bound is not skipped.
    desk.write(
        "r.yaml",
        &format!("{HEAD}  - bind: {{from: /etc/passwd, to: x, read_only: true, optional: true}}\n"),
    );
    assert_eq!(desk.run(&["apply", "r.yaml", "--", "true"]).code(), 125);
}

#[test]
fn a_mount_is_made_read_only_where_it_stands() {
    says(
        "  - tmpfs: x\n  - dir: x/in\n  - tmpfs: x/in\n  - read_only: x\n",
        "touch x/a 2>/dev/null || touch x/in/a 2>/dev/null || echo kept",
        "kept\n",
    );
}

#[test]
fn what_is_masked_shows_nothing() {
    says(
        "  - tmpfs: x\n  - dir: x/in\n  - file: {at: x/in/a}\n  - file: {at: x/b, content: secret}\n  - mask: [x/in, x/b]\n",
        "ls -A x/in; cat x/b; stat -c %t:%T x/b; touch x/in/c 2>/dev/null || echo kept",
        "1:3\nkept\n",
    );
}

#[test]
fn a_mask_after_a_pivot_is_the_hosts_null_and_not_what_the_root_calls_so() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_dir("root/dev");
        desk.write("root/secret", "secret");
        desk.write("root/known", "known");
        desk.make_dir("root/usr");
        symlink("../known", desk.path("root/dev/null")).expect("a link");
        let layers = "  - bind: {from: root, to: root}\n  - bind: {from: /usr, to: root/usr, read_only: true}\n  - pivot_root: root\n  - mask: /secret\n";
        desk.write("r.yaml", &format!("{HEAD}{layers}"));
        let lib = "/usr/bin/stat -c %t:%T /secret";
        for name in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), desk.path(&format!("root/{name}"))).expect("a link");
        }
        let ran =
            desk.run(&["--plain", "apply", "r.yaml", "--", "/usr/bin/sh", "-c", lib]).succeeds();
        assert_eq!(ran.out(), "1:3\n");
    }
}

#[test]
fn a_root_in_five_lines_has_usr_a_tmp_a_dev_and_a_proc() {
    says(
        "  - pid\n  - root: [/usr, /etc]\n",
        "ls /; touch /usr/a 2>/dev/null || echo kept; touch /tmp/a && ls /tmp; cat /proc/1/comm; \
         echo x > /dev/null; head -c 3 /dev/zero | wc -c; ls /dev/pts; readlink /dev/fd; test -d /home || echo gone",
        "bin\ndev\netc\nlib\nlib64\nproc\nsbin\ntmp\nusr\nkept\na\nisorecipe\n3\nptmx\n/proc/self/fd\ngone\n",
    );
}

#[test]
fn a_dev_over_the_hosts_own_works_as_a_terminal_does() {
    says(
        "  - dev\n",
        "ls /dev | tr '\\n' ' '; script -qec 'echo pty' /dev/null < /dev/null | tr -d '\\r'; echo a > /dev/shm/a && cat /dev/shm/a",
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero pty\na\n",
    );
}

#[test]
fn a_file_that_does_not_fit_is_refused_and_said() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("x");
    let line = format!("        {}\n", "a".repeat(90));
    let content = line.repeat(100);
    let layers = format!(
        "  - tmpfs: {{at: x, size: 4K}}\n  - file:\n      at: x/a\n      content: |\n{content}"
    );
    desk.write("r.yaml", &format!("{HEAD}{layers}"));
    let ran = desk.run(&["--plain", "apply", "r.yaml", "--", "true"]);
    assert_eq!(ran.code(), 125);
    assert!(ran.err().contains("error[file::no_room]"), "{}", ran.err());
}

/// A tree in which every way leads out, and what somebody keeps beside it.
fn hostile_desk() -> Desk {
    let desk = Desk::of(Who::ordinary());
    for directory in ["outside/in", "own/tree/plain", "own/root"] {
        desk.make_dir(directory);
    }
    desk.write("outside/kept", "kept");
    let outside = desk.path("outside").display().to_string();
    let links = [
        ("absolute", outside.clone()),
        ("relative", "../../outside".to_owned()),
        ("dangling", format!("{outside}/missing")),
        ("loop", "loop".to_owned()),
        ("magic", format!("/proc/self/root{outside}")),
        ("cwd", "/proc/self/cwd/outside".to_owned()),
        ("old", format!("/.old{outside}")),
    ];
    for (name, to) in links {
        symlink(to, desk.path(&format!("own/tree/{name}"))).expect("a link");
    }
    desk
}

fn listed(folder: &Path) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut next = vec![folder.to_owned()];
    while let Some(path) = next.pop() {
        let found = fs::symlink_metadata(&path).expect("a file");
        all.push(format!("{} {:?} {}", path.display(), found.permissions(), found.len()));
        if found.is_dir() {
            next.extend(fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn no_link_in_a_hostile_tree_leads_out() {
    let desk = hostile_desk();
    let before = listed(&desk.path("outside"));
    let roots = [
        ("  - bind: {from: tree, to: root}\n", "root/"),
        ("  - bind: {from: tree, to: root}\n  - pivot_root: {new: root, old: .old}\n", "/"),
    ];
    let mut refused = 0;
    for (root, start) in roots {
        for link in ["absolute", "relative", "dangling", "loop", "magic", "cwd", "old"] {
            for made in [
                "  - file: {at: PLACE/new, content: bad}\n",
                "  - file: {at: PLACE, content: bad}\n",
                "  - symlink: {at: PLACE/new, to: bad}\n",
                "  - symlink: {at: PLACE, to: bad}\n",
                "  - dir: PLACE/new\n",
                "  - dev: PLACE\n",
                "  - tmpfs: PLACE\n  - file: {at: PLACE/new}\n  - dir: PLACE/more\n",
                "  - mask: PLACE/kept\n",
                "  - read_only: PLACE\n",
            ] {
                let layers = format!("{root}{}", made.replace("PLACE", &format!("{start}{link}")));
                desk.write("own/r.yaml", &format!("{HEAD}{layers}"));
                let ran = desk.run(&["--plain", "apply", "own/r.yaml", "--", "/missing"]);
                assert!(matches!(ran.code(), 125 | 127), "{layers}{}", ran.err());
                refused += usize::from(ran.code() == 125);
                assert_eq!(listed(&desk.path("outside")), before, "{layers}");
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn who_swaps_a_directory_for_a_link_meanwhile_gets_nothing_made_outside() {
    let desk = hostile_desk();
    let before = listed(&desk.path("outside"));
    let (spot, link) = (desk.path("own/tree/plain"), desk.path("own/tree/absolute"));
    let layers = "  - tmpfs: tree/plain\n  - file: {at: tree/plain/new}\n  - symlink: {at: tree/plain/link, to: bad}\n  - dir: tree/plain/more\n";
    desk.write("own/r.yaml", &format!("{HEAD}{layers}"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &spot, AT_FDCWD, &link, flags).expect("both are there");
            }
        });
        for _ in 0..100 {
            let ran = desk.run(&["--plain", "apply", "own/r.yaml", "--", "true"]);
            let known = [
                "file::elsewhere",
                "file::host",
                "dir::host",
                "dir::leads_nowhere",
                "file::no_directory",
                "verify::not_done",
            ];
            let is_known = ran.code() == 0
                || known.iter().any(|code| ran.err().contains(&format!("error[{code}]")));
            if !is_known || listed(&desk.path("outside")) != before {
                is_over.store(true, Ordering::Relaxed);
                panic!("{} {}", ran.code(), ran.err());
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
