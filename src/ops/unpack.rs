//! A filesystem in a file, unpacked once into the user's cache.
//!
//! The tool that reads the image runs in a user namespace where it has no
//! rights, and in a mount namespace where it can write to nothing but the tree
//! it fills: a hostile image reaches no further, whatever the tool lets pass.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::SystemTime,
};

use crate::{
    cache::{Cache, Identity, Unfinished, Unpacked},
    diagnostic::Refusal,
    host::{ImageKind, ImageTools, Invoker, Tool},
    model::{Answer, Filesystem, Model, Slot},
    sys::{
        Call, Errno, Fault, KernelPath, Namespace,
        descriptor::{self, Walk},
        directory,
        ids::Acting,
        mount::{self, Propagation, attribute},
        namespace,
        process::{self, Change},
    },
};

use super::{
    Evidence, Operation, Stage,
    program::{self, Program},
    unexplained, yes,
};

/// The tree of an image file, in the user's cache.
pub struct UnpackImage {
    /// The file
    pub file: KernelPath,
    /// What it holds
    pub kind: ImageKind,
    /// What unpacks it
    pub tool: Tool,
    /// Where its tree is, or would be; `None` for a user without a cache
    pub unpacked: Option<Unpacked>,
    /// Where the tree is held, so that nobody sweeps it
    pub slot: Slot,
    /// Whose cache it is, if not the caller's
    pub user: Option<Invoker>,
    /// What is known of the machine
    pub tools: Option<ImageTools>,
}

impl UnpackImage {
    fn check(&self) -> Result<(), Answer> {
        let no = |call: Call, errno| Err(Answer::No(call.gave(errno)));
        match (&self.unpacked, &self.tools) {
            (None, _) => no(Call::OpenCache, Errno::ENOENT),
            (Some(Unpacked { since: None, .. }), Some(tools))
                if tools.place(&self.tool).is_none() =>
            {
                no(Call::Program, Errno::ENOENT)
            }
            _ => Err(Answer::KernelDecides),
        }
    }

    /// Makes and opens files as the owner of the cache.
    fn act(&self) -> Result<Option<Acting>, Fault> {
        let act = |user: &Invoker| Acting::new(user.uid, user.gid, &user.groups);
        self.user.as_ref().map(act).transpose().map_err(|errno| Call::Setresuid.gave(errno))
    }

    fn hold_or_unpack(&self, stage: &Stage, cache: &Cache) -> Result<OwnedFd, Fault> {
        let acting = self.act()?;
        let path = self.file.as_path();
        let image = fs::File::open(path).map_err(|error| fault(Call::Open, &error))?;
        let identity = |image: &fs::File| {
            image.metadata().map(|found| Identity::of(&found)).map_err(|e| fault(Call::Open, &e))
        };
        let before = identity(&image)?;
        let planned = self.unpacked.as_ref().map(|unpacked| &unpacked.tree);
        if planned != Some(&cache.tree(&before)) {
            return Err(changed());
        }
        if let Some(held) = cache.hold(&before).map_err(|e| fault(Call::OpenCache, &e))? {
            return Ok(held);
        }
        // Without the tool, the cache is left alone.
        if let Err(Answer::No(fault)) = self.check() {
            return Err(fault);
        }
        before.settle();
        let unfinished = cache.begin(before, path).map_err(|e| fault(Call::OpenCache, &e))?;
        drop(acting);
        let filled = self.fill(stage, image.as_fd(), &unfinished);
        let _acting = self.act()?;
        let is_same = || match identity(&image)? == before {
            true => Ok(()),
            false => Err(changed()),
        };
        match filled.and_then(|()| is_same()) {
            Ok(()) => unfinished.finish().map_err(|error| fault(Call::Rename, &error)),
            Err(fault) => {
                let is_full = fault == failed() && unfinished.is_full();
                unfinished.give_up();
                Err(if is_full { Call::Program.gave(Errno::ENOSPC) } else { fault })
            }
        }
    }

