//! Programs, and what they need to run: the links that their paths go through,
//! the loader, the libraries, the interpreter of a script.
//!
//! Every file keeps its path. So what was true here, of `#!/bin/sh` and of
//! the loader's name in a program, stays true in the image.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::yaml;

use super::{
    Ends, Stop,
    libraries::{self, Libraries},
    open,
    survey::{Found, Survey, file_node},
    tree::{Kind, MOST_LINKS, Node, Source},
    words,
};

/// The kernel reads no more of a script's first line (`execve(2)`).
const LONGEST_FIRST_LINE: usize = 256;

/// Adds the programs of a recipe.
pub(super) struct Programs<'a> {
    pub survey: &'a Survey<'a>,
}

/// What a file cannot run without.
enum Needs {
    Nothing,
    /// The loader, and every library
    Libraries(Vec<PathBuf>),
    /// Interpreters, which need something themselves
    Programs(Vec<PathBuf>),
}

/// A path, taken apart into the links on its way and the file at its end.
struct Way {
    /// Where each link is, and what it says
    links: Vec<(PathBuf, PathBuf)>,
    real: PathBuf,
}

impl Programs<'_> {
    pub(super) fn add(&self, found: &mut Found, at: &yaml::Path) -> Result<(), Stop> {
        let libraries = Libraries::of_this_machine();
        let mut brought = BTreeSet::new();
        for (index, program) in self.survey.image.programs.iter().enumerate() {
            let origin = at.index(index);
            let path = self.find(&program.0, &origin)?;
            self.survey.check_apart(&path, &origin)?;
            let mut wanted = vec![path];
            while let Some(path) = wanted.pop() {
                if !brought.insert(path.clone()) {
                    continue;
                }
                bring(found, &path, &origin)?;
                match self.needs(&path, &libraries, &origin)? {
                    Needs::Nothing => {}
                    Needs::Libraries(files) => {
                        files.iter().try_for_each(|file| bring(found, file, &origin))?;
                    }
                    Needs::Programs(more) => wanted.extend(more),
                }
            }
        }
        // The image's own loader finds some of them only as this machine's does.
        if libraries.needs_cache() {
            bring(found, Path::new(libraries::CACHE), at)?;
        }
        Ok(())
    }

    /// Along PATH; a name with a slash is a path of the recipe.
    fn find(&self, name: &str, origin: &yaml::Path) -> Result<PathBuf, Stop> {
        if name.contains('/') {
            let path = self.survey.source(Path::new(name));
            return match path.is_file() {
                true => Ok(path),
                false => Err(words::no_program(name).stop(origin)),
            };
        }
        let found = which::which_in(name, Some(self.survey.search), self.survey.folder);
        found.map_err(|_| words::no_program(name).stop(origin))
    }

    /// What a file cannot run without.
    fn needs(
        &self,
        path: &Path,
        libraries: &Libraries,
        origin: &yaml::Path,
    ) -> Result<Needs, Stop> {
        let start = match first_bytes(path) {
            Ok(start) => start,
            // It is left out, and said to be.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Needs::Nothing);
            }
            Err(error) => return Err(words::unread(path, &error).stop(origin)),
        };
        if let Some(line) = start.strip_prefix(b"#!") {
            return self.interpreters(path, line, origin).map(Needs::Programs);
        }
        if !start.starts_with(b"\x7fELF") {
            return Ok(Needs::Nothing);
        }
        libraries.needed(path).map(Needs::Libraries).map_err(|missing| match missing {
            libraries::Missing::Library(name) => words::no_library(path, &name).stop(origin),
            libraries::Missing::Loader(loader) => words::no_interpreter(path, &loader).stop(origin),
            libraries::Missing::Unread(error) => words::unread(path, &error).stop(origin),
        })
    }

    /// `#!/bin/sh`, and what `#!/usr/bin/env NAME` will look for.
    fn interpreters(
        &self,
        script: &Path,
        line: &[u8],
        origin: &yaml::Path,
    ) -> Result<Vec<PathBuf>, Stop> {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let mut words = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
            .map(|word| PathBuf::from(OsStr::from_bytes(word)));
        let Some(interpreter) = words.next() else { return Ok(Vec::new()) };
        if !interpreter.is_file() {
            return Err(words::no_interpreter(script, &interpreter).stop(origin));
        }
        let is_env = interpreter.file_name() == Some(OsStr::new("env"));
        let mut wanted = vec![interpreter];
        let is_name = |word: &PathBuf| {
            let word = word.as_os_str().as_bytes();
            !word.starts_with(b"-") && !word.contains(&b'=')
        };
        if is_env && let Some(name) = words.find(is_name) {
            wanted.push(self.find(&name.to_string_lossy(), origin)?);
        }
        Ok(wanted)
    }
}

/// Puts a file into the image at its own path, with the links on the way to it.
fn bring(found: &mut Found, path: &Path, origin: &yaml::Path) -> Result<(), Stop> {
    let cannot = |error: io::Error| words::unread(path, &error).stop(origin);
    let way = Way::of(path).map_err(cannot)?;
    for (link, target) in way.links {
        // The recipe may have put something else there, which is looked at below.
        if found.tree.find(&link).is_none() {
            let _ = found.tree.put(&link, link_node(&link, target, origin));
        }
    }
    let node = file_node(&way.real, origin).map_err(cannot)?;
    if node.source.as_ref().is_some_and(|source| !source.is_readable) {
        found.unreadable.push(way.real.clone());
    }
    found.put(&way.real, node)?;
    let leads_there = found.tree.find(path).is_some_and(|node| {
        matches!(node.kind, Kind::File)
            && node.source.as_ref().is_some_and(|source| source.path == way.real)
    });
    match leads_there {
        true => Ok(()),
        false => Err(words::elsewhere(path, &way.real).stop(origin)),
    }
}

fn link_node(link: &Path, target: PathBuf, origin: &yaml::Path) -> Node {
    let source = Source {
        path: link.to_owned(),
        stamp: format!("-> {}", target.as_os_str().as_bytes().escape_ascii()),
        taken: 0,
        shared: None,
        is_readable: true,
        has_attributes: false,
    };
    let kind = Kind::Symlink(target);
    Node { kind, mode: 0o777, source: Some(source), origin: origin.clone() }
}

impl Way {
    /// Walks a path of this machine as the kernel would.
    fn of(path: &Path) -> io::Result<Way> {
        let mut way = Way { links: Vec::new(), real: PathBuf::from("/") };
        let mut rest: Vec<OsString> = reversed(path);
        while let Some(step) = rest.pop() {
            if step == ".." {
                way.real.pop();
                continue;
            }
            let next = way.real.join(&step);
            if !fs::symlink_metadata(&next)?.is_symlink() {
                way.real = next;
                continue;
            }
            if way.links.len() >= MOST_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = fs::read_link(&next)?;
            rest.extend(reversed(&target));
            if target.is_absolute() {
                way.real = PathBuf::from("/");
            }
            way.links.push((next, target));
        }
        Ok(way)
    }
}

/// The steps of a path, the last first.
fn reversed(path: &Path) -> Vec<OsString> {
    let step = |part: Component| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(step).collect()
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    let file = open::through_links(path)?;
    file.take(LONGEST_FIRST_LINE as u64).read_to_end(&mut start)?;
    Ok(start)
}
