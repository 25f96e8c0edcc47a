//! The timer wheel alone, for the timeouts of connections in a hand-written poll loop: a thread
//! that takes events out of a channel, and sleeps until the next deadline at most. No event loop,
//! no task, no future.
//!
//! Three clients connect. The first says three things and leaves; the second says nothing; the
//! third pauses between its messages, and stays for longer than the limit of silence, which each
//! message starts anew.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use picot_timers::{TimerKey, Wheel, saturating_nanos};

/// So long a connection may be silent.
const LIMIT: Duration = Duration::from_secs(1);
/// So long the third client pauses.
const PAUSE: Duration = Duration::from_millis(300);
const CLIENTS: usize = 3;

enum Event {
    Opened(usize, TcpStream),
    Message(usize),
    Closed(usize),
}

struct Connection {
    stream: TcpStream,
    messages: usize,
    timeout: TimerKey,
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, events) = mpsc::channel();
    thread::spawn(move || accept(listener, sender));
    let clients = connect(address)?;
    poll_loop(&events)?;
    for client in clients {
        client.join().expect("clients do not panic");
    }
    Ok(())
}

/// The poll loop: events as they come, timeouts when they are due.
fn poll_loop(events: &Receiver<Event>) -> Result<(), Box<dyn Error>> {
    let origin = now();
    let time = || saturating_nanos(now() - origin);
    let limit = saturating_nanos(LIMIT);
    let mut timeouts = Wheel::new();
    let mut connections = HashMap::new();
    let mut finished = 0;
    while finished < CLIENTS {
        let event = match timeouts.next_deadline() {
            Some(deadline) => events.recv_timeout(Duration::from_nanos(deadline.saturating_sub(time()))),
            None => events.recv().map_err(RecvTimeoutError::from),
        };
        match event {
            Ok(Event::Opened(name, stream)) => {
                let timeout = timeouts.insert(time() + limit, name);
                connections.insert(name, Connection { stream, messages: 0, timeout });
            }
            Ok(Event::Message(name)) => {
                if let Some(connection) = connections.get_mut(&name) {
                    connection.messages += 1;
                    timeouts.reset(connection.timeout, time() + limit);
                }
            }
            Ok(Event::Closed(name)) => {
                // Unless it was us who closed it.
                if let Some(connection) = connections.remove(&name) {
                    timeouts.cancel(connection.timeout);
                    println!("client {name} left after {} messages", connection.messages);
                    finished += 1;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
        for name in timeouts.expire(time()) {
            if let Some(connection) = connections.remove(&name) {
                println!("client {name} was silent for {LIMIT:?}, after {} messages", connection.messages);
                let _ = connection.stream.shutdown(Shutdown::Both);
                finished += 1;
            }
        }
    }
    println!("{} timeouts are left", timeouts.len());
    Ok(())
}

/// Accepts the clients, and turns what they do into events. They are numbered in the order in which
/// they connect.
fn accept(listener: TcpListener, events: Sender<Event>) {
    for (name, stream) in (1..=CLIENTS).zip(listener.incoming()) {
        let Ok((stream, mut reader)) = stream.and_then(|stream| Ok((stream.try_clone()?, stream))) else { return };
        let events = events.clone();
        thread::spawn(move || {
            // The poll loop may be gone by then, which is the end of everything here.
            let _ = events.send(Event::Opened(name, stream));
            while let Ok(1..) = reader.read(&mut [0; 1]) {
                let _ = events.send(Event::Message(name));
            }
            let _ = events.send(Event::Closed(name));
        });
    }
}

fn connect(address: SocketAddr) -> Result<[thread::JoinHandle<()>; CLIENTS], Box<dyn Error>> {
    let [mut one, mut two, mut three] =
        [TcpStream::connect(address)?, TcpStream::connect(address)?, TcpStream::connect(address)?];
    three.set_read_timeout(Some(PAUSE))?;
    Ok([
        thread::spawn(move || _ = one.write_all(b"abc")),
        // Waits for an answer, for as long as it is let.
        thread::spawn(move || _ = two.read(&mut [0; 1])),
        thread::spawn(move || {
            for message in b"abcde" {
                let _ = three.write_all(&[*message]);
                let _ = three.read(&mut [0; 1]); // nothing comes, for so long
            }
        }),
    ])
}

#[expect(clippy::disallowed_methods, reason = "there is no loop here whose clock it could be")]
fn now() -> Instant {
    Instant::now()
}
