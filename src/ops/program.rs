//! A program of the host's that the supervisor starts for a step: it gets one
//! open file, nobody's terminal, and no more rights than it needs.
//!
//! **Invariant:** it ends with the supervisor, however that ends
//! (`PR_SET_PDEATHSIG`), and between `fork` and `execve` nothing allocates.

use std::{
    ffi::{CStr, CString, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::Path,
};

use crate::{
    diagnostic::{Refusal, typed},
    host::{Invoker, Tool},
    sys::{
        Call, Errno, Fault, KernelPath, Namespace,
        descriptor::{self, Walk},
        ids, memory_file,
        mount::{self, Configuration, Propagation, attribute},
        namespace::{self, Side},
        process::{self, Change, Vector},
        signal, socket, wait,
    },
};

/// Where a program finds what is made for it: every procfs has this directory,
/// and no program looks into it.
pub(super) const PLACE: &CStr = c"/proc/driver";
/// How much of what a program says is kept.
const WORDS: u16 = 4096;
/// What a process ends with that could not become the program.
const GAVE_UP: i32 = 125;

/// A program, and what it is told.
pub(super) struct Program {
    path: KernelPath,
    arguments: Vector,
    environment: Vector,
}

impl Program {
    pub(super) fn new(path: &Path, arguments: impl IntoIterator<Item = OsString>) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
        let words = std::iter::once(name).chain(arguments).map(c_string).collect();
        // What it says is read here: so in English.
        let environment = ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        Self {
            path: KernelPath::new(path),
            arguments: Vector::new(words),
            environment: Vector::new(environment.map(|one| c_string(one.into())).to_vec()),
        }
    }

    /// Starts it as this user (or as the caller), with `file` open for it.
    ///
    /// `prepare` is run in the new process, and may not allocate; all that it
    /// can use is open files of its own, and `used`.
    pub(super) fn start(
        &self,
        file: BorrowedFd,
        user: Option<&Invoker>,
        used: [Option<BorrowedFd>; 2],
        prepare: impl Fn() -> Result<(), Fault>,
    ) -> Result<Started, Fault> {
        let words = memory_file::of_size(WORDS).map_err(|e| Call::MemoryFile.gave(e))?;
        let nothing = descriptor::open_to_read(c"/dev/null")
            .and_then(|null| Ok([descriptor::open_file(file, c"/dev/null", true)?, null]));
        let [nowhere, nothing] = nothing.map_err(|e| Call::OpenTarget.gave(e))?;
        let supervisor = process::open_own().map_err(|e| Call::Fork.gave(e))?;
        let (ours, theirs) = socket::pair().map_err(|e| Call::Socketpair.gave(e))?;
        match namespace::fork().map_err(|e| Call::Fork.gave(e))? {
            Side::Child => {
                let start = || {
                    let streams = [nothing.as_fd(), nowhere.as_fd(), words.as_fd()];
                    let [null, away, said] = streams;
                    let (parent, ear) = (supervisor.as_fd(), theirs.as_fd());
                    let [one, other] = used.map(|used| used.unwrap_or(file));
                    // Before it is the user's, who could take them out of it (`pidfd_getfd(2)`).
                    descriptor::close_all_but([null, away, said, parent, ear, file, one, other])
                        .map_err(|errno| Call::CloseRange.gave(errno))?;
                    become_user(user)?;
                    prepare()?;
                    leave_the_supervisor(&supervisor)?;
                    keep_only(streams, file)
                };
                let fault = match start() {
                    Ok(()) => Call::Program.gave(process::execute(
                        self.path.as_c_str(),
                        &self.arguments,
                        &self.environment,
                    )),
                    Err(fault) => fault,
                };
                report(theirs.as_fd(), fault);
                process::exit(GAVE_UP)
            }
            Side::Parent(pid) => {
                drop(theirs);
                let handle = process::open(pid).map_err(|e| Call::Fork.gave(e))?;
                let started = Started { pid, handle, words };
                match heard(ours.as_fd()) {
                    Ok(_) => Ok(started),
                    Err(fault) => {
                        started.end();
                        Err(fault)
                    }
                }
            }
        }
    }
}

