//! `user`: other ids inside than outside (`user_namespaces(7)`).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::{Refusal, typed},
    host::{Invoker, SubordinateIds},
    model::{UserId, capability},
    ops::{
        Become, DenySetgroups, ForbidNested, HelperMap, Ids, LimitCapabilities, Line, NewNamespace,
        WriteMap, Writer,
    },
    plan::Planner,
    sys::Namespace,
    yaml::refuse,
};

use super::{FromWord, Need, Plan, WordOrMap};

/// A user namespace: the process may be root inside and stays who it is outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Which ids exist inside: `none` (everybody is 65534), `root` (you are
    /// root), `self` (you are yourself), `auto` (you are root, your
    /// subordinate ids follow, and your groups go), or ranges.
    #[serde(default)]
    pub map: WordOrMap<Map>,
    /// Whether groups can be dropped inside. `deny` is what the kernel demands
    /// of an ordinary user who maps a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setgroups: Option<Setgroups>,
    /// Whether a user namespace can be made inside, with every right in it.
    /// `false` forbids that to everybody inside, root included, for good.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub nested: bool,
    /// What becomes of `map: auto` for whom there are no subordinate ids.
    /// Without them you are root inside, alone, and your groups stay.
    #[serde(default, skip_serializing_if = "Need::is_default")]
    pub need: Need,
}

impl Default for User {
    fn default() -> Self {
        Self { map: WordOrMap::default(), setgroups: None, nested: true, need: Need::default() }
    }
}

fn yes() -> bool {
    true
}

fn is_yes(nested: &bool) -> bool {
    *nested
}

/// Which ids exist inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Map {
    /// No id: everybody is 65534
    #[default]
    None,
    /// The caller is root
    Root,
    /// The caller is itself
    #[serde(rename = "self")]
    Itself,
    /// The caller is root, and subordinate ids follow
    Auto,
    /// As listed
    #[serde(untagged)]
    Ranges(Ranges),
}

/// Ranges of user and group ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// User ids
    #[serde(default)]
    pub uid: Vec<IdRange>,
    /// Group ids
    #[serde(default)]
    pub gid: Vec<IdRange>,
}

/// As many ids inside as outside, in order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First id inside
    #[schemars(range(max = u32::MAX))]
    pub inside: u32,
    /// First id outside
    #[schemars(range(max = u32::MAX))]
    pub outside: u32,
    /// How many
    #[serde(default = "one")]
    #[schemars(range(max = u32::MAX))]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// Whether `setgroups(2)` works inside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Setgroups {
    /// It does, where the kernel allows it
    Allow,
    /// It does not
    Deny,
}

impl FromWord for Map {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        match word {
            "none" => Ok(Map::None),
            "root" => Ok(Map::Root),
            "self" => Ok(Map::Itself),
            "auto" => Ok(Map::Auto),
            _ => Err(refuse(
                "map::unknown_word",
                format!("there is no map `{word}`"),
                "a map is `none`, `root`, `self`, `auto`, or ranges",
                "write `map: root` to be root inside",
            )),
        }
    }

    fn words(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["none", "root", "self", "auto"] })
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ranges::deserialize(from).map(Map::Ranges)
    }
}

impl JsonSchema for Map {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Map".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Ranges>()
    }
}

impl Plan for User {
    fn plan(&self, to: &mut Planner) {
        if let Some(invoker) = first_behind_sudo(to) {
            to.step(Become { uid: invoker.uid, gid: invoker.gid, groups: Some(invoker.groups) });
        }
        let own = Own::of(to);
        to.step(NewNamespace(Namespace::User));
        let asks_to_deny = self.setgroups == Some(Setgroups::Deny);
        if asks_to_deny && matches!(self.map.0, Map::None | Map::Auto) {
            to.at("setgroups").step(DenySetgroups { by: Writer::Itself });
        }
        match &self.map.0 {
            Map::None => {}
            Map::Root => self.map_itself(to, own, (0, 0)),
            Map::Itself => self.map_itself(to, own, (own.uid, own.gid)),
            Map::Auto => self.map_subordinates(to, own),
            Map::Ranges(ranges) => self.map_ranges(to, own, ranges),
        }
        if !self.nested {
            forbid_nested(to);
        }
        warn_of_host_root(to);
    }
}

