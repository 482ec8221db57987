//! New namespaces, and the fork that enters a PID namespace: `unshare(2)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, Objection, UserId},
    sys::{Call, Errno, Fault, Namespace, namespace, process},
};

use super::{
    Evidence, Need, Operation, Stage, module::module_denies, restricted_by_apparmor, room,
    unexplained,
};

/// User and PID namespaces nest this deep (`namespaces(7)`).
const DEEPEST: u32 = 32;

/// No namespace has this number.
const UNKNOWN: u64 = 0;

/// A namespace of this kind, for the process itself (`Pid` and `Time`: for its
/// next child).
pub struct NewNamespace(pub Namespace);

impl fmt::Display for NewNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make a new {} namespace", noun(self.0))
    }
}

impl Operation for NewNamespace {
    fn answer(&self, model: &Model) -> Answer {
        if let Some(errno) = model.host.denies(Call::Unshare) {
            return Answer::No(Call::Unshare.gave(errno));
        }
        match model.may_make(self.0) {
            Ok(()) => Answer::Yes,
            Err(objection) => objection.to(Call::Unshare),
        }
    }

    fn effect(&self, model: &mut Model) {
        model.make(self.0);
    }

    fn intend(&self, model: &mut Model) {
        model.make(self.0);
        model.presume_owned(self.0);
    }

    fn note(&self, stage: &Stage) -> Result<(), Fault> {
        stage.remember([stage.namespace(self.0.link_of_next())?.unwrap_or(UNKNOWN), 0]);
        Ok(())
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        namespace::unshare(self.0).map_err(|errno| Call::Unshare.gave(errno))
    }

    /// Another one than before; without a procfs nobody can tell.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match (stage.namespace(self.0.link_of_next())?, stage.remembered()) {
            (Some(now), [before, _]) if now == before => {
                Err(stage.lie(Call::Unshare, b"the same namespace as before"))
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        match (self.0, fault.errno) {
            (Namespace::User, Errno::EPERM | Errno::EACCES) => user_refused(self, fault, before),
            (Namespace::User, Errno::ENOSPC) if before.own_user().level > DEEPEST => too_deep(),
            (Namespace::User, Errno::ENOSPC) if before.forbids_nested() => forbidden(),
            (Namespace::Pid, Errno::ENOSPC) if before.pid_level >= DEEPEST => pid_too_deep(),
            (kind, Errno::ENOSPC) => room::limit_reached(kind, noun(kind), before),
            (kind, Errno::EPERM) if !before.administers(before.process.user) => needs_user(kind),
            (kind, Errno::EINVAL) if before.may_make(kind) != Err(Objection::No(Errno::EINVAL)) => {
                not_built_in(kind)
            }
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        (self.0 != Namespace::User).then(|| Need::admin(before.process.user, "its user namespace"))
    }
}

/// The kernel's reasons for EPERM, in its order (`create_user_ns()`).
fn user_refused(operation: &NewNamespace, fault: Fault, before: &Model) -> Refusal {
    let host = &before.host;
    let own = before.own_user();
    let is_mapped = own.uids.from_host(before.process.uid).is_some()
        && own.gids.from_host(before.process.gid).is_some();
    if host.unprivileged_userns_clone == Some(false) && !before.process_is_root() {
        return Refusal::new("user::switched_off", "this machine gives no user namespace to users")
            .why("kernel.unprivileged_userns_clone is 0")
            .help("`sudo sysctl kernel.unprivileged_userns_clone=1`");
    }
    if host.is_restricted_by_apparmor() == Some(true) {
        return restricted_by_apparmor();
    }
    if host.kernel_settings.as_ref().and_then(|known| known.selinux_denies_userns) == Some(true) {
        return denied_by_selinux();
    }
    if before.is_chrooted() == Some(true) {
        return Refusal::new("user::chrooted", "no user namespace can be made inside a chroot")
            .why(match before.process.chrooted {
                Some(true) => "isorecipe was started in a root directory that is no mount",
                _ => "something is mounted over the root directory",
            })
            .help("start isorecipe outside the chroot; a recipe enters a tree with `pivot_root`");
    }
    if !is_mapped {
        let refusal =
            Refusal::new("user::unmapped", "the user has no id in the user namespace around");
        return match before.process.user == UserId::HOST {
            true => refusal
                .why("isorecipe was started in a user namespace that does not map you")
                .help("write its maps from outside, once: `echo \"0 $(id -u) 1\" > /proc/PID/uid_map`"),
            false => refusal
                .why("the outer `user` layer maps no ids")
                .help("give the outer one a map: `user: {map: root}`"),
        };
    }
    let is_known = before.is_chrooted() == Some(false) && host.kernel_settings.is_some();
    match is_known && !matches!(operation.answer(before), Answer::No(_)) {
        true => module_denies(fault, host),
        false => unexplained(operation, fault),
    }
}

fn denied_by_selinux() -> Refusal {
    Refusal::new("user::denied_by_selinux", "SELinux gives no user namespace to this program")
        .why("its boolean deny_userns is on")
        .help("`sudo setsebool deny_userns off`")
}

fn not_built_in(kind: Namespace) -> Refusal {
    Refusal::new("host::not_built_in", format!("this kernel makes no {} namespace", noun(kind)))
        .why("it was built without that kind")
        .help("run it on a kernel that a distribution ships")
}

fn too_deep() -> Refusal {
    Refusal::new("user::too_deep", "user namespaces nest no deeper")
        .why(format!("it would be number {} below the host's", DEEPEST + 2))
        .help("take some `user` layers out")
}

fn pid_too_deep() -> Refusal {
    Refusal::new("pid::too_deep", "PID namespaces nest no deeper")
        .why(format!("it would be number {} below the host's", DEEPEST + 1))
        .help("take some `pid` layers out")
}

fn forbidden() -> Refusal {
    Refusal::new("user::forbidden", "no user namespace may be made in this one")
        .why("a `user` layer before it says `nested: false`")
        .help("say it in the last `user` layer only")
}

fn needs_user(kind: Namespace) -> Refusal {
    let message = format!("a new {} namespace needs CAP_SYS_ADMIN", noun(kind));
    Refusal::new("namespace::needs_user", message)
        .why("no user namespace yet")
        .help("put a `user` layer before it")
        .wants("user")
        .once()
}

fn noun(kind: Namespace) -> &'static str {
    match kind {
        Namespace::User => "user",
        Namespace::Mount => "mount",
        Namespace::Uts => "UTS",
        Namespace::Ipc => "IPC",
        Namespace::Pid => "PID",
        Namespace::Cgroup => "cgroup",
        Namespace::Network => "network",
        Namespace::Time => "time",
    }
}

/// A child, which is the first process of the new PID namespace.
pub struct Fork;

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fork: the child is PID 1")
    }
}

impl Operation for Fork {
    fn answer(&self, _: &Model) -> Answer {
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        model.fork();
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.turnings.fork().map_err(|errno| Call::Fork.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match process::own_pid() {
            1 => Ok(()),
            other => Err(stage.lie_number(Call::Fork, other.unsigned_abs())),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        match fault.errno {
            Errno::EAGAIN => Refusal::new("fork::too_many", "there can be no more processes")
                .why("the limit of processes is reached")
                .help("see `ulimit -u` and the `pids.max` of the control group"),
            _ => unexplained(self, fault),
        }
    }
}
