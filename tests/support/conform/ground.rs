//! Where a wrong model can hurt nobody: namespaces of a worker's own, limits,
//! and what a case wants to stand on (`@…` in its line).

use std::{env, fs, path::Path};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, setrlimit},
    unistd::{Gid, Uid, chdir, chroot, getegid, geteuid, setgid, setgroups, setuid},
};

use super::{Who, scratch};

/// A case that needs more than this is wrong.
const MEMORY: u64 = 2 << 30;
const FILE: u64 = 64 << 20;
const SECONDS: u64 = 20;

type Done = Result<(), String>;

/// Names a step of the preparation that did not work.
fn said(what: &str) -> impl FnOnce(Errno) -> String {
    move |errno| format!("{what}: {errno}")
}

/// The namespaces of a worker, before the fork that enters the PID namespace.
pub fn leave_the_machine() -> Done {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID;
    unshare(flags).map_err(said("unshare"))?;
    propagate("/", MsFlags::MS_PRIVATE)
}

/// What the first process of the PID namespace does.
pub fn settle() -> Done {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(said("proc"))
}

/// Limits of one case.
pub fn limit() -> Done {
    let limits = [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_CPU, SECONDS),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, most, most).map_err(said("setrlimit"))?;
    }
    Ok(())
}

/// Prepares the ground of one case, and becomes who runs it.
pub fn prepare<'a>(ground: impl Iterator<Item = &'a str>, who: Who, folder: &Path) -> Done {
    let ground: Vec<&str> = ground.collect();
    set_variables(&[("XDG_CACHE_HOME", &folder.join(scratch::CACHE).display().to_string())]);
    let all = |word: &str| -> Vec<Vec<&str>> {
        let parts = ground.iter().map(|part| part.split(' ').collect::<Vec<_>>());
        parts.filter(|part| part[0] == word).collect()
    };
    if who.has_ground() {
        let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
        unshare(flags).map_err(said("unshare"))?;
        let kind = all("propagation").first().map_or("shared", |part| part[1]).to_owned();
        propagate("/", MsFlags::MS_PRIVATE)?;
        if kind != "private" {
            propagate("/", MsFlags::MS_SHARED)?;
        }
        if kind == "slave" {
            unshare(CloneFlags::CLONE_NEWNS).map_err(said("unshare"))?;
            propagate("/", MsFlags::MS_SLAVE)?;
        }
        for part in all("mount") {
            prepare_mount(part[1], &folder.join(part[2]))?;
        }
        for part in all("mask") {
            mask(part[1])?;
        }
        if !all("chroot").is_empty() {
            enter_jail(&folder.join("jail"))?;
        }
        // As a shell under `sudo` has it.
        if !all("sudo").is_empty() {
            set_variables(&[("SUDO_UID", "54321"), ("SUDO_GID", "54321")]);
        }
        // The bounding set stays what it is when root becomes a user.
        for part in all("bound") {
            drop_bounding(part[1].parse().map_err(|_| "bound".to_owned())?)?;
        }
        let groups = all("groups");
        become_user(who, groups.first().map(|part| part[1]))?;
        let dropped: Vec<u32> =
            all("drop").iter().filter_map(|part| part[1].parse().ok()).collect();
        if !dropped.is_empty() {
            drop_capabilities(&dropped)?;
        }
    }
    for part in all("hard") {
        hard_limit(part[1], part[2])?;
    }
    for part in all("inside") {
        go_inside(part.get(1) == Some(&"mount"))?;
    }
    for part in all("limit") {
        let file = format!("/proc/sys/user/max_{}_namespaces", part[1]);
        fs::write(&file, part[2]).map_err(|error| format!("{file}: {error}"))?;
    }
    if !all("nnp").is_empty() {
        nix::sys::prctl::set_no_new_privs().map_err(said("no_new_privs"))?;
    }
    Ok(())
}

fn propagate(at: &str, kind: MsFlags) -> Done {
    let none = None::<&str>;
    mount(none, at, none, MsFlags::MS_REC | kind, none).map_err(said("propagation"))
}

/// A mount that the recipe finds, on a directory or over it.
fn prepare_mount(flags: &str, at: &Path) -> Done {
    let none = None::<&str>;
    let call = |source: Option<&Path>, kind: Option<&str>, flags| {
        mount(source, at, kind, flags, none).map_err(said("mount"))
    };
    match flags {
        "tmpfs" => return call(None, Some("tmpfs"), MsFlags::empty()),
        "rotmpfs" => return call(None, Some("tmpfs"), MsFlags::MS_RDONLY),
        "proc" => return call(Some(Path::new("/proc")), None, MsFlags::MS_BIND | MsFlags::MS_REC),
        _ => call(Some(at), None, MsFlags::MS_BIND)?,
    }
    let mut set = MsFlags::empty();
    for flag in flags.split(',') {
        set |= match flag {
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "unbindable" => return call(None, None, MsFlags::MS_UNBINDABLE),
            "private" => return call(None, None, MsFlags::MS_PRIVATE),
            "shared" => return call(None, None, MsFlags::MS_SHARED),
            "slave" => return call(None, None, MsFlags::MS_SLAVE),
            _ => return Err(format!("no such flag: {flag}")),
        };
    }
    call(None, None, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | set)
}

