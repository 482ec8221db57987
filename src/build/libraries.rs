//! Which shared libraries a program will load: `ld.so(8)`, `elf(5)`.
//!
//! Nothing is executed to find out, as `ldd(1)` would: a recipe may name a
//! program that nobody trusts, and root may be building. The files are read
//! and the loader's search is done in its own order: DT_RPATH, DT_RUNPATH,
//! the cache, the system's directories.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use elf::{ElfBytes, abi, endian::AnyEndian, file::Class, string_table::StringTable};

use super::open;

/// Where `ldconfig(8)` keeps what it has found.
pub(super) const CACHE: &str = "/etc/ld.so.cache";
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const CACHE_HEAD: usize = 48;
const CACHE_ENTRY: usize = 24;
/// A program of more than this is no program for a small root.
const LARGEST: u64 = 1 << 30;

/// Why a program could not run.
pub(super) enum Missing {
    Library(String),
    Loader(PathBuf),
    Unread(io::Error),
}

/// The loader's knowledge of this machine.
pub(super) struct Libraries {
    cache: BTreeMap<Vec<u8>, Vec<PathBuf>>,
    system: Vec<PathBuf>,
    uses_cache: Cell<bool>,
}

/// What a program or a library says about itself.
struct Object {
    machine: (u8, u16),
    interpreter: Option<PathBuf>,
    needed: Vec<Vec<u8>>,
    /// DT_RPATH, which holds for the libraries' libraries as well
    rpath: Vec<PathBuf>,
    /// DT_RUNPATH, which holds for its own libraries only, and ends DT_RPATH
    runpath: Vec<PathBuf>,
}

impl Libraries {
    pub(super) fn of_this_machine() -> Libraries {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let multiarch = ["/lib", "/usr/lib"].map(|lib| Path::new(lib).join(&triplet));
        let plain = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from);
        Libraries {
            // A machine without a cache has only the system's directories.
            cache: fs::read(CACHE).ok().and_then(|bytes| cached(&bytes)).unwrap_or_default(),
            system: multiarch.into_iter().chain(plain).collect(),
            uses_cache: Cell::new(false),
        }
    }

    /// Whether some library is found through the cache alone.
    pub(super) fn needs_cache(&self) -> bool {
        self.uses_cache.get()
    }

    /// The loader and all libraries of a program, the libraries' own included.
    pub(super) fn needed(&self, program: &Path) -> Result<Vec<PathBuf>, Missing> {
        let object = Object::read(program).map_err(Missing::Unread)?;
        let Some(object) = object else { return Ok(Vec::new()) };
        let machine = object.machine;
        let mut all = BTreeSet::new();
        if let Some(loader) = &object.interpreter {
            if !loader.is_file() {
                return Err(Missing::Loader(loader.clone()));
            }
            all.insert(loader.clone());
        }
        let mut names = BTreeSet::new();
        let inherited: Vec<PathBuf> = Vec::new();
        let mut waiting = vec![(object, inherited)];
        while let Some((object, inherited)) = waiting.pop() {
            let (first, passed_on) = object.search(&inherited);
            for name in object.needed {
                if !names.insert(name.clone()) {
                    continue;
                }
                let (path, library) = self
                    .find(&name, &first, machine)
                    .ok_or_else(|| Missing::Library(String::from_utf8_lossy(&name).into_owned()))?;
                all.insert(path);
                waiting.push((library, passed_on.clone()));
            }
        }
        Ok(all.into_iter().collect())
    }

    fn find(
        &self,
        name: &[u8],
        first: &[PathBuf],
        machine: (u8, u16),
    ) -> Option<(PathBuf, Object)> {
        let fits = |path: PathBuf| {
            let object = Object::read(&path).ok().flatten()?;
            (object.machine == machine).then_some((path, object))
        };
        let file = Path::new(OsStr::from_bytes(name));
        if name.contains(&b'/') {
            return fits(file.to_owned());
        }
        let within = |directory: &PathBuf| fits(directory.join(file));
        if let Some(found) = first.iter().find_map(within) {
            return Some(found);
        }
        let cached = self.cache.get(name).into_iter().flatten();
        if let Some(found) = cached.cloned().find_map(fits) {
            let is_usual = found.0.parent().is_some_and(|above| self.is_usual(above));
            self.uses_cache.set(self.uses_cache.get() || !is_usual);
            return Some(found);
        }
        self.system.iter().find_map(within)
    }

    fn is_usual(&self, directory: &Path) -> bool {
        self.system.iter().any(|usual| usual == directory)
    }
}

impl Object {
    /// Nothing, for a file that is no ELF file.
    fn read(path: &Path) -> io::Result<Option<Object>> {
        let status = fs::metadata(path)?;
        if !status.is_file() || status.len() > LARGEST {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        open::through_links(path)?.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Object::parse(&bytes, path))
    }

