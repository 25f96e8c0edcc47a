//! The options of a loop whose runs are those of a guest.

use std::time::Duration;

use real_loop::{Clock, LoopError, Stuck};

use crate::event_loop::EventLoop;

/// The loop's options.
#[derive(Debug)]
pub struct Builder(pub(crate) real_loop::Builder);

macro_rules! options {
    ($($name:ident($($argument:ident: $type:ty),*);)+) => {
        $(
            /// As of the loop.
            pub fn $name(self, $($argument: $type),*) -> Builder {
                Builder(self.0.$name($($argument),*))
            }
        )+
    };
}

impl Builder {
    options! {
        blocking_threads(threads: usize);
        clock(clock: &(impl Clock + Clone + 'static));
        deadlock_delay(delay: Duration);
        driver(driver: impl picot_reactor::driver::Driver + 'static);
        error_on_deadlock();
        io_grace(grace: Duration);
        lookup_threads(threads: usize);
        record_wake_latency();
        shuffle_seed(seed: u64);
        slow_step_limit(limit: Duration);
        watchdog(limit: Duration, hook: impl FnMut(&Stuck) + Send + 'static);
    }

    /// As of the loop.
    #[track_caller]
    pub fn build(self) -> Result<EventLoop, LoopError> {
        self.0.build().map(EventLoop::of)
    }

    /// As of the loop, inside of a host.
    #[track_caller]
    pub fn run<F: IntoFuture>(self, future: F) -> F::Output {
        let event_loop = match self.build() {
            Ok(event_loop) => event_loop,
            Err(error) => panic!("{error}"),
        };
        match event_loop.run_until_complete(future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }
}
