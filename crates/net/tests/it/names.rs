//! Every error of a public function names its subject: the address, path or host, and the limit.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use picot_net::{
    ConnectOptions, Connections, ListenOptions, ReadError, Reader, Resolve, Resolving, Server, TcpListener, TcpStream,
    UdpOptions, UdpSocket, Writer, connect_protocol, lookup, open_connection, raw_os_error, start_server,
};

use crate::trace::Trace;
use crate::{alone, run};

/// A resolver with one fixed answer.
struct Table(Result<Vec<SocketAddr>, &'static str>);

impl Resolve for Table {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(std::future::ready(self.0.clone().map_err(io::Error::other)))
    }
}

/// The functions for which a case was seen.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    /// `function` has failed, and its error names each of `parts`.
    fn names<T>(&mut self, function: &'static str, result: io::Result<T>, parts: &[&dyn ToString]) -> io::Error {
        let Err(error) = result else { panic!("{function} has not failed") };
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(&part.to_string()), "{function} does not name {}: {text}", part.to_string());
        }
        assert!(!text.contains(char::is_control), "{function}: {text:?}");
        self.0.push(function);
        error
    }
}

/// An address that refuses connections, and one that is in use.
async fn refused_and_taken() -> io::Result<(SocketAddr, TcpListener)> {
    let refused = TcpListener::bind(alone(3)).await?.local_addr()?;
    Ok((refused, TcpListener::bind("127.0.0.1:0").await?))
}

async fn nothing<R, W>(_: R, _: W) -> io::Result<()> {
    Ok(())
}

async fn internet(seen: &mut Seen) -> io::Result<()> {
    let (refused, listener) = refused_and_taken().await?;
    let taken = listener.local_addr()?;
    let error = seen.names("TcpStream::connect", TcpStream::connect(refused).await, &[&"connect", &refused]);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(raw_os_error(&error).is_some());
    seen.names("open_connection", open_connection(refused).await, &[&refused]);
    seen.names("connect_protocol", connect_protocol(refused, Trace::default()).await, &[&refused]);
    let connections = Connections::new()?;
    seen.names("Connections::connect", connections.connect(refused, Trace::default()).await, &[&refused]);

    let connect = || ConnectOptions::new().resolver(Table(Ok(vec![refused])));
    seen.names("ConnectOptions::connect", connect().connect("host:7").await, &[&"host:7", &refused]);
    let several = ConnectOptions::new().resolver(Table(Ok(vec![refused, refused])));
    let error = several.connect("host:7").await.unwrap_err();
    assert_eq!(error.to_string().matches(&refused.to_string()).count(), 2, "{error}");
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = connect().local_addr(local).connect("host:7").await;
    seen.names("ConnectOptions::connect", bound, &[&local, &"host:7", &refused]);
    let six = connect().local_addr(([0; 8], 0)).connect("host:7").await;
    seen.names("ConnectOptions::connect", six, &[&"[::]:0", &"host:7"]);
    let late = connect().timeout(Duration::ZERO).stagger(Duration::ZERO);
    let late = late.resolver(Table(Ok(vec![]))).connect("host:7").await;
    seen.names("ConnectOptions::connect", late, &[&"host:7", &"no address"]);
    let unknown = ConnectOptions::new().resolver(Table(Err("it\nis down")));
    seen.names("ConnectOptions::connect", unknown.connect("a\nb:7").await, &[&"a\\nb:7", &"it\\nis down"]);

    seen.names("lookup", lookup("no\nport").await, &[&"no\\nport", &"host:port"]);
    seen.names("TcpListener::bind", TcpListener::bind(taken).await, &[&"listen", &taken]);
    seen.names("ListenOptions::bind", ListenOptions::new().bind(taken).await, &[&taken]);
    seen.names("ServerBuilder::bind", Server::builder().bind(taken).await, &[&taken]);
    seen.names("start_server", start_server(taken, nothing).await, &[&taken]);
    let datagrams = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?;
    let socket = UdpSocket::bind(datagrams).await?;
    seen.names("UdpSocket::bind", UdpSocket::bind(datagrams).await, &[&datagrams]);
    seen.names("UdpOptions::bind", UdpOptions::new().bind(datagrams).await, &[&datagrams]);
    drop(socket);

    streams(seen).await?;
    udp(seen).await?;

    let server = start_server("127.0.0.1:0", nothing).await?;
    let address = server.local_addrs()[0];
    server.close();
    seen.names("Server::serve_forever", server.serve_forever().await, &[&address]);

    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let listener = TcpListener::from_std(deaf.into())?;
    let address = listener.local_addr()?;
    // The socket was never put into listening mode. After its first error it rests for a while, and
    // then the error comes again.
    for _ in 0..2 {
        seen.names("TcpListener::accept", listener.accept().await, &[&"accept", &address]);
    }
    Ok(())
}

