//! Readiness per direction: set by events, cached, and cleared only by "would block".

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;

use picot_reactor::{Direction, Readiness};

use crate::support::{WakeCount, drain, fill, is_portable, reactor, registered, wait_until};

fn would_block<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn a_new_source_gets_its_readiness_in_the_next_wait() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    let mut called = false;
    assert!(would_block(source.try_io(Direction::Write, |_| {
        called = true;
        Ok(())
    })));
    assert!(!called, "the operation ran although the direction is not ready");

    // No task waits, but the operation above has asked for the event.
    reactor.wait(Some(std::time::Duration::from_secs(10))).unwrap();
    assert!(source.try_io(Direction::Write, |_| Ok(())).is_ok());
    assert!(would_block(source.try_io(Direction::Read, |_| Ok(()))));
}

#[test]
fn readiness_stays_until_would_block_and_then_the_next_data_wakes() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let count = WakeCount::default();
    for round in 1..=3 {
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        peer.write_all(b"ab").unwrap();
        wait_until(&reactor, || count.get() == round);

        let mut byte = [0];
        for expected in *b"ab" {
            assert_eq!(source.try_io(Direction::Read, |mut io| io.read(&mut byte)).unwrap(), 1);
            assert_eq!(byte[0], expected);
        }
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_ready());
        assert!(would_block(source.try_io(Direction::Read, |mut io| io.read(&mut byte))));
    }
    drain(&reactor);
    assert_eq!(count.get(), 3);
}

#[test]
fn the_two_directions_do_not_wake_each_other() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    // Fills the send buffer, so that neither direction is ready.
    let written = fill(&reactor, &source);

    let (readers, writers) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writers.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    assert_eq!(reactor.waiting(), 2);
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || readers.get() == 1);
    assert_eq!((writers.get(), reactor.waiting()), (0, 1));

    let mut sink = vec![0; written];
    peer.read_exact(&mut sink).unwrap();
    wait_until(&reactor, || writers.get() == 1);
    assert_eq!((readers.get(), reactor.waiting()), (1, 0));
}

#[test]
fn any_number_of_futures_may_wait_and_a_dropped_one_waits_no_more() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let counts: Vec<_> = (0..3).map(|_| WakeCount::default()).collect();
    let mut first = pin!(source.readable());
    let mut second = Box::pin(source.readable());
    let mut third = pin!(source.readable());
    assert!(counts[0].poll(|cx| first.as_mut().poll(cx)).is_pending());
    assert!(counts[1].poll(|cx| second.as_mut().poll(cx)).is_pending());
    assert!(counts[2].poll(|cx| third.as_mut().poll(cx)).is_pending());
    assert!(counts[2].poll(|cx| third.as_mut().poll(cx)).is_pending(), "a future that was polled twice waits once");
    let polling = WakeCount::default();
    assert!(polling.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert_eq!(reactor.waiting(), 4);
    drop(second);
    assert_eq!(reactor.waiting(), 3);

    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || counts[0].get() == 1);
    assert_eq!((counts[1].get(), counts[2].get(), polling.get()), (0, 1, 1));
    assert_eq!(reactor.waiting(), 0);
    assert!(counts[0].poll(|cx| first.as_mut().poll(cx)).is_ready());
}

