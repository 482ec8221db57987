//! One sandbox to look at: the host on the left, the sandbox on the right.

use crate::observe::{MapLine, ProcessView, User, View};

use super::sheet::{Pen, Sheet, Weight, age, cell, widest};

/// More mounts of the host than these are summed up when they are gone.
const MOST_GONE: usize = 6;

/// A row of the first table: what, on the host, in the sandbox, a note.
struct Row {
    what: String,
    host: String,
    sandbox: String,
    note: String,
    weight: Weight,
}

pub(super) fn sheet(view: &View, now: u64, pen: Pen) -> Sheet {
    let mut sheet = Sheet::default();
    title(&mut sheet, view, now);
    sides(&mut sheet, view);
    processes(&mut sheet, view, pen);
    mounts(&mut sheet, view);
    overlays(&mut sheet, view);
    sheet
}

fn title(sheet: &mut Sheet, view: &View, now: u64) {
    let Some(sandbox) = &view.sandbox else {
        sheet.keyed_line(Weight::Strong, format!("process {}", view.pid), None);
        sheet.keyed_line(Weight::Faint, "no sandbox that isorecipe runs", None);
        return;
    };
    sheet.keyed_line(Weight::Strong, sandbox.name.clone(), None);
    let recipe = sandbox.recipe.as_ref().map_or(String::new(), |path| format!("{path}, "));
    let since = age(now.saturating_sub(sandbox.began));
    sheet.keyed_line(Weight::Faint, format!("{recipe}for {since}"), None);
    if let Some(layer) = &sandbox.paused {
        sheet.line(Weight::Strong, paused(layer));
    }
}

/// Where it waits: after a layer, or before any.
pub(super) fn paused(layer: &str) -> String {
    match layer {
        "" => "paused before the first layer".to_owned(),
        layer => format!("paused after the layer {layer}"),
    }
}

fn sides(sheet: &mut Sheet, view: &View) {
    let mut rows = Vec::new();
    let hostname = view.hostname.sandbox.clone();
    rows.push(Row {
        what: "hostname".to_owned(),
        host: view.hostname.host.clone(),
        note: view.hostname.unreadable.clone().unwrap_or_default(),
        sandbox: hostname.unwrap_or_else(|| "cannot be read".to_owned()),
        weight: Weight::Plain,
    });
    ids(&mut rows, "uid", &view.ids.uid);
    ids(&mut rows, "gid", &view.ids.gid);
    if let Some(setgroups) = &view.ids.setgroups {
        rows.push(Row {
            what: "setgroups".to_owned(),
            host: String::new(),
            sandbox: setgroups.clone(),
            note: String::new(),
            weight: Weight::Plain,
        });
    }
    for namespace in &view.namespaces {
        let number = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
        let for_children =
            namespace.for_children.map_or(String::new(), |n| format!(", its next children {n}"));
        let note = if namespace.own { "own" } else { "shared" };
        rows.push(Row {
            what: namespace.kind.to_owned(),
            host: number(namespace.host),
            sandbox: number(namespace.sandbox),
            note: format!("{note}{for_children}"),
            weight: if namespace.own { Weight::Plain } else { Weight::Faint },
        });
    }
    let column = |get: fn(&Row) -> &str, least| widest(rows.iter().map(get)).max(least);
    let what = column(|row| &row.what, 9);
    let (host, sandbox) = (column(|row| &row.host, 10), column(|row| &row.sandbox, 10));
    let head = [cell("", what), cell("HOST", host), cell("SANDBOX", sandbox)].join("  ");
    sheet.heading(head.trim_end());
    for row in &rows {
        let cells = [cell(&row.what, what), cell(&row.host, host), cell(&row.sandbox, sandbox)];
        sheet.line(row.weight, format!("{}  {}", cells.join("  "), row.note).trim_end());
    }
}

fn ids(rows: &mut Vec<Row>, what: &str, lines: &[MapLine]) {
    let mut row = |host, sandbox, weight| {
        let note = String::new();
        rows.push(Row { what: what.to_owned(), host, sandbox, note, weight });
    };
    match lines {
        [] => row("not mapped".to_owned(), "all look like nobody".to_owned(), Weight::Plain),
        [MapLine { inside: 0, outside: 0, count: u32::MAX, .. }] => {
            row("all".to_owned(), "the same".to_owned(), Weight::Faint);
        }
        lines => {
            for line in lines {
                let host = range(line.outside, line.count, line.outside_name.as_deref());
                let sandbox = range(line.inside, line.count, line.inside_name.as_deref());
                row(host, sandbox, Weight::Plain);
            }
        }
    }
}

