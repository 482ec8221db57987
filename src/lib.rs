//! isorecipe
pub mod cli;
pub mod diagnostic;
pub mod exec;
pub mod host;
pub mod layers;
pub mod model;
pub mod ops;
pub mod plan;
pub mod recipe;
pub mod sys;
pub mod yaml;