/// An event wakes every waiter of its direction once, and none of another direction.
#[test]
fn one_event_wakes_all_that_wait_to_write() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let written = fill(&reactor, &source);
    let counts: Vec<_> = (0..5).map(|_| WakeCount::default()).collect();
    let mut waits: Vec<_> = counts.iter().map(|_| Box::pin(source.writable())).collect();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert!(count.poll(|cx| wait.as_mut().poll(cx)).is_pending());
    }
    let reader = WakeCount::default();
    let mut reading = pin!(source.readable());
    assert!(reader.poll(|cx| reading.as_mut().poll(cx)).is_pending());
    assert_eq!(reactor.waiting(), 6);
    waits.pop();
    peer.read_exact(&mut vec![0; written]).unwrap();
    wait_until(&reactor, || counts[0].get() == 1);
    drain(&reactor);
    assert_eq!(counts.iter().map(WakeCount::get).collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
    assert_eq!((reader.get(), reactor.waiting()), (0, 1));
    assert!(counts[0].poll(|cx| waits[3].as_mut().poll(cx)).is_ready());
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri has no urgent data")]
fn one_event_wakes_all_that_wait_for_urgent_data() {
    use rustix::net::{SendFlags, send};
    let reactor = reactor();
    let (source, peer) = registered(&reactor);
    let counts: Vec<_> = (0..3).map(|_| WakeCount::default()).collect();
    let mut waits: Vec<_> = counts.iter().map(|_| Box::pin(source.ready(Direction::Priority))).collect();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert!(count.poll(|cx| wait.as_mut().poll(cx)).is_pending());
    }
    let polling = WakeCount::default();
    assert!(polling.poll(|cx| source.poll_ready(cx, Direction::Priority)).is_pending());
    // The poll(2) backend of `polling` watches for urgent data only together with data.
    let reader = WakeCount::default();
    assert!(reader.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert_eq!(reactor.waiting(), 5);
    send(&peer, b"!", SendFlags::OOB).unwrap();
    wait_until(&reactor, || polling.get() == 1);
    assert_eq!(counts.iter().map(WakeCount::get).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(reactor.waiting(), usize::from(reader.get() == 0));
}

#[test]
fn the_end_of_a_stream_wakes_the_reader_but_not_a_writer() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let written = fill(&reactor, &source);
    let (readers, writers) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writers.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    peer.shutdown(Shutdown::Write).unwrap();
    wait_until(&reactor, || readers.get() == 1);
    drain(&reactor);
    if cfg!(target_os = "linux") {
        // kqueue reports an end to both directions.
        assert_eq!((writers.get(), reactor.waiting()), (0, 1));
    }
    assert_eq!(source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(
        source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).unwrap(),
        0,
        "reading stays ready at the end"
    );

    peer.read_exact(&mut vec![0; written]).unwrap();
    wait_until(&reactor, || writers.get() == 1);
    source.try_io(Direction::Write, |mut io| io.write_all(b"still here")).unwrap();
    let mut text = [0; 10];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"still here");
}

/// The kernel reports data and the end that follows it in one event. A reader that takes a short
/// read for the last one must not wait for a second event, which never comes.
#[test]
fn the_end_is_found_after_a_short_read_without_a_further_event() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let count = WakeCount::default();
    let mut buffer = [0; 64];
    let mut read = |count: &WakeCount| {
        count.poll(|cx| source.poll_transfer(cx, Direction::Read, buffer.len(), |mut io| io.read(&mut buffer)))
    };
    assert!(read(&count).is_pending());
    peer.write_all(b"data").unwrap();
    drop(peer);
    wait_until(&reactor, || count.get() == 1);
    // The end may arrive with the data or after it; wait for it.
    drain(&reactor);
    assert!(matches!(read(&count), std::task::Poll::Ready(Ok(4))));
    let mut end = read(&count);
    if end.is_pending() {
        wait_until(&reactor, || count.get() == 2);
        end = read(&count);
    }
    assert!(matches!(end, std::task::Poll::Ready(Ok(0))));
    assert!(matches!(read(&count), std::task::Poll::Ready(Ok(0))));
}

