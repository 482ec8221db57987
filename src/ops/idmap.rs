//! Lines of a `uid_map` or `gid_map`, as every writer of them needs them
//! (`user_namespaces(7)`).

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Extent, IdMap, Model, UserNamespace, capability},
    sys::{Call, Fault, look},
};

use super::Stage;

/// Which of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// `uid_map`
    User,
    /// `gid_map`
    Group,
}

impl Ids {
    /// The file in `/proc/PID/`.
    pub fn file(self) -> &'static str {
        match self {
            Ids::User => "uid_map",
            Ids::Group => "gid_map",
        }
    }

    pub(super) fn call(self) -> Call {
        match self {
            Ids::User => Call::WriteUidMap,
            Ids::Group => Call::WriteGidMap,
        }
    }

    /// The set-user-ID program that writes it.
    pub fn helper(self) -> &'static str {
        match self {
            Ids::User => "newuidmap",
            Ids::Group => "newgidmap",
        }
    }

    pub(super) fn capability(self) -> u32 {
        match self {
            Ids::User => capability::SETUID,
            Ids::Group => capability::SETGID,
        }
    }

    /// The map of a namespace.
    pub fn of(self, namespace: &UserNamespace) -> &IdMap {
        match self {
            Ids::User => &namespace.uids,
            Ids::Group => &namespace.gids,
        }
    }
}

/// One line of a map, as the kernel reads it: ids outside are the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// First id inside
    pub inside: u32,
    /// First id outside
    pub outside: u32,
    /// How many
    pub count: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// Whether the map of the child's user namespace has these lines, in whatever
/// order, and no others: as many numbers as were written, in threes.
pub(super) fn is_written(stage: &Stage, ids: Ids, lines: &[Line], by: Call) -> Result<(), Fault> {
    let failed = |errno| Call::Look.gave(errno);
    let file = stage.open_own(ids.file()).map_err(failed)?;
    let (mut numbers, mut at) = ([0; 3], 0);
    let (mut number, mut count): (Option<u32>, usize) = (None, 0);
    let mut block = [0; 512];
    loop {
        let length = look::read(&file, &mut block).map_err(failed)?;
        if length == 0 {
            break;
        }
        for &byte in block.get(..length).unwrap_or_default() {
            if byte.is_ascii_digit() {
                let digit = u32::from(byte - b'0');
                number = Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(digit));
            } else if let (Some(found), Some(place)) = (number.take(), numbers.get_mut(at)) {
                *place = found;
                at = (at + 1) % 3;
                let [inside, outside, of] = numbers;
                let line = Line { inside, outside, count: of };
                match at {
                    0 if lines.contains(&line) => count += 1,
                    0 => return Err(stage.lie_number(by, inside)),
                    _ => {}
                }
            }
        }
    }
    if count == lines.len() { Ok(()) } else { Err(stage.lie(by, b"other lines, or none")) }
}

pub(super) fn overlap(lines: &[Line]) -> Refusal {
    let shared =
        overlapping(lines).map_or(String::new(), |(one, other)| format!("`{one}` and `{other}`"));
    Refusal::new("map::overlap", "two ranges of the map overlap")
        .why(format!("{shared} share ids"))
        .help("give every id, inside and outside, one place only")
}

/// Nobody stands where this map could be written from.
pub(super) fn from_afar() -> Refusal {
    Refusal::new("map::from_afar", "nobody can write this map to a user namespace in another")
        .why("a map is written from the namespace itself or from the one around it")
        .help("map your own id, which needs nobody else: `map: root`")
}

/// The first two lines that share an id, inside or outside.
pub(super) fn overlapping(lines: &[Line]) -> Option<(Line, Line)> {
    let shares = |a: u32, b: u32, one: &Line, other: &Line| {
        u64::from(a) < u64::from(b) + u64::from(other.count)
            && u64::from(b) < u64::from(a) + u64::from(one.count)
    };
    lines.iter().enumerate().find_map(|(index, one)| {
        let other = lines.iter().skip(index + 1).find(|other| {
            shares(one.inside, other.inside, one, other)
                || shares(one.outside, other.outside, one, other)
        })?;
        Some((*one, *other))
    })
}

/// The words for a line without an id, or with one too many, if there is one.
pub(super) fn not_a_range(lines: &[Line]) -> Option<Refusal> {
    let line = empty_or_endless(lines)?;
    Some(
        Refusal::new("map::not_a_range", format!("`{line}` is no range of ids"))
            .why("it has no id in it, or goes beyond the last, 4294967294")
            .help("write how many ids there are: `count: 1`"),
    )
}

/// The first line without an id, or with one too many (`map_write()`).
fn empty_or_endless(lines: &[Line]) -> Option<Line> {
    let ends = |first: u32, count| first.checked_add(count).is_some_and(|end| end > first);
    let is_range = |line: &&Line| ends(line.inside, line.count) && ends(line.outside, line.count);
    lines.iter().find(|line| !is_range(line)).copied()
}

pub(super) fn map(model: &mut Model, ids: Ids, lines: &[Line]) {
    let parent = ids.of(model.parent_user()).clone();
    let extents = lines
        .iter()
        .map(|line| Extent {
            inside: line.inside,
            host: parent.to_host(line.outside).unwrap_or(line.outside),
            count: line.count,
        })
        .collect();
    let namespace = model.own_user_mut();
    match ids {
        Ids::User => namespace.uids = IdMap(extents),
        Ids::Group => namespace.gids = IdMap(extents),
    }
}

/// Lines with commas between, for one row of the plan.
pub(super) struct Listed<'a>(pub &'a [Line]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            write!(f, "{}{line}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn line(inside: u32, outside: u32, count: u32) -> Line {
        Line { inside, outside, count }
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        assert_eq!(overlapping(&[line(0, 1000, 1), line(1, 100_000, 65_536)]), None);
    }

    #[test]
    fn ranges_that_share_an_id_outside_overlap() {
        let lines = [line(0, 100_000, 1), line(1, 100_000, 2)];
        assert_eq!(overlapping(&lines), Some((lines[0], lines[1])));
    }
}
