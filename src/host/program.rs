//! What a program needs to run, read off the file: `elf(5)`, `execve(2)`.

use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::sys;

use super::Program;

/// As much of a program as is read to find its loader: the file may be anybody's.
const LONGEST_HEAD: u64 = 1 << 20;
/// As much of a script as the kernel looks at (`BINPRM_BUF_SIZE`).
const LONGEST_LINE: usize = 256;
/// `PT_INTERP`
const INTERPRETER: usize = 3;
/// `e_machine` of programs that run here.
const MACHINE: Option<usize> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

/// What runs this file.
pub(super) fn of(path: &Path) -> Program {
    // A program that gives capabilities may be refused for them.
    match sys::capability::are_given_by(path) {
        Ok(false) => read(path).map_or(Program::Unknown, |bytes| of_bytes(&bytes)),
        _ => Program::Unknown,
    }
}

/// What a file is that the kernel does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Nothing is in it
    Empty,
    /// A script, and what its first line names
    Script(PathBuf),
    /// An ELF program, and what loads it
    Elf(Option<PathBuf>),
    /// An ELF program for processors of this number (`e_machine`)
    OtherMachine(usize),
    /// Something else
    Other,
}

/// Looks into a file.
pub(super) fn nature(path: &Path) -> Option<Nature> {
    let bytes = read(path)?;
    let machine = little_endian(&bytes, 18, 2).filter(|_| bytes.starts_with(b"\x7fELF"));
    Some(match of_bytes(&bytes) {
        Program::Interpreter(interpreter) => Nature::Script(interpreter),
        Program::Loader(loader) => Nature::Elf(Some(loader)),
        Program::Static => Nature::Elf(None),
        Program::Unknown if bytes.is_empty() => Nature::Empty,
        Program::Unknown => match machine.filter(|_| MACHINE.is_some() && machine != MACHINE) {
            Some(machine) => Nature::OtherMachine(machine),
            None => Nature::Other,
        },
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // Who opens a pipe waits, and who opens a device may do something.
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    if !is_file {
        return None;
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.take(LONGEST_HEAD).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn of_bytes(bytes: &[u8]) -> Program {
    let found = match bytes.strip_prefix(b"#!") {
        Some(_) => of_script(bytes),
        None => of_elf(bytes),
    };
    found.unwrap_or(Program::Unknown)
}

/// The first word of the first line (`load_script()`).
fn of_script(bytes: &[u8]) -> Option<Program> {
    let head = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let line = head.get(2..head.iter().position(|&byte| byte == b'\n')?)?;
    let mut words = line.split(|&byte| byte == b' ' || byte == b'\t');
    let word = words.find(|word| !word.is_empty())?;
    Some(Program::Interpreter(path(word)))
}

/// ELF64, little-endian: program headers, one of which may be `PT_INTERP`.
fn of_elf(bytes: &[u8]) -> Option<Program> {
    let number = |at: usize, length: usize| little_endian(bytes, at, length);
    let is_program = matches!(number(16, 2)?, 2 | 3) && Some(number(18, 2)?) == MACHINE;
    if !bytes.starts_with(b"\x7fELF\x02\x01") || !is_program {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let header = bytes.get(table.checked_add(index * size)?..)?;
        let number = |at: usize, length: usize| little_endian(header, at, length);
        if number(0, 4)? != INTERPRETER {
            continue;
        }
        let (start, length) = (number(8, 8)?, number(32, 8)?);
        let name = bytes.get(start..start.checked_add(length)?)?;
        return Some(Program::Loader(path(name.split(|&byte| byte == 0).next()?)));
    }
    Some(Program::Static)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// A number of `length` bytes, if it lies in there.
fn little_endian(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_header_at_the_end_of_the_world_has_no_loader() {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[16] = 2;
        elf[18] = MACHINE.unwrap_or(0) as u8;
        elf[32..40].fill(0xff);
        elf[54..58].copy_from_slice(&[56, 0, 1, 0]);
        assert_eq!(of_bytes(&elf), Program::Unknown);
    }

    #[test]
    fn the_loader_of_this_test_is_known() {
        let own = std::env::current_exe().expect("a path");
        let Some(Nature::Elf(Some(loader))) = nature(&own) else { panic!("a loader") };
        assert!(loader.to_string_lossy().contains("ld-"));
    }

    #[test]
    fn a_script_is_run_by_the_first_word_of_its_first_line() {
        assert_eq!(of_bytes(b"#! /bin/sh -e\n"), Program::Interpreter("/bin/sh".into()));
        assert_eq!(of_bytes(b"#!\n/bin/sh"), Program::Unknown);
    }
}
