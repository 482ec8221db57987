//! The `isorecipe` program. All of it is in the library.

use std::process::ExitCode;

/// The one allocator; what it says at its end, `apply` prepares.
#[global_allocator]
static MEMORY: isorecipe::sys::memory::Memory = isorecipe::sys::memory::Memory;

fn main() -> ExitCode {
    isorecipe::cli::main()
}
