//! An overlay that a sandbox has changed, and what `isorecipe diff` says of it.
#![allow(dead_code, missing_docs)]

use std::{path::Path, process::Command};

use crate::machine::{Desk, Ran, Who};

/// Somebody's folder with a `lower`, a recipe with an overlay over it, and what a run left in `upper`.
pub struct Scene {
    pub desk: Desk,
}

/// What the recipe lists before its overlay.
fn layers(who: Who) -> &'static str {
    match who {
        Who::Root => "  - mount: {}\n",
        Who::User(_) => "  - user: {map: root}\n  - mount: {}\n",
    }
}

impl Scene {
    /// As [`Scene::new`], with an overlay that the sandbox mounts itself, with these options.
    pub fn mounted(who: Who, options: &str, before: &str, run: &str) -> Scene {
        let scene = Scene::new(who, before, "");
        let mark = if who == Who::Root { "" } else { ",userxattr" };
        let flags = format!("lowerdir=lower,upperdir=upper,workdir=work,{options}{mark}");
        scene.desk.write("mount.yaml", &format!("isorecipe: 1\nlayers:\n{}", layers(who)));
        let run = format!("mount -t overlay overlay -o {flags} m; cd m\n{run}");
        scene.script("mount.yaml", ".", &run);
        scene
    }

    /// Fills `lower` with one script, and changes it with another inside an overlay.
    pub fn new(who: Who, before: &str, run: &str) -> Scene {
        let desk = Desk::of(who);
        desk.make_dir("lower");
        desk.write("bare.yaml", "isorecipe: 1\n");
        desk.write(
            "box.yaml",
            &format!(
                "isorecipe: 1\nlayers:\n{}  - overlay: {{lower: lower, upper: upper, \
                 work: work, at: m, create: true}}\n",
                layers(who)
            ),
        );
        let scene = Scene { desk };
        scene.script("bare.yaml", "lower", before);
        scene.script("box.yaml", "m", run);
        scene
    }

    /// Runs a script in a directory of a sandbox.
    pub fn script(&self, recipe: &str, directory: &str, script: &str) {
        let script = format!("set -e; umask 022; cd {directory}\n{script}");
        self.desk.run(&["apply", recipe, "--", "bash", "-c", &script]).succeeds();
    }

    pub fn diff(&self, words: &[&str]) -> Ran {
        self.desk.run(&[&["diff"], words].concat())
    }

    /// The lines of `isorecipe diff box.yaml`, which ends as diff(1) would.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let ran = self.diff(&["box.yaml"]);
        let lines: Vec<String> = ran.out().lines().map(str::to_owned).collect();
        assert_eq!(ran.err(), "", "after {lines:#?}");
        assert_eq!(ran.code(), i32::from(!lines.is_empty()), "{lines:#?}");
        lines
    }
}

impl Drop for Scene {
    /// overlayfs leaves a folder in `work` that not even its owner may enter.
    fn drop(&mut self) {
        open_up(self.desk.folder());
    }
}

pub fn open_up(folder: &Path) {
    let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(folder).output();
}

/// What everybody sees of a change.
#[track_caller]
pub fn check(before: &str, run: &str, lines: &[&str]) {
    for who in Who::all() {
        assert_eq!(Scene::new(who, before, run).lines(), lines, "{who:?}");
    }
}

/// What root sees of a change that only root can make; an ordinary user's own sandbox refuses to make it.
#[track_caller]
pub fn check_as_root(before: &str, run: &str, lines: &[&str]) {
    for who in Who::all() {
        match who {
            Who::Root => assert_eq!(Scene::new(who, before, run).lines(), lines),
            Who::User(_) => {
                drop(Scene::new(who, "", &format!("! ({before}\n{run}) 2> /dev/null")));
            }
        }
    }
}

/// A call that sets an extended attribute, for scripts. Perl has none of its own, and wants variables.
pub fn set_xattr(file: &str, name: &str, value: &str) -> String {
    let (number, length) = (libc::SYS_setxattr, value.len());
    format!(
        "perl -e '($f, $n, $v) = @ARGV; syscall({number}, $f, $n, $v, {length}, 0) == 0 or die $!' \
         {file} {name} {value}"
    )
}