/// Whoever has CAP_SYS_RESOURCE inside could allow it again, so nobody keeps that.
fn forbid_nested(to: &mut Planner) {
    to.at("nested").step(ForbidNested);
    let keep = capability::ALL & !(1 << capability::SYS_RESOURCE);
    to.at("nested").step(LimitCapabilities { keep, ambient: 0 });
}

/// The ids of the process, as the user namespace around counts them.
#[derive(Clone, Copy)]
struct Own {
    uid: u32,
    gid: u32,
}

/// What the kernel shows for an id that does not exist (`/proc/sys/kernel/overflowuid`).
const OVERFLOW: u32 = 65534;

impl Own {
    fn of(to: &Planner) -> Self {
        let model = to.model();
        let user = model.own_user();
        Self {
            uid: user.uids.from_host(model.process.uid).unwrap_or(OVERFLOW),
            gid: user.gids.from_host(model.process.gid).unwrap_or(OVERFLOW),
        }
    }
}

/// Through sudo, the sandbox is the invoking user's, and root stays outside.
fn first_behind_sudo(to: &Planner) -> Option<Invoker> {
    let is_first = to.model().process.user == UserId::HOST;
    to.host().invoker.clone().filter(|_| is_first)
}

impl User {
    fn denies_setgroups(&self) -> bool {
        self.setgroups != Some(Setgroups::Allow)
    }

    fn map_itself(&self, to: &mut Planner, own: Own, inside: (u32, u32)) {
        if self.denies_setgroups() {
            to.at("map").step(DenySetgroups { by: Writer::Itself });
        }
        let line = |inside, outside| vec![Line { inside, outside, count: 1 }];
        let map = |ids, line| WriteMap::new(ids, line, Writer::Itself);
        to.at("map").step(map(Ids::User, line(inside.0, own.uid)));
        to.at("map").step(map(Ids::Group, line(inside.1, own.gid)));
    }

    fn map_ranges(&self, to: &mut Planner, own: Own, ranges: &Ranges) {
        let lines = |ranges: &[IdRange]| -> Vec<Line> {
            ranges
                .iter()
                .map(|&IdRange { inside, outside, count }| Line { inside, outside, count })
                .collect()
        };
        let maps =
            [(Ids::User, lines(&ranges.uid), own.uid), (Ids::Group, lines(&ranges.gid), own.gid)];
        let is_own = |lines: &[Line], own| {
            matches!(lines, [] | [Line { count: 1, .. }])
                && lines.iter().all(|line| line.outside == own)
        };
        let all_own = maps.iter().all(|(_, lines, own)| is_own(lines, *own));
        let may_outside = to.model().supervisor_capable(around(to), capability::SETUID);
        let denies = match self.setgroups {
            Some(setting) => setting == Setgroups::Deny,
            None => all_own || !may_outside,
        };
        if denies && all_own {
            to.at("map").step(DenySetgroups { by: Writer::Itself });
        } else if denies {
            to.at("map").supervisor(DenySetgroups { by: Writer::Supervisor });
        }
        for (ids, lines, _) in maps {
            if lines.is_empty() {
                continue;
            }
            if all_own {
                to.at("map").step(WriteMap::new(ids, lines, Writer::Itself));
            } else if may_outside {
                to.at("map").supervisor(WriteMap::new(ids, lines, Writer::Supervisor));
            } else {
                to.at("map").supervisor(HelperMap::new(ids, lines));
            }
        }
    }

