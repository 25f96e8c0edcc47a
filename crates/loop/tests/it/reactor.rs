//! I/O in the turn: registered sources wake tasks, and a busy queue does not keep them from it.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, LoopHandle, sleep, spawn, yield_now};
use picot_reactor::{Direction, Source};

pub(crate) fn connected() -> (Source<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (LoopHandle::current().register(stream).unwrap(), peer)
}

#[test]
fn a_task_waits_for_a_socket() {
    let event_loop = EventLoop::new().unwrap();
    let (source, mut peer) = connected();
    let thread = std::thread::spawn(move || {
        let mut byte = [0];
        for _ in 0..100 {
            peer.write_all(b"x").unwrap();
            peer.read_exact(&mut byte).unwrap();
        }
    });
    event_loop
        .run_until_complete(async {
            let mut byte = [0];
            for _ in 0..100 {
                loop {
                    source.readable().await.unwrap();
                    match source.try_io(Direction::Read, |mut io| io.read(&mut byte)) {
                        Ok(read) => break assert_eq!(read, 1),
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                }
                source.get_ref().write_all(&byte).unwrap();
            }
        })
        .unwrap();
    thread.join().unwrap();
}

/// A task that always has work must starve neither a socket, nor a timer, nor another thread.
#[test]
fn io_timers_and_other_threads_get_their_turn_beside_a_task_that_never_rests() {
    let event_loop = EventLoop::new().unwrap();
    let (source, mut peer) = connected();
    let remote = event_loop.handle().remote();
    event_loop
        .run_until_complete(async {
            let rests = Rc::new(Cell::new(false));
            let busy = spawn({
                let rests = rests.clone();
                async move {
                    while !rests.get() {
                        yield_now().await;
                    }
                }
            });
            sleep(Duration::from_millis(2)).await;
            peer.write_all(b"x").unwrap();
            source.readable().await.unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || remote.call_soon(move || sender.send(()).unwrap()).unwrap()).join().unwrap();
            while receiver.try_recv().is_err() {
                yield_now().await;
            }
            rests.set(true);
            busy.await.unwrap();
        })
        .unwrap();
}

/// Its peer's data is all there, so it never has to wait; only the budget lets others run in between.
#[test]
fn a_task_that_waits_for_what_is_ready_already_lets_the_others_run() {
    let event_loop = EventLoop::new().unwrap();
    let (source, mut peer) = connected();
    peer.write_all(&[0; 16 * 1_000]).unwrap();
    drop(peer);
    event_loop
        .run_until_complete(async {
            let greedy = spawn(async move {
                let (mut total, mut buffer) = (0, [0; 16]);
                loop {
                    source.readable().await.unwrap();
                    match source.try_io(Direction::Read, |mut io| io.read(&mut buffer)) {
                        Ok(0) => return total,
                        Ok(read) => total += read,
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                }
            });
            let mut others = 0;
            while !greedy.is_finished() && others < 7 {
                yield_now().await;
                others += 1;
            }
            assert_eq!(others, 7, "a thousand reads take at least seven steps of 128");
            assert_eq!(greedy.await.unwrap(), 16_000);
        })
        .unwrap();
}

#[test]
fn a_task_that_was_dropped_by_its_loop_deregisters_its_sources() {
    let event_loop = EventLoop::new().unwrap();
    let (source, _peer) = connected();
    drop(event_loop.handle().spawn(async move { source.readable().await }));
    crate::trace::one_turn(&event_loop);
    assert_eq!(event_loop.close().unwrap().sources, 0);
}
