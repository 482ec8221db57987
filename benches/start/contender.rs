//! Who is compared, and what each is told to do the same work.

use std::path::{Path, PathBuf};

use crate::{
    oci,
    options::Options,
    scene::{Scene, TREES},
    work::Work,
};

/// Somebody who makes sandboxes.
pub struct Contender {
    pub name: String,
    pub is_ours: bool,
    kind: Kind,
    program: PathBuf,
    folder: PathBuf,
    uid: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Floor,
    Isorecipe,
    Unshare,
    Bwrap,
    Nsjail,
    Minijail,
    Firejail,
    Crun,
    Runc,
}

const PEERS: [(Kind, &str); 7] = [
    (Kind::Unshare, "unshare"),
    (Kind::Bwrap, "bwrap"),
    (Kind::Nsjail, "nsjail"),
    (Kind::Minijail, "minijail0"),
    (Kind::Firejail, "firejail"),
    (Kind::Crun, "crun"),
    (Kind::Runc, "runc"),
];

pub fn floor(scene: &Scene) -> Contender {
    of(scene, "floor", Kind::Floor, scene.floor())
}

/// Everybody there is on this machine, the floor first.
pub fn all(scene: &Scene, options: &Options) -> Vec<Contender> {
    let own = of(scene, "isorecipe", Kind::Isorecipe, scene.path("isorecipe"));
    let mut all = vec![floor(scene), own];
    for (name, _) in &options.builds {
        let copy = scene.path(&format!("isorecipe-{name}"));
        all.push(of(scene, &format!("isorecipe {name}"), Kind::Isorecipe, copy));
    }
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    for (kind, name) in PEERS {
        if let Ok(program) = which::which_in(name, Some(&path), "/") {
            all.push(of(scene, name, kind, program));
        }
    }
    all
}

fn of(scene: &Scene, name: &str, kind: Kind, program: PathBuf) -> Contender {
    Contender {
        name: name.to_owned(),
        is_ours: matches!(kind, Kind::Floor | Kind::Isorecipe),
        kind,
        program,
        folder: scene.path(""),
        uid: scene.uid,
    }
}

impl Contender {
    pub fn takes(&self, work: Work) -> bool {
        self.arguments(work, &["/bin/true".to_owned()]).is_some()
    }

    /// What to run, with the command that does nothing.
    pub fn words(&self, work: Work) -> Vec<String> {
        self.with_command(work, &["/bin/true".to_owned()])
    }

    /// What to run, to see from inside what was made.
    pub fn looking(&self, work: Work) -> Vec<String> {
        let place = if work.has_own_root() { "/bin/floor" } else { &self.path("lower/bin/floor") };
        self.with_command(work, &[place.to_owned(), "look".to_owned()])
    }

    fn with_command(&self, work: Work, command: &[String]) -> Vec<String> {
        let program = self.program.display().to_string();
        let arguments = self.arguments(work, command).unwrap_or_default();
        std::iter::once(program).chain(arguments).collect()
    }

    /// The same for many commands, so many at a time, if it can do that.
    pub fn batch(&self, work: Work, at_a_time: usize) -> Option<Vec<String>> {
        let is_able = self.kind == Kind::Isorecipe;
        let words =
            format!("{} batch --jobs {at_a_time} {}.yaml", self.program.display(), work.name());
        is_able.then(|| words.split_whitespace().map(str::to_owned).collect())
    }

