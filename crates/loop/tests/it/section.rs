//! The exclusive section in a loop: I/O and timers are collected and held back, and the loop still
//! sleeps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use picot_loop::{EventLoop, Hooks, LoopHandle, exclusive, sleep, spawn};
use picot_reactor::{Direction, Source};

use crate::reactor::connected;
use crate::trace::virtual_loop;

const SECOND: Duration = Duration::from_secs(1);

async fn read_byte(source: &Source<TcpStream>) -> char {
    let mut byte = [0];
    loop {
        source.readable().await.unwrap();
        if let Ok(1) = source.try_io(Direction::Read, |mut io| io.read(&mut byte)) {
            return byte[0].into();
        }
    }
}

#[test]
fn timers_and_io_of_other_tasks_are_held_in_a_section_and_run_after_it() {
    let (event_loop, trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let ((own, mut to_own), (others, mut to_others)) = (connected(), connected());
            let event = |what: &'static str| {
                let (trace, clock) = (trace.clone(), clock.clone());
                move || trace.add(format!("{what} at {:?}", clock.elapsed()))
            };
            LoopHandle::current().call_later(2 * SECOND, event("timer's call"));
            let ran = event("timer's task");
            let sleeper = spawn(async move {
                sleep(SECOND).await;
                ran();
            });
            let ran = event("reader");
            let reader = spawn(async move {
                assert_eq!(read_byte(&others).await, 'o');
                ran();
            });
            // Both are waiting before the section begins.
            picot_loop::yield_now().await;
            let alone = exclusive().await;
            sleep(3 * SECOND).await;
            event("slept in the section")();
            assert_eq!(alone.held(), 2, "the task and the call that are due");
            to_others.write_all(b"o").unwrap();
            to_own.write_all(b"m").unwrap();
            assert_eq!(read_byte(&own).await, 'm');
            event("read in the section")();
            assert_eq!(alone.held(), 3);
            sleep(SECOND).await;
            event("released")();
            drop(alone);
            LoopHandle::current().call_soon(event("what became ready later"));
            sleeper.await.unwrap();
            reader.await.unwrap();
        })
        .unwrap();
    let run = event_loop.handle().metrics().snapshot();
    assert_eq!(
        trace.take(),
        [
            "slept in the section at 3s",
            "read in the section at 3s",
            "released at 4s",
            "timer's task at 4s",
            "timer's call at 4s",
            "reader at 4s",
            "what became ready later at 4s",
        ]
    );
    assert!(run.turns < 20, "{} turns: the loop did not sleep between events", run.turns);
}

#[test]
fn the_loop_sleeps_in_a_section_while_other_tasks_are_ready() {
    /// Signals the thread when the loop is about to wait.
    struct Parks(mpsc::Sender<()>);
    impl Hooks for Parks {
        fn park(&self) {
            let _ = self.0.send(());
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let (parks, has_parked) = mpsc::channel();
    let held = event_loop.handle();
    let (turns, ran) = event_loop
        .run_until_complete(async move {
            let (own, mut to_own) = connected();
            let alone = exclusive().await;
            let ran = Rc::new(std::cell::Cell::new(false));
            held.call_soon({
                let ran = ran.clone();
                move || ran.set(true)
            });
            let before = held.metrics().snapshot().turns;
            held.set_hooks(Rc::new(Parks(parks)));
            let thread = std::thread::spawn(move || {
                // A loop that spins never parks. The limit keeps the test from hanging then.
                let parked = has_parked.recv_timeout(20 * SECOND);
                to_own.write_all(b"m").unwrap();
                parked.is_ok()
            });
            assert_eq!(read_byte(&own).await, 'm');
            let turns = held.metrics().snapshot().turns - before;
            assert!(thread.join().unwrap(), "the loop never slept");
            assert_eq!((alone.held(), ran.get()), (1, false));
            drop(alone);
            (turns, ran)
        })
        .unwrap();
    assert!(turns <= 3, "{turns} turns in the section: its begin, the wait, and its end");
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert!(ran.get());
}
