//! Other executors, as the workloads of `picot_benches::scheduler` see them.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::RemoteHandle;
use futures_util::task::LocalSpawnExt;
use picot_benches::scheduler::Scheduler;

/// tokio's `LocalRuntime`.
#[derive(Clone, Copy, Debug)]
pub struct TokioLocalRuntime;

/// tokio's `LocalSet` on a current-thread runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioLocalSet;

/// smol's `LocalExecutor`.
#[derive(Clone, Copy, Debug)]
pub struct SmolLocalExecutor;

/// smol's `StaticLocalExecutor`, which lives for ever.
#[derive(Clone, Copy, Debug)]
pub struct SmolStaticExecutor;

/// The `LocalPool` of futures.
#[derive(Clone, Copy, Debug)]
pub struct FuturesLocalPool;

/// monoio on its epoll driver.
#[derive(Clone, Copy, Debug)]
pub struct Monoio;

/// compio's runtime.
#[derive(Clone, Copy, Debug)]
pub struct Compio;

/// A handle whose future gives a `Result`: unwrapped.
#[derive(Debug)]
pub struct Unwrap<J>(pub(crate) J);

impl<J: Future<Output = Result<T, E>> + Unpin, T, E: std::fmt::Debug> Future for Unwrap<J> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(Result::unwrap)
    }
}

impl Scheduler for TokioLocalRuntime {
    const NAME: &'static str = "tokio LocalRuntime";
    type Join<T: 'static> = Unwrap<tokio::task::JoinHandle<T>>;

    fn run<F: Future>(self, future: F) -> F::Output {
        tokio::runtime::LocalRuntime::new().unwrap().block_on(future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        Unwrap(tokio::task::spawn_local(future))
    }
}

impl Scheduler for TokioLocalSet {
    const NAME: &'static str = "tokio LocalSet";
    type Join<T: 'static> = Unwrap<tokio::task::JoinHandle<T>>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        Unwrap(tokio::task::spawn_local(future))
    }
}

thread_local! {
    /// What tasks are spawned on, inside of `run`.
    pub(crate) static SMOL: RefCell<Option<Rc<async_executor::LocalExecutor<'static>>>> = const { RefCell::new(None) };
}

impl Scheduler for SmolLocalExecutor {
    const NAME: &'static str = "smol LocalExecutor";
    type Join<T: 'static> = async_executor::Task<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let executor = Rc::new(async_executor::LocalExecutor::new());
        SMOL.set(Some(executor.clone()));
        let output = futures_lite::future::block_on(executor.run(future));
        SMOL.set(None);
        output
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        SMOL.with_borrow(|executor| executor.as_ref().expect("inside of `run`").spawn(future))
    }
}

thread_local! {
    static SMOL_STATIC: Cell<Option<&'static async_executor::StaticLocalExecutor>> = const { Cell::new(None) };
    static FUTURES: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
}

impl Scheduler for SmolStaticExecutor {
    const NAME: &'static str = "smol static";
    type Join<T: 'static> = async_executor::Task<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let executor = async_executor::LocalExecutor::new().leak();
        SMOL_STATIC.set(Some(executor));
        futures_lite::future::block_on(executor.run(future))
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        SMOL_STATIC.get().expect("inside of `run`").spawn(future)
    }
}

impl Scheduler for FuturesLocalPool {
    const NAME: &'static str = "futures LocalPool";
    type Join<T: 'static> = RemoteHandle<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        let mut pool = LocalPool::new();
        FUTURES.set(Some(pool.spawner()));
        let output = pool.run_until(future);
        FUTURES.set(None);
        output
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        FUTURES.with_borrow(|spawner| {
            spawner.as_ref().expect("inside of `run`").spawn_local_with_handle(future).expect("the pool is there")
        })
    }
}

impl Scheduler for Monoio {
    const NAME: &'static str = "monoio";
    /// Only with its feature `sync`, which would slow down the other rows.
    const WAKES_FROM_ANYWHERE: bool = false;
    type Join<T: 'static> = monoio::task::JoinHandle<T>;

    fn run<F: Future>(self, future: F) -> F::Output {
        monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap().block_on(future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        monoio::spawn(future)
    }
}

impl Scheduler for Compio {
    const NAME: &'static str = "compio";
    /// 0.19.2 sleeps for ever in "remote wake": a wake of many that come at once is lost.
    const WAKES_FROM_ANYWHERE: bool = false;
    type Join<T: 'static> = Unwrap<compio::runtime::JoinHandle<T>>;

    fn run<F: Future>(self, future: F) -> F::Output {
        compio::runtime::Runtime::new().unwrap().block_on(future)
    }

    fn spawn<F: Future + 'static>(self, future: F) -> Self::Join<F::Output>
    where
        F::Output: 'static,
    {
        Unwrap(compio::runtime::spawn(future))
    }
}
