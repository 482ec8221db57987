//! How a call is skipped, and something else answered: `ptrace(2)`, `syscall(2)`.

pub use on::{answer, skip};

#[cfg(target_arch = "x86_64")]
mod on {
    //! How a call is skipped and answered: `orig_rax` and `rax`.
    use super::super::tracer::ask;

    const WORD: libc::c_long = 8;

    pub fn skip(pid: i32) {
        ask(libc::PTRACE_POKEUSER, pid, libc::ORIG_RAX as libc::c_long * WORD, -1);
    }

    pub fn answer(pid: i32, value: libc::c_long) {
        ask(libc::PTRACE_POKEUSER, pid, libc::RAX as libc::c_long * WORD, value);
    }
}

#[cfg(target_arch = "aarch64")]
mod on {
    //! How a call is skipped and answered: the register set of the call's number, and `x0`.
    const NT_PRSTATUS: libc::c_long = 1;
    const NT_ARM_SYSTEM_CALL: libc::c_long = 0x404;

    pub fn skip(pid: i32) {
        let mut none: libc::c_int = -1;
        let mut part = libc::iovec { iov_base: (&raw mut none).cast(), iov_len: 4 };
        // SAFETY: the number outlives the call, and its size is told.
        unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &raw mut part) };
    }

    pub fn answer(pid: i32, value: libc::c_long) {
        let mut registers = [0u64; 34];
        let length = size_of_val(&registers);
        let mut part = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: length };
        // SAFETY: the registers outlive both calls, and their size is told.
        unsafe {
            libc::ptrace(libc::PTRACE_GETREGSET, pid, NT_PRSTATUS, &raw mut part);
            registers[0] = value as u64;
            libc::ptrace(libc::PTRACE_SETREGSET, pid, NT_PRSTATUS, &raw mut part);
        }
    }
}
