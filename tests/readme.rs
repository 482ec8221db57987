//! Every fenced block of README.md is run or checked, from top to bottom.
//!
//! | block | what happens to it |
//! |---|---|
//! | `console`, `console 2` | Typed into one of two shells that live as long as the page. `$ ` and `# ` begin a command, `> ` continues it, the rest is its output. `# ` claims that the shell is root inside a sandbox, and that is checked |
//! | `yaml` | Equals the recipe that the sentence above names; a name that the repository does not have is a file the reader saves. Both must pass `isorecipe validate` |
//! | `sh` | Run by `bash -e`. A package line is compared with the tools below; `cargo test` is what is running |
//!
//! In an output `…` stands for anything, alone on a line for any lines; runs of
//! spaces are one space. The page's user `ann` with id 1000, her folder and her
//! host `laptop` stand for those of the test. `cargo run --release --` becomes
//! the `isorecipe` that cargo built for this test. The shells read from pipes, so
//! they do not say `exit` when they are left, as they do on a terminal.
//!
//! As root, everything happens in mount, UTS and PID namespaces that end with
//! the test; commands run as an ordinary user, and `sudo` leads to root. As an
//! ordinary user a command behind `sudo` must be refused without it, and the
//! rest of its section, which stands on it, is reported as not reached.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitCode, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// Tools that the page's blocks use, with the packages that have them.
const TOOLS: [(&str, &str); 10] = [
    ("fallocate", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("hostname", "hostname"),
    ("pgrep", "procps"),
    ("ps", "procps"),
    ("mkfs.xfs", "xfsprogs"),
];

/// Who the page's ordinary user is when root runs the tests.
const ORDINARY: u32 = 12345;
const PATIENCE: Duration = Duration::from_secs(120);
const INSIDE: &str = "ISORECIPE_README_SCRATCH";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("readme: test");
        return ExitCode::SUCCESS;
    }
    let mut filters = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    if filters.peek().is_some() && !filters.any(|filter| "readme".contains(filter.as_str())) {
        println!("\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
        return ExitCode::SUCCESS;
    }
    match std::env::var_os(INSIDE) {
        Some(scratch) => read_aloud(Path::new(&scratch)),
        None => outside(),
    }
}

/// Makes the scratch folder, and for root the namespaces; looks for what is left.
fn outside() -> ExitCode {
    for (tool, package) in TOOLS {
        if !["bin", "sbin"]
            .iter()
            .any(|bin| Path::new("/usr").join(bin).join(tool).exists())
        {
            println!("{tool} is missing: `sudo apt-get install {package}`");
            return ExitCode::FAILURE;
        }
    }
    let before = traces();
    let scratch = tempfile::tempdir().expect("a folder for temporary files");
    furnish(scratch.path());
    let mut inside = match is_root() {
        true => {
            let mut inside = Command::new("unshare");
            inside.args([
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ]);
            inside.arg(std::env::current_exe().expect("this program has a path"));
            inside
        }
        false => Command::new(std::env::current_exe().expect("this program has a path")),
    };
    let status = inside
        .env(INSIDE, scratch.path())
        .status()
        .expect("unshare starts");
    // overlayfs leaves a folder in `work` that not even its owner may enter.
    let _ = Command::new("chmod")
        .args(["-R", "u+rwX"])
        .arg(scratch.path())
        .output();
    let path = scratch.path().to_owned();
    let mine = |trace: &String| trace.contains(path.to_str().expect("a readable path"));
    let left: Vec<_> = traces()
        .into_iter()
        .filter(|trace| !before.contains(trace) && mine(trace))
        .collect();
    scratch.close().expect("the scratch folder can be removed");
    if !left.is_empty() {
        println!("left behind: {left:#?}");
        return ExitCode::FAILURE;
    }
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Mounts and loop devices.
fn traces() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let loops = Command::new("losetup")
        .args(["--all", "--list", "--noheadings"])
        .output();
    let loops = text(&loops.expect("losetup starts").stdout);
    mounts
        .lines()
        .chain(loops.lines())
        .map(str::to_owned)
        .collect()
}

/// `SCRATCH/bin/isorecipe`, and `SCRATCH/isorecipe/recipes` as in a fresh clone.
fn furnish(scratch: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = scratch.join("isorecipe/recipes");
    fs::create_dir_all(scratch.join("bin")).expect("a folder");
    fs::create_dir_all(&recipes).expect("a folder");
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("own folder");
    fs::copy(
        env!("CARGO_BIN_EXE_isorecipe"),
        scratch.join("bin/isorecipe"),
    )
    .expect("a built binary");
    for entry in fs::read_dir(repository.join("recipes"))
        .expect("recipes")
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            fs::copy(entry.path(), recipes.join(entry.file_name())).expect("a copy");
        }
    }
    if is_root() {
        for path in [scratch.join("isorecipe"), recipes.clone()] {
            std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).expect("root may");
        }
        for entry in fs::read_dir(recipes).expect("recipes").flatten() {
            std::os::unix::fs::chown(entry.path(), Some(ORDINARY), Some(ORDINARY))
                .expect("root may");
        }
    }
}

