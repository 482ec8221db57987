//! `isorecipe export --to sh`: the script makes the very sandbox that `apply`
//! makes, as somebody inside sees it.

#[path = "support/machine.rs"]
mod machine;

use std::{fs, process::Command};

use machine::{Desk, Ran, Who, own_uid};

/// Everything there is to see of a sandbox from inside, but for PIDs.
const LOOK: &str = r#"
cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
while read -r key value; do
    case $key in Uid:|Gid:|Groups:|Cap*|NoNewPrivs:) echo "$key $value";; esac
done </proc/self/status
echo "$(</proc/sys/kernel/hostname) $(</proc/sys/kernel/domainname)"
for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done
pwd; umask; echo */ .*/
cat /proc/self/mountinfo
"#;

/// What the new roots of these tests have in them.
const PROGRAMS: [&str; 9] =
    ["bash", "cat", "env", "findmnt", "mkdir", "mount", "readlink", "rmdir", "umount"];

/// Applies a recipe, exports it and runs the script: both look the same.
#[track_caller]
fn check(desk: &Desk, layers: &str) {
    desk.write("recipe.yaml", &format!("isorecipe: 1\nlayers:\n{layers}"));
    check_recipe(desk, "recipe.yaml", layers);
}

#[track_caller]
fn check_recipe(desk: &Desk, recipe: &str, what: &str) {
    let applied = desk.run(&["apply", recipe, "--", "bash", "-c", LOOK]).succeeds();
    desk.forget_changes();
    let script = export(desk, recipe, &["bash", "-c", LOOK]);
    let ran = run(desk, &script);
    desk.forget_changes();
    assert_eq!(ran.code(), 0, "{what}\n{script}\n{}{}", ran.out(), ran.err());
    let (expected, found) = (seen(&applied.out()), seen(&ran.out()));
    assert_eq!(found, expected, "{what}\n{script}");
}

/// The script, which says no more than a warning.
#[track_caller]
fn export(desk: &Desk, recipe: &str, command: &[&str]) -> String {
    let words = ["export", "--to", "sh", "--comment", recipe, "--"];
    desk.run(&[&words, command].concat()).succeeds().out()
}

/// Runs a script as the user of the desk would.
fn run(desk: &Desk, script: &str) -> Ran {
    desk.write("script.sh", script);
    Ran(desk.shell(&["script.sh"]).output().expect("sh"))
}

/// What was seen, without what no two runs have in common: numbers of
/// namespaces, mounts and devices, and the order in which mounts were made.
fn seen(out: &str) -> Vec<String> {
    let mut lines: Vec<String> = out.lines().map(line_seen).collect();
    let first_mount = lines.iter().position(|line| line.starts_with("mount ")).unwrap_or_default();
    assert!(first_mount > 10, "something was seen: {out}");
    lines[first_mount..].sort();
    lines
}

fn line_seen(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let [_, _, _, root, at, options, rest @ ..] = words.as_slice()
        && rest.contains(&"-")
    {
        let rest: Vec<String> = rest.iter().map(|word| mount_word(word)).collect();
        return format!("mount {root} {at} {options} {}", rest.join(" "));
    }
    match line.split_once(":[") {
        Some((kind, _)) => {
            let host = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
            let whose = if host.to_str() == Some(line) { "shared" } else { "own" };
            format!("{kind} {whose}")
        }
        None => words.join(" "),
    }
}

/// Peer groups have numbers, loop devices too. The kernel has two spellings for
/// lower layers, named by descriptor and named by path.
fn mount_word(word: &str) -> String {
    let is_tag = |tag: &&&str| word.starts_with(&format!("{tag}:"));
    if let Some(tag) = ["shared", "master", "propagate_from"].iter().find(is_tag) {
        return (*tag).to_owned();
    }
    match word.strip_prefix("/dev/loop") {
        Some(_) => "/dev/loop".to_owned(),
        None => word.replace(",lowerdir+=", ":").replacen("rw:", "rw,lowerdir=", 1),
    }
}

#[test]
fn the_steps_of_the_hands_on_are_the_same_by_hand() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &PROGRAMS);
    for step in ["step0", "step1-unmapped", "step1", "step2", "step3", "step4-rootless"] {
        check_recipe(&desk, &format!("{step}.yaml"), step);
    }
}

