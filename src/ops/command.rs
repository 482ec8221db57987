//! The last steps: what the command may do, where it stands, and the command
//! itself: `execve(2)`, `PR_SET_NO_NEW_PRIVS(2const)`.

use std::{
    ffi::{CString, OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use crate::{
    diagnostic::Refusal,
    model::{Answer, Found, Model, Objection, Thing},
    seccomp::Action,
    sys::{Call, Errno, Fault, KernelPath, descriptor, directory, look, process},
};

mod trouble;

use super::{Evidence, Operation, Stage, unexplained, way};

/// The process stays as PID 1, and a child goes on.
pub struct StayAsInit;

impl fmt::Display for StayAsInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stay as init; the command is a child of PID 1")
    }
}

impl Operation for StayAsInit {
    fn answer(&self, _: &Model) -> Answer {
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        // Its child enters what is there for children.
        let is_first = model.pid_for_children.is_some();
        model.fork();
        model.is_init = is_first;
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.turnings.stay_as_init()
    }

    /// Who goes on is the child of init, and not init itself.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match process::own_pid() {
            1 => Err(stage.lie(Call::Fork, b"still PID 1")),
            _ => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}

/// Programs that would give more rights give none.
pub struct NoNewPrivileges;

impl fmt::Display for NoNewPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set no_new_privs")
    }
}

impl Operation for NoNewPrivileges {
    fn answer(&self, _: &Model) -> Answer {
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        model.process.no_new_privs = true;
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        process::no_new_privs().map_err(|errno| Call::Prctl.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match process::has_no_new_privs() {
            Some(true) => Ok(()),
            _ => Err(stage.lie(Call::Prctl, b"no_new_privs is 0")),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}

/// Where the command starts.
pub struct ChangeDirectory(pub KernelPath);

impl fmt::Display for ChangeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enter {}", self.0.as_path().display())
    }
}

impl Operation for ChangeDirectory {
    fn answer(&self, model: &Model) -> Answer {
        let no = |errno| Answer::No(Call::Chdir.gave(errno));
        match model.walk(self.0.as_path()) {
            Err(errno) => no(errno),
            Ok(Found { thing: Thing::Unknown, .. }) => Answer::KernelDecides,
            Ok(Found { thing: Thing::Directory(Some(owner)), .. }) if !model.may_search(owner) => {
                no(Errno::EACCES)
            }
            Ok(Found { thing: Thing::Directory(_), .. }) => Answer::Yes,
            Ok(_) => no(Errno::ENOTDIR),
        }
    }

    fn effect(&self, model: &mut Model) {
        model.process.directory = Some(self.0.as_path().to_owned());
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        directory::enter_path(self.0.as_c_str()).map_err(|errno| Call::Chdir.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let at = |path| look::at(path).map_err(|errno| Call::Look.gave(errno));
        match at(c".")? == at(self.0.as_c_str())? {
            true => Ok(()),
            false => Err(stage.lie(Call::Chdir, b"another directory")),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let shown = self.0.as_path().display();
        match fault.errno {
            Errno::ENOENT => {
                Refusal::new("cwd::missing", format!("there is no {shown} to start in"))
                    .why("it does not exist in the sandbox")
                    .help("name a directory of the sandbox: `cwd: /`")
            }
            Errno::ENOTDIR => {
                Refusal::new("cwd::not_a_directory", format!("{shown} is not a directory"))
                    .why("a command starts in a directory")
                    .help("name a directory of the sandbox: `cwd: /`")
            }
            Errno::EACCES => Refusal::new("cwd::hidden", format!("you may not enter {shown}"))
                .why("the directory does not let you in")
                .help("name another: `cwd: /`"),
            errno => way::refused(self.0.as_path(), errno, before)
                .unwrap_or_else(|| unexplained(self, fault)),
        }
    }
}

/// The command takes the place of the process.
pub struct Execute {
    name: OsString,
    candidates: Vec<KernelPath>,
    arguments: process::Vector,
    environment: process::Vector,
    is_default: bool,
}

impl Execute {
    /// Prepares everything that `execve` wants. A name without a slash is
    /// looked for along `search_path`, in the root that the command will see.
    pub fn new(
        command: &[OsString],
        environment: Vec<(OsString, OsString)>,
        search_path: Option<&OsStr>,
    ) -> Self {
        let name = command.first().cloned().unwrap_or_default();
        let candidates = candidates(&name, search_path);
        let arguments = command.iter().map(|word| c_string(word.clone())).collect();
        let environment = environment
            .into_iter()
            .map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                c_string(variable)
            })
            .collect();
        Self {
            name,
            candidates,
            arguments: process::Vector::new(arguments),
            environment: process::Vector::new(environment),
            is_default: false,
        }
    }

