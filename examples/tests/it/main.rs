//! Every example is run as a program: what it prints, and with which status it ends.

mod echo;
mod net;
mod sort_chunks;
