//! A loop that is closed: what belongs to it, and what is begun on it, is an error at once.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use picot_loop::{EventLoop, spawn};
use picot_net::{ConnectOptions, Server, TcpListener, TcpStream, UdpSocket, lookup, open_connection, start_server};

type Pending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What each function has returned.
type Results = Vec<(&'static str, io::Result<()>)>;

/// Begins everything when it is dropped, which is while its loop closes.
struct Late(Rc<RefCell<Results>>);

impl Drop for Late {
    fn drop(&mut self) {
        let mut begun: Vec<(&'static str, Pending)> = vec![
            ("TcpStream::connect", Box::pin(async { TcpStream::connect("127.0.0.1:1").await.map(drop) })),
            ("connect to a name", Box::pin(async { TcpStream::connect("localhost:1").await.map(drop) })),
            (
                "ConnectOptions::connect",
                Box::pin(async {
                    ConnectOptions::new().timeout(Duration::from_secs(1)).connect("127.0.0.1:1").await.map(drop)
                }),
            ),
            ("open_connection", Box::pin(async { open_connection("127.0.0.1:1").await.map(drop) })),
            ("TcpListener::bind", Box::pin(async { TcpListener::bind("127.0.0.1:0").await.map(drop) })),
            ("UdpSocket::bind", Box::pin(async { UdpSocket::bind("127.0.0.1:0").await.map(drop) })),
            ("lookup", Box::pin(async { lookup("localhost:1").await.map(drop) })),
            ("ServerBuilder::bind", Box::pin(async { Server::builder().bind("127.0.0.1:0").await.map(drop) })),
            ("start_server", Box::pin(async { start_server("127.0.0.1:0", |_, _| async { Ok(()) }).await.map(drop) })),
        ];
        #[cfg(unix)]
        {
            use picot_net::{UnixDatagram, UnixListener, UnixStream};
            begun.push(("UnixListener::bind", Box::pin(async { UnixListener::bind("/nowhere/at").map(drop) })));
            begun.push(("UnixDatagram::bind", Box::pin(async { UnixDatagram::bind("/nowhere/at").map(drop) })));
            begun.push(("UnixStream::connect", Box::pin(async { UnixStream::connect("/nowhere/at").await.map(drop) })));
        }
        for (name, future) in begun {
            let result = block_on(poll_once(future)).expect(name);
            self.0.borrow_mut().push((name, result));
        }
    }
}

#[test]
fn what_is_begun_on_a_loop_that_closes_is_an_error_that_says_so_at_once() {
    let (event_loop, results) = (EventLoop::new().unwrap(), Rc::new(RefCell::new(Vec::new())));
    let late = Late(results.clone());
    event_loop
        .run_until_complete(async {
            drop(spawn(async move {
                let _late = late;
                std::future::pending::<()>().await;
            }));
            picot_loop::yield_now().await;
        })
        .unwrap();
    event_loop.close().unwrap();
    let results = results.take();
    assert!(results.len() >= 9);
    for (name, result) in results {
        let error = result.expect_err(name).to_string();
        assert!(error.contains("the loop is closed"), "{name}: {error}");
    }
}

/// Polls futures on one loop, closes that, and awaits them on another one, by which each must have ended.
fn outlive(begin: impl AsyncFnOnce(&mut Vec<(&'static str, Pending)>) -> io::Result<()>) {
    let mut pending: Vec<(&'static str, Pending)> = Vec::new();
    let first = EventLoop::new().unwrap();
    first
        .run_until_complete(async {
            begin(&mut pending).await?;
            for (name, future) in &mut pending {
                assert!(poll_once(future).await.is_none(), "{name} has nothing to wait for");
            }
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    drop(first);
    let second = EventLoop::new().unwrap();
    second
        .run_until_complete(async {
            for (name, future) in pending {
                let ended = within_a_few_turns(future).await;
                assert!(ended.expect(name).is_err(), "{name} succeeds on a closed loop");
            }
        })
        .unwrap();
}

/// `None` if it has not ended within a few turns.
async fn within_a_few_turns<T>(future: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut future = future;
    for _ in 0..10 {
        if let Some(value) = poll_once(&mut future).await {
            return Some(value);
        }
        picot_loop::yield_now().await;
    }
    None
}

#[test]
fn servers_whose_loop_has_closed_have_ended() {
    outlive(async |pending| {
        for by_protocol in [false, true] {
            let server = Server::builder().bind("127.0.0.1:0").await?;
            let server = match by_protocol {
                true => server.serve_protocol(crate::trace::Trace::default)?,
                false => server.serve(|stream, _| async move { stream.read(&mut [0; 8]).await.map(drop) })?,
            };
            let server = Rc::new(server);
            // A client, and a wait of each kind.
            let client = TcpStream::connect(server.local_addrs()[0]).await?;
            while server.clients() == 0 {
                picot_loop::yield_now().await;
            }
            let (one, two) = (server.clone(), server.clone());
            pending.push(("Server::serve_forever", Box::pin(async move { one.serve_forever().await })));
            pending.push((
                "Server::wait_closed",
                Box::pin(async move {
                    two.wait_closed().await;
                    let _client = client;
                    assert!(two.is_closed() && two.clients() == 0 && two.local_addrs().is_empty());
                    two.serve_forever().await
                }),
            ));
        }
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn accepting_and_connecting_end_with_their_loop() {
    outlive(async |pending| {
        let full = picot_net::ListenOptions::new().backlog(0).bind("127.0.0.1:0").await?;
        let address = full.local_addr()?;
        let filling = TcpStream::connect(address).await?;
        pending.push((
            "TcpStream::connect",
            Box::pin(async move {
                let _open = (full, filling);
                TcpStream::connect(address).await.map(drop)
            }),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        pending.push(("TcpListener::accept", Box::pin(async move { listener.accept().await.map(drop) })));
        Ok(())
    });
    // And what is first awaited when the loop is closed.
    let first = EventLoop::new().unwrap();
    let listener = first.run_until_complete(TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    drop(first);
    let second = EventLoop::new().unwrap();
    let accepted = second.run_until_complete(async { poll_once(listener.accept()).await }).unwrap();
    assert!(accepted.expect("an error at once").is_err());
}
