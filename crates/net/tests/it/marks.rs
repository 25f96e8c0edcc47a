//! A short transfer does not prove that the kernel has no more data: each kind of socket that ends
//! a receive early, read in each way, with the data before or after the first read.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix;
use std::process::Command;
use std::rc::Rc;

use futures_lite::AsyncReadExt;
use futures_lite::future::zip;
use picot_loop::yield_now;
use picot_net::{BufferedProtocol, Connections, Protocol, Reader, TcpListener, TcpStream, Transport, UnixStream};
use picot_reactor::Readiness;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::trace::soon;
use crate::{pair, run};

enum Ours {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection, and the pieces that its peer sends.
struct Case {
    ours: Ours,
    send: Box<dyn FnMut() -> io::Result<()>>,
    /// The bytes to be read of each round that the peer sends.
    expected: &'static [u8],
}

fn send(socket: &impl AsFd, bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    assert_eq!(rustix::net::send(socket, bytes, flags)?, bytes.len());
    Ok(())
}

fn send_pieces(socket: &impl AsFd, pieces: &[(&[u8], SendFlags)]) -> io::Result<()> {
    pieces.iter().try_for_each(|(bytes, flags)| send(socket, bytes, *flags))
}

const PLAIN: SendFlags = SendFlags::empty();
const URGENT: [(&[u8], SendFlags); 3] = [(b"ab", PLAIN), (b"!", SendFlags::OOB), (b"cd", PLAIN)];

/// A connection of this kind, and its peer.
async fn tcp_of(kind: &str) -> io::Result<(TcpStream, net::TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    if kind == "accepted" {
        let peer = net::TcpStream::connect(listener.local_addr()?)?;
        return Ok((listener.accept().await?.0, peer));
    }
    let ours = TcpStream::connect(listener.local_addr()?).await?;
    let peer = listener.accept().await?.0.into_std();
    Ok((if kind == "handed in" { TcpStream::from_std(ours.into_std())? } else { ours }, peer))
}

async fn tcp_urgent(kind: &str, is_inline: bool) -> io::Result<Case> {
    let (ours, peer) = tcp_of(kind).await?;
    ours.socket().set_out_of_band_inline(is_inline)?;
    let expected: &[u8] = if is_inline { b"ab!cd" } else { b"abcd" };
    Ok(Case { ours: Ours::Tcp(ours), send: Box::new(move || send_pieces(&peer, &URGENT)), expected })
}

fn unix_pair() -> io::Result<(Ours, unix::net::UnixStream)> {
    let (one, two) = unix::net::UnixStream::pair()?;
    Ok((Ours::Unix(UnixStream::from_std(one)?), two))
}

async fn unix_urgent() -> io::Result<Case> {
    let (ours, peer) = unix_pair()?;
    // The kernel may have been built without it.
    let (probe, _other) = unix::net::UnixStream::pair()?;
    send(&probe, b"!", SendFlags::OOB)?;
    Ok(Case { ours, send: Box::new(move || send_pieces(&peer, &URGENT)), expected: b"abcd" })
}

/// Each message with a descriptor ends a receive.
async fn descriptors() -> io::Result<Case> {
    let (ours, peer) = unix_pair()?;
    let send = move || {
        for bytes in [b"ab", b"cd", b"ef"] {
            let descriptors = [peer.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            assert_eq!(rustix::net::sendmsg(&peer, &[IoSlice::new(bytes)], &mut control, PLAIN)?, 2);
        }
        send(&peer, b"gh", PLAIN)
    };
    Ok(Case { ours, send: Box::new(send), expected: b"abcdefgh" })
}

/// With credentials enabled, bytes that another process has written end a receive.
async fn credentials() -> io::Result<Case> {
    let (ours, peer) = unix_pair()?;
    if let Ours::Unix(stream) = &ours {
        rustix::net::sockopt::set_socket_passcred(stream.source().get_ref(), true)?;
    }
    let send = move || {
        send(&peer, b"ab", PLAIN)?;
        assert!(Command::new("printf").arg("cd").stdout(OwnedFd::from(peer.try_clone()?)).status()?.success());
        send(&peer, b"ef", PLAIN)
    };
    Ok(Case { ours, send: Box::new(send), expected: b"abcdef" })
}

/// A socket that a user may pass as a stream although it keeps message boundaries.
async fn messages() -> io::Result<Case> {
    let (one, two) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
    let ours = UnixStream::from_std(unix::net::UnixStream::from(OwnedFd::from(one)))?;
    let send = move || send_pieces(&two, &[(b"ab", PLAIN), (b"cd", PLAIN), (b"ef", PLAIN)]);
    Ok(Case { ours: Ours::Unix(ours), send: Box::new(send), expected: b"abcdef" })
}

/// Two connected sockets of a family, the first of them as a stream.
fn connected_in(listener: Socket, client: Socket, address: &SockAddr) -> io::Result<Case> {
    listener.bind(address)?;
    listener.listen(1)?;
    client.connect(&listener.local_addr()?)?;
    let peer = listener.accept()?.0;
    let ours = TcpStream::from_std(net::TcpStream::from(OwnedFd::from(client)))?;
    let send = move || send_pieces(&peer, &[(b"ab", PLAIN), (b"cd", PLAIN)]);
    Ok(Case { ours: Ours::Tcp(ours), send: Box::new(send), expected: b"abcd" })
}

async fn mptcp() -> io::Result<Case> {
    let make = || Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::from(262)));
    connected_in(make()?, make()?, &"127.0.0.1:0".parse::<net::SocketAddr>().unwrap().into())
}