/// Runs the page; the first difference ends it, for the rest stands on it.
fn read_aloud(scratch: &Path) -> ExitCode {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("README.md");
    let blocks = blocks(&page);
    let mut reader = Reader::new(scratch);
    println!("\nrunning {} tests", blocks.len());
    for (passed, block) in blocks.iter().enumerate() {
        match reader.check(block) {
            Ok(remark) => println!(
                "test README.md:{} {} ... ok{remark}",
                block.line, block.kind
            ),
            Err(difference) => {
                println!(
                    "test README.md:{} {} ... FAILED\n\n{difference}",
                    block.line, block.kind
                );
                println!(
                    "\ntest result: FAILED. {passed} passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "\ntest result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        blocks.len()
    );
    ExitCode::SUCCESS
}

/// A fenced block, with the heading and the line of text that it stands under.
struct Block<'a> {
    line: usize,
    kind: &'a str,
    body: Vec<&'a str>,
    heading: &'a str,
    above: &'a str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut heading, mut above) = (Vec::new(), "", "");
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            blocks.push(Block {
                line: number + 1,
                kind,
                body,
                heading,
                above,
            });
        } else if line.starts_with('#') {
            heading = line;
        } else if !line.is_empty() {
            above = line;
        }
    }
    blocks
}

/// Whoever follows the page.
struct Reader {
    scratch: PathBuf,
    folder: PathBuf,
    consoles: [Console; 2],
    page: Placeholders,
    /// The heading under which root was needed and not to be had.
    stopped: String,
}

impl Reader {
    fn new(scratch: &Path) -> Self {
        if is_root() {
            run(Command::new("hostname").arg("laptop"));
        }
        let folder = scratch.join("isorecipe");
        let page = Placeholders {
            ids: [reader_id("-u"), reader_id("-g")],
            name: reader_name(),
            host: text(&run(&mut Command::new("hostname")).stdout)
                .trim()
                .to_owned(),
            folder: folder.display().to_string(),
        };
        let console = || Console(vec![Shell::start(&mut ordinary(scratch, &folder))]);
        Self {
            consoles: [console(), console()],
            scratch: scratch.to_owned(),
            folder,
            page,
            stopped: String::new(),
        }
    }

    fn check(&mut self, block: &Block) -> Result<&'static str, String> {
        if block.heading == self.stopped {
            return Ok(" (not reached: this section takes root)");
        }
        match block.kind {
            "console" => self.type_in(0, block),
            "console 2" => self.type_in(1, block),
            "yaml" => self.recipe(block),
            "sh" => self.script(block),
            kind => Err(format!("no test knows what to do with a `{kind}` block")),
        }
    }

    fn recipe(&self, block: &Block) -> Result<&'static str, String> {
        let body = block.body.join("\n") + "\n";
        let name = block
            .above
            .split('`')
            .find(|word| word.ends_with(".yaml"))
            .ok_or("the line above names no recipe")?;
        let path = self.folder.join(name);
        if Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists() {
            let file = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let without_comments: String = file
                .lines()
                .skip_while(|line| line.starts_with('#'))
                .flat_map(|line| [line, "\n"])
                .collect();
            if body != file && body != without_comments {
                return Err(format!("{name} is\n{file}"));
            }
        } else {
            fs::write(&path, body).map_err(|error| error.to_string())?;
        }
        // A recipe that is meant to be wrong is followed by what `validate` says of it.
        if block.above.contains("mistakes") {
            return Ok("");
        }
        let output = ordinary(&self.scratch, &self.folder)
            .args(["-c", "isorecipe validate \"$0\"", name])
            .output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok("")
        } else {
            Err(text(&output.stderr))
        }
    }

    fn script(&self, block: &Block) -> Result<&'static str, String> {
        let mut script = String::new();
        for line in &block.body {
            if let Some(packages) = line.strip_prefix("sudo apt-get install") {
                let lacks = |package: &str| !packages.split(' ').any(|word| word == package);
                if let Some((tool, package)) = TOOLS.iter().find(|(_, package)| lacks(package)) {
                    return Err(format!(
                        "`{tool}` is used, and `{package}` is not in that line"
                    ));
                }
            } else if *line != "cargo test" {
                script += &format!("{}\n", as_built(line));
            }
        }
        let output = ordinary(&self.scratch, &self.folder)
            .args(["-ec", &script])
            .output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(""),
            false => Err(format!(
                "{}: {}{}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            )),
        }
    }

    fn type_in(&mut self, console: usize, block: &Block) -> Result<&'static str, String> {
        for exchange in exchanges(&block.body)? {
            let console = &mut self.consoles[console];
            let euid = &console.shell().euid;
            if (euid == "0") != (exchange.prompt == '#') {
                return Err(format!(
                    "the shell has id {euid} at `{} {}`",
                    exchange.prompt, exchange.command
                ));
            }
            let (command, through_sudo) = match exchange.command.strip_prefix("sudo ") {
                Some(command) => (command, true),
                None => (exchange.command.as_str(), false),
            };
            if through_sudo && !is_root() {
                let reply = console.say(command)?;
                if reply.status == 0 {
                    return Err(format!("an ordinary user may `{command}`, so why `sudo`?"));
                }
                self.stopped = block.heading.to_owned();
                return Ok(" (refused to an ordinary user, as it should be)");
            }
            if through_sudo {
                console.become_root(&self.scratch);
            }
            let reply = console.say(command)?;
            if !self.page.fit(&exchange.output, &reply.lines) {
                return Err(format!(
                    "$ {command}\n--- the page\n{}\n--- the program (status {})\n{}",
                    exchange.output.join("\n"),
                    reply.status,
                    reply.lines.join("\n")
                ));
            }
        }
        Ok("")
    }
}