    /// Root inside, and the subordinate ids after it. Plain root takes nothing
    /// but subordinate ids: none of the host's.
    fn map_subordinates(&self, to: &mut Planner, own: Own) {
        let ids = match to.host().invoker.is_some() || !to.host().is_root() {
            true => to.subordinate_ids(),
            false => own_block(to.subordinate_ids()),
        };
        let is_root = to.model().process.uid == 0;
        let lines = |range: Option<(u32, u32)>, own| match range {
            Some((first, count)) if is_root => vec![Line { inside: 0, outside: first, count }],
            Some((first, count)) => vec![
                Line { inside: 0, outside: own, count: 1 },
                Line { inside: 1, outside: first, count },
            ],
            None => Vec::new(),
        };
        let may_outside = to.model().supervisor_capable(around(to), capability::SETUID);
        let missing = match (ids.uid, ids.gid) {
            (Some(_), Some(_)) => None,
            _ => Some(without_subordinate_ids(to.host())),
        };
        let has_no_helper = !may_outside && (ids.newuidmap.is_none() || ids.newgidmap.is_none());
        let lacking = missing.clone().or_else(|| has_no_helper.then(without_helpers));
        if let Some(lacking) = lacking
            && self.need.goes_without(to.at("map"), lacking)
        {
            return self.map_itself(to, own, (0, 0));
        }
        if let Some(missing) = missing {
            return to.at("map").refuse(missing);
        }
        let refused = to.refused();
        for (ids, lines) in
            [(Ids::User, lines(ids.uid, own.uid)), (Ids::Group, lines(ids.gid, own.gid))]
        {
            match may_outside {
                true => to.at("map").supervisor(WriteMap::new(ids, lines, Writer::Supervisor)),
                false => to.at("map").supervisor(HelperMap::new(ids, lines)),
            }
        }
        // The caller's groups give access, and nobody in the sandbox asked for it.
        if is_root || self.setgroups != Some(Setgroups::Deny) {
            let become_root = Become { uid: 0, gid: 0, groups: Some(Vec::new()) };
            match to.refused() > refused {
                true => to.at("map").following_step(become_root),
                false => to.at("map").step(become_root),
            }
        }
    }
}

/// The user namespace around the one just made.
fn around(to: &Planner) -> UserId {
    to.model().own_user().parent.unwrap_or(UserId::HOST)
}

/// Root's own line, or a block that nobody else has.
fn own_block(ids: SubordinateIds) -> SubordinateIds {
    const BLOCK: u32 = 65_536;
    SubordinateIds {
        uid: ids.uid.or(Some((ids.free, BLOCK))),
        gid: ids.gid.or(Some((ids.free, BLOCK))),
        ..ids
    }
}

fn without_subordinate_ids(host: &crate::host::Host) -> Refusal {
    let invoker = host.invoker.as_ref().and_then(|invoker| invoker.name.clone());
    let name =
        invoker.or_else(|| host.caller.name.clone()).unwrap_or_else(|| host.caller.uid.to_string());
    Refusal::new("map::no_subordinate_ids", "you have no subordinate ids for `map: auto`")
        .why("/etc/subuid and /etc/subgid have no line for you")
        .help(format!(
            "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}`",
            typed(name)
        ))
}

fn without_helpers() -> Refusal {
    Refusal::new("map::helper_missing", "`newuidmap` and `newgidmap` are not both installed")
        .why("more than one id can only be mapped with their help")
        .help("`sudo apt install uidmap` (Debian, Ubuntu) or `sudo dnf install shadow-utils`")
}

/// Host root inside a sandbox is allowed and never silent.
fn warn_of_host_root(to: &mut Planner) {
    let model = to.model();
    // An ordinary user's map of it is refused anyway.
    let is_host_root = model.host.is_root()
        && model.own_user().uids.from_host(0).is_some()
        && model.host.initial_user_namespace != Some(false);
    if is_host_root {
        to.at("map").warn(
            Refusal::new("user::host_root", "root in this sandbox is root of the host")
                .why("the map has the host's id 0 in it")
                .help("write `map: auto`, or run it as an ordinary user"),
        );
    }
}
