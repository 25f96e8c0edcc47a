//! Every example is run as a program: what it prints, and with which status it ends.

mod echo;
mod only_executor;
mod sort_chunks;
