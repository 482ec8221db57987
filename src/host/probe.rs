//! Reading the facts: `/proc`, `/etc/subuid`, the environment.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::{
        ffi::OsStringExt,
        fs::{FileExt, FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::sys;

use super::{
    Caller, Host, HostMount, ImageKind, Invoker, NamespaceLimits, Owner, PathFact, SubordinateIds,
    confinement, control_groups, helpers, id_maps,
    kernel::{self, switch},
};

/// Ids 524288 and up are customary for containers, and systemd leaves them alone.
const FIRST_FREE_ID: u32 = 524_288;
/// As many ids as a distribution's `useradd` gives.
const BLOCK: u32 = 65_536;

pub(super) fn at_hand() -> Host {
    let uid = nix::unistd::geteuid().as_raw();
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
        },
        invoker: (uid == 0).then(invoker).flatten(),
        // Root may be root of a sandbox only, and then nothing of it is the host's.
        initial_user_namespace: if uid == 0 { is_initial_user_namespace() } else { None },
        ..Host::default()
    }
}

pub(super) fn everything() -> Host {
    let mut host = at_hand();
    host.kernel = kernel_release();
    host.caller.name = name_of(host.caller.uid);
    host.initial_user_namespace = is_initial_user_namespace();
    host.namespace_limits = namespace_limits();
    host.unprivileged_userns_clone = switch("/proc/sys/kernel/unprivileged_userns_clone");
    host.apparmor_restricts_userns =
        switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    host.mounts = fs::read("/proc/self/mountinfo").ok().map(|text| mounts(&text));
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
    host.id_maps = id_maps::probe();
    host.kernel_settings = Some(kernel::probe());
    host.control_groups = control_groups::probe(host.mounts.as_deref());
    host
}

fn kernel_release() -> Option<String> {
    let release = sys::uts::kernel_release().ok()?;
    let end = release.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(release.get(..end)?).into_owned())
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
    if kind.is_block_device() || kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
        return PathFact::Special(owner);
    }
    PathFact::File(owner, image_kind(path))
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
    let text = read("/etc/passwd")?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
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

/// Parses `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`); a line that does
/// not read as one is left out.
fn mounts(text: &[u8]) -> Vec<HostMount> {
    text.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<HostMount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let root = unescape(fields.nth(1)?);
    let at = unescape(fields.next()?);
    let options = fields.next()?;
    let optional: Vec<&[u8]> = fields.by_ref().take_while(|&field| field != b"-").collect();
    let filesystem = String::from_utf8_lossy(fields.next()?).into_owned();
    let superblock = fields.nth(1)?;
    let read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|o| o == b"ro");
    Some(HostMount {
        id,
        parent,
        root,
        at,
        filesystem,
        read_only: read_only(options) || read_only(superblock),
        shared: optional.iter().any(|field| field.starts_with(b"shared:")),
        unbindable: optional.contains(&&b"unbindable"[..]),
    })
}

/// Reads `\040` and its kind back into bytes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
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
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_apply_knows_at_hand_is_not_looked_for() {
        let host = at_hand();
        assert_eq!((host.kernel, host.mounts, host.namespace_limits), (None, None, None));
        assert_eq!((host.confinement, host.id_maps, host.helpers), (None, None, None));
        assert_eq!((host.kernel_settings, host.control_groups), (None, None));
    }

    #[test]
    fn a_mountinfo_line_with_an_escaped_space_is_read() {
        let line =
            b"36 35 98:0 /mnt1 /my\\040dir rw,noatime shared:1 - ext3 /dev/root ro,errors=continue";
        let found = mount(line).expect("a mount");
        assert_eq!(found.at, Path::new("/my dir"));
        assert_eq!((found.id, found.parent), (36, 35));
        assert!(found.read_only && found.shared && !found.unbindable);
    }

    #[test]
    fn a_broken_mountinfo_line_is_left_out() {
        assert_eq!(mounts(b"36 35\n\nx y z\n"), []);
    }

    #[test]
    fn an_odd_escape_stays_as_it_is() {
        assert_eq!(unescape(b"a\\9b\\04").as_os_str().as_bytes(), b"a\\9b\\04");
    }
}
