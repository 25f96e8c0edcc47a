//! TCP sockets beyond reading and writing: options, halves, peeking, conversion to std.

#[cfg(target_os = "linux")]
use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, StreamExt};
#[cfg(target_os = "linux")]
use picot_loop::yield_now;
use picot_loop::{Direction, EventLoop, VirtualClock, spawn};
#[cfg(target_os = "linux")]
use picot_net::ListenOptions;
use picot_net::{ConnectOptions, Resolve, Resolving, TcpListener, TcpStream};

use crate::{pair, run};

#[test]
fn halves_work_for_two_owners_and_unite_only_with_the_half_of_the_same_stream() {
    run(async {
        let ((one, two), (three, _four)) = (pair().await?, pair().await?);
        let ((mut read, mut write), (other_read, other_write)) = (one.split(), three.split());
        let echo = spawn(async move {
            let mut two = two;
            let mut buffer = [0; 5];
            two.read_exact(&mut buffer).await?;
            two.write_all(&buffer).await?;
            io::Result::Ok(two)
        });
        let writer = spawn(async move {
            write.write_all(b"hello").await?;
            io::Result::Ok(write)
        });
        let mut buffer = [0; 5];
        read.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"hello");
        let (mut two, write) = (echo.await.unwrap()?, writer.await.unwrap()?);
        let (read, other_write) = read.unite(other_write).unwrap_err();
        let one = read.unite(write).unwrap();
        drop(other_read.unite(other_write).unwrap());
        // United again, and still open.
        one.write_all(b"again").await?;
        two.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"again");
        Ok(())
    });
}

#[test]
fn peeked_bytes_are_read_again() {
    run(async {
        let (client, server) = pair().await?;
        assert!(poll_once(server.peek(&mut [0; 8])).await.is_none());
        client.write_all(b"hello").await?;
        let mut buffer = [0; 8];
        assert_eq!(server.peek(&mut buffer).await?, 5);
        assert_eq!(server.peek(&mut buffer[..2]).await?, 2);
        assert_eq!(server.read(&mut buffer).await?, 5);
        drop(client);
        assert_eq!(server.peek(&mut buffer).await?, 0);
        Ok(())
    });
}

