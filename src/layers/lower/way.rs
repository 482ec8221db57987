//! The ways into an image, and which of them works here.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cache::Unpacked,
    diagnostic::Refusal,
    host::{FuseDevice, ImageKind, Tool},
    model::{UserId, capability},
    ops,
    plan::Planner,
    yaml,
};

/// A way into an image. The first of these that works here is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The kernel mounts it, for root only
    Kernel,
    /// `squashfuse`, `erofsfuse` or `fuse2fs` serves it, where /dev/fuse may be opened
    Fuse,
    /// It is unpacked once, into your cache
    Unpack,
}

impl Way {
    pub(super) const ALL: [Way; 3] = [Way::Kernel, Way::Fuse, Way::Unpack];

    fn leads_into(self, kind: ImageKind) -> bool {
        match self {
            Way::Kernel => true,
            Way::Fuse => kind.server().is_some(),
            Way::Unpack => kind.unpacker().is_some(),
        }
    }

    /// What is in the way on this host, for this caller; the unknown is not.
    fn obstacle(self, to: &Planner, path: &Path, kind: ImageKind) -> Option<Obstacle> {
        let tools = || to.image_tools();
        let missing = |tool: Option<Tool>| {
            let (tools, tool) = (tools()?, tool?);
            tools.place(&tool).is_none().then(|| Obstacle {
                why: format!("`{}` is not installed", tool.name),
                help: ops::install(&tool),
            })
        };
        let other =
            |why: &str, help: &str| Some(Obstacle { why: why.to_owned(), help: help.to_owned() });
        match self {
            Way::Kernel if may_mount(to) => None,
            Way::Kernel => other("only root can mount it", "run it through `sudo`"),
            Way::Fuse if !to.model().pid.own => {
                other("the sandbox could see the program", "put a `pid` layer before it")
            }
            Way::Fuse => match tools()?.fuse {
                FuseDevice::Opens => missing(kind.server()),
                _ => other(
                    "/dev/fuse does not open",
                    "allow another way, `via: [kernel, fuse, unpack]`, or use `sudo`",
                ),
            },
            Way::Unpack if is_foreign(to) => other(
                "your cache is closed to the ids of the sandbox",
                "take other ids, `user: {map: root}`, or use `sudo`",
            ),
            Way::Unpack => match to.unpacked(path) {
                None => other("you have no cache", "name one: `export XDG_CACHE_HOME=/…`"),
                Some(Unpacked { since: Some(_), .. }) => None,
                Some(_) => missing(kind.unpacker()),
            },
        }
    }
}

/// Why a way does not lead there, and what would clear it.
struct Obstacle {
    why: String,
    help: String,
}

/// Whether the supervisor is root of the machine, and not of a sandbox only.
pub(super) fn may_mount(to: &Planner) -> bool {
    to.model().supervisor_capable(UserId::HOST, capability::SYS_ADMIN)
        && to.host().initial_user_namespace != Some(false)
}

/// Whether the sandbox is somebody else's than the cache, and not root's.
pub(super) fn is_foreign(to: &Planner) -> bool {
    let host = to.host();
    let owner = host.invoker.as_ref().map_or(host.caller.uid, |invoker| invoker.uid);
    to.model().process.uid != owner && !to.model().process_is_root()
}

/// The first way that is allowed and works; where only one could, it says
/// itself what it lacks.
pub(super) fn choose(
    to: &mut Planner,
    path: &Path,
    kind: ImageKind,
    allowed: &[Way],
    via: impl Fn(&yaml::Path) -> yaml::Path,
) -> Option<Way> {
    if !allowed.contains(&Way::Kernel)
        && let Some(refusal) = kernel_for_root(to, path)
    {
        to.at_place(via).refuse(refusal);
        return None;
    }
    let able = |way: &Way| allowed.contains(way) && way.leads_into(kind);
    let able: Vec<Way> = Way::ALL.into_iter().filter(able).collect();
    let mut obstacles = Vec::new();
    for way in &able {
        match way.obstacle(to, path, kind) {
            None => return Some(*way),
            Some(obstacle) => obstacles.push(obstacle),
        }
    }
    match able.as_slice() {
        [Way::Fuse] if !to.model().pid.own => to.at("lower").refuse(pid_for_fuse(path)),
        [only] => return Some(*only),
        [] => to.at_place(via).refuse(kernel_only(path, kind)),
        _ => to.at("lower").refuse(no_way(path, kind, &obstacles)),
    }
    None
}

/// What reads an image for root would have root's id, or serve root's own sandbox.
fn kernel_for_root(to: &Planner, path: &Path) -> Option<Refusal> {
    if !may_mount(to) {
        return None;
    }
    let message = format!("nothing but the kernel reads {} for root", path.display());
    let refusal = Refusal::new("image::root_uses_kernel", message);
    match to.host().invoker {
        None => Some(
            refusal
                .why("a program that reads it would run with the id of the machine's root")
                .help("allow `via: [kernel]`, or run it as an ordinary user"),
        ),
        Some(_) if to.model().process.user == UserId::HOST => Some(
            refusal
                .why("without a `user` layer the sandbox is root's, and so is what serves it")
                .help("put a `user` layer before it, or allow `via: [kernel]`")
                .wants("user"),
        ),
        Some(_) => None,
    }
}

/// Its number is the sandbox's way to it: `pidfd_open` and `setns`.
fn pid_for_fuse(path: &Path) -> Refusal {
    let message = format!("{} cannot be served beside the sandbox's processes", path.display());
    Refusal::new("image::fuse_needs_pid", message)
        .why("the sandbox's root could take hold of the program that serves")
        .help("put a `pid` layer before it, or allow `via: [fuse, unpack]`")
        .wants("pid")
}

fn kernel_only(path: &Path, kind: ImageKind) -> Refusal {
    let (shown, kind) = (path.display(), kind.name());
    Refusal::new(
        "image::kernel_only",
        format!("nothing but the kernel reads the {kind} image {shown}"),
    )
    .why(format!("there is no program that serves or unpacks {kind}"))
    .help("allow `kernel` and run it through `sudo`, or make the image ext4, squashfs or erofs")
}

/// The last way asks for the least: its obstacle is the one to clear.
fn no_way(path: &Path, kind: ImageKind, obstacles: &[Obstacle]) -> Refusal {
    let message = format!("no way leads into the {} image {}", kind.name(), path.display());
    let why: Vec<&str> = obstacles.iter().map(|obstacle| obstacle.why.as_str()).collect();
    let help = obstacles.last().map_or("", |obstacle| obstacle.help.as_str());
    Refusal::new("image::no_way", message).why(why.join("; ")).help(help)
}
