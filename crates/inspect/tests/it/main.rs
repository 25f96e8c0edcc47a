//! The tests of the inspector: what it serves, what it refuses, and what a browser shows.

mod browser;
mod client;
mod hostile;
mod shown;