#[test]
fn a_source_waits_without_a_buffer_and_tries_without_waiting() {
    use std::io::{Read, Write};
    run(async {
        let (client, server) = pair().await?;
        let (near, far) = (client.source(), server.source());
        let mut bytes = [0; 8];
        let read = |mut stream: &std::net::TcpStream, bytes: &mut [u8]| stream.read(bytes);
        // The source counts as ready until the first try.
        let tried = far.try_io(Direction::Read, |stream| read(stream, &mut bytes));
        assert_eq!(tried.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(poll_once(far.readable()).await.is_none());
        near.writable().await?;
        assert_eq!(near.try_io(Direction::Write, |mut stream| stream.write(b"hello"))?, 5);
        far.readable().await?;
        assert_eq!(far.try_io(Direction::Read, |stream| read(stream, &mut bytes))?, 5);
        assert_eq!(&bytes[..5], b"hello");
        // The methods of the stream see the readiness that the source has learned.
        assert!(poll_once(server.read(&mut bytes)).await.is_none());
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn every_socket_implements_the_descriptor_traits() {
    use std::os::fd::{AsFd, AsRawFd};
    fn is_lent(socket: &(impl AsFd + AsRawFd)) -> bool {
        let kind = rustix::net::sockopt::socket_type(socket).unwrap();
        socket.as_fd().as_raw_fd() == socket.as_raw_fd() && kind != rustix::net::SocketType::RAW
    }
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        assert!(is_lent(&listener) && is_lent(&client));
        assert!(is_lent(&picot_net::UdpSocket::bind("127.0.0.1:0").await?));
        let ((stream, _), (datagram, _)) = (picot_net::UnixStream::pair()?, picot_net::UnixDatagram::pair()?);
        assert!(is_lent(&stream) && is_lent(&datagram));
        Ok(())
    });
}

#[test]
fn a_stream_and_a_listener_go_to_std_and_back() {
    run(async {
        let listener = TcpListener::from_std(TcpListener::bind("127.0.0.1:0").await?.into_std())?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let client = TcpStream::from_std(client.into_std())?;
        let (server, _) = listener.accept().await?;
        client.write_all(b"hello").await?;
        assert_eq!(server.read(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn options_reach_the_socket() {
    run(async {
        let (client, _server) = pair().await?;
        assert!(client.socket().tcp_nodelay()?, "set unless changed");
        client.set_nodelay(false)?;
        assert!(!client.socket().tcp_nodelay()?);
        client.socket().set_keepalive(true)?;
        assert!(client.socket().keepalive()?);
        Ok(())
    });
}

#[test]
fn incoming_returns_the_connections_in_order_and_loses_none_when_dropped() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut incoming = listener.incoming();
        assert!(poll_once(incoming.next()).await.is_none());
        drop(incoming);
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(listener.local_addr()?).await?);
        }
        let accepted: Vec<_> = listener.incoming().take(3).try_collect().await?;
        for (client, server) in clients.iter().zip(&accepted) {
            let server: &TcpStream = server;
            assert_eq!(client.local_addr()?, server.peer_addr()?);
        }
        Ok(())
    });
}

#[test]
fn a_connection_comes_from_the_chosen_local_address() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let from = SocketAddr::from(([127, 0, 0, 1], 0));
        let stream = ConnectOptions::new().local_addr(from).connect(listener.local_addr()?).await?;
        assert_eq!(listener.accept().await?.1, stream.local_addr()?);
        let other_family = ConnectOptions::new().local_addr(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)));
        let error = other_family.connect(listener.local_addr()?).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn listeners_that_reuse_a_port_share_it_and_others_are_refused() {
    run(async {
        let options = ListenOptions::new().reuse_port(true).backlog(16);
        let first = options.bind("127.0.0.1:0").await?;
        let address = first.local_addr()?;
        let second = options.bind(address).await?;
        assert_eq!(TcpListener::bind(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // At most sixteen connections: the share of a listener may have to wait in its backlog.
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(TcpStream::connect(address).await?);
        }
        let accepted = Rc::new(Cell::new(0));
        let acceptors = [first, second].map(|listener| {
            let accepted = accepted.clone();
            spawn(async move {
                loop {
                    drop(listener.accept().await.unwrap());
                    accepted.set(accepted.get() + 1);
                }
            })
        });
        while accepted.get() < 16 {
            yield_now().await;
        }
        for acceptor in acceptors {
            assert!(acceptor.cancel_and_wait("the test has ended").await.is_none());
        }
        Ok(())
    });
}

/// A resolver with a fixed answer that records its questions.
#[derive(Clone, Default)]
struct Table {
    answers: Rc<Vec<IpAddr>>,
    asked: Rc<RefCell<Vec<(String, u16)>>>,
}

impl Resolve for Table {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        self.asked.borrow_mut().push((host.to_string(), port));
        Box::pin(async move { Ok(self.answers.iter().map(|ip| (*ip, port).into()).collect()) })
    }
}

#[test]
fn a_resolver_receives_names_and_never_numeric_addresses() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let table = Table { answers: Rc::new(vec![address.ip()]), ..Table::default() };
        let options = ConnectOptions::new().resolver(table.clone());
        drop(options.connect(address).await?);
        drop(options.connect(address.to_string()).await?);
        drop(options.connect(("127.0.0.1", address.port())).await?);
        assert!(table.asked.borrow().is_empty());
        drop(options.connect(("printer", address.port())).await?);
        drop(options.connect(format!("[fe80::1%eth0]:{}", address.port())).await?);
        let asked = [("printer".to_string(), address.port()), ("fe80::1%eth0".to_string(), address.port())];
        assert_eq!(*table.asked.borrow(), asked);
        let error = ConnectOptions::new().resolver(Table::default()).connect("nowhere:1").await.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::NotFound, "cannot connect to nowhere:1: the name has no address")
        );
        Ok(())
    });
}

#[test]
fn a_dead_address_is_skipped() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        // No socket listens at the first address, however the system reports that.
        let answers = Rc::new(vec![Ipv4Addr::new(127, 99, 99, 99).into(), listener.local_addr()?.ip()]);
        let options = ConnectOptions::new().resolver(Table { answers, ..Table::default() });
        let stream = options.connect(("host", listener.local_addr()?.port())).await?;
        assert_eq!(stream.peer_addr()?, listener.local_addr()?);
        Ok(())
    });
}

/// A resolver that never answers.
struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn the_time_limit_covers_the_lookup() {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let error = event_loop
        .run_until_complete(ConnectOptions::new().resolver(Silent).timeout(Duration::from_secs(7)).connect("name:1"))
        .unwrap()
        .unwrap_err();
    let text = "cannot connect to name:1: connecting timed out after 7s";
    assert_eq!((error.kind(), &*error.to_string()), (io::ErrorKind::TimedOut, text));
}
