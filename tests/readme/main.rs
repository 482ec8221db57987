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
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitCode},
};

use page::blocks;
use person::{ORDINARY, is_root, text};
use reader::Reader;

mod console;
mod page;
mod person;
mod reader;

/// Tools that the page's blocks use, with the packages that have them.
const TOOLS: [(&str, &str); 22] = [
    ("fallocate", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("hostname", "hostname"),
    ("ip", "iproute2"),
    ("pgrep", "procps"),
    ("ps", "procps"),
    ("mkfs.xfs", "xfsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("squashfuse", "squashfuse"),
    ("mkfs.erofs", "erofs-utils"),
    ("debugfs", "e2fsprogs"),
    ("fuse2fs", "fuse2fs"),
    ("perl", "perl-base"),
    ("setcap", "libcap2-bin"),
    ("mke2fs", "e2fsprogs"),
    ("bwrap", "bubblewrap"),
    ("runc", "runc"),
    ("cc", "gcc"),
];

/// Set in the run that reads the page: its scratch folder.
const INSIDE: &str = "ISORECIPE_README_SCRATCH";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("readme: test");
        return ExitCode::SUCCESS;
    }
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
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
        if !["bin", "sbin"].iter().any(|bin| Path::new("/usr").join(bin).join(tool).exists()) {
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
    let status = inside.env(INSIDE, scratch.path()).status().expect("unshare starts");
    // overlayfs leaves a folder in `work` that not even its owner may enter.
    let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(scratch.path()).output();
    let path = scratch.path().to_owned();
    let mine = |trace: &String| trace.contains(path.to_str().expect("a readable path"));
    let left: Vec<_> =
        traces().into_iter().filter(|trace| !before.contains(trace) && mine(trace)).collect();
    scratch.close().expect("the scratch folder can be removed");
    if !left.is_empty() {
        println!("left behind: {left:#?}");
        return ExitCode::FAILURE;
    }
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Mounts and loop devices.
fn traces() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let loops = Command::new("losetup").args(["--all", "--list", "--noheadings"]).output();
    let loops = text(&loops.expect("losetup starts").stdout);
    mounts.lines().chain(loops.lines()).map(str::to_owned).collect()
}

/// `SCRATCH/bin/isorecipe`, and `SCRATCH/isorecipe/recipes` as in a fresh clone.
fn furnish(scratch: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = scratch.join("isorecipe/recipes");
    fs::create_dir_all(scratch.join("bin")).expect("a folder");
    fs::create_dir_all(&recipes).expect("a folder");
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("own folder");
    fs::copy(env!("CARGO_BIN_EXE_isorecipe"), scratch.join("bin/isorecipe"))
        .expect("a built binary");
    for entry in fs::read_dir(repository.join("recipes")).expect("recipes").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
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
            Ok(remark) => println!("test README.md:{} {} ... ok{remark}", block.line, block.kind),
            Err(difference) => {
                println!("test README.md:{} {} ... FAILED\n\n{difference}", block.line, block.kind);
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