#[test]
fn an_image_is_mounted_by_root_and_the_sandbox_is_the_users() {
    let desk = Desk::of(Who::ordinary());
    if own_uid() != 0 {
        fs::write(desk.path("rootfs.dat"), [b"XFSB", &[0; 4096][..]].concat()).expect("a file");
        let ran = desk.run(&["export", "--to", "sh", "step4.yaml"]);
        assert_eq!(ran.code(), 1);
        assert!(ran.err().contains("error[image::needs_root]"), "{}", ran.err());
        let ran = run(&desk, &ran.out());
        assert!(ran.err().contains("unshare"), "{}", ran.err());
        return;
    }
    desk.make_rootfs("tree", &PROGRAMS);
    desk.make_image("tree", "rootfs.dat");
    let before = machine::proc_file(std::process::id() as i32, "mountinfo");
    let behind_sudo = |command| Ran(desk.through_sudo(command).output().expect("a program"));
    let command = ["step4.yaml", "--", "bash", "-c", LOOK];
    let applied = behind_sudo(desk.command(&[&["apply"], &command[..]].concat())).succeeds();
    desk.forget_changes();
    let words = [&["export", "--to", "sh"], &command[..]].concat();
    let exported = behind_sudo(desk.command(&words)).succeeds();
    // The one thing that a shell cannot say is said.
    assert!(exported.err().contains("warning[export::no_id_map]"), "{}", exported.err());
    desk.write("script.sh", &exported.out());
    let ran = behind_sudo(desk.shell(&["script.sh"])).succeeds();
    assert_eq!(seen(&ran.out()), seen(&applied.out()), "{}", exported.out());
    for made in ["merged", "upper"] {
        let owner =
            fs::metadata(desk.path(made)).map(|made| std::os::unix::fs::MetadataExt::uid(&made));
        assert_eq!(owner.expect("a directory"), desk.who.uid(), "{made}");
    }
    let after = machine::proc_file(std::process::id() as i32, "mountinfo");
    assert_eq!(after, before, "the host's mounts");
    machine::eventually("the loop device is free again", || {
        let output = Command::new("losetup").arg("-a").output().expect("losetup");
        !String::from_utf8_lossy(&output.stdout).contains(&*desk.folder().to_string_lossy())
    });
}

#[test]
fn every_map_is_the_same_by_hand() {
    let desk = Desk::of(Who::ordinary());
    let (uid, gid) = (desk.who.uid(), desk.who.gid());
    for map in [
        "map: none",
        "map: none, setgroups: deny",
        "map: self",
        &format!("map: {{uid: [{{inside: 5, outside: {uid}}}]}}"),
        &format!(
            "map: {{uid: [{{inside: 5, outside: {uid}}}], gid: [{{inside: 7, outside: {gid}}}]}}"
        ),
    ] {
        check(&desk, &format!("  - user: {{{map}}}\n"));
        // Not being root inside, the shell has to keep its rights for these.
        check(
            &desk,
            &format!(
                "  - user: {{{map}}}\n  - uts\n  - hostname: box\n  - pid: {{proc: true, init: false}}\n"
            ),
        );
    }
    check(
        &desk,
        "  - user: {map: root}\n  - user: {map: root}\n  - uts: {hostname: a, domainname: b}\n",
    );
}

#[test]
fn a_map_from_outside_is_the_same_by_hand() {
    if own_uid() != 0 {
        // Whether this user has subordinate ids is the machine's affair; the words are the same.
        let desk = Desk::of(Who::ordinary());
        desk.write("recipe.yaml", "isorecipe: 1\nlayers:\n  - user: {map: auto}\n");
        let [applied, exported] = [&["apply"][..], &["export", "--to", "sh"]]
            .map(|words| desk.run(&[words, &["recipe.yaml", "--", "true"]].concat()).code() == 0);
        assert_eq!(exported, applied);
        return;
    }
    let desk = Desk::of(Who::Root);
    check(&desk, "  - user: {map: auto}\n");
    check(
        &desk,
        "  - user: {map: auto}\n  - uts\n  - hostname: box\n  - pid: {proc: true, init: false}\n",
    );
    check(
        &desk,
        "  - user: {map: {uid: [{inside: 0, outside: 0}, {inside: 1, outside: 300000, count: 5}], gid: [{inside: 0, outside: 0}]}}\n  - uts\n",
    );
}

/// What comes before the mounts: everybody is root inside, and root can do without.
fn beginnings() -> Vec<(Who, &'static str)> {
    let inside = "  - user: {map: root}\n";
    let mut beginnings: Vec<_> = Who::all().into_iter().map(|who| (who, inside)).collect();
    beginnings.extend((own_uid() == 0).then_some((Who::Root, "")));
    beginnings
}