fn range(first: u32, count: u32, name: Option<&str>) -> String {
    match (count, name) {
        (1, Some(name)) => format!("{first} {name}"),
        (1, None) => first.to_string(),
        (count, _) => format!("{first}-{}", first.saturating_add(count.saturating_sub(1))),
    }
}

fn processes(sheet: &mut Sheet, view: &View, pen: Pen) {
    let all: Vec<&ProcessView> = view.parent.iter().chain(&view.processes).collect();
    let outside = |process: &ProcessView| called(&process.outside);
    let inside =
        |process: &ProcessView| process.inside.as_ref().map_or(pen.nothing().to_owned(), called);
    let outside_width =
        widest(all.iter().map(|p| outside(p)).collect::<Vec<_>>().iter().map(String::as_str))
            .max(4);
    let inside_width =
        widest(all.iter().map(|p| inside(p)).collect::<Vec<_>>().iter().map(String::as_str)).max(4);
    sheet.heading(format!(
        "{:>8}  {}  {:>7}  {}  COMMAND",
        "HOST PID",
        cell("USER", outside_width),
        "PID",
        cell("USER", inside_width)
    ));
    for process in &all {
        let pid = process.inside_pid.map_or(pen.nothing().to_owned(), |pid| pid.to_string());
        let depth = depth(process, &all);
        let weight = if process.inside.is_some() { Weight::Plain } else { Weight::Faint };
        sheet.line(
            weight,
            format!(
                "{:>8}  {}  {pid:>7}  {}  {}{}",
                process.host_pid,
                cell(&outside(process), outside_width),
                cell(&inside(process), inside_width),
                pen.branch(depth),
                process.command
            ),
        );
    }
}

fn depth(process: &ProcessView, all: &[&ProcessView]) -> usize {
    let mut depth = 0;
    let mut parent = process.parent;
    while let Some(above) = all.iter().find(|other| other.host_pid == parent) {
        depth += 1;
        parent = above.parent;
        if depth >= all.len() {
            break;
        }
    }
    depth
}

pub(super) fn called(user: &User) -> String {
    match &user.name {
        Some(name) => name.clone(),
        None => user.uid.to_string(),
    }
}

fn mounts(sheet: &mut Sheet, view: &View) {
    let mounts = &view.mounts;
    sheet.heading("MOUNTS THAT DIFFER");
    if mounts.added.is_empty() && mounts.gone.is_empty() {
        sheet.line(Weight::Faint, "none");
    }
    let width = widest(mounts.added.iter().map(|mount| mount.at.as_str())).min(30);
    for mount in &mounts.added {
        sheet.line(Weight::Plain, format!("+ {}  {}", cell(&mount.at, width), shown(mount)));
    }
    let count = mounts.gone.len();
    if mounts.common == 0 && count > 0 {
        sheet.line(Weight::Plain, format!("- all of the host's {count}"));
        return;
    }
    if count > MOST_GONE {
        let places: Vec<&str> = mounts.gone.iter().map(|mount| mount.at.as_str()).collect();
        sheet.line(Weight::Plain, format!("- {count} of the host's: {}", places.join(" ")));
        return;
    }
    for mount in &mounts.gone {
        let at = cell(&mount.at, width);
        sheet.line(Weight::Plain, format!("- {at}  {} of the host", mount.filesystem));
    }
}

/// What is mounted, and how.
pub(super) fn shown(mount: &crate::observe::Mount) -> String {
    let options = mount.options.join(",");
    let part = if mount.root == "/" { String::new() } else { format!(" {}", mount.root) };
    let lower = match mount.lower.as_slice() {
        [] => String::new(),
        lower => format!(" lower {}", lower.join(" ")),
    };
    let upper = mount.upper.as_ref().map_or(String::new(), |upper| format!(" upper {upper}"));
    format!("{}{part} ({options}){lower}{upper}", mount.filesystem)
}

fn overlays(sheet: &mut Sheet, view: &View) {
    for overlay in &view.overlays {
        let upper = overlay.upper.as_deref().unwrap_or("memory of the sandbox");
        sheet.heading(format!("CHANGES IN {upper}, upper of {}", overlay.at));
        if let Some(why) = &overlay.unreadable {
            sheet.line(Weight::Plain, format!("{}: {why}", overlay.how_unreadable()));
        } else if overlay.upper.is_none() {
            sheet.line(Weight::Faint, "only the sandbox can see them");
        } else if overlay.changes.is_empty() {
            sheet.line(Weight::Faint, "none");
        }
        for change in &overlay.changes {
            let from = change.from.as_ref().map_or(String::new(), |from| format!(", was {from}"));
            let line = format!("{} {}{from}", change.change.letter(), change.path);
            sheet.line(Weight::Plain, line);
        }
        if overlay.further > 0 {
            sheet.line(Weight::Plain, format!("and {} more", overlay.further));
        }
    }
}
