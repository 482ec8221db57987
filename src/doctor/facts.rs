//! What is known of this machine without a trial, in a few words each.

use crate::{
    host::{
        Confinement, ControlGroups, Device, FuseDevice, Host, ImageTools, Kernel, Landlock, Layout,
        Seccomp,
    },
    sys::capability,
};

const UNKNOWN: &str = "unknown";

/// Each fact with its name, for people.
pub fn facts(host: &Host) -> Vec<(&'static str, String)> {
    let none = Confinement::default();
    let confinement = host.confinement.as_ref().unwrap_or(&none);
    let no_settings = Kernel::default();
    let settings = host.kernel_settings.as_ref().unwrap_or(&no_settings);
    vec![
        ("kernel", host.kernel.clone().unwrap_or_else(|| UNKNOWN.to_owned())),
        ("you", who(host)),
        ("capabilities", capabilities(host, confinement)),
        ("no_new_privs", on_or_off(confinement.no_new_privs)),
        ("seccomp", seccomp(confinement)),
        ("security modules", modules(confinement, settings)),
        ("Landlock", landlock(settings)),
        ("control groups", control_groups(host.control_groups.as_ref())),
        ("loop devices", device(settings.loop_control).to_owned()),
        ("FUSE", fuse(host.images.as_ref())),
        ("kernel log", dmesg(settings)),
        ("terminal typing", tiocsti(settings)),
    ]
}

fn on_or_off(fact: Option<bool>) -> String {
    let word = match fact {
        None => UNKNOWN,
        Some(true) => "on: set-user-ID programs gain no rights",
        Some(false) => "off",
    };
    word.to_owned()
}

fn who(host: &Host) -> String {
    let who = match (&host.caller.name, &host.invoker) {
        (Some(name), None) => format!("{name}, uid {}", host.caller.uid),
        (None, None) => format!("uid {}", host.caller.uid),
        (_, Some(invoker)) => format!("root, through sudo for uid {}", invoker.uid),
    };
    match host.initial_user_namespace {
        Some(false) => format!("{who}, in a user namespace other than the machine's own"),
        _ => who,
    }
}

fn capabilities(host: &Host, confinement: &Confinement) -> String {
    let own = host.caller.capabilities;
    let bounding = confinement.bounding;
    let lacks = |set: u64| {
        let lacking = capability::NAMES.iter().filter(|(number, _)| set & 1 << number == 0);
        lacking.map(|&(_, name)| name).collect::<Vec<_>>()
    };
    let (missing, unreachable) = (lacks(own), bounding.map(lacks).unwrap_or_default());
    let bounded = match unreachable.len() {
        0 => String::new(),
        _ if unreachable == missing => " (nor ever: bounding set)".to_owned(),
        1..=4 => format!("; never to be had (bounding set): {}", unreachable.join(", ")),
        count => format!("; {count} can never be had (bounding set)"),
    };
    let has = match missing.len() {
        0 => "all".to_owned(),
        count if count == capability::NAMES.len() => "none".to_owned(),
        1..=4 => format!("all but {}", missing.join(", ")),
        count => format!("{} of {}", capability::NAMES.len() - count, capability::NAMES.len()),
    };
    format!("{has}{bounded}")
}

fn seccomp(confinement: &Confinement) -> String {
    let denied: Vec<_> =
        confinement.denied.iter().flatten().map(|(call, _)| call.clone()).collect();
    match (confinement.seccomp, denied.is_empty()) {
        (Some(Seccomp::Off), _) => "off: every call goes to the kernel".to_owned(),
        (Some(Seccomp::Strict), _) => "strict".to_owned(),
        (Some(Seccomp::Filter), true) => {
            "a filter, which lets namespaces and mounts through".to_owned()
        }
        (None, true) => UNKNOWN.to_owned(),
        (_, false) => format!("a filter, which denies {}", denied.join(", ")),
    }
}

