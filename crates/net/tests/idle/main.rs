//! The memory of an idle connection of a protocol, by a counting allocator, including the part of
//! the reactor.
//!
//! A program of its own, because it uses nearly all descriptors of the process, and counts all its
//! allocations.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use picot_loop::{EventLoop, yield_now};
use picot_net::{Protocol, Server, Transport};
use picot_testkit::alloc::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Echo;

impl Protocol for Echo {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data).unwrap();
    }
}

/// The number of connections, and how many of the first ones are not measured: by then the loop and
/// the set have allocated what they need once, such as the buffer.
const COUNT: usize = 10_000;
const FIRST: usize = 50;

/// How many connections this process can have with both of their ends, if the system reports its
/// limit.
fn possible() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(256);
    (limit - 40) / 2
}

/// Adds clients until there are `count`, several at a time, as many as the backlog holds. Each has
/// received one answer, so that all lazy allocations are done.
async fn connect(server: &Server, clients: &mut Vec<TcpStream>, count: usize) -> io::Result<()> {
    while clients.len() < count {
        let first = clients.len();
        for _ in first..count.min(first + 50) {
            let mut client = TcpStream::connect(server.local_addrs()[0])?;
            client.write_all(b"ping")?;
            client.set_nonblocking(true)?;
            clients.push(client);
        }
        for client in &mut clients[first..] {
            let mut back = [0; 4];
            while client.read(&mut back).is_err() {
                yield_now().await;
            }
            assert_eq!(&back, b"ping");
        }
    }
    assert_eq!(server.clients(), count);
    Ok(())
}

#[test]
fn an_idle_connection_by_protocol_costs_less_than_400_bytes() {
    let count = COUNT.min(possible() - FIRST);
    if count < COUNT {
        println!("{count} connections, because of the limit of descriptors");
    }
    let event_loop = EventLoop::new().unwrap();
    let rounds = event_loop.run_until_complete(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?;
        let mut before = None;
        let mut rounds = Vec::new();
        for _ in 0..5 {
            let mut clients = Vec::with_capacity(FIRST + count);
            connect(&server, &mut clients, FIRST).await?;
            let before = *before.get_or_insert(live_bytes());
            connect(&server, &mut clients, FIRST + count).await?;
            rounds.push((live_bytes() - before) / count);
            drop(clients);
            while server.clients() > 0 {
                yield_now().await;
            }
        }
        io::Result::Ok(rounds)
    });
    let rounds = rounds.unwrap().unwrap();
    println!("{rounds:?} bytes an idle connection, {count} of them, again and again");
    assert!(rounds.iter().all(|bytes| (64..400).contains(bytes)), "{rounds:?}");
    // The first rounds in which all connections end at once allocate some lists, which stay;
    // nothing stays for each connection.
    assert_eq!(rounds[4], rounds[3]);
}
