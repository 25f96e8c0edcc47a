//! The primitives of picot-sync, polled by hand, so that every step and every wake is seen.

mod allocations;
mod barrier;
mod condvar;
mod deadlock;
mod drops;
mod dump;
mod event;
mod every_future;
mod hands;
mod model;
mod mutex;
mod oneshot;
mod queue;
mod random;
mod semaphore;
mod wakers;
mod watch;
