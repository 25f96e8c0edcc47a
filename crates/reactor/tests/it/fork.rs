//! A reactor in a forked child: it refuses to work, and does not affect the parent's.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;
use std::task::{Poll, Waker};
use std::time::Duration;

use picot_reactor::{Direction, Reactor, Readiness, ReadyList, Source};

use crate::drivers::drivers;
use crate::support::{WakeCount, drain, registered, wait_until};

/// Runs `check` in a forked child, which then becomes `true`.
fn in_child(mut check: impl FnMut() -> bool + Send + Sync + 'static) -> bool {
    let mut command = Command::new("true");
    // SAFETY: The closure uses its own memory, system calls, and the allocator, which libc keeps
    // usable across a fork.
    unsafe { command.pre_exec(move || if check() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }) };
    command.status().is_ok_and(|status| status.success())
}

/// What a child inherits and drops.
type Shared = (Reactor, Source<TcpStream>, Source<TcpStream>, ReadyList, Waker, WakeCount);

thread_local! {
    static SHARED: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// Whatever a child drops or closes, the parent's reactor is unaffected.
#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_forked_child_is_refused_and_deletes_nothing_from_its_parents_set() {
    for reactor in drivers() {
        let (source, mut peer) = registered(&reactor);
        let (listed, mut its_peer) = registered(&reactor);
        let (list, owner, count) = (ReadyList::new(), WakeCount::default(), WakeCount::default());
        listed.list_in(&list, 0);
        let mut tokens = Vec::new();
        let _ = owner.poll(|cx| list.poll_take(cx, &mut tokens));
        let _ = listed.try_io(Direction::Read, |mut io| io.read(&mut [0]));
        listed.acknowledge();
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        assert!(!reactor.is_forked());
        let waker = Waker::from(reactor.wake_handle());
        drain(&reactor);
        SHARED.set(Some((reactor, source, listed, list, waker, count.clone())));

        assert!(in_child(|| {
            let Some((reactor, source, listed, list, waker, count)) = SHARED.take() else { return false };
            let other = WakeCount::default();
            let refused = reactor.wait(Some(Duration::ZERO)).is_err()
                && reactor.register(File::open("/dev/null").unwrap()).is_err()
                && matches!(other.poll(|cx| source.poll_ready(cx, Direction::Read)), Poll::Ready(Err(_)))
                && matches!(other.poll(|cx| pin!(source.ready(Direction::Priority)).poll(cx)), Poll::Ready(Err(_)));
            let is_forked = reactor.is_forked();
            reactor.close();
            // The waiter belongs to the parent.
            let wakes_none = count.get() == 0;
            drop(source);
            drop((reactor, listed, list, waker));
            refused && is_forked && wakes_none && Reactor::new().is_ok_and(|new| new.wait(Some(Duration::ZERO)).is_ok())
        }));

        let (reactor, source, listed, list, waker, _) = SHARED.take().unwrap();
        assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), 0, "the child caused an event");
        assert_eq!(count.get(), 0);
        // Each fails if the child has deleted something from the parent's set.
        peer.write_all(b"!").unwrap();
        its_peer.write_all(b"!").unwrap();
        wait_until(&reactor, || count.get() == 1 && listed.known().contains(Readiness::READABLE));
        assert!(owner.poll(|cx| list.poll_take(cx, &mut tokens)).is_ready());
        assert!(source.check(Direction::Read).is_ok());
        drain(&reactor);
        waker.wake();
        reactor.wait(None).unwrap();
    }
}
