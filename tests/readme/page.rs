//! README.md: its blocks, what is typed in them, and whether an output is the one shown.

/// A fenced block, with the heading and the line of text that it stands under.
pub struct Block<'a> {
    pub line: usize,
    pub kind: &'a str,
    pub body: Vec<&'a str>,
    pub heading: &'a str,
    pub above: &'a str,
}

pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut heading, mut above) = (Vec::new(), "", "");
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push(Block { line: number + 1, kind, body, heading, above });
        } else if line.starts_with('#') {
            heading = line;
        } else if !line.is_empty() {
            above = line;
        }
    }
    blocks
}

/// A command, and the output that the page shows for it.
pub struct Exchange {
    pub prompt: char,
    pub command: String,
    pub output: Vec<String>,
}

pub fn exchanges(body: &[&str]) -> Result<Vec<Exchange>, String> {
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
pub fn as_built(command: &str) -> String {
    command.replace("cargo run --release --", "isorecipe")
}

/// What the page calls the things that differ from reader to reader.
pub struct Placeholders {
    pub ids: [String; 2],
    pub name: String,
    pub host: String,
    pub folder: String,
}

impl Placeholders {
    pub fn fit(&self, page: &[String], program: &[String]) -> bool {
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

pub fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
