//! Why a command is not executed, in words: `execve(2)`, "ERRORS".

use std::path::{Path, PathBuf};

use crate::{
    diagnostic::{Refusal, typed},
    host::{Host, Nature, Owner},
    model::{Found, Model, Thing},
    ops::{unexplained, way},
    sys::{Call, Errno, Fault, KernelPath, capability},
};

use super::Execute;

/// One argument has so many bytes at most, with its end (`MAX_ARG_STRLEN`).
const LONGEST_ARGUMENT: usize = 131_072;
/// What some numbers of `e_machine` are called (`elf(5)`).
const MACHINES: [(usize, &str); 7] = [
    (3, "i386"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
];
/// Scripts that run scripts, in a row (`exec_binprm()`).
const MOST_INTERPRETERS: usize = 5;

pub(super) fn explain(command: &Execute, fault: Fault, before: &Model) -> Refusal {
    // What is done around the command fails in its name.
    match (fault.call, fault.errno) {
        (Call::Execve, _) => {}
        (Call::Keyctl, Errno::EDQUOT) => return too_many_keys(),
        _ => return unexplained(command, fault),
    }
    let is_there = |path: &&KernelPath| matches!(before.walk(path.as_path()), Ok(found) if found.thing != Thing::Unknown);
    let found = command.candidates.iter().find(is_there).map(KernelPath::as_path);
    let refusal = match (fault.errno, found) {
        (Errno::ENOENT | Errno::ENOTDIR, None) => Some(not_found(command, before)),
        (Errno::ENOENT, Some(path)) => Some(missing_interpreter(path, before)),
        (Errno::EACCES, Some(path)) => forbidden(command, path, before),
        (Errno::EACCES, None) => hidden(command, before),
        (Errno::ENOEXEC, path) => Some(not_a_program(command, path, before)),
        (Errno::ETXTBSY, Some(path)) => Some(being_written(path)),
        (Errno::E2BIG, _) => Some(too_long(command)),
        (Errno::EPERM, Some(path)) => capability_dropped(path, before),
        (errno, Some(path)) => way::refused(path, errno, before),
        _ => None,
    };
    let path = command.candidates.first().filter(|_| command.is_path());
    refusal
        .or_else(|| way::refused(path?.as_path(), fault.errno, before))
        .unwrap_or_else(|| unexplained(command, fault))
}

fn too_many_keys() -> Refusal {
    Refusal::new("keys::too_many", "the sandbox cannot have a session keyring of its own")
        .why("the user has as many keys as there may be (`kernel.keys.maxkeys`)")
        .help("`cat /proc/key-users` shows how many; `sudo sysctl kernel.keys.maxkeys=1000`")
}

fn not_found(command: &Execute, before: &Model) -> Refusal {
    let name = command.name.display();
    let refusal =
        Refusal::new("command::not_found", format!("there is no `{name}` in the sandbox"));
    if command.is_default {
        return refusal
            .why("no command was given, so it is your shell")
            .help("give one that the sandbox has: `command: [sh]`");
    }
    if name.to_string().contains(char::is_whitespace) {
        return refusal
            .why("a word with spaces in it is one word, the name of a program")
            .help("write the words apart: `command: [ls, -la]`");
    }
    if command.is_path() {
        let path = command.candidates.first().map_or(Path::new(""), KernelPath::as_path);
        return refusal
            .why(way::first_missing(path, before))
            .help("name a program that the sandbox has");
    }
    let closed = command.candidates.iter().map(KernelPath::as_path);
    let mut closed = closed.filter(|path| before.walk(path) == Err(Errno::EACCES));
    match closed.next() {
        Some(path) => {
            let message = format!("`{name}` was not found, and not all of PATH was searched");
            let directory = path.parent().unwrap_or(path);
            Refusal::new("command::path_hidden", message)
                .why(way::closed_on_the_way(path, before))
                .help(format!("`namei -l {}` shows who may search it", typed(directory)))
        }
        None => refusal
            .why("no directory of PATH has it there")
            .help("bind it into the sandbox, or name its full path"),
    }
}

/// A program that is there and still not found: its loader is not, or the
/// interpreter of a script, or the loader of that.
fn missing_interpreter(path: &Path, before: &Model) -> Refusal {
    let mut program = path.to_owned();
    for _ in 0..MOST_INTERPRETERS {
        match nature(&program, before) {
            Some(Nature::Script(interpreter)) if before.walk(&interpreter).is_ok() => {
                program = interpreter;
            }
            Some(Nature::Script(interpreter)) => return no_interpreter(&program, &interpreter),
            Some(Nature::Elf(Some(loader))) => return no_loader(&program, Some(&loader)),
            _ => break,
        }
    }
    no_loader(&program, None)
}

fn no_interpreter(script: &Path, interpreter: &Path) -> Refusal {
    let (shown, named) = (script.display(), interpreter.display());
    if named.to_string().ends_with('\r') {
        let named = named.to_string();
        let message = format!("{shown} has line ends of another system");
        return Refusal::new("command::carriage_return", message)
            .why(format!(
                "its first line ends in a carriage return, so `{}\\r` is looked for",
                named.trim_end_matches('\r')
            ))
            .help(format!("`sed -i 's/\\r$//' {}`", typed(script)));
    }
    let message = format!("{shown} is there, but the interpreter that it names is not");
    Refusal::new("command::no_interpreter", message)
        .why(format!("its first line names {named}, which the sandbox does not have"))
        .help(format!("bring {named} into the sandbox, or name one in that line that it has"))
}

fn no_loader(program: &Path, loader: Option<&Path>) -> Refusal {
    let (shown, typed) = (program.display(), typed(program));
    let message = format!("{shown} is there, but what has to load it is not");
    let refusal = Refusal::new("command::no_loader", message);
    match loader.map(Path::display) {
        Some(loader) => refusal
            .why(format!("it needs {loader}, which the sandbox does not have"))
            .help(format!("bring {loader} into the new root, with its libraries")),
        None => refusal
            .why("its ELF loader or its `#!` interpreter does not exist in the sandbox")
            .help(format!("`readelf -l {typed}` or `head -1 {typed}` names it")),
    }
}

/// The reasons for EACCES, in the kernel's order (`do_open_execat()`).
fn forbidden(command: &Execute, path: &Path, before: &Model) -> Option<Refusal> {
    let name = command.name.display();
    let found = before.walk(path).ok()?;
    if found.thing.is_directory() == Some(true) {
        return Some(
            Refusal::new("command::is_directory", format!("`{name}` is a directory"))
                .why("a command is a program")
                .help(format!("name a program in it: `ls {}`", typed(&command.name))),
        );
    }
    if !before.lets_execute(&found) {
        return Some(on_noexec(path, &found, before));
    }
    if let Some(refusal) = kept_by_landlock(path, before) {
        return Some(refusal);
    }
    if let Some(Nature::Script(interpreter)) = nature(path, before)
        && let Ok(other) = before.walk(&interpreter)
        && !before.lets_execute(&other)
    {
        return Some(on_noexec(&interpreter, &other, before));
    }
    let owner = match found.thing {
        Thing::File(owner, _) => Some(owner),
        _ => None,
    };
    Some(not_executable(command, path, owner))
}

/// What of it Landlock keeps the process from: the kernel opens a loader or an
/// interpreter to execute it, too.
fn kept_by_landlock(path: &Path, before: &Model) -> Option<Refusal> {
    if before.process.rulesets.is_empty() {
        return None;
    }
    let kept = before.kept_from_executing(path)?;
    let (program, shown) = (path.display(), kept.display());
    let refusal =
        Refusal::new("landlock::not_executable", format!("Landlock forbids running {program}"));
    Some(
        match kept == path {
            true => refusal.why("no `landlock` layer's `execute` has it"),
            false => refusal.why(format!("it is run by {shown}, which `execute` does not have")),
        }
        .help(format!("name it, or a directory around it: `execute: [{}]`", typed(&kept))),
    )
}

fn on_noexec(path: &Path, found: &Found, before: &Model) -> Refusal {
    let shown = path.display();
    let message = format!("{shown} lies where no program is executed");
    let place = before.mounts.path_of(found.at.mount).unwrap_or_default();
    Refusal::new("command::on_noexec", message)
        .why(format!("the mount on {} is noexec", place.display()))
        .help(format!("take it from another mount; `findmnt -T {}` shows this one", typed(path)))
}

fn not_executable(command: &Execute, path: &Path, owner: Option<Owner>) -> Refusal {
    let message = format!("`{}` may not be executed", command.name.display());
    let refusal = Refusal::new("command::not_executable", message)
        .help(format!("`chmod a+x {}`", typed(path)));
    refusal.why(match owner {
        Some(Owner { uid, gid, mode }) => {
            format!("it has no `x` bit for you: mode 0{mode:o}, user {uid}, group {gid}")
        }
        None => "it has no `x` bit for you".to_owned(),
    })
}

fn hidden(command: &Execute, before: &Model) -> Option<Refusal> {
    let path = command.candidates.first().filter(|_| command.is_path())?.as_path();
    before.walk(path).err().filter(|errno| *errno == Errno::EACCES)?;
    let message = format!("you may not search the way to `{}`", command.name.display());
    Some(
        Refusal::new("command::hidden", message)
            .why(way::closed_on_the_way(path, before))
            .help(format!("`namei -l {}` shows which directory it is", typed(path))),
    )
}

fn not_a_program(command: &Execute, path: Option<&Path>, before: &Model) -> Refusal {
    let name = command.name.display();
    let nature = path.and_then(|path| nature(path, before));
    if let Some(Nature::OtherMachine(number)) = nature {
        let machine = MACHINES.iter().find(|(other, _)| *other == number);
        let machine = machine.map_or(format!("machine {number} of ELF"), |(_, it)| it.to_string());
        let message = format!("`{name}` is a program for another processor");
        return Refusal::new("command::wrong_machine", message)
            .why(format!("it is for {machine}, and this machine is {}", std::env::consts::ARCH))
            .help("take the program that was made for this machine");
    }
    Refusal::new("command::not_a_program", format!("`{name}` is not a program"))
        .why(match nature {
            Some(Nature::Empty) => "it is empty",
            _ => "it begins neither like an ELF file nor with `#!`",
        })
        .help(format!("run it through its interpreter: `command: [sh, {name}]`"))
}

fn being_written(path: &Path) -> Refusal {
    let message = format!("{} cannot be executed while somebody writes it", path.display());
    Refusal::new("command::being_written", message)
        .why("the file is open for writing")
        .help(format!("wait until it is closed; `fuser -v {}` shows by whom", typed(path)))
}

fn too_long(command: &Execute) -> Refusal {
    let all = || command.arguments.strings().iter().chain(command.environment.strings());
    let length = |word: &std::ffi::CString| word.as_bytes_with_nul().len();
    let longest = all().map(length).max().unwrap_or(0);
    let sum: usize = all().map(length).sum();
    Refusal::new("command::too_long", "the arguments and the environment are too long")
        .why(match longest > LONGEST_ARGUMENT {
            true => format!("one has {longest} bytes, and each has {LONGEST_ARGUMENT} at most"),
            false => format!("they have {sum} bytes, and get a quarter of `ulimit -s` at most"),
        })
        .help("pass them through a file, or set `clear_env: true`")
}

fn capability_dropped(path: &Path, before: &Model) -> Option<Refusal> {
    let missing = Host::capabilities_out_of_bounds(&on_host(path, before)?);
    let known = capability::NAMES.iter().filter(|(number, _)| missing & 1 << number != 0);
    let names: Vec<String> = known.map(|(_, name)| name.to_lowercase()).collect();
    if names.is_empty() {
        return None;
    }
    let message =
        format!("{} needs {}, which is not to be had here", path.display(), names.join(", "));
    Some(
        Refusal::new("command::capability_dropped", message)
            .why("its file gives that capability, and the bounding set leaves it out")
            .help(format!("`sudo setcap -r {}` lets it run without", typed(path))),
    )
}

fn nature(path: &Path, before: &Model) -> Option<Nature> {
    Host::nature_of(&on_host(path, before)?)
}

fn on_host(path: &Path, before: &Model) -> Option<PathBuf> {
    before.on_host(&before.walk(path).ok()?)
}
