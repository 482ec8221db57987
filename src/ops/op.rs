//! What is asked of any operation, whichever it is: the call that it is about,
//! what it makes, what it hands over.

use crate::{
    model::Slot,
    sys::{Call, Namespace},
};

use super::Op;

impl Op {
    /// The call that it is about; those before it prepare it.
    pub fn call(&self) -> Call {
        match self {
            Op::AllowFiles(_) | Op::AllowPort(_) => Call::LandlockRule,
            Op::Bind(_)
            | Op::AttachImage(_)
            | Op::Mask(_)
            | Op::MountNew(_)
            | Op::PlaceDevice(_) => Call::MoveMount,
            Op::Become(_) => Call::Setresuid,
            Op::BringLoopbackUp(_) => Call::Interface,
            Op::ChangeDirectory(_) => Call::Chdir,
            Op::DenySetgroups(_) => Call::WriteSetgroups,
            Op::DetachMount(_) => Call::Umount,
            Op::EnterGroup(_) => Call::EnterGroup,
            Op::Execute(_) => Call::Execve,
            Op::EnterTime(_) | Op::Fork(_) | Op::StayAsInit(_) => Call::Fork,
            Op::ForbidNested(_) => Call::WriteSysctl,
            Op::HelperMap(_) => Call::Helper,
            Op::HoldSource(_) => Call::Bind,
            Op::InstallFilter(_) => Call::Seccomp,
            Op::KeepCapabilities(_) => Call::KeepCapabilities,
            Op::LimitCapabilities(_) | Op::TakeUpCapabilities(_) => Call::Capset,
            Op::MakeDirectory(_) => Call::Mkdir,
            Op::MakeRuleset(_) => Call::LandlockCreate,
            Op::MakeFile(_) => Call::MakeFile,
            Op::MakeLink(_) => Call::Symlink,
            Op::MountImage(_) | Op::MountOverlay(_) => Call::Fsconfig,
            Op::NewNamespace(_) => Call::Unshare,
            Op::NoNewPrivileges(_) => Call::Prctl,
            Op::PivotRoot(_) => Call::PivotRoot,
            Op::RemoveDirectory(_) => Call::Rmdir,
            Op::Restrict(_) => Call::MountSetattr,
            Op::RestrictSelf(_) => Call::LandlockRestrict,
            Op::ServeImage(_) | Op::UnpackImage(_) => Call::Program,
            Op::SetClocks(_) => Call::WriteClocks,
            Op::SetDomainname(_) => Call::Setdomainname,
            Op::SetHostname(_) => Call::Sethostname,
            Op::SetLimit(_) => Call::Prlimit,
            Op::SetPropagation(_) => Call::Mount,
            Op::WriteMap(map) => map.call(),
        }
    }

    /// Whether it mounts a filesystem of the recipe's own, in which things can be made.
    pub fn makes_ground(&self) -> bool {
        matches!(self, Op::MountNew(_) | Op::MountOverlay(_))
    }

    /// Has it keep that filesystem in this slot, or says in which it is kept.
    pub fn keep_ground(&mut self, slot: Slot) -> Option<Slot> {
        match self {
            Op::MountNew(new) => Some(*new.slot.get_or_insert(slot)),
            Op::MountOverlay(overlay) => Some(*overlay.slot.get_or_insert(slot)),
            _ => None,
        }
    }

    /// The namespace it makes, if that is what it does.
    pub fn namespace(&self) -> Option<Namespace> {
        match self {
            Op::NewNamespace(made) => Some(made.0),
            _ => None,
        }
    }

    /// The slot of a descriptor that goes from the supervisor to the child.
    pub fn hands_over(&self) -> Option<Slot> {
        match self {
            Op::MountImage(image) => Some(image.slot),
            Op::ServeImage(image) => Some(image.slot),
            _ => None,
        }
    }

    /// The slot of a program that has to end when the sandbox does.
    pub fn keeps_running(&self) -> Option<Slot> {
        match self {
            Op::ServeImage(image) => Some(image.program),
            _ => None,
        }
    }
}