/// A connection that its peer has reset; both addresses.
async fn reset() -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    let (stream, peer) = crate::pair().await?;
    peer.socket().set_linger(Some(Duration::ZERO))?;
    Ok((stream, peer.peer_addr()?, peer.local_addr()?))
}

async fn streams(seen: &mut Seen) -> io::Result<()> {
    let (stream, local, _) = reset().await?;
    seen.names("TcpStream::read", stream.read(&mut [0; 8]).await, &[&"receive", &local]);
    seen.names("TcpStream::write_all", stream.write_all(b"x").await, &[&"send", &local]);
    // The peer has no address any more.
    seen.names("TcpStream::peer_addr", stream.peer_addr(), &[&"peer", &local]);
    let (stream, local, _) = reset().await?;
    seen.names("TcpStream::peek", stream.peek(&mut [0; 8]).await, &[&"receive", &local]);
    let (mut stream, local, _) = reset().await?;
    let (mut one, mut two) = ([0; 4], [0; 4]);
    let buffers = &mut [io::IoSliceMut::new(&mut one), io::IoSliceMut::new(&mut two)];
    let read = futures_lite::AsyncReadExt::read_vectored(&mut stream, buffers).await;
    seen.names("read_vectored", read, &[&"receive", &local]);
    let slices = [io::IoSlice::new(b"x")];
    let written = futures_lite::AsyncWriteExt::write_vectored(&mut stream, &slices).await;
    seen.names("write_vectored", written, &[&"send", &local]);
    let (stream, local, _) = reset().await?;
    let (mut read, mut write) = stream.split();
    seen.names("ReadHalf::read", read.read(&mut [0; 8]).await, &[&"receive", &local]);
    seen.names("WriteHalf::write_all", write.write_all(b"x").await, &[&"send", &local]);
    drop((read, write));
    let (stream, local, _) = reset().await?;
    let (read, write) = stream.split();
    let of_half = local;
    let line = Reader::new(read).read_line().await.map_err(io::Error::from);
    seen.names("Reader::read_line", line, &[&"receive", &local]);
    let (stream, local, _) = reset().await?;
    let rest = Reader::new(stream).read_to_end().await;
    seen.names("Reader::read_to_end", rest, &[&"receive", &local]);
    let (stream, local, _) = reset().await?;
    let line = Reader::new(stream).lines().next().await.unwrap().map_err(io::Error::from);
    seen.names("Lines::next", line, &[&"receive", &local]);
    let (stream, local, _) = reset().await?;
    assert!(stream.read(&mut [0; 8]).await.is_err());
    seen.names("Writer::write_line", Writer::new(stream).write_line("x").await, &[&"send", &local]);
    let mut writer = Writer::new(write);
    seen.names("Writer::write_all", writer.write_all(b"x").await, &[&"send", &of_half]);
    // The bytes in its buffer are sent with the next write.
    seen.names("Writer::flush", writer.flush().await, &[&"send", &of_half]);
    seen.names("Writer::close", writer.close().await, &[&"send", &of_half]);

    let (stream, local, _) = reset().await?;
    assert!(stream.read(&mut [0; 8]).await.is_err());
    let file = fs::File::open("Cargo.toml")?;
    seen.names("TcpStream::send_file", stream.send_file(&file, 0..9).await, &[&"send", &local]);
    let (stream, peer) = crate::pair().await?;
    let (folder, remote) = (fs::File::open("src")?, peer.local_addr()?);
    seen.names("TcpStream::send_file", stream.send_file(&folder, 0..9).await, &[&"a file", &remote]);

    // Readers know no address. They name what they did not find, and the limit.
    let text = |error: ReadError| io::Error::from(error);
    let mut reader = Reader::new(&b"0123456789"[..]).with_limit(4);
    seen.names("Reader::read_until", reader.read_until(b";").await.map_err(text), &[&"separator", &"limit of 4 bytes"]);
    let mut reader = Reader::new(&b"0123456789;"[..]).with_limit(4);
    let found = reader.read_until(b";").await.map_err(text);
    seen.names("Reader::read_until", found, &[&"separator ends at byte 11", &"limit of 4 bytes"]);
    let mut reader = Reader::new(&b"01"[..]);
    let found = reader.read_until_any(&[b";", b","]).await.map_err(text);
    seen.names("Reader::read_until_any", found, &[&"2 bytes", &"separator"]);
    let mut reader = Reader::new(&b"01"[..]);
    seen.names("Reader::read_exact", reader.read_exact(4).await.map_err(text), &[&"2 of 4 bytes"]);
    let mut reader = Reader::new(&b"\xff\n"[..]);
    seen.names("Reader::read_line", reader.read_line().await.map_err(text), &[&"line", &"utf-8"]);

    // A transport whose connection has ended has no address any more.
    let transport = Connections::new()?.adopt(crate::pair().await?.0, Trace::default());
    transport.close();
    seen.names("Transport::write", transport.write(b"x"), &[&"the transport is closed"]);
    transport.closed().await;
    seen.names("Transport::peer_addr", transport.peer_addr(), &[&"the connection is lost"]);
    seen.names("Transport::local_addr", transport.local_addr(), &[&"the connection is lost"]);
    let asked = transport.with_socket(|socket| socket.keepalive());
    seen.names("Transport::with_socket", asked, &[&"the connection is lost"]);
    let (stream, peer) = crate::pair().await?;
    let transport = Connections::new()?.adopt(stream, Trace::default());
    peer.socket().set_linger(Some(Duration::ZERO))?;
    drop(peer);
    seen.names("Transport::write", transport.write(b"x"), &[&"send", &"connection"]);
    Ok(())
}

