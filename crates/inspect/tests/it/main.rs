//! The tests of the inspector: what it serves, and what it refuses.

mod client;
mod hostile;
mod shown;