    /// Lets the tool fill the tree.
    fn fill(&self, stage: &Stage, image: BorrowedFd, tree: &Unfinished) -> Result<(), Fault> {
        let known = self.tools.as_ref().and_then(|tools| tools.place(&self.tool));
        let place = known.cloned().unwrap_or_else(|| self.tool.name.into());
        let proc = stage.proc.ok_or(Call::OpenTarget.gave(Errno::ENOENT))?;
        let cell = Cell::new(tree.tree(), self.user.as_ref());
        let program = Program::new(&place, self.words(program::name_of(image)));
        let started =
            program.start(image, self.user.as_ref(), [Some(proc), None], || cell.enter(proc))?;
        let ended = started.wait();
        let words = started.words();
        let complaint = words.lines().find(|line| self.is_complaint(line));
        stage.keep_words(complaint.unwrap_or_default().as_bytes());
        match (ended?, self.kind) {
            // Something that an ordinary user may not make, such as a device, was left out.
            (Change::Exited(0 | 2), ImageKind::Squashfs) => Ok(()),
            (Change::Exited(0), ImageKind::Erofs) => Ok(()),
            // It ends with 0 whatever happens.
            (Change::Exited(0), ImageKind::Ext4) if complaint.is_none() => Ok(()),
            _ => Err(failed()),
        }
    }

    /// What the tool is told. It stands in the directory that it fills.
    fn words(&self, image: OsString) -> Vec<OsString> {
        let words: &[&str] = match self.kind {
            ImageKind::Squashfs => &["-no-progress", "-no-xattrs", "-force", "-dest", "."],
            ImageKind::Erofs => &["--extract=.", "--overwrite", "--preserve-perms"],
            ImageKind::Ext4 | ImageKind::Xfs => &["-R", "rdump / ."],
        };
        words.iter().map(OsString::from).chain([image]).collect()
    }

    /// Whether a line of the tool's is about something that went wrong.
    fn is_complaint(&self, line: &str) -> bool {
        let is_expected = match self.kind {
            // The files are to be the caller's.
            ImageKind::Ext4 => {
                line.starts_with("debugfs 1.") || line.contains(" while changing ownership of ")
            }
            _ => line.starts_with("<W>") || line.contains("because you're not superuser!"),
        };
        !is_expected && !line.trim().is_empty()
    }
}

/// The kernel's no, or that of the cache, which has no number.
fn fault(call: Call, error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(errno) => call.gave(Errno::from_raw(errno)),
        None => Call::CacheOwner.gave(Errno::EPERM),
    }
}

/// The tool could not do it.
fn failed() -> Fault {
    Call::Program.gave(Errno::EIO)
}

/// The image is another than it was.
fn changed() -> Fault {
    Call::OpenCache.gave(Errno::ESTALE)
}

/// Where the tool is shut in.
struct Cell {
    tree: KernelPath,
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
    /// Whether the process has taken the ids of somebody else
    is_changed: bool,
}

impl Cell {
    fn new(tree: PathBuf, user: Option<&Invoker>) -> Self {
        let own = || (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let (uid, gid) = user.map_or_else(own, |user| (user.uid, user.gid));
        // Nobody who looks like root, or the tool would try to be it.
        let map = |id: u32| format!("{} {id} 1\n", id.max(1)).into_bytes();
        let (uid_map, gid_map) = (map(uid), map(gid));
        Self { tree: KernelPath::new(tree), uid_map, gid_map, is_changed: user.is_some() }
    }

    /// In the process that becomes the tool: a user who is nobody's root, and
    /// one directory that can be written to.
    fn enter(&self, proc: BorrowedFd) -> Result<(), Fault> {
        let unshare = |kind| namespace::unshare(kind).map_err(|e| Call::Unshare.gave(e));
        let write = |file, bytes, call: Call| {
            descriptor::open_file(proc, file, true)
                .and_then(|file| descriptor::write_once(&file, bytes))
                .map_err(|errno| call.gave(errno))
        };
        let prctl = |errno| Call::Prctl.gave(errno);
        unshare(Namespace::User)?;
        // Its own files in /proc went with the ids; it needs them for as long as this.
        if self.is_changed {
            process::become_dumpable().map_err(prctl)?;
        }
        write(c"self/setgroups", b"deny", Call::WriteSetgroups)?;
        write(c"self/uid_map", &self.uid_map, Call::WriteUidMap)?;
        write(c"self/gid_map", &self.gid_map, Call::WriteGidMap)?;
        process::become_undumpable().map_err(prctl)?;
        unshare(Namespace::Mount)?;
        mount::propagate_all(Propagation::Private).map_err(|errno| Call::Mount.gave(errno))?;
        let open = |path| descriptor::open_directory(None, path, Walk::Free);
        let tree = mount::clone_tree(self.tree.as_c_str()).map_err(|e| Call::Bind.gave(e))?;
        open(self.tree.as_c_str())
            .and_then(|place| mount::attach(tree.as_fd(), place.as_fd()))
            .map_err(|errno| Call::MoveMount.gave(errno))?;
        open(c"/")
            .and_then(|root| {
                let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV;
                mount::add_attributes(root.as_fd(), attributes)
            })
            .and_then(|()| mount::clear_attributes(tree.as_fd(), attribute::READ_ONLY))
            .map_err(|errno| Call::MountSetattr.gave(errno))?;
        open(self.tree.as_c_str())
            .and_then(|tree| directory::enter(tree.as_fd()))
            .map_err(|errno| Call::Fchdir.gave(errno))
    }
}

impl fmt::Display for UnpackImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, file) = (self.kind.name(), self.file.as_path().display());
        match &self.unpacked {
            Some(Unpacked { since: Some(since), .. }) => {
                write!(
                    f,
                    "take the {kind} image {file} from the cache, unpacked on {}",
                    day(*since)
                )
            }
            Some(Unpacked { cache, .. }) => {
                write!(f, "unpack the {kind} image {file} into {}", cache.folder().display())
            }
            None => write!(f, "unpack the {kind} image {file}"),
        }
    }
}

