//! Who an id is called: `/etc/passwd` and `/etc/group`, read by hand. A name
//! service could start threads, and a static binary has none (`nsswitch.conf(5)`).

use std::{collections::BTreeMap, fs};

/// Names of users and groups, by their ids; the first line of an id counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By user id
    pub users: BTreeMap<u32, String>,
    /// By group id
    pub groups: BTreeMap<u32, String>,
}

impl Names {
    /// Those of this machine.
    pub fn of_host() -> Self {
        let read = |path| fs::read(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    /// Reads `passwd(5)` and `group(5)`; a line that does not read as one names nobody.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: by_id(passwd), groups: by_id(group) }
    }
}

/// In both files the name comes first and the id third.
fn by_id(text: &[u8]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(id)) = (fields.next(), fields.nth(1)) else { continue };
        if let (false, Ok(id)) = (name.is_empty(), id.parse()) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_garbage_names_nobody() {
        let names = Names::parse(
            b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0\n:x:1:1\nx\n\xff:x:-1:0\nann:x:1000:1000\n",
            b"wheel:x:10:ann,root\n",
        );
        assert_eq!(names.users, [(0, "root".to_owned()), (1000, "ann".to_owned())].into());
        assert_eq!(names.groups, [(10, "wheel".to_owned())].into());
    }
}
