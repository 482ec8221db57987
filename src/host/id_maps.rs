//! The ids of the user namespace that the caller is in already
//! (`user_namespaces(7)`).

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The ids of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdMaps {
    /// `/proc/self/uid_map`
    pub uid: Vec<IdLine>,
    /// `/proc/self/gid_map`
    pub gid: Vec<IdLine>,
    /// Whether `/proc/self/setgroups` says `allow`
    pub setgroups: Option<bool>,
}

/// A line of a map: first id inside, first id outside, how many.
pub type IdLine = (u32, u32, u32);

pub(super) fn probe() -> Option<IdMaps> {
    let read = |file: &str| fs::read_to_string(file).ok();
    Some(IdMaps {
        uid: lines(&read("/proc/self/uid_map")?),
        gid: lines(&read("/proc/self/gid_map")?),
        setgroups: read("/proc/self/setgroups").map(|text| text.trim() == "allow"),
    })
}

/// A line that does not read as one is left out.
fn lines(text: &str) -> Vec<IdLine> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_three_numbers_a_line() {
        let text = "         0       1000          1\n         1     100000      65536\nx\n";
        assert_eq!(lines(text), [(0, 1000, 1), (1, 100_000, 65_536)]);
    }
}
