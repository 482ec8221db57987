//! Who the process is and what it may: `user_namespaces(7)`, `credentials(7)`, `capabilities(7)`.

use std::io;

use crate::{
    model::{Capabilities, IdMap, Model, UserId},
    ops::{Ids, Op},
    plan::Plan,
    sys::{Namespace, signal},
};

use super::{Claim, Process, SELF, listed};

/// The number of SIGPIPE, which Rust ignores and the command does not.
const SIGPIPE: u32 = 13;

pub(super) fn of(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    let model = &plan.end;
    let mut claims = Vec::new();
    for ids in [Ids::User, Ids::Group] {
        claims.push(map(plan, child, ids)?);
    }
    let asked = match model.own_user().setgroups {
        true => "allow".to_owned(),
        false => "deny".to_owned(),
    };
    let found = child.read("setgroups")?.trim().to_owned();
    claims.push(
        Claim::new("setgroups", asked, found)
            .asked_by(plan, |op| matches!(op, Op::DenySetgroups(_) | Op::HelperMap(_))),
    );
    claims.extend(identity(plan, child)?);
    for (name, asked) in capabilities(model)? {
        let found = child.status(name)?;
        let number = u64::from_str_radix(&found, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        claims.push(Claim::new(called(name), set(asked), set(number)).asked_by(plan, makes_user));
    }
    let asked = u8::from(model.process.no_new_privs).to_string();
    claims.push(
        Claim::new("no_new_privs", asked, child.status("NoNewPrivs")?)
            .asked_by(plan, |op| matches!(op, Op::NoNewPrivileges(_))),
    );
    claims.push(Claim::new("seccomp mode", SELF.status("Seccomp")?, child.status("Seccomp")?));
    claims.push(ignored(child)?);
    Ok(claims)
}

fn makes_user(op: &Op) -> bool {
    op.namespace() == Some(Namespace::User)
}

/// A map, its ids outside as the host counts.
fn map(plan: &Plan, child: Process, ids: Ids) -> io::Result<Claim> {
    let model = &plan.end;
    let asked = match model.has_own(Namespace::User) {
        true => in_words(ids.of(model.own_user())),
        false => lines(&SELF.read(ids.file())?),
    };
    let found = lines(&child.read(ids.file())?);
    Ok(Claim::new(ids.file(), asked, found).asked_by(plan, |op| match op {
        Op::WriteMap(map) => map.ids() == ids,
        Op::HelperMap(map) => map.ids == ids,
        _ => false,
    }))
}

fn in_words(map: &IdMap) -> String {
    let line = |extent: &crate::model::Extent| {
        format!("{} {} {}", extent.inside, extent.host, extent.count)
    };
    let mut all: Vec<String> = map.0.iter().map(line).collect();
    all.sort();
    listed(&all)
}

fn lines(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut all: Vec<String> = text.lines().map(line).collect();
    all.sort();
    listed(&all)
}

/// All four ids of a kind, and the groups, as the host counts.
fn identity(plan: &Plan, child: Process) -> io::Result<Vec<Claim>> {
    let process = &plan.end.process;
    let ids = |name: &str, asked: u32| -> io::Result<Claim> {
        let found = child.status(name)?;
        let asked = [asked; 4].map(|id| id.to_string()).join(" ");
        let is_it = |op: &Op| matches!(op, Op::Become(_));
        Ok(Claim::new(format!("{name} outside").to_lowercase(), asked, found).asked_by(plan, is_it))
    };
    let mut claims = vec![ids("Uid", process.uid)?, ids("Gid", process.gid)?];
    let found = numbers(&child.status("Groups")?);
    // Nobody asked for what cannot be dropped; so it is said, whatever it is.
    let kept = match process.user != UserId::HOST && !plan.end.own_user().setgroups {
        true if !found.is_empty() => ", kept: setgroups is denied",
        _ => "",
    };
    let asked = match &process.groups {
        Some(groups) => numbers(&groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        None => found.clone(),
    };
    let said = |groups: &[u32]| {
        format!("{}{kept}", listed(&groups.iter().map(u32::to_string).collect::<Vec<_>>()))
    };
    let is_it = |op: &Op| matches!(op, Op::Become(_)) || makes_user(op);
    claims.push(Claim::new("groups outside", said(&asked), said(&found)).asked_by(plan, is_it));
    Ok(claims)
}

fn numbers(text: &str) -> Vec<u32> {
    let mut all: Vec<u32> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The five sets, before `execve` gives its own.
fn capabilities(model: &Model) -> io::Result<[(&'static str, u64); 5]> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    let last: u32 = last.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    let every = u64::MAX >> 63_u32.saturating_sub(last);
    let own = |name: &str| -> io::Result<u64> {
        u64::from_str_radix(&SELF.status(name)?, 16).map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let sets = model.process.capabilities;
    // The caller's, which no layer changed, are as they were: some may not be known.
    if model.process.user == UserId::HOST && sets == Capabilities::of(&model.host) {
        return Ok([
            ("CapInh", own("CapInh")?),
            ("CapPrm", own("CapPrm")?),
            ("CapEff", own("CapEff")?),
            ("CapBnd", own("CapBnd")?),
            ("CapAmb", own("CapAmb")?),
        ]);
    }
    let bounding = sets.bounding.map_or_else(|| own("CapBnd"), Ok)?;
    Ok([
        ("CapInh", sets.inheritable & every),
        ("CapPrm", sets.permitted & every),
        ("CapEff", sets.effective & every),
        ("CapBnd", bounding & every),
        ("CapAmb", sets.ambient & every),
    ])
}

fn called(set: &str) -> &'static str {
    match set {
        "CapInh" => "inheritable capabilities",
        "CapPrm" => "permitted capabilities",
        "CapEff" => "effective capabilities",
        "CapBnd" => "bounding set",
        _ => "ambient capabilities",
    }
}

fn set(bits: u64) -> String {
    if bits == 0 { "none".to_owned() } else { format!("{bits:016x}") }
}

/// Signals that the command would ignore: the caller's own choice, and no other.
fn ignored(child: Process) -> io::Result<Claim> {
    let read = |process: Process| -> io::Result<u64> {
        u64::from_str_radix(&process.status("SigIgn")?, 16)
            .map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let named = |bits: u64| {
        let all = (1..=64).filter(|signal| bits & 1 << (signal - 1) != 0);
        listed(&all.map(signal::name).collect::<Vec<_>>())
    };
    let asked = read(SELF)? & !(1 << (SIGPIPE - 1));
    Ok(Claim::new("ignored signals", named(asked), named(read(child)?)))
}
