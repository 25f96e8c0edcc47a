//! Accepting connections, whatever kind they are: which errors are passed over, and how long to rest after the others.
//!
//! The invariant: however many tasks accept, and whatever they do with an error, a listener tries ten times a second at the most
//! while nothing can be accepted.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use picot_context::budget;
use picot_loop::{Instant, sleep_until};
use picot_reactor::{Direction, Source};

/// How long a listener rests after an error.
const REST: Duration = Duration::from_millis(100);

/// When a listener may accept again, if it has met an error.
#[derive(Default)]
pub(crate) struct Rest(Cell<Option<Instant>>);

impl Rest {
    /// Accepts the next connection by `accept`. After an error nothing is accepted for a while: what has failed would fail again.
    pub(crate) async fn accept<L, C>(
        &self,
        source: &Source<L>,
        mut accept: impl FnMut(&L) -> io::Result<C>,
    ) -> io::Result<C> {
        loop {
            poll_fn(budget::poll_left).await;
            // Asked again after each rest: another task may have met the same error meanwhile.
            while let Some(until) = self.0.get().filter(|until| *until > Instant::now()) {
                sleep_until(until).await;
            }
            match source.try_io(Direction::Read, &mut accept) {
                Ok(connection) => {
                    budget::spend_call();
                    return Ok(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.readable().await?,
                // Of those there may be many, so they are paid for as well.
                Err(error) if is_passing(&error) => budget::spend_call(),
                Err(error) => {
                    self.0.set(Some(Instant::now() + REST));
                    return Err(error);
                }
            }
        }
    }
}

/// Errors of a single connection, or of none: the next try may succeed at once. Linux passes errors of the network on
/// that a connection met before it was accepted, see accept(2).
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), Interrupted | ConnectionAborted | HostUnreachable | NetworkDown | NetworkUnreachable)
        || is_protocol_error(error)
}

/// The same, of those for which std has no stable name.
#[cfg(unix)]
fn is_protocol_error(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::PROTO, Errno::NOPROTOOPT, Errno::HOSTDOWN]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

/// The same elsewhere: Windows tells of a connection that was given up as of one that was reset.
#[cfg(not(unix))]
fn is_protocol_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use picot_loop::{EventLoop, LoopHandle, VirtualClock, sleep, spawn};

    use super::*;

    /// A source whose connections come from the test.
    fn listener() -> Source<std::net::TcpListener> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let source = LoopHandle::current().register(listener).unwrap();
        source.assume_ready(Direction::Read);
        source
    }

    #[test]
    fn whoever_goes_on_after_an_error_sees_ten_a_second_however_many_accept() {
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
    fn what_befell_a_connection_before_it_was_accepted_is_passed_over_and_a_lack_is_not() {
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