/// A program that runs, or has run.
pub(super) struct Started {
    /// Its number
    pub(super) pid: i32,
    /// The process itself
    pub(super) handle: OwnedFd,
    words: OwnedFd,
}

impl Started {
    pub(super) fn end(&self) {
        process::end(self.handle.as_fd());
    }

    /// Waits for its end, or for somebody who wants us to stop: `EINTR`.
    pub(super) fn wait(&self) -> Result<Change, Fault> {
        let poll = |errno| Call::Poll.gave(errno);
        let stop = signal::wish_to_stop().map_err(poll)?;
        let [is_over, _, _] =
            wait::for_any(self.handle.as_fd(), stop.as_fd(), None).map_err(poll)?;
        if !is_over {
            self.end();
            return Err(Call::Program.gave(Errno::EINTR));
        }
        process::wait_for(self.handle.as_fd()).map_err(poll)
    }

    /// What it has said so far.
    pub(super) fn words(&self) -> String {
        let mut buffer = [0; WORDS as usize];
        let words = memory_file::read(self.words.as_fd(), &mut buffer).unwrap_or_default();
        String::from_utf8_lossy(words).into_owned()
    }
}

/// What `file` is called in the program that gets it.
pub(super) fn name_of(file: impl AsFd) -> OsString {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

fn c_string(word: OsString) -> CString {
    CString::new(word.into_vec()).unwrap_or_default()
}

/// Nobody looks into it from here on until it executes: the change of ids has
/// made it undumpable.
fn become_user(user: Option<&Invoker>) -> Result<(), Fault> {
    let Some(user) = user else { return Ok(()) };
    ids::set_groups(&user.groups).map_err(|errno| Call::Setgroups.gave(errno))?;
    ids::set_gid(user.gid).map_err(|errno| Call::Setresgid.gave(errno))?;
    ids::set_uid(user.uid).map_err(|errno| Call::Setresuid.gave(errno))
}

/// In the process that becomes the program: the sandbox's user namespace, its
/// own mounts, nothing to write to, and an empty place in memory.
pub(super) fn stand_apart(user: Option<BorrowedFd>, ids: Option<(u32, u32)>) -> Result<(), Fault> {
    process::become_undumpable().map_err(|errno| Call::Prctl.gave(errno))?;
    if let Some(user) = user {
        namespace::enter(user).map_err(|errno| Call::Setns.gave(errno))?;
    }
    if let Some((uid, gid)) = ids {
        // Groups that a user namespace may not give up stay.
        let _ = ids::set_groups(&[]);
        ids::set_gid(gid).map_err(|errno| Call::Setresgid.gave(errno))?;
        ids::set_uid(uid).map_err(|errno| Call::Setresuid.gave(errno))?;
    }
    namespace::unshare(Namespace::Mount).map_err(|errno| Call::Unshare.gave(errno))?;
    mount::propagate_all(Propagation::Private).map_err(|errno| Call::Mount.gave(errno))?;
    let attributes = attribute::READ_ONLY | attribute::NO_SUID;
    descriptor::open_directory(None, c"/", Walk::Free)
        .and_then(|root| mount::add_attributes(root.as_fd(), attributes))
        .map_err(|errno| Call::MountSetattr.gave(errno))?;
    // A program may want the place to be empty.
    let empty = Configuration::open(c"tmpfs").map_err(|errno| Call::Fsopen.gave(errno))?;
    empty.create().map_err(|errno| Call::Fsconfig.gave(errno))?;
    let empty = empty.mount(attribute::NO_SUID).map_err(|errno| Call::Fsmount.gave(errno))?;
    descriptor::open_directory(None, PLACE, Walk::Free)
        .and_then(|place| mount::attach(empty.as_fd(), place.as_fd()))
        .map_err(|errno| Call::MoveMount.gave(errno))
}

/// A keyboard does not reach it, the end of the supervisor does.
fn leave_the_supervisor(supervisor: &OwnedFd) -> Result<(), Fault> {
    let prctl = |errno| Call::Prctl.gave(errno);
    process::new_session().map_err(|errno| Call::Setsid.gave(errno))?;
    process::no_new_privs().map_err(prctl)?;
    process::die_with_parent().map_err(prctl)?;
    if process::is_over(supervisor) {
        process::exit(GAVE_UP);
    }
    signal::default_sigpipe().map_err(|errno| Call::Sigaction.gave(errno))?;
    signal::let_all_through().map_err(|errno| Call::Sigprocmask.gave(errno))
}

/// These as its standard streams, and the one file.
fn keep_only(streams: [BorrowedFd; 3], file: BorrowedFd) -> Result<(), Fault> {
    let put = |errno| Call::CloseRange.gave(errno);
    for (stream, from) in (0..).zip(streams) {
        descriptor::put_at(from, stream).map_err(put)?;
    }
    descriptor::close_on_exec_from(3).map_err(put)?;
    descriptor::keep_on_exec(file).map_err(put)
}

/// Says what kept a process from what it was made for.
pub(super) fn report(to: BorrowedFd, fault: Fault) {
    let mut message = [0; 8];
    let (call, errno) = message.split_at_mut(4);
    call.copy_from_slice(&u32::from(fault.call as u16).to_ne_bytes());
    errno.copy_from_slice(&(fault.errno as i32).to_ne_bytes());
    // If nobody listens, nobody is left to be told.
    let _ = socket::send(to, &message, None);
}

/// What a process has to say: its fault, or the descriptor it was made for, or
/// nothing, since its end of the conversation is closed by `execve`.
pub(super) fn heard(from: BorrowedFd) -> Result<Option<OwnedFd>, Fault> {
    let mut message = [0; 8];
    let received = socket::receive(from, &mut message).map_err(|e| Call::Recvmsg.gave(e))?;
    if received.fd.is_some() || received.length == 0 {
        return Ok(received.fd);
    }
    let number = |at: usize| -> u32 {
        let bytes = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    let call = u16::try_from(number(0)).ok().and_then(Call::from_number);
    Err(call.unwrap_or(Call::Program).gave(Errno::from_raw(number(4) as i32)))
}

/// A program is not there.
pub(super) fn is_missing(tool: &Tool, file: &Path) -> Refusal {
    let message = format!("`{}` is not installed", tool.name);
    Refusal::new("image::no_program", message)
        .why(format!("{} is to be read with it", file.display()))
        .help(install(tool))
}

/// How to get it.
pub fn install(tool: &Tool) -> String {
    format!("`sudo apt-get install {}`, or what your system calls it", tool.package)
}

/// The image could not be opened.
pub(super) fn unopened(file: &Path, fault: Fault) -> Option<Refusal> {
    match (fault.call, fault.errno) {
        (Call::Open, Errno::ENOENT) => Some(image_missing(file)),
        (Call::Open, Errno::EACCES) => Some(image_hidden(file)),
        _ => None,
    }
}

/// There is no such image.
pub fn image_missing(file: &Path) -> Refusal {
    Refusal::new("image::missing", format!("there is no image {}", file.display()))
        .why("the file has to be made before")
        .help("describe it under `image`, and make it: `isorecipe build RECIPE`")
        .lacks(file)
}

/// The image is closed to who wants to read it.
pub fn image_hidden(file: &Path) -> Refusal {
    let shown = file.display();
    Refusal::new("image::hidden", format!("you may not read the image {shown}"))
        .why("its permission bits or those of a directory above do not let you")
        .help(format!("`namei -l {}` shows which", typed(file)))
}

/// Somebody wanted isorecipe to stop.
pub(super) fn interrupted() -> Refusal {
    Refusal::new("image::interrupted", "the image was not made ready")
        .why("a signal stopped isorecipe before")
        .help("run it again: nothing half done is left")
}
