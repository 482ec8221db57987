//! What the command is and holds in the end, as the kernel tells it of itself
//! and as the model has it.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::OwnedFd,
};

use isorecipe::{
    model::{Capabilities, IdMap, Model, capability},
    sys::limit::{Resource, UNLIMITED},
};
use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::dup2_stdout,
};

/// What the kernel shows for an id that does not exist.
const OVERFLOW: u32 = 65_534;

/// A place for what the command says.
pub struct Words(File);

impl Words {
    /// From here on the command's standard output goes there.
    pub fn new() -> Self {
        let file: OwnedFd = memfd_create(c"words", MFdFlags::MFD_CLOEXEC).expect("a file");
        dup2_stdout(&file).expect("a descriptor");
        Self(file.into())
    }

    /// Where the command has told of itself: the first thing that is not as
    /// the model has it.
    pub fn difference(mut self, end: &Model) -> Option<String> {
        let mut said = String::new();
        self.0.rewind().expect("a file");
        self.0.read_to_string(&mut said).expect("text");
        let field = |name: &str| {
            said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let expected = status(end).into_iter().chain(limits(end));
        for (name, wanted) in expected {
            let found = match name.starts_with("Max ") {
                true => said.lines().find_map(|line| line.strip_prefix(&name)).map(two_words),
                false => {
                    field(&name).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
                }
            };
            match found {
                Some(found) if found != wanted => {
                    return Some(format!("{name}: model {wanted}, kernel {found}"));
                }
                _ => {}
            }
        }
        None
    }
}

fn two_words(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// As `proc_pid_status(5)` has it.
fn status(end: &Model) -> Vec<(String, String)> {
    let process = &end.process;
    let own = end.own_user();
    let id = |map: &IdMap, id: u32| map.from_host(id).unwrap_or(OVERFLOW).to_string();
    let four = |id: String| [id.as_str(); 4].join(" ");
    let is_root = own.uids.from_host(process.uid) == Some(0);
    let after = process.capabilities.after_exec(is_root, process.no_new_privs);
    let set = |set: u64| format!("{:016x}", capability::known(set));
    let Capabilities { effective, permitted, inheritable, ambient, bounding, .. } = after;
    let mut all = vec![
        ("Uid".to_owned(), four(id(&own.uids, process.uid))),
        ("Gid".to_owned(), four(id(&own.gids, process.gid))),
        ("CapInh".to_owned(), set(inheritable)),
        ("CapPrm".to_owned(), set(permitted)),
        ("CapEff".to_owned(), set(effective)),
        ("CapAmb".to_owned(), set(ambient)),
        ("NoNewPrivs".to_owned(), u32::from(process.no_new_privs).to_string()),
    ];
    all.extend(bounding.map(|bounding| ("CapBnd".to_owned(), set(bounding))));
    if let Some(groups) = &process.groups {
        let mut groups = groups.clone();
        groups.sort_unstable();
        let groups: Vec<String> = groups.iter().map(|&group| id(&own.gids, group)).collect();
        all.push(("Groups".to_owned(), groups.join(" ")));
    }
    all
}

/// As `proc_pid_limits(5)` has it.
fn limits(end: &Model) -> Vec<(String, String)> {
    let word = |amount: u64| match amount {
        UNLIMITED => "unlimited".to_owned(),
        amount => amount.to_string(),
    };
    let known = Resource::ALL.iter().filter_map(|&resource| {
        let limit = end.limits.get(resource)?;
        Some((title(resource).to_owned(), format!("{} {}", word(limit.soft), word(limit.hard))))
    });
    known.collect()
}

fn title(resource: Resource) -> &'static str {
    match resource {
        Resource::AddressSpace => "Max address space",
        Resource::Core => "Max core file size",
        Resource::Cpu => "Max cpu time",
        Resource::Data => "Max data size",
        Resource::FileSize => "Max file size",
        Resource::LockedMemory => "Max locked memory",
        Resource::MessageQueues => "Max msgqueue size",
        Resource::Nice => "Max nice priority",
        Resource::OpenFiles => "Max open files",
        Resource::Processes => "Max processes",
        Resource::RealTimePriority => "Max realtime priority",
        Resource::PendingSignals => "Max pending signals",
        Resource::Stack => "Max stack size",
    }
}
