//! What the reader of YAML cannot know: the format number, and a recipe's own
//! words for what is wrong.

use crate::yaml::{self, Kind, Mistake, Tree};

/// The only format there is.
pub(super) const FORMAT: u32 = 1;
/// Layers that the format has a name for, and this version does nothing for.
const LATER: &[&str] = &[
    "ipc", "net", "cgroup", "time", "sysfs", "dev", "file", "symlink", "seccomp", "landlock",
    "limits", "root", "mqueue", "network",
];

/// Says in a recipe's own words what the reader of YAML can only say in general.
pub(super) fn say_of_recipes(mistake: &mut Mistake, source: &str) {
    let at: Vec<&yaml::Segment> = mistake.path.segments().iter().collect();
    let key = |name: &str| yaml::Segment::Key(name.to_owned());
    match (mistake.code.as_ref(), at.as_slice()) {
        ("recipe::unknown_word", [layers, yaml::Segment::Index(_)])
            if **layers == key("layers") =>
        {
            let word = source.get(mistake.span.clone()).unwrap_or_default();
            let is_later = LATER.contains(&word);
            let yet = if is_later { " yet" } else { "" };
            mistake.message = format!("there is no layer `{}`{yet}", yaml::printable(word));
            mistake.why = match is_later {
                true => "this version cannot isolate that".to_owned(),
                false => "not the name of a layer".to_owned(),
            };
        }
        ("recipe::missing_key", [only]) if **only == key("isorecipe") => {
            mistake.help = "put `isorecipe: 1` on the first line".to_owned();
        }
        ("recipe::wrong_kind", [only]) if **only == key("layers") => {
            mistake.help = "write each layer as an entry: `- user: {map: root}`".to_owned();
        }
        ("recipe::two_keys", [layers, yaml::Segment::Index(_), ..])
            if **layers == key("layers") =>
        {
            mistake.help =
                "indent it to set it of the layer above: `- user: {map: root}`".to_owned();
        }
        ("recipe::wrong_kind", [.., last]) if **last == key("user") => {
            mistake.help = "write `user: {map: root}`".to_owned();
        }
        _ => {}
    }
}

/// The format number says how to read the rest, so it comes first.
pub(super) fn check_format(tree: &Tree, mistakes: &mut Vec<Mistake>) {
    let Kind::Mapping(entries) = &tree.root.kind else {
        return;
    };
    let path = yaml::Path::root().key("isorecipe");
    let Some(place) = entries.iter().position(|entry| entry.key == "isorecipe") else {
        return;
    };
    let Some(entry) = entries.get(place) else {
        return;
    };
    if place != 0 {
        mistakes.push(
            Mistake::new("recipe::format_not_first", "the format number is not the first key")
                .at(path.clone(), entry.key_span.clone())
                .why("it says how to read the rest")
                .help("move `isorecipe: 1` to the top"),
        );
    }
    if let Kind::Scalar(scalar) = &entry.value.kind
        && scalar.text.parse::<u32>().is_ok_and(|number| number != FORMAT)
    {
        mistakes.push(
            Mistake::new("recipe::unknown_format", format!("there is no format {}", scalar.text))
                .at(path, entry.value.span.clone())
                .why("this isorecipe reads format 1")
                .help("write `isorecipe: 1`, or install a newer isorecipe"),
        );
    }
}
