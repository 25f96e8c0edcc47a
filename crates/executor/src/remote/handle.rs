//! The executor seen from other threads.
//!
//! Each item either runs on the executor's thread, or returns to its sender in the error, or is
//! dropped on that thread at close and counted in its report. No item is lost silently.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::remote::item::RemoteItem;
use crate::remote::task::{RemoteTask, Request};
use crate::run::call::CallHandle;
use crate::run::queue::Item;
use crate::shared::Shared;

/// A handle for other threads: the only way in from outside.
///
/// ```
/// use picot_executor::Executor;
///
/// let executor = Executor::new();
/// let remote = executor.remote();
/// let threads: Vec<_> = (1..=3)
///     .map(|n| {
///         let remote = remote.clone();
///         let make = move || async move { println!("from {n}") };
///         std::thread::spawn(move || drop(remote.spawn(make)))
///     })
///     .collect();
/// threads.into_iter().for_each(|thread| thread.join().unwrap());
/// assert_eq!(executor.run_until_stalled(), 3);
/// ```
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    /// The backlog at which this handle refuses.
    limit: usize,
}

impl Remote {
    pub(crate) fn new(shared: Arc<Shared>) -> Remote {
        Remote { shared, limit: usize::MAX }
    }

    /// The number of items from other threads, through any handle, that the executor has not taken
    /// yet. It takes at most [`PER_TAKE`](crate::Executor::PER_TAKE) in each turn. If the number
    /// keeps growing, the senders are faster than the executor.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// let sender = std::thread::spawn(move || {
    ///     remote.call_soon(|| ()).unwrap();
    ///     remote.backlog()
    /// });
    /// assert_eq!(sender.join().unwrap(), 1);
    /// ```
    pub fn backlog(&self) -> usize {
        self.shared.inbox.len()
    }

    /// A handle that refuses calls and spawns while the [backlog](Remote::backlog) is `limit` or
    /// more: back-pressure for senders that may be faster than the executor. Its clones have the
    /// same limit, and other handles keep their own.
    ///
    /// Wakes are never refused. Calls on the executor's own thread are never refused either,
    /// because they go to its queue at once. Threads that call at the same moment may exceed the
    /// limit, each by one.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote().with_limit(2);
    /// let sender = std::thread::spawn(move || {
    ///     remote.call_soon(|| ()).unwrap();
    ///     remote.call_soon(|| ()).unwrap();
    ///     remote.call_soon(|| ()).unwrap_err().is_full()
    /// });
    /// assert!(sender.join().unwrap());
    /// ```
    pub fn with_limit(self, limit: usize) -> Remote {
        Remote { limit, ..self }
    }

    fn is_full(&self) -> bool {
        self.limit != usize::MAX && self.backlog() >= self.limit
    }

