//! The virtual clock: when it jumps, and when it does not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use picot_loop::{LoopHandle, sleep, spawn, spawn_blocking, yield_now};
use picot_reactor::Direction;

use crate::trace::virtual_loop;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_clock_jumps_to_the_next_deadline_and_no_further() {
    let (event_loop, trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            for _ in 0..3 {
                sleep(HOUR).await;
                trace.add(clock.elapsed().as_secs());
            }
        })
        .unwrap();
    assert_eq!(trace.take(), ["3600", "7200", "10800"]);
}

#[test]
fn the_clock_stands_still_while_anything_is_ready() {
    let (event_loop, _trace, clock) = virtual_loop();
    let later = event_loop.handle().call_later(HOUR, || unreachable!());
    event_loop
        .run_until_complete(async {
            for _ in 0..1_000 {
                yield_now().await;
            }
        })
        .unwrap();
    assert_eq!(clock.elapsed(), Duration::ZERO);
    later.cancel();
}

#[test]
fn the_clock_does_not_jump_while_a_blocking_job_is_pending() {
    let (event_loop, trace, clock) = virtual_loop();
    let (end, ended) = mpsc::channel::<()>();
    let timer = event_loop.handle().call_later(HOUR, || unreachable!("the clock jumped"));
    let inside = clock.clone();
    event_loop
        .run_until_complete(async {
            let job = spawn_blocking(move || ended.recv().is_err());
            yield_now().await;
            // Ends the job from another thread, once the loop waits for it.
            std::thread::spawn(move || drop(end));
            assert!(job.await.unwrap());
            trace.add(inside.elapsed().as_secs());
        })
        .unwrap();
    assert_eq!(trace.take(), ["0"]);
    timer.cancel();
}

#[test]
fn the_clock_waits_in_real_time_for_io_that_is_about_to_arrive() {
    let (event_loop, trace, clock) = virtual_loop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    event_loop
        .run_until_complete(async {
            let source = LoopHandle::current().register(stream).unwrap();
            let reader = spawn(async move {
                source.readable().await.unwrap();
                source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).unwrap()
            });
            yield_now().await;
            peer.write_all(b"hello").unwrap();
            let late = spawn(sleep(HOUR));
            trace.add(reader.await.unwrap());
            trace.add(clock.elapsed().as_secs());
            late.cancel("done");
        })
        .unwrap();
    assert_eq!(trace.take(), ["5", "0"]);
}

#[test]
fn the_clock_jumps_past_io_that_does_not_arrive() {
    let (event_loop, _trace, clock) = virtual_loop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    event_loop
        .run_until_complete(async {
            let source = LoopHandle::current().register(listener).unwrap();
            let waits = spawn(async move { source.readable().await });
            sleep(HOUR).await;
            assert!(!waits.is_finished());
        })
        .unwrap();
    assert_eq!(clock.elapsed(), HOUR);
}

#[test]
fn advancing_the_clock_makes_timers_due() {
    let (event_loop, trace, clock) = virtual_loop();
    event_loop.handle().call_later(HOUR, trace.adds("an hour"));
    event_loop.handle().call_later(2 * HOUR, trace.adds("two hours"));
    clock.advance(HOUR);
    crate::trace::one_turn(&event_loop);
    assert_eq!(trace.take(), ["an hour"]);
}

#[test]
fn a_turn_with_a_limit_does_not_jump_past_io_that_is_about_to_arrive() {
    let grace = Duration::from_secs(20);
    let clock = picot_loop::VirtualClock::new();
    let event_loop = picot_loop::EventLoop::builder().clock(&clock).io_grace(grace).build().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let source = event_loop.handle().register(socket).unwrap();
    let reader = event_loop.handle().spawn(async move { source.readable().await });
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    event_loop.handle().call_later(HOUR, || ());

    /// Sends the datagram when the loop is about to wait.
    struct Sends(std::net::SocketAddr);
    impl picot_loop::Hooks for Sends {
        fn park(&self) {
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"!", self.0).unwrap();
        }
    }
    event_loop.handle().set_hooks(std::rc::Rc::new(Sends(address)));
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert!(reader.is_finished());
    assert_eq!(clock.elapsed(), Duration::ZERO);
}

#[test]
fn a_clock_may_use_the_loop() {
    #[derive(Clone, Debug)]
    struct Busy(std::rc::Rc<std::cell::Cell<bool>>);
    impl picot_loop::Clock for Busy {
        fn now(&self) -> Duration {
            if !self.0.replace(true) {
                // Reads the time, and adds a timer to the wheel.
                let _ = LoopHandle::try_current().map(|handle| handle.call_later(HOUR, || ()).cancel());
                self.0.set(false);
            }
            HOUR
        }
    }
    let event_loop = picot_loop::EventLoop::builder().clock(&Busy(std::rc::Rc::default())).build().unwrap();
    event_loop.handle().call_later(Duration::ZERO, || ());
    assert_eq!(event_loop.turn(None), Ok(1));
}
