//! The `isorecipe` program. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    isorecipe::cli::main()
}
