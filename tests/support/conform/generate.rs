//! Random cases: every layer with every setting, in right and wrong orders,
//! on good ground and on bad.
//!
//! Nothing here writes outside the folder of the case, whatever the kernel
//! allows: what is bound from elsewhere is read-only, what is made lies in it.

use super::{case::Case, dice::Dice};

type Weighted = [(usize, &'static str)];

/// Layers; a word in capitals is replaced by something that fits.
const LAYERS: &Weighted = &[
    (8, "user: {map: root}"),
    (3, "user: {map: none}"),
    (2, "user: {map: MAP, nested: false}"),
    (1, "user: {map: auto, nested: false}"),
    (2, "user: {map: self}"),
    (1, "user: {map: auto}"),
    (1, "user: {map: MAP, setgroups: GROUPS}"),
    (2, "user: {map: {uid: [RANGE], gid: [RANGE]}}"),
    (1, "user: {map: {uid: [RANGE], gid: [RANGE]}, setgroups: GROUPS}"),
    (1, "user: {map: {uid: [RANGE, RANGE], gid: [RANGE]}}"),
    (1, "user: {map: {uid: [RANGE], gid: []}}"),
    (1, "user: {map: {uid: [], gid: [RANGE]}}"),
    (3, "uts"),
    (1, "uts: {hostname: one, domainname: two}"),
    (3, "hostname: box"),
    (2, "domainname: box"),
    (3, "pid: {proc: BOOL, init: BOOL}"),
    (3, "pid"),
    (2, "pid: {proc: true, init: false}"),
    (2, "ipc"),
    (2, "net"),
    (1, "net: {mode: NETWORK}"),
    (2, "cgroup"),
    (2, "time"),
    (2, "time: {boottime: OFFSET}"),
    (1, "time: {monotonic: OFFSET, boottime: OFFSET}"),
    (6, "mount"),
    (4, "mount: {propagation: PROPAGATION}"),
    (2, "proc"),
    (3, "proc: AT"),
    (1, "sysfs"),
    (2, "sysfs: AT"),
    (1, "sysfs: {at: AT, read_only: BOOL}"),
    (2, "mqueue: AT"),
    (6, "tmpfs: AT"),
    (3, "tmpfs: {at: AT, mode: MODE}"),
    (1, "tmpfs: {at: AT, size: SIZE}"),
    (5, "bind: {from: PLACE, to: AT, read_only: true}"),
    (3, "bind: {from: OUTER, to: AT, read_only: true}"),
    (4, "bind: {from: PLACE, to: AT}"),
    (2, "bind: {from: TARGET, to: TARGET}"),
    (
        3,
        "bind: {from: PLACE, to: AT, read_only: BOOL, nosuid: BOOL, nodev: BOOL, noexec: BOOL, optional: BOOL, recursive: BOOL, write: BOOL}",
    ),
    (
        2,
        "bind: {from: OUTER, to: AT, read_only: true, noexec: BOOL, optional: BOOL, recursive: BOOL}",
    ),
    (3, "read_only: AT"),
    (1, "read_only: [AT, AT]"),
    (2, "read_only: {at: AT, optional: BOOL}"),
    (3, "mask: AT"),
    (1, "mask: [AT, AT]"),
    (2, "mask: {at: AT, optional: BOOL}"),
    (1, "mask: {at: OUTER, optional: BOOL}"),
    (4, "file: {at: MADE}"),
    (2, "file: {at: MADE, content: hello, mode: MODE}"),
    (1, "file: {at: PLACE, content: hello}"),
    (4, "symlink: {at: MADE, to: LED}"),
    (1, "symlink: {at: PLACE, to: LED}"),
    (3, "dev: AT"),
    (1, "dev"),
    (2, "root: [PLACE]"),
    (3, "root: {read_only: [/usr, PLACE], tmp: BOOL, dev: BOOL, proc: BOOL}"),
    (1, "root: {read_only: /usr, write: [PLACE], dev: BOOL, proc: false}"),
    (5, "dir: MADE"),
    (2, "dir: {path: MADE, mode: MODE}"),
    (3, "overlay: {lower: lower, upper: upper, work: work, at: AT}"),
    (2, "overlay: {lower: LOWER, upper: WRITTEN, work: WRITTEN, at: AT}"),
    (2, "overlay: {lower: LOWER, upper: upper, work: work, at: AT}"),
    (2, "overlay: {lower: LOWER, at: AT}"),
    (2, "overlay: {lower: [LOWER, LOWER], upper: upper, work: work, at: AT}"),
    (1, "overlay: {lower: [LOWER, LOWER, LOWER], at: AT}"),
    (1, "overlay: {lower: LOWER, upper: new/upper, work: new/work, at: AT, create: true}"),
    (1, "overlay: {lower: IMAGE, upper: upper, work: work, at: AT}"),
    (1, "overlay: {lower: IMAGE, at: AT}"),
    (
        1,
        "overlay: {lower: {image: IMAGE, trusted: true, via: WAYS}, upper: upper, work: work, at: AT}",
    ),
    (1, "overlay: {lower: [IMAGE, LOWER], upper: upper, work: work, at: AT}"),
    (4, "pivot_root: TARGET"),
    (2, "pivot_root: {new: TARGET, old: .old}"),
    (2, "pivot_root: AT"),
    (1, "pivot_root: {new: AT, old: OLD}"),
    (1, "capabilities: none"),
    (3, "capabilities: {keep: [CAPS], ambient: [CAPS]}"),
    (2, "capabilities: {keep: [CAPS]}"),
    (2, "capabilities: {drop: [CAPS]}"),
    (1, "capabilities: {drop: [CAPS], ambient: [CAPS]}"),
    (1, "capabilities: {ambient: [CAPS]}"),
    (3, "identity: {uid: ID, gid: ID, groups: SUPPLEMENTARY}"),
    (1, "identity: {uid: ID, gid: ID}"),
    (3, "rlimits: {RESOURCE: AMOUNT}"),
    (2, "rlimits: {RESOURCE: {soft: AMOUNT, hard: AMOUNT}}"),
    (2, "limits: {memory: 1G, pids: 64, cpu: 150%, need: prefer}"),
    (1, "limits: {pids: 1, need: prefer}"),
    (1, "limits: {pids: 2, time: 1h, output: 1M}"),
    (1, "limits: {memory: 8M, need: optional}"),
    (3, "landlock: {read: [ROOM], write: [ROOM], execute: [ROOM]}"),
    (2, "landlock: {write: [ROOM, PLACE], execute: [ROOM, RUN]}"),
    (1, "landlock: {write: [/], execute: [RUN, RUN]}"),
    (1, "landlock: {write: [{path: PLACE, optional: BOOL}, /], execute: [/]}"),
    (1, "landlock: {bind: [80], connect: [80, 0], scope: [signal]}"),
    (1, "landlock: {scope: [signal, abstract_unix_socket]}"),
    (2, "seccomp"),
    (1, "seccomp: strict"),
    (3, "seccomp: {base: none, deny: [FILTERED], otherwise: allow}"),
    (1, "seccomp: {base: none, deny: [FILTERED, FILTERED], otherwise: log}"),
    (1, "seccomp: {base: none, rules: [{call: FILTERED, then: kill}], otherwise: allow}"),
    (
        1,
        "seccomp: {base: none, rules: [{call: FILTERED, when: arg5 == 7, then: kill}], otherwise: allow}",
    ),
    (1, "seccomp: {base: strict, allow: [FILTERED], otherwise: ENOSYS}"),
    (1, "seccomp: {base: none, allow: [execve, write, exit_group], otherwise: kill}"),
    (1, "seccomp: {base: none, allow: [execve, write, exit_group, seccomp], otherwise: EPERM}"),
];

/// What a recipe has beside its layers.
const BESIDE: &Weighted = &[
    (3, "command: [PROGRAM]"),
    (1, "command: [SHELLED]"),
    (2, "cwd: PLACE"),
    (1, "cwd: /"),
    (1, "no_new_privs: false"),
    (1, "env: {PATH: SEARCHED}"),
];

/// What is there before the recipe begins.
const GROUND: &Weighted = &[
    (3, "@propagation private"),
    (2, "@propagation slave"),
    (3, "@inside"),
    (4, "@inside mount"),
    (3, "@inside mount + @limit KIND LIMIT"),
    (2, "@chroot"),
    (3, "@drop CAPABILITY"),
    (2, "@bound CAPABILITY"),
    (2, "@hard RESOURCE AMOUNT"),
    (1, "@drop CAPABILITY + @drop CAPABILITY"),
    (1, "@nnp"),
    (1, "@sudo"),
    (1, "@groups 54322"),
    (8, "@mount FLAGS WHERE"),
    (2, "@mount FLAGS WHERE + @mount FLAGS WHERE"),
    (2, "@mask MASK"),
];
/// The part of it that an ordinary user can prepare.
const OWN_GROUND: &Weighted = &[
    (2, "@hard RESOURCE AMOUNT"),
    (2, "@inside"),
    (3, "@inside mount"),
    (3, "@inside mount + @limit KIND LIMIT"),
    (1, "@nnp"),
];

/// Words in capitals, and what may stand for them.
const WORDS: &[(&str, &Weighted)] = &[
    ("MAP", &[(1, "root"), (1, "self"), (1, "none")]),
    ("GROUPS", &[(2, "allow"), (1, "deny")]),
    ("NETWORK", &[(2, "none"), (1, "host")]),
    (
        "OFFSET",
        &[
            (3, "3days"),
            (2, "-1h"),
            (1, "0s"),
            (1, "-1ns"),
            (1, "250ms"),
            (2, "-3000days"),
            (1, "140years"),
            (1, "150years"),
            (1, "1000years"),
            (1, "-1000years"),
        ],
    ),
    ("BOOL", &[(1, "true"), (1, "false")]),
    ("PROPAGATION", &[(1, "private"), (1, "slave"), (2, "shared"), (2, "unchanged")]),
    ("MODE", &[(3, "0700"), (1, "0755"), (1, "0000"), (1, "01777"), (1, "0500")]),
    ("SIZE", &[(1, "4K"), (1, "1M"), (1, "1")]),
    ("OLD", &[(2, "in"), (1, ".old/deep"), (1, "file"), (1, "out")]),
    (
        "RUN",
        &[
            (3, "PROGRAM"),
            (2, "/bin"),
            (1, "/usr/bin"),
            (1, "/lib64/ld-linux-x86-64.so.2"),
            (1, "ROOM"),
        ],
    ),
    (
        "ROOM",
        &[
            (6, "/"),
            (3, "FOLDER"),
            (2, "/usr"),
            (1, "/proc"),
            (2, "TARGET"),
            (2, "PLACE"),
            (1, "/tmp"),
        ],
    ),
    ("FILTERED", CALLS),
    ("PROGRAM", PROGRAMS),
    ("SHELLED", &[(3, "/bin/sh, -c, ':'"), (1, "sh, -c, ':'"), (1, "missing"), (1, "true")]),
    (
        "SEARCHED",
        &[(1, "/bin"), (1, "/missing:/bin"), (1, "'FOLDER/theirs:FOLDER'"), (1, "'FOLDER:'")],
    ),
    (
        "OUTER",
        &[
            (3, "/proc"),
            (3, "/"),
            (2, "/usr"),
            (1, "/dev"),
            (1, "/dev/null"),
            (1, "/proc/self"),
            (1, "/sys"),
        ],
    ),
    (
        "LOWER",
        &[
            (5, "lower"),
            (3, "source"),
            (2, "TARGET"),
            (1, "/"),
            (1, "/usr"),
            (1, "/proc"),
            (1, "upper"),
            (1, "target/in"),
            (4, "PLACE"),
        ],
    ),
    ("IMAGE", &[(5, "squashfs"), (4, "erofs"), (1, "missing"), (1, "file"), (1, "theirs/erofs")]),
    ("WAYS", &[(1, "kernel"), (1, "unpack"), (1, "[kernel, unpack]")]),
    (
        "WRITTEN",
        &[(3, "upper"), (3, "work"), (1, "other"), (1, "upper/deep"), (1, "/proc"), (3, "PLACE")],
    ),
    (
        "AT",
        &[
            (10, "TARGET"),
            (1, "TARGET/in"),
            (2, "target/in"),
            (2, "source"),
            (1, "source/in"),
            (1, "upper"),
            (1, "lower"),
            (1, "/"),
            (1, "/proc"),
            (5, "PLACE"),
        ],
    ),
    (
        "MADE",
        &[
            (4, "TARGET/made"),
            (2, "TARGET/made/deep"),
            (1, "TARGET"),
            (1, "target/in/made"),
            (1, "source/made"),
            (1, "/proc/here"),
            (5, "PLACE/made"),
        ],
    ),
    (
        "LED",
        &[(3, "nowhere"), (3, "in"), (2, "/proc"), (1, ".."), (2, "TARGET"), (1, "made"), (1, "/")],
    ),
    ("PLACE", PLACES),
    ("RANGE", &[(1, "{inside: INSIDE, outside: OUTSIDE, count: COUNT}")]),
    ("INSIDE", &[(4, "0"), (1, "1"), (1, "1000"), (1, "4294967294")]),
    ("OUTSIDE", &[(4, "OWN"), (2, "0"), (1, "1"), (1, "77"), (1, "54322"), (1, "100000")]),
    ("COUNT", &[(6, "1"), (1, "2"), (1, "0"), (1, "65536"), (1, "4294967295")]),
    (
        "KIND",
        &[
            (6, "user"),
            (4, "mnt"),
            (2, "uts"),
            (2, "pid"),
            (3, "ipc"),
            (3, "net"),
            (3, "cgroup"),
            (3, "time"),
        ],
    ),
    (
        "CAPS",
        &[
            (4, "CAP"),
            (2, "CAP, CAP"),
            (1, "CAP, CAP, setpcap"),
            (1, "setpcap, setuid, setgid"),
            (1, "setpcap, sys_admin"),
        ],
    ),
    (
        "CAP",
        &[
            (2, "setpcap"),
            (2, "setuid"),
            (2, "setgid"),
            (2, "sys_admin"),
            (1, "setfcap"),
            (1, "sys_resource"),
            (1, "dac_override"),
            (1, "net_raw"),
            (1, "chown"),
        ],
    ),
    ("SUPPLEMENTARY", &[(3, "keep"), (1, "[]"), (2, "[ID]"), (1, "[ID, ID]")]),
    ("ID", &[(4, "0"), (3, "1"), (1, "1000"), (1, "OWN"), (1, "65536"), (1, "65537"), (1, "77")]),
    (
        "RESOURCE",
        &[
            (4, "nofile"),
            (2, "nproc"),
            (1, "core"),
            (1, "memlock"),
            (1, "msgqueue"),
            (1, "nice"),
            (1, "rtprio"),
            (1, "sigpending"),
            (1, "stack"),
            (1, "as"),
            (1, "data"),
        ],
    ),
    (
        "AMOUNT",
        &[
            (2, "0"),
            (1, "1"),
            (1, "4"),
            (1, "64"),
            (2, "1024"),
            (1, "4096"),
            (1, "1048576"),
            (1, "1048577"),
            (1, "1073741824"),
            (1, "1073741825"),
            (1, "unlimited"),
        ],
    ),
    ("LIMIT", &[(3, "0"), (2, "1"), (1, "2")]),
    (
        "CAPABILITY",
        &[
            (6, "21"),
            (2, "31"),
            (2, "7"),
            (2, "6"),
            (2, "1"),
            (2, "2"),
            (2, "18"),
            (3, "12"),
            (3, "25"),
            (6, "8"),
            (2, "24"),
        ],
    ),
    (
        "FLAGS",
        &[
            (3, "ro"),
            (1, "nosuid"),
            (2, "noexec"),
            (1, "nodev"),
            (1, "ro,nosuid,nodev,noexec"),
            (1, "unbindable"),
            (1, "private"),
            (1, "shared"),
            (1, "slave"),
            (1, "tmpfs"),
            (1, "rotmpfs"),
            (1, "proc"),
        ],
    ),
    (
        "WHERE",
        &[
            (3, "source"),
            (2, "target"),
            (2, "lower"),
            (1, "upper"),
            (1, "other"),
            (1, "source/in"),
            (1, "target/in"),
            (1, "."),
        ],
    ),
    (
        "MASK",
        &[(2, "file"), (2, "directory"), (2, "readonly"), (1, "sys"), (1, "rosys"), (1, "cgroup")],
    ),
];

/// Calls that a filter may deny: those of steps, those that come after one, and others.
const CALLS: &Weighted = &[
    (2, "seccomp"),
    (2, "prctl"),
    (2, "faccessat"),
    (1, "sendmsg"),
    (1, "clone3"),
    (1, "clone"),
    (1, "mount"),
    (1, "unshare"),
    (1, "close_range"),
    (1, "rt_sigprocmask"),
    (1, "ioctl"),
    (1, "ptrace"),
    (1, "keyctl"),
    (1, "mremap"),
    (1, "getdents64"),
    (1, "sched_yield"),
];

const PROGRAMS: &Weighted = &[
    (3, "FOLDER/prog"),
    (3, "/prog"),
    (1, "FOLDER/source/prog"),
    (1, "FOLDER/target/prog"),
    (1, "FOLDER/missing"),
    (1, "FOLDER/noexec"),
    (1, "FOLDER/theirprog"),
    (1, "FOLDER/theirs/prog"),
    (1, "FOLDER/script"),
    (1, "/script"),
    (1, "FOLDER/badscript"),
    (1, "FOLDER/twice"),
    (1, "FOLDER/loaded"),
    (1, "FOLDER/unloaded"),
    (1, "FOLDER/fifo"),
    (1, "FOLDER/source"),
    (1, "FOLDER/link/prog"),
    (1, "FOLDER/loop"),
    (1, "FOLDER/dangling"),
    (1, "FOLDER/file/prog"),
    (1, "prog"),
    (1, "./prog"),
];

const PLACES: &Weighted = &[
    (3, "source"),
    (2, "other"),
    (2, "lower"),
    (1, "upper"),
    (1, "work"),
    (2, "target"),
    (1, "target/in"),
    (1, "source/in"),
    (2, "file"),
    (2, "missing"),
    (1, "missing/deep"),
    (2, "link"),
    (1, "link/in"),
    (1, "linkfile"),
    (1, "dangling"),
    (1, "loop"),
    (1, "fifo"),
    (1, "file/below"),
    (1, "theirs"),
    (1, "theirs/in"),
    (1, "alien"),
    (1, "closed"),
    (1, "closed/in"),
    (1, "deep/a/b"),
    (1, "deep/a/../../source"),
    (1, "target/../other"),
    (1, "source/out"),
    (1, "."),
];

/// As many random cases as wanted, of at most so many layers.
pub fn cases(seed: u64, count: usize, most_layers: usize, has_ground: bool) -> Vec<Case> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| case(&mut dice, most_layers.max(1), has_ground)).collect()
}

