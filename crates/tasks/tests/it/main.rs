//! The behaviour of scopes, deadlines and waits for several, under the virtual clock.

mod bounded;
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
mod timeout;
mod trace;
mod tree;
mod wakers;