async fn udp(seen: &mut Seen) -> io::Result<()> {
    use std::net::{Ipv4Addr, Ipv6Addr};

    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let local = socket.local_addr()?;
    let long = vec![0; 100_000];
    seen.names("UdpSocket::send_to", socket.send_to(&long, local).await, &[&"send", &local]);
    seen.names("UdpSocket::connect", socket.connect("[::1]:1").await, &[&"connect", &"[::1]:1"]);
    let gone = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?;
    socket.connect(gone).await?;
    seen.names("UdpSocket::send", socket.send(&long).await, &[&"send", &gone]);
    seen.names("UdpSocket::send_to", socket.send_to(b"x", local).await, &[&gone, &local]);
    socket.send(b"x").await?;
    seen.names("UdpSocket::recv", socket.recv(&mut [0; 8]).await, &[&"receive", &local, &gone]);
    socket.send(b"x").await?;
    seen.names("UdpSocket::recv_from", socket.recv_from(&mut [0; 8]).await, &[&"receive", &local, &gone]);
    socket.send(b"x").await?;
    seen.names("UdpSocket::peek_from", socket.peek_from(&mut [0; 8]).await, &[&"receive", &local, &gone]);
    socket.send(b"x").await?;
    seen.names("UdpSocket::peek", socket.peek(&mut [0; 8]).await, &[&"receive", &local, &gone]);
    let (group, interface) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(203, 0, 113, 1));
    let parts: &[&dyn ToString] = &[&group, &interface];
    seen.names("UdpSocket::join_multicast_v4", socket.join_multicast_v4(group, interface), parts);
    seen.names("UdpSocket::leave_multicast_v4", socket.leave_multicast_v4(group, interface), parts);
    let group = Ipv6Addr::LOCALHOST;
    seen.names("UdpSocket::join_multicast_v6", socket.join_multicast_v6(group, 9999), &[&group, &9999]);
    seen.names("UdpSocket::leave_multicast_v6", socket.leave_multicast_v6(group, 9999), &[&group, &9999]);
    Ok(())
}

