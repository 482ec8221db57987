//! What the Landlock of a kernel lacks, in words (`landlock(7)`, "VERSIONS").

use crate::{
    diagnostic::Refusal,
    host::{self, Host},
    sys::landlock::{Handled, files, scope, tcp},
};

/// What this machine's Landlock lacks of what is wanted, in words; nothing where
/// that is not known.
pub fn lacks(host: &Host, wanted: Handled) -> Option<Refusal> {
    match known(host)? {
        host::Landlock::Missing => Some(without_landlock(host)),
        host::Landlock::Off => Some(switched_off()),
        host::Landlock::Interface(interface) => too_old(host, interface, wanted),
    }
}

pub(super) fn known(host: &Host) -> Option<host::Landlock> {
    host.kernel_settings.as_ref()?.landlock
}

pub(super) fn without_landlock(host: &Host) -> Refusal {
    let why = match host.kernel_version() {
        Some((major, minor)) if (major, minor) < (5, 13) => {
            format!("it is Linux {major}.{minor}, and Landlock came with 5.13")
        }
        _ => "it was built without, or a seccomp filter hides it".to_owned(),
    };
    Refusal::new("landlock::missing", "this kernel has no Landlock")
        .why(why)
        .help("run it on a kernel that has it, or write `need: prefer`")
}

pub(super) fn switched_off() -> Refusal {
    Refusal::new("landlock::off", "Landlock is switched off on this machine")
        .why("the kernel was started without it in its list of security modules")
        .help("add `landlock` to `lsm=` on the kernel command line, or write `need: prefer`")
}

/// What interfaces have learned: which, with which Linux, and what it is called.
const LEARNED: &[(u32, &str, &str, Handled)] = &[
    (2, "5.19", "moving files", Handled { files: files::REFER, tcp: 0, scope: 0 }),
    (3, "6.2", "the truncating of files", Handled { files: files::TRUNCATE, tcp: 0, scope: 0 }),
    (4, "6.7", "TCP ports", Handled { files: 0, tcp: tcp::BIND | tcp::CONNECT, scope: 0 }),
    (5, "6.10", "ioctl on devices", Handled { files: files::CONTROL_DEVICE, tcp: 0, scope: 0 }),
    (
        6,
        "6.12",
        "signals and abstract sockets",
        Handled { files: 0, tcp: 0, scope: scope::SIGNAL | scope::ABSTRACT_UNIX_SOCKET },
    ),
];

pub(super) fn too_old(host: &Host, interface: u32, wanted: Handled) -> Option<Refusal> {
    let is_lacking = |handled: Handled| wanted.and(handled) != Handled::default();
    let (needed, linux, what, _) = LEARNED
        .iter()
        .rfind(|(learned, _, _, handled)| *learned > interface && is_lacking(*handled))?;
    let here = host.kernel_version().map_or("this kernel".to_owned(), |(major, minor)| {
        format!("this is Linux {major}.{minor}, which")
    });
    Some(
        Refusal::new("landlock::too_old", format!("Landlock of this kernel does not know {what}"))
            .why(format!(
                "{here} has interface {interface}; that came with interface {needed}, Linux {linux}"
            ))
            .help("run it on a newer kernel, or write `need: prefer`"),
    )
}
