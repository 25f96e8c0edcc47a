//! Behaviour of scopes, deadlines and waiting for several, under the virtual clock; named for what must hold.

mod cancel;
mod drops;
mod gather;
mod race;
mod scope;
mod set;
mod stress;
mod supervised;
mod timeout;
mod trace;
mod tree;
