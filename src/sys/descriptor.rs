//! Opening, writing and closing descriptors: `openat2(2)`, `close_range(2)`.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

/// `struct open_how`
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How a path may be walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// As the caller sees it; symbolic links lead where they lead.
    Free,
    /// Never out of the directory it starts from: links lead within it.
    InRoot,
    /// Below the directory it starts from, and through no link.
    Beneath,
    /// As `Beneath`, and onto no other mount.
    Within,
}

/// Opens a place in the tree, without asking to read it.
///
/// # Errors
/// As `openat2(2)` with `O_PATH`.
pub fn open_place(at: Option<BorrowedFd>, path: &CStr, walk: Walk) -> Result<OwnedFd, Errno> {
    openat2(at, path, (libc::O_PATH | libc::O_CLOEXEC) as u64, walk)
}

/// As [`open_place`], and `ENOTDIR` for what is no directory.
///
/// # Errors
/// As `openat2(2)` with `O_PATH | O_DIRECTORY`.
pub fn open_directory(at: Option<BorrowedFd>, path: &CStr, walk: Walk) -> Result<OwnedFd, Errno> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    openat2(at, path, flags as u64, walk)
}

/// Opens to read what is held without having been opened, if it is a regular
/// file: a device does what it likes when it is opened.
///
/// # Errors
/// As `fstat(2)` and `openat2(2)`; `EINVAL` for what is no regular file.
pub fn open_held(place: BorrowedFd) -> Result<OwnedFd, Errno> {
    if nix::sys::stat::fstat(place)?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let again = CString::new(format!("/proc/self/fd/{}", place.as_raw_fd())).unwrap_or_default();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    openat2(None, &again, flags as u64, Walk::Free)
}

/// Opens what has this name, a symbolic link itself where it is one, without
/// asking to read it and without doing to it what opening does to a device.
///
/// # Errors
/// As `openat2(2)` with `O_PATH | O_NOFOLLOW`; `EXDEV` for a mount point.
pub fn open_entry(at: BorrowedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    openat2(Some(at), name, flags as u64, Walk::Within)
}

/// How often a walk that a rename has disturbed is begun again (`openat2(2)`, EAGAIN).
const MOST_TRIES: usize = 64;

fn openat2(at: Option<BorrowedFd>, path: &CStr, flags: u64, walk: Walk) -> Result<OwnedFd, Errno> {
    let resolve = match walk {
        Walk::Free => 0,
        Walk::InRoot => libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
        Walk::Beneath => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
        Walk::Within => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV,
    };
    let how = OpenHow { flags, mode: 0, resolve };
    let at = at.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    let arguments = [
        libc::c_long::from(at),
        path.as_ptr() as libc::c_long,
        &raw const how as libc::c_long,
        size_of::<OpenHow>() as libc::c_long,
        0,
    ];
    for _ in 1..MOST_TRIES {
        // SAFETY: path and structure outlive the call.
        match unsafe { super::call(libc::SYS_openat2, arguments) } {
            // Somewhere on the machine something was renamed meanwhile.
            Err(Errno::EAGAIN) => {}
            answer => return answer.map(own),
        }
    }
    // SAFETY: as above.
    unsafe { super::call(libc::SYS_openat2, arguments) }.map(own)
}

/// Opens a file to read, or to write to where it stands.
///
/// # Errors
/// As `openat(2)`.
pub fn open_file(at: BorrowedFd, path: &CStr, writable: bool) -> Result<OwnedFd, Errno> {
    let access = if writable { libc::O_WRONLY } else { libc::O_RDONLY };
    let flags = access | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path outlives the call.
    let fd = Errno::result(unsafe { libc::openat(at.as_raw_fd(), path.as_ptr(), flags) })?;
    Ok(own(libc::c_long::from(fd)))
}

/// Opens a file of the caller's tree to read.
///
/// # Errors
/// As `open(2)`.
pub fn open_to_read(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path outlives the call.
    let fd = Errno::result(unsafe { libc::open(path.as_ptr(), flags) })?;
    Ok(own(libc::c_long::from(fd)))
}

