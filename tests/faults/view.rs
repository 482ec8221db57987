//! A process as it looks from outside, in words that two runs have in common.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_char},
    fs,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

pub type View = BTreeMap<String, String>;

/// Fields of `/proc/PID/status` that say what a process may do, and what it hears.
const FIELDS: &[&str] = &[
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Threads",
];

/// Everything there is to see of a process; `folder` is where its recipe stands.
pub fn of(pid: i32, folder: &Path) -> View {
    let mut view = View::new();
    let mut see = |name: &str, value: String| {
        view.insert(name.to_owned(), value.replace(&folder.display().to_string(), "."));
    };
    for link in ["user", "mnt", "uts", "pid", "pid_for_children", "ipc", "net", "cgroup", "time"] {
        let of = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/{link}"));
        let is_host = of("self").ok() == of(&pid.to_string()).ok();
        see(&format!("ns {link}"), if is_host { "the host's" } else { "its own" }.to_owned());
    }
    let status = read(pid, "status");
    for line in status.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "NSpid" => see(field, value.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")),
            field if FIELDS.contains(&field) => see(field, squeezed(value)),
            _ => {}
        }
    }
    for file in ["uid_map", "gid_map", "setgroups", "limits", "cgroup", "oom_score_adj", "comm"] {
        see(file, squeezed(&read(pid, file)));
    }
    see("mounts", mounts(&read(pid, "mountinfo")));
    for link in ["cwd", "root"] {
        let link_of = fs::read_link(format!("/proc/{pid}/{link}"));
        see(link, link_of.map_or_else(|e| e.to_string(), |path| path.display().to_string()));
    }
    see("descriptors", descriptors(pid));
    see("session", session(pid));
    let environment = read(pid, "environ");
    let mut names: Vec<&str> =
        environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    names.sort_unstable();
    see("environment", names.join(" "));
    see("names", names_of_host(pid).unwrap_or_else(|| "?".to_owned()));
    let owner = fs::metadata(format!("/proc/{pid}/status")).map(|found| found.uid());
    see("owner of /proc/PID", format!("{owner:?}"));
    view
}

fn read(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}"));
    bytes.map_or_else(|e| e.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn squeezed(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What the mounts are, where, with which flags and propagation. Numbers that the kernel counts up are left out.
fn mounts(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let place = |id: &str| {
        let found = rows.iter().position(|row| row.first() == Some(&id));
        found.map_or_else(|| "-".to_owned(), |index| index.to_string())
    };
    let row = |row: &Vec<&str>| {
        let parent = place(row.get(1).copied().unwrap_or_default());
        let device = row.get(2).and_then(|device| device.split(':').next()).unwrap_or_default();
        let rest = row.iter().skip(3).map(|word| match word.split_once(':') {
            Some((kind @ ("shared" | "master" | "propagate_from"), _)) => kind.to_owned(),
            _ if word.starts_with("/dev/loop") => "/dev/loop".to_owned(),
            // The same, said to a kernel that does not know the newer word.
            _ => word.replace("lowerdir+=", "lowerdir="),
        });
        let rest: Vec<String> = rest.collect();
        // Where there is no device, a name that nobody acts on stands in its place.
        let is_label = |at: usize| {
            let is_source = at >= 2 && rest.get(at - 2).is_some_and(|word| word == "-");
            is_source && !rest[at].starts_with('/')
        };
        let rest =
            rest.iter().enumerate().filter(|(at, _)| !is_label(*at)).map(|(_, word)| word.as_str());
        format!("{parent} {device} {}", rest.collect::<Vec<_>>().join(" "))
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn descriptors(pid: i32) -> String {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut found: Vec<String> = all
        .map(|entry| {
            let to = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
            // The number of a pipe, or of a file without a name.
            let to = to.split([':', '#']).next().unwrap_or_default().to_owned();
            format!("{} {to}", entry.file_name().to_string_lossy())
        })
        .collect();
    found.sort();
    found.join("\n")
}

/// Whether it leads a session and a group, and has a terminal.
fn session(pid: i32) -> String {
    let stat = read(pid, "stat");
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers: Vec<&str> = rest.split_whitespace().collect();
    let own = pid.to_string();
    let is_own = |at: usize| numbers.get(at).is_some_and(|number| **number == own);
    format!("leads group: {}, session: {}, terminal: {:?}", is_own(2), is_own(3), numbers.get(4))
}

/// The hostname and the domain name where the process is, asked by a child that goes there.
fn names_of_host(pid: i32) -> Option<String> {
    let is_host = |kind: &str| {
        let of = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/{kind}")).ok();
        of("self") == of(&pid.to_string())
    };
    let open = |kind: &str| match is_host(kind) {
        true => Some(None),
        false => fs::File::open(format!("/proc/{pid}/ns/{kind}")).ok().map(Some),
    };
    let (user, uts) = (open("user")?, open("uts")?);
    if uts.is_none() {
        return Some("the host's".to_owned());
    }
    let mut ends = [0; 2];
    // SAFETY: the child makes calls on numbers and on its own stack, and ends.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return None;
        }
        let child = libc::fork();
        if child == 0 {
            for namespace in [&user, &uts].into_iter().flatten() {
                if libc::setns(namespace.as_raw_fd(), 0) != 0 {
                    libc::_exit(1);
                }
            }
            let mut names = std::mem::zeroed::<libc::utsname>();
            libc::uname(&raw mut names);
            libc::write(ends[1], (&raw const names).cast(), size_of::<libc::utsname>());
            libc::_exit(0);
        }
        libc::close(ends[1]);
        let mut names = std::mem::zeroed::<libc::utsname>();
        let read = libc::read(ends[0], (&raw mut names).cast(), size_of::<libc::utsname>());
        libc::close(ends[0]);
        libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
        let text = |chars: &[c_char]| {
            let bytes: Vec<u8> = chars.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
            CString::new(bytes).unwrap_or_default().into_string().unwrap_or_default()
        };
        (read > 0).then(|| format!("{} {}", text(&names.nodename), text(&names.domainname)))
    }
}

/// What two views do not have in common, shortly.
pub fn difference(whole: &View, found: &View) -> String {
    let keys = whole.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = keys.into_iter().filter(|key| whole.get(*key) != found.get(*key));
    let lines = differs.map(|key| {
        let of = |view: &View| view.get(key).cloned().unwrap_or_default();
        let (a, b) = (of(whole), of(found));
        let only = |a: &str, b: &str| {
            a.lines().filter(|line| !b.lines().any(|l| l == *line)).collect::<Vec<_>>().join("; ")
        };
        format!("{key}: {} -> {}", only(&a, &b), only(&b, &a))
    });
    lines.collect::<Vec<_>>().join(" | ")
}

/// Whether it has been killed, though it may not have gone yet.
pub fn is_dying(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let kill = 1 << (libc::SIGKILL - 1);
    let waits = |name| {
        let pending = field(name).and_then(|bits| u64::from_str_radix(bits, 16).ok());
        pending.is_none_or(|pending| pending & kill != 0)
    };
    field("State:").is_none_or(|state| state.starts_with(['Z', 'X']))
        || waits("SigPnd:")
        || waits("ShdPnd:")
}
