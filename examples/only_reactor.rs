//! The reactor alone: a server that answers each line with the line reversed. One thread, no
//! executor, no futures.
//!
//! Usage: `only_reactor ADDR`, for example `only_reactor 127.0.0.1:7000`. Port 0 picks a free one;
//! the first line says which. The line `quit` ends the server.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};

use picot_reactor::{Direction, Reactor, Source};

fn main() -> ExitCode {
    let [address] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: only_reactor ADDR");
        return ExitCode::FAILURE;
    };
    match serve(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("only_reactor: cannot serve at {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Puts a number on the list of those who have something to do. This is all that a waker does here.
struct Ready {
    number: usize,
    list: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.list.lock().unwrap().push(self.number);
    }
}

/// A client: what it has sent of a line, and what is still to be sent to it.
struct Client {
    source: Source<TcpStream>,
    received: Vec<u8>,
    answers: Vec<u8>,
}

enum Next {
    Wait,
    Close,
    Quit,
}

fn serve(address: &str) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let listener = TcpListener::bind(address)?;
    println!("listening at {}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let listener = reactor.register(listener)?;

    // Number 0 is the listener, the others are one more than their client's place.
    let mut clients: Vec<Option<Client>> = Vec::new();
    let list = Arc::new(Mutex::new(vec![0]));
    let mut due = Vec::new();
    loop {
        std::mem::swap(&mut due, &mut *list.lock().unwrap());
        for number in due.drain(..) {
            let waker = Arc::new(Ready { number, list: list.clone() }).into();
            let cx = &mut Context::from_waker(&waker);
            let Some(place) = number.checked_sub(1) else {
                // All who are there, until it would block; then the waker waits for more.
                while let Poll::Ready(result) = listener.poll_io(cx, Direction::Read, TcpListener::accept) {
                    let (stream, _) = result?;
                    stream.set_nonblocking(true)?;
                    let client =
                        Client { source: reactor.register(stream)?, received: Vec::new(), answers: Vec::new() };
                    clients.push(Some(client));
                    list.lock().unwrap().push(clients.len());
                }
                continue;
            };
            let Some(client) = &mut clients[place] else { continue };
            match client.go_on(cx) {
                Ok(Next::Wait) => {}
                // A connection that fails is its client's matter.
                Ok(Next::Close) | Err(_) => clients[place] = None,
                Ok(Next::Quit) => return Ok(()),
            }
        }
        if list.lock().unwrap().is_empty() {
            reactor.wait(None)?;
        }
    }
}

impl Client {
    /// Reads, answers and writes until nothing more can be done just now.
    fn go_on(&mut self, cx: &mut Context<'_>) -> io::Result<Next> {
        let mut buffer = [0; 1024];
        loop {
            while !self.answers.is_empty() {
                let answers = &self.answers;
                match self.source.poll_io(cx, Direction::Write, |mut stream| stream.write(answers)) {
                    Poll::Ready(written) => drop(self.answers.drain(..written?)),
                    Poll::Pending => return Ok(Next::Wait),
                }
            }
            match self.source.poll_io(cx, Direction::Read, |mut stream| stream.read(&mut buffer)) {
                Poll::Pending => return Ok(Next::Wait),
                Poll::Ready(read) => match read? {
                    0 => return Ok(Next::Close),
                    read => self.received.extend_from_slice(&buffer[..read]),
                },
            }
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let line = &line[..end];
                if line == b"quit" {
                    return Ok(Next::Quit);
                }
                self.answers.extend(line.iter().rev());
                self.answers.push(b'\n');
            }
            if self.received.len() > 1 << 20 {
                return Err(ErrorKind::FileTooLarge.into());
            }
        }
    }
}
