//! `seccomp`: which system calls the command may make (`seccomp(2)`).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de};

use crate::{
    diagnostic::Refusal,
    model::denies_needed,
    ops::{InstallFilter, no_filters},
    plan::Planner,
    seccomp::{Action, Case, Found, Policy, Profile, TooLong, compile, find},
    sys::Errno,
    yaml::refuse,
};

use super::{FromWord, Need, Plan};

mod rule;

pub use rule::{CallName, Rule, Then};

/// A filter of system calls for the command: what it may not ask of the kernel
/// at all. It comes last: whatever it denies, it denies to later layers too.
///
/// A rule is asked before the lists, and the lists before the base. Calls for
/// another architecture end the process; x32 is answered with ENOSYS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seccomp {
    /// What it starts from: `default` (about what container engines allow),
    /// `strict` (to compute, with files and processes, without a network), or
    /// `none` (your lists alone).
    #[serde(default)]
    pub base: Base,
    /// Calls that are allowed, whatever their arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<CallName>,
    /// Calls that give EPERM, whatever their arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<CallName>,
    /// What is said to a call, depending on its arguments. The first that holds counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What is said to every other call: EPERM, if nothing else is written.
    /// `base: none` has to say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Then>,
    /// What becomes of the sandbox where the kernel filters no calls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub need: Need,
}

fn is_default(need: &Need) -> bool {
    *need == Need::default()
}

/// What a filter starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// About what container engines allow
    #[default]
    Default,
    /// To compute, with files and processes, without a network
    Strict,
    /// Nothing but the recipe's own lists
    None,
}

impl Base {
    fn profile(self) -> Option<Profile> {
        match self {
            Self::Default => Some(Profile::Default),
            Self::Strict => Some(Profile::Strict),
            Self::None => None,
        }
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Default => Some("default"),
            Self::Strict => Some("strict"),
            Self::None => None,
        }
    }
}

impl FromWord for Seccomp {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        let base = match word {
            "default" => Base::Default,
            "strict" => Base::Strict,
            _ => {
                return Err(refuse(
                    "seccomp::unknown_base",
                    format!("there is no filter `{word}`"),
                    "a filter is `default`, `strict`, or lists of its own",
                    "write `seccomp: default`",
                ));
            }
        };
        Ok(Self { base, ..Self::default() })
    }

    fn words(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["default", "strict"] })
    }
}

impl Plan for Seccomp {
    fn plan(&self, to: &mut Planner) {
        if to.has_no_filters() {
            if !self.need.goes_without(to, no_filters()) {
                to.refuse(no_filters());
            }
            return;
        }
        let Some(policy) = self.policy(to) else { return };
        match to.model().process.filtered("seccomp") {
            Some(action) if !action.lets_through() => return to.refuse(no_second(action)),
            _ => {}
        }
        if let Some((call, action)) = denies_needed(&policy) {
            to.refuse(too_strict(call, action));
        }
        match compile(&policy) {
            Ok(instructions) => {
                to.no_new_privs();
                let words = self.words(&policy);
                let filter = InstallFilter::new(policy, instructions, words, to.model());
                to.step(filter);
            }
            Err(TooLong::Filter(length)) => to.refuse(too_long(length)),
            Err(TooLong::Case(conditions)) => to.at("rules").refuse(too_many(conditions)),
        }
    }

    fn is_for_command(&self) -> bool {
        true
    }

    fn ends_setup(&self) -> bool {
        true
    }
}

impl Seccomp {
    /// What is said to each call; nothing if the recipe does not say it.
    fn policy(&self, to: &mut Planner) -> Option<Policy> {
        let otherwise = match (self.otherwise, self.base) {
            (Some(then), _) => then.0,
            (None, Base::None) => {
                to.at("base").refuse(no_otherwise());
                return None;
            }
            (None, _) => Action::Errno(Errno::EPERM),
        };
        let mut policy = Policy::of(otherwise);
        if self.base != Base::None {
            policy = policy.unknown(Action::Errno(Errno::ENOSYS));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if let Err(words) = rule.add_to(&mut policy) {
                to.at_place(|layer| layer.key("rules").index(index)).refuse(words.refusal());
            }
        }
        if let Some(both) = self.allow.iter().find(|call| self.deny.contains(call)) {
            to.at("deny").refuse(both_lists(&both.0));
        }
        let lists = [(&self.allow, Action::Allow), (&self.deny, Action::Errno(Errno::EPERM))];
        for (list, then) in lists {
            for call in list {
                if let Found::Here(number) = find(&call.0) {
                    policy.add(number, Case { when: Vec::new(), then });
                }
            }
        }
        if let Some(profile) = self.base.profile() {
            profile.add_to(&mut policy);
        }
        Some(policy)
    }

    /// The filter for people: `default, ptrace allowed: 301 calls pass, 6 with some arguments`.
    fn words(&self, policy: &Policy) -> String {
        let list = |calls: &[CallName], how: &str| {
            let names: Vec<&str> = calls.iter().map(|call| call.0.as_str()).collect();
            (!names.is_empty()).then(|| format!("{} {how}", names.join(" ")))
        };
        let mut parts: Vec<String> = self.base.word().map(str::to_owned).into_iter().collect();
        parts.extend(self.rules.iter().map(Rule::words));
        parts.extend(list(&self.allow, "allowed"));
        parts.extend(list(&self.deny, "denied"));
        parts.extend(self.otherwise.map(|then| format!("otherwise {}", then.word())));
        let (always, sometimes) = policy.count();
        format!("{}: {always} calls pass, {sometimes} with some arguments", parts.join(", "))
    }
}

fn no_second(action: Action) -> Refusal {
    Refusal::new("seccomp::no_second", "no filter can come after the one before it")
        .why(format!("`seccomp` installs a filter, and that one {}", how(action)))
        .help("write `allow: [seccomp]` in it, or make one `seccomp` layer of both")
}

fn how(action: Action) -> &'static str {
    match action {
        Action::Kill => "ends the process that makes this call",
        _ => "denies this call",
    }
}

fn too_strict(call: &str, action: Action) -> Refusal {
    let how = how(action);
    Refusal::new("seccomp::too_strict", format!("the command could not begin without `{call}`"))
        .why(format!("this filter {how}, and isorecipe makes it when the filter is there"))
        .help(format!("allow it: `allow: [{call}]`"))
}

fn no_otherwise() -> Refusal {
    Refusal::new("seccomp::no_otherwise", "this filter does not say what becomes of other calls")
        .why("without a base there are only your lists")
        .help("write `otherwise: EPERM`, or `otherwise: allow`")
}

fn both_lists(call: &str) -> Refusal {
    Refusal::new("seccomp::both_lists", format!("`{call}` is allowed and denied"))
        .why("it stands in both lists")
        .help("keep one of the two")
}

fn too_long(length: usize) -> Refusal {
    Refusal::new("seccomp::too_long", format!("this filter has {length} instructions"))
        .why("the kernel takes 4096 at most")
        .help("say it in fewer rules: a rule takes a list of calls")
}

fn too_many(conditions: usize) -> Refusal {
    Refusal::new("seccomp::too_many_conditions", format!("a rule has {conditions} conditions"))
        .why("32 is the most that one rule can ask")
        .help("make several rules of it")
}
