//! `isorecipe completions`: what a shell can complete.

use clap::{Command, CommandFactory};

use super::{Arguments, print};

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe completions bash > ~/.local/share/bash-completion/completions/isorecipe")]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> u8 {
        let mut text = Vec::new();
        let mut shown = shown(&Arguments::command());
        clap_complete::generate(self.shell, &mut shown, "isorecipe", &mut text);
        print(&String::from_utf8_lossy(&text))
    }
}

/// The command line without what is hidden, which `clap_complete` would complete.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let shown = Command::new(command.get_name().to_owned())
        .args(arguments.cloned())
        .subcommands(command.get_subcommands().map(shown));
    let shown = match command.get_about() {
        Some(about) => shown.about(about.clone()),
        None => shown,
    };
    match command.get_version() {
        Some(version) => shown.version(version.to_owned()).propagate_version(true),
        None => shown,
    }
}
