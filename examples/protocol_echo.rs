//! An echo by callbacks, server and clients in one loop: asyncio's `Protocol`, with a transport
//! that pauses.
//!
//! Usage: `protocol_echo [CLIENTS]` (100 unless given). Each client sends ten messages, one after
//! the other, and counts what comes back.

use std::cell::Cell;
use std::env;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use picot::net::{Connections, Protocol, Server, Transport};
use picot_examples::EchoProtocol;

const MESSAGES: usize = 10;
const MESSAGE: &[u8] = b"a message of a client\n";

/// Sends a message, and the next when it has come back.
struct Client {
    rounds: usize,
    received: usize,
    done: Rc<Cell<usize>>,
}

impl Protocol for Client {
    fn made(&mut self, transport: &Transport) {
        self.send(transport);
    }

    fn data(&mut self, transport: &Transport, data: &[u8]) {
        self.received += data.len();
        if self.received < MESSAGE.len() {
            return;
        }
        self.received = 0;
        self.rounds += 1;
        if self.rounds < MESSAGES {
            self.send(transport);
        } else {
            transport.close();
        }
    }

    fn lost(&mut self, error: Option<io::Error>) {
        if let Some(error) = error {
            eprintln!("protocol_echo: a client was cut off: {error}");
        }
        self.done.set(self.done.get() + self.rounds);
    }
}

impl Client {
    fn send(&self, transport: &Transport) {
        // If the connection is gone, `lost` says why.
        let _ = transport.write(MESSAGE);
    }
}

#[picot::main]
async fn main() -> ExitCode {
    let clients = env::args().nth(1).map_or(Ok(100), |text| text.parse());
    let Ok(clients) = clients else {
        eprintln!("usage: protocol_echo [CLIENTS]");
        return ExitCode::FAILURE;
    };
    match run(clients).await {
        Ok(messages) => {
            println!("{clients} clients had {messages} messages echoed");
            if messages == clients * MESSAGES { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("protocol_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(clients: usize) -> io::Result<usize> {
    let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| EchoProtocol)?;
    let address = server.local_addrs()[0];
    let done = Rc::new(Cell::new(0));
    // One set for all: one task, and one buffer to read into.
    let connections = Connections::new()?;
    for _ in 0..clients {
        connections.connect(address, Client { rounds: 0, received: 0, done: done.clone() }).await?;
    }
    connections.wait_empty().await;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(done.get())
}
