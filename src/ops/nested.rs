//! No user namespace within this one: `namespaces(7)`, "The /proc/sys/user
//! directory".

use std::{ffi::CStr, fmt};

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, capability},
    sys::{Call, Errno, Fault},
};

use super::{Evidence, Need, Operation, Stage, unexplained};

/// The kernel's file, below `/proc`: each process sees that of its own user namespace.
const FILE: &CStr = c"sys/user/max_user_namespaces";

/// Nobody makes a user namespace in that of the process, until somebody with
/// CAP_SYS_RESOURCE over it allows it again.
pub struct ForbidNested;

impl fmt::Display for ForbidNested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write 0 to max_user_namespaces")
    }
}

impl Operation for ForbidNested {
    fn answer(&self, model: &Model) -> Answer {
        if let Err(objection) = model.may_open_settings() {
            return objection.to(Call::WriteSysctl);
        }
        match model.capable(model.process.user, capability::SYS_RESOURCE) {
            true => Answer::Yes,
            false => Answer::No(Call::WriteSysctl.gave(Errno::EACCES)),
        }
    }

    fn effect(&self, model: &mut Model) {
        model.own_user_mut().is_last = true;
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.write_setting(FILE, b"0").map_err(|errno| Call::WriteSysctl.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let mut room = [0; 16];
        let failed = |errno| Call::WriteSysctl.gave(errno);
        match stage.read_setting(FILE, &mut room).map_err(failed)? {
            b"0\n" => Ok(()),
            other => Err(stage.lie(Call::WriteSysctl, other)),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        match fault.errno {
            Errno::EROFS => Refusal::new(
                "user::settings_read_only",
                "the settings of user namespaces cannot be written",
            )
            .why("/proc/sys is read-only here, as container engines make it")
            .help("start the outer container with a writable /proc/sys, or leave `nested` out"),
            Errno::ENOENT if before.may_open_settings().is_err() => {
                Refusal::new("user::no_settings", "the settings of user namespaces are not there")
                    .why("no procfs is mounted on /proc")
                    .help("mount one first: `sudo mount -t proc proc /proc`")
            }
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need {
            capability: capability::SYS_RESOURCE,
            over: before.process.user,
            what: "its user namespace",
        })
    }
}
