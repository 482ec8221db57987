//! What the caller has, so that there is something to reach: files, sockets,
//! memory, queues, processes. All of it goes with the ground.

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::{FromRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::{PermissionsExt, chown},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    check::Facts,
    payload::{self, c, call},
};

/// A group that no machine has, which the caller is a member of.
const GROUP: u32 = 54_322;
/// A user that no machine has, and who is not the caller.
const SOMEBODY: u32 = 54_399;
/// What the payload is called, for `/proc`.
pub const PAYLOAD: &str = "abuse-payload";

/// Who calls the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

impl Caller {
    pub fn own() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }
}

pub struct Ground {
    pub caller: Caller,
    pub token: String,
    pub facts: Facts,
    /// The groups of the caller but for the first
    pub kept_groups: Vec<u32>,
    folder: TempDir,
    victim: Option<Child>,
    listeners: (Option<TcpListener>, Option<UnixListener>, Option<UnixListener>),
    queue: Option<OwnedFd>,
    shm: i32,
}

impl Ground {
    /// Lays everything out. As root it needs a mount namespace of its own
    /// ([`enter`]), for what is mounted below the folder that is shown.
    pub fn new(caller: Caller) -> Self {
        let folder =
            tempfile::Builder::new().prefix("abuse-").tempdir_in("/var/tmp").expect("a folder");
        let token = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let kept_groups = match nix::unistd::geteuid().is_root() {
            true => vec![GROUP],
            false => nix::unistd::getgroups()
                .expect("groups")
                .iter()
                .map(|group| group.as_raw())
                .filter(|group| *group != caller.gid)
                .collect(),
        };
        let mut ground = Self {
            caller,
            token,
            facts: Facts::default(),
            kept_groups,
            folder,
            victim: None,
            listeners: (None, None, None),
            queue: None,
            shm: -1,
        };
        ground.lay_files();
        ground.lay_root_files();
        ground.lay_channels();
        ground.lay_processes();
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that a runner is asked to show, for reading.
    pub fn shown(&self) -> PathBuf {
        self.path("shown")
    }

    pub fn payload(&self) -> PathBuf {
        self.shown().join(PAYLOAD)
    }

    fn note(&mut self, name: &str, value: impl ToString) {
        self.facts.0.insert(name.to_owned(), value.to_string());
    }

    fn give(&self, path: &Path) {
        chown(path, Some(self.caller.uid), Some(self.caller.gid)).expect("an owner");
    }

    fn lay_files(&mut self) {
        for directory in ["shown", "shown/nested", "hidden", "home", "work"] {
            fs::create_dir(self.path(directory)).expect("a directory");
            self.give(&self.path(directory));
        }
        fs::copy(std::env::current_exe().expect("itself"), self.payload()).expect("the payload");
        fs::set_permissions(self.payload(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let shm = PathBuf::from("/dev/shm").join(&self.token);
        for file in
            [self.path("hidden/marker"), self.path("hidden/rw"), self.path("home/secret"), shm]
        {
            fs::write(&file, "the caller's\n").expect("a file");
            self.give(&file);
        }
        let paths = [("marker", "hidden/marker"), ("home", "home"), ("shown", "shown")];
        for (name, path) in paths {
            self.note(name, self.path(path).display());
        }
        self.note("home_file", "secret");
        self.note("token", self.token.clone());
        for (name, kind) in [("uts", "uts"), ("pid_namespace", "pid")] {
            let link = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
            self.note(name, link.display());
        }
        self.note("hostname", nix::unistd::gethostname().expect("a name").display());
    }

    /// What takes root to prepare.
    fn lay_root_files(&mut self) {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (denied, suid, node) =
            (self.path("shown/denied"), self.path("shown/suid"), self.path("shown/node"));
        fs::write(&denied, "not for the group\n").expect("a file");
        chown(&denied, Some(SOMEBODY), Some(GROUP)).expect("an owner");
        fs::set_permissions(&denied, fs::Permissions::from_mode(0o604)).expect("a mode");
        fs::copy(self.payload(), &suid).expect("a program");
        chown(&suid, Some(SOMEBODY), None).expect("an owner");
        fs::set_permissions(&suid, fs::Permissions::from_mode(0o4755)).expect("a mode");
        let name = c(&node.to_string_lossy());
        // SAFETY: the path outlives the call.
        let made =
            unsafe { libc::mknod(name.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 5)) };
        assert_eq!(made, 0, "a node");
        fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).expect("a mode");
        for (name, path) in [("denied", denied), ("suid", suid), ("node", node)] {
            self.note(name, path.display());
        }
        let nested = self.path("shown/nested");
        nix::mount::mount(
            Some("tmpfs"),
            &nested,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some("mode=777"),
        )
        .expect("a mount below");
    }

    fn lay_channels(&mut self) {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        self.note("port", tcp.local_addr().expect("an address").port());
        let name = SocketAddr::from_abstract_name(&self.token).expect("a name");
        let hidden = UnixListener::bind_addr(&name).expect("an abstract socket");
        self.note("abstract", self.token.clone());
        let path = self.path("shown/socket");
        let shown = UnixListener::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
        self.note("socket", path.display());
        self.listeners = (Some(tcp), Some(hidden), Some(shown));

        let queue = c(&self.token);
        let flags = (libc::O_CREAT | libc::O_RDWR | libc::O_CLOEXEC) as usize;
        let made =
            call(libc::SYS_mq_open, &[queue.as_ptr() as usize, flags, 0o644, 0]).expect("a queue");
        // SAFETY: the descriptor was just made.
        self.queue = Some(unsafe { OwnedFd::from_raw_fd(made as i32) });
        self.note("queue", self.token.clone());

        let key = 0x4142_0000 + std::process::id() as usize % 0x1_0000;
        let flags = (libc::IPC_CREAT | 0o666) as usize;
        self.shm = call(libc::SYS_shmget, &[key, 4096, flags]).expect("shared memory") as i32;
        self.note("shm", key);

        self.note("key", format!("{}-session", self.token));
        self.note("user_key", format!("{}-user", self.token));
    }

    fn lay_processes(&mut self) {
        let mut command = Command::new(self.payload());
        command.args(["payload", "wait"]).stdin(Stdio::null()).stdout(Stdio::null());
        use std::os::unix::process::CommandExt;
        command.uid(self.caller.uid).gid(self.caller.gid);
        let victim = command.spawn().expect("a victim");
        self.note("victim", victim.id());
        self.note("victim_name", PAYLOAD);
        self.victim = Some(victim);
    }

    /// What the process that becomes the runner has from its caller. It runs
    /// between fork and exec.
    pub fn become_caller(&self) {
        let root = nix::unistd::geteuid().is_root();
        for signal in 1..32 {
            // Who is started in the background by a shell ignores the keyboard's.
            // SAFETY: a disposition of this process's own.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let directory =
            call(libc::SYS_openat, &[libc::AT_FDCWD as usize, c"/".as_ptr() as usize, 0]);
        let file = c(&self.path("hidden/rw").to_string_lossy());
        let file = call(
            libc::SYS_openat,
            &[libc::AT_FDCWD as usize, file.as_ptr() as usize, libc::O_RDWR as usize],
        );
        for (fd, number) in [(directory, 60), (file, 61)] {
            let fd = fd.expect("a descriptor") as i32;
            // SAFETY: numbers of this process's own.
            unsafe {
                libc::dup2(fd, number);
                libc::close(fd);
            }
        }
        if root {
            // SAFETY: the array outlives the call.
            unsafe {
                libc::setgroups(1, [GROUP].as_ptr());
                libc::setresgid(self.caller.gid, self.caller.gid, self.caller.gid);
                libc::setresuid(self.caller.uid, self.caller.uid, self.caller.uid);
            }
        }
        self.add_keys();
    }

    /// One key in the session's keyring and one in the user's, for a minute. Who
    /// has not the user's keyring in its session's can only set a time before it is there.
    fn add_keys(&self) {
        const JOIN: usize = 1;
        const LINK: usize = 8;
        const UNLINK: usize = 9;
        const SET_TIMEOUT: usize = 15;
        const SESSION: usize = -3_i32 as usize;
        const USERS: usize = -4_i32 as usize;
        let control = |words: &[usize]| call(libc::SYS_keyctl, words);
        let add = |name: &str| {
            let (kind, name, secret) = (c("user"), c(self.facts.get(name)), c("HOSTKEY"));
            let [kind, name, secret] = [&kind, &name, &secret].map(|text| text.as_ptr() as usize);
            let key = call(libc::SYS_add_key, &[kind, name, secret, 7, SESSION])? as usize;
            control(&[SET_TIMEOUT, key, 60])?;
            Ok(key)
        };
        let added = control(&[JOIN, 0]).and_then(|_| add("key")).and_then(|_| {
            let key = add("user_key")?;
            control(&[LINK, key, USERS])?;
            control(&[UNLINK, key, SESSION])
        });
        if let Err(errno) = added {
            eprintln!("abuse: no key could be added: {}", payload::named(errno));
        }
    }
}

impl Ground {
    /// What a runner that was killed has left there.
    fn remove_cgroups(&self) {
        let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if entry.file_name().to_string_lossy().starts_with(&self.token) {
                    let _ = fs::remove_dir(entry.path());
                } else if is_directory {
                    directories.push(entry.path());
                }
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mut victim) = self.victim.take() {
            let _ = victim.kill();
            let _ = victim.wait();
        }
        let queue = c(&self.token);
        let _ = call(libc::SYS_mq_unlink, &[queue.as_ptr() as usize]);
        let _ = call(libc::SYS_shmctl, &[self.shm as usize, libc::IPC_RMID as usize, 0]);
        let _ = fs::remove_file(PathBuf::from("/dev/shm").join(&self.token));
        self.remove_cgroups();
        let _ = nix::mount::umount2(&self.path("shown/nested"), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A mount namespace of the suite's own, where the caller is root.
pub fn enter() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    use nix::{mount::MsFlags, sched::CloneFlags};
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .expect("mounts of its own");
}
