//! Closing a reactor: all waiters are woken, and every operation is an error from then on.

use std::io::{self, Write};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_context::Closed;
use picot_reactor::{Direction, Reactor, Readiness, ReadyList, Source};

use crate::drivers::drivers;
use crate::support::{WakeCount, fill, pair, reactor, registered, wait_until, waker_fn};

fn is_closed<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Closed>()))
}

fn is_closed_at_once<T>(poll: Poll<io::Result<T>>) -> bool {
    match poll {
        Poll::Ready(result) => is_closed(result),
        Poll::Pending => false,
    }
}

#[test]
fn every_waiter_is_woken_and_every_operation_is_an_error() {
    for drops_the_handle in [false, true] {
        for reactor in drivers() {
            let (source, mut peer) = registered(&reactor);
            let (listed, _its_peer) = registered(&reactor);
            let (fresh, _its_peer) = registered(&reactor);
            // One direction is ready, one is assumed, and each has all kinds of waiters.
            let _ = fresh.try_io(Direction::Write, |_| Ok(()));
            wait_until(&reactor, || fresh.known().contains(Readiness::WRITABLE));
            fresh.assume_ready(Direction::Read);
            fill(&reactor, &source);
            let (list, owner) = (ReadyList::new(), WakeCount::default());
            listed.list_in(&list, 7);
            let mut tokens = Vec::new();
            let _ = owner.poll(|cx| list.poll_take(cx, &mut tokens));
            listed.acknowledge();
            let before = owner.get();
            let directions = [Direction::Read, Direction::Write, Direction::Priority];
            let counts: Vec<_> = (0..9).map(|_| WakeCount::default()).collect();
            let mut futures = Vec::new();
            for (direction, counts) in directions.into_iter().zip(counts.chunks(3)) {
                assert!(counts[0].poll(|cx| source.poll_ready(cx, direction)).is_pending());
                assert!(counts[1].poll(|cx| source.poll_io(cx, direction, |_| Ok(()))).is_pending());
                let mut future = Box::pin(source.ready(direction));
                assert!(counts[2].poll(|cx| future.as_mut().poll(cx)).is_pending());
                futures.push(future);
            }
            let kept = (!drops_the_handle).then(|| reactor.clone());
            drop(reactor);
            if let Some(other) = &kept {
                other.close();
                other.close();
                assert!(other.is_closed());
                assert_eq!((other.sources(), other.waiting()), (0, 1), "the list's source counts until it is dropped");
                assert!(is_closed(other.wait(None)));
                assert!(is_closed(other.register(pair().0).map_err(io::Error::from)));
            }
            assert_eq!(counts.iter().map(WakeCount::get).collect::<Vec<_>>(), [1; 9]);
            assert_eq!(owner.get(), before + 1);
            assert!(owner.poll(|cx| list.poll_take(cx, &mut tokens)).is_ready());
            assert_eq!(tokens.last(), Some(&7));
            peer.write_all(b"x").unwrap();
            let waiting = kept.as_ref().map(Reactor::waiting);
            for source in [&source, &listed, &fresh] {
                source.assume_ready(Direction::Read);
                for direction in directions {
                    assert!(is_closed_at_once(owner.poll(|cx| source.poll_ready(cx, direction))));
                    assert!(is_closed_at_once(owner.poll(|cx| source.poll_io(cx, direction, |_| Ok(())))));
                    assert!(is_closed_at_once(owner.poll(|cx| source.poll_transfer(cx, direction, 1, |_| Ok(1)))));
                    assert!(is_closed_at_once(owner.poll(|cx| pin!(source.ready(direction)).poll(cx))));
                    assert!(is_closed(source.try_io(direction, |_| Ok(()))));
                    assert!(is_closed(source.try_transfer(direction, 1, |_| Ok(1))));
                    assert!(is_closed(source.check(direction)));
                }
            }
            assert_eq!(kept.as_ref().map(Reactor::waiting), waiting, "what has failed at once waits for nothing");
            for future in &mut futures {
                assert!(is_closed_at_once(owner.poll(|cx| future.as_mut().poll(cx))));
            }
            drop(futures);
            // The object is unchanged, and may be registered elsewhere.
            let elsewhere = crate::support::reactor();
            let source = elsewhere.register(source.into_inner()).unwrap();
            let _ = source.try_io(Direction::Read, |_| Ok(()));
            wait_until(&elsewhere, || source.known().contains(Readiness::READABLE));
        }
    }
}

#[test]
#[cfg(unix)]
#[cfg_attr(miri, ignore = "Miri does not refuse to poll files")]
fn an_always_ready_file_returns_the_error_too() {
    let reactor = reactor();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let source = reactor.register(std::fs::File::open(path).unwrap()).unwrap();
    assert!(source.try_io(Direction::Read, |_| Ok(())).is_ok());
    reactor.close();
    assert!(is_closed(source.try_io(Direction::Read, |_| Ok(()))));
}

thread_local! {
    static SCENE: std::cell::RefCell<Option<(picot_reactor::Reactor, Source<std::net::TcpStream>)>> =
        const { std::cell::RefCell::new(None) };
}

/// Later events of the same wait reach no source once the reactor is closed.
#[test]
fn a_waker_may_close_the_reactor() {
    for reactor in drivers() {
        let (first, mut first_peer) = registered(&reactor);
        let (second, mut second_peer) = registered(&reactor);
        let closes = waker_fn(|| SCENE.with_borrow(|scene| scene.as_ref().unwrap().0.close()));
        for source in [&first, &second] {
            assert!(source.poll_ready(&mut Context::from_waker(&closes), Direction::Read).is_pending());
        }
        SCENE.set(Some((reactor.clone(), second)));
        first_peer.write_all(b"x").unwrap();
        second_peer.write_all(b"x").unwrap();
        for _ in 0..100 {
            if reactor.is_closed() {
                break;
            }
            reactor.wait(Some(Duration::from_millis(100))).unwrap();
        }
        assert!(reactor.is_closed());
        let (_, second) = SCENE.take().unwrap();
        for source in [&first, &second] {
            assert!(is_closed(source.try_io(Direction::Read, |_| Ok(()))));
        }
    }
}
