//! Twelve mistakes, in the words of four tools.
#![allow(dead_code, missing_docs)]

use std::path::Path;

use serde_json::{Value, json};

/// How a tool is asked for it.
#[derive(Clone, Copy)]
pub enum Ask {
    Type(&'static str),
    /// It cannot be asked, and why
    No(&'static str),
}

/// What is changed in a container's description, in words and for real.
type Change = (&'static str, fn(&mut Value));

pub struct Mistake {
    pub title: &'static str,
    /// A script run before, in a folder of its own
    pub setup: &'static str,
    /// What runs the tool, as an argument
    pub around: &'static str,
    pub bwrap: Ask,
    pub unshare: Ask,
    pub runc: Result<Change, &'static str>,
    pub recipe: &'static str,
}

const PLAIN: Mistake = Mistake {
    title: "",
    setup: "",
    around: "",
    bwrap: Ask::No("it cannot be asked"),
    unshare: Ask::No("it cannot be asked"),
    runc: Err("it cannot be asked"),
    recipe: "",
};

pub const MISTAKES: [Mistake; 12] = [
    Mistake {
        title: "A hostname without a UTS namespace",
        bwrap: Ask::Type("bwrap --dev-bind / / --hostname box true"),
        unshare: Ask::Type("unshare --user --map-root-user hostname box"),
        runc: Ok(("no uts namespace", |config| without(config, "uts"))),
        recipe: "layers:\n  - user: {map: root}\n  - hostname: box\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A second id in the map, as an ordinary user",
        bwrap: Ask::No("it maps one id, and has no option for more"),
        unshare: Ask::Type("unshare --user --map-users=100000,0,2 true"),
        runc: Ok(("uidMappings of two ids", |config| {
            config["linux"]["uidMappings"][0]["size"] = json!(2);
        })),
        recipe: "layers:\n  - user: {map: {uid: [{inside: 0, outside: 100000, count: 2}]}}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A fresh /proc without a PID namespace",
        bwrap: Ask::Type("bwrap --dev-bind / / --proc /proc true"),
        unshare: Ask::Type("unshare --user --map-root-user --mount mount -t proc proc /proc"),
        runc: Ok(("no pid namespace", |config| without(config, "pid"))),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - proc\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A mount without a mount namespace",
        bwrap: Ask::No("it always makes a mount namespace"),
        unshare: Ask::Type("unshare --user --map-root-user mount -t tmpfs tmpfs /mnt"),
        runc: Ok(("no mount namespace", |config| without(config, "mount"))),
        recipe: "layers:\n  - user: {map: root}\n  - tmpfs: /mnt\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "An overlay with upper and work on different mounts",
        setup: "mkdir lower upper merged",
        bwrap: Ask::No("this version mounts no overlay"),
        unshare: Ask::Type(
            "unshare --user --map-root-user --mount mount -t overlay overlay -o \
             lowerdir=lower,upperdir=upper,workdir=/dev/shm,userxattr merged",
        ),
        runc: Ok(("an overlay whose workdir is in /dev/shm", |config| {
            let folder = folder(config);
            let options = json!([
                format!("lowerdir={folder}/lower"),
                format!("upperdir={folder}/upper"),
                "workdir=/dev/shm",
                "userxattr"
            ]);
            mount(
                config,
                json!({"destination": "/tmp", "type": "overlay", "source": "overlay", "options": options}),
            );
        })),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - overlay: {lower: lower, upper: upper, work: /dev/shm, at: merged, write: true}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A new root without the loader of the command",
        setup: "mkdir -p tree/usr/bin tree/proc && cp /usr/bin/true tree/usr/bin/",
        bwrap: Ask::Type("bwrap --bind tree / /usr/bin/true"),
        unshare: Ask::Type("unshare --user --map-root-user --root=tree /usr/bin/true"),
        runc: Ok(("root.path: tree, and no mounts", |config| {
            config["root"]["path"] = json!("tree");
            config["mounts"] = json!([]);
            config["process"]["args"] = json!(["/usr/bin/true"]);
        })),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - bind: {from: tree, to: tree}\n  - pivot_root: tree\ncommand: [/usr/bin/true]\n",
        ..PLAIN
    },
    Mistake {
        title: "A bind of what is not there",
        bwrap: Ask::Type("bwrap --dev-bind / / --bind data/box /mnt true"),
        unshare: Ask::Type("unshare --user --map-root-user --mount mount --bind data/box /mnt"),
        runc: Ok(("a bind of data/box", |config| {
            mount(
                config,
                json!({"destination": "/mnt", "type": "bind", "source": "data/box", "options": ["bind"]}),
            );
        })),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - bind: {from: data/box, to: /mnt}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A file bound on a directory",
        setup: "touch file",
        bwrap: Ask::Type("bwrap --dev-bind / / --bind file /mnt true"),
        unshare: Ask::Type("unshare --user --map-root-user --mount mount --bind file /mnt"),
        runc: Ok(("a bind of a file on /usr", |config| {
            mount(
                config,
                json!({"destination": "/usr", "type": "bind", "source": "file", "options": ["bind"]}),
            );
        })),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - bind: {from: file, to: /mnt}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "pivot_root to a directory that is no mount",
        setup: "mkdir -p tree/old",
        bwrap: Ask::No("it makes the mount itself"),
        unshare: Ask::Type("unshare --user --map-root-user --mount pivot_root tree tree/old"),
        runc: Err("it makes the mount itself"),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - pivot_root: {new: tree, old: old}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A mount point below a read-only directory",
        setup: "mkdir -p tree/usr data",
        bwrap: Ask::Type("bwrap --ro-bind tree / --bind data /here true"),
        unshare: Ask::Type(
            "unshare --user --map-root-user --mount sh -c \"mount --bind tree tree && mount -o remount,bind,ro tree && \
             mkdir tree/here && mount --bind data tree/here\"",
        ),
        runc: Ok(("a bind on /usr/here, and /usr is read-only", |config| {
            mount(
                config,
                json!({"destination": "/usr/here", "type": "bind", "source": "data", "options": ["bind"]}),
            );
        })),
        recipe: "layers:\n  - user: {map: root}\n  - mount\n  - bind: {from: tree, to: tree, read_only: true}\n  - dir: tree/here\n  - bind: {from: data, to: tree/here}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
    Mistake {
        title: "A command that is not there",
        bwrap: Ask::Type("bwrap --dev-bind / / no-such-command"),
        unshare: Ask::Type("unshare --user --map-root-user no-such-command"),
        runc: Ok(("args: [no-such-command]", |config| {
            config["process"]["args"] = json!(["no-such-command"]);
        })),
        recipe: "layers:\n  - user: {map: root}\ncommand: [no-such-command]\n",
        ..PLAIN
    },
    Mistake {
        title: "User namespaces forbidden by a sysctl",
        around: "exec unshare --user --map-root-user sh -c \"echo 0 > /proc/sys/user/max_user_namespaces; exec sh -c \\\"\\$0\\\"\"",
        bwrap: Ask::Type("bwrap --unshare-user --dev-bind / / true"),
        unshare: Ask::Type("unshare --user true"),
        runc: Ok(("as `runc spec` has it", |config| {
            config["linux"]["uidMappings"][0]["hostID"] = json!(0);
            config["linux"]["gidMappings"][0]["hostID"] = json!(0);
        })),
        recipe: "layers:\n  - user: {map: root}\ncommand: [\"true\"]\n",
        ..PLAIN
    },
];

fn without(config: &mut Value, kind: &str) {
    let kinds = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    kinds.retain(|one| one["type"] != kind);
}

fn mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().expect("mounts").push(mount);
}

fn folder(config: &Value) -> String {
    config["annotations"]["folder"].as_str().expect("a folder").to_owned()
}

/// A container as `runc spec --rootless` describes one, with the host's programs in it.
pub fn container(folder: &Path, (uid, gid): (u32, u32)) -> Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
    ];
    for from in ["/usr", "/bin", "/lib", "/lib64", "/etc"] {
        if let Ok(real) = Path::new(from).canonicalize() {
            let options = ["rbind", "ro"];
            mounts.push(
                json!({"destination": from, "type": "bind", "source": real, "options": options}),
            );
        }
    }
    let kinds = ["pid", "ipc", "uts", "mount", "user"].map(|kind| json!({"type": kind}));
    let own = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": mounts,
        "annotations": {"folder": folder},
        "linux": {"namespaces": kinds, "uidMappings": own(uid), "gidMappings": own(gid)},
    })
}
