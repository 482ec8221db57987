//! Which limits of the sandbox a command met, in words.

use crate::{exec::Exceeded, layers::Span, sys::limit::Resource};

use super::Output;

/// The limits of the sandbox that were met, in one line.
pub(super) fn say_met(met: &[Exceeded], output: &Output) {
    let ended: Vec<_> = met.iter().filter(|limit| limit.ends()).map(written).collect();
    let others: Vec<_> = met.iter().filter(|limit| !limit.ends()).map(written).collect();
    let text = match (ended.as_slice(), others.as_slice()) {
        _ if output.json => {
            let limits: Vec<_> = met.iter().map(Exceeded::name).collect();
            format!("{}\n", serde_json::json!({ "limit": limits.first(), "met": limits }))
        }
        ([], others) => {
            format!("isorecipe: the sandbox met its limit: {}\n", others.join(", "))
        }
        (ended, []) => {
            format!("isorecipe: the command was ended at its limit: {}\n", ended.join(", "))
        }
        (ended, others) => format!(
            "isorecipe: the command was ended at its limit: {}; it also met {}\n",
            ended.join(", "),
            others.join(", ")
        ),
    };
    output.say(&text);
}

/// `memory 64M`, and what came of it where that is not the end of the command.
fn written(limit: &Exceeded) -> String {
    let name = limit.name();
    match limit {
        Exceeded::Output(most) => format!("{name} {}", Resource::FileSize.written(*most)),
        Exceeded::Time(time) => format!("{name} {}", Span(*time)),
        Exceeded::Memory { most, ended } => {
            let most = Resource::AddressSpace.written(*most);
            let what = if *ended { "" } else { " (some of its processes were killed)" };
            format!("{name} {most}{what}")
        }
        Exceeded::Processes(most) => format!("{name} {most} (no more could be made)"),
    }
}
