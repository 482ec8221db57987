//! Clocks of a time namespace, and the fork that enters it: `time_namespaces(7)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, Offset, Offsets, capability},
    sys::{Call, Errno, Fault, look},
};

use super::{Evidence, Need, Operation, Stage, unexplained};

/// The file that takes the offsets, of the namespace that the next child enters.
const FILE: &str = "timens_offsets";
/// Both lines of it, with room.
const LONGEST: usize = 256;

/// What the clocks of a new time namespace show more, or less, than the
/// kernel's own; before its first process enters.
pub struct SetClocks {
    offsets: Offsets,
    text: String,
}

impl SetClocks {
    /// Prepares the text of the file.
    pub fn new(offsets: Offsets) -> Self {
        let line = |(name, offset): (&str, Offset)| {
            format!("{name} {} {}\n", offset.seconds, offset.nanoseconds)
        };
        Self { text: named(offsets).map(line).collect(), offsets }
    }

    /// What is added to which clock.
    pub fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// The clock that would leave its range, and what shall be added to it.
    fn out_of_range(&self, before: &Model) -> Option<(&'static str, Offset)> {
        let now = |name: &str| {
            let clocks = before.host.clocks?;
            Some(if name == "monotonic" { clocks.monotonic } else { clocks.boottime })
        };
        named(self.offsets).find(|(name, offset)| offset.is_in_range(now(name)) != Some(true))
    }
}

/// The clocks that are set, by the names that the kernel gives them.
fn named(offsets: Offsets) -> impl Iterator<Item = (&'static str, Offset)> {
    let all = [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)];
    all.into_iter().filter_map(|(name, offset)| Some((name, offset?)))
}

impl fmt::Display for SetClocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set clocks:")?;
        for (index, (name, offset)) in named(self.offsets).enumerate() {
            write!(f, "{} {name} {offset}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Operation for SetClocks {
    fn answer(&self, model: &Model) -> Answer {
        // It is opened as the files of maps are.
        let answer = model.may_open_map_files().and_then(|()| model.lets_write_proc());
        match answer.and_then(|()| model.may_set_clocks(self.offsets)) {
            Ok(()) => Answer::Yes,
            Err(objection) => objection.to(Call::WriteClocks),
        }
    }

    fn effect(&self, model: &mut Model) {
        let Offsets { monotonic, boottime } = self.offsets;
        model.clocks.monotonic = monotonic.or(model.clocks.monotonic);
        model.clocks.boottime = boottime.or(model.clocks.boottime);
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.write_own(FILE, self.text.as_bytes()).map_err(|errno| Call::WriteClocks.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let failed = |errno| Call::Look.gave(errno);
        let file = stage.open_own(FILE).map_err(failed)?;
        let mut found = [0; LONGEST];
        let length = look::read(&file, &mut found).map_err(failed)?;
        let found = found.get(..length).unwrap_or_default();
        let is_there = |line: &[u8]| {
            found.split(|&byte| byte == b'\n').any(|other| words(line).eq(words(other)))
        };
        match self
            .text
            .as_bytes()
            .split(|&byte| byte == b'\n')
            .filter(|l| !l.is_empty())
            .all(is_there)
        {
            true => Ok(()),
            false => Err(stage.lie(Call::WriteClocks, b"")),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let owner = before.time.for_children;
        let is_capable = owner.is_some_and(|owner| before.capable(owner, capability::SYS_TIME));
        match fault.errno {
            Errno::ERANGE => self.beyond(before),
            Errno::EPERM if !is_capable => Refusal::new(
                "time::needs_sys_time",
                "the clocks of a time namespace are set with CAP_SYS_TIME",
            )
            .why("who runs isorecipe has CAP_SYS_ADMIN, and not this one")
            .help("put a `user` layer before it, which gives both")
            .wants("user"),
            Errno::ENOENT => {
                Refusal::new("time::no_proc", "clocks are set through /proc, which is not there")
                    .why("no procfs was mounted on /proc when isorecipe was started")
                    .help("`mount -t proc proc /proc`")
            }
            Errno::EROFS => Refusal::new(
                "time::read_only_proc",
                "clocks are set through /proc, which is read-only",
            )
            .why("/proc was mounted read-only when isorecipe was started")
            .help("start isorecipe where /proc can be written"),
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        let over = before.time.for_children?;
        Some(Need { capability: capability::SYS_TIME, over, what: "the time namespace" })
    }
}

impl SetClocks {
    fn beyond(&self, before: &Model) -> Refusal {
        let code = "time::out_of_range";
        let (name, offset) = match self.out_of_range(before) {
            Some(found) => found,
            None => {
                return Refusal::new(code, "a clock would leave its range").why(RANGE).help(NEARER);
            }
        };
        let message = format!("the clock `{name}` cannot be set {offset} off");
        let refusal = Refusal::new(code, message).why(RANGE);
        match offset.seconds < 0 {
            true => refusal.help("go back by less: `cat /proc/uptime` shows the seconds there are"),
            false => refusal.help(NEARER),
        }
    }
}

const RANGE: &str = "a clock goes from 0, which is when the machine was started, to 146 years";
const NEARER: &str = "write less, such as `3days`";

/// The words of a line, whatever blanks are between them.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// A child, which enters the time namespace.
pub struct EnterTime;

impl fmt::Display for EnterTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fork: the child is in the time namespace")
    }
}

impl Operation for EnterTime {
    fn answer(&self, _: &Model) -> Answer {
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        model.fork();
    }

    fn note(&self, stage: &Stage) -> Result<(), Fault> {
        stage.remember([stage.namespace("time_for_children")?.unwrap_or(0), 0]);
        Ok(())
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        stage.turnings.fork().map_err(|errno| Call::Fork.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match (stage.namespace("time")?, stage.remembered()) {
            (Some(now), [wanted, _]) if wanted != 0 && now != wanted => {
                Err(stage.lie(Call::Fork, b"another time namespace"))
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}

/// There is no further process that could enter it.
pub fn no_way_into_time() -> Refusal {
    Refusal::new("time::after_pid", "the command is PID 1, and cannot enter the time namespace")
        .why("only a process that is made after the namespace is in it, and `init: false` wants none")
        .help("put the `time` layer before `pid`")
}