/// A command, and the output that the page shows for it.
struct Exchange {
    prompt: char,
    command: String,
    output: Vec<String>,
}

fn exchanges(body: &[&str]) -> Result<Vec<Exchange>, String> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in body {
        let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
        match (command, exchanges.last_mut()) {
            (Some(command), _) => exchanges.push(Exchange {
                prompt: if line.starts_with('#') { '#' } else { '$' },
                command: as_built(command),
                output: Vec::new(),
            }),
            (None, Some(last)) if last.output.is_empty() && line.starts_with("> ") => {
                last.command += "\n";
                last.command += &line[2..];
            }
            (None, Some(last)) if last.command == "exit" && *line == "exit" => {}
            (None, Some(last)) => last.output.push((*line).to_owned()),
            (None, None) => return Err("a console block begins with a command".to_owned()),
        }
    }
    Ok(exchanges)
}

/// The page builds; the test has the binary already.
fn as_built(command: &str) -> String {
    command.replace("cargo run --release --", "isorecipe")
}

/// A terminal window: a shell, and above it the one that `sudo` gave.
struct Console(Vec<Shell>);

impl Console {
    fn shell(&mut self) -> &mut Shell {
        self.0.last_mut().expect("the first shell stays")
    }

    /// Types a command. The shell of `sudo` is left when its command has ended.
    fn say(&mut self, command: &str) -> Result<Reply, String> {
        let reply = self.shell().say(command)?;
        if self.0.len() > 1 && reply.is_outside {
            self.0.pop();
        }
        Ok(reply)
    }

    fn become_root(&mut self, scratch: &Path) {
        let here =
            fs::read_link(format!("/proc/{}/cwd", self.shell().process.id())).expect("a directory");
        let ids = [reader_id("-u"), reader_id("-g")];
        let mut bash = bash(scratch, &here);
        bash.envs([
            ("SUDO_UID", &ids[0]),
            ("SUDO_GID", &ids[1]),
            ("SUDO_USER", &reader_name()),
        ]);
        // The caller's shell would have expanded `$(which isorecipe)`; here root's does.
        let sbin = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = format!("{sbin}:{}/bin", scratch.display());
        self.0.push(Shell::start(bash.env("PATH", path)));
    }
}

/// A bash that reads its commands from a pipe, as the shells in sandboxes do
/// that it starts.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    euid: String,
    status: i32,
}

struct Reply {
    lines: Vec<String>,
    status: i32,
    is_outside: bool,
}

impl Shell {
    fn start(bash: &mut Command) -> Self {
        bash.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = bash.spawn().expect("bash starts");
        let input = process.stdin.take().expect("a pipe");
        let mut pipe = process.stdout.take().expect("a pipe");
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self {
            process,
            input,
            output,
            euid: String::new(),
            status: 0,
        };
        shell
            .say("exec 2>&1; OUTSIDE=outside")
            .expect("bash answers");
        shell
    }

