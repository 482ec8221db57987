//! Situations as data, tried, and told on a page.
#![allow(dead_code, missing_docs)]

pub mod page;
pub mod row;
mod shell;
pub mod trial;
