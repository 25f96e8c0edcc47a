//! I/O in the turn: registered sources wake tasks, also while the queue is busy.

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

/// A task that is always ready must not starve a socket, a timer, or another thread.
#[test]
fn a_task_that_is_always_ready_starves_no_io_timer_or_thread() {
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

/// All data has arrived, so the reader never waits. Only the budget makes it yield.
#[test]
fn a_task_whose_io_is_always_ready_lets_others_run() {
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
fn a_task_dropped_at_close_deregisters_its_sources() {
    let event_loop = EventLoop::new().unwrap();
    let (source, _peer) = connected();
    drop(event_loop.handle().spawn(async move { source.readable().await }));
    crate::trace::one_turn(&event_loop);
    assert_eq!(event_loop.close().unwrap().sources, 0);
}
