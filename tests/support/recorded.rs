//! Machines that were recorded, to plan for.

use std::{fs, path::Path};

use isorecipe::host::Host;

use super::program::folder_of_tests;

/// Where the recipes of such a machine are.
pub const FOLDER: &str = "/home/ann";

/// A recorded host, with the recipe's folder where `ann` lives.
pub fn host(name: &str) -> Host {
    let file = folder_of_tests().join(format!("hosts/{name}.json"));
    let text = fs::read_to_string(file).expect("a recorded host");
    let mut host: Host = serde_json::from_str(&text).expect("a host");
    let folder = Path::new(FOLDER);
    let paths = std::mem::take(&mut host.paths).into_iter();
    host.paths =
        paths.map(|(path, fact)| (folder.join(path).components().collect(), fact)).collect();
    host
}
