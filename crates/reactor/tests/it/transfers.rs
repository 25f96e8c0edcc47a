//! Short transfers: kernels end a receive early at marks of many kinds, with more to read behind
//! them and no further edge.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::task::Poll;

use picot_reactor::{Direction, Reactor, ReadyList, Source};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg, sockopt};

use crate::drivers::drivers;
use crate::support::{WakeCount, drain, wait_until};

/// Two connected sockets, the first of which is in non-blocking mode.
type Ends = (OwnedFd, OwnedFd);

fn tcp() -> Ends {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    peer.set_nodelay(true).unwrap();
    (stream.into(), peer.into())
}

fn unix() -> Ends {
    let (stream, peer) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    (stream.into(), peer.into())
}

fn put(peer: &OwnedFd, bytes: &[u8]) {
    assert_eq!(send(peer, bytes, SendFlags::empty()), Ok(bytes.len()));
}

fn put_urgent(peer: &OwnedFd) {
    assert_eq!(send(peer, b"!", SendFlags::OOB), Ok(1));
}

/// Receives the urgent byte out of band, and checks that there is no second one.
fn take_urgent(source: &Source<OwnedFd>) {
    let mut byte = [0];
    source.try_io(Direction::Priority, |io| Ok(recv(io, &mut byte, RecvFlags::OOB)?)).unwrap();
    assert_eq!(byte, *b"!");
    // The kernel has a special error code for that.
    let none = std::io::Result::<()>::Err(std::io::ErrorKind::WouldBlock.into());
    assert!(source.try_io(Direction::Priority, |_| none).is_err());
}

