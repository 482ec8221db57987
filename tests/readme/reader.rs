//! Whoever follows the page, block by block.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    TOOLS,
    console::Console,
    page::{Block, Placeholders, as_built, exchanges},
    person::{is_root, ordinary, reader_id, reader_name, run, text},
};

/// Whoever follows the page.
pub struct Reader {
    scratch: PathBuf,
    folder: PathBuf,
    consoles: [Console; 2],
    page: Placeholders,
    /// The heading under which root was needed and not to be had.
    stopped: String,
}

impl Reader {
    pub fn new(scratch: &Path) -> Self {
        if is_root() {
            run(Command::new("hostname").arg("laptop"));
        }
        let folder = scratch.join("isorecipe");
        let page = Placeholders {
            ids: [reader_id("-u"), reader_id("-g")],
            name: reader_name(),
            host: text(&run(&mut Command::new("hostname")).stdout).trim().to_owned(),
            folder: folder.display().to_string(),
        };
        let console = || Console::new(&mut ordinary(scratch, &folder));
        Self {
            consoles: [console(), console()],
            scratch: scratch.to_owned(),
            folder,
            page,
            stopped: String::new(),
        }
    }

    pub fn check(&mut self, block: &Block) -> Result<&'static str, String> {
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
        if output.status.success() { Ok("") } else { Err(text(&output.stderr)) }
    }

    fn script(&self, block: &Block) -> Result<&'static str, String> {
        let mut script = String::new();
        for line in &block.body {
            if let Some(packages) = line.strip_prefix("sudo apt-get install") {
                let lacks = |package: &str| !packages.split(' ').any(|word| word == package);
                if let Some((tool, package)) = TOOLS.iter().find(|(_, package)| lacks(package)) {
                    return Err(format!("`{tool}` is used, and `{package}` is not in that line"));
                }
            } else if *line != "cargo test" {
                script += &format!("{}\n", as_built(line));
            }
        }
        let output = ordinary(&self.scratch, &self.folder).args(["-ec", &script]).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(""),
            false => {
                Err(format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
            }
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
            let mut reply = console.say(command)?;
            // A sandbox is listed a moment after it began: before a person has changed the window, but not before this one.
            for _ in 0..500 {
                if reply.status == 0 || !command.starts_with("isorecipe observe ") {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
                reply = console.say(command)?;
            }
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
