//! `isorecipe build`: makes the image that a recipe describes.

use std::{ffi::OsString, path::Path};

use serde_json::json;

use crate::{
    build::{self, Built, Order, Stop},
    diagnostic::{Diagnostic, Record, Refusal},
    host::Host,
    layers::Layer,
    model::capability,
    plan,
    recipe::{Document, Filesystem, Recipe},
    sys::{self, ids::Lowered},
    yaml,
};

use super::{Output, PROBLEM_FOUND, RecipePath, located, print, progress::Bar};

/// Of what could not be read, so many are named.
const FEW: usize = 5;

/// Make the image, or the directory, that a recipe's `image` describes
///
/// It is made beside its place and put there whole, and only if the recipe or
/// something that it copies has changed. Without root, but for xfs.
///
/// Exit status: 0 if the image is there, 1 if not, 2 for wrong usage, 128+N if
/// signal N ended it.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe build recipes/step4-rootless.yaml                 a directory
  sudo isorecipe build recipes/step4.yaml                     an xfs image
  isorecipe build --print-digest recipes/step4-squashfs.yaml  the same bytes everywhere

The times of all files are SOURCE_DATE_EPOCH, or 0. The digest of a directory is
the SHA-256 of a line for each file in it, sorted by path: kind (d f l p s c b),
mode, time, path and content (a file's SHA-256, a link's target), with NUL between.")]
pub(super) struct Build {
    /// Build it even if nothing has changed, and over what somebody else has made
    #[arg(long)]
    force: bool,
    /// Print `sha256:…` of the image, and nothing else, on standard output
    #[arg(long)]
    print_digest: bool,
    /// The recipe: a file, or `-` for standard input
    #[arg(value_name = "RECIPE")]
    recipe: RecipePath,
}

impl Build {
    pub(super) fn run(self, output: &Output) -> u8 {
        // Before anything is opened: through `sudo`, all that follows is the user's own doing.
        let by = match By::of_caller() {
            Ok(by) => by,
            Err(errno) => {
                let diagnostic = build::no_step_down(errno).at(yaml::Path::root());
                output.complain(&[diagnostic]);
                return PROBLEM_FOUND;
            }
        };
        let Some((recipe, document)) = self.recipe.load_or_complain(output) else {
            return PROBLEM_FOUND;
        };
        let Some(image) = &recipe.image else {
            output.complain(&located(&document, vec![no_image()]));
            return PROBLEM_FOUND;
        };
        if let Err(errno) = by.settle(image.filesystem) {
            let diagnostic = build::no_step_down(errno).at(yaml::Path::root());
            output.complain(&[diagnostic]);
            return PROBLEM_FOUND;
        }
        let order = Order {
            image,
            folder: &recipe.folder,
            has_user_layer: recipe.layers.iter().any(|layer| matches!(layer, Layer::User(_))),
            host: &by.host,
            lowered: by.lowered.as_ref().filter(|_| by.can_mount),
            search: search(),
            epoch: std::env::var_os("SOURCE_DATE_EPOCH"),
            force: self.force,
            digest: self.print_digest,
        };
        let mut bar = Bar::new(output);
        let built = build::build(&order, &mut bar);
        bar.clear();
        drop(bar);
        match built {
            Ok(built) => self.report(&built, &recipe, &document, output),
            Err(Stop::Refused(diagnostic)) => {
                output.complain(&located(&document, vec![*diagnostic]));
                PROBLEM_FOUND
            }
            Err(Stop::Signal(signal)) => {
                // Everything is taken away again; now it ends as the caller wished.
                let _ = sys::process::send(sys::process::own_pid(), signal);
                u8::try_from(128 + signal).unwrap_or(PROBLEM_FOUND)
            }
        }
    }

    fn report(&self, built: &Built, recipe: &Recipe, document: &Document, output: &Output) -> u8 {
        let mut warnings = built.warnings.clone();
        warnings.extend(left_out(&built.unreadable));
        let warnings = located(document, warnings);
        if output.json {
            return print(&format!("{}\n", self.json(built, recipe, &warnings)));
        }
        output.complain(&warnings);
        let sentence = sentence(built, recipe);
        match &built.digest {
            None => print(&sentence),
            Some(digest) => {
                // Who asks for the digest wants it alone.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), sentence.as_bytes());
                print(&format!("{digest}\n"))
            }
        }
    }

