//! The page of figures: `tests/pages/abuse.md`.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    EXCEPTIONS,
    suite::{Mark, Marks, checks, peers::PEERS, table},
};

/// What came of whom, by the name of a column.
pub type Columns = Vec<(String, Marks)>;

pub fn write(columns: &Columns) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/abuse.md");
    fs::write(path, page(columns)).expect("the page");
}

fn page(columns: &Columns) -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut text = format!(
        "# What hostile code can do inside\n\n\
         Written by `ABUSE_PAGE=1 cargo test --test abuse` as root, on Linux {}; not by hand.\n\n\
         One program tries all of it, with each runner in front; the driver looks at it from the host. **P** it was stopped, **F** it worked, \
         **o** it worked, in a layer that the recipe does not claim, **E** it could not be tried. Other runners are held to all layers. \
         Each is run as root (`r`) and as an ordinary user without subordinate ids (`u`).\n\n",
        release.trim()
    );
    text += "| | checks | P | F | o | E |\n|---|---|---|---|---|---|\n";
    for (name, marks) in columns {
        let count = |mark| marks.values().filter(|(found, _)| *found == mark).count();
        let [p, f, o, e] = [Mark::Pass, Mark::Fail, Mark::Open, Mark::Error].map(count);
        text += &format!("| {name} | {} | {p} | {f} | {o} | {e} |\n", marks.len());
    }
    text += "\nHow the others are called (`{shown}` has the payload; runc gets what `runc spec` writes, with /usr, /etc and that folder bound read-only):\n\n```text\n";
    for peer in PEERS.iter().filter(|peer| !peer.is_wrapped) {
        text += &peer.words.split_whitespace().collect::<Vec<_>>().join(" ");
        text += "\n";
    }
    text += "```\n\nWhat our recipes fail, and why:\n\n";
    let mut known = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for exception in EXCEPTIONS {
        known.entry((exception.check, exception.why)).or_default().push(exception.recipe);
    }
    for ((check, why), recipes) in known {
        text += &format!(
            "- `{check}` ({}, as a user without subordinate ids): {why}.\n",
            recipes.join(", ")
        );
    }
    text += "\nWhat a recipe leaves open it says in its first lines.\n\n| check | what is tried | layer |";
    for (name, _) in columns {
        text += &format!(" {name} |");
    }
    text += "\n|---|---|---|";
    text += &"---|".repeat(columns.len());
    text += "\n";
    for check in checks().into_iter().flatten() {
        text += &format!("| `{}` | {} | {} |", check.name, check.tries(), check.layer());
        for (_, marks) in columns {
            let letter = marks.get(check.name).map_or("", |(mark, _)| letter(*mark));
            text += &format!(" {letter} |");
        }
        text += "\n";
    }
    text
}

fn letter(mark: Mark) -> &'static str {
    match mark {
        Mark::Pass => "P",
        Mark::Fail => "**F**",
        Mark::Open => "o",
        Mark::Error => "E",
    }
}

pub fn say(name: &str, marks: &Marks) {
    println!("{name}: {}", table::figures(marks));
}
