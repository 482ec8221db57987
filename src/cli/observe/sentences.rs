//! The same as plain sentences, one fact a line: for screen readers and logs.

use crate::observe::{
    Change, Changed, Listed, MapLine, Mount, Namespace, Overlay, ProcessView, User, View,
};

use super::{
    sheet::{Sheet, Weight, age},
    view::{self, shown},
};

pub(super) fn view(view: &View, now: u64) -> Sheet {
    let mut sheet = Sheet::default();
    match &view.sandbox {
        None => say(&mut sheet, format!("Process {} is no sandbox that isorecipe runs.", view.pid)),
        Some(sandbox) => {
            let since = age(now.saturating_sub(sandbox.began));
            let (name, pid, supervisor) = (&sandbox.name, sandbox.pid, sandbox.supervisor);
            let text = format!(
                "Sandbox {name} has run for {since}: process {pid}, with supervisor {supervisor}."
            );
            sheet.keyed_line(Weight::Plain, text, None);
            if let Some(recipe) = &sandbox.recipe {
                say(&mut sheet, format!("Its recipe is {recipe}."));
            }
            if let Some(layer) = &sandbox.paused {
                say(&mut sheet, format!("It is {}.", view::paused(layer)));
            }
        }
    }
    let hostname = &view.hostname;
    let inside = match (&hostname.sandbox, &hostname.unreadable) {
        (Some(name), _) => name.clone(),
        (None, why) => format!("not to be read ({})", why.as_deref().unwrap_or("nobody knows why")),
    };
    say(&mut sheet, format!("The hostname is {} on the host and {inside} inside.", hostname.host));
    ids(&mut sheet, "User", &view.ids.uid);
    ids(&mut sheet, "Group", &view.ids.gid);
    view.namespaces.iter().for_each(|found| namespace(&mut sheet, found));
    view.parent.iter().for_each(|parent| process(&mut sheet, parent));
    view.processes.iter().for_each(|found| process(&mut sheet, found));
    mounts(&mut sheet, "Only the sandbox", &view.mounts.added);
    mounts(&mut sheet, "Only the host", &view.mounts.gone);
    view.overlays.iter().for_each(|found| overlay(&mut sheet, found));
    sheet
}

pub(super) fn list(sandboxes: &[Listed], now: u64) -> Sheet {
    let mut sheet = Sheet::default();
    for listed in sandboxes {
        let sandbox = &listed.sandbox;
        let own = match &listed.own {
            Some(own) if own.is_empty() => "no namespaces of its own".to_owned(),
            Some(own) => format!("its own {} namespaces", own.join(", ")),
            None => "namespaces that may not be read".to_owned(),
        };
        let paused = sandbox.paused.as_ref();
        let paused = paused.map_or(String::new(), |layer| format!(", is {}", view::paused(layer)));
        let (name, pid, command) = (&sandbox.name, sandbox.pid, &listed.command);
        let key = format!("{name} {pid}{paused}{own}{command}");
        let since = age(now.saturating_sub(sandbox.began));
        let text = format!(
            "Sandbox {name} has run for {since}, has {own}{paused}; process {pid} is: {command}"
        );
        sheet.keyed_line(Weight::Plain, text, Some(key));
    }
    sheet
}

fn say(sheet: &mut Sheet, text: String) {
    sheet.line(Weight::Plain, text);
}

fn ids(sheet: &mut Sheet, what: &str, lines: &[MapLine]) {
    if lines.is_empty() {
        say(sheet, format!("{what} ids are not mapped: inside, all look like nobody."));
    }
    for line in lines {
        let called = |name: &Option<String>| {
            name.as_ref().map_or(String::new(), |name| format!(" ({name})"))
        };
        let (inside, outside) = (called(&line.inside_name), called(&line.outside_name));
        let count = match line.count {
            1 => String::new(),
            count => format!(", and so on for {count} ids"),
        };
        say(
            sheet,
            format!(
                "{what} id {}{inside} inside is {}{outside} on the host{count}.",
                line.inside, line.outside
            ),
        );
    }
}

fn namespace(sheet: &mut Sheet, namespace: &Namespace) {
    let kind = namespace.kind;
    let number = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
    let (host, own) = (number(namespace.host), number(namespace.sandbox));
    match namespace.own {
        true => {
            say(sheet, format!("The {kind} namespace is its own: {own}; the host's is {host}."))
        }
        false => say(sheet, format!("The {kind} namespace is shared with the host: {own}.")),
    }
    if let Some(number) = namespace.for_children {
        say(sheet, format!("Its next children get another {kind} namespace: {number}."));
    }
}

fn process(sheet: &mut Sheet, process: &ProcessView) {
    let called = |user: &User| match &user.name {
        Some(name) => format!("{} ({name})", user.uid),
        None => user.uid.to_string(),
    };
    let outside = called(&process.outside);
    let (pid, command) = (process.host_pid, &process.command);
    match (&process.inside, process.inside_pid) {
        (Some(inside), Some(inside_pid)) => {
            let inside = called(inside);
            say(
                sheet,
                format!(
                    "Process {pid} of user {outside} on the host is process {inside_pid} of user {inside} inside: {command}"
                ),
            );
        }
        _ => say(
            sheet,
            format!("Process {pid} of user {outside} on the host is their parent: {command}"),
        ),
    }
}

fn mounts(sheet: &mut Sheet, who: &str, mounts: &[Mount]) {
    for mount in mounts {
        say(sheet, format!("{who} has at {}: {}.", mount.at, shown(mount)));
    }
}

fn overlay(sheet: &mut Sheet, overlay: &Overlay) {
    let at = &overlay.at;
    match (&overlay.upper, &overlay.unreadable) {
        (None, _) => say(sheet, format!("Changes at {at} are in memory of the sandbox.")),
        (Some(upper), Some(why)) => {
            say(
                sheet,
                format!("Changes at {at}, in {upper}, {}: {why}.", overlay.how_unreadable()),
            );
        }
        (Some(upper), None) if overlay.changes.is_empty() => {
            say(sheet, format!("Nothing was changed at {at}, in {upper}."));
        }
        _ => {}
    }
    for Change { path, change, from } in &overlay.changes {
        let became = match change {
            Changed::Added => "added",
            Changed::Modified => "modified",
            Changed::Deleted => "deleted",
            Changed::Renamed => "renamed from",
            Changed::AddedOrModified => "added or modified",
        };
        let from = from.as_ref().map_or(String::new(), |from| format!(" {from}"));
        say(sheet, format!("At {at}, {path} was {became}{from}."));
    }
    if overlay.further > 0 {
        say(sheet, format!("At {at}, {} more were changed.", overlay.further));
    }
}
