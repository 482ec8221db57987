//! A condition in words: `cmd == TIOCSTI`, `flags & CLONE_NEWUSER != 0`.
//!
//! An argument goes by the name that the call's man page gives it, and is as
//! wide as the kernel reads it; the arguments of other calls are `arg0` to
//! `arg5`, all 64 bits of them.

use super::condition::{Comparison, Condition, Width};

/// What is wrong with the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// There is no comparison in them
    NoComparison,
    /// This call has no argument of that name; it has these
    NoArgument(String, Vec<&'static str>),
    /// This is no number and no constant; this one is near
    NoValue(String, Option<&'static str>),
    /// The value has bits that are never looked at
    TooBig(String),
}

/// Reads a condition on an argument of this call.
///
/// # Errors
/// Says what is wrong with it.
pub fn condition(call: &str, words: &str) -> Result<Condition, Mistake> {
    let (left, is, right) = split(words).ok_or(Mistake::NoComparison)?;
    let (name, mask) = match left.split_once('&') {
        Some((name, mask)) => (name.trim(), Some(number(mask)?)),
        None => (left.trim(), None),
    };
    let (argument, width) = argument(call, name)?;
    let value = number(right)?;
    let most = if width == Width::Half { u64::from(u32::MAX) } else { u64::MAX };
    let mask = mask.unwrap_or(most);
    let is_ordered = !matches!(is, Comparison::Equal | Comparison::Other);
    let unseen = value & !mask & most;
    if value > most || mask > most || (unseen != 0 && !is_ordered) {
        return Err(Mistake::TooBig(right.trim().to_owned()));
    }
    let mask = if mask == most { u64::MAX } else { mask };
    Ok(Condition { argument, width, mask, is, value })
}

/// Longer signs first: `<=` begins with `<`.
const SIGNS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Other),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

fn split(words: &str) -> Option<(&str, Comparison, &str)> {
    SIGNS.iter().find_map(|(sign, is)| {
        let (left, right) = words.split_once(sign)?;
        Some((left, *is, right))
    })
}

const BY_NUMBER: [&str; 6] = ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"];

fn argument(call: &str, name: &str) -> Result<(u8, Width), Mistake> {
    let named = SIGNATURES.iter().find(|(known, _)| *known == call);
    let names = named.map_or(&[][..], |(_, arguments)| *arguments);
    let place = names.iter().position(|(known, _)| *known == name);
    match place.or_else(|| BY_NUMBER.iter().position(|known| *known == name)) {
        Some(place) => {
            let width = names.get(place).map_or(Width::Whole, |(_, width)| *width);
            Ok((place as u8, width))
        }
        None => {
            let known = match names {
                [] => BY_NUMBER.to_vec(),
                names => names.iter().map(|(name, _)| *name).collect(),
            };
            Err(Mistake::NoArgument(name.to_owned(), known))
        }
    }
}

/// Numbers and constants, any of them joined by `|`.
fn number(words: &str) -> Result<u64, Mistake> {
    words.split('|').map(|word| one(word.trim())).try_fold(0, |all, one| Ok(all | one?))
}

fn one(word: &str) -> Result<u64, Mistake> {
    if let Some((_, value)) = CONSTANTS.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let number = match (word.strip_prefix("0x"), word.strip_prefix("0o")) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (_, Some(digits)) => u64::from_str_radix(digits, 8),
        _ => word.parse(),
    };
    // `0755` is eight to a mode and ten to a program: so it is neither.
    let is_plain = !(word.len() > 1 && word.starts_with('0') && word.parse::<u64>().is_ok());
    number.ok().filter(|_| is_plain && !word.contains('+')).ok_or_else(|| {
        let near = CONSTANTS.iter().map(|(name, _)| *name).min_by_key(|name| slips(word, name));
        let near = near.filter(|name| slips(word, name) <= name.len().div_ceil(3));
        Mistake::NoValue(word.to_owned(), near)
    })
}

/// How far a word is from a name, whatever the case of its letters.
fn slips(word: &str, name: &str) -> usize {
    match word.len() {
        0..=64 => strsim::osa_distance(&word.to_uppercase(), name),
        _ => usize::MAX,
    }
}

