//! Which of the public types may be sent to other threads, shared between them, and moved while they are awaited: as a
//! table, so that none changes unnoticed.

use std::marker::{PhantomData, PhantomPinned};
use std::rc::Rc;

use picot_net::*;

/// What holds for a type without the trait, unless the inherent constant of the same name is there.
trait Without {
    const HAS: bool = false;
}

impl<T> Without for T {}

macro_rules! checks {
    ($($check:ident: $trait:ident),*) => {$(
        struct $check<T>(PhantomData<T>);

        impl<T: $trait> $check<T> {
            const HAS: bool = true;
        }
    )*};
}

checks!(IsSend: Send, IsSync: Sync, IsUnpin: Unpin);

macro_rules! table {
    ($($type:ty: $expected:expr,)*) => {$(
        let found = [<IsSend<$type>>::HAS, <IsSync<$type>>::HAS, <IsUnpin<$type>>::HAS];
        assert_eq!(found, $expected, "{} is or is not Send, Sync, and Unpin", stringify!($type));
    )*};
}

/// Belongs to its loop, and so to its thread.
const HERE: [bool; 3] = [false, false, true];
const ANYWHERE: [bool; 3] = [true, true, true];

#[test]
fn the_table_of_auto_traits_is_this() {
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
        // A resolver may be anything.
        ConnectOptions: HERE,
        // These are as what is inside.
        Reader<Vec<u8>>: ANYWHERE,
        Reader<Rc<u8>>: HERE,
        Reader<PhantomPinned>: [true, true, false],
        Lines<Vec<u8>>: ANYWHERE,
        Writer<Vec<u8>>: ANYWHERE,
        Writer<Rc<u8>>: HERE,
        // These go to the threads that make loops, sockets or lookups of them.
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
fn and_this_of_unix_sockets() {
    table! {
        UnixStream: HERE,
        UnixListener: HERE,
        UnixDatagram: HERE,
        UnixReader: HERE,
        UnixWriter: HERE,
        ServerBuilder<UnixListener>: HERE,
    }
}
