//! A protocol that records its callbacks, and helpers for tests of protocols.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::poll_once;
use picot_loop::{sleep, yield_now};
use picot_net::{Connections, Eof, Protocol, TcpStream, Transport};

use crate::pair;

pub(crate) type Hook = Box<dyn FnMut(&Transport)>;

/// Records each callback, and runs the hook of the test in some of them.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    pub(crate) events: Rc<RefCell<Vec<String>>>,
    pub(crate) on_made: Rc<RefCell<Option<Hook>>>,
    pub(crate) on_data: Rc<RefCell<Option<Hook>>>,
    pub(crate) on_eof: Rc<RefCell<Option<Hook>>>,
    pub(crate) eof: Rc<Cell<Eof>>,
}

impl Trace {
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.events.borrow_mut().push(text.into());
    }

    fn hook(&self, hook: &RefCell<Option<Hook>>, transport: &Transport) {
        if let Some(hook) = &mut *hook.borrow_mut() {
            hook(transport);
        }
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.borrow().clone()
    }

    /// Lets the loop run until there are `count` events.
    pub(crate) async fn until(&self, count: usize) -> Vec<String> {
        while self.events.borrow().len() < count {
            yield_now().await;
        }
        self.events()
    }
}

impl Protocol for Trace {
    fn made(&mut self, transport: &Transport) {
        self.note("made");
        self.hook(&self.on_made, transport);
    }

    fn data(&mut self, transport: &Transport, data: &[u8]) {
        self.note(format!("data {}", String::from_utf8_lossy(data)));
        self.hook(&self.on_data, transport);
    }

    fn eof(&mut self, transport: &Transport) -> Eof {
        self.note("eof");
        self.hook(&self.on_eof, transport);
        self.eof.get()
    }

    fn lost(&mut self, error: Option<io::Error>) {
        self.note(match error {
            None => "lost".to_string(),
            Some(error) => format!("lost {error}"),
        });
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.note("pause");
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.note("resume");
    }
}

/// A connection whose one end calls `trace`, and the other end.
pub(crate) async fn connected(trace: &Trace) -> io::Result<(Transport, TcpStream)> {
    let (client, server) = pair().await?;
    let connections = Connections::new()?;
    Ok((connections.adopt(server, trace.clone()), client))
}

/// Waits until the loop has seen all data that was sent before this, and the receivers have had
/// their turn: bytes that are sent later, on a connection of their own, have arrived.
pub(crate) async fn seen() -> io::Result<()> {
    let (client, server) = pair().await?;
    // From here on, only the reactor can report more.
    assert!(poll_once(server.read(&mut [0])).await.is_none());
    client.write_all(b"!").await?;
    server.read(&mut [0]).await?;
    // Tasks that were woken in the same turn run before this one continues.
    yield_now().await;
    Ok(())
}

/// Limits a wait to ten seconds, so that a test that waits in vain fails instead of hanging.
pub(crate) async fn soon<T>(what: impl IntoFuture<Output = T>) -> T {
    let late = async {
        sleep(Duration::from_secs(10)).await;
        None
    };
    let what = what.into_future();
    futures_lite::future::or(async { Some(what.await) }, late).await.expect("it has not come within ten seconds")
}

pub(crate) async fn rest(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}
