//! What can be executed: `execve(2)`, `fs/exec.c`.

use std::path::{Path, PathBuf};

use crate::{
    host::{Owner, Program},
    sys::{Errno, landlock::files},
};

use super::{Found, Model, Objection, Thing, capability, permission::permits_by_mode};

/// Interpreters that are scripts themselves, in a row (`exec_binprm()`).
const MOST_INTERPRETERS: usize = 5;
const EXECUTE: u32 = 1;
/// An `x` bit for whomever (`S_IXUGO`)
const ANY_EXECUTE: u32 = 0o111;

impl Model {
    /// Whether the process may execute the file at a path.
    pub fn may_execute(&self, path: &Path) -> Result<(), Objection> {
        let mut program = self.open_program(path)?;
        for _ in 0..MOST_INTERPRETERS {
            match program {
                Program::Static => return Ok(()),
                Program::Loader(loader) => return self.may_load(&loader),
                Program::Interpreter(path) => program = self.open_program(&path)?,
                Program::Unknown => return Err(Objection::Unknown),
            }
        }
        Err(Objection::Unknown)
    }

    /// The program, the interpreter or the loader that Landlock alone does not let
    /// the process run.
    pub fn kept_from_executing(&self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..=MOST_INTERPRETERS {
            let found = self.walk(&path).ok()?;
            if let Err(Objection::No(_)) = self.lets(&found.at, files::EXECUTE | files::READ) {
                return Some(path);
            }
            path = match found.thing {
                Thing::File(_, Program::Loader(next) | Program::Interpreter(next)) => next,
                _ => return None,
            };
        }
        None
    }

    /// The loader is opened as a program is (`load_elf_binary()`).
    fn may_load(&self, loader: &Path) -> Result<(), Objection> {
        match self.open_program(loader)? {
            Program::Static | Program::Loader(_) => Ok(()),
            Program::Interpreter(_) | Program::Unknown => Err(Objection::Unknown),
        }
    }

    /// The kernel's order: the way there, what it is and what its mount
    /// allows (`may_open()`), then its mode (`inode_permission()`); all of the
    /// latter are EACCES.
    fn open_program(&self, path: &Path) -> Result<Program, Objection> {
        let found = self.walk(path).map_err(Objection::No)?;
        let (owner, program) = match &found.thing {
            Thing::File(owner, program) => (*owner, program.clone()),
            Thing::Directory(_) | Thing::Special | Thing::Device(_) => {
                return Err(Objection::No(Errno::EACCES));
            }
            Thing::Symlink(_) | Thing::Unknown => return Err(Objection::Unknown),
        };
        if !self.lets_execute(&found) || !self.permits_execution(owner) {
            return Err(Objection::No(Errno::EACCES));
        }
        // A program is opened to read as well (`hook_file_open()`).
        self.lets(&found.at, files::EXECUTE | files::READ)?;
        Ok(program)
    }

    /// Whether its mount lets a file be executed (`path_noexec()`).
    pub fn lets_execute(&self, found: &Found) -> bool {
        let mount = self.mounts.mount(found.at.mount);
        !mount.no_exec && !self.mounts.forbids_programs(mount.filesystem)
    }

    /// As for a directory, but no capability makes a program of a file that is
    /// one for nobody (`generic_permission()`).
    fn permits_execution(&self, owner: Owner) -> bool {
        let process = &self.process;
        let is_program = owner.mode & ANY_EXECUTE != 0;
        let may_override = self.reaches(process, owner) && process.has(capability::DAC_OVERRIDE);
        permits_by_mode(process, owner, EXECUTE) || is_program && may_override
    }
}
