//! The primitives of picot-sync, polled by hand, so that the tests see every step and every wake.

mod allocations;
mod barrier;
mod broadcast;
mod condvar;
mod deadlock;
mod drops;
mod dump;
mod event;
mod every_future;
mod hands;
mod model;
mod mpsc;
mod mutex;
mod once_cell;
mod oneshot;
mod queue;
mod random;
mod semaphore;
mod wakers;
mod watch;
