//! Files of the host, and devices.

use super::{
    super::check::{Broke, Cannot, Check, Facts, Held, How, Verdict},
    all, c, call, named, open, refused,
};

pub const CHECKS: &[Check] = &[
    Check { name: "host_file", how: How::Inside(host_file) },
    Check { name: "host_home", how: How::Inside(host_home) },
    Check { name: "host_shm", how: How::Inside(host_shm) },
    Check { name: "shadow", how: How::Inside(shadow) },
    Check { name: "chroot_escape", how: How::Inside(chroot_escape) },
    Check { name: "ro_write", how: How::Inside(ro_write) },
    Check { name: "open_by_handle", how: How::Inside(open_by_handle) },
    Check { name: "mknod", how: How::Inside(mknod) },
    Check { name: "dev_nodes", how: How::Inside(dev_nodes) },
    Check { name: "bound_dev", how: How::Inside(bound_dev) },
    Check { name: "suid", how: How::Inside(suid) },
];

fn host_file(facts: &Facts) -> Verdict {
    let path = facts.get("marker");
    all([
        refused(open(path, libc::O_RDONLY), "reading the marker"),
        refused(open(path, libc::O_WRONLY), "writing the marker"),
    ])
}

fn host_home(facts: &Facts) -> Verdict {
    let path = facts.get("home");
    let found = std::fs::read_dir(path).map(|all| all.flatten().count());
    match found {
        Ok(0) => Held("empty".to_owned()),
        Ok(_) => Verdict::broke_if(
            std::fs::metadata(format!("{path}/{}", facts.get("home_file"))).is_ok(),
            "the caller's file in the caller's home",
        ),
        Err(error) => Held(format!("{path}: {error}")),
    }
}

fn host_shm(facts: &Facts) -> Verdict {
    refused(open(&format!("/dev/shm/{}", facts.get("token")), libc::O_RDONLY), "reading it")
}

fn shadow(_: &Facts) -> Verdict {
    let files = ["/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_ed25519_key"];
    all(files.map(|file| match std::fs::read(file) {
        Ok(text) if text.is_empty() => Held(format!("{file} is empty")),
        Ok(_) => Broke(format!("read {file}")),
        Err(error) => Held(format!("{file}: {}", named(error.raw_os_error().unwrap_or(0)))),
    }))
}

fn chroot_escape(facts: &Facts) -> Verdict {
    let (root, below, up) = (c("/"), c("/proc"), c(".."));
    let kept = call(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, root.as_ptr() as usize, libc::O_RDONLY as usize],
    );
    if let Err(errno) = call(libc::SYS_chroot, &[below.as_ptr() as usize]) {
        return Held(format!("chroot: {}", named(errno)));
    }
    let _ = kept.and_then(|fd| call(libc::SYS_fchdir, &[fd as usize]));
    for _ in 0..40 {
        let _ = call(libc::SYS_chdir, &[up.as_ptr() as usize]);
    }
    let marker = c(facts.get("marker").trim_start_matches('/'));
    let found = call(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, marker.as_ptr() as usize, libc::O_RDONLY as usize],
    );
    refused(found, "the marker, behind a chroot")
}

/// Makes a file there, and takes it away again.
pub fn can_write_in(directory: &str) -> Result<(), i32> {
    let path = c(&format!("{directory}/abuse-probe-{}", std::process::id()));
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
    let arguments = [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0o600];
    let fd = call(libc::SYS_openat, &arguments)?;
    super::close(fd);
    let _ = call(libc::SYS_unlinkat, &[libc::AT_FDCWD as usize, path.as_ptr() as usize, 0]);
    Ok(())
}

/// What the caller shows for reading: its own folder, what is mounted below it, the system.
fn ro_write(facts: &Facts) -> Verdict {
    let shown = facts.get("shown");
    let nested = format!("{shown}/nested");
    let places = [nested.as_str(), shown, "/usr", "/usr/bin", "/etc", "/bin"];
    all(places.map(|place| refused(can_write_in(place), place)))
}

