//! The call that each operation is about: what fails when the step is said to fail.

use crate::sys::Call;

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
            Op::Execute(_) => Call::Execve,
            Op::Fork(_) | Op::StayAsInit(_) => Call::Fork,
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
            Op::SetDomainname(_) => Call::Setdomainname,
            Op::SetHostname(_) => Call::Sethostname,
            Op::SetLimit(_) => Call::Prlimit,
            Op::SetPropagation(_) => Call::Mount,
            Op::WriteMap(map) => map.call(),
        }
    }
}
