//! A chat: each line that a guest sends goes to all others.
//!
//! Usage: `chat serve ADDR [SECONDS]` for the server, whose first line says where it listens; `chat
//! join ADDR NAME` for a client, which sends what comes on standard input, line by line, and prints
//! the lines of the others, with control characters escaped.
//!
//! Both end well on Ctrl-C: the server says so to the guests and gives them SECONDS (5 by default)
//! to read it, the client says that it goes. A second Ctrl-C ends them at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use picot::net::{Protocol, Server, Transport, open_connection};
use picot::process::stdin;
use picot::race;
use picot::task::CancelToken;
use picot_context::Escaped;

/// The maximum length of a line in bytes; a guest that sends more without a line end is
/// disconnected.
const LINE_MAX: usize = 4096;

/// How many bytes may wait for a guest that does not read. With more it is disconnected, to limit
/// the memory.
const BEHIND_MAX: usize = 1 << 20;

/// How long the guests may take to read the last lines when the server ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The longest such time.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// The guests that are connected.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<BTreeMap<SocketAddr, Transport>>>);

impl Room {
    /// Sends a line to all guests but `from`.
    fn say(&self, from: Option<SocketAddr>, line: &[u8]) {
        for (_, guest) in self.0.borrow().iter().filter(|(address, _)| Some(**address) != from) {
            if guest.unsent() > BEHIND_MAX {
                guest.abort();
            } else {
                // It fails for a guest that is leaving, which needs no further lines.
                let _ = guest.write(line);
            }
        }
    }

    /// Closes all connections, each when its guest has got all lines.
    fn close(&self) {
        self.0.borrow().values().for_each(Transport::close);
    }
}

/// The server's state for one guest.
struct Guest {
    room: Room,
    address: Option<SocketAddr>,
    line: Vec<u8>,
}

impl Protocol for Guest {
    fn made(&mut self, transport: &Transport) {
        let Ok(address) = transport.peer_addr() else { return transport.abort() };
        self.address = Some(address);
        self.room.0.borrow_mut().insert(address, transport.clone());
    }

    fn data(&mut self, transport: &Transport, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.room.say(self.address, &self.line);
                self.line.clear();
            }
        }
        if self.line.len() > LINE_MAX {
            transport.abort();
        }
    }

    fn lost(&mut self, _: Option<io::Error>) {
        if let Some(address) = self.address {
            self.room.0.borrow_mut().remove(&address);
        }
    }
}

// More time than the guests have: the server itself gives up what they do not read.
#[picot::main(interrupt, terminate, grace = DRAIN_MAX * 2)]
async fn main(interrupt: CancelToken) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve", address] => serve(address, DRAIN, &interrupt).await,
        ["serve", address, seconds] => match duration(seconds) {
            Some(drain) => serve(address, drain, &interrupt).await,
            None => return usage(),
        },
        ["join", address, name] => join(address, name, &interrupt).await,
        _ => return usage(),
    };
    if let Err(error) = result {
        eprintln!("chat: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: chat serve ADDR [SECONDS] | chat join ADDR NAME; at most {} seconds", DRAIN_MAX.as_secs());
    ExitCode::FAILURE
}

fn duration(seconds: &str) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    (duration <= DRAIN_MAX).then_some(duration)
}

async fn serve(address: &str, drain: Duration, interrupt: &CancelToken) -> io::Result<()> {
    let room = Room::default();
    let guest = {
        let room = room.clone();
        move || Guest { room: room.clone(), address: None, line: Vec::new() }
    };
    let server = Server::builder().bind(address).await?.serve_protocol(guest)?;
    println!("listening at {}", server.local_addrs()[0]);
    let interrupted = async {
        interrupt.cancelled().await;
        Ok(())
    };
    race((server.serve_forever(), interrupted)).await?;
    room.say(None, b"the chat is closing\n");
    room.close();
    match server.shutdown(drain).await {
        0 => println!("closed"),
        late => println!("closed; guests that did not read the last lines: {late}"),
    }
    Ok(())
}

async fn join(address: &str, name: &str, interrupt: &CancelToken) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(address).await?;
    let talking = async {
        writer.write_all(format!("{name} has come\n").as_bytes()).await?;
        let mut lines = stdin()?.lines();
        let interrupted = || async {
            interrupt.cancelled().await;
            None
        };
        while let Some(line) = race((lines.next(), interrupted())).await.transpose()? {
            writer.write_all(format!("{name}: {line}\n").as_bytes()).await?;
        }
        writer.write_all(format!("{name} has gone\n").as_bytes()).await?;
        writer.close().await?;
        // The server closes the connection when it has read the end.
        pending().await
    };
    let listening = async {
        while let Some(line) = reader.read_line().await? {
            // Unescaped control characters of another guest could rewrite this terminal.
            println!("{}", Escaped(line));
        }
        io::Result::Ok(())
    };
    race((talking, listening)).await
}
