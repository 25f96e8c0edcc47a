//! Waiting for signals: a stream of arrivals, and the function for Ctrl-C.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use picot_context::{WaitInfo, WaitKind, WaitNote};

use super::number::Signal;

/// Listens to a signal on this thread's loop.
///
/// From this call on, the signal no longer has its default effect. Any number of streams may listen
/// to a signal, on the loops of any threads; each of them gets it. When the last stream of the
/// process is dropped, the disposition from before is in force again: without listeners, `SIGINT`
/// ends the process.
///
/// # Errors
/// If the thread has no loop or it is closed. If the signal cannot be caught, must not be caught
/// because it reports a fault of the running code, or does not exist; the error names it.
/// `Unsupported` on Windows.
///
/// ```
/// use picot_process::{Signal, signal};
/// use rustix::process::{getpid, kill_process};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let mut reload = signal(Signal::HUP)?;
///     kill_process(getpid(), rustix::process::Signal::HUP)?; // another process does this
///     assert_eq!(reload.recv().await, Some(Signal::HUP));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "add_signal_handler")]
pub fn signal(signal: Signal) -> io::Result<Signals> {
    signals([signal])
}

/// Listens to several signals by one stream, otherwise as [`signal()`].
///
/// # Errors
/// As for [`signal()`]. Then none of the signals is listened to.
///
/// ```
/// use picot_process::{Signal, signals};
///
/// picot_loop::run(async {
///     let end = signals([Signal::INT, Signal::TERM]);
///     # #[cfg(unix)]
///     assert!(end.is_ok());
/// });
/// ```
pub fn signals(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
    Ok(Signals { listener: Listener::new(signals.into_iter().collect())? })
}

/// Waits for Ctrl-C: for one `SIGINT`.
///
/// It listens from its first poll to its end. After it, a second Ctrl-C ends the process, unless
/// another listener is left. To run a program that ends well on Ctrl-C, see
/// [`Interrupt`](crate::Interrupt).
///
/// # Errors
/// As for [`signal()`].
///
/// # If dropped
/// It no longer listens.
///
/// ```no_run
/// picot_loop::run(async {
///     println!("press Ctrl-C to end");
///     picot_process::ctrl_c().await
/// })
/// .unwrap();
/// ```
#[doc(alias = "KeyboardInterrupt")]
pub async fn ctrl_c() -> io::Result<()> {
    match signal(Signal::INT)?.recv().await {
        Some(_) => Ok(()),
        None => Err(io::Error::other("the loop was closed while it waited for Ctrl-C")),
    }
}

/// A stream of signals; made by [`signal()`] and [`signals()`].
///
/// Arrivals coalesce, as they do in the kernel: a signal that arrives several times before the
/// stream is polled is one item. Of several signals, the one with the lowest number comes first.
/// The stream ends when its loop is closed.
///
/// ```
/// use futures_lite::StreamExt;
/// use picot_process::{Signal, signals};
/// use rustix::process::{getpid, kill_process};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let mut signals = signals([Signal::USR1, Signal::USR2])?;
///     kill_process(getpid(), rustix::process::Signal::USR2)?;
///     kill_process(getpid(), rustix::process::Signal::USR2)?;
///     assert_eq!(signals.next().await, Some(Signal::USR2)); // both
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "dropping it ends the listening"]
pub struct Signals {
    listener: Listener,
}

impl Signals {
    /// Waits until a signal has arrived. Returns `None` once the loop is closed.
    ///
    /// # If dropped
    /// No arrival is lost.
    ///
    /// ```no_run
    /// use picot_process::{Signal, signal};
    ///
    /// picot_loop::run(async {
    ///     let mut reload = signal(Signal::from_raw(1))?;
    ///     while reload.recv().await.is_some() {
    ///         println!("reads its configuration again");
    ///     }
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn recv(&mut self) -> Option<Signal> {
        let mut note = WaitNote::new();
        poll_fn(|cx| {
            let polled = self.listener.poll(cx);
            if polled.is_pending() {
                note.set(|| {
                    let names: Vec<_> = self.listener.signals().iter().map(Signal::to_string).collect();
                    WaitInfo::new(WaitKind::Signal, format!("the signal {}", names.join(" or ")))
                });
            }
            polled
        })
        .await
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.listener.poll(cx)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("signals", &self.listener.signals()).finish_non_exhaustive()
    }
}

#[cfg(unix)]
use unix::Listener;

#[cfg(unix)]
mod unix {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker, ready};

    use picot_context::{Kind, Origin, budget, contain};
    use picot_loop::LoopHandle;

    use crate::signal::hub::{Hub, Listen, Listening};
    use crate::signal::number::Signal;

    /// A stream's part in the hub of its loop.
    pub(super) struct Listener {
        inbox: Rc<Inbox>,
        listening: Listening,
    }

    /// What has arrived for a stream.
    #[derive(Default)]
    struct Inbox {
        /// The signals, as bits by their numbers.
        arrived: Cell<u128>,
        is_closed: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }

    impl Listener {
        pub(super) fn new(signals: Vec<Signal>) -> io::Result<Listener> {
            let handle = LoopHandle::try_current()?;
            let inbox = Rc::<Inbox>::default();
            let listening = Hub::listen(&handle, &signals, &inbox)?;
            Ok(Listener { inbox, listening })
        }

        pub(super) fn signals(&self) -> &[Signal] {
            self.listening.signals()
        }

        pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
            ready!(budget::poll_left(cx));
            if let Some(item) = self.inbox.take() {
                budget::spend();
                return Poll::Ready(item);
            }
            // A waker may run user code in its clone and its drop, so nothing is borrowed
            // meanwhile.
            let known = self.inbox.waker.take();
            let waker = known.filter(|known| known.will_wake(cx.waker()));
            let waker = waker.unwrap_or_else(|| cx.waker().clone());
            self.inbox.waker.replace(Some(waker));
            // That code may have closed the loop.
            self.inbox.take().map_or(Poll::Pending, Poll::Ready)
        }
    }

    impl Inbox {
        /// Returns the next item, or the end, if there is one.
        fn take(&self) -> Option<Option<Signal>> {
            let arrived = self.arrived.get();
            if arrived != 0 {
                self.arrived.set(arrived & (arrived - 1));
                return Some(Some(Signal::from_raw(arrived.trailing_zeros() as i32 + 1)));
            }
            self.is_closed.get().then_some(None)
        }

        fn wake(&self) {
            let waker = self.waker.take();
            if let Some(waker) = waker {
                contain::call(|| Origin::new(Kind::Waker), || waker.wake());
            }
        }
    }

    impl Listen for Inbox {
        fn arrived(self: Rc<Self>, signal: Signal) {
            self.arrived.set(self.arrived.get() | 1 << (signal.as_raw() - 1));
            self.wake();
        }

        fn closed(&self) {
            self.is_closed.set(true);
            self.wake();
        }
    }
}

#[cfg(not(unix))]
use other::Listener;

#[cfg(not(unix))]
mod other {
    use std::io;
    use std::task::{Context, Poll};

    use crate::signal::number::Signal;

    /// There is no way to make one.
    pub(super) enum Listener {}

    impl Listener {
        pub(super) fn new(_: Vec<Signal>) -> io::Result<Listener> {
            let text = "signals need Unix: on Windows, install a console handler, for example by the crate `ctrlc`, and \
                        hand the event to the loop by a `RemoteHandle`";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }

        pub(super) fn signals(&self) -> &[Signal] {
            match *self {}
        }

        pub(super) fn poll(&self, _: &mut Context<'_>) -> Poll<Option<Signal>> {
            match *self {}
        }
    }
}
