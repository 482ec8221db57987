//! The machine's name on both sides. No file tells the name in another UTS
//! namespace: somebody has to go there (`setns(2)`).

use std::{ffi::CString, fs::File, os::fd::AsFd};

use schemars::JsonSchema;
use serde::Serialize;

use crate::sys::{Errno, descriptor, uts};

/// The hostname, outside and inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hostname {
    /// The host's
    pub host: String,
    /// The sandbox's; nothing if it cannot be read
    pub sandbox: Option<String>,
    /// Why it cannot be read
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// Of a process with these namespaces of its own.
pub(super) fn of(pid: i32, has_own: bool, has_own_user: bool) -> Hostname {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let read = if has_own { inside(pid, has_own_user) } else { Ok(host.clone()) };
    match read {
        Ok(name) => Hostname { host, sandbox: Some(name), unreadable: None },
        Err(why) => Hostname { host, sandbox: None, unreadable: Some(why) },
    }
}

fn inside(pid: i32, has_own_user: bool) -> Result<String, String> {
    let open = |kind| {
        let path = CString::new(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        let gave = |errno: Errno| format!("open gave {errno:?}: {}", errno.desc());
        descriptor::open_to_read(&path).map(File::from).map_err(gave)
    };
    let uts = open("uts")?;
    let user = has_own_user.then(|| open("user")).transpose()?;
    let name = uts::hostname_in(uts.as_fd(), user.as_ref().map(AsFd::as_fd))
        .map_err(|fault| fault.in_words())?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}
