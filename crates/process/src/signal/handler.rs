//! Signal handlers as callbacks of the loop: asyncio's `add_signal_handler`.

use std::io;

use super::number::Signal;

/// Callbacks for signals, as methods of [`LoopHandle`](picot_loop::LoopHandle).
///
/// ```
/// use picot_process::{Signal, SignalHandlers};
/// use rustix::process::{getpid, kill_process};
///
/// # #[cfg(unix)] {
/// let event_loop = picot_loop::EventLoop::new().unwrap();
/// let handle = event_loop.handle();
/// handle.add_signal_handler(Signal::USR1, {
///     let handle = handle.clone();
///     move || handle.stop()
/// })?;
/// kill_process(getpid(), rustix::process::Signal::USR1)?; // another process does this
/// event_loop.run_forever().unwrap();
/// assert!(handle.remove_signal_handler(Signal::USR1));
/// assert!(!handle.remove_signal_handler(Signal::USR1));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait SignalHandlers: sealed::Sealed {
    /// Has the loop run `call` when `signal` has arrived, until the handler is removed.
    ///
    /// It runs as a callback of the loop and not inside of the operating system's handler, so it
    /// may do anything. A loop has one handler for a signal; this replaces an earlier one. Streams
    /// of [`signal()`](crate::signal()) get the signal, too. Arrivals coalesce. If the callback
    /// panics, the loop reports that, and the handler stays.
    ///
    /// # Errors
    /// As for [`signal()`](crate::signal()). An earlier handler stays then.
    ///
    /// ```
    /// use picot_process::{Signal, SignalHandlers};
    ///
    /// # #[cfg(unix)] {
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// handle.add_signal_handler(Signal::HUP, || println!("reads its configuration again"))?;
    /// assert!(handle.add_signal_handler(Signal::KILL, || ()).is_err());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    fn add_signal_handler(&self, signal: Signal, call: impl FnMut() + 'static) -> io::Result<()>;

    /// Removes the handler of `signal`: it is not called any more. Returns whether there was one.
    ///
    /// If it was the last listener of the process, the disposition from before is in force again.
    ///
    /// ```
    /// use picot_process::{Signal, SignalHandlers};
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// assert!(!event_loop.handle().remove_signal_handler(Signal::INT), "there is none");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn remove_signal_handler(&self, signal: Signal) -> bool;
}

mod sealed {
    /// Keeps other crates from implementing the trait.
    pub trait Sealed {}

    impl Sealed for picot_loop::LoopHandle {}
}

#[cfg(not(unix))]
impl SignalHandlers for picot_loop::LoopHandle {
    fn add_signal_handler(&self, signal: Signal, call: impl FnMut() + 'static) -> io::Result<()> {
        drop(call);
        super::listen::signal(signal).map(drop)
    }

    fn remove_signal_handler(&self, _: Signal) -> bool {
        false
    }
}

#[cfg(unix)]
mod unix {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::panic::Location;
    use std::rc::Rc;

    use picot_loop::{LoopHandle, Place};

    use super::SignalHandlers;
    use crate::signal::hub::{Hub, Listen};
    use crate::signal::number::Signal;

    impl SignalHandlers for LoopHandle {
        #[track_caller]
        fn add_signal_handler(&self, signal: Signal, call: impl FnMut() + 'static) -> io::Result<()> {
            let handler = Rc::new(Handler {
                handle: self.clone(),
                place: Location::caller(),
                is_queued: Cell::new(false),
                call: RefCell::new(Box::new(call)),
            });
            Hub::listen(self, &[signal], &handler)?.keep_as_handler(signal);
            Ok(())
        }

        fn remove_signal_handler(&self, signal: Signal) -> bool {
            Hub::find(self).is_some_and(|hub| hub.remove_handler(signal))
        }
    }

    /// A callback that listens to a signal.
    struct Handler {
        handle: LoopHandle,
        /// Where it was added, for reports.
        place: Place,
        /// Whether the callback waits for its turn. Arrivals until then coalesce.
        is_queued: Cell<bool>,
        call: RefCell<Box<dyn FnMut()>>,
    }

    impl Listen for Handler {
        fn arrived(self: Rc<Self>, _: Signal) {
            if self.is_queued.replace(true) {
                return;
            }
            // Weak, so that a handler that is removed until then is not called.
            let handler = Rc::downgrade(&self);
            let call = move || {
                let Some(handler) = handler.upgrade() else { return };
                handler.is_queued.set(false);
                // Borrowed while it runs. No second borrow: the loop does not run inside of itself.
                // If it panics, the loop reports that with the handler's place.
                handler.call.borrow_mut()();
            };
            // A loop that is being closed calls no handler.
            let _ = self.handle.call_soon_at(self.place, call);
        }

        fn closed(&self) {}
    }
}
