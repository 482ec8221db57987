//! `isorecipe completions`: what a shell can complete.

use clap::CommandFactory;

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
        clap_complete::generate(self.shell, &mut Arguments::command(), "isorecipe", &mut text);
        print(&String::from_utf8_lossy(&text))
    }
}