async fn vsock() -> io::Result<Case> {
    let make = || Socket::new(Domain::from(40), Type::STREAM, None);
    // This machine itself, at any port.
    let address = SockAddr::vsock(1, u32::MAX);
    connected_in(make()?, make()?, &address)
}

struct Collect {
    all: Rc<RefCell<Vec<u8>>>,
    memory: [u8; 64],
}

impl Protocol for Collect {
    fn data(&mut self, _: &Transport, data: &[u8]) {
        self.all.borrow_mut().extend_from_slice(data);
    }
}

struct Buffered(Collect);

impl BufferedProtocol for Buffered {
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.0.memory
    }

    fn filled(&mut self, _: &Transport, length: usize) {
        self.0.all.borrow_mut().extend_from_slice(&self.0.memory[..length]);
    }
}

const WAYS: [&str; 6] = ["read", "read_vectored", "peek", "reader", "half", "protocol"];

async fn read_by(way: &str, stream: &mut Ours, length: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    macro_rules! by {
        ($stream:ident) => {
            match way {
                "read_vectored" => {
                    let (one, two) = buffer.split_at_mut(1);
                    let mut buffers = [IoSliceMut::new(one), IoSliceMut::new(two)];
                    (&*$stream).read_vectored(&mut buffers).await?
                }
                _ => $stream.read(&mut buffer).await?,
            }
        };
    }
    while all.len() < length {
        let read = match stream {
            Ours::Tcp(stream) => {
                if way == "peek" {
                    let there = stream.peek(&mut [0; 64]).await?;
                    assert!(there > 0);
                }
                by!(stream)
            }
            Ours::Unix(stream) => by!(stream),
        };
        all.extend_from_slice(&buffer[..read]);
    }
    Ok(all)
}

/// Reads both rounds of the peer, in one way.
async fn check(name: &str, way: &str, case: Case, is_late: bool) -> io::Result<()> {
    let Case { mut ours, mut send, expected } = case;
    let text = format!("{name} by {way}, {}", if is_late { "later" } else { "before" });
    let mut later = async |is_now: bool| {
        if is_late == is_now {
            return Ok(());
        }
        for _ in 0..3 {
            yield_now().await;
        }
        send()
    };
    let all = Rc::new(RefCell::new(Vec::new()));
    let length = expected.len();
    macro_rules! twice {
        ($read:expr) => {
            for _ in 0..2 {
                later(true).await?;
                let (read, sent) = soon(zip($read, later(false))).await;
                sent?;
                let read: Vec<u8> = read?;
                assert_eq!(read, expected, "{text}");
            }
        };
    }
    match (way, ours) {
        ("reader", Ours::Tcp(stream)) => {
            let mut reader = Reader::new(stream);
            twice!(async { reader.read_exact(length).await.map_err(io::Error::from) });
        }
        ("reader", Ours::Unix(stream)) => {
            let mut reader = Reader::new(stream);
            twice!(async { reader.read_exact(length).await.map_err(io::Error::from) });
        }
        ("half", Ours::Tcp(stream)) => {
            let (mut half, _other) = stream.split();
            twice!(async {
                let mut all = vec![0; length];
                AsyncReadExt::read_exact(&mut half, &mut all).await.map(|()| all)
            });
        }
        ("half", Ours::Unix(stream)) => {
            let (mut half, _other) = stream.split();
            twice!(async {
                let mut all = vec![0; length];
                AsyncReadExt::read_exact(&mut half, &mut all).await.map(|()| all)
            });
        }
        ("protocol" | "buffered", stream) => {
            let set = Connections::new()?;
            let collect = Collect { all: all.clone(), memory: [0; 64] };
            let transport = match (stream, way) {
                (Ours::Tcp(stream), "protocol") => set.adopt(stream, collect),
                (Ours::Tcp(stream), _) => set.adopt_buffered(stream, Buffered(collect)),
                (Ours::Unix(stream), _) => set.adopt_unix(stream, collect),
            };
            twice!(async {
                while all.borrow().len() < length {
                    yield_now().await;
                }
                io::Result::Ok(all.take())
            });
            transport.abort();
            transport.closed().await;
        }
        (_, stream) => {
            ours = stream;
            twice!(read_by(way, &mut ours, length));
        }
    }
    Ok(())
}

