//! After a pivot, the script finds its tools in the new root, or not at all;
//! isorecipe itself needs none there.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{diagnostic::Refusal, model::Model, ops::Op, plan::Step, sys::Errno};

/// What is sure to be missing for a step.
pub(super) fn missing(step: &Step, model: &Model, search_path: &OsStr) -> Option<Refusal> {
    first_missing(wanted(&step.op), model, search_path)
}

/// The first of these tools that is in no directory of PATH.
pub(super) fn first_missing(
    tools: &[&'static str],
    model: &Model,
    search_path: &OsStr,
) -> Option<Refusal> {
    let is_missing = |tool: &&&str| {
        search_path.as_bytes().split(|&byte| byte == b':').all(|directory| {
            let path = Path::new(OsStr::from_bytes(directory)).join(tool);
            // What is not known is not missing.
            !path.is_absolute()
                || matches!(model.walk(&path), Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES))
        })
    };
    let tool = tools.iter().find(is_missing)?;
    let message = format!("the script would need `{tool}` in the new root");
    Some(
        Refusal::new("export::no_tool", message)
            .why("no directory of PATH has it there")
            .help(format!("bring `{tool}` into the new root, with the libraries that `ldd $(command -v {tool})` names")),
    )
}

fn wanted(op: &Op) -> &'static [&'static str] {
    match op {
        Op::BringLoopbackUp(_) => &["ip"],
        Op::SetHostname(_) => &["hostname"],
        Op::SetDomainname(_) => &["domainname"],
        Op::MakeDirectory(_) => &["mkdir"],
        Op::MakeFile(_) => &["chmod"],
        Op::MakeLink(_) => &["ln"],
        Op::RemoveDirectory(_) => &["rmdir"],
        Op::DetachMount(_) => &["umount"],
        Op::Bind(bind) if !bind.flags.is_empty() => &["mount", "findmnt"],
        Op::Restrict(_) => &["mount", "findmnt"],
        Op::AttachImage(_)
        | Op::Bind(_)
        | Op::Mask(_)
        | Op::PlaceDevice(_)
        | Op::MountNew(_)
        | Op::MountOverlay(_)
        | Op::SetPropagation(_) => &["mount"],
        Op::PivotRoot(_) => &["umount"],
        Op::NewNamespace(_) | Op::Fork(_) => &["unshare", "sh"],
        Op::AllowFiles(_)
        | Op::AllowPort(_)
        | Op::MakeRuleset(_)
        | Op::RestrictSelf(_)
        | Op::DenySetgroups(_)
        | Op::WriteMap(_)
        | Op::HelperMap(_)
        | Op::Become(_)
        | Op::ChangeDirectory(_)
        | Op::EnterGroup(_)
        | Op::EnterTime(_)
        | Op::ForbidNested(_)
        | Op::HoldSource(_)
        | Op::InstallFilter(_)
        | Op::KeepCapabilities(_)
        | Op::LimitCapabilities(_)
        | Op::MountImage(_)
        | Op::NoNewPrivileges(_)
        | Op::ServeImage(_)
        | Op::SetClocks(_)
        | Op::SetLimit(_)
        | Op::StayAsInit(_)
        | Op::TakeUpCapabilities(_)
        | Op::UnpackImage(_)
        | Op::Execute(_) => &[],
    }
}
