//! When a transport sends: at once, or later and together with other bytes; and which connections
//! have a turn meanwhile.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use picot_loop::yield_now;
use picot_net::{Connections, Protocol, Transport};

use crate::trace::{Trace, seen, soon};
use crate::{pair, run};

/// A transport over a socket that keeps message boundaries, so that its peer counts the system
/// calls.
#[cfg(target_os = "linux")]
async fn packets(trace: &Trace) -> io::Result<(Connections, Transport, std::os::unix::net::UnixStream)> {
    use std::os::unix::net::UnixStream as StdStream;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_send_buffer_size(&one, 400 * 1024)?;
    let connections = Connections::new()?;
    let stream = picot_net::UnixStream::from_std(StdStream::from(one))?;
    let transport = connections.adopt_unix(stream, trace.clone());
    trace.until(1).await;
    let peer = StdStream::from(other);
    peer.set_nonblocking(true)?;
    Ok((connections, transport, peer))
}

/// The lengths of the packets that have arrived.
#[cfg(target_os = "linux")]
fn received(mut peer: &std::os::unix::net::UnixStream) -> Vec<usize> {
    let mut buffer = vec![0; 1 << 20];
    let packets = std::iter::from_fn(|| io::Read::read(&mut peer, &mut buffer).ok());
    packets.take_while(|length| *length > 0).collect()
}

const PIECE: usize = 64 * 1024;

/// Writes pieces of these lengths, and returns the number of unsent bytes after each.
#[cfg(target_os = "linux")]
fn write_all(transport: &Transport, lengths: &[usize]) -> Vec<usize> {
    let write = |length: &usize| {
        transport.write(&vec![0; *length]).unwrap();
        transport.unsent()
    };
    lengths.iter().map(write).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_write_of_a_turn_is_sent_at_once_and_later_ones_together_except_64_kib_pieces() {
    // The lengths that are written, the unsent bytes after each, and the lengths that the peer
    // received.
    let cases: [(&[usize], &[usize], &[usize]); 6] = [
        (&[10], &[0], &[10]),
        (&[10, 5, 7], &[0, 5, 12], &[10, 12]),
        (&[0, 5, 0], &[0, 0, 0], &[5]),
        // While nothing is unsent, a large write is not worth a copy.
        (&[10, PIECE, PIECE], &[0, 0, 0], &[10, PIECE, PIECE]),
        (&[10, PIECE - 1, 1], &[0, PIECE - 1, PIECE], &[10, PIECE]),
        (&[10, 1, PIECE, 2], &[0, 1, PIECE + 1, PIECE + 3], &[10, PIECE + 3]),
    ];
    run(async {
        for (lengths, unsent, calls) in cases {
            // From inside of a callback.
            let trace = Trace::default();
            let (connections, transport, peer) = packets(&trace).await?;
            let seen_unsent = Rc::new(RefCell::new(Vec::new()));
            let noted = seen_unsent.clone();
            *trace.on_data.borrow_mut() = Some(Box::new(move |transport| {
                *noted.borrow_mut() = write_all(transport, lengths);
            }));
            io::Write::write_all(&mut &peer, b"go")?;
            trace.until(2).await;
            assert_eq!(*seen_unsent.borrow(), unsent, "{lengths:?}");
            assert_eq!((transport.unsent(), received(&peer)), (0, calls.to_vec()), "{lengths:?}, in the same turn");

            // From outside of one: unsent bytes are sent in the next turn.
            assert_eq!(write_all(&transport, lengths), unsent, "{lengths:?}");
            let at_once: Vec<_> = received(&peer);
            assert_eq!(transport.unsent(), *unsent.last().unwrap(), "nothing more until then");
            yield_now().await;
            assert_eq!(transport.unsent(), 0);
            assert_eq!([at_once, received(&peer)].concat(), calls, "{lengths:?}");
            // It is another turn, so the next write is the first one again.
            assert_eq!((write_all(&transport, &[3]), received(&peer)), (vec![0], vec![3]));
            connections.close_all();
            soon(connections.wait_empty()).await;
        }
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn while_bytes_are_unsent_no_write_is_tried_and_all_are_sent_together_when_there_is_room() {
    run(async {
        let trace = Trace::default();
        let (connections, transport, peer) = packets(&trace).await?;
        let mut sent = 0;
        while transport.unsent() == 0 {
            transport.write(&[0; PIECE])?;
            sent += 1;
        }
        assert_eq!(transport.unsent(), PIECE, "the one for which there was no room");
        assert_eq!(write_all(&transport, &[1, PIECE, 2]), [PIECE + 1, 2 * PIECE + 1, 2 * PIECE + 3]);
        seen().await?;
        assert_eq!(transport.unsent(), 2 * PIECE + 3, "no room, and so nothing has changed");
        assert_eq!(received(&peer), vec![PIECE; sent - 1]);
        soon(async {
            while transport.unsent() > 0 {
                yield_now().await;
            }
        })
        .await;
        assert_eq!(received(&peer), [2 * PIECE + 3], "by one call");
        connections.close_all();
        soon(connections.wait_empty()).await;
        Ok(())
    });
}

/// Writes twice whenever it is resumed, so that it is paused and resumed again.
struct Tireless(Rc<Cell<usize>>);

impl Tireless {
    fn write(&self, transport: &Transport) {
        transport.write(b"one").unwrap();
        transport.write(b"two").unwrap();
    }
}

impl Protocol for Tireless {
    fn made(&mut self, transport: &Transport) {
        transport.set_write_marks(0, 0);
        self.write(transport);
    }

    fn data(&mut self, _: &Transport, _: &[u8]) {}

    fn resume_writing(&mut self, transport: &Transport) {
        self.0.set(self.0.get() + 1);
        self.write(transport);
    }
}

#[test]
fn a_protocol_that_writes_in_each_resume_does_not_occupy_the_loop() {
    run(async {
        let (resumed, connections) = (Rc::new(Cell::new(0)), Connections::new()?);
        let (_client, server) = pair().await?;
        connections.adopt(server, Tireless(resumed.clone()));
        let mut most = 0;
        for _ in 0..20 {
            let before = resumed.get();
            yield_now().await;
            most = most.max(resumed.get() - before);
        }
        assert!((1..=2).contains(&most), "{most} times in one step");
        assert!(resumed.get() >= 20, "it goes on: {}", resumed.get());
        connections.abort_all();
        soon(connections.wait_empty()).await;
        Ok(())
    });
}