/// The subjects of TLS errors.
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
async fn tls(seen: &mut Seen) -> io::Result<()> {
    use picot_net::tls::{TlsAcceptor, TlsConnector};

    let (acceptor, connector) = (crate::tls::acceptor()?, crate::tls::connector()?);
    let (stream, local, _) = reset().await?;
    seen.names("TlsAcceptor::accept", acceptor.accept(stream).await, &[&"begin TLS with a client", &local]);
    let (stream, _, _) = reset().await?;
    let connected = connector.connect("a\nb", stream).await;
    seen.names("TlsConnector::connect", connected, &[&"begin TLS with a\\nb"]);
    let (stream, _, _) = reset().await?;
    seen.names(
        "TlsConnector::connect",
        connector.connect("host", stream).await,
        &[&"begin TLS with host", &"connection"],
    );
    seen.names("TlsConnector::trusting", TlsConnector::trusting(b"nothing"), &[&"no certificate"]);
    seen.names("TlsAcceptor::new", TlsAcceptor::new(b"", b"nothing"), &[&"private key"]);
    let (client, server) = crate::tls::connected().await?;
    let local = client.get_ref().local_addr()?;
    server.get_ref().socket().set_linger(Some(Duration::ZERO))?;
    drop(server);
    let mut client = client;
    let closed = async {
        loop {
            client.close().await?;
        }
    };
    let closed: io::Result<()> = closed.await;
    seen.names("TlsStream::close", closed, &[&local]);
    Ok(())
}

/// Errors name the path of the socket or of its peer, with control characters escaped.
#[cfg(unix)]
async fn unix_data(seen: &mut Seen, folder: &Path) -> io::Result<()> {
    use picot_net::{UnixDatagram, UnixStream};

    let (path, other) = (folder.join("one\nline"), folder.join("other\nline"));
    let shown = |path: &Path| path.display().to_string().replace('\n', "\\n");
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    let stream = UnixStream::connect(&path).await?;
    stream.write_all(b"unread").await?;
    // A peer that closes with unread bytes resets the connection.
    drop(listener.accept()?);
    seen.names("UnixStream::read", stream.read(&mut [0; 8]).await, &[&"receive", &shown(&path)]);
    seen.names("UnixStream::write_all", stream.write_all(b"x").await, &[&"send", &shown(&path)]);

    let socket = UnixDatagram::bind(&other)?;
    seen.names("UnixDatagram::send", socket.send(b"x").await, &[&"send", &shown(&other)]);
    let peer_path = folder.join("peer\nline");
    let peer = UnixDatagram::bind(&peer_path)?;
    socket.connect(&peer_path)?;
    drop(peer);
    // Linux disconnects the socket with this error, so only its own path is known.
    seen.names("UnixDatagram::send", socket.send(b"x").await, &[&"send", &shown(&other)]);
    seen.names("UnixDatagram::send_to", socket.send_to(b"x", &peer_path).await, &[&shown(&peer_path)]);
    Ok(())
}

