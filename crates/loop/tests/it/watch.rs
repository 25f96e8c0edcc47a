//! Readers and writers: callbacks that run while an I/O object is ready.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, LoopHandle, Source};

use crate::trace::{Trace, quiet_panic, reports};

/// A registered end of a connection, and the other end in blocking mode.
fn watched(handle: &LoopHandle) -> (Rc<Source<TcpStream>>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (Rc::new(handle.register(near).unwrap()), far)
}

/// Runs the loop until `stop` is called, and fails after a while.
fn run(event_loop: &EventLoop) {
    let timer = event_loop.handle().call_later(Duration::from_secs(20), || panic!("nothing came"));
    event_loop.run_forever().unwrap();
    timer.cancel();
}

#[test]
fn a_reader_is_called_once_per_turn_while_its_source_is_readable() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (source, mut far) = watched(&handle);
    let trace = Trace::default();
    let (seen, stop) = (trace.clone(), handle.clone());
    handle.add_reader(&source, move |source| {
        let mut byte = [0];
        // Reads from the object directly, so the source does not know.
        match source.get_ref().read(&mut byte) {
            Ok(1) => seen.add(byte[0] as char),
            other => panic!("{other:?}: called without data"),
        }
        if byte == *b"c" {
            stop.stop();
        }
    });
    far.write_all(b"abc").unwrap();
    run(&event_loop);
    assert_eq!(trace.take(), ["a", "b", "c"]);

    // All is read. The reader is called again for more data and for the end.
    far.write_all(b"c").unwrap();
    run(&event_loop);
    assert_eq!(trace.take(), ["c"]);
    assert_eq!(source.get_ref().read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let stop = handle.clone();
    handle.add_reader(&source, move |source| {
        assert_eq!(source.get_ref().read(&mut [0]).unwrap(), 0);
        stop.stop();
    });
    drop(far);
    run(&event_loop);
}

#[test]
fn adding_a_reader_again_replaces_it_and_keeps_the_writer() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (source, mut far) = watched(&handle);
    let trace = Trace::default();
    let first = trace.on_drop("the first reader is dropped");
    handle.add_reader(&source, move |_| panic!("{:p}", &first));
    let (seen, removed, writer) = (trace.clone(), handle.clone(), source.clone());
    handle.add_writer(&source, move |_| {
        seen.add("writable");
        assert!(removed.remove_writer(&writer), "a writer may remove itself");
        assert!(!removed.remove_writer(&writer));
    });
    let (seen, stop) = (trace.clone(), handle.clone());
    handle.add_reader(&source, move |_| {
        seen.add("the second reader");
        stop.stop();
    });
    far.write_all(b"!").unwrap();
    run(&event_loop);
    let mut events = trace.take();
    events.sort();
    assert_eq!(events, ["the first reader is dropped", "the second reader", "writable"]);
    assert!(handle.remove_reader(&source));
    assert!(!handle.remove_reader(&source) && !handle.remove_writer(&source));
    // The watching tasks have dropped the source, so this is the last reference.
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert!(Rc::try_unwrap(source).is_ok());
}

#[test]
fn a_reader_removed_in_the_same_turn_is_not_called() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (source, mut far) = watched(&handle);
    far.write_all(b"!").unwrap();
    while source.check(picot_loop::Direction::Read).is_err() {
        event_loop.turn(Some(Duration::from_secs(10))).unwrap();
    }
    let (remove, removed) = (handle.clone(), source.clone());
    handle.call_soon(move || assert!(remove.remove_reader(&removed)));
    handle.add_reader(&source, |_| panic!("a removed reader was called"));
    let reports = reports(&event_loop);
    for _ in 0..3 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(reports.take().is_empty());
    assert!(handle.tasks().is_empty());
}

#[test]
fn a_panicking_reader_is_reported_with_its_place_and_stays() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let reports = reports(&event_loop);
    let (source, mut far) = watched(&handle);
    let stop = handle.clone();
    let mut calls = 0;
    let line = line!() + 1;
    handle.add_reader(&source, move |_| {
        calls += 1;
        if calls == 2 {
            stop.stop();
        }
        quiet_panic("in the reader");
    });
    far.write_all(b"!").unwrap();
    run(&event_loop);
    let texts = reports.take();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].starts_with("the reader or writer from ") && texts[0].contains(&format!("watch.rs:{line}:")));
    assert!(texts[0].ends_with("panicked with \"in the reader\""), "{}", texts[0]);
}

#[test]
fn on_a_closed_loop_removing_returns_false_and_adding_panics() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (source, _far) = watched(&handle);
    handle.add_reader(&source, |_| ());
    handle.add_writer(&source, |_| ());
    event_loop.close().unwrap();
    assert!(!handle.remove_reader(&source) && !handle.remove_writer(&source));
    let added = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handle.add_reader(&source, |_| ())));
    assert!(added.unwrap_err().downcast_ref::<String>().unwrap().contains("the loop is closed"));
    assert!(Rc::try_unwrap(source).is_ok(), "close has dropped the watching tasks");
}
