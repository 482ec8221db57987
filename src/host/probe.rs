//! Reading the facts: `/proc`, `/etc/subuid`, the environment.

use std::{
    fs,
    io::Read,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::sys::{self, Namespace, device::Device};

use super::{
    Caller, Host, HostMount, Ids, ImageKind, Invoker, NamespaceLimits, OwnedNamespaces, Owner,
    PathFact, SubordinateIds, clocks, confinement, control_groups, helpers, images,
    kernel::{self, switch},
    mountinfo,
    names::Names,
    network, program,
};

/// Ids 524288 and up are customary for containers, and systemd leaves them alone.
const FIRST_FREE_ID: u32 = 524_288;
/// As many ids as a distribution's `useradd` gives.
const BLOCK: u32 = 65_536;

pub(super) fn at_hand() -> Host {
    let uid = nix::unistd::geteuid().as_raw();
    let invoker = (uid == 0).then(invoker).flatten();
    let is_initial = if uid == 0 { is_initial_user_namespace() } else { None };
    Host {
        caller: Caller {
            uid,
            gid: nix::unistd::getegid().as_raw(),
            groups: groups(),
            name: None,
            capabilities: sys::capability::effective().unwrap_or(0),
            home: std::env::var_os("HOME").map(PathBuf::from),
            directory: std::env::current_dir().ok(),
            shell: std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).map(PathBuf::from),
            cache: cache(invoker.as_ref()),
        },
        invoker,
        // Root may be root of a sandbox only, and then nothing of it is the host's.
        initial_user_namespace: is_initial,
        owned: is_initial.and_then(|is_initial| owned_namespaces(Some(is_initial))),
        ..Host::default()
    }
}

pub(super) fn everything() -> Host {
    let mut host = at_hand();
    host.kernel = kernel_release();
    host.caller.name = name_of(host.caller.uid);
    host.initial_user_namespace = is_initial_user_namespace();
    host.ids = ids();
    host.owned = owned_namespaces(host.initial_user_namespace);
    host.namespace_limits = namespace_limits();
    host.clocks = clocks::probe();
    host.unprivileged_userns_clone = switch("/proc/sys/kernel/unprivileged_userns_clone");
    host.apparmor_restricts_userns =
        switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    host.proc = has_proc();
    host.mounts = fs::read("/proc/self/mountinfo")
        .ok()
        .map(|text| mountinfo::parse(&text).into_iter().map(mount).collect());
    // As mountinfo shows it, the root of the namespace is the mount at `/`.
    host.chrooted =
        host.mounts.as_ref().map(|mounts| !mounts.iter().any(|m| m.at == Path::new("/")));
    if host.chrooted.is_none() {
        // Without a procfs: a directory that is no mount cannot be the root of all.
        host.chrooted =
            sys::file::is_mount_root(c"/").and_then(|is_root| (!is_root).then_some(true));
    }
    let subordinate = subordinate_ids(&host.caller, host.invoker.as_ref());
    host.helpers =
        Some(helpers::probe(subordinate.newuidmap.as_deref(), subordinate.newgidmap.as_deref()));
    host.subordinate = Some(subordinate);
    host.confinement = Some(confinement::probe());
    host.kernel_settings = Some(kernel::probe());
    host.control_groups = control_groups::probe(host.mounts.as_deref());
    host.images = Some(images::probe(host.invoker.as_ref()));
    host.network = Some(network::probe());
    host
}

fn kernel_release() -> Option<String> {
    let release = sys::uts::kernel_release().ok()?;
    let end = release.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(release.get(..end)?).into_owned())
}

/// `$XDG_CACHE_HOME`, which is only heeded when it is absolute, or `~/.cache`
/// (XDG Base Directory Specification). `sudo` keeps root's home in `HOME`.
fn cache(invoker: Option<&Invoker>) -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || match invoker {
        Some(invoker) => home_of(invoker.uid),
        None => std::env::var_os("HOME").map(PathBuf::from),
    };
    named
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home().filter(|home| home.is_absolute())?.join(".cache")))
}