#[cfg(unix)]
async fn unix(seen: &mut Seen, folder: &Path) -> io::Result<()> {
    use picot_net::{UnixDatagram, UnixListener, UnixStream, open_unix_connection, start_unix_server};

    let path = folder.join("no\nfolder").join("socket");
    let shown = format!("{}/no\\nfolder/socket", folder.display());
    seen.names("UnixListener::bind", UnixListener::bind(&path), &[&"listen", &shown]);
    let address = std::os::unix::net::SocketAddr::from_pathname(&path)?;
    seen.names("UnixListener::bind_addr", UnixListener::bind_addr(&address), &[&"listen", &shown]);
    seen.names("UnixStream::connect_addr", UnixStream::connect_addr(&address).await, &[&"connect", &shown]);
    seen.names("UnixDatagram::bind_addr", UnixDatagram::bind_addr(&address), &[&shown]);
    let sender = UnixDatagram::unbound()?;
    seen.names("UnixDatagram::connect_addr", sender.connect_addr(&address), &[&shown]);
    seen.names("UnixDatagram::send_to_addr", sender.send_to_addr(b"x", &address).await, &[&shown]);
    seen.names("start_unix_server", start_unix_server(&path, nothing), &[&shown]);
    seen.names("UnixStream::connect", UnixStream::connect(&path).await, &[&"connect", &shown]);
    seen.names("open_unix_connection", open_unix_connection(&path).await, &[&shown]);
    seen.names("UnixDatagram::bind", UnixDatagram::bind(&path), &[&shown]);
    unix_data(seen, folder).await?;
    let unbound = UnixDatagram::unbound()?;
    seen.names("UnixDatagram::connect", unbound.connect(&path), &[&shown]);
    seen.names("UnixDatagram::send_to", unbound.send_to(b"x", &path).await, &[&shown]);

    let deaf = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    let path = folder.join("deaf");
    deaf.bind(&socket2::SockAddr::unix(&path)?)?;
    let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(deaf).into())?;
    seen.names("UnixListener::accept", listener.accept().await, &[&"accept", &path.display()]);
    Ok(())
}