fn modules(confinement: &Confinement, settings: &Kernel) -> String {
    let names = match &settings.security_modules {
        Some(modules) => modules.join(", "),
        None => {
            "unknown: /sys/kernel/security/lsm cannot be read; perhaps securityfs is not mounted"
                .to_owned()
        }
    };
    match &confinement.apparmor {
        Some(label) => format!("{names}; AppArmor calls isorecipe `{label}`"),
        None => names,
    }
}

fn landlock(settings: &Kernel) -> String {
    match settings.landlock {
        None => UNKNOWN.to_owned(),
        Some(Landlock::Missing) => {
            "none: the kernel has no such call, or a filter hides it".to_owned()
        }
        Some(Landlock::Off) => {
            "off: built in, and `lsm=` on the kernel's command line does not name it".to_owned()
        }
        Some(Landlock::Interface(number)) => format!("interface {number}"),
    }
}

fn control_groups(groups: Option<&ControlGroups>) -> String {
    let Some(groups) = groups else { return UNKNOWN.to_owned() };
    let layout = match groups.layout {
        Layout::None => return "not mounted".to_owned(),
        Layout::V1 => "version 1",
        Layout::V2 => "version 2",
        Layout::Hybrid => "version 1, and version 2 beside it",
    };
    let may = match (&groups.homes, groups.delegated) {
        (Some(homes), _) if !homes.is_empty() => {
            let names: Vec<_> = homes.keys().map(String::as_str).collect();
            format!("; a sandbox of yours can be limited in {}", names.join(", "))
        }
        (None, Some(true)) => "; you may make groups below your own".to_owned(),
        (Some(_), _) | (None, Some(false)) => {
            "; you may not make groups (`systemd-run --user --scope -p Delegate=yes …` gives some)"
                .to_owned()
        }
        (None, None) => String::new(),
    };
    format!("{layout}{may}")
}

fn device(device: Option<Device>) -> &'static str {
    match device {
        None => UNKNOWN,
        Some(Device::Missing) => "none: `sudo modprobe loop`",
        Some(Device::Denied) => "you may not use them",
        Some(Device::Usable) => "usable",
    }
}

fn fuse(tools: Option<&ImageTools>) -> String {
    let Some(tools) = tools else { return UNKNOWN.to_owned() };
    let device = match tools.fuse {
        FuseDevice::Opens => "/dev/fuse opens".to_owned(),
        FuseDevice::Missing => "/dev/fuse is not there: `sudo modprobe fuse`".to_owned(),
        FuseDevice::Closed(owner) if owner.lets_everybody() => {
            "/dev/fuse may not be opened, whatever its mode".to_owned()
        }
        FuseDevice::Closed(owner) => {
            format!(
                "/dev/fuse may not be opened, mode {:04o}: `sudo chmod 666 /dev/fuse`",
                owner.mode
            )
        }
        FuseDevice::Broken(_) => "/dev/fuse does not open".to_owned(),
    };
    let servers = [
        ("squashfuse", &tools.squashfuse),
        ("erofsfuse", &tools.erofsfuse),
        ("fuse2fs", &tools.fuse2fs),
    ];
    let names: Vec<_> =
        servers.iter().filter(|(_, path)| path.is_some()).map(|(name, _)| *name).collect();
    match names.is_empty() {
        true => format!("{device}; no program to serve an image with"),
        false => format!("{device}; {}", names.join(", ")),
    }
}

fn dmesg(settings: &Kernel) -> String {
    let word = match settings.dmesg_restrict {
        None => UNKNOWN,
        Some(true) => "root's alone (kernel.dmesg_restrict)",
        Some(false) => "readable",
    };
    word.to_owned()
}

fn tiocsti(settings: &Kernel) -> String {
    let word = match settings.legacy_tiocsti {
        None => UNKNOWN,
        Some(true) => "a sandbox can type into your terminal (dev.tty.legacy_tiocsti)",
        Some(false) => "a sandbox cannot type into your terminal",
    };
    word.to_owned()
}
