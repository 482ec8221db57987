//! What the process is in: namespaces, names, root, directory, descriptors, limits.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::Path,
};

use crate::{
    ops::Op,
    plan::Plan,
    sys::{
        Namespace,
        descriptor::{self, Walk},
        look, uts,
    },
};

use super::{Claim, Process, SELF, listed};

/// The kinds that a kernel can have (`namespaces(7)`).
const KINDS: [&str; 8] = ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"];
const OWN: &str = "its own";
const HOSTS: &str = "the host's";

/// Each kind, beside the host's.
pub(super) fn namespaces(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for link in KINDS {
        let file = format!("ns/{link}");
        let host = match fs::read_link(SELF.path(&file)) {
            Ok(host) => host,
            // This kernel has none of the kind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let found = if fs::read_link(child.path(&file))? == host { HOSTS } else { OWN };
        let kind = Namespace::ALL.into_iter().find(|kind| kind.link() == link);
        let is_own = kind.is_some_and(|kind| plan.end.has_own(kind));
        let asked = if is_own { OWN } else { HOSTS };
        let claim = Claim::new(format!("namespace {link}"), asked, found);
        claims.push(claim.asked_by(plan, |op| op.namespace().is_some_and(|it| Some(it) == kind)));
    }
    Ok(claims)
}

/// The hostname; what is the host's is not compared.
pub(super) fn names(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    if !plan.end.has_own(Namespace::Uts) {
        return Ok(Vec::new());
    }
    let open = |link: &str| fs::File::open(child.path(&format!("ns/{link}")));
    let user = plan.end.has_own(Namespace::User).then(|| open("user")).transpose()?;
    let found = uts::hostname_in(open("uts")?.as_fd(), user.as_ref().map(AsFd::as_fd))
        .map_err(|fault| io::Error::from(fault.errno))?;
    let host = || nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let asked = plan.end.hostname.clone().unwrap_or_else(host);
    let claim = Claim::new("hostname", asked, String::from_utf8_lossy(&found));
    Ok(vec![claim.asked_by(plan, |op| matches!(op, Op::SetHostname(_)))])
}

/// The rest.
pub(super) fn of(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    claims.extend(directory(plan, child)?);
    claims.push(descriptors(child)?);
    claims.push(limits(child)?);
    Ok(claims)
}

/// The current directory, where the plan knows it.
fn directory(plan: &Plan, child: Process) -> io::Result<Option<Claim>> {
    let Some(asked) = &plan.end.process.directory else { return Ok(None) };
    let root = fs::File::from(descriptor::open_directory(
        None,
        &c_string(&child.path("root")),
        Walk::Free,
    )?);
    let expected = descriptor::open_place(Some(root.as_fd()), &c_string(asked), Walk::InRoot);
    let found = fs::metadata(child.path("cwd"))?;
    let is_it = match expected {
        Ok(expected) => {
            let expected = look::at_open(expected.as_fd())?;
            expected.file.2 == found.ino()
                && (libc::makedev(expected.file.0, expected.file.1)) == found.dev()
        }
        Err(_) => false,
    };
    let asked = asked.display().to_string();
    let is = match is_it {
        true => asked.clone(),
        false => fs::read_link(child.path("cwd"))?.display().to_string(),
    };
    let mut claim = Claim::new("current directory", asked, is);
    claim.holds = is_it;
    Ok(Some(claim.asked_by(plan, |op| matches!(op, Op::ChangeDirectory(_) | Op::PivotRoot(_)))))
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// The descriptors that the command will find open.
fn descriptors(child: Process) -> io::Result<Claim> {
    let mut open = Vec::new();
    for entry in fs::read_dir(child.path("fd"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let facts = child.read(&format!("fdinfo/{name}"))?;
        let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        let number: u32 = name.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        if flags.is_none_or(|flags| flags & libc::O_CLOEXEC == 0) {
            open.push(number);
        }
    }
    open.sort_unstable();
    let found = listed(&open.iter().map(u32::to_string).collect::<Vec<_>>());
    Ok(Claim::new("open descriptors", "0, 1, 2", found))
}

/// The caller's limits, each as it is.
fn limits(child: Process) -> io::Result<Claim> {
    let read = |process: Process| -> io::Result<Vec<String>> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(process.read("limits")?.lines().skip(1).map(words).collect())
    };
    let (own, found) = (read(SELF)?, read(child)?);
    let other: Vec<String> = found.iter().filter(|line| !own.contains(line)).cloned().collect();
    let is = if other.is_empty() { "the caller's".to_owned() } else { listed(&other) };
    Ok(Claim::new("limits", "the caller's", is))
}
