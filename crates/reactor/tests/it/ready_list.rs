//! Ready lists: which sources are in them, how often, and when the owner is woken.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use picot_reactor::{Direction, Readiness, ReadyList};

use crate::drivers::drivers;
use crate::support::{WakeCount, drain, reactor, registered, wait_until, waker_fn};

/// Takes the listed tokens.
fn take(list: &ReadyList, count: &WakeCount) -> Vec<usize> {
    let mut tokens = Vec::new();
    let _ = count.poll(|cx| list.poll_take(cx, &mut tokens));
    tokens
}

fn would_block<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn events_list_a_source_once_until_acknowledged_and_wake_the_owner_once() {
    for reactor in drivers() {
        let (list, count) = (ReadyList::new(), WakeCount::default());
        let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| registered(&reactor)).unzip();
        assert!(take(&list, &count).is_empty());
        for (n, source) in sources.iter().enumerate() {
            source.list_in(&list, 10 + n);
        }
        assert_eq!(reactor.waiting(), 3, "each source in the list counts");
        assert_eq!(count.get(), 1, "one wake, for the first token");
        assert_eq!(take(&list, &count), [10, 11, 12], "each source is listed at first");
        let mut buffer = [0; 8];
        for source in &sources {
            source.acknowledge();
            assert!(would_block(source.try_io(Direction::Read, |mut io| io.read(&mut buffer))));
        }
        // Other events of a new socket come first.
        drain(&reactor);
        take(&list, &count);
        sources.iter().for_each(|source| _ = source.acknowledge());

        let woken = count.get();
        peers[2].write_all(b"c").unwrap();
        wait_until(&reactor, || count.get() == woken + 1);
        peers[2].write_all(b"c").unwrap();
        peers[0].write_all(b"a").unwrap();
        wait_until(&reactor, || sources[0].known().contains(Readiness::READABLE));
        drain(&reactor);
        assert_eq!(count.get(), woken + 1, "one wake until the owner takes the tokens");
        assert_eq!(take(&list, &count), [12, 10]);
        assert_eq!(sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer)).unwrap(), 2);
        assert!(would_block(sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer))));
        peers[2].write_all(b"c").unwrap();
        wait_until(&reactor, || sources[2].known().contains(Readiness::READABLE));
        assert!(take(&list, &count).is_empty(), "not acknowledged since");
        sources[2].acknowledge();
        peers[2].write_all(b"c").unwrap();
        assert!(sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer)).is_ok());
        while sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer)).is_ok() {}
        peers[2].write_all(b"c").unwrap();
        wait_until(&reactor, || sources[2].known().contains(Readiness::READABLE));
        drain(&reactor);
        assert_eq!(take(&list, &count), [12]);
        drop(sources);
        assert_eq!(reactor.waiting(), 0);
    }
}

/// On every path, with edges and without, in both directions, and after short transfers.
#[test]
fn a_short_transfer_is_followed_by_an_event() {
    for reactor in drivers() {
        let (list, count) = (ReadyList::new(), WakeCount::default());
        let (source, mut peer) = registered(&reactor);
        source.assume_ready(Direction::Write);
        source.list_in(&list, 0);
        take(&list, &count);
        source.acknowledge();
        let mut buffer = vec![0; 1 << 16];
        let mut read = || source.try_transfer(Direction::Read, 8, |mut io| io.read(&mut buffer[..8]));
        assert!(would_block(read()));
        for _ in 0..3 {
            peer.write_all(b"abc").unwrap();
            // No operation in between: the short transfer itself asks for the event.
            wait_until(&reactor, || {
                take(&list, &count);
                source.acknowledge().contains(Readiness::READABLE)
            });
            assert_eq!(read().unwrap(), 3);
            // If a short transfer proves nothing, the direction is still ready.
            if source.known().contains(Readiness::READABLE) {
                assert!(would_block(read()));
            }
        }
        let mut written = 0;
        let is_full = |written: &mut usize| {
            loop {
                match source.try_transfer(Direction::Write, buffer.len(), |mut io| io.write(&buffer)) {
                    Ok(n) => *written += n,
                    Err(error) => return would_block::<()>(Err(error)),
                }
            }
        };
        assert!(is_full(&mut written));
        drain(&reactor);
        while !take(&list, &count).is_empty() {
            source.acknowledge();
            assert!(is_full(&mut written));
            drain(&reactor);
        }
        let mut sink = vec![0; written];
        peer.read_exact(&mut sink).unwrap();
        wait_until(&reactor, || !take(&list, &count).is_empty());
        assert!(source.try_transfer(Direction::Write, 1, |mut io| io.write(b"x")).is_ok());
    }
}

#[test]
fn a_source_in_a_list_may_be_waited_for_as_well() {
    for reactor in drivers() {
        let (list, owner, reader) = (ReadyList::new(), WakeCount::default(), WakeCount::default());
        let (source, mut peer) = registered(&reactor);
        source.list_in(&list, 7);
        take(&list, &owner);
        source.acknowledge();
        let mut readable = pin!(source.readable());
        assert!(reader.poll(|cx| readable.as_mut().poll(cx)).is_pending());
        assert_eq!(reactor.waiting(), 2);
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || reader.get() == 1);
        assert_eq!(take(&list, &owner), [7]);
        assert_eq!(reactor.waiting(), 1);
    }
}

