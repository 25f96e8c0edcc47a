//! Making connections, and the ways in which that fails.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
#[cfg(target_os = "linux")]
use picot_loop::{EventLoop, Instant, VirtualClock};
use picot_loop::{LoopHandle, sleep, spawn};
#[cfg(target_os = "linux")]
use picot_net::{Address, ListenOptions};
use picot_net::{ConnectOptions, Resolve, Resolving, TcpListener, TcpStream};

use crate::{alone, pair, run};

#[test]
fn both_ends_report_each_others_address() {
    run(async {
        let (client, server) = pair().await?;
        assert_eq!(client.peer_addr()?, server.local_addr()?);
        assert_eq!(server.peer_addr()?, client.local_addr()?);
        Ok(())
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    run(async {
        let listener = TcpListener::bind(alone(4)).await?;
        let address = listener.local_addr()?;
        drop(listener);
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let error = TcpListener::bind(listener.local_addr()?).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        Ok(())
    });
}

#[test]
fn an_error_names_the_failed_attempt_at_each_address() {
    run(async {
        let listener = TcpListener::bind("localhost:0").await?;
        let port = listener.local_addr()?.port();
        // Connecting by name finds the listener at whichever address it is bound.
        drop(TcpStream::connect(("localhost", port)).await?);
        drop(listener.accept().await?);
        drop(listener);
        let addresses = picot_net::lookup(("localhost", port)).await?;
        let error = TcpStream::connect(("localhost", port)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        if addresses.len() > 1 {
            assert!(addresses.iter().all(|address| error.to_string().contains(&address.to_string())), "{error}");
        }
        Ok(())
    });
}

#[test]
fn without_a_loop_the_error_says_what_to_do() {
    let error = futures_lite::future::block_on(TcpStream::connect("127.0.0.1:1")).unwrap_err();
    assert!(error.to_string().contains("this thread has no event loop"), "{error}");
    let error = futures_lite::future::block_on(TcpListener::bind("127.0.0.1:0")).unwrap_err();
    assert!(error.to_string().contains("this thread has no event loop"), "{error}");
}

/// The number of sources, and of sources with a waiter. The loop updates both numbers when it
/// waits, so this waits first.
async fn sources() -> (u64, u64) {
    sleep(Duration::from_nanos(1)).await;
    let snapshot = LoopHandle::current().metrics().snapshot();
    (snapshot.sources, snapshot.waiting)
}

#[test]
fn a_dropped_accept_leaves_nothing_registered_and_loses_no_connection() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut accepting = Box::pin(listener.accept());
        assert!(poll_once(&mut accepting).await.is_none());
        assert_eq!(sources().await, (1, 1));
        drop(accepting);
        assert_eq!(sources().await, (1, 0));
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (_server, peer) = listener.accept().await?;
        assert_eq!(peer, client.local_addr()?);
        Ok(())
    });
}

/// A listener whose backlog is full, so that further connects wait, with the connections that fill
/// it. Linux only: other systems may refuse such a connection.
#[cfg(target_os = "linux")]
async fn full(address: impl Into<Address>) -> io::Result<(TcpListener, Vec<TcpStream>)> {
    let listener = ListenOptions::new().backlog(0).bind(address).await?;
    let first = TcpStream::connect(listener.local_addr()?).await?;
    Ok((listener, vec![first]))
}

#[cfg(target_os = "linux")]
#[test]
fn a_connect_that_is_dropped_while_it_waits_closes_its_socket() {
    run(async {
        let (listener, _filling) = full("127.0.0.1:0").await?;
        let mut connecting = Box::pin(TcpStream::connect(listener.local_addr()?));
        assert!(poll_once(&mut connecting).await.is_none());
        assert_eq!(sources().await, (3, 1), "the listener, the connection that fills it, and the pending one");
        drop(connecting);
        assert_eq!(sources().await, (2, 0));
        Ok(())
    });
}

/// A resolver that knows these addresses for every name.
struct Host(Vec<SocketAddr>);