    /// What it is known not to do of a work, and is compared all the same.
    pub fn lacks(&self, work: Work) -> &'static [&'static str] {
        match (self.kind, work) {
            (Kind::Unshare, _) => &["no_new_privs"],
            (Kind::Bwrap, Work::Full | Work::Binds(_)) => &["time", "seccomp"],
            (Kind::Nsjail, _) => &["time", "seccomp"],
            (Kind::Crun | Kind::Runc, _) => &["time", "/"],
            _ => &[],
        }
    }

    /// The same, for who reads the table.
    pub fn note(&self, work: Work) -> String {
        let lacks = self.lacks(work).iter().map(|lack| match *lack {
            "time" => "time namespace",
            "/" => "tmpfs as the root",
            lack => lack,
        });
        let lacks: Vec<&str> = lacks.collect();
        if lacks.is_empty() { String::new() } else { format!("without {}", lacks.join(", ")) }
    }

    fn path(&self, name: impl AsRef<Path>) -> String {
        self.folder.join(name).display().to_string()
    }

    fn arguments(&self, work: Work, command: &[String]) -> Option<Vec<String>> {
        let name = work.name();
        let mut arguments = match self.kind {
            Kind::Floor => words(&format!("{name} {} {}", work.binds(), self.uid)),
            Kind::Isorecipe => {
                let name = if work.binds() > 0 { "binds" } else { name };
                words(&format!("apply {name}.yaml --"))
            }
            Kind::Unshare => unshare(work)?,
            Kind::Bwrap => self.bwrap(work),
            Kind::Nsjail => words(match name {
                "step1" => {
                    "-Q -Mo --disable_clone_newns --disable_clone_newcgroup --disable_clone_newipc --disable_clone_newnet --disable_clone_newpid --disable_clone_newuts --chroot / -u 0 -g 0 --"
                }
                "step3" => {
                    "-Q -Mo --disable_clone_newcgroup --disable_clone_newipc --disable_clone_newnet -H sandbox --chroot / --rw -u 0 -g 0 --"
                }
                _ => return None,
            }),
            Kind::Minijail if name == "step3" => words("-U -M -m -p -v -r --uts=sandbox -n --"),
            Kind::Firejail if name == "step3" => {
                words("--quiet --noprofile --hostname=sandbox --nonewprivs --")
            }
            Kind::Crun | Kind::Runc if work == Work::Full => {
                return oci::arguments(&self.folder, self.kind == Kind::Crun, self.uid, command);
            }
            Kind::Minijail | Kind::Firejail | Kind::Crun | Kind::Runc => return None,
        };
        arguments.extend_from_slice(command);
        Some(arguments)
    }

    fn bwrap(&self, work: Work) -> Vec<String> {
        let user = "--unshare-user --uid 0 --gid 0";
        let named = "--unshare-uts --hostname sandbox";
        let processes = "--unshare-pid --as-pid-1 --proc /proc";
        match work.name() {
            "step1" => words(&format!("--bind / / {user}")),
            "step2" => words(&format!("--bind / / {user} {named}")),
            "step3" => words(&format!("--bind / / {user} {named} {processes}")),
            "step4" => words(&format!(
                "--overlay-src lower --overlay upper work / {user} {named} {processes}"
            )),
            _ => {
                let mut all = words("--tmpfs /");
                for tree in TREES {
                    all.extend(words(&format!("--ro-bind lower/{tree} /{tree}")));
                }
                for number in 0..work.binds() {
                    all.extend(words(&format!("--ro-bind binds/{number} /binds/{number}")));
                }
                all.extend(words(&format!(
                    "--dev /dev --tmpfs /dev/shm --tmpfs /tmp {user} {named} {processes} \
                     --unshare-ipc --unshare-net --unshare-cgroup --cap-drop ALL"
                )));
                all
            }
        }
    }
}

/// `unshare(1)`, and a shell for what it cannot do.
fn unshare(work: Work) -> Option<Vec<String>> {
    let (options, script) = match work.name() {
        "step1" => return Some(words("-r")),
        "step2" => ("-ru", ""),
        "step3" => ("-rupf --mount-proc", ""),
        "step4" => (
            "-rupfm",
            "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay merged && \
             mount -t proc proc merged/proc && cd merged && /usr/sbin/pivot_root . . && umount -l . && ",
        ),
        _ => return None,
    };
    let mut all = words(options);
    let script = format!("hostname sandbox && {script}exec \"$@\"");
    all.extend(["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
    Some(all)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
