//! The machine's names: `sethostname(2)`, `setdomainname(2)`, `uts_namespaces(7)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model},
    sys::{Call, Errno, Fault, look, uts},
};

use super::{Evidence, Need, Operation, Stage, unexplained};

/// A hostname of at most 64 bytes.
pub struct SetHostname(pub String);

/// A NIS domain name of at most 64 bytes.
pub struct SetDomainname(pub String);

/// What the two names have in common.
struct Name {
    noun: &'static str,
    call: Call,
    codes: Codes,
}

struct Codes {
    shared: &'static str,
    host: &'static str,
}

const HOSTNAME: Name = Name {
    noun: "hostname",
    call: Call::Sethostname,
    codes: Codes { shared: "hostname::shared", host: "hostname::host" },
};
const DOMAINNAME: Name = Name {
    noun: "domain name",
    call: Call::Setdomainname,
    codes: Codes { shared: "domainname::shared", host: "domainname::host" },
};

impl Name {
    fn answer(&self, model: &Model) -> Answer {
        if !model.administers(model.uts.owner) {
            return Answer::No(self.call.gave(Errno::EPERM));
        }
        Answer::Yes
    }

    fn explain(&self, operation: &dyn Operation, fault: Fault, before: &Model) -> Refusal {
        if fault.errno != Errno::EPERM || before.administers(before.uts.owner) {
            return unexplained(operation, fault);
        }
        if before.uts.own {
            return Refusal::new(
                self.codes.shared,
                format!("this {} belongs to another user namespace", self.noun),
            )
            .why("the UTS namespace was made before the `user` layer")
            .help("put the `uts` layer after `user`")
            .wants("user");
        }
        let refusal =
            Refusal::new(self.codes.shared, format!("this {} belongs to the host", self.noun))
                .why("no UTS namespace yet");
        if before.administers(before.process.user) {
            refusal.help("put a `uts` layer before it").wants("uts")
        } else {
            refusal.help("put `user` and `uts` layers before it").wants("uts")
        }
    }

    /// Whether a name that was found, ended by NUL, is the one that was set.
    fn is_set(&self, stage: &Stage, found: &[u8; 65], name: &str) -> Result<(), Fault> {
        let end = found.iter().position(|&byte| byte == 0).unwrap_or(found.len());
        match found.get(..end).unwrap_or_default() {
            found if found == name.as_bytes() => Ok(()),
            found => Err(stage.lie(self.call, found)),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        let is_leak = !before.uts.own && before.administers(before.uts.owner);
        is_leak.then(|| {
            Refusal::new(
                self.codes.host,
                format!("this would change the {} of the host", self.noun),
            )
            .why("no UTS namespace yet, and root may do it")
            .help("put a `uts` layer before it")
            .wants("uts")
        })
    }
}

fn names() -> Result<([u8; 65], [u8; 65]), Fault> {
    look::names().map_err(|errno| Call::Uname.gave(errno))
}

impl fmt::Display for SetHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set the hostname to {}", self.0)
    }
}

impl Operation for SetHostname {
    fn answer(&self, model: &Model) -> Answer {
        HOSTNAME.answer(model)
    }

    fn effect(&self, model: &mut Model) {
        model.hostname = Some(self.0.clone());
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        uts::set_hostname(self.0.as_bytes()).map_err(|errno| Call::Sethostname.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let (found, _) = names()?;
        HOSTNAME.is_set(stage, &found, &self.0)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        HOSTNAME.explain(self, fault, before)
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        HOSTNAME.leak(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.uts.owner, "the UTS namespace"))
    }
}

impl fmt::Display for SetDomainname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set the domain name to {}", self.0)
    }
}

impl Operation for SetDomainname {
    fn answer(&self, model: &Model) -> Answer {
        DOMAINNAME.answer(model)
    }

    fn effect(&self, model: &mut Model) {
        model.domainname = Some(self.0.clone());
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        uts::set_domainname(self.0.as_bytes()).map_err(|errno| Call::Setdomainname.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let (_, found) = names()?;
        DOMAINNAME.is_set(stage, &found, &self.0)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        DOMAINNAME.explain(self, fault, before)
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        DOMAINNAME.leak(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.uts.owner, "the UTS namespace"))
    }
}