impl Resolve for Host {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Runs a test under the virtual clock, which stands still while anything can run.
#[cfg(target_os = "linux")]
fn run_virtual(test: impl Future<Output = io::Result<()>>) {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    event_loop.run_until_complete(test).unwrap().unwrap();
    assert_eq!(event_loop.close().unwrap().sources, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn after_the_stagger_the_next_address_is_tried_and_the_slow_attempt_is_closed() {
    run_virtual(async {
        let (silent, _filling) = full("127.0.0.1:0").await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = vec![silent.local_addr()?, listener.local_addr()?];
        let start = Instant::now();
        let stream = ConnectOptions::new().resolver(Host(addresses)).connect("host:1").await?;
        assert_eq!(stream.peer_addr()?, listener.local_addr()?);
        assert_eq!(Instant::now() - start, Duration::from_millis(250));
        assert_eq!(sources().await, (4, 0), "two listeners, the connection that fills one, and the stream");
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn with_an_unlimited_stagger_a_silent_address_uses_the_whole_time_limit() {
    run_virtual(async {
        let (silent, _filling) = full("127.0.0.1:0").await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let options = ConnectOptions::new()
            .resolver(Host(vec![silent.local_addr()?, listener.local_addr()?]))
            .stagger(Duration::MAX)
            .timeout(Duration::from_secs(10));
        let start = Instant::now();
        let error = options.connect("host:1").await.unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to host:1: connecting timed out after 10s");
        assert_eq!(Instant::now() - start, Duration::from_secs(10));
        assert_eq!(sources().await, (3, 0), "two listeners, and the connection that fills one");
        assert!(poll_once(listener.accept()).await.is_none(), "the second address was never tried");
        // An attempt that fails starts the next one at once.
        let refused = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let options = options.resolver(Host(vec![refused, listener.local_addr()?]));
        assert_eq!(options.connect("host:1").await?.peer_addr()?, listener.local_addr()?);
        assert!(Instant::now() - start < Duration::from_secs(11));
        Ok(())
    });
}

#[test]
fn addresses_are_tried_in_order_and_if_all_fail_each_error_is_named() {
    run(async {
        let (first, second) = (TcpListener::bind(alone(6)).await?, TcpListener::bind(alone(6)).await?);
        let addresses = vec![first.local_addr()?, second.local_addr()?];
        let options = ConnectOptions::new().resolver(Host(addresses.clone()));
        assert_eq!(options.connect("host:1").await?.peer_addr()?, addresses[0]);
        drop(first);
        assert_eq!(options.connect("host:1").await?.peer_addr()?, addresses[1]);
        drop(second);
        let error = options.connect("host:1").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let bare = io::Error::from_raw_os_error(picot_net::raw_os_error(&error).unwrap());
        let each = format!("{}: {bare}; {}: {bare}", addresses[0], addresses[1]);
        assert_eq!(error.to_string(), format!("cannot connect to host:1: {each}"));
        Ok(())
    });
}

#[test]
fn a_dropped_connect_closes_its_socket() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut connecting = Box::pin(TcpStream::connect(address));
        // A connect over loopback may complete before the first poll.
        drop(poll_once(&mut connecting).await);
        drop(connecting);
        let (server, _) = listener.accept().await?;
        assert_eq!(server.read(&mut [0]).await?, 0);
        Ok(())
    });
}

#[test]
fn several_tasks_may_accept_and_each_connection_goes_to_one() {
    run(async {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await?);
        let address = listener.local_addr()?;
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = listener.clone();
                spawn(async move {
                    let mut peers = Vec::new();
                    for _ in 0..5 {
                        peers.push(listener.accept().await.unwrap().1);
                    }
                    peers
                })
            })
            .collect();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let client = TcpStream::connect(address).await?;
            clients.push((client.local_addr()?, client));
        }
        let mut accepted = Vec::new();
        for acceptor in acceptors {
            accepted.extend(acceptor.await.unwrap());
        }
        let mut connected: Vec<_> = clients.iter().map(|(address, _)| *address).collect();
        accepted.sort();
        connected.sort();
        assert_eq!(accepted, connected);
        Ok(())
    });
}

/// Each of several waiters gets a connection, whether it uses `accept` or `incoming`.
#[test]
fn every_waiter_of_a_listener_is_served() {
    use futures_lite::StreamExt;

    async fn served<L: 'static, S>(
        listener: Rc<L>,
        accept: impl AsyncFn(&L) -> io::Result<S> + Clone + 'static,
        next: impl AsyncFn(&L) -> io::Result<S> + Clone + 'static,
        connect: impl AsyncFn() -> io::Result<S>,
    ) -> io::Result<()>
    where
        S: 'static,
    {
        let waiters: Vec<_> = (0..6)
            .map(|number| {
                let (listener, accept, next) = (listener.clone(), accept.clone(), next.clone());
                spawn(async move {
                    let accepted = if number % 2 == 0 { accept(&listener).await } else { next(&listener).await };
                    accepted.map(drop)
                })
            })
            .collect();
        picot_loop::yield_now().await;
        let mut clients = Vec::new();
        for left in (0..6).rev() {
            clients.push(connect().await?);
            let waiting = || waiters.iter().filter(|waiter| !waiter.is_finished()).count();
            while waiting() > left {
                picot_loop::yield_now().await;
            }
            assert_eq!(waiting(), left, "one connection serves one waiter");
        }
        Ok(())
    }

    run(async {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await?);
        let address = listener.local_addr()?;
        served(
            listener,
            async |listener: &TcpListener| listener.accept().await.map(|(stream, _)| stream),
            async |listener: &TcpListener| listener.incoming().next().await.unwrap(),
            async || TcpStream::connect(address).await,
        )
        .await?;
        #[cfg(unix)]
        {
            use picot_net::{UnixListener, UnixStream};
            let folder = picot_testkit::Folder::new("waiters");
            let path = folder.join("socket");
            served(
                Rc::new(UnixListener::bind(&path)?),
                async |listener: &UnixListener| listener.accept().await.map(|(stream, _)| stream),
                async |listener: &UnixListener| listener.incoming().next().await.unwrap(),
                async || UnixStream::connect(&path).await,
            )
            .await?;
        }
        Ok(())
    });
}

