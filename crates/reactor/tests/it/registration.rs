//! Registering and what undoes it: failure gives the object back, `into_inner` does, dropping closes it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};

use picot_reactor::{Direction, Reactor};

use crate::support::{Count, pair, registered, wait_until};

#[test]
fn a_failed_registration_gives_the_object_back_and_leaves_nothing() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair();
    let first = reactor.register(&stream).unwrap();
    let (error, given_back) = reactor.register(&stream).unwrap_err().into_parts();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(given_back.local_addr().unwrap(), stream.local_addr().unwrap());
    assert_eq!(reactor.sources(), 1);
    drop(first);
    assert!(reactor.register(&stream).is_ok());
    let error: io::Error = {
        let _first = reactor.register(&stream).unwrap();
        reactor.register(&stream).unwrap_err().into()
    };
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn into_inner_deregisters_and_the_object_goes_on_elsewhere() {
    let (here, there) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    let (source, mut peer) = registered(&here);
    let stream = source.into_inner();
    assert_eq!(here.sources(), 0);
    let source = there.register(stream).unwrap();
    let count = Count::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    peer.write_all(b"x").unwrap();
    wait_until(&there, || count.get() == 1);
}

#[test]
fn dropping_a_source_closes_its_object() {
    let reactor = Reactor::new().unwrap();
    let (source, mut peer) = registered(&reactor);
    drop(source);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_source_may_outlive_every_handle_of_its_reactor() {
    let reactor = Reactor::new().unwrap();
    let (source, _peer) = registered(&reactor);
    drop(reactor);
    assert!(source.try_io(Direction::Read, |_| Ok(())).is_err());
    drop(source.into_inner());
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot tell the reactor that a file is not to be polled")]
fn a_regular_file_is_always_ready() {
    let reactor = Reactor::new().unwrap();
    let source = reactor.register(File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()).unwrap();
    let count = Count::default();
    let mut text = String::new();
    while count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending() {
        // Where files can be polled they are told to be ready.
        wait_until(&reactor, || count.get() > 0);
    }
    source.try_io(Direction::Read, |mut file| file.read_to_string(&mut text)).unwrap();
    assert!(text.starts_with("# picot-reactor"));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn datagrams_are_sources_like_others() {
    let reactor = Reactor::new().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let source = reactor.register(socket).unwrap();
    let count = Count::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", address).unwrap();
    wait_until(&reactor, || count.get() == 1);
    let received = source.try_io(Direction::Read, |socket| socket.recv(&mut [0; 8]));
    assert_eq!(received.unwrap(), 0, "an empty datagram is one, too");
}

#[test]
fn a_connection_that_is_under_way_is_told_when_it_is_made_or_refused() {
    let reactor = Reactor::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = |address: std::net::SocketAddr| {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        io::Result::Ok(stream)
    };
    let source = reactor.register(connect(listener.local_addr().unwrap()).unwrap()).unwrap();
    let count = Count::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    wait_until(&reactor, || count.get() == 1);
    assert!(source.get_ref().take_error().unwrap().is_none());
}