/// Covers a part of /proc, as container engines do.
fn mask(what: &str) -> Done {
    let none = None::<&str>;
    let bind = |from: &str, at: &str, flags| {
        mount(Some(from), at, none, MsFlags::MS_BIND | flags, none).map_err(said("mask"))
    };
    match what {
        "file" => bind("/dev/null", "/proc/timer_list", MsFlags::empty())
            .or_else(|_| bind("/dev/null", "/proc/version", MsFlags::empty())),
        "directory" => {
            mount(none, "/proc/irq", Some("tmpfs"), MsFlags::MS_RDONLY, none).map_err(said("mask"))
        }
        "readonly" => {
            bind("/proc", "/proc", MsFlags::empty())?;
            bind("/proc", "/proc", MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY)
        }
        _ => Err(format!("no such mask: {what}")),
    }
}

/// A root directory that is no mount, with all of the real root in it.
fn enter_jail(jail: &Path) -> Done {
    let failed = |error: std::io::Error| format!("jail: {error}");
    let none = None::<&str>;
    mount(none, jail, Some("tmpfs"), MsFlags::empty(), none).map_err(said("jail"))?;
    let top = jail.join("top");
    fs::create_dir(&top).map_err(failed)?;
    for entry in fs::read_dir("/").map_err(failed)?.flatten() {
        let (from, to) = (entry.path(), top.join(entry.file_name()));
        if from.is_symlink() {
            let target = fs::read_link(&from).map_err(failed)?;
            std::os::unix::fs::symlink(target, to).map_err(failed)?;
        } else if from.is_dir() {
            fs::create_dir(&to).map_err(failed)?;
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&from), &to, none, flags, none).map_err(said("jail"))?;
        }
    }
    chroot(&top).map_err(said("chroot"))?;
    chdir("/").map_err(said("chdir"))
}

fn become_user(who: Who, group: Option<&str>) -> Done {
    let groups: Vec<Gid> =
        group.and_then(|group| group.parse().ok()).map(Gid::from_raw).into_iter().collect();
    let Who::User(uid) = who else {
        return setgroups(&groups).map_err(said("setgroups"));
    };
    setgroups(&groups).map_err(said("setgroups"))?;
    setgid(Gid::from_raw(uid)).map_err(said("setgid"))?;
    setuid(Uid::from_raw(uid)).map_err(said("setuid"))?;
    nix::sys::prctl::set_dumpable(true).map_err(said("dumpable"))
}

/// A user namespace around the recipe, as a container engine without root makes it.
fn go_inside(with_mounts: bool) -> Done {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(said("inside"))?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))?;
    match with_mounts {
        true => unshare(CloneFlags::CLONE_NEWNS).map_err(said("inside")),
        false => Ok(()),
    }
}

/// Takes these out of the permitted and effective sets (`capset(2)`).
fn drop_capabilities(dropped: &[u32]) -> Done {
    let mut header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: header and both halves outlive the calls.
    #[allow(unsafe_code)]
    let call = |number, header: &mut [u32; 2], sets: &mut [u32; 6]| unsafe {
        Errno::result(libc::syscall(number, header.as_mut_ptr(), sets.as_mut_ptr())).map(drop)
    };
    call(libc::SYS_capget, &mut header, &mut sets).map_err(said("capget"))?;
    for &capability in dropped {
        let half = (capability / 32) as usize * 3;
        for set in [half, half + 1] {
            sets[set] &= !(1 << (capability % 32));
        }
    }
    call(libc::SYS_capset, &mut header, &mut sets).map_err(said("capset"))
}

/// Takes one out of the bounding set; an ordinary user may not.
fn drop_bounding(capability: libc::c_ulong) -> Done {
    // SAFETY: `prctl` takes numbers here.
    #[allow(unsafe_code)]
    let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    Errno::result(dropped).map(drop).map_err(said("bound"))
}

/// A limit that the recipe finds, no lower than what a test needs to go on.
fn hard_limit(resource: &str, amount: &str) -> Done {
    use isorecipe::sys::limit::{self, Limit, Resource};
    let resource = Resource::named(resource).ok_or("no such resource")?;
    let most = limit::get(resource).map_err(said("getrlimit"))?.hard;
    let least = match resource {
        Resource::OpenFiles | Resource::Processes => 64,
        _ => 1 << 30,
    };
    let hard = amount.parse().unwrap_or(u64::MAX).max(least).min(most);
    limit::set(resource, Limit { soft: hard, hard }).map_err(said("setrlimit"))
}

fn set_variables(variables: &[(&str, &str)]) {
    for (name, value) in variables {
        // SAFETY: this process has one thread.
        #[allow(unsafe_code)]
        unsafe {
            env::set_var(name, value);
        }
    }
}
