//! Accepting connections of either kind: which errors are ignored, and how long to rest after
//! others.
//!
//! Invariant: a listener returns at most ten errors a second, however many tasks accept and
//! whatever they do with an error. During a rest it tries again only if descriptors were lacking
//! and a socket of this thread has closed since; a failure of such a try is not returned.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use picot_context::budget;
use picot_loop::{Instant, sleep_until};
use picot_reactor::{Direction, Source};

use crate::freed::Freed;

/// How long a listener rests after an error.
const REST: Duration = Duration::from_millis(100);

/// When a listener may accept again after an error.
#[derive(Default)]
pub(crate) struct Rest {
    until: Cell<Option<Instant>>,
    /// The count of closed descriptors when one was lacking; `None` after another error.
    freed: Cell<Option<u64>>,
}

impl Rest {
    /// Accepts nothing for `duration`, unless a descriptor is closed that was lacking.
    pub(crate) fn begin(&self, duration: Duration) {
        self.until.set(Some(Instant::now() + duration));
    }

    /// Waits until a try may succeed. Returns whether the rest still goes on.
    async fn wait(&self) -> bool {
        // Checked after each wait: another task may have begun a new rest meanwhile.
        while let Some(until) = self.until.get().filter(|until| *until > Instant::now()) {
            let Some(seen) = self.freed.get() else {
                sleep_until(until).await;
                continue;
            };
            let freed = Freed::here();
            if freed.count() != seen {
                return true;
            }
            // A lack of descriptors can end before the rest does.
            let (mut end, mut freed) = (sleep_until(until), freed.after(seen));
            poll_fn(|cx| match Pin::new(&mut freed).poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut end).poll(cx),
            })
            .await;
        }
        self.until.set(None);
        false
    }

    /// Accepts the next connection by `accept`.
    ///
    /// After an error the listener rests, because the next try would most likely fail as well.
    pub(crate) async fn accept<L, C>(
        &self,
        source: &Source<L>,
        mut accept: impl FnMut(&L) -> io::Result<C>,
    ) -> io::Result<C> {
        loop {
            poll_fn(budget::poll_left).await;
            let is_resting = self.until.get().is_some() && self.wait().await;
            match source.try_io(Direction::Read, &mut accept) {
                Ok(connection) => {
                    budget::spend_call();
                    return Ok(connection);
                }
                // Fails if the loop was closed; then no connection can arrive any more.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.readable().await?,
                // A peer can cause many of these, so they spend the budget as well.
                Err(error) if is_passing(&error) => budget::spend_call(),
                Err(error) => {
                    budget::spend_call();
                    self.freed.set(wants_descriptors(&error).then(|| Freed::here().count()));
                    // The error that began the rest has been returned. This is the same lack.
                    if !is_resting {
                        self.begin(REST);
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Whether the process, or the system, has no descriptor left.
#[cfg(unix)]
fn wants_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

/// Windows has no such limit.
#[cfg(not(unix))]
fn wants_descriptors(_: &io::Error) -> bool {
    false
}

/// Whether the next try may succeed at once, because the error concerns one connection or none.
///
/// Linux returns network errors here that a connection met before it was accepted, see accept(2).
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), Interrupted | ConnectionAborted | HostUnreachable | NetworkDown | NetworkUnreachable)
        || is_protocol_error(error)
}

/// The same for the errors that have no stable kind in std.
#[cfg(unix)]
fn is_protocol_error(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::PROTO, Errno::NOPROTOOPT, Errno::HOSTDOWN]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

/// The same elsewhere: Windows reports an aborted connection as one that was reset.
#[cfg(not(unix))]
fn is_protocol_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    #[cfg(unix)]
    use futures_lite::future::poll_once;
    use picot_loop::{EventLoop, LoopHandle, VirtualClock, sleep, spawn};

    use super::*;
    #[cfg(unix)]
    use crate::freed::CountWhenClosed;

    /// A source whose connections come from the test.
    fn listener() -> Source<std::net::TcpListener> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let source = LoopHandle::current().register(listener).unwrap();
        source.assume_ready(Direction::Read);
        source
    }

    #[test]
    fn a_listener_returns_ten_errors_a_second_however_many_tasks_accept() {
        let clock = VirtualClock::new();
        let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
        let errors = event_loop.run_until_complete(async {
            let (errors, listener) = (Rc::new(Cell::new(0)), Rc::new((listener(), Rest::default())));
            for _ in 0..2 {
                let (errors, listener) = (errors.clone(), listener.clone());
                drop(spawn(async move {
                    loop {
                        let full = |_: &_| io::Result::<()>::Err(io::ErrorKind::OutOfMemory.into());
                        listener.1.accept(&listener.0, full).await.unwrap_err();
                        errors.set(errors.get() + 1);
                    }
                }));
            }
            sleep(Duration::from_millis(1050)).await;
            errors.get()
        });
        // The first, and one after each of ten rests.
        assert_eq!(errors.unwrap(), 11);
    }

    #[cfg(unix)]
    #[test]
    fn a_closed_descriptor_ends_a_rest_and_failures_during_the_rest_are_not_returned() {
        let clock = VirtualClock::new();
        let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
        let run = event_loop.run_until_complete(async {
            let (listener, rest) = (listener(), Rest::default());
            // A process with room for `room` connections, and with none at first.
            let (room, tries) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let accept = || {
                rest.accept(&listener, |_| {
                    tries.set(tries.get() + 1);
                    match room.get() {
                        0 => Err(rustix::io::Errno::MFILE.into()),
                        left => {
                            room.set(left - 1);
                            io::Result::Ok(())
                        }
                    }
                })
            };
            let start = Instant::now();
            accept().await.unwrap_err();
            // Other processes are quicker: each descriptor is gone when this one tries.
            for expected in 2..12 {
                let mut accepting = std::pin::pin!(accept());
                assert!(poll_once(accepting.as_mut()).await.is_none());
                drop(CountWhenClosed);
                assert!(poll_once(accepting.as_mut()).await.is_none(), "its error was returned before");
                assert_eq!(tries.get(), expected);
            }
            // One that stays serves as many as there is room for, at the same instant.
            room.set(2);
            let waiting = async { futures_lite::future::zip(accept(), accept()).await };
            let freeing = async { drop(CountWhenClosed) };
            let ((one, two), ()) = futures_lite::future::zip(waiting, freeing).await;
            one.and(two).unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
            accept().await.unwrap_err();
            assert_eq!(start.elapsed(), REST, "and the next error comes after the rest");
            // A lack of something else takes its rest, whatever is given back.
            let full = |_: &_| io::Result::<()>::Err(rustix::io::Errno::NOMEM.into());
            rest.begin(Duration::ZERO);
            rest.accept(&listener, full).await.unwrap_err();
            let tries = Cell::new(0);
            let mut accepting = std::pin::pin!(rest.accept(&listener, |listener| {
                tries.set(tries.get() + 1);
                full(listener)
            }));
            assert!(poll_once(accepting.as_mut()).await.is_none());
            drop(CountWhenClosed);
            assert!(poll_once(accepting.as_mut()).await.is_none() && tries.get() == 0, "only time helps");
            accepting.await.unwrap_err();
            assert_eq!(start.elapsed(), 2 * REST);
        });
        run.unwrap();
    }

    #[test]
    fn ignored_errors_spend_the_budget() {
        picot_loop::run(async {
            let (listener, rest, tries) = (listener(), Rest::default(), Rc::new(Cell::new(0)));
            let others = tries.clone();
            let other = spawn(async move { others.get() });
            let aborted = |_: &_| {
                tries.set(tries.get() + 1);
                // Without other tasks this would go on for ever.
                assert!(tries.get() < 10_000, "the other task never runs");
                io::Result::<()>::Err(io::ErrorKind::ConnectionAborted.into())
            };
            let accepting = rest.accept(&listener, aborted);
            let ended = async { Err(io::Error::other(other.await.unwrap().to_string())) };
            // Polled first, because it needs some of the budget itself.
            let seen = futures_lite::future::or(ended, accepting).await.unwrap_err();
            assert!(tries.get() > 0, "{seen}");
        });
    }

    #[cfg(unix)]
    #[test]
    fn errors_of_single_connections_are_ignored_and_lacks_of_resources_are_returned() {
        use rustix::io::Errno;

        let passing = [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::NOPROTOOPT,
            Errno::PROTO,
        ];
        let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF, Errno::INVAL];
        picot_loop::run(async {
            for errno in passing {
                let (listener, mut tries) = (listener(), 0);
                let accept = |_: &_| {
                    tries += 1;
                    if tries < 3 { Err(errno.into()) } else { io::Result::Ok(tries) }
                };
                let accepted = Rest::default().accept(&listener, accept).await;
                assert_eq!(accepted.unwrap(), 3, "{errno}");
            }
            for errno in lacks {
                let error = Rest::default().accept(&listener(), |_: &_| io::Result::<()>::Err(errno.into())).await;
                assert_eq!(error.unwrap_err().raw_os_error(), Some(errno.raw_os_error()));
            }
        });
    }
}