#[test]
fn enqueue_lists_a_source_and_wakes_the_owner() {
    let reactor = reactor();
    let (list, count) = (ReadyList::new(), WakeCount::default());
    let (source, _peer) = registered(&reactor);
    source.enqueue();
    source.acknowledge();
    source.enqueue();
    assert!(take(&list, &count).is_empty(), "the source is in no list");
    source.list_in(&list, 1);
    take(&list, &count);
    source.enqueue();
    assert!(take(&list, &count).is_empty(), "not acknowledged, so not listed again");
    source.acknowledge();
    source.enqueue();
    source.enqueue();
    assert_eq!((count.get(), take(&list, &count)), (2, vec![1]), "one wake by `list_in`, and one now");
    list.wake();
    assert_eq!(count.get(), 3);
    assert!(take(&list, &count).is_empty());

    let other = ReadyList::new();
    let refused = catch_unwind(AssertUnwindSafe(|| source.list_in(&other, 2))).unwrap_err();
    let text = refused.downcast::<&str>().unwrap();
    assert!(text.contains("already in a ready list"), "{text}");
    assert_eq!(reactor.waiting(), 1);
}

#[test]
fn a_source_dropped_while_listed_leaves_only_its_token() {
    let reactor = reactor();
    let (list, count) = (ReadyList::new(), WakeCount::default());
    let (gone, mut peer) = registered(&reactor);
    gone.list_in(&list, 1);
    take(&list, &count);
    gone.acknowledge();
    assert!(would_block(gone.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()))));
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || gone.known().contains(Readiness::READABLE));
    drop(gone);
    // The next source gets its slot and its token.
    let (source, _peer) = registered(&reactor);
    source.list_in(&list, 1);
    assert_eq!(take(&list, &count), [1, 1]);
    assert_eq!((reactor.sources(), reactor.waiting()), (1, 1));
    source.acknowledge();
    assert!(would_block(source.try_io(Direction::Read, |_| Ok(()))));
}

#[test]
fn a_dropped_list_releases_its_owner_and_its_sources_still_work() {
    for reactor in drivers() {
        let (list, count) = (ReadyList::new(), WakeCount::default());
        let (source, mut peer) = registered(&reactor);
        source.list_in(&list, 1);
        take(&list, &count);
        source.acknowledge();
        assert!(count.holders() > 1);
        drop(list);
        assert_eq!(count.holders(), 1);
        let reader = WakeCount::default();
        assert!(reader.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || reader.get() == 1);
        assert_eq!(count.get(), 0);
        source.acknowledge();
        source.enqueue();
        assert_eq!(source.into_inner().peer_addr().unwrap(), peer.local_addr().unwrap());
        assert_eq!(reactor.waiting(), 0);
    }
}

#[test]
fn a_panicking_owner_keeps_its_tokens_and_other_owners_are_woken() {
    let reactor = reactor();
    let (list, other, count) = (ReadyList::new(), ReadyList::new(), WakeCount::default());
    let (bad, mut bad_peer) = registered(&reactor);
    let (good, mut good_peer) = registered(&reactor);
    bad.list_in(&list, 1);
    good.list_in(&other, 2);
    take(&list, &count);
    take(&other, &count);
    bad.acknowledge();
    good.acknowledge();
    drain(&reactor);
    take(&list, &count);
    take(&other, &count);
    bad.acknowledge();
    good.acknowledge();
    let _ = bad.try_io(Direction::Read, |mut io| io.read(&mut [0]));
    let _ = good.try_io(Direction::Read, |mut io| io.read(&mut [0]));

    let panics = Arc::new(AtomicUsize::new(0));
    let counter = panics.clone();
    let waker = waker_fn(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("a waker"));
    });
    let mut tokens = Vec::new();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(list.poll_take(&mut cx, &mut tokens).is_pending());
    let woken = count.get();
    bad_peer.write_all(b"x").unwrap();
    good_peer.write_all(b"x").unwrap();
    wait_until(&reactor, || panics.load(Ordering::Relaxed) == 1 && count.get() == woken + 1);
    assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    assert_eq!((tokens, take(&other, &count)), (vec![1], vec![2]));
    bad.acknowledge();
    bad.enqueue();
    assert_eq!(panics.load(Ordering::Relaxed), 2, "the waker was kept, and its panic is contained again");
}

#[test]
fn a_waker_may_take_from_the_list_or_drop_it() {
    let reactor = reactor();
    let (list, count) = (ReadyList::new(), WakeCount::default());
    let (source, mut peer) = registered(&reactor);
    source.list_in(&list, 1);
    take(&list, &count);
    source.acknowledge();
    drain(&reactor);
    take(&list, &count);
    source.acknowledge();
    let _ = source.try_io(Direction::Read, |mut io| io.read(&mut [0]));
    // A waker is `Send`, and the list is not, so a thread-local passes the list.
    thread_local!(static LIST: std::cell::Cell<Option<ReadyList>> = const { std::cell::Cell::new(None) });
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let held = Arc::new(());
    let hold = held.clone();
    let waker = waker_fn(move || {
        let _ = &hold;
        let Some(list) = LIST.take() else { return };
        let mut tokens = Vec::new();
        let _ = WakeCount::default().poll(|cx| list.poll_take(cx, &mut tokens));
        counter.fetch_add(tokens.len(), Ordering::Relaxed);
        drop(list);
    });
    assert!(list.poll_take(&mut std::task::Context::from_waker(&waker), &mut Vec::new()).is_pending());
    drop(waker);
    LIST.set(Some(list));
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || taken.load(Ordering::Relaxed) == 1);
    assert_eq!(Arc::strong_count(&held), 1, "the waker was leaked");
    drop(source);
    assert_eq!(reactor.waiting(), 0);
}