fn case(dice: &mut Dice, most_layers: usize, has_ground: bool) -> Case {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |template: &str, dice: &mut Dice| {
        parts.extend(fill(template, dice).split(" + ").map(str::to_owned));
    };
    if dice.once_in(3) {
        add(dice.weighted(if has_ground { GROUND } else { OWN_GROUND }), dice);
    }
    if has_ground && dice.once_in(12) {
        add(dice.weighted(GROUND), dice);
    }
    // Most begin as a sandbox does, so that they get beyond the first layer.
    let beginnings = ["user: {map: root}", "mount", "tmpfs: TARGET"];
    let begun = [0, 2, 2, 2, 2, 3][dice.below(6)].min(most_layers - 1);
    for layer in &beginnings[..begun] {
        add(layer, dice);
    }
    for _ in 0..1 + dice.below(most_layers - begun) {
        add(dice.weighted(LAYERS), dice);
    }
    if dice.once_in(2) {
        add(dice.weighted(BESIDE), dice);
    }
    Case(parts)
}

/// Replaces every word in capitals, until none is left.
fn fill(template: &str, dice: &mut Dice) -> String {
    let mut text = template.to_owned();
    for (word, choices) in WORDS {
        while let Some(at) = find(&text, word) {
            text.replace_range(at..at + word.len(), dice.weighted(choices));
        }
    }
    text
}

/// Where a word stands that is no part of a longer one.
fn find(text: &str, word: &str) -> Option<usize> {
    let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_uppercase());
    text.match_indices(word).map(|(at, _)| at).find(|&at| {
        !is_letter(text[..at].chars().next_back())
            && !is_letter(text[at + word.len()..].chars().next())
    })
}
