//! Options that say which layers of a recipe a run takes, and where it pauses.

use crate::recipe::Wishes;

/// Which layers to take; LAYER is a layer's name, or its number in the recipe
#[derive(clap::Args, Debug, Default)]
pub(super) struct Choice {
    /// Leave a layer out, to see what goes wrong without it
    #[arg(long, value_name = "LAYER")]
    skip: Vec<String>,
    /// Take only the layers up to this one, and a shell as the command
    #[arg(long, value_name = "LAYER")]
    until: Option<String>,
}

/// Where to wait
#[derive(clap::Args, Debug, Default)]
pub(super) struct Pauses {
    /// Wait for Enter before each layer, showing what it does
    #[arg(long)]
    step: bool,
    /// Wait for Enter after a layer, to look at it from another terminal
    #[arg(long, value_name = "LAYER")]
    pause_after: Vec<String>,
}

impl Choice {
    pub(super) fn wishes(&self) -> Wishes {
        Wishes { skip: self.skip.clone(), until: self.until.clone(), ..Wishes::default() }
    }
}

impl Pauses {
    pub(super) fn add_to(self, wishes: Wishes) -> Wishes {
        Wishes { step_by_step: self.step, pause_after: self.pause_after, ..wishes }
    }
}
