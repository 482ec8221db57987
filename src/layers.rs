//! What an author can ask for: an open set, one file each.
//!
//! A layer says which steps it wants, in order, and nothing else: no system
//! calls, no errnos, no other layer's name. The documentation of its fields is
//! the user's manual: it becomes the schema and what editors show. What takes
//! more words than a field has stands beside it, in `<layer>.md`, the page of
//! `isorecipe explain`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::plan::{Planner, Wanted};

mod bind;
mod capabilities;
mod cgroup;
mod dev;
mod dir;
mod domainname;
mod file;
mod forms;
mod hostname;
mod identity;
mod ipc;
mod landlock;
mod limits;
mod lower;
mod mask;
mod mount;
mod mqueue;
mod need;
mod net;
mod nodes;
mod overlay;
mod pid;
mod pivot_root;
mod proc;
mod read_only;
mod rlimits;
mod root;
mod seccomp;
mod span;
mod symlink;
mod sysfs;
mod time;
mod tmpfs;
mod user;
mod uts;
mod words;

pub use bind::Bind;
pub use capabilities::{Capabilities, CapabilityName};
pub use cgroup::Cgroup;
pub use dev::Dev;
pub use dir::Dir;
pub use domainname::Domainname;
pub use file::File;
pub use forms::{FromPlaces, FromWord, OneOrMany, PlacesOrMap, WordOrMap};
pub use hostname::Hostname;
pub use identity::{Groups, Id, Identity};
pub use ipc::Ipc;
pub use landlock::{Allowed, Landlock, Scope};
pub use limits::{Limits, Share};
pub use lower::{Image, Lower, Way};
pub use mask::Mask;
pub use mount::{Mount, Propagation};
pub use mqueue::Mqueue;
pub use need::Need;
pub use net::{Net, Network};
pub use overlay::Overlay;
pub use pid::Pid;
pub use pivot_root::PivotRoot;
pub use proc::Proc;
pub use read_only::ReadOnly;
pub use rlimits::{Amount, Bound, Bytes, Count, Rlimits, Seconds};
pub use root::Root;
pub use seccomp::{Base, CallName, Rule, Seccomp, Then};
pub use span::Span;
pub use symlink::Symlink;
pub use sysfs::Sysfs;
pub use time::{Offset, Realtime, Time};
pub use tmpfs::Tmpfs;
pub use user::{IdRange, Map, Ranges, Setgroups, User};
pub use uts::Uts;
pub use words::{Mode, Name, Place, Size, Word};

/// One entry of a recipe.
pub trait Plan {
    /// The steps it takes, in order.
    fn plan(&self, to: &mut Planner);

    /// What it needs of the old tree even after a pivot.
    fn sources(&self) -> Vec<Wanted> {
        Vec::new()
    }

    /// Whether nothing but the command may come after it, and others like it:
    /// who stays as init, and where the command starts, is settled before.
    fn ends_setup(&self) -> bool {
        false
    }

    /// Whether it is about the command alone, and not about an init before it.
    fn is_for_command(&self) -> bool {
        false
    }

    /// Whether the old root, kept aside by a pivot, may still be of use to it.
    fn mounts(&self) -> bool {
        false
    }
}

macro_rules! layers {
    ($(#[doc = $doc:literal] $name:ident: $layer:ident as $form:ty,)*) => {
        /// A layer: one key, its name, and what it is set to.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Layer {
            $(
                #[doc = $doc]
                #[doc = ""]
                #[doc = include_str!(concat!("layers/", stringify!($name), ".md"))]
                $layer($form),
            )*
        }

        impl Layer {
            /// What every layer says of itself; one without a page does not compile.
            pub const MANUAL: &'static [Manual] = &[$(Manual {
                name: stringify!($name),
                about: $doc.trim_ascii(),
                page: include_str!(concat!("layers/", stringify!($name), ".md")),
            },)*];

            /// Every layer's name, in the order of the manual.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Layer::$layer(_) => stringify!($name),)* }
            }

            /// What it is, in a sentence.
            pub fn about(&self) -> &'static str {
                match self { $(Layer::$layer(_) => $doc.trim_ascii(),)* }
            }

            /// The layer itself.
            pub fn layer(&self) -> &dyn Plan {
                match self { $(Layer::$layer(layer) => <$form as AsRef<$layer>>::as_ref(layer),)* }
            }
        }

        impl JsonSchema for Layer {
            fn schema_name() -> Cow<'static, str> {
                "Layer".into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let forms = [$(Form::of::<$form>(stringify!($name), $doc.trim(), generator),)*];
                let words = forms.iter().filter(|form| form.needs_nothing).map(|form| form.name);
                let words = json_schema!({ "enum": words.collect::<Vec<_>>() });
                let all = std::iter::once(words).chain(forms.iter().map(Form::schema));
                json_schema!({
                    "description": "A layer: one key, its name, and what it is set to.",
                    "anyOf": all.collect::<Vec<_>>(),
                })
            }
        }
    };
}

