//! The whole sandbox as a bundle for container runtimes (OCI Runtime Specification).

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::scene::TREES;

/// Every container wants a name of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The arguments that run a command in it; the bundle is made anew for another command.
pub fn arguments(
    folder: &Path,
    is_crun: bool,
    uid: u32,
    command: &[String],
) -> Option<Vec<String>> {
    let runtime = if is_crun { "crun" } else { "runc" };
    let bundle = folder.join(format!("{runtime}-{}", command.len()));
    if !bundle.exists() {
        fs::create_dir_all(bundle.join("rootfs")).ok()?;
        let config = config(folder, uid, command).to_string();
        fs::write(bundle.join("config.json"), config).ok()?;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut words = vec!["--root".to_owned(), folder.join(runtime).display().to_string()];
    if is_crun {
        words.push("--cgroup-manager=disabled".to_owned());
    }
    words.extend(["run", "--bundle"].map(str::to_owned));
    words.push(bundle.display().to_string());
    words.push(format!("bench-{}-{number}", std::process::id()));
    Some(words)
}

fn config(folder: &Path, uid: u32, command: &[String]) -> Value {
    let none: [&str; 0] = [];
    let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let mut mounts: Vec<Value> = TREES
        .iter()
        .map(|tree| {
            json!({
                "destination": format!("/{tree}"),
                "source": folder.join("lower").join(tree),
                "options": ["bind", "ro", "nosuid", "nodev"],
            })
        })
        .collect();
    mounts.extend([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
        mount("/dev", "tmpfs", &["nosuid", "noexec", "mode=755"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
    ]);
    let kinds = ["user", "uts", "ipc", "network", "cgroup", "pid", "mount"];
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    let denied = "ptrace umount2 swapon reboot sethostname setdomainname init_module delete_module \
        quotactl kexec_load add_key request_key keyctl unshare setns mount pivot_root \
        perf_event_open open_by_handle_at finit_module bpf kexec_file_load acct settimeofday";
    let denied: Vec<&str> = denied.split_whitespace().collect();
    let map = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {"bounding": none, "effective": none, "permitted": none},
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "sandbox",
        "mounts": mounts,
        "linux": {
            "uidMappings": map,
            "gidMappings": map,
            "namespaces": namespaces,
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": denied, "action": "SCMP_ACT_ERRNO"}],
            },
        },
    })
}
