#![doc = include_str!("../README.md")]

mod body;
#[cfg(feature = "client")]
pub mod client;
mod executor;
mod file;
mod io;
#[cfg(feature = "server")]
pub mod server;
mod timer;
#[cfg(feature = "server")]
mod tower;

pub use body::{Body, BoxError};
#[cfg(feature = "client")]
pub use client::Client;
pub use executor::LoopExecutor;
pub use io::{AnyStream, FuturesIo, HttpStream, Io};
#[cfg(feature = "server")]
pub use server::{HttpServer, serve, serve_tower};
pub use timer::LoopTimer;
#[cfg(feature = "server")]
pub use tower::TowerService;

/// The crates whose types are part of this crate's interface.
pub use {bytes, http, http_body, hyper};