#[test]
fn a_reset_wakes_both_directions() {
    let reactor = reactor();
    let (source, peer) = registered(&reactor);
    source.assume_ready(Direction::Write);
    let block = [0_u8; 65536];
    loop {
        while source.try_io(Direction::Write, |mut io| io.write(&block)).is_ok() {}
        let before = reactor.wait(Some(std::time::Duration::ZERO)).unwrap();
        source.assume_ready(Direction::Write);
        if before == 0 && would_block(source.try_io(Direction::Write, |mut io| io.write(&block))) {
            break;
        }
    }
    let (readers, writers) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writers.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    // Closing a socket with unread data resets the connection.
    drop(peer);
    wait_until(&reactor, || readers.get() == 1 && writers.get() == 1);
    assert!(source.is_hung_up());
    assert!(
        source
            .try_io(Direction::Write, |mut io| io.write(&block))
            .is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock)
    );
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri has no urgent data")]
fn urgent_data_wakes_its_waiters_and_no_reader() {
    use rustix::net::{RecvFlags, SendFlags, recv, send};
    let reactor = reactor();
    let (source, peer) = registered(&reactor);
    let (readers, urgent) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(urgent.poll(|cx| source.poll_ready(cx, Direction::Priority)).is_pending());
    send(&peer, b"!", SendFlags::OOB).unwrap();
    wait_until(&reactor, || urgent.get() == 1);
    assert!(source.known().contains(Readiness::PRIORITY));
    if !is_portable() {
        // `polling` does not distinguish them, so there a reader tries in vain.
        assert_eq!((readers.get(), source.known().contains(Readiness::READABLE)), (0, false));
    }
    let mut byte = [0];
    source.try_io(Direction::Priority, |io| Ok(recv(io, &mut byte, RecvFlags::OOB)?)).unwrap();
    assert_eq!(byte, *b"!");
    assert!(would_block(
        source.try_io(Direction::Priority, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()))
    ));
    assert!(!source.known().contains(Readiness::PRIORITY));
}

/// A pipe whose writer closes has a hang-up without data, which must wake the reader.
#[test]
#[cfg(target_os = "linux")]
fn closing_one_end_of_a_pipe_wakes_the_waiter_at_the_other() {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let reactor = reactor();
    let count = WakeCount::default();
    let (reader, writer) = pipe();
    let reader = reactor.register(reader).unwrap();
    assert!(count.poll(|cx| reader.poll_ready(cx, Direction::Read)).is_pending());
    drop(writer);
    wait_until(&reactor, || count.get() == 1);
    assert!(reader.is_hung_up());
    assert_eq!(reader.try_io(Direction::Read, |io| Ok(rustix::io::read(io, &mut [0; 8])?)).unwrap(), 0);

    let (reader, writer) = pipe();
    let writer = reactor.register(writer).unwrap();
    writer.assume_ready(Direction::Write);
    while writer.try_io(Direction::Write, |io| Ok(rustix::io::write(io, &[0; 4096])?)).is_ok() {}
    drain(&reactor);
    if writer.known().contains(Readiness::WRITABLE) {
        // The event of the registration arrived after the pipe was full.
        assert!(would_block(writer.try_io(Direction::Write, |io| Ok(rustix::io::write(io, &[0; 4096])?))));
    }
    assert!(count.poll(|cx| writer.poll_ready(cx, Direction::Write)).is_pending());
    drop(reader);
    wait_until(&reactor, || count.get() == 2);
    assert!(writer.is_hung_up());
}

#[test]
fn a_half_close_and_a_hang_up_are_distinguished() {
    let reactor = reactor();
    let (source, peer) = registered(&reactor);
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    peer.shutdown(Shutdown::Write).unwrap();
    wait_until(&reactor, || count.get() == 1);
    assert!(!source.known().contains(Readiness::HUNG_UP));
    // `polling` does not report a half-close.
    assert_eq!(source.known().contains(Readiness::READ_CLOSED), !is_portable());

    source.get_ref().shutdown(Shutdown::Write).unwrap();
    let _ = source.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    wait_until(&reactor, || source.known().contains(Readiness::HUNG_UP));
    let _ = source.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    assert!(source.known().contains(Readiness::HUNG_UP | Readiness::READ_CLOSED), "the end was forgotten");
}
