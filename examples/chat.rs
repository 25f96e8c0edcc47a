//! A chat: each line that a guest sends goes to all others.
//!
//! Usage: `chat serve ADDR` for the server, whose first line says where it listens; `chat join ADDR
//! NAME` for a client, which sends what comes on standard input, line by line, and prints the lines
//! of the others, with control characters escaped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use picot::net::{Protocol, Server, Transport, open_connection};
use picot::{spawn, spawn_blocking};
use picot_context::Escaped;

/// The maximum length of a line in bytes; a guest that sends more without a line end is
/// disconnected.
const LINE_MAX: usize = 4096;

/// How many bytes may wait for a guest that does not read. With more it is disconnected, to limit
/// the memory.
const BEHIND_MAX: usize = 1 << 20;

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

#[picot::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve", address] => serve(address).await,
        ["join", address, name] => join(address, name).await,
        _ => {
            eprintln!("usage: chat serve ADDR | chat join ADDR NAME");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = result {
        eprintln!("chat: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(address: &str) -> io::Result<()> {
    let room = Room::default();
    let guest = move || Guest { room: room.clone(), address: None, line: Vec::new() };
    let server = Server::builder().bind(address).await?.serve_protocol(guest)?;
    println!("listening at {}", server.local_addrs()[0]);
    server.serve_forever().await
}

async fn join(address: &str, name: &str) -> io::Result<()> {
    let (mut reader, mut writer) = open_connection(address).await?;
    writer.write_all(format!("{name} has come\n").as_bytes()).await?;
    let listening = spawn(async move {
        while let Some(line) = reader.read_line().await? {
            // Unescaped control characters of another guest could rewrite this terminal.
            println!("{}", Escaped(line));
        }
        io::Result::Ok(())
    });
    // Reading standard input blocks, so a thread does it.
    while let Some(line) =
        spawn_blocking(|| io::stdin().lock().lines().next().transpose()).await.map_err(io::Error::other)??
    {
        writer.write_all(format!("{name}: {line}\n").as_bytes()).await?;
    }
    writer.write_all(format!("{name} has gone\n").as_bytes()).await?;
    writer.close().await?;
    // The server closes the connection when it has read the end.
    listening.await.map_err(io::Error::other)?
}
