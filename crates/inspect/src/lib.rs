#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod collect;
mod graph;
mod inspector;
mod json;
mod origin;
mod prometheus;
mod query;
mod server;
mod view;

pub use inspector::{Inspector, Options, serve, serve_from_env};
