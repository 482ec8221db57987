//! isorecipe runs a command in a sandbox that a YAML recipe describes.
//!
//! This page is the tour of the house. A recipe lists [`layers`] of isolation.
//! Planning turns them into a [`plan::Plan`]: a flat list of steps, each with
//! who takes it, what it does, and the line of the recipe it comes from. One
//! plan has three readings, because every operation can be printed, simulated
//! and run:
//!
//! ```text
//!  YAML ──► Recipe ──► Plan ──► printed    `isorecipe plan`
//!                       │  ├──► run        `isorecipe apply`
//!                       │  └──► said       `isorecipe export`, in another tool's words
//!                       └─────► simulated  while it is planned: what will the kernel say?
//! ```
//!
//! So a failure that is predicted and one that has happened are explained by
//! the same code in the same words.
//!
//! # The floors
//!
//! A room imports only from floors below its own, never sideways among layers
//! or among operations. From the top:
//!
//! | floor | what lives there |
//! |---|---|
//! | `main`, `lib` | the program, and this page |
//! | [`cli`] | the commands, one file each |
//! | [`build`], [`doctor`], [`exec`], [`explain`], [`export`], [`observe`], [`verify`] | what the commands do: make an image; try a machine; have a supervisor and a child play the steps; print a page of the manual; say the steps in another tool's words; look at a sandbox from the host; compare it with its plan |
//! | [`recipe`] | a recipe file: read, located, planned |
//! | [`layers`] | what an author can ask for: `user`, `uts`, `overlay`, one file each |
//! | [`plan`] | takes the steps of the layers and simulates each as it comes |
//! | [`ops`] | what the kernel can be told, and the words for its refusals |
//! | [`model`] | a model of the kernel: namespaces and who owns them, ids, capabilities, mounts |
//! | [`cache`], [`diff`], [`host`], [`diagnostic`], [`registry`] | what was unpacked before; what a run changed; facts about a machine, as data; what is said to people; which sandboxes run |
//! | [`sys`], [`yaml`] | system calls, the only unsafe code; the reader of YAML, with the place of every word |
//!
//! Follow one thing through the house to know it: `hostname` goes from
//! `layers/hostname.rs` to `ops/uts.rs` to `sys/uts.rs`. CONTRIBUTING.md walks
//! the same way to add something.
//!
//! # Plan a recipe
//!
//! Planning reads a recipe and the facts of a host, and changes nothing. For a
//! recorded host it asks the machine it runs on nothing either.
//!
//! ```
//! use std::{path::Path, rc::Rc};
//!
//! use isorecipe::{host::Host, recipe::{Recipe, Run}};
//!
//! let text = b"isorecipe: 1\nlayers:\n  - user: {map: root}\n  - hostname: HOGE\ncommand: [bash]\n";
//! let (recipe, _, mistakes) = Recipe::read(text, "box.yaml", Path::new("/"));
//! assert!(mistakes.is_empty());
//!
//! let mut host = Host::default();
//! host.caller.uid = 1000;
//! host.caller.gid = 1000;
//! let plan = recipe.unwrap().plan(Rc::new(host), &Run::default());
//!
//! let steps: Vec<String> = plan.steps.iter().map(|step| step.op.to_string()).collect();
//! assert_eq!(steps, [
//!     "make a new user namespace",
//!     "write deny to setgroups",
//!     "write uid_map: 0 1000 1",
//!     "write gid_map: 0 1000 1",
//!     "set the hostname to HOGE",
//!     "set no_new_privs",
//!     "execute bash",
//! ]);
//! assert_eq!(plan.refusals[0].code(), "hostname::shared");
//! ```
pub mod build;
pub mod cache;
pub mod cli;
pub mod diagnostic;
pub mod diff;
pub mod doctor;
pub mod exec;
pub mod explain;
pub mod export;
pub mod host;
pub mod layers;
pub mod model;
pub mod observe;
pub mod ops;
pub mod plan;
pub mod recipe;
pub mod registry;
pub mod sys;
pub mod verify;
pub mod yaml;