    fn json(&self, built: &Built, recipe: &Recipe, warnings: &[Diagnostic]) -> serde_json::Value {
        let paths: Vec<String> =
            built.unreadable.iter().map(|path| path.display().to_string()).collect();
        let problems: Vec<Record> = warnings.iter().map(Record::from).collect();
        json!({
            "recipe": self.recipe.name(),
            "image": built.target.display().to_string(),
            "filesystem": recipe.image.as_ref().map(|image| image.filesystem.name()),
            "built": !built.reasons.is_empty(),
            "why": built.reasons,
            "size": built.size,
            "files": built.files,
            "digest": built.digest,
            "unreadable": { "count": paths.len(), "paths": paths },
            "problems": problems,
        })
    }
}

/// Who builds: the caller, or through `sudo` the user behind it.
struct By {
    host: Host,
    lowered: Option<Lowered>,
    /// Whether who was stepped down from could have mounted an image
    can_mount: bool,
}

impl By {
    fn of_caller() -> Result<By, sys::Errno> {
        let host = Host::at_hand();
        let Some(user) = &host.invoker else {
            return Ok(By { host, lowered: None, can_mount: false });
        };
        let can_mount = host.has(capability::SYS_ADMIN);
        let home = Host::home_of(user.uid);
        let lowered = Lowered::new(user.uid, user.gid, &user.groups)?;
        let mut host = Host::at_hand();
        // `sudo` keeps root's home in `HOME`.
        host.caller.home = home.or(host.caller.home);
        Ok(By { host, lowered: Some(lowered), can_mount })
    }

    /// Only who makes an xfs becomes root once more.
    fn settle(&self, filesystem: Filesystem) -> Result<(), sys::Errno> {
        let Some(lowered) = &self.lowered else { return Ok(()) };
        if filesystem == Filesystem::Xfs {
            return Ok(());
        }
        lowered.for_good()?;
        // The change of ids took it away, and its own files in /proc with it.
        sys::process::become_dumpable()
    }
}

/// What happened, in a line.
fn sentence(built: &Built, recipe: &Recipe) -> String {
    let target = plan::within(&recipe.folder, &built.target.display().to_string());
    let target = target.strip_prefix("./").unwrap_or(&target);
    let kind = recipe.image.as_ref().map_or("", |image| image.filesystem.name());
    let size = human(built.size);
    let line = match built.reasons.is_empty() {
        true => format!("{target}: up to date ({kind}, {size}, {} files)", built.files),
        false => {
            let why = built.reasons.join(", ");
            format!("{target}: built ({kind}, {size}, {} files), because {why}", built.files)
        }
    };
    format!("{}\n", yaml::spelled_out(&line))
}

fn human(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        _ => format!("{} MiB", bytes.div_ceil(MIB)),
    }
}

/// What could not be read is no reason to stop, but to be known.
fn left_out(unreadable: &[std::path::PathBuf]) -> Option<Diagnostic> {
    if unreadable.is_empty() {
        return None;
    }
    let count = unreadable.len();
    let are = if count == 1 { "file is" } else { "files are" };
    let mut few: Vec<String> =
        unreadable.iter().take(FEW).map(|path| path.display().to_string()).collect();
    if count > FEW {
        few.push(format!("and {} more (`--json` names all)", count - FEW));
    }
    let refusal = Refusal::new("build::unreadable", format!("{count} {are} not in the image"))
        .why(format!("you may not read {}", few.join(", ")))
        .help("build it as somebody who may, or copy what you need one by one");
    Some(refusal.at(yaml::Path::root().key("image").key("copy")).warning())
}

fn no_image() -> Diagnostic {
    Refusal::new("build::no_image", "this recipe does not say how an image is made")
        .why("it has no `image`")
        .help("add one: `image: {file: rootfs, filesystem: directory, programs: [bash]}`")
        .at(yaml::Path::root())
}

/// Where programs are looked for; where login(1) would look, if nobody says.
fn search() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| {
        Path::new("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").into()
    })
}
