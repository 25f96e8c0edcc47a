//! Runtimes that have timers, picot's loop among them, as the workloads of
//! `picot_benches::sleepers` see them.

use std::rc::Rc;
use std::time::Duration;

use picot_benches::scheduler::Scheduler;
use picot_benches::sleepers::Sleeper;

use crate::schedulers::{Compio, Monoio, SMOL, SmolLocalExecutor, TokioLocalRuntime, TokioLocalSet};

/// smol's `LocalExecutor` together with its reactor, async-io.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// monoio on its epoll driver, with timers.
#[derive(Clone, Copy, Debug)]
pub struct MonoioTimed;

impl Sleeper for TokioLocalRuntime {
    fn sleep(self, duration: Duration) -> impl Future + 'static {
        tokio::time::sleep(duration)
    }
}

/// tokio's `LocalSet` on a current-thread runtime, with I/O and time.
#[derive(Clone, Copy, Debug)]
pub struct TokioLocalSetTimed;

impl Scheduler for TokioLocalSetTimed {
    const NAME: &'static str = TokioLocalSet::NAME;
    type Join<T: 'static> = <TokioLocalSet as Scheduler>::Join<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        TokioLocalSet.spawn(future)
    }
}

impl Scheduler for Smol {
    const NAME: &'static str = "smol";
    type Join<T: 'static> = async_executor::Task<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let executor = Rc::new(async_executor::LocalExecutor::new());
        SMOL.set(Some(executor.clone()));
        let output = async_io::block_on(executor.run(future));
        SMOL.set(None);
        output
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        SmolLocalExecutor.spawn(future)
    }
}

impl Sleeper for Smol {
    fn sleep(self, duration: Duration) -> impl Future + 'static {
        async_io::Timer::after(duration)
    }
}

impl Scheduler for MonoioTimed {
    const NAME: &'static str = "monoio";
    const WAKES_FROM_ANYWHERE: bool = Monoio::WAKES_FROM_ANYWHERE;
    type Join<T: 'static> = monoio::task::JoinHandle<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let builder = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer();
        builder.build().unwrap().block_on(future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        Monoio.spawn(future)
    }
}

impl Sleeper for MonoioTimed {
    /// What is woken last runs first, so a task that yields for ever keeps all others, and the
    /// timers, from running.
    const IS_FAIR: bool = false;

    fn sleep(self, duration: Duration) -> impl Future + 'static {
        monoio::time::sleep(duration)
    }
}

impl Sleeper for Compio {
    fn sleep(self, duration: Duration) -> impl Future + 'static {
        compio::time::sleep(duration)
    }
}