#[test]
fn a_dropped_listener_refuses_connections() {
    run(async {
        let listener = TcpListener::bind(alone(5)).await?;
        let address = listener.local_addr()?;
        let accepting = spawn(async move { listener.accept().await.map(drop) });
        drop(TcpStream::connect(address).await?);
        accepting.await.unwrap()?;
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    });
}

#[test]
fn each_direction_shuts_down_separately_and_a_second_call_has_no_effect() {
    run(async {
        let (mut client, mut server) = pair().await?;
        client.shutdown(Shutdown::Write)?;
        client.shutdown(Shutdown::Write)?;
        assert_eq!(server.read(&mut [0]).await?, 0);
        server.write_all(b"still").await?;
        server.close().await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "still");
        client.close().await?;
        Ok(())
    });
}

/// The peer has sent data before it was accepted: a server must not wait again to find that out.
#[test]
fn data_sent_before_the_accept_is_read_without_another_wait() {
    use std::io::{Read, Write};
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut clients = Vec::new();
        for n in 0..3_u8 {
            let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
            client.write_all(&[n; 10])?;
            clients.push(client);
        }
        let turns = LoopHandle::current().metrics().snapshot().turns;
        for (n, client) in clients.iter_mut().enumerate() {
            let (server, _) = listener.accept().await?;
            let mut bytes = [0; 10];
            // Each operation is polled once, so a wait for readiness in either direction would show
            // as pending.
            assert_eq!(poll_once(server.read(&mut bytes)).await.expect("no wait before the read")?, 10);
            poll_once(server.write_all(&bytes)).await.expect("no wait before the write")?;
            client.read_exact(&mut bytes)?;
            assert_eq!(bytes, [n as u8; 10]);
        }
        let turns = LoopHandle::current().metrics().snapshot().turns - turns;
        assert!(turns <= 1, "one wait for all three, and not {turns}");
        Ok(())
    });
}

#[test]
fn shutting_down_a_connection_that_was_reset_is_no_error() {
    run(async {
        let (mut client, server) = pair().await?;
        client.write_all(b"never read").await?;
        // Closing with unread data resets the connection.
        assert_eq!(server.peek(&mut [0]).await?, 1);
        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        for how in [Shutdown::Write, Shutdown::Read, Shutdown::Both] {
            client.shutdown(how)?;
        }
        client.close().await
    });
}

#[test]
#[cfg(unix)]
fn started_programs_inherit_no_connection_and_no_listener() {
    use std::os::fd::AsFd;
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        let (listener, client, server) = (listener.into_std(), client.into_std(), server.into_std());
        for (name, fd) in [("listener", listener.as_fd()), ("client", client.as_fd()), ("server", server.as_fd())] {
            assert!(rustix::io::fcntl_getfd(fd)?.contains(rustix::io::FdFlags::CLOEXEC), "the {name} is inherited");
        }
        Ok(())
    });
}

#[test]
fn closing_a_loop_closes_the_streams_of_its_tasks() {
    let event_loop = picot_loop::EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let (client, server) = pair().await?;
            drop(spawn(async move { server.read(&mut [0]).await }));
            picot_loop::yield_now().await;
            drop(client);
            let _ = LoopHandle::current();
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(event_loop.close().unwrap().sources, 0);
}

#[test]
fn the_future_of_a_connect_is_small() {
    let size =
        |bytes: usize, of: &str, max: usize| assert!(bytes <= max, "{of} has {bytes} bytes, and {max} are enough");
    let options = ConnectOptions::new();
    size(size_of_val(&TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 1)))), "TcpStream::connect", 320);
    size(size_of_val(&TcpStream::connect("localhost:1")), "TcpStream::connect to a name", 320);
    size(size_of_val(&options.connect("localhost:1")), "ConnectOptions::connect", 320);
    #[cfg(unix)]
    size(size_of_val(&picot_net::UnixStream::connect("/nowhere")), "UnixStream::connect", 448);
}
