//! picot as a guest: a host with a loop of its own, a plain `poll(2)`, makes picot's turns and
//! waits in its stead.
//!
//! The host has a connection of its own, by which a thread sends it three lines. It passes each
//! line to a picot task. Meanwhile another task ticks, and another thread calls into the loop. The
//! program ends when all of that has happened.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use picot::sync::Queue;
use picot::{EventLoop, sleep};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event_loop = EventLoop::new()?;
    drop(event_loop.handle().spawn(async {
        for n in 1..=3 {
            sleep(Duration::from_millis(20)).await;
            println!("picot: tick {n}");
        }
    }));
    // The host puts lines in, and the task takes them out: each put makes the descriptor readable.
    let lines = Rc::new(Queue::<String>::unbounded());
    let receiver = lines.clone();
    drop(event_loop.handle().spawn(async move {
        while let Some(line) = receiver.get().await {
            println!("picot: received {line}");
        }
    }));
    // This ends the host's wait, because the host asks for the timeout before each.
    let is_called = Arc::new(AtomicBool::new(false));
    let (called, remote) = (is_called.clone(), event_loop.handle().remote());
    let caller = thread::spawn(move || {
        remote.call_soon(move || {
            println!("picot: called from another thread");
            called.store(true, Ordering::Relaxed);
        })
    });

    let (mut input, mut sender) = UnixStream::pair()?;
    let writer = thread::spawn(move || (1..=3).try_for_each(|n| sender.write_all(format!("line {n}\n").as_bytes())));
    let mut is_open = true;

    while is_open || !is_called.load(Ordering::Relaxed) || !event_loop.handle().tasks().is_empty() {
        let timeout = event_loop.next_timeout();
        let Some(descriptor) = event_loop.backend_fd() else {
            // This platform's way to poll has no descriptor: the loop waits itself, in short turns.
            event_loop.turn(Some(Duration::from_millis(1)))?;
            is_open = is_open && pass_on(&mut input, &lines)?;
            continue;
        };
        let mut waits = vec![PollFd::new(&descriptor, PollFlags::IN)];
        if is_open {
            waits.push(PollFd::new(&input, PollFlags::IN));
        }
        poll(&mut waits, timeout.map(Timespec::try_from).transpose()?.as_ref())?;
        let [for_picot, for_host] = [0, 1].map(|n| waits.get(n).is_some_and(|wait| !wait.revents().is_empty()));
        drop(waits);
        if for_host {
            // No turn is needed after this: what it queues ends the next wait at once.
            is_open = pass_on(&mut input, &lines)?;
        }
        if for_picot || !for_host {
            event_loop.turn(Some(Duration::ZERO))?;
        }
    }
    caller.join().unwrap()?;
    writer.join().unwrap()?;
    println!("done, with {} tasks left", event_loop.close()?.tasks.len());
    Ok(())
}

/// Prints what the host has received, and passes it on. Returns whether more may come.
fn pass_on(input: &mut UnixStream, lines: &Queue<String>) -> io::Result<bool> {
    let mut buffer = [0; 256];
    let count = input.read(&mut buffer)?;
    for line in String::from_utf8_lossy(&buffer[..count]).lines() {
        println!("host: {line}");
        lines.try_put(line.to_string()).expect("the queue has no bound, and is closed at the end of the input");
    }
    if count == 0 {
        lines.close();
    }
    Ok(count != 0)
}
