//! What Landlock leaves to the command, in words.

use std::path::Path;

use crate::{
    model::{Model, Ruleset},
    sys::landlock::{files, scope, tcp},
};

use super::within;

/// What each ruleset allows of what it forbids otherwise.
pub(super) fn lines(model: &Model, folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for Ruleset { handled, paths, ports } in &model.process.rulesets {
        let kinds = [("read", files::READ), ("write", files::WRITE), ("execute", files::EXECUTE)];
        for (verb, access) in kinds.into_iter().filter(|(_, access)| handled.files & access != 0) {
            let allowed = paths.iter().filter(|rule| rule.access & access != 0);
            let mut allowed: Vec<String> =
                allowed.map(|rule| within(folder, &rule.path.display().to_string())).collect();
            allowed.sort();
            allowed.dedup();
            lines.push(format!("lets it {verb} {}", none_or(allowed)));
        }
        let kinds = [("bind TCP ports", tcp::BIND), ("connect to TCP ports", tcp::CONNECT)];
        for (verb, access) in kinds.into_iter().filter(|(_, access)| handled.tcp & access != 0) {
            let allowed = ports.iter().filter(|(_, allowed)| allowed & access != 0);
            let allowed = allowed.map(|(port, _)| port.to_string()).collect();
            lines.push(format!("lets it {verb}: {}", none_or(allowed)));
        }
        let kinds = [
            ("no signal of it reaches processes outside", scope::SIGNAL),
            ("no abstract socket outside is reached", scope::ABSTRACT_UNIX_SOCKET),
        ];
        let kinds = kinds.into_iter().filter(|(_, kind)| handled.scope & kind != 0);
        lines.extend(kinds.map(|(what, _)| what.to_owned()));
    }
    lines
}

fn none_or(allowed: Vec<String>) -> String {
    match allowed.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{}, and nothing else", allowed.join(", ")),
    }
}