    /// Waits for the answer of whatever shell reads the input now. `OUTSIDE`
    /// is not exported: only the shell that the test itself started has it.
    fn say(&mut self, command: &str) -> Result<Reply, String> {
        const MARK: &str = "@that-was-it";
        let before = match command.contains("$?") {
            true => format!("(exit {})\n", self.status),
            false => String::new(),
        };
        let question = format!("printf '\\n{MARK} %s %s %s\\n' $? $EUID ${{OUTSIDE-inside}}");
        writeln!(self.input, "{before}{command}\n{question}")
            .map_err(|error| format!("{command}: {error}"))?;
        let mut bytes = Vec::new();
        loop {
            let said = text(&bytes);
            if let Some((output, answer)) = said.rsplit_once(MARK)
                && let [status, euid, whose] = answer.split_whitespace().collect::<Vec<_>>()[..]
                && answer.ends_with('\n')
            {
                self.euid = euid.to_owned();
                self.status = status.parse().unwrap_or(-1);
                return Ok(Reply {
                    lines: output.trim_end().lines().map(str::to_owned).collect(),
                    status: self.status,
                    is_outside: whose == "outside",
                });
            }
            match self.output.recv_timeout(PATIENCE) {
                Ok(more) => bytes.extend(more),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("`{command}` says no more after {said}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("`{command}` ended the shell after {said}"));
                }
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the page calls the things that differ from reader to reader.
struct Placeholders {
    ids: [String; 2],
    name: String,
    host: String,
    folder: String,
}

impl Placeholders {
    fn fit(&self, page: &[String], program: &[String]) -> bool {
        match (page, program) {
            ([], _) => program.is_empty(),
            ([any, page @ ..], _) if any.trim() == "…" => {
                (0..=program.len()).any(|skip| self.fit(page, &program[skip..]))
            }
            ([line, page @ ..], [said, program @ ..]) => {
                self.line(&squeeze(line), &squeeze(said)) && self.fit(page, program)
            }
            _ => false,
        }
    }

    fn line(&self, page: &str, said: &str) -> bool {
        if let Some(page) = page.strip_prefix('…') {
            return said
                .char_indices()
                .map(|(at, _)| at)
                .chain([said.len()])
                .any(|at| self.line(page, &said[at..]));
        }
        // Somebody without an entry in /etc/passwd has a number and no name.
        if let Some(rest) = page.strip_prefix("(ann)")
            && self.line(rest, said)
        {
            return true;
        }
        let [uid, gid] = &self.ids;
        let stand_ins = [
            ("/home/ann/isorecipe", &self.folder),
            ("1000", uid),
            ("1000", gid),
            ("ann", &self.name),
            ("laptop", &self.host),
        ];
        for (name, real) in stand_ins {
            if let (Some(page), Some(said)) =
                (page.strip_prefix(name), said.strip_prefix(real.as_str()))
                && self.line(page, said)
            {
                return true;
            }
        }
        match (page.chars().next(), said.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => self.line(&page[a.len_utf8()..], &said[b.len_utf8()..]),
            _ => false,
        }
    }
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The page's ordinary user: whoever runs the tests, but never root.
fn reader_id(which: &str) -> String {
    match is_root() {
        true => ORDINARY.to_string(),
        false => text(&run(Command::new("id").arg(which)).stdout)
            .trim()
            .to_owned(),
    }
}

fn reader_name() -> String {
    let id = reader_id("-u");
    let found = Command::new("id").args(["-un", "--", &id]).output();
    match found {
        Ok(Output { status, stdout, .. }) if status.success() => text(&stdout).trim().to_owned(),
        _ => id,
    }
}

/// A bash with the same few variables for everybody.
fn bash(scratch: &Path, folder: &Path) -> Command {
    let mut bash = Command::new("bash");
    environment(&mut bash, scratch, folder);
    bash
}

fn ordinary(scratch: &Path, folder: &Path) -> Command {
    if !is_root() {
        return bash(scratch, folder);
    }
    let id = ORDINARY.to_string();
    let mut bash = Command::new("setpriv");
    bash.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--inh-caps=-all",
        "bash",
    ]);
    environment(&mut bash, scratch, folder);
    bash
}

fn environment(command: &mut Command, scratch: &Path, folder: &Path) {
    // Debian gives its ordinary users no `sbin`.
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", scratch.display());
    command.env_clear().current_dir(folder).process_group(0);
    command.envs([
        ("PATH", path.as_str()),
        ("LANG", "C.UTF-8"),
        ("COLUMNS", "100"),
        ("SHELL", "/bin/bash"),
    ]);
    command.env("HOME", folder).env("USER", reader_name());
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