/// The date of a time, in UTC.
fn day(time: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(time).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

impl Operation for UnpackImage {
    fn answer(&self, _: &Model) -> Answer {
        yes(self.check())
    }

    /// The tree is on the host, and in the sandbox where that is what is seen there.
    fn effect(&self, model: &mut Model) {
        let Some(Unpacked { tree, .. }) = &self.unpacked else { return };
        let Some(above) = tree.ancestors().find_map(|part| model.walk(part).ok()) else { return };
        let (filesystem, _) = model.mounts.within(&above.at);
        if let Filesystem::Host(_) = model.mounts.filesystem(filesystem).filesystem {
            let root = model.mounts.root_position();
            model.presume_directory(&root, tree);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let Some(Unpacked { cache, .. }) = &self.unpacked else {
            return Err(Call::OpenCache.gave(Errno::ENOENT));
        };
        let held = self.hold_or_unpack(stage, cache)?;
        stage.keep(self.slot, held).map_err(|errno| Call::OpenCache.gave(errno))
    }

    fn explain(&self, fault: Fault, _: &Model, seen: &Evidence) -> Refusal {
        let file = self.file.as_path();
        let tool = self.tool.name;
        let cache = self.unpacked.as_ref().map(|unpacked| unpacked.cache.folder().display());
        let cache = cache.map_or_else(|| "~/.cache".to_owned(), |cache| cache.to_string());
        match (fault.call, fault.errno) {
            (Call::Program, Errno::ENOENT) => program::is_missing(&self.tool, file),
            (Call::Program, Errno::EINTR) => program::interrupted(),
            (Call::Program | Call::OpenCache | Call::Rename, Errno::ENOSPC | Errno::EDQUOT) => {
                let message = format!("there is no room to unpack {}", file.display());
                Refusal::new("image::no_room", message)
                    .why(format!("the disk of {cache} is full"))
                    .help("make room (`df -h` shows where), or take another disk: `export XDG_CACHE_HOME=/…`")
            }
            (Call::Program, Errno::EIO) => {
                let message = format!("`{tool}` does not unpack the image {}", file.display());
                let refusal = Refusal::new("image::not_unpacked", message)
                    .help("check the image with the filesystem's own tool, and make it again");
                match seen.log.is_empty() {
                    true => refusal.why("it ended without a word"),
                    false => refusal.why(format!("it says: {}", seen.log)),
                }
            }
            (Call::OpenCache, Errno::ESTALE) => {
                let message = format!("the image {} was changed meanwhile", file.display());
                Refusal::new("image::changed", message)
                    .why("what was unpacked of it may be neither the old one nor the new one")
                    .help("run it again when the image is finished: nothing half done is left")
            }
            (Call::CacheOwner, _) => {
                Refusal::new("image::cache_foreign", format!("others can change {cache}"))
                    .why("it, or `isorecipe` above it, is not yours alone")
                    .help("`chmod go-w` both, or take another place: `export XDG_CACHE_HOME=/…`")
            }
            (Call::OpenCache, errno) => {
                Refusal::new("image::no_cache", format!("nothing can be kept in {cache}"))
                    .why(errno.desc())
                    .help("name a directory of yours: `export XDG_CACHE_HOME=/…`")
            }
            _ => program::unopened(file, fault).unwrap_or_else(|| unexplained(self, fault)),
        }
    }
}
