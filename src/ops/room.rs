//! What there can be no more of: namespaces and mounts (`namespaces(7)`, "The
//! /proc/sys/user directory"; `fs.mount-max` of `proc_sys_fs(5)`).

use crate::{
    diagnostic::Refusal,
    model::Model,
    sys::{Call, Errno, Fault, Namespace},
};

/// There can be no more namespaces of a kind.
pub(super) fn limit_reached(kind: Namespace, noun: &str, before: &Model) -> Refusal {
    let knob = format!("user.max_{}_namespaces", kind.link());
    let refusal =
        Refusal::new("namespace::limit", format!("there can be no more {noun} namespaces"))
            .help(format!("`sudo sysctl {knob}=15000` on the machine itself"));
    refusal.why(match before.namespace_limit(kind) {
        Some((0, _)) => format!("{knob} is 0"),
        Some((limit, made)) if made >= limit => {
            format!("{knob} is {limit}, and the recipe has made as many")
        }
        Some((limit, _)) => format!(
            "{knob} is {limit}: as many are in use, or a lower limit of a namespace around is reached"
        ),
        None => format!("{knob} is reached, here or in a namespace around"),
    })
}

/// There is no room for a mount, attached or not.
pub(super) fn refused(fault: Fault, before: &Model) -> Option<Refusal> {
    match (fault.call, fault.errno) {
        (Call::Fsmount | Call::Bind, Errno::ENOSPC) => {
            Some(limit_reached(Namespace::Mount, "mount", before))
        }
        (Call::MoveMount, Errno::ENOSPC) => Some(too_many()),
        _ => None,
    }
}

fn too_many() -> Refusal {
    Refusal::new("mount::too_many", "there can be no more mounts")
        .why("fs.mount-max is reached in this mount namespace")
        .help(
            "`sudo sysctl fs.mount-max=200000`, or take mounts away: `findmnt | wc -l` counts them",
        )
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::host::Host;

    #[test]
    fn a_mount_that_finds_no_room_is_one_too_many() {
        let model = Model::of(Rc::new(Host::default()));
        let code = |call: Call| {
            let refusal = refused(call.gave(Errno::ENOSPC), &model)?;
            Some(refusal.code().to_owned())
        };
        assert_eq!(code(Call::MoveMount).as_deref(), Some("mount::too_many"));
        // What is attached nowhere counts as a namespace.
        assert_eq!(code(Call::Fsmount).as_deref(), Some("namespace::limit"));
        assert_eq!(code(Call::Mkdir), None);
    }
}