/// Reads in all ways from the connections that `make` makes. Returns whether this kernel has such
/// sockets.
async fn check_all(name: &str, make: impl AsyncFn() -> io::Result<Case>) -> io::Result<bool> {
    if let Err(error) = make().await {
        eprintln!("not on this machine: {name}: {error}");
        return Ok(false);
    }
    for way in WAYS.into_iter().chain(["buffered"]) {
        for is_late in [false, true] {
            check(name, way, make().await?, is_late).await?;
        }
    }
    Ok(true)
}

#[test]
fn all_bytes_arrive_wherever_the_kernel_ends_a_receive() {
    run(async {
        for kind in ["accepted", "connected", "handed in"] {
            for is_inline in [false, true] {
                let name = format!("{kind} TCP with urgent data{}", if is_inline { ", inline" } else { "" });
                assert!(check_all(&name, async || tcp_urgent(kind, is_inline).await).await?);
            }
        }
        assert!(check_all("Unix with descriptors", descriptors).await?);
        assert!(check_all("Unix with credentials", credentials).await?);
        assert!(check_all("Unix messages", messages).await?);
        // These depend on the build of the kernel and on its modules.
        check_all("Unix with urgent data", unix_urgent).await?;
        check_all("MPTCP", mptcp).await?;
        check_all("vsock", vsock).await?;
        Ok(())
    });
}

/// Reads less than there is room for, and returns whether the stream still counts as readable.
macro_rules! is_readable_after_a_short_read {
    ($stream:expr, $peer:expr) => {{
        send(&$peer, b"x", PLAIN)?;
        assert_eq!($stream.read(&mut [0; 8]).await?, 1);
        $stream.source().known().contains(Readiness::READABLE)
    }};
}

/// Trust saves the call that would only find that there is no more data. It covers plain TCP
/// sockets that this crate made.
#[test]
fn a_short_read_is_trusted_for_plain_tcp_that_this_crate_made() {
    run(async {
        for (kind, is_trusted) in [("accepted", true), ("connected", true), ("handed in", false)] {
            let (stream, peer) = tcp_of(kind).await?;
            assert_eq!(is_readable_after_a_short_read!(stream, peer), !is_trusted, "{kind}");
            stream.source().trust_short_transfers(true);
            assert!(!is_readable_after_a_short_read!(stream, peer), "{kind}, and its owner knows");
            // The borrower of the descriptor may switch the socket to another protocol.
            let _ = stream.as_fd();
            assert!(is_readable_after_a_short_read!(stream, peer), "{kind}, and lent");
        }
        let (one, two) = UnixStream::pair()?;
        assert!(is_readable_after_a_short_read!(one, two), "Unix");

        let make = || Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::from(262)));
        if let Ok(listening) = make() {
            // A listener that accepts MPTCP, and a client that uses it.
            listening.bind(&"127.0.0.1:0".parse::<net::SocketAddr>().unwrap().into())?;
            listening.listen(1)?;
            let address = listening.local_addr()?;
            let listener = TcpListener::from_std(listening.into())?;
            let peer = make()?;
            peer.connect(&address)?;
            let (stream, _) = listener.accept().await?;
            assert!(is_readable_after_a_short_read!(stream, peer), "MPTCP");
        }
        let (stream, peer) = pair().await?;
        assert!(!is_readable_after_a_short_read!(stream, peer.source().get_ref()), "by a pair");
        Ok(())
    });
}
