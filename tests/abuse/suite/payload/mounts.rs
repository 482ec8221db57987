//! Mounts: undone, changed, made.

use super::{
    super::check::{Broke, Check, Facts, Held, How, Verdict},
    all, c, call,
    files::can_write_in,
    named, open, read, refused,
};

pub const CHECKS: &[Check] = &[
    Check { name: "ro_remount", how: How::Inside(ro_remount) },
    Check { name: "umount_reveal", how: How::Inside(umount_reveal) },
    Check { name: "fresh_proc", how: How::Inside(fresh_proc) },
    Check { name: "mount_new", how: How::Inside(mount_new) },
    Check { name: "cgroup_mount", how: How::Inside(cgroup_mount) },
    Check { name: "nested_userns", how: How::Inside(nested_userns) },
    Check { name: "new_namespaces", how: How::Inside(new_namespaces) },
    Check { name: "pivot", how: How::Inside(pivot) },
];

fn mount(source: &str, at: &str, kind: &str, flags: u64) -> Result<i64, i32> {
    let (source, at, kind) = (c(source), c(at), c(kind));
    call(
        libc::SYS_mount,
        &[
            source.as_ptr() as usize,
            at.as_ptr() as usize,
            kind.as_ptr() as usize,
            flags as usize,
            0,
        ],
    )
}

fn unmount(at: &str) -> Result<i64, i32> {
    let at = c(at);
    call(libc::SYS_umount2, &[at.as_ptr() as usize, libc::MNT_DETACH as usize])
}

/// Whoever may mount could undo it for everybody here; so it is undone in a copy.
fn in_a_copy() {
    if call(libc::SYS_unshare, &[libc::CLONE_NEWNS as usize]).is_ok() {
        let _ = mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE);
    }
}

fn ro_remount(facts: &Facts) -> Verdict {
    in_a_copy();
    let mut tried = Vec::new();
    for at in ["/usr", "/etc", "/", facts.get("shown")] {
        if can_write_in(at).is_ok() {
            continue;
        }
        let by_old = mount("none", at, "none", libc::MS_REMOUNT | libc::MS_BIND);
        let by_new = clear_read_only(at);
        if (by_old.is_ok() || by_new.is_ok()) && can_write_in(at).is_ok() {
            return Broke(format!("{at} could be written again"));
        }
        tried.push(refused(by_old.and(by_new), at));
    }
    if tried.is_empty() { Broke("nothing was read-only".to_owned()) } else { all(tried) }
}

fn clear_read_only(at: &str) -> Result<i64, i32> {
    const MOUNT_SETATTR: i64 = 442;
    let (at, attributes) = (c(at), [0_u64, 1, 0, 0]);
    let arguments =
        [libc::AT_FDCWD as usize, at.as_ptr() as usize, 0, attributes.as_ptr() as usize, 32];
    call(MOUNT_SETATTR, &arguments)
}

fn umount_reveal(_: &Facts) -> Verdict {
    in_a_copy();
    let table = read("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<String> =
        table.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect();
    // What was mounted last lies on top.
    points.reverse();
    all(points.iter().map(|at| refused(unmount(at), at)))
}

fn fresh_proc(_: &Facts) -> Verdict {
    in_a_copy();
    let unshared = call(libc::SYS_unshare, &[libc::CLONE_NEWPID as usize]);
    let mounted = ["/tmp", "/dev/shm", "/mnt"].map(|at| {
        let found = mount("proc", at, "proc", 0);
        if found.is_ok() {
            let _ = unmount(at);
        }
        refused(found, &format!("proc on {at}"))
    });
    all(mounted.into_iter().chain([Held(format!("unshare: {:?}", unshared.map_err(named)))]))
}

fn mount_new(_: &Facts) -> Verdict {
    in_a_copy();
    const OPEN_TREE: i64 = 428;
    const FSOPEN: i64 = 430;
    const CLONE: usize = 1;
    let (root, tmpfs) = (c("/"), c("tmpfs"));
    let old = mount("tmpfs", "/tmp", "tmpfs", 0);
    if old.is_ok() {
        let _ = unmount("/tmp");
    }
    let bound = mount("/usr", "/tmp", "none", libc::MS_BIND);
    if bound.is_ok() {
        let _ = unmount("/tmp");
    }
    all([
        refused(old, "mount"),
        refused(bound, "bind"),
        refused(
            call(OPEN_TREE, &[libc::AT_FDCWD as usize, root.as_ptr() as usize, CLONE]),
            "open_tree",
        ),
        refused(call(FSOPEN, &[tmpfs.as_ptr() as usize, 0]), "fsopen"),
    ])
}

fn cgroup_mount(_: &Facts) -> Verdict {
    let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP;
    let unshared = call(libc::SYS_unshare, &[kinds as usize]);
    let places = ["/tmp", "/mnt", "/dev/shm"];
    let tried = places.map(|at| {
        let options = c("memory");
        let (kind, path) = (c("cgroup"), c(at));
        let words = [
            kind.as_ptr() as usize,
            path.as_ptr() as usize,
            kind.as_ptr() as usize,
            0,
            options.as_ptr() as usize,
        ];
        match call(libc::SYS_mount, &words) {
            Err(errno) => Held(format!("cgroup on {at}: {}", named(errno))),
            Ok(_) => {
                let found = open(&format!("{at}/release_agent"), libc::O_WRONLY);
                let _ = unmount(at);
                refused(found, "release_agent")
            }
        }
    });
    let v2 = mount("cgroup2", "/tmp", "cgroup2", 0);
    if v2.is_ok() {
        let _ = unmount("/tmp");
    }
    let unshared = Held(format!("unshare: {:?}", unshared.map_err(named)));
    all(tried.into_iter().chain([unshared, refused(v2, "cgroup2")]))
}

fn nested_userns(_: &Facts) -> Verdict {
    let unshared = call(libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]);
    let cloned = call(libc::SYS_clone, &[(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize, 0]);
    if cloned == Ok(0) {
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) }
    }
    all([refused(unshared, "unshare"), refused(cloned, "clone"), refused(clone3(), "clone3")])
}

/// The flags lie behind a pointer, where no filter looks (CVE-2021-41133's kin).
fn clone3() -> Result<i64, i32> {
    let arguments = [libc::CLONE_NEWUSER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let found = call(libc::SYS_clone3, &[arguments.as_ptr() as usize, size_of_val(&arguments)]);
    if found == Ok(0) {
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) }
    }
    found
}

fn new_namespaces(_: &Facts) -> Verdict {
    let kinds = [
        ("mnt", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("pid", libc::CLONE_NEWPID),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", 0x80),
    ];
    all(kinds.map(|(name, flag)| refused(call(libc::SYS_unshare, &[flag as usize]), name)))
}

fn pivot(_: &Facts) -> Verdict {
    let dot = c(".");
    let found = call(libc::SYS_pivot_root, &[dot.as_ptr() as usize, dot.as_ptr() as usize]);
    // Whether it may is asked first; a place that is no mount point comes after.
    Verdict::broke_if(
        !matches!(found, Err(libc::EPERM | libc::ENOSYS)),
        format!("{:?}", found.map_err(named)),
    )
}
