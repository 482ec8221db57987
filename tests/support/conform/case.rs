//! A case in one line: `@shared + user: {map: root} + mount: {} + command: [./prog]`.
//!
//! What begins with `@` is the ground it stands on, what a recipe has beside
//! its layers stands as it does there, and the rest are layers. `OWN` is the
//! caller's uid, `FOLDER` the folder of the recipe, `TARGET` a place in it, or
//! the root itself once the root has changed, `PROC` its `/proc`.

use std::{fmt, path::Path};

/// What a recipe has beside its layers.
const BESIDE: &[&str] = &["command:", "cwd:", "env:", "no_new_privs:"];
const BETWEEN: &str = " + ";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case(pub Vec<String>);

impl Case {
    pub fn parse(text: &str) -> Self {
        Self(text.split(BETWEEN).map(str::to_owned).collect())
    }

    /// What is prepared before the recipe is planned.
    pub fn ground(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| part.strip_prefix('@'))
    }

    fn layers(&self) -> impl Iterator<Item = &str> {
        let parts = self.0.iter().map(String::as_str);
        parts.filter(|part| !part.starts_with('@') && !is_beside(part))
    }

    /// The recipe as a file would have it.
    pub fn recipe(&self, folder: &Path, uid: u32) -> String {
        let mut yaml = String::from("isorecipe: 1\nlayers:\n");
        let mut has_pivoted = false;
        for layer in self.layers() {
            let layer = resolve(layer, folder, uid, has_pivoted);
            yaml.push_str(&format!("  - {layer}\n"));
            has_pivoted |= layer.starts_with("pivot_root");
        }
        let mut has_command = false;
        for part in self.0.iter().filter(|part| is_beside(part)) {
            yaml.push_str(&format!("{}\n", resolve(part, folder, uid, has_pivoted)));
            has_command |= part.starts_with("command:");
        }
        if !has_command {
            yaml.push_str("command: [/bin/cat, /proc/self/status, /proc/self/limits]\n");
        }
        yaml
    }
}

fn is_beside(part: &str) -> bool {
    BESIDE.iter().any(|key| part.starts_with(key))
}

/// Before a pivot the target is in the folder, after it the root itself.
fn resolve(part: &str, folder: &Path, uid: u32, has_pivoted: bool) -> String {
    let folder = folder.display().to_string();
    let (target, proc) = match has_pivoted {
        false => (format!("{folder}/target"), "/proc"),
        true => (String::new(), "/"),
    };
    let part = part.replace("FOLDER", &folder).replace("OWN", &uid.to_string());
    let part = part.replace("TARGET/", &format!("{target}/"));
    let target = if target.is_empty() { "/".to_owned() } else { target };
    part.replace("TARGET", &target).replace("PROC", proc)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(BETWEEN))
    }
}
