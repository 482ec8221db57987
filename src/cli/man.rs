//! `isorecipe man`: the manual page.

use clap::CommandFactory;

use super::{Arguments, print};

/// Print the manual page of isorecipe or of one of its commands
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe man apply | man -l -")]
pub(super) struct Man {
    /// A command: `apply`, `plan` and so on
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> u8 {
        let whole = Arguments::command();
        let page = match &self.command {
            None => whole,
            Some(name) => match whole.find_subcommand(name) {
                Some(command) => command.clone().name(format!("isorecipe-{name}")),
                None => {
                    use std::io::Write;
                    let _ = writeln!(
                        std::io::stderr(),
                        "there is no command `{}`\nhelp: `isorecipe --help` lists them",
                        crate::yaml::printable(name)
                    );
                    return super::WRONG_USAGE;
                }
            },
        };
        let mut text = Vec::new();
        let _ = clap_mangen::Man::new(page).render(&mut text);
        print(&String::from_utf8_lossy(&text))
    }
}