/// What a layer says of itself, beside the words of its settings.
pub struct Manual {
    /// Its name
    pub name: &'static str,
    /// What it is, in a sentence
    pub about: &'static str,
    /// Its page: `src/layers/<layer>.md`
    pub page: &'static str,
}

/// What the schema says of one layer.
struct Form {
    name: &'static str,
    about: &'static str,
    settings: Schema,
    /// Its name alone will do, or its name and a colon.
    needs_nothing: bool,
}

impl Form {
    fn of<T: JsonSchema + for<'de> Deserialize<'de>>(
        name: &'static str,
        about: &'static str,
        generator: &mut SchemaGenerator,
    ) -> Self {
        let settings = generator.subschema_for::<T>();
        let needs_nothing = forms::needs_nothing::<T>();
        Self {
            name,
            about,
            settings: match needs_nothing {
                true => json_schema!({ "anyOf": [{ "type": "null" }, settings] }),
                false => settings,
            },
            needs_nothing,
        }
    }

    fn schema(&self) -> Schema {
        json_schema!({
            "description": self.about,
            "type": "object",
            "properties": { (self.name): self.settings },
            "required": [self.name],
            "additionalProperties": false,
        })
    }
}

layers! {
    /// A user namespace: other ids inside than outside.
    user: User as User,
    /// A UTS namespace: a hostname of its own.
    uts: Uts as Uts,
    /// The hostname.
    hostname: Hostname as Hostname,
    /// The NIS domain name.
    domainname: Domainname as Domainname,
    /// A PID namespace: processes of its own.
    pid: Pid as Pid,
    /// A mount namespace: mounts of its own.
    mount: Mount as Mount,
    /// An IPC namespace: shared memory, semaphores and message queues of its own.
    ipc: Ipc as Ipc,
    /// The network: a loopback interface of its own, or the host's.
    net: Net as WordOrMap<Net>,
    /// A cgroup namespace: control groups are seen from its own.
    cgroup: Cgroup as Cgroup,
    /// A time namespace: clocks that count from another moment.
    time: Time as Time,
    /// An overlay: one writable tree over read-only ones.
    overlay: Overlay as Overlay,
    /// A tree or file that is seen at a second place.
    bind: Bind as Bind,
    /// An empty filesystem in memory.
    tmpfs: Tmpfs as WordOrMap<Tmpfs>,
    /// A fresh /proc.
    proc: Proc as WordOrMap<Proc>,
    /// A fresh /sys.
    sysfs: Sysfs as WordOrMap<Sysfs>,
    /// A fresh /dev/mqueue.
    mqueue: Mqueue as WordOrMap<Mqueue>,
    /// A directory.
    dir: Dir as WordOrMap<Dir>,
    /// A file with a content of its own.
    file: File as File,
    /// A symbolic link.
    symlink: Symlink as Symlink,
    /// A minimal /dev.
    dev: Dev as WordOrMap<Dev>,
    /// A mount that nothing can be written through any more.
    read_only: ReadOnly as PlacesOrMap<ReadOnly>,
    /// A file or directory with nothing to see in it.
    mask: Mask as PlacesOrMap<Mask>,
    /// A root directory made of a few trees of the host.
    root: Root as PlacesOrMap<Root>,
    /// Another root directory.
    pivot_root: PivotRoot as WordOrMap<PivotRoot>,
    /// User and groups that the command runs as.
    identity: Identity as Identity,
    /// Capabilities: which of root's rights the command may have.
    capabilities: Capabilities as WordOrMap<Capabilities>,
    /// Limits of each process.
    rlimits: Rlimits as Rlimits,
    /// Limits of the sandbox as a whole: memory, processes, processors, time, output.
    limits: Limits as Limits,
    /// What the command may do with files, TCP ports and its neighbours.
    landlock: Landlock as Landlock,
    /// A filter of system calls.
    seccomp: Seccomp as WordOrMap<Seccomp>,
}

macro_rules! itself {
    ($($layer:ident)*) => { $(impl AsRef<$layer> for $layer {
        fn as_ref(&self) -> &$layer { self }
    })* };
}

itself! { User Uts Hostname Domainname Pid Mount Ipc Cgroup Time Overlay Bind File Symlink Identity Rlimits Limits Landlock }
