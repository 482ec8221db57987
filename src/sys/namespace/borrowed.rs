//! The first instructions of a child that has its parent's memory and a stack
//! of its own: no function of a library may return twice.

use std::{arch::asm, ptr};

use nix::errno::Errno;

use super::process;

/// How much of it there is: the child calls a few functions deep. Only what it
/// touches is memory.
pub(super) const STACK: u64 = 256 * 1024;
const GUARD: usize = 4096;
/// The status of a child that had nothing more to do, and was to be gone.
const NOT_GONE: i32 = 125;

/// A stack, with a page below that nothing can be written to.
pub(super) struct Stack(*mut libc::c_void);

impl Stack {
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory, where nothing is yet.
        let base = unsafe { libc::mmap(ptr::null_mut(), whole(), access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let stack = Self(base);
        // SAFETY: the first page of what was just made, which nobody uses yet.
        Errno::result(unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) })?;
        Ok(stack)
    }

    /// Where it ends, growing down.
    pub(super) fn bottom(&self) -> u64 {
        self.0 as u64 + GUARD as u64
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the child is gone from this memory, and nobody else has used the stack.
        unsafe { libc::munmap(self.0, whole()) };
    }
}

fn whole() -> usize {
    STACK as usize + GUARD
}

/// What the child begins with.
pub(super) struct Begin<'a> {
    /// Its number, written by the kernel
    pub own: *const libc::pid_t,
    pub child: &'a dyn Fn(),
}

/// The child's first function. It comes back only where there is no child: the
/// kernel said there was, and wrote no number.
extern "C" fn begin(with: *const Begin) -> i64 {
    // SAFETY: the parent made it, and sleeps.
    let with = unsafe { &*with };
    // SAFETY: as above; the kernel has written it, behind the compiler's back.
    if unsafe { with.own.read_volatile() } == 0 {
        return 0;
    }
    (with.child)();
    process::exit(NOT_GONE)
}

/// `clone3(2)` with these arguments. The child, on the stack they name, goes to
/// [`begin`] and never comes back; the parent gets its number, a negative
/// errno, or 0 where nobody was made.
///
/// # Safety
/// The arguments name a stack that is free, and share the memory until the
/// child is gone from it. What it begins with lives as long.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3(arguments: u64, with: *const Begin) -> i64 {
    let answer: i64;
    // SAFETY: the parent goes on at the label with its registers; the child has nothing of this
    // frame but the two registers that it is told of.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r13",
            "call r12",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") arguments,
            in("rsi") size_of::<super::CloneArguments>(),
            in("r12") begin as extern "C" fn(*const Begin) -> i64,
            in("r13") with,
            clobber_abi("C"),
        );
    }
    answer
}

/// The same for this architecture.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3(arguments: u64, with: *const Begin) -> i64 {
    let answer: i64;
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x0, x22",
            "blr x21",
            "2:",
            inlateout("x0") arguments => answer,
            in("x1") size_of::<super::CloneArguments>(),
            in("x8") libc::SYS_clone3,
            in("x21") begin as extern "C" fn(*const Begin) -> i64,
            in("x22") with,
            clobber_abi("C"),
        );
    }
    answer
}