/// Whether something is there and can be reached (`faccessat(2)`, `F_OK`).
pub fn exists(path: &CStr) -> bool {
    // SAFETY: the path outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::F_OK, 0) == 0 }
}

/// Writes all the bytes in one `write(2)`, as `/proc` files demand.
///
/// # Errors
/// As `write(2)`; `EIO` for a short write.
pub fn write_once(file: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let written = nix::unistd::write(file, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Closes a descriptor here that belongs to another process: who borrows its
/// memory has descriptors of its own, and not their owners.
pub fn close_borrowed(fd: BorrowedFd) {
    // SAFETY: the caller's process has its own table of descriptors, and nobody in it uses this one.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Closes every descriptor from `first` on when the process executes a program.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor now, but for the standard streams and these.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_all_but<const COUNT: usize>(kept: [BorrowedFd; COUNT]) -> Result<(), Errno> {
    let mut kept = kept.map(|one| one.as_raw_fd());
    kept.sort_unstable();
    let mut first = 3;
    for one in kept.into_iter().filter(|one| *one >= 3) {
        if first < one {
            close_range(first, one.unsigned_abs() - 1, 0)?;
        }
        first = one + 1;
    }
    close_from(first)
}

/// How a file is locked (`flock(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others may hold it so too
    Shared,
    /// Nobody else holds it
    Exclusive,
}

/// Locks an open file until it is closed, if nobody holds it otherwise; says
/// whether it is locked now.
///
/// # Errors
/// As `flock(2)`.
pub fn lock(file: BorrowedFd, how: Lock) -> Result<bool, Errno> {
    let how = match how {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
    };
    // SAFETY: `flock` takes numbers.
    match Errno::result(unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Lets a descriptor stay open when the process executes a program.
///
/// # Errors
/// As `fcntl(2)`.
pub fn keep_on_exec(descriptor: BorrowedFd) -> Result<(), Errno> {
    // SAFETY: `fcntl` takes numbers here.
    Errno::result(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
}

/// Puts a copy of a descriptor where a standard stream is.
///
/// # Errors
/// As `dup2(2)`.
pub fn put_at(descriptor: BorrowedFd, stream: RawFd) -> Result<(), Errno> {
    // SAFETY: `dup2` takes numbers; the standard streams are nobody's own.
    Errno::result(unsafe { libc::dup2(descriptor.as_raw_fd(), stream) }).map(drop)
}

/// Closes every descriptor from `first` on, now.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, libc::c_uint::MAX, 0)
}

/// Closes the descriptors from `first` to just before `end`, now.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_between(first: RawFd, end: RawFd) -> Result<(), Errno> {
    if first < end { close_range(first, (end - 1).unsigned_abs(), 0) } else { Ok(()) }
}

fn close_range(first: RawFd, last: libc::c_uint, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: `close_range` takes numbers.
    unsafe {
        super::call(
            libc::SYS_close_range,
            [libc::c_long::from(first), libc::c_long::from(last), libc::c_long::from(flags), 0, 0],
        )
    }
    .map(drop)
}

/// Closes one descriptor, if it is open.
pub fn close(fd: RawFd) {
    // SAFETY: `close` takes a number; who calls this owns none by it any more.
    unsafe { libc::close(fd) };
}

/// Standard input, output and error, which [`fill_standard_streams`] made sure of.
pub fn standard_streams() -> [BorrowedFd<'static>; 3] {
    // SAFETY: the first three descriptors stay open for the life of the process.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether this is an end of a pipe.
pub fn is_pipe(descriptor: BorrowedFd) -> bool {
    let status = nix::sys::stat::fstat(descriptor);
    status.is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFIFO)
}

/// Puts `/dev/null` where 0, 1 or 2 is closed, so that the first file opened
/// later does not become somebody's standard input.
pub fn fill_standard_streams() {
    for fd in 0..=2 {
        // SAFETY: both calls take numbers and a literal.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}

/// Takes a descriptor that the kernel has just handed out.
pub(super) fn own(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel returned it to this call; nobody else holds it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}