    fn parse(bytes: &[u8], path: &Path) -> Option<Object> {
        let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
        let class = if file.ehdr.class == Class::ELF64 { 2 } else { 1 };
        let mut object = Object {
            machine: (class, file.ehdr.e_machine),
            interpreter: interpreter(&file),
            needed: Vec::new(),
            rpath: Vec::new(),
            runpath: Vec::new(),
        };
        // A static program has none.
        let Some((entries, strings)) = dynamic(&file) else { return Some(object) };
        let origin = fs::canonicalize(path).ok();
        let origin = origin.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
        for (tag, value) in entries {
            let Some(text) = usize::try_from(value).ok().and_then(|at| strings.get_raw(at).ok())
            else {
                continue;
            };
            match tag {
                abi::DT_NEEDED => object.needed.push(text.to_owned()),
                abi::DT_RPATH => object.rpath = directories(text, origin),
                abi::DT_RUNPATH => object.runpath = directories(text, origin),
                _ => {}
            }
        }
        Some(object)
    }

    /// Where its libraries are looked for first, and what their libraries inherit.
    fn search(&self, inherited: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
        if !self.runpath.is_empty() {
            return (self.runpath.clone(), inherited.to_vec());
        }
        let all: Vec<PathBuf> = self.rpath.iter().chain(inherited).cloned().collect();
        (all.clone(), all)
    }
}

fn interpreter(file: &ElfBytes<AnyEndian>) -> Option<PathBuf> {
    let segment = file.segments()?.iter().find(|segment| segment.p_type == abi::PT_INTERP)?;
    let path = file.segment_data(&segment).ok()?;
    let path = path.split(|&byte| byte == 0).next()?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

/// The dynamic section, and the strings that it speaks of.
fn dynamic<'a>(file: &ElfBytes<'a, AnyEndian>) -> Option<(Vec<(i64, u64)>, StringTable<'a>)> {
    let table = file.dynamic().ok()??;
    let entries: Vec<(i64, u64)> = table.iter().map(|entry| (entry.d_tag, entry.d_val())).collect();
    let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let address = value(abi::DT_STRTAB)?;
    let is_there =
        |start: u64, length: u64| address.checked_sub(start).is_some_and(|at| at < length);
    let segment = file.segments()?.iter().find(|segment| {
        segment.p_type == abi::PT_LOAD && is_there(segment.p_vaddr, segment.p_filesz)
    })?;
    let at = usize::try_from(address.checked_sub(segment.p_vaddr)?).ok()?;
    let strings = file.segment_data(&segment).ok()?.get(at..)?;
    Some((entries, StringTable::new(strings)))
}

/// The directories of a path list; those that depend on the processor are left out.
fn directories(list: &[u8], origin: &Path) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(list);
    let origin = origin.to_string_lossy();
    text.split(':')
        .map(|part| part.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
        .filter(|part| part.starts_with('/') && !part.contains('$'))
        .map(PathBuf::from)
        .collect()
}

/// Names and paths of `/etc/ld.so.cache`, without those for special processors.
fn cached(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<PathBuf>>> {
    // An older format may stand before the one that is read here.
    let start = bytes.windows(CACHE_MAGIC.len()).position(|window| window == CACHE_MAGIC)?;
    let bytes = bytes.get(start..)?;
    let number = |at: usize| -> Option<usize> {
        let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(four)).ok()
    };
    let text = |at: usize| bytes.get(at..)?.split(|&byte| byte == 0).next();
    let mut all: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    for entry in bytes.get(CACHE_HEAD..)?.chunks_exact(CACHE_ENTRY).take(number(20)?) {
        let field = |at: usize| -> Option<usize> {
            let four: [u8; 4] = entry.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_ne_bytes(four)).ok()
        };
        let is_special = entry.get(16..)?.iter().any(|&byte| byte != 0);
        if is_special {
            continue;
        }
        let (name, path) = (text(field(4)?)?, text(field(8)?)?);
        all.entry(name.to_owned()).or_default().push(PathBuf::from(OsStr::from_bytes(path)));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_is_cut_off_anywhere_is_not_the_whole_one_and_no_panic() {
        let bytes = small_cache();
        let all = cached(&bytes).expect("a cache");
        assert_eq!(all.get(b"libx.so.1".as_slice()), Some(&vec![PathBuf::from("/lib/libx.so.1")]));
        for length in 0..bytes.len() - 1 {
            let whole = cached(&bytes[..length]).filter(|cut| *cut == all);
            assert!(whole.is_none(), "{length}");
        }
    }

    /// One library, as `ldconfig` writes it.
    fn small_cache() -> Vec<u8> {
        let (name, path) = (b"libx.so.1\0", b"/lib/libx.so.1\0");
        let mut bytes = CACHE_MAGIC.to_vec();
        bytes.extend(1_u32.to_ne_bytes());
        bytes.resize(CACHE_HEAD, 0);
        let start = (CACHE_HEAD + CACHE_ENTRY) as u32;
        for field in [1, start, start + name.len() as u32, 0, 0, 0] {
            bytes.extend(field.to_ne_bytes());
        }
        [bytes, name.to_vec(), path.to_vec()].concat()
    }

    #[test]
    fn a_program_that_is_cut_off_anywhere_is_no_panic() {
        let bytes = fs::read("/proc/self/exe").expect("this program");
        for length in (0..8192).step_by(13) {
            let _ = Object::parse(&bytes[..length], Path::new("/x"));
        }
    }

    #[test]
    fn the_origin_is_the_directory_of_the_program() {
        let found = directories(b"$ORIGIN/../lib:${ORIGIN}:/opt/$LIB:relative", Path::new("/a/b"));
        assert_eq!(found, ["/a/b/../lib", "/a/b"].map(PathBuf::from));
    }
}