/// Sends a message with descriptors. A receive ends at such a message.
fn put_with_descriptor(peer: &OwnedFd, bytes: &[u8]) {
    let descriptors = [peer.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let slices = [std::io::IoSlice::new(bytes)];
    assert_eq!(sendmsg(peer, &slices, &mut ancillary, SendFlags::empty()), Ok(bytes.len()));
}

/// A stream with a mark in it: how it is made, what is sent, and what a reader receives.
struct Case {
    name: &'static str,
    ends: fn() -> Ends,
    prepare: fn(&OwnedFd),
    fill: fn(&OwnedFd),
    read: &'static [u8],
    /// Whether it is plain TCP, which its owner may declare.
    is_plain: bool,
    /// Whether the urgent byte is received out of band before the first read.
    takes_urgent: bool,
}

const CASE: Case = Case {
    name: "without marks",
    ends: tcp,
    prepare: |_| {},
    fill: |peer| put(peer, b"abcd"),
    read: b"abcd",
    is_plain: true,
    takes_urgent: false,
};

fn fill_around_urgent(peer: &OwnedFd) {
    put(peer, b"ab");
    put_urgent(peer);
    put(peer, b"cd");
}

const CASES: &[Case] = &[
    CASE,
    Case { name: "TCP urgent data", fill: fill_around_urgent, ..CASE },
    Case {
        name: "TCP urgent data in line",
        prepare: |stream| sockopt::set_socket_oobinline(stream, true).unwrap(),
        fill: fill_around_urgent,
        read: b"ab!cd",
        ..CASE
    },
    Case { name: "TCP urgent data that was taken", fill: fill_around_urgent, takes_urgent: true, ..CASE },
    Case {
        name: "two urgent bytes",
        fill: |peer| {
            fill_around_urgent(peer);
            put_urgent(peer);
            put(peer, b"ef");
        },
        // The second mark replaces the first, whose byte becomes normal data.
        read: b"ab!cdef",
        ..CASE
    },
    Case {
        name: "Unix messages with descriptors",
        ends: unix,
        fill: |peer| {
            put_with_descriptor(peer, b"ab");
            put(peer, b"cd");
            put_with_descriptor(peer, b"ef");
        },
        read: b"abcdef",
        is_plain: false,
        ..CASE
    },
    Case {
        name: "Unix writers with credentials",
        ends: unix,
        prepare: |stream| sockopt::set_socket_passcred(stream, true).unwrap(),
        fill: |peer| {
            put(peer, b"ab");
            let mut child = Command::new("printf");
            assert!(child.arg("cd").stdout(peer.try_clone().unwrap()).status().unwrap().success());
            put(peer, b"ef");
        },
        read: b"abcdef",
        is_plain: false,
        ..CASE
    },
    Case {
        name: "Unix out-of-band data",
        ends: unix,
        fill: |peer| {
            put(peer, b"ab");
            // Not every kernel supports it.
            let _ = send(peer, b"!", SendFlags::OOB);
            put(peer, b"cd");
        },
        read: b"abcd",
        is_plain: false,
        ..CASE
    },
];

/// The way to read from a source.
#[derive(Clone, Copy, Debug)]
enum Way {
    Polls,
    IsListed,
}

/// Reads with a large buffer until all data has arrived.
fn read_all(reactor: &Reactor, source: &Source<OwnedFd>, way: Way, case: &Case) -> Vec<u8> {
    let (list, count, mut read, mut buffer) = (ReadyList::new(), WakeCount::default(), Vec::new(), [0; 64]);
    let length = buffer.len();
    if matches!(way, Way::IsListed) {
        source.list_in(&list, 0);
    }
    loop {
        let before = count.get();
        if let Way::IsListed = way {
            let _ = count.poll(|cx| list.poll_take(cx, &mut Vec::new()));
            source.acknowledge();
        }
        let received = match way {
            Way::Polls => count.poll(|cx| {
                let receive = |io: &OwnedFd| Ok(recv(io, &mut buffer, RecvFlags::empty())?.0);
                source.poll_transfer(cx, Direction::Read, length, receive)
            }),
            Way::IsListed => {
                let receive = |io: &OwnedFd| Ok(recv(io, &mut buffer, RecvFlags::empty())?.0);
                match source.try_transfer(Direction::Read, length, receive) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Poll::Pending,
                    result => Poll::Ready(result),
                }
            }
        };
        if let Poll::Ready(received) = received {
            read.extend(&buffer[..received.unwrap()]);
            if read.len() >= case.read.len() {
                return read;
            }
        } else if count.get() == before {
            // Fails if no edge follows.
            wait_until(reactor, || count.get() > before);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has neither urgent data nor ancillary messages")]
fn a_receive_that_ends_at_a_mark_is_followed_by_the_rest() {
    for case in CASES {
        for is_trusted in [false, true] {
            if is_trusted && !case.is_plain {
                continue;
            }
            for way in [Way::Polls, Way::IsListed] {
                for reactor in drivers() {
                    for knows_before in [false, true] {
                        let (stream, peer) = (case.ends)();
                        (case.prepare)(&stream);
                        let source = reactor.register(stream).unwrap();
                        if is_trusted {
                            source.trust_short_transfers(true);
                        }
                        (case.fill)(&peer);
                        if knows_before {
                            // The event arrives before the first read, and reports everything.
                            let _ = source.try_io(Direction::Read, |_| Ok(()));
                            let _ = source.try_io(Direction::Priority, |_| Ok(()));
                            drain(&reactor);
                            if case.takes_urgent {
                                take_urgent(&source);
                            }
                        } else {
                            source.assume_ready(Direction::Read);
                        }
                        let read = read_all(&reactor, &source, way, case);
                        let text = (String::from_utf8_lossy(&read), String::from_utf8_lossy(case.read));
                        assert_eq!(text.0, text.1, "{}, {way:?}, trusted: {is_trusted}", case.name);
                    }
                }
            }
        }
    }
}

/// What trust saves: a conversation over plain TCP makes one receive per message.
#[test]
#[cfg_attr(miri, ignore = "Miri has no urgent data, so nothing is trusted there")]
fn trust_saves_the_receive_that_would_block() {
    let reactor = Reactor::with_driver(picot_reactor::driver::Direct::new().unwrap());
    for (is_trusted, expected) in [(true, 3), (false, 6)] {
        let (stream, mut peer) = crate::support::registered(&reactor);
        stream.trust_short_transfers(is_trusted);
        let (count, mut buffer, mut receives) = (WakeCount::default(), [0; 64], 0);
        for _ in 0..3 {
            peer.write_all(b"hello").unwrap();
            let mut received = 0;
            while received == 0 {
                let before = count.get();
                let poll = count.poll(|cx| {
                    stream.poll_transfer(cx, Direction::Read, 64, |mut io| {
                        receives += 1;
                        io.read(&mut buffer)
                    })
                });
                match poll {
                    Poll::Ready(length) => received = length.unwrap(),
                    Poll::Pending => wait_until(&reactor, || count.get() > before),
                }
            }
            let poll = count.poll(|cx| {
                stream.poll_transfer(cx, Direction::Read, 64, |mut io| {
                    receives += 1;
                    io.read(&mut buffer)
                })
            });
            assert!(poll.is_pending());
        }
        assert_eq!(receives, expected, "trusted: {is_trusted}");
    }
}

/// In each state of a direction: not ready, waited for before, assumed, and ready.
#[test]
fn a_transfer_of_no_bytes_never_waits() {
    for (name, reactor) in drivers().into_iter().enumerate() {
        let (end, peer) = tcp();
        let source = reactor.register(end).unwrap();
        let count = WakeCount::default();
        let transfer = |length: usize| {
            let mut buffer = vec![0; length];
            count.poll(|cx| {
                source.poll_transfer(cx, Direction::Read, length, |io| {
                    // Some kernels return this for an empty buffer without data.
                    if length == 0 {
                        return Err(std::io::ErrorKind::WouldBlock.into());
                    }
                    Ok(recv(io, &mut buffer, RecvFlags::empty())?.1)
                })
            })
        };
        let is_done = |poll: Poll<std::io::Result<usize>>| matches!(poll, Poll::Ready(Ok(0)));
        assert!(is_done(transfer(0)), "{name}: not ready");
        assert_eq!(reactor.waiting(), 0, "{name}");
        assert!(transfer(1).is_pending(), "{name}");
        assert!(is_done(transfer(0)), "{name}: waited for before");
        source.assume_ready(Direction::Read);
        assert!(is_done(transfer(0)), "{name}: assumed to be ready");
        assert!(transfer(1).is_pending(), "{name}");
        put(&peer, b"a");
        wait_until(&reactor, || count.get() > 0);
        assert!(is_done(transfer(0)), "{name}: ready");
        assert!(matches!(transfer(1), Poll::Ready(Ok(1))), "{name}");
        // The same task waits again.
        assert!(transfer(1).is_pending() && is_done(transfer(0)), "{name}: woken before");
    }
}
