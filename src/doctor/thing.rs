//! What is tried: the parts that sandboxes are made of.

use crate::{
    host::Host,
    ops::Op,
    plan::{Actor, Plan},
    sys::Namespace,
};

/// A part that sandboxes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// `user_namespaces(7)`
    UserNamespace,
    /// The caller's own id in a user namespace
    OwnIds,
    /// The caller's subordinate ids in one (`subuid(5)`)
    SubordinateIds,
    /// `uts_namespaces(7)`
    UtsNamespace,
    /// `sethostname(2)`
    Hostname,
    /// `pid_namespaces(7)`
    PidNamespace,
    /// `mount_namespaces(7)`
    MountNamespace,
    /// Mounts that nobody outside sees (`MS_PRIVATE`)
    PrivateMounts,
    /// A fresh `proc(5)`
    Proc,
    /// `tmpfs(5)`
    Tmpfs,
    /// A tree at a second place (`open_tree(2)`, `move_mount(2)`)
    Bind,
    /// overlayfs
    Overlay,
    /// `pivot_root(2)`
    PivotRoot,
    /// `PR_SET_NO_NEW_PRIVS(2const)`
    NoNewPrivs,
    /// `openat2(2)`
    Openat2,
    /// `clone3(2)`, without which namespaces are made one by one
    Clone3,
    /// `loop(4)` and a filesystem to read an image with
    Image,
    /// `ipc_namespaces(7)`
    IpcNamespace,
    /// `network_namespaces(7)`, with its loopback interface
    NetworkNamespace,
    /// `cgroup_namespaces(7)`
    CgroupNamespace,
    /// `time_namespaces(7)`
    TimeNamespace,
}

impl Thing {
    /// Everything, in the order in which it is tried.
    pub const ALL: [Thing; 21] = [
        Self::UserNamespace,
        Self::OwnIds,
        Self::SubordinateIds,
        Self::UtsNamespace,
        Self::Hostname,
        Self::PidNamespace,
        Self::MountNamespace,
        Self::PrivateMounts,
        Self::Proc,
        Self::Tmpfs,
        Self::Bind,
        Self::Overlay,
        Self::PivotRoot,
        Self::NoNewPrivs,
        Self::Openat2,
        Self::Clone3,
        Self::Image,
        Self::IpcNamespace,
        Self::NetworkNamespace,
        Self::CgroupNamespace,
        Self::TimeNamespace,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user namespace",
            Self::OwnIds => "your own id in it",
            Self::SubordinateIds => "subordinate ids in it",
            Self::UtsNamespace => "UTS namespace",
            Self::Hostname => "hostname",
            Self::PidNamespace => "PID namespace",
            Self::MountNamespace => "mount namespace",
            Self::PrivateMounts => "private mounts",
            Self::Proc => "fresh /proc",
            Self::Tmpfs => "tmpfs",
            Self::Bind => "bind",
            Self::Overlay => "overlay",
            Self::PivotRoot => "pivot_root",
            Self::NoNewPrivs => "no_new_privs",
            Self::Openat2 => "openat2",
            Self::Clone3 => "clone3",
            Self::Image => "image, as root",
            Self::IpcNamespace => "IPC namespace",
            Self::NetworkNamespace => "network namespace",
            Self::CgroupNamespace => "cgroup namespace",
            Self::TimeNamespace => "time namespace",
        }
    }

    /// Whether a machine without it is not fit for sandboxes in general.
    pub fn is_basic(self) -> bool {
        !matches!(
            self,
            Self::SubordinateIds
                | Self::Clone3
                | Self::Image
                | Self::IpcNamespace
                | Self::NetworkNamespace
                | Self::CgroupNamespace
                | Self::TimeNamespace
        )
    }

    /// What has to work before it can be tried.
    pub(super) fn stands_on(self) -> &'static [Thing] {
        match self {
            Self::OwnIds | Self::SubordinateIds => &[Self::UserNamespace],
            Self::UtsNamespace
            | Self::PidNamespace
            | Self::MountNamespace
            | Self::IpcNamespace
            | Self::NetworkNamespace
            | Self::CgroupNamespace
            | Self::TimeNamespace => &[Self::OwnIds],
            Self::Hostname => &[Self::UtsNamespace],
            Self::PrivateMounts => &[Self::MountNamespace],
            Self::Proc => &[Self::PidNamespace, Self::PrivateMounts],
            Self::Tmpfs | Self::Bind => &[Self::PrivateMounts],
            Self::Overlay | Self::PivotRoot => &[Self::Tmpfs],
            Self::UserNamespace | Self::NoNewPrivs | Self::Openat2 | Self::Clone3 | Self::Image => {
                &[]
            }
        }
    }

    /// The layers of the recipe that tries it, with ids that work and over a
    /// directory that is there.
    pub(super) fn layers(self, ids: &str, place: &str) -> String {
        let ids = format!("user: {{map: {ids}}}");
        match self {
            Self::UserNamespace => "user: {map: none}".to_owned(),
            Self::OwnIds => "user: {map: root}".to_owned(),
            Self::SubordinateIds => "user: {map: auto}".to_owned(),
            Self::UtsNamespace => format!("{ids}, uts: {{}}"),
            Self::Hostname => format!("{ids}, uts: {{}}, hostname: doctor"),
            Self::PidNamespace => format!("{ids}, pid: {{}}"),
            Self::MountNamespace => format!("{ids}, mount: {{propagation: unchanged}}"),
            Self::PrivateMounts => format!("{ids}, mount: {{}}"),
            Self::Proc => format!("{ids}, pid: {{}}, mount: {{}}, proc: {place}"),
            Self::Tmpfs => format!("{ids}, mount: {{}}, tmpfs: {place}"),
            Self::Bind => {
                format!("{ids}, mount: {{}}, bind: {{from: {place}, to: {place}, read_only: true}}")
            }
            Self::Overlay => format!(
                "{ids}, mount: {{}}, tmpfs: {place}, dir: {place}/lower, dir: {place}/at, \
                 overlay: {{lower: {place}/lower, at: {place}/at}}"
            ),
            Self::PivotRoot => {
                format!("{ids}, mount: {{}}, tmpfs: {place}, pivot_root: {place}")
            }
            Self::IpcNamespace => format!("{ids}, ipc: {{}}"),
            Self::NetworkNamespace => format!("{ids}, net: none"),
            Self::CgroupNamespace => format!("{ids}, cgroup: {{}}"),
            Self::TimeNamespace => ids,
            Self::NoNewPrivs | Self::Openat2 | Self::Clone3 | Self::Image => String::new(),
        }
    }

    /// Why it is not worth a try, from what is known beforehand.
    pub(super) fn excused(self, host: &Host) -> Option<&'static str> {
        match self {
            Self::Image if host.initial_user_namespace == Some(false) => {
                Some("only root of the machine itself can mount images")
            }
            Self::Image if !host.is_root() => Some("it takes root: try `sudo isorecipe doctor`"),
            _ => None,
        }
    }
}

