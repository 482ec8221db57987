//! Other runners, each with what its own manual offers, put in front of the payload.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use serde_json::{Value, json};

/// A runner of somebody else's, and how it is called.
pub struct Peer {
    pub name: &'static str,
    pub words: &'static str,
    /// Whether it is called through [`run_runc`]
    pub is_wrapped: bool,
}

/// `{shown}` is the folder of the payload.
pub const PEERS: [Peer; 3] = [
    Peer {
        name: "unshare",
        words: "unshare --user --map-root-user --pid --fork --kill-child --mount-proc --mount --net --ipc --uts --cgroup --",
        is_wrapped: false,
    },
    Peer {
        name: "bwrap",
        words: "bwrap --unshare-all --unshare-user --disable-userns --new-session --die-with-parent --clearenv --cap-drop ALL \
                --ro-bind /usr /usr --ro-bind /etc /etc --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
                --proc /proc --dev /dev --tmpfs /tmp --tmpfs /home --ro-bind {shown} {shown} --chdir / --",
        is_wrapped: false,
    },
    Peer { name: "runc", words: "runc {shown}", is_wrapped: true },
];

impl Peer {
    /// The words before the payload's; `own` is the suite's program.
    pub fn prefix(&self, own: &str, shown: &str) -> Vec<String> {
        let words = self.words.split_whitespace().map(|word| word.replace("{shown}", shown));
        if self.is_wrapped {
            [own.to_owned()].into_iter().chain(words).collect()
        } else {
            words.collect()
        }
    }
}

/// Makes a bundle from what `runc spec` gives, and becomes `runc run`. The
/// bundle lies in the working directory.
pub fn run_runc(shown: &str, words: &[String]) -> i32 {
    let bundle =
        std::env::current_dir().unwrap_or_default().join(format!("bundle-{}", std::process::id()));
    // What the wrapper starts is not what is measured.
    // SAFETY: a disposition of this process's own.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    match make_bundle(&bundle, shown, words) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("abuse: {error}");
            return 120;
        }
    }
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, before) };
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(bundle.join("state")).arg("run");
    let error = runc.arg("--bundle").arg(&bundle).arg(id(&bundle)).exec();
    eprintln!("abuse: {error}");
    126
}

/// Two folders up is the ground's, whose name begins whatever has to go with it.
fn id(bundle: &Path) -> String {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    let ground = bundle.parent().and_then(Path::parent);
    format!("{}-{}", name(ground), name(Some(bundle)))
}

fn make_bundle(bundle: &Path, shown: &str, words: &[String]) -> std::io::Result<()> {
    let root = bundle.join("rootfs");
    for directory in ["proc", "dev", "sys", "tmp", "usr", "etc", "home"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::create_dir_all(root.join(shown.trim_start_matches('/')))?;
    for (name, leads) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(leads, root.join(name))?;
    }
    let is_root = nix::unistd::geteuid().is_root();
    let spec = if is_root { &["spec"][..] } else { &["spec", "--rootless"][..] };
    Command::new("runc").args(spec).current_dir(bundle).status()?;
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    config["process"]["args"] = json!(words);
    config["process"]["terminal"] = json!(false);
    if let Some(mounts) = config["mounts"].as_array_mut() {
        for place in ["/usr", "/etc", shown] {
            let options = ["rbind", "ro", "nosuid", "nodev"];
            mounts.push(
                json!({"destination": place, "type": "bind", "source": place, "options": options}),
            );
        }
    }
    fs::write(file, serde_json::to_vec(&config)?)
}
