//! The executor seen from other threads.
//!
//! Whatever is handed over here runs on the executor's thread, or comes back in the error, or is dropped on that thread
//! at close and counted in its report. Nothing is ever dropped silently.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use async_task::Runnable;
use picot_context::Place;

use crate::call::CallHandle;
use crate::root::RootWaker;
use crate::shared::{Item, Meta, Shared};

type RemoteCall = Box<dyn FnOnce() + Send>;

/// What the inbox holds.
pub(crate) enum RemoteItem {
    Task(Runnable<Meta>),
    Call(Place, RemoteCall),
    Root(Arc<RootWaker>),
}

/// A handle for other threads: the only way in from outside.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

impl Remote {
    pub(crate) fn new(shared: Arc<Shared>) -> Remote {
        Remote { shared }
    }

    /// Runs `call` on the executor's thread in a later turn, and wakes that thread if it sleeps. Calls from one thread
    /// keep their order. On the executor's own thread this is the same as its `call_soon`, in one order with it.
    ///
    /// # Errors
    /// [`Refused`] with the call, if the executor is closed.
    ///
    /// ```
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let remote = executor.remote();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// std::thread::spawn(move || remote.call_soon(move || sender.send("hello").unwrap())).join().unwrap().unwrap();
    /// executor.run_until_stalled();
    /// assert_eq!(receiver.recv(), Ok("hello"));
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let place = Location::caller();
        if let Some(local) = self.shared.local.get() {
            if local.check_open().is_err() {
                return Err(Refused { call: Box::new(call) });
            }
            local.queue.push(Item::Call(CallHandle::new_at(place, call)));
            return Ok(());
        }
        self.shared.hand_over(RemoteItem::Call(place, Box::new(call))).map_err(|item| match item {
            RemoteItem::Call(_, call) => Refused { call },
            RemoteItem::Task(_) | RemoteItem::Root(_) => unreachable!("a refused push gives back what was pushed"),
        })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A call that a closed executor did not take.
pub struct Refused {
    call: RemoteCall,
}

impl Refused {
    /// The call, to be run elsewhere or dropped.
    pub fn into_call(self) -> Box<dyn FnOnce() + Send> {
        self.call
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the loop is closed and takes no more calls; this error holds the call, to be run elsewhere or dropped",
        )
    }
}

impl std::error::Error for Refused {}