/// What the steps of a plan are made of.
pub(super) fn needed(plan: &Plan) -> Vec<(usize, Thing)> {
    let steps = plan.steps.iter().enumerate();
    steps.filter_map(|(index, step)| Some((index, part(&step.op, step.by)?))).collect()
}

fn part(op: &Op, by: Actor) -> Option<Thing> {
    Some(match op {
        Op::NewNamespace(new) => match new.0 {
            Namespace::User => Thing::UserNamespace,
            Namespace::Mount => Thing::MountNamespace,
            Namespace::Uts => Thing::UtsNamespace,
            Namespace::Ipc => Thing::IpcNamespace,
            Namespace::Pid => Thing::PidNamespace,
            Namespace::Cgroup => Thing::CgroupNamespace,
            Namespace::Network => Thing::NetworkNamespace,
            Namespace::Time => Thing::TimeNamespace,
        },
        Op::BringLoopbackUp(_) => Thing::NetworkNamespace,
        Op::WriteMap(_) if by == Actor::Child => Thing::OwnIds,
        Op::HelperMap(_) => Thing::SubordinateIds,
        Op::SetHostname(_) | Op::SetDomainname(_) => Thing::Hostname,
        Op::SetPropagation(_) => Thing::PrivateMounts,
        Op::MountNew(new) => match new.is_proc() {
            true => Thing::Proc,
            false => Thing::Tmpfs,
        },
        Op::Bind(_) | Op::HoldSource(_) => Thing::Bind,
        Op::MountOverlay(_) => Thing::Overlay,
        Op::PivotRoot(_) => Thing::PivotRoot,
        Op::NoNewPrivileges(_) => Thing::NoNewPrivs,
        Op::MountImage(_) => Thing::Image,
        _ => return None,
    })
}