    /// Whether it is named by its path, and not looked for.
    fn is_path(&self) -> bool {
        self.name.as_bytes().contains(&b'/')
    }

    /// Whether it looks for the same program in the same places; what the program
    /// is told may differ.
    pub fn is_of_same_program(&self, other: &Self) -> bool {
        self.name == other.name && self.candidates == other.candidates
    }

    /// The same, where nobody has asked for this very command.
    pub fn by_default(self) -> Self {
        Self { is_default: true, ..self }
    }
}

/// What `execvp(3)` searches when there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

fn candidates(name: &OsStr, search_path: Option<&OsStr>) -> Vec<KernelPath> {
    if name.as_bytes().contains(&b'/') {
        return vec![KernelPath::new(name)];
    }
    search_path
        .unwrap_or(OsStr::new(DEFAULT_PATH))
        .as_bytes()
        .split(|&byte| byte == b':')
        .map(|directory| {
            let directory = if directory.is_empty() { b"." } else { directory };
            KernelPath::new(Path::new(OsStr::from_bytes(directory)).join(name))
        })
        .collect()
}

fn c_string(text: OsString) -> CString {
    let mut bytes = text.into_vec();
    bytes.retain(|&byte| byte != 0);
    CString::new(bytes).unwrap_or_default()
}

impl fmt::Display for Execute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("execute")?;
        for word in self.arguments.strings() {
            write!(f, " {}", word.to_string_lossy())?;
        }
        Ok(())
    }
}

impl Operation for Execute {
    fn answer(&self, model: &Model) -> Answer {
        let passes = |call| model.process.filtered(call).is_some_and(Action::lets_through);
        if !passes("execve") {
            return Answer::KernelDecides;
        }
        // As `run` does: what may not be executed is remembered, and the search goes on.
        let mut last = Errno::ENOENT;
        for path in &self.candidates {
            match model.may_execute(path.as_path()) {
                Ok(()) => return Answer::Yes,
                Err(Objection::No(Errno::EACCES)) if !passes("faccessat") => {
                    return Answer::KernelDecides;
                }
                Err(Objection::No(Errno::EACCES))
                    if self.is_path() || model.walk(path.as_path()).is_ok() =>
                {
                    last = Errno::EACCES;
                }
                Err(Objection::No(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => {}
                Err(objection) => return objection.to(Call::Execve),
            }
        }
        Answer::No(Call::Execve.gave(last))
    }

    fn effect(&self, _: &mut Model) {}

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        let mut last = Errno::ENOENT;
        for path in &self.candidates {
            match process::execute(path.as_c_str(), &self.arguments, &self.environment) {
                // As the shell: what may not be executed is remembered, a directory
                // that nobody may search is passed by, and the search goes on.
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES if self.is_path() => last = Errno::EACCES,
                Errno::EACCES if descriptor::exists(path.as_c_str()) => last = Errno::EACCES,
                Errno::EACCES => {}
                errno => return Err(Call::Execve.gave(errno)),
            }
        }
        Err(Call::Execve.gave(last))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        trouble::explain(self, fault, before)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_name_is_looked_for_along_the_path_in_order() {
        let found: Vec<_> = candidates(OsStr::new("ls"), Some(OsStr::new("/a::/b")));
        let found: Vec<_> = found.iter().map(|path| path.as_path().to_owned()).collect();
        assert_eq!(found, ["/a/ls", "./ls", "/b/ls"].map(PathBuf::from));
    }
}