pub(super) fn look_at(path: &Path) -> PathFact {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => PathFact::Missing,
                _ => PathFact::Hidden,
            };
        }
    };
    let owner = Owner { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 };
    let kind = found.file_type();
    if kind.is_symlink() {
        return fs::read_link(path).map_or(PathFact::Hidden, PathFact::Symlink);
    }
    if kind.is_dir() {
        return PathFact::Directory(owner);
    }
    if kind.is_char_device() {
        let number = Device::of_number(found.rdev());
        return PathFact::Device(owner, (number.major, number.minor));
    }
    if kind.is_block_device() || kind.is_fifo() || kind.is_socket() {
        return PathFact::Special(owner);
    }
    match image_kind(path) {
        None if owner.mode & 0o111 != 0 => PathFact::Program(owner, program::of(path)),
        kind => PathFact::File(owner, kind),
    }
}

/// Which filesystem a file holds, by the magic numbers of `file(1)`.
fn image_kind(path: &Path) -> Option<ImageKind> {
    let file = fs::File::open(path).ok()?;
    let starts = |at: u64, magic: &[u8]| {
        let mut found = [0; 4];
        let found = &mut found[..magic.len()];
        file.read_exact_at(found, at).is_ok() && found == magic
    };
    if starts(0, b"XFSB") {
        Some(ImageKind::Xfs)
    } else if starts(0, b"hsqs") {
        Some(ImageKind::Squashfs)
    } else if starts(1024, &0xE0F5_E1E2_u32.to_le_bytes()) {
        Some(ImageKind::Erofs)
    } else if starts(1080, &0xEF53_u16.to_le_bytes()) {
        Some(ImageKind::Ext4)
    } else {
        None
    }
}

fn groups() -> Option<Vec<u32>> {
    let groups = nix::unistd::getgroups().ok()?;
    Some(groups.into_iter().map(|group| group.as_raw()).collect())
}

/// The ids of the caller's user namespace.
fn ids() -> Option<Ids> {
    let ranges = |file: &str| -> Option<Vec<(u32, u32)>> {
        read(file)?
            .lines()
            .map(|line| {
                let mut numbers = line.split_whitespace().map(str::parse);
                let (first, count) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
                Some((first, count))
            })
            .collect()
    };
    Some(Ids {
        uid: ranges("/proc/self/uid_map")?,
        gid: ranges("/proc/self/gid_map")?,
        setgroups: read("/proc/self/setgroups")?.trim() == "allow",
    })
}

fn has_proc() -> Option<bool> {
    match fs::File::open("/proc") {
        Ok(proc) => Some(sys::mount::is_proc(&proc)),
        Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then_some(false),
    }
}

/// In the first user namespace there is nobody else whose they could be.
fn owned_namespaces(is_initial: Option<bool>) -> Option<OwnedNamespaces> {
    let is_own = |kind| match is_initial {
        Some(true) => Some(true),
        _ => sys::namespace::is_own(kind),
    };
    Some(OwnedNamespaces {
        mount: is_own(Namespace::Mount)?,
        uts: is_own(Namespace::Uts)?,
        ipc: is_own(Namespace::Ipc)?,
        network: is_own(Namespace::Network)?,
        pid: is_own(Namespace::Pid)?,
    })
}

/// In the first user namespace every id is itself (`user_namespaces(7)`).
fn is_initial_user_namespace() -> Option<bool> {
    let map = read("/proc/self/uid_map")?;
    Some(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// The user whom `sudo` names. Root may set these variables too: then it is
/// root's own wish.
fn invoker() -> Option<Invoker> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    // Root of a sandbox cannot become somebody of the host.
    let is_somebody = uid != 0 && uid != u32::MAX && gid != u32::MAX;
    if !is_somebody || is_initial_user_namespace() == Some(false) {
        return None;
    }
    let name = std::env::var("SUDO_USER").ok();
    let mut groups = vec![gid];
    if let Some(name) = &name {
        groups.extend(groups_of(name).into_iter().filter(|&group| group != gid));
    }
    Some(Invoker { uid, gid, groups, name })
}

/// The groups that `/etc/group` gives a user. Read by hand: a name service
/// could start threads, and a static binary has none (`nsswitch.conf(5)`).
fn groups_of(name: &str) -> Vec<u32> {
    let Some(text) = read("/etc/group") else {
        return Vec::new();
    };
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let gid = fields.nth(2)?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        })
        .collect()
}

