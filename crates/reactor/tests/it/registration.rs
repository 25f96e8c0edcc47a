//! Registering and its ends: failure and `into_inner` return the object, dropping closes it.

#[cfg(unix)]
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::rc::Rc;

use picot_reactor::Direction;

#[cfg(unix)]
use crate::support::drain;
use crate::support::{WakeCount, pair, reactor, registered, wait_until};

#[test]
fn a_failed_registration_returns_the_object_and_leaves_nothing() {
    let reactor = reactor();
    let (stream, _peer) = pair();
    let stream = Rc::new(stream);
    let first = reactor.register(stream.clone()).unwrap();
    let (error, given_back) = reactor.register(stream.clone()).unwrap_err().into_parts();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(Rc::ptr_eq(&given_back, &stream));
    assert_eq!(reactor.sources(), 1);
    drop(first);
    assert!(reactor.register(stream.clone()).is_ok());
    let error: io::Error = {
        let _first = reactor.register(stream.clone()).unwrap();
        reactor.register(stream.clone()).unwrap_err().into()
    };
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn into_inner_deregisters_and_the_object_may_be_registered_elsewhere() {
    let (here, there) = (reactor(), reactor());
    let (source, mut peer) = registered(&here);
    let stream = source.into_inner();
    assert_eq!(here.sources(), 0);
    let source = there.register(stream).unwrap();
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    peer.write_all(b"x").unwrap();
    wait_until(&there, || count.get() == 1);
}

#[test]
fn dropping_a_source_closes_its_object() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    drop(source);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_source_may_outlive_every_handle_of_its_reactor() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    drop(reactor);
    let error = source.try_io(Direction::Read, |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
    drop(source.into_inner());
}

#[test]
#[cfg(unix)]
#[cfg_attr(miri, ignore = "Miri does not refuse to poll files")]
fn a_regular_file_is_always_ready() {
    let reactor = reactor();
    let source = reactor.register(File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()).unwrap();
    let mut text = String::new();
    source.try_io(Direction::Read, |mut file| file.read_to_string(&mut text)).unwrap();
    assert!(text.starts_with("# picot-reactor"));
    // Still ready at its end, and after "would block", and no waiter is left behind.
    assert_eq!(source.try_io(Direction::Read, |mut file| file.read(&mut [0; 8])).unwrap(), 0);
    let _ = source.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    let count = WakeCount::default();
    for direction in [Direction::Read, Direction::Write] {
        assert!(count.poll(|cx| source.poll_ready(cx, direction)).is_ready());
    }
    assert_eq!((reactor.wait(Some(std::time::Duration::ZERO)).unwrap(), reactor.waiting(), count.get()), (0, 0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn datagram_sockets_are_sources() {
    let reactor = reactor();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let source = reactor.register(socket).unwrap();
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", address).unwrap();
    wait_until(&reactor, || count.get() == 1);
    let received = source.try_io(Direction::Read, |socket| socket.recv(&mut [0; 8]));
    assert_eq!(received.unwrap(), 0, "an empty datagram is received");
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri cannot connect without blocking")]
fn a_pending_connection_wakes_when_it_is_made_or_refused() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let reactor = reactor();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, error) in [(listener.local_addr().unwrap(), None), (unused, Some(io::ErrorKind::ConnectionRefused))] {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        assert_eq!(connect(&socket, &address), Err(rustix::io::Errno::INPROGRESS));
        let source = reactor.register(std::net::TcpStream::from(socket)).unwrap();
        let count = WakeCount::default();
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
        wait_until(&reactor, || count.get() == 1);
        assert_eq!(source.get_ref().take_error().unwrap().map(|error| error.kind()), error);
        assert_eq!(source.get_ref().peer_addr().is_ok(), error.is_none());
    }
}

/// Otherwise a task that owns its source would keep itself alive through its own waker.
#[test]
fn dropping_a_source_drops_the_wakers_that_wait_for_it() {
    let reactor = reactor();
    for gives_back in [false, true] {
        let (source, _peer) = registered(&reactor);
        let count = WakeCount::default();
        for direction in [Direction::Read, Direction::Priority] {
            assert!(count.poll(|cx| source.poll_ready(cx, direction)).is_pending());
        }
        assert_eq!((count.holders(), reactor.waiting()), (3, 2));
        if gives_back {
            drop(source.into_inner())
        } else {
            drop(source)
        }
        assert_eq!((count.holders(), reactor.waiting(), count.get()), (1, 0, 0));
    }
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri does not refuse to poll devices")]
fn a_device_that_cannot_be_polled_is_always_ready() {
    let reactor = reactor();
    let source = reactor.register(File::options().read(true).write(true).open("/dev/null").unwrap()).unwrap();
    let count = WakeCount::default();
    for direction in [Direction::Read, Direction::Write] {
        while count.poll(|cx| source.poll_ready(cx, direction)).is_pending() {
            wait_until(&reactor, || reactor.waiting() == 0);
        }
    }
    assert_eq!(source.try_io(Direction::Read, |mut null| null.read(&mut [0])).unwrap(), 0);
    assert_eq!(source.try_io(Direction::Write, |mut null| null.write(b"gone")).unwrap(), 4);
}

/// A child program would keep what it inherits open: the set, and every connection in it.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri has no /proc")]
fn no_descriptor_of_the_reactor_is_inherited_by_child_programs() {
    let _reactor = reactor();
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        // Other tests open and close descriptors meanwhile.
        let Ok(target) = std::fs::read_link(&path) else { continue };
        let info = format!("/proc/self/fdinfo/{}", path.file_name().unwrap().to_str().unwrap());
        let Ok(info) = std::fs::read_to_string(info) else { continue };
        if target.to_str().is_some_and(|target| target.starts_with("anon_inode:[")) {
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let closes_on_exec = u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0;
            assert!(closes_on_exec, "{target:?} is inherited");
            seen += 1;
        }
    }
    assert!(seen > 0 || crate::support::is_portable(), "no descriptor was checked");
}

/// Linux reports a socket that is not connected yet as hung up. That must not affect the
/// connection.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri makes no sockets by rustix")]
fn a_stream_registered_before_it_connects_works_afterwards() {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    let reactor = reactor();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, flags, None);
    let source = reactor.register(TcpStream::from(socket.unwrap())).unwrap();
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    wait_until(&reactor, || count.get() == 1);
    assert!(source.is_hung_up());

    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("the listener is bound to IPv4") };
    let connecting = source.try_io(Direction::Write, |io| match rustix::net::connect(io, &address) {
        Err(rustix::io::Errno::INPROGRESS) => Err(io::ErrorKind::WouldBlock.into()),
        done => Ok(done?),
    });
    assert!(connecting.is_ok() || !source.known().contains(picot_reactor::Readiness::WRITABLE));
    let (mut peer, _) = listener.accept().unwrap();
    while count.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending() {
        let before = count.get();
        wait_until(&reactor, || count.get() > before);
    }
    source.try_io(Direction::Write, |mut io| io.write_all(b"here")).unwrap();
    let mut text = [0; 4];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"here");
    let read = || count.poll(|cx| source.poll_io(cx, Direction::Read, |mut io| io.read(&mut [0; 8])));
    assert!(read().is_pending());
    drain(&reactor);
    assert!(read().is_pending());
    let before = count.get();
    peer.write_all(b"there").unwrap();
    wait_until(&reactor, || count.get() > before);
    assert!(matches!(read(), std::task::Poll::Ready(Ok(5))));
}

/// Earlier clients are served, later ones are refused, and the listener gets no error.
#[test]
#[cfg(unix)]
#[cfg_attr(miri, ignore = "Miri has no listening Unix sockets")]
fn a_listener_whose_path_was_removed_serves_earlier_clients() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let reactor = reactor();
    let folder = picot_testkit::Folder::new("removed");
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let source = reactor.register(listener).unwrap();
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    let mut early = UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    wait_until(&reactor, || count.get() == 1);
    let (mut served, _) = source.try_io(Direction::Read, UnixListener::accept).unwrap();
    early.write_all(b"x").unwrap();
    assert_eq!(served.read(&mut [0; 8]).unwrap(), 1);
    let next = source.try_io(Direction::Read, UnixListener::accept);
    assert_eq!(next.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    drain(&reactor);
    assert_eq!((count.get(), source.is_hung_up()), (1, false));
}