/// Functions that need a loop name their subject even without one.
fn without_a_loop(seen: &mut Seen, folder: &Path) {
    use futures_lite::future::block_on;

    let no_loop: &dyn ToString = &"no event loop";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = std::net::TcpStream::connect(address).unwrap();
    seen.names("TcpStream::from_std", TcpStream::from_std(stream), &[&address, no_loop]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    seen.names("UdpSocket::from_std", UdpSocket::from_std(socket), &[&address, no_loop]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    seen.names("TcpListener::from_std", TcpListener::from_std(listener), &[&address, no_loop]);
    seen.names("TcpStream::connect", block_on(TcpStream::connect(address)), &[&address, no_loop]);
    seen.names("TcpListener::bind", block_on(TcpListener::bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    seen.names("UdpSocket::bind", block_on(UdpSocket::bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    seen.names("lookup", block_on(lookup("host:1")), &[&"host:1", no_loop]);
    seen.names("ServerBuilder::bind", block_on(Server::builder().bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    #[cfg(unix)]
    {
        use picot_net::{UnixDatagram, UnixListener, UnixStream};
        let path = folder.join("std");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let shown: &dyn ToString = &path.display();
        let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        seen.names("UnixStream::from_std", UnixStream::from_std(stream), &[shown, no_loop]);
        let datagrams = folder.join("datagrams");
        let socket = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
        let of_datagrams: &dyn ToString = &datagrams.display();
        seen.names("UnixDatagram::from_std", UnixDatagram::from_std(socket), &[of_datagrams, no_loop]);
        seen.names("UnixListener::from_std", UnixListener::from_std(listener), &[shown, no_loop]);
        seen.names("UnixListener::bind", UnixListener::bind(&path), &[shown, no_loop]);
        seen.names("UnixDatagram::bind", UnixDatagram::bind(&path), &[shown, no_loop]);
        seen.names("UnixStream::connect", block_on(UnixStream::connect(&path)), &[shown, no_loop]);
    }
}

/// Functions of these files that have no subject to name, or whose errors no test can cause.
const WITHOUT_A_CASE: &[&str] = &[
    // They fail only for a mistake in the program, which the text describes.
    "ServerBuilder::serve",
    "ServerBuilder::serve_protocol",
    "ServerBuilder::serve_buffered",
    // The operating system does not refuse these to the owner of a socket.
    "TcpListener::local_addr",
    "UnixListener::local_addr",
    // They fail if the process can have no further thread; the texts name the index of the loop.
    "LoopGroup::start",
    "LoopGroup::start_all",
    "TcpStream::local_addr",
    "TcpStream::set_nodelay",
    "TcpStream::shutdown",
    "UdpSocket::local_addr",
    "UdpSocket::set_broadcast",
    "UnixDatagram::local_addr",
    "UnixStream::peer_addr",
    "UnixStream::local_addr",
    "UnixStream::shutdown",
    // Receiving from a datagram socket fails only for lack of memory.
    "UnixDatagram::recv",
    "UnixDatagram::recv_from",
    // They have no subject: a socket that has no address yet, or the loop, which is missing or
    // closed.
    "UnixDatagram::pair",
    "UnixDatagram::unbound",
    "UnixStream::pair",
    "Connections::new",
    // Depends on the authorities of the system. A machine that has them does not fail.
    "TlsConnector::new",
    // Its errors are those of the reader inside, and `poll_read` adds no text.
    "Reader::read",
];

/// The public functions that return an `io::Result`, or a future of one.
fn fallible() -> Vec<String> {
    let files = [
        ("group.rs", "LoopGroup"),
        ("duplex.rs", "TcpStream"),
        ("listener.rs", "TcpListener"),
        ("options/connect.rs", ""),
        ("options/listen.rs", ""),
        ("options/udp.rs", ""),
        ("protocol/connections.rs", ""),
        ("protocol/transport.rs", "Transport"),
        ("reader.rs", "Reader"),
        ("resolve.rs", ""),
        ("send_file.rs", "TcpStream"),
        ("server/builder.rs", "ServerBuilder"),
        ("server/mod.rs", "Server"),
        ("split.rs", ""),
        ("stream.rs", "TcpStream"),
        ("streams.rs", ""),
        ("udp.rs", "UdpSocket"),
        ("unix/datagram.rs", "UnixDatagram"),
        ("unix/listener.rs", "UnixListener"),
        ("unix/stream.rs", "UnixStream"),
        ("writer.rs", "Writer"),
        #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
        ("tls.rs", ""),
    ];
    let mut found = Vec::new();
    for (file, owner) in files {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
        let mut owner = owner.to_string();
        for (number, line) in text.lines().enumerate() {
            if let Some(of) = line.strip_prefix("impl") {
                // After the generic parameters, which end where the type begins: `impl<S: Bound>
                // Type<S> {`.
                let of = if of.starts_with('<') { of.split_once("> ").map_or(of, |(_, of)| of) } else { of };
                owner = of.trim().trim_end_matches(" {").to_string();
            }
            let is_public = line.trim_start().starts_with("pub fn ") || line.trim_start().starts_with("pub async fn ");
            let Some((_, name)) = line.split_once("fn ").filter(|_| is_public) else { continue };
            let signature: Vec<_> = text.lines().skip(number).take_while(|line| !line.ends_with('{')).collect();
            let last = text.lines().nth(number + signature.len()).unwrap_or_default();
            let signature = signature.join(" ") + last;
            if !["io::Result", "ReadError>", "inherent::Read<", "WriteAll<"].iter().any(|one| signature.contains(one)) {
                continue;
            }
            let name = name.split(['(', '<']).next().unwrap();
            let owner = owner.split(['<', ' ']).next().unwrap();
            let is_method = line.starts_with(' ');
            found.push(if is_method { format!("{owner}::{name}") } else { name.to_string() });
        }
    }
    found
}

#[test]
fn every_error_names_the_address_path_or_host_and_no_function_is_left_out() {
    let folder = picot_testkit::Folder::new("names");
    let mut seen = Seen::default();
    without_a_loop(&mut seen, folder.path());
    run(internet(&mut seen));
    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    run(tls(&mut seen));
    #[cfg(unix)]
    run(unix(&mut seen, folder.path()));
    let left_out: Vec<_> = fallible()
        .into_iter()
        .filter(|name| !seen.0.contains(&&**name) && !WITHOUT_A_CASE.contains(&&**name))
        .filter(|name| cfg!(unix) || !name.to_lowercase().contains("unix"))
        .collect();
    assert!(left_out.is_empty(), "no case shows what the errors of these name: {left_out:?}");
}
