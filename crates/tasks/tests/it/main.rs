//! Behaviour of scopes, deadlines and waiting for several, under the virtual clock; named for what
//! must hold.

mod budget;
mod cancel;
mod drops;
mod gather;
mod leftovers;
mod many;
mod order;
mod panics;
mod places;
mod race;
mod scope;
mod set;
mod stress;
mod supervised;
mod texts;
mod timeout;
mod trace;
mod tree;
mod wakers;
