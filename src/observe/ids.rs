//! Which ids inside are which outside: `uid_map`, `gid_map` (`user_namespaces(7)`).

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs, io,
    io::Read,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    host::{Names, mountinfo},
    sys::descriptor::{self, Walk},
};

/// A file of names longer than this is not read: its owner may be anybody.
const LONGEST: u64 = 1 << 20;

/// The maps of a user namespace, as the observer counts ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ids {
    /// `uid_map`; empty while nobody has written it
    pub uid: Vec<MapLine>,
    /// `gid_map`
    pub gid: Vec<MapLine>,
    /// `allow` or `deny`
    pub setgroups: Option<String>,
}

/// One line of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MapLine {
    /// The first id inside
    pub inside: u32,
    /// The first id outside
    pub outside: u32,
    /// How many
    pub count: u32,
    /// What the first is called inside
    pub inside_name: Option<String>,
    /// What the first is called outside
    pub outside_name: Option<String>,
}

impl Ids {
    /// What a user id of the host is inside; nothing if it is not mapped.
    pub(super) fn uid_inside(&self, outside: u32) -> Option<u32> {
        self.uid.iter().find_map(|line| {
            let distance = outside.checked_sub(line.outside)?;
            (distance < line.count).then(|| line.inside.checked_add(distance)).flatten()
        })
    }
}

/// The maps of a process's user namespace.
pub(super) fn of(pid: i32, outside: &Names, inside: &Names) -> io::Result<Ids> {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let setgroups = read("setgroups").ok().map(|text| text.trim().to_owned());
    Ok(Ids {
        uid: lines(&read("uid_map")?, &outside.users, &inside.users),
        gid: lines(&read("gid_map")?, &outside.groups, &inside.groups),
        setgroups,
    })
}

fn lines(
    text: &str,
    outside_names: &BTreeMap<u32, String>,
    inside_names: &BTreeMap<u32, String>,
) -> Vec<MapLine> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().map(|field| field.parse().ok());
        let (inside, outside, count) = (fields.next()??, fields.next()??, fields.next()??);
        Some(MapLine {
            inside,
            outside,
            count,
            inside_name: inside_names.get(&inside).cloned(),
            outside_name: outside_names.get(&outside).cloned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The names that a process finds in its own `/etc`. Its tree may be anybody's:
/// it is never left, and what it says is only a name. Whoever has no such file
/// is called as the host calls root.
pub(super) fn names_inside(pid: i32, outside: &Names) -> Names {
    let root = CString::new(format!("/proc/{pid}/root")).unwrap_or_default();
    let Ok(root) = descriptor::open_directory(None, &root, Walk::Free) else {
        return Names::default();
    };
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mounts = mountinfo::parse(&mounts);
    let read = |path| read_inside(root.as_fd(), path, &mounts);
    let (passwd, group) = (read(c"etc/passwd"), read(c"etc/group"));
    let mut names = Names::parse(&passwd.unwrap_or_default(), &group.unwrap_or_default());
    for (inside, outside) in
        [(&mut names.users, &outside.users), (&mut names.groups, &outside.groups)]
    {
        if let (true, Some(root)) = (inside.is_empty(), outside.get(&0)) {
            inside.insert(0, root.clone());
        }
    }
    names
}

/// A regular file of the process's `/etc`; nothing where it is anything else.
fn read_inside(root: BorrowedFd, path: &CStr, mounts: &[mountinfo::Line]) -> Option<Vec<u8>> {
    let hold = |path| {
        let place = descriptor::open_place(Some(root), path, Walk::InRoot).ok()?;
        is_the_kernels(place.as_fd(), mounts).then_some(place)
    };
    // Already to look for a name in a directory asks whoever serves it.
    hold(c".")?;
    hold(c"etc")?;
    let file = fs::File::from(descriptor::open_held(hold(path)?.as_fd()).ok()?);
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).is_ok().then_some(text)
}

/// Whether the kernel itself answers for the files here. A program of the
/// process's may never answer (FUSE), and `fstatfs(2)` would ask it already:
/// so the mount is looked up by its number (`proc_pid_fdinfo(5)`).
fn is_the_kernels(place: BorrowedFd, mounts: &[mountinfo::Line]) -> bool {
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd()));
    let facts = facts.unwrap_or_default();
    let number = facts.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let mount = number.and_then(|number: u32| mounts.iter().find(|mount| mount.id == number));
    mount.is_some_and(|mount| !mount.filesystem.starts_with("fuse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_the_line_it_belongs_to() {
        let none = BTreeMap::new();
        let uid = lines("0 1000 1\n1 100000 65536\ngarbage\n1 2\n", &none, &none);
        let ids = Ids { uid, ..Ids::default() };
        assert_eq!(ids.uid_inside(1000), Some(0));
        assert_eq!(ids.uid_inside(100_000), Some(1));
        assert_eq!(ids.uid_inside(165_535), Some(65_536));
        assert_eq!(ids.uid_inside(165_536), None);
        assert_eq!(ids.uid_inside(0), None);
    }

    #[test]
    fn the_hosts_own_map_reaches_to_the_last_id() {
        let none = BTreeMap::new();
        let ids = Ids { uid: lines("0 0 4294967295\n", &none, &none), ..Ids::default() };
        assert_eq!(ids.uid_inside(4_294_967_294), Some(4_294_967_294));
    }
}
