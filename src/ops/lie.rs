//! A call that said yes and did not do it, in words.

use crate::{diagnostic::Refusal, sys::Fault};

use super::{Evidence, Operation};

/// What was asked, and what is.
pub(super) fn not_done(operation: &dyn Operation, fault: Fault, seen: &Evidence) -> Refusal {
    let call = fault.call;
    let message = format!("`{call}` said yes, and it is not done");
    let found = if seen.log.is_empty() { "what was before" } else { &seen.log };
    let refusal = Refusal::new("verify::not_done", message);
    refusal.why(format!("asked: {operation}; found: {found}")).help(
        "a tracer or a filter answers for the kernel: \
         `grep -E 'TracerPid|Seccomp' /proc/self/status` shows whether there is one",
    )
}