type Signature = (&'static str, &'static [(&'static str, Width)]);

macro_rules! signatures {
    ($($call:ident($($name:ident: $width:ident),*))*) => {
        &[$((stringify!($call), &[$((stringify!($name), Width::$width),)*]),)*]
    };
}

/// The calls that conditions are about most, as their man pages have them; an
/// `int` is read by half.
static SIGNATURES: &[Signature] = signatures! {
    access(pathname: Whole, mode: Half)
    bpf(cmd: Half, attr: Whole, size: Half)
    chmod(pathname: Whole, mode: Half)
    clone(flags: Half)
    fchmod(fd: Half, mode: Half)
    fchmodat(dirfd: Half, pathname: Whole, mode: Half)
    fcntl(fd: Half, op: Half, arg: Whole)
    getrandom(buf: Whole, buflen: Whole, flags: Half)
    ioctl(fd: Half, cmd: Half, arg: Whole)
    kill(pid: Half, sig: Half)
    madvise(addr: Whole, size: Whole, advice: Half)
    memfd_create(name: Whole, flags: Half)
    mknod(pathname: Whole, mode: Half, dev: Half)
    mknodat(dirfd: Half, pathname: Whole, mode: Half, dev: Half)
    mmap(addr: Whole, length: Whole, prot: Whole, flags: Whole, fd: Half, offset: Whole)
    mprotect(addr: Whole, size: Whole, prot: Whole)
    open(pathname: Whole, flags: Half, mode: Half)
    openat(dirfd: Half, pathname: Whole, flags: Half, mode: Half)
    personality(persona: Half)
    prctl(op: Half, arg2: Whole, arg3: Whole, arg4: Whole, arg5: Whole)
    prlimit64(pid: Half, resource: Half, new_limit: Whole, old_limit: Whole)
    ptrace(op: Whole, pid: Whole, addr: Whole, data: Whole)
    seccomp(operation: Half, flags: Half, args: Whole)
    setns(fd: Half, nstype: Half)
    setpriority(which: Half, who: Half, prio: Half)
    setrlimit(resource: Half, rlim: Whole)
    setsockopt(sockfd: Half, level: Half, optname: Half, optval: Whole, optlen: Half)
    socket(domain: Half, type: Half, protocol: Half)
    socketpair(domain: Half, type: Half, protocol: Half, sv: Whole)
    tgkill(tgid: Half, tid: Half, sig: Half)
    tkill(tid: Half, sig: Half)
    unshare(flags: Half)
};

macro_rules! constants {
    ($($name:ident)*) => {
        /// Names that a value may have, as the headers of libc have them.
        static CONSTANTS: &[(&str, u64)] = &[$((stringify!($name), libc::$name as u32 as u64),)*];
    };
}

constants! {
    AF_ALG AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX AF_VSOCK
    CLONE_FILES CLONE_FS CLONE_NEWCGROUP CLONE_NEWIPC CLONE_NEWNET CLONE_NEWNS CLONE_NEWPID
    CLONE_NEWTIME CLONE_NEWUSER CLONE_NEWUTS CLONE_SYSVSEM CLONE_THREAD CLONE_VM
    F_SETFL F_SETPIPE_SZ MAP_ANONYMOUS MAP_FIXED MAP_SHARED
    O_APPEND O_CREAT O_RDWR O_TRUNC O_WRONLY
    PROT_EXEC PROT_READ PROT_WRITE
    PR_SET_DUMPABLE PR_SET_MM PR_SET_NAME PR_SET_NO_NEW_PRIVS PR_SET_PDEATHSIG PR_SET_PTRACER
    PR_SET_SECCOMP RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_FSIZE RLIMIT_NOFILE RLIMIT_NPROC
    SIGCONT SIGHUP SIGINT SIGKILL SIGSTOP SIGTERM SIGUSR1 SIGUSR2
    SOCK_DGRAM SOCK_RAW SOCK_SEQPACKET SOCK_STREAM
    S_IFBLK S_IFCHR S_IFIFO S_IFMT S_IFREG S_IFSOCK S_ISGID S_ISUID
    TIOCCONS TIOCGWINSZ TIOCLINUX TIOCNOTTY TIOCSCTTY TIOCSETD TIOCSTI TIOCSWINSZ
}
