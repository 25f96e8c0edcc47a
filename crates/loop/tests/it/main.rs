//! The loop's behaviour. Where time passes, it is virtual; where another thread takes part, it is a real one. Everything runs
//! on the portable reactor path as well, under `--cfg polling_test_poll_backend`.

mod blocking;
mod calls;
mod close;
mod errors;
mod interval;
mod life;
mod reactor;
mod slow;
mod time;
mod trace;
mod turn;
mod virtual_clock;
