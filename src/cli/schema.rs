//! `isorecipe schema`: what a recipe may contain, for editors.

use crate::recipe::Recipe;

use super::print;

/// Print the JSON Schema of recipes, for editors and other programs
#[derive(clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> u8 {
        let schema = schemars::schema_for!(Recipe);
        print(&format!("{}\n", serde_json::to_string_pretty(&schema).unwrap_or_default()))
    }
}
