//! A situation, as `tests/catalogue/*.yaml` has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Who tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Person {
    Root,
    User,
}

/// What is around isorecipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Around {
    /// A mount namespace of the test's own, in which root sets up
    #[default]
    Mounts,
    /// A user namespace of the person's own, with mounts, in which isorecipe is root as well
    Box,
    /// Nothing: the person itself sets up
    Nothing,
}

/// One situation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `area/situation`
    pub id: String,
    /// How it comes about, in a few words
    pub about: String,
    /// Who gets into it; everybody if not said
    #[serde(rename = "as", default = "everybody")]
    pub people: Vec<Person>,
    /// Only the machine's own root can set it up
    #[serde(default)]
    pub needs_root: bool,
    #[serde(default)]
    pub around: Around,
    /// A script run before, in the folder of the recipe; `$program` may be set, and `$person` names who comes
    #[serde(default)]
    pub setup: String,
    /// Words before isorecipe's own, on its command line
    #[serde(default)]
    pub prefix: String,
    /// The recipe; `isorecipe: 1` comes before it, and `command: ["true"]` if it has none
    pub recipe: String,
    /// What is said; `ok` where nothing is, since what goes wrong elsewhere is well here
    pub code: String,
    /// Words that the message or the cause have in them
    #[serde(default)]
    pub says: Vec<String>,
    /// The call and the errno, as the kernel gives them; nothing where it is never asked
    #[serde(default)]
    pub fault: Option<String>,
    /// What `apply` exits with
    #[serde(default = "refused")]
    pub status: i32,
    /// How the remedy is applied
    #[serde(default)]
    pub remedy: Remedy,
}

/// What the remedy says, done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    /// What the recipe becomes
    pub recipe: Option<String>,
    /// Two texts: what of the recipe becomes what
    pub change: Option<(String, String)>,
    /// A script, in which `$typed` is the first thing between backticks of the remedy, `$typed2` the second
    pub script: Option<String>,
    /// Words before isorecipe's own from then on, if others
    pub prefix: Option<String>,
    /// Words of the remedy, where nothing between backticks is what was done
    #[serde(default)]
    pub says: Vec<String>,
    /// What is said afterwards; nothing at all, and the command runs, if not given
    pub then: Option<String>,
    /// Why it cannot be applied by a test
    pub not_applied: Option<String>,
}

fn everybody() -> Vec<Person> {
    vec![Person::Root, Person::User]
}

fn refused() -> i32 {
    125
}

/// What no recipe can bring about here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotMade {
    pub id: String,
    pub about: String,
    pub why: Why,
}

/// Why it is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No layer asks the kernel for it
    NoLayer,
    /// This kernel cannot say it, or another part of the system has to
    AnotherKernel,
    /// Only a mistake in isorecipe itself could bring it about
    Internal,
    /// The plan never lets it come to that
    Avoided,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue")
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = fs::read_to_string(file).expect("a file of situations");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every situation, in the order of the files; each name once.
pub fn all() -> Vec<Row> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("tests/catalogue")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .filter(|path| !path.ends_with("not-made.yaml") && !path.ends_with("only-causes.yaml"))
        .collect();
    files.sort();
    let rows: Vec<Row> = files.iter().flat_map(|file| read::<Vec<Row>>(file)).collect();
    let mut seen = BTreeSet::new();
    for id in rows.iter().map(|row| &row.id).chain(not_made().iter().map(|row| &row.id)) {
        assert!(seen.insert(id.clone()), "twice: {id}");
    }
    rows
}

pub fn not_made() -> Vec<NotMade> {
    read(&folder().join("not-made.yaml"))
}

/// Faults that have one cause only, as far as recipes go.
pub fn only_causes() -> Vec<String> {
    read(&folder().join("only-causes.yaml"))
}

/// Which codes one errno of one call may get.
pub fn codes_by_fault(rows: &[Row]) -> BTreeMap<String, BTreeSet<String>> {
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        if let Some(fault) = &row.fault {
            codes.entry(fault.clone()).or_default().insert(row.code.clone());
        }
    }
    codes
}
