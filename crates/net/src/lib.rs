#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod listener;
mod stream;

pub use address::{Address, lookup};
pub use listener::TcpListener;
pub use stream::TcpStream;
