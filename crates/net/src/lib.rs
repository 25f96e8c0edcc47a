#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod duplex;
mod listener;
mod stream;

pub use address::{Address, lookup};
pub use duplex::{Duplex, duplex};
pub use listener::TcpListener;
pub use stream::TcpStream;
