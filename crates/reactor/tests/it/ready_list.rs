//! Ready lists: who is in them, how often, and who is told.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use picot_reactor::{Direction, Readiness, ReadyList};

use crate::drivers::drivers;
use crate::support::{WakeCount, drain, reactor, registered, wait_until, waker_fn};

/// Takes what is listed.
fn take(list: &ReadyList, count: &WakeCount) -> Vec<usize> {
    let mut tokens = Vec::new();
    let _ = count.poll(|cx| list.poll_take(cx, &mut tokens));
    tokens
}

fn would_block<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn events_list_their_sources_once_until_the_owner_has_looked_and_wake_it_once() {
    for reactor in drivers() {
        let (list, count) = (ReadyList::new(), WakeCount::default());
        let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| registered(&reactor)).unzip();
        assert!(take(&list, &count).is_empty());
        for (n, source) in sources.iter().enumerate() {
            source.list_in(&list, 10 + n);
        }
        assert_eq!(reactor.waiting(), 3, "the owner waits for each");
        assert_eq!(count.get(), 1, "for the first");
        assert_eq!(take(&list, &count), [10, 11, 12], "to be tried");
        let mut buffer = [0; 8];
        for source in &sources {
            source.acknowledge();
            assert!(would_block(source.try_io(Direction::Read, |mut io| io.read(&mut buffer))));
        }
        // What else there is to tell of a new socket comes first.
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
        assert_eq!(count.get(), woken + 1, "it has not taken yet");
        assert_eq!(take(&list, &count), [12, 10]);
        assert_eq!(sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer)).unwrap(), 2);
        assert!(would_block(sources[2].try_io(Direction::Read, |mut io| io.read(&mut buffer))));
        peers[2].write_all(b"c").unwrap();
        wait_until(&reactor, || sources[2].known().contains(Readiness::READABLE));
        assert!(take(&list, &count).is_empty(), "it was not looked at since");
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

/// On every path, with edges and without: in both directions, and after transfers that moved less than they could.
#[test]
fn a_transfer_that_was_short_is_followed_by_an_event() {
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
            // Nothing is tried in between: that the last transfer was short asks for the event.
            wait_until(&reactor, || {
                take(&list, &count);
                source.acknowledge().contains(Readiness::READABLE)
            });
            assert_eq!(read().unwrap(), 3);
            // Where it says nothing, it is still taken to be ready.
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
fn a_source_lists_itself_by_hand_and_that_wakes_the_owner() {
    let reactor = reactor();
    let (list, count) = (ReadyList::new(), WakeCount::default());
    let (source, _peer) = registered(&reactor);
    source.enqueue();
    source.acknowledge();
    source.enqueue();
    assert!(take(&list, &count).is_empty(), "it is in no list");
    source.list_in(&list, 1);
    take(&list, &count);
    source.enqueue();
    assert!(take(&list, &count).is_empty(), "not looked at: the owner is about to do that");
    source.acknowledge();
    source.enqueue();
    source.enqueue();
    assert_eq!((count.get(), take(&list, &count)), (2, vec![1]), "once by `list_in`, and once now");
    list.wake();
    assert_eq!(count.get(), 3);
    assert!(take(&list, &count).is_empty());

    let other = ReadyList::new();
    let refused = catch_unwind(AssertUnwindSafe(|| source.list_in(&other, 2))).unwrap_err();
    let text = refused.downcast::<&str>().unwrap();
    assert!(text.contains("in a ready list already"), "{text}");
    assert_eq!(reactor.waiting(), 1);
}

#[test]
fn a_source_that_is_dropped_while_it_is_listed_leaves_its_token_and_nothing_else() {
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
    // The next one has its slot, and is given its token.
    let (source, _peer) = registered(&reactor);
    source.list_in(&list, 1);
    assert_eq!(take(&list, &count), [1, 1]);
    assert_eq!((reactor.sources(), reactor.waiting()), (1, 1));
    source.acknowledge();
    assert!(would_block(source.try_io(Direction::Read, |_| Ok(()))));
}

#[test]
fn a_list_that_is_dropped_forgets_its_owner_and_its_sources_go_on() {
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
fn an_owner_whose_waker_panics_keeps_its_tokens_and_the_others_are_told() {
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
    assert_eq!(panics.load(Ordering::Relaxed), 2, "it was kept, and is contained here as well");
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
    // Only such code runs here as may be in a waker, which is `Send`: the list is handed over by a slot of the thread.
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
    assert_eq!(Arc::strong_count(&held), 1, "nobody keeps the waker");
    drop(source);
    assert_eq!(reactor.waiting(), 0);
}
