//! What the pages of `isorecipe explain` tell people to type: typed, by an ordinary user, and answered as shown.

#[path = "support/machine.rs"]
mod machine;
#[path = "readme/page.rs"]
#[allow(dead_code)]
mod page;

use std::{
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use isorecipe::{
    explain::{Block, CodePage, Page, Section},
    layers::Layer,
};
use machine::{Desk, Who, own_uid};
use page::{Exchange, Placeholders, exchanges};

/// What the pages' own root directory has in it.
const PROGRAMS: [&str; 6] = ["bash", "id", "ls", "umount", "rmdir", "touch"];

/// What the pages use, and the package that has it.
const TOOLS: [(&str, &str); 10] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("findmnt", "util-linux"),
    ("pivot_root", "util-linux"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("ps", "procps"),
    ("hostname", "hostname"),
    ("domainname", "hostname"),
    ("ip", "iproute2"),
];

/// Said between two commands, with the id of who typed them.
const MARK: &str = "-- next";

#[test]
fn what_is_done_by_hand_can_be_done_by_hand() {
    let wrong = each_page(|desk, page| {
        blocks(page, "console").iter().flat_map(|block| compare(shell(desk), block)).collect()
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_shows_a_code_shows_it() {
    let desk = Desk::of(Who::ordinary());
    let mut wrong = String::new();
    let mut found = 0;
    for page in CodePage::all() {
        for block in code_blocks(&page.sections, "console") {
            found += 1;
            for difference in compare(shell(&desk), &block) {
                wrong += &format!("\n{}:\n{difference}", page.code);
            }
        }
    }
    assert!(wrong.is_empty() && found > 4, "{wrong}");
}

#[test]
fn what_is_seen_from_inside_is_seen_from_inside() {
    let wrong = each_page(|desk, page| {
        let sandbox = || desk.command(&["apply", "page.yaml"]);
        blocks(page, "console inside").iter().flat_map(|block| compare(sandbox(), block)).collect()
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_seen_from_the_host_is_seen_from_the_host() {
    let wrong = each_page(|desk, page| {
        let done: Vec<String> = (blocks(page, "console inside").iter())
            .flat_map(|block| exchanges(block).expect("a block").into_iter())
            .map(|exchange| exchange.command)
            .collect();
        // What is to be seen may have been made from inside.
        let running = desk.start("page.yaml", &format!("said=$(exec 2>&1; {})", done.join("\n")));
        let host = || {
            let mut host = shell(desk);
            host.env("sandbox", running.command().to_string());
            host
        };
        let wrong = blocks(page, "console host").into_iter();
        let wrong = wrong.flat_map(|block| compare(host(), &block)).collect();
        running.finish();
        wrong
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_namespace_of_which_two_numbers_are_shown_is_the_sandboxs_own() {
    for (layer, kind) in [
        ("user", "user"),
        ("uts", "uts"),
        ("pid", "pid"),
        ("mount", "mnt"),
        ("ipc", "ipc"),
        ("net", "net"),
        ("cgroup", "cgroup"),
    ] {
        let desk = desk_for(&page(layer));
        let running = desk.start("page.yaml", "");
        let own = machine::namespace(std::process::id() as i32, kind);
        assert_ne!(machine::namespace(running.command(), kind), own, "{layer}.md");
        running.finish();
    }
}

#[test]
fn what_a_page_says_is_not_isolated_is_not() {
    let desk = Desk::of(Who::ordinary());
    let own = std::process::id();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let look = format!("test -d /proc/{own} && echo yes");
    let root = "user: {map: root}";
    for (layers, inside, answer) in [
        (format!("[{root}, uts]"), "uname -r", kernel.as_str()),
        (format!("[{root}]"), "touch of-user && stat -c %u .", "0\n"),
        (format!("[{root}, mount]"), "touch of-mount && echo yes", "yes\n"),
        // The old /proc is still there.
        (format!("[{root}, pid]"), look.as_str(), "yes\n"),
        // A device is written to, though nothing can be changed.
        (
            format!("[{root}, mount, bind: {{from: /dev, to: /mnt, read_only: true}}]"),
            "echo > /mnt/null && echo yes",
            "yes\n",
        ),
    ] {
        desk.write("open.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
        let ran = desk.run(&["apply", "open.yaml", "--", "bash", "-c", inside]);
        assert_eq!(ran.out(), answer, "{layers}: {}", ran.err());
    }
    assert!(desk.path("of-user").exists() && desk.path("of-mount").exists(), "on the host as well");
}

#[test]
fn a_wrong_answer_is_noticed() {
    let desk = Desk::of(Who::ordinary());
    let wrong = |lines: &[&str]| compare(shell(&desk), lines).len();
    assert_eq!(wrong(&["$ echo one", "one", "$ id -u", "1000"]), 0);
    assert_eq!(wrong(&["$ echo one", "two"]), 1, "another answer");
    assert_eq!(wrong(&["$ true", "one"]), 1, "no answer");
    assert_eq!(wrong(&["# echo one", "one"]), 1, "the prompt of root");
    assert_eq!(wrong(&["$ exit", "$ echo one", "one"]), 1, "no shell");
}

/// What is wrong with the pages, each with a desk of its own.
fn each_page(check: impl Fn(&Desk, &Page) -> Vec<String>) -> String {
    let mut wrong = String::new();
    for name in Layer::NAMES {
        let page = page(name);
        for found in check(&desk_for(&page), &page) {
            wrong += &format!("\n{name}.md:\n{found}");
        }
    }
    wrong
}

fn page(layer: &str) -> Page {
    Page::of(layer).expect("a page")
}

/// A folder with the recipe of the page, and the root directory that it may need.
fn desk_for(page: &Page) -> Desk {
    for (tool, package) in TOOLS {
        let is_there = |folder: &&str| Path::new("/usr").join(folder).join(tool).exists();
        let found = ["bin", "sbin"].iter().any(is_there);
        assert!(found, "{tool} is missing: `sudo apt-get install {package}`");
    }
    let desk = Desk::of(Who::ordinary());
    let recipe = page.sections.iter().find_map(|section| section.recipe()).expect("a recipe");
    desk.write("page.yaml", &recipe);
    if recipe.contains("rootfs") {
        desk.make_rootfs("rootfs", &PROGRAMS);
    }
    desk
}

fn blocks(page: &Page, wanted: &str) -> Vec<Vec<&'static str>> {
    let found = code_blocks(&page.sections, wanted);
    assert!(!found.is_empty(), "{}.md has no `{wanted}`", page.layer);
    found
}

fn code_blocks(sections: &[Section], wanted: &str) -> Vec<Vec<&'static str>> {
    let blocks = sections.iter().flat_map(|section| section.blocks());
    let lines = |block| match block {
        Block::Code { kind, lines } if kind == wanted => Some(lines),
        _ => None,
    };
    blocks.filter_map(lines).collect()
}

/// A shell of an ordinary user on the host.
fn shell(desk: &Desk) -> Command {
    let plain = desk.command(&[]);
    let mut shell = Command::new("bash");
    shell.current_dir(desk.folder()).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", desk.folder().display());
    shell.env("PATH", path);
    if own_uid() == 0 {
        shell.uid(desk.who.uid()).gid(desk.who.gid());
    }
    shell
}

/// Types what a block says, and tells what was answered otherwise.
fn compare(mut shell: Command, block: &[&str]) -> Vec<String> {
    let exchanges = exchanges(block).expect("a block begins with a command");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    shell.stdin(Stdio::piped()).stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let mut child = shell.spawn().expect("a shell");
    // Its own ends of the pipe go, or there would be no end to read.
    drop(shell);
    let mut input = child.stdin.take().expect("a pipe");
    for exchange in &exchanges {
        let line = format!("echo \"{MARK} $EUID\"\n{}\n", exchange.command);
        // A shell that has ended reads no more, which is seen by its silence.
        let _ = input.write_all(line.as_bytes());
    }
    drop(input);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("text");
    child.wait().expect("an end");
    let answers: Vec<&str> = said.split(MARK).skip(1).collect();
    let names = placeholders();
    let wrong = exchanges.iter().enumerate().filter_map(|(index, exchange)| {
        let answer = answers.get(index).copied().unwrap_or("nobody\n");
        let (who, answer) = answer.split_once('\n').unwrap_or((answer, ""));
        let lines: Vec<String> = answer.lines().map(str::to_owned).collect();
        let fits = is_prompt_of(exchange, who.trim()) && names.fit(&exchange.output, &lines);
        let Exchange { prompt, command, output } = exchange;
        (!fits).then(|| {
            let shown = output.join("\n");
            format!("{prompt} {command}\n--- the page\n{shown}\n--- the shell of {who}\n{answer}")
        })
    });
    wrong.collect()
}

fn is_prompt_of(exchange: &Exchange, euid: &str) -> bool {
    euid.parse::<u32>().is_ok_and(|euid| (euid == 0) == (exchange.prompt == '#'))
}

/// What the pages call the things that differ from machine to machine.
fn placeholders() -> Placeholders {
    let who = Who::ordinary();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    Placeholders {
        ids: [who.uid().to_string(), who.gid().to_string()],
        name: "ann".to_owned(),
        host: host.trim().to_owned(),
        folder: "/home/ann/isorecipe".to_owned(),
    }
}