fn open_by_handle(_: &Facts) -> Verdict {
    // An inode number and a generation, as ext4, xfs and tmpfs take them.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u32; 4],
    }
    let places = ["/", "/usr", "/etc", "/tmp", "/dev/shm"];
    all(places.iter().flat_map(|place| {
        let place = c(place);
        let flags = (libc::O_RDONLY | libc::O_DIRECTORY) as usize;
        let at = libc::AT_FDCWD as usize;
        let fd = call(libc::SYS_openat, &[at, place.as_ptr() as usize, flags]);
        let mut handle = Handle { bytes: 16, kind: 0, handle: [0; 4] };
        let mut mount = 0;
        let named_as = call(
            libc::SYS_name_to_handle_at,
            &[at, place.as_ptr() as usize, &raw mut handle as usize, &raw mut mount as usize, 0],
        );
        let own = [Handle { bytes: 8, kind: 1, handle: [2, 0, 0, 0] }];
        let own = if named_as.is_ok() { vec![handle] } else { own.into() };
        let tries: Vec<Verdict> = own
            .iter()
            .filter_map(|handle| {
                let fd = fd.ok()? as usize;
                let found = call(
                    libc::SYS_open_by_handle_at,
                    &[fd, std::ptr::from_ref(handle) as usize, libc::O_RDONLY as usize],
                );
                Some(refused(found, "open_by_handle_at"))
            })
            .collect();
        tries
    }))
}

fn mknod(_: &Facts) -> Verdict {
    let kinds = [
        (libc::S_IFBLK, 254, 0),
        (libc::S_IFBLK, 8, 0),
        (libc::S_IFCHR, 1, 1),
        (libc::S_IFCHR, 1, 11),
        (libc::S_IFCHR, 1, 5),
    ];
    let places = ["/tmp", "/dev/shm", "/dev", "/"];
    all(places.iter().flat_map(|place| kinds.map(|kind| make_node(place, kind))))
}

fn make_node(place: &str, (kind, major, minor): (u32, u32, u32)) -> Verdict {
    let path = format!("{place}/abuse-node-{}", std::process::id());
    let name = c(&path);
    let device = libc::makedev(major, minor) as usize;
    let at = libc::AT_FDCWD as usize;
    let made =
        call(libc::SYS_mknodat, &[at, name.as_ptr() as usize, (kind | 0o600) as usize, device]);
    let verdict = match made {
        Err(errno) => Held(format!("mknod: {}", named(errno))),
        Ok(_) => match open(&path, libc::O_RDONLY) {
            Ok(()) => Broke(format!("made {major}:{minor} in {place} and opened it")),
            Err(libc::ENXIO | libc::ENODEV) => {
                Broke(format!("only the device {major}:{minor} was missing"))
            }
            Err(errno) => Held(format!("opening the node: {}", named(errno))),
        },
    };
    let _ = call(libc::SYS_unlinkat, &[at, name.as_ptr() as usize, 0]);
    verdict
}

/// Each harmless to open, none to have.
const HARDWARE: [&str; 20] = [
    "mem",
    "kmsg",
    "port",
    "kvm",
    "fuse",
    "net/tun",
    "loop-control",
    "loop0",
    "vda",
    "sda",
    "nvme0n1",
    "dm-0",
    "uinput",
    "input/event0",
    "dri/card0",
    "vhost-net",
    "mapper/control",
    "tty0",
    "hpet",
    "userfaultfd",
];

fn dev_nodes(_: &Facts) -> Verdict {
    // Terminals of the machine would become this process's own.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened: Vec<&str> =
        HARDWARE.into_iter().filter(|name| open(&format!("/dev/{name}"), flags).is_ok()).collect();
    Verdict::broke_if(!opened.is_empty(), format!("opened: {}", opened.join(" ")))
}

fn bound_dev(facts: &Facts) -> Verdict {
    let path = facts.get("node");
    if path.is_empty() {
        return Cannot("it takes root to prepare".to_owned());
    }
    if open(path, libc::O_PATH).is_err() {
        return Cannot("the node is not shown".to_owned());
    }
    refused(open(path, libc::O_RDONLY), "opening the node")
}

fn suid(facts: &Facts) -> Verdict {
    let path = facts.get("suid");
    if path.is_empty() {
        return Cannot("it takes root to prepare".to_owned());
    }
    let ran = std::process::Command::new(path).args(["payload", "whoami"]).output();
    match ran {
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
            match said.split_once(' ') {
                Some((real, effective)) => Verdict::broke_if(real != effective, said),
                None => Cannot(format!("it said nothing: {:?}", ran.status)),
            }
        }
        Err(error) => Held(format!("execve: {error}")),
    }
}

/// Whether `/dev/null` is behind a descriptor.
pub fn is_null(fd: i64) -> bool {
    // SAFETY: the structure outlives the call, and is zeros otherwise.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd as i32, &raw mut stat);
        stat
    };
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3)
}