#[test]
fn mounts_are_the_same_by_hand() {
    for (who, user) in beginnings() {
        let desk = Desk::of(who);
        desk.make_dir("a b/$(c)");
        desk.write("file", "x");
        for mounts in [
            "  - mount\n  - tmpfs: {at: /mnt, size: 1M, mode: 0700}\n  - dir: {path: /mnt/x/y, mode: 0711}\n",
            "  - mount\n  - bind: {from: a b, to: /mnt}\n  - tmpfs: /mnt/$(c)\n  - dir: /mnt/$(c)/it's\n",
            "  - mount\n  - tmpfs: /mnt\n  - dir: /mnt/usr\n  - bind: {from: /usr, to: /mnt/usr, read_only: true}\n",
            "  - mount\n  - bind: {from: /dev/null, to: file, write: true}\n",
            // There are mounts inside, which become read-only, too.
            "  - mount\n  - tmpfs: a b\n  - dir: a b/c\n  - tmpfs: a b/c\n  - bind: {from: a b, to: /mnt, read_only: true}\n",
            "  - mount: {propagation: slave}\n  - proc\n",
            "  - mount: {propagation: shared}\n  - tmpfs: /mnt\n",
            "  - mount: {propagation: unchanged}\n",
            "  - overlay: {lower: [/usr/bin, /usr/sbin], at: /mnt}\n",
        ] {
            check(&desk, &format!("{user}  - pid: {{init: false, proc: true}}\n{mounts}"));
        }
    }
}

#[test]
fn another_root_is_the_same_by_hand() {
    for (who, user) in beginnings() {
        let desk = Desk::of(who);
        desk.make_rootfs("rootfs", &PROGRAMS);
        std::os::unix::fs::symlink("/dev/null", desk.path("link")).expect("a link");
        let overlay = "  - overlay: {lower: rootfs, at: merged, create: true}\n";
        for root in [
            // Without `old`, the old root goes at once.
            "  - proc: merged/proc\n  - pivot_root: merged\n",
            "  - pivot_root: {new: merged, old: mnt/old}\n  - dir: /made\n  - proc\n",
            // A link is followed in the old root, not in the new one.
            "  - pivot_root: {new: merged, old: .old}\n  - proc\n  - bind: {from: link, to: /dev/null, write: true}\n",
            "  - pivot_root: {new: merged, old: .old}\n  - proc\n  - bind: {from: /usr, to: /tmp, read_only: true}\n",
            "  - pivot_root: {new: merged, old: .old}\n  - proc\ncwd: /dev\nno_new_privs: false\n",
        ] {
            check(&desk, &format!("{user}  - pid: {{init: false}}\n  - mount\n{overlay}{root}"));
        }
    }
}

/// Layers of every kind, to be put together at random.
const POOL: [&str; 24] = [
    "user: {map: root}",
    "user: {map: self}",
    "uts: {hostname: a}",
    "uts: {domainname: b}",
    "hostname: x-y.z",
    "domainname: -y",
    "pid: {init: false}",
    "pid: {init: false, proc: true}",
    "pid: {}",
    "mount: {}",
    "mount: {propagation: slave}",
    "tmpfs: /mnt",
    "tmpfs: {at: sub, mode: 0700}",
    "dir: /mnt/a/b",
    "bind: {from: sub, to: /mnt}",
    "bind: {from: link, to: /mnt, read_only: true}",
    "bind: {from: /dev/null, to: /dev/null, write: true}",
    "bind: {from: /bin, to: /mnt, read_only: true}",
    "overlay: {lower: rootfs, at: merged, create: true}",
    "overlay: {lower: rootfs, upper: upper, work: work, at: merged, create: true}",
    "proc: /proc",
    "proc: merged/proc",
    "pivot_root: merged",
    "pivot_root: {new: merged, old: .old}",
];

/// Beginnings from which something may come of the rest.
const BEGINNINGS: [&[&str]; 3] = [
    &["user: {map: root}"],
    &["user: {map: root}", "pid: {init: false}", "mount: {}"],
    &[
        "user: {map: root}",
        "pid: {init: false}",
        "mount: {}",
        "overlay: {lower: rootfs, at: merged, create: true}",
    ],
];

#[test]
fn what_is_put_together_at_random_is_the_same_by_hand() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &PROGRAMS);
    desk.make_dir("sub");
    std::os::unix::fs::symlink("sub", desk.path("link")).expect("a link");
    let mut random = 20_261_123_u64;
    let mut below = |end: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % end
    };
    let mut said = 0;
    for _ in 0..60 {
        let mut layers = BEGINNINGS[below(BEGINNINGS.len())].to_vec();
        layers.extend((0..=below(3)).map(|_| POOL[below(POOL.len())]));
        let layers: String = layers.iter().map(|layer| format!("  - {layer}\n")).collect();
        desk.write("recipe.yaml", &format!("isorecipe: 1\nlayers:\n{layers}"));
        // What will not work, or cannot be said, is tested elsewhere.
        if desk.run(&["export", "--to", "sh", "recipe.yaml", "--", "bash"]).code() == 0 {
            check_recipe(&desk, "recipe.yaml", &layers);
            said += 1;
        }
    }
    assert!(said >= 15, "enough of it can be said: {said}");
}