fn name_of(uid: u32) -> Option<String> {
    Names::of_host().users.remove(&uid)
}

/// The home directory in the user's line of `/etc/passwd` (`passwd(5)`).
pub(super) fn home_of(uid: u32) -> Option<PathBuf> {
    let text = read("/etc/passwd")?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_own = fields.get(2)?.parse() == Ok(uid);
        is_own.then(|| fields.get(5).map(PathBuf::from))?
    })
}

fn namespace_limits() -> Option<NamespaceLimits> {
    let limit =
        |kind: &str| read(format!("/proc/sys/user/max_{kind}_namespaces"))?.trim().parse().ok();
    Some(NamespaceLimits {
        user: limit("user")?,
        mount: limit("mnt")?,
        uts: limit("uts")?,
        pid: limit("pid")?,
        cgroup: limit("cgroup"),
        ipc: limit("ipc"),
        network: limit("net"),
        time: limit("time"),
    })
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn mount(line: mountinfo::Line) -> HostMount {
    let is_read_only = |options: &[String]| options.iter().any(|option| option == "ro");
    let group = |kind: &str| {
        line.propagation.iter().find_map(|word| word.strip_prefix(kind)?.parse::<u32>().ok())
    };
    HostMount {
        id: line.id,
        parent: line.parent,
        root: line.root,
        at: line.at,
        filesystem: line.filesystem,
        read_only: is_read_only(&line.options) || is_read_only(&line.superblock),
        shared: line.propagation.iter().any(|word| word.starts_with("shared:")),
        no_exec: line.options.iter().any(|option| option == "noexec"),
        peers: group("shared:"),
        master: group("master:"),
        device: Some(line.device),
        unbindable: line.propagation.iter().any(|word| word == "unbindable"),
    }
}

pub(super) fn subordinate_ids(caller: &Caller, invoker: Option<&Invoker>) -> SubordinateIds {
    let (user, name) = match invoker {
        Some(invoker) => (invoker.uid, invoker.name.clone()),
        None => (caller.uid, caller.name.clone()),
    };
    let name = name.or_else(|| name_of(user));
    let (uid, uid_end) = subordinate("/etc/subuid", user, name.as_deref());
    let (gid, gid_end) = subordinate("/etc/subgid", user, name.as_deref());
    SubordinateIds {
        uid,
        gid,
        free: FIRST_FREE_ID.max(uid_end).max(gid_end),
        newuidmap: which::which_global("newuidmap").ok(),
        newgidmap: which::which_global("newgidmap").ok(),
    }
}

/// The user's line of a subordinate-id file (`subuid(5)`), and the first id
/// after everybody's.
fn subordinate(file: &str, uid: u32, name: Option<&str>) -> (Option<(u32, u32)>, u32) {
    let mut own = None;
    let mut end = 0;
    let mut text = Vec::new();
    // An unreadable file gives nobody anything.
    let _ = fs::File::open(file).and_then(|mut file| file.read_to_end(&mut text));
    for line in text.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let mut fields = line.split(':');
        let Some(owner) = fields.next() else { continue };
        let mut number = || fields.next()?.trim().parse::<u32>().ok();
        let (Some(first), Some(count)) = (number(), number()) else {
            continue;
        };
        end = end.max(first.saturating_add(count));
        let is_own = name == Some(owner) || owner.parse() == Ok(uid);
        if own.is_none() && is_own && count > 0 {
            own = Some((first, count));
        }
    }
    (own, end.next_multiple_of(BLOCK).min(u32::MAX - BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apply_knows_at_hand_is_not_looked_for() {
        let host = at_hand();
        assert_eq!((host.kernel, host.mounts, host.namespace_limits), (None, None, None));
        assert_eq!((host.confinement, host.helpers, host.ids), (None, None, None));
        assert_eq!((host.kernel_settings, host.control_groups), (None, None));
    }
}
