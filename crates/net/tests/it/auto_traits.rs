//! Which public types are `Send`, `Sync` and `Unpin`, as a table, so that no change goes unnoticed.

use std::marker::PhantomPinned;
use std::rc::Rc;

use picot_net::*;
use picot_testkit::implements;

macro_rules! table {
    ($($type:ty: $expected:expr,)*) => {$(
        let found = [implements!($type: Send), implements!($type: Sync), implements!($type: Unpin)];
        assert_eq!(found, $expected, "{} is or is not Send, Sync, and Unpin", stringify!($type));
    )*};
}

/// The type belongs to its loop, and so to the loop's thread.
const HERE: [bool; 3] = [false, false, true];
const ANYWHERE: [bool; 3] = [true, true, true];

#[test]
fn the_auto_traits_of_public_types_are_these() {
    table! {
        TcpStream: HERE,
        TcpListener: HERE,
        UdpSocket: HERE,
        Incoming<'static, TcpStream>: HERE,
        Read<'static, TcpStream>: HERE,
        WriteAll<'static, TcpStream>: HERE,
        ReadHalf<TcpStream>: HERE,
        WriteHalf<TcpStream>: HERE,
        TcpReader: HERE,
        TcpWriter: HERE,
        DuplexStream: HERE,
        Server: HERE,
        ServerBuilder<TcpListener>: HERE,
        Connections: HERE,
        Transport: HERE,
        // A resolver may hold any type.
        ConnectOptions: HERE,
        // These depend on their type argument.
        Reader<Vec<u8>>: ANYWHERE,
        Reader<Rc<u8>>: HERE,
        Reader<PhantomPinned>: [true, true, false],
        Lines<Vec<u8>>: ANYWHERE,
        Writer<Vec<u8>>: ANYWHERE,
        Writer<Rc<u8>>: HERE,
        // These move to other threads, which make loops, sockets or lookups of them.
        Address: ANYWHERE,
        ListenOptions: ANYWHERE,
        UdpOptions: ANYWHERE,
        LoopGroup<u8>: ANYWHERE,
        SystemResolver: ANYWHERE,
        ReadError: ANYWHERE,
        Eof: ANYWHERE,
    }
}

#[cfg(unix)]
#[test]
fn the_auto_traits_of_unix_sockets_are_these() {
    table! {
        UnixStream: HERE,
        UnixListener: HERE,
        UnixDatagram: HERE,
        UnixReader: HERE,
        UnixWriter: HERE,
        ServerBuilder<UnixListener>: HERE,
    }
}