    /// Runs `call` on the executor's thread in a later turn, and wakes that thread if it sleeps.
    /// Calls from one thread keep their order. On the executor's own thread this equals its
    /// `call_soon`.
    ///
    /// # Errors
    /// [`Refused`] with the call, if the executor is closed, or if the [limit](Remote::with_limit)
    /// of the handle is reached.
    ///
    /// ```
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let remote = executor.remote();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let call = move || sender.send("hello").unwrap();
    /// std::thread::spawn(move || remote.call_soon(call)).join().unwrap().unwrap();
    /// executor.run_until_stalled();
    /// assert_eq!(receiver.recv(), Ok("hello"));
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let place = Location::caller();
        if let Some(local) = self.shared.local.get() {
            if local.check_open().is_err() {
                return Err(Refused { call: Box::new(call), is_full: false });
            }
            local.queue.push(Item::Call(CallHandle::new_at(place, call)));
            return Ok(());
        }
        if self.is_full() {
            return Err(Refused { call: Box::new(call), is_full: true });
        }
        self.shared.hand_over(RemoteItem::Call(place, Box::new(call))).map_err(|item| match item {
            RemoteItem::Call(_, call) => Refused { call, is_full: false },
            _ => unreachable!("a refused push returns the pushed item"),
        })
    }

    /// Makes a task on the executor's thread. `make` is called there, in the first step of the
    /// task, and returns the task's future, which need not be `Send` and never leaves that thread.
    /// The handle works on any thread. Spawns and calls from one thread keep their order.
    /// Task-locals do not cross threads: the task starts with none; on the executor's own thread it
    /// inherits them as usual.
    ///
    /// # Errors
    /// [`Refused`] with `make`, if the executor is closed, or if the [limit](Remote::with_limit) of
    /// the handle is reached. If the executor is closed later, the task is dropped on its thread
    /// and counted in the [`ClosedTasks`](crate::ClosedTasks), and its waiter gets a cancellation.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let remote = executor.remote();
    /// let thread = std::thread::spawn(move || {
    ///     let mut task = remote.spawn(|| async { *Rc::new(6) * 7 }).unwrap();
    ///     task.wait(None).unwrap()
    /// });
    /// while !thread.is_finished() {
    ///     executor.run_until_stalled();
    /// }
    /// assert_eq!(thread.join().unwrap(), 42);
    /// ```
    #[doc(alias = "run_coroutine_threadsafe")]
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Result<RemoteTask<F::Output>, Refused<M>>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        if self.shared.local.get().is_none() && self.is_full() {
            return Err(Refused { call: make, is_full: true });
        }
        let (request, task) = Request::pair(Location::caller(), self.shared.clone(), make);
        let refused = match self.shared.local.get() {
            Some(local) if local.check_open().is_ok() => {
                request.start(&self.shared, picot_context::inherited(None), None);
                return Ok(task);
            }
            Some(_) => request,
            None => match self.shared.hand_over(RemoteItem::Spawn(request)) {
                Ok(()) => return Ok(task),
                Err(RemoteItem::Spawn(request)) => request,
                Err(_) => unreachable!("a refused push returns the pushed item"),
            },
        };
        let make = refused.into_make().downcast().expect("a refused push returns the pushed item");
        Err(Refused { call: *make, is_full: false })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A call or a spawn that an executor refused, because it is closed or its backlog is full.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let remote = executor.remote();
/// executor.close();
/// let refused = remote.call_soon(|| println!("then here")).unwrap_err();
/// println!("{refused}");
/// (refused.into_call())();
/// ```
pub struct Refused<C = Box<dyn FnOnce() + Send>> {
    call: C,
    is_full: bool,
}

impl<C> Refused<C> {
    /// Whether the [limit](Remote::with_limit) of the handle was reached; try again later.
    /// Otherwise the executor is closed.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote().with_limit(0);
    /// executor.close();
    /// assert!(!remote.call_soon(|| ()).unwrap_err().is_full(), "it is closed");
    /// ```
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The same without the call, which is dropped.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// executor.close();
    /// let refused = remote.call_soon(|| ()).unwrap_err();
    /// let refused: picot_executor::Refused<()> = refused.without_call();
    /// assert!(!refused.is_full());
    /// ```
    pub fn without_call(self) -> Refused<()> {
        Refused { call: (), is_full: self.is_full }
    }

    /// The closure, for the caller to run elsewhere or to drop.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// executor.close();
    /// let make = remote.spawn(|| async { 3 }).unwrap_err().into_call();
    /// let other = picot_executor::Executor::new();
    /// assert_eq!(other.block_on(make()), 3);
    /// ```
    pub fn into_call(self) -> C {
        self.call
    }
}

impl<C> fmt::Debug for Refused<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").finish_non_exhaustive()
    }
}

impl<C> fmt::Display for Refused<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_full {
            "too many calls wait at the loop; try again later"
        } else {
            "the loop is closed and takes no more calls"
        })
    }
}

impl<C> std::error::Error for Refused<C> {}
