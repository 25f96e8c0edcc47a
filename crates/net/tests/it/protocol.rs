//! Transports and protocols: the order of callbacks, back-pressure, ends and errors.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{LoopHandle, yield_now};
use picot_net::{BufferedProtocol, Connections, Eof, Protocol, Server, TcpStream, Transport, connect_protocol};

use crate::trace::{Trace, connected, rest, seen};
use crate::{pair, run};

#[test]
fn made_then_data_then_eof_then_lost() {
    run(async {
        let trace = Trace::default();
        let (_, mut client) = connected(&trace).await?;
        assert!(trace.events().is_empty(), "nothing is called inside of `adopt`");
        client.write_all(b"one").await?;
        assert_eq!(trace.until(2).await, ["made", "data one"]);
        client.write_all(b"two").await?;
        client.close().await?;
        assert_eq!(trace.until(5).await, ["made", "data one", "data two", "eof", "lost"]);
        assert!(rest(client).await?.is_empty());
        Ok(())
    });
}

#[test]
fn pausing_in_made_takes_effect_and_repeated_calls_have_no_effect() {
    run(async {
        let trace = Trace::default();
        *trace.on_made.borrow_mut() = Some(Box::new(Transport::pause_reading));
        let (transport, client) = connected(&trace).await?;
        client.write_all(b"early").await?;
        trace.until(1).await;
        seen().await?;
        assert_eq!(trace.events(), ["made"]);
        assert!(!transport.is_reading());
        transport.pause_reading();
        transport.resume_reading();
        transport.resume_reading();
        assert!(transport.is_reading());
        assert_eq!(trace.until(2).await, ["made", "data early"]);
        transport.abort();
        assert_eq!(trace.until(3).await[2], "lost");
        Ok(())
    });
}

#[test]
fn keep_writing_leaves_the_writing_direction_open_after_the_end() {
    run(async {
        let trace = Trace::default();
        trace.eof.set(Eof::KeepWriting);
        let (transport, mut client) = connected(&trace).await?;
        client.close().await?;
        assert_eq!(trace.until(2).await, ["made", "eof"]);
        seen().await?;
        assert!(!transport.is_closing() && !transport.is_reading());
        transport.write(b"answer")?;
        transport.close();
        transport.close();
        assert_eq!(rest(client).await?, b"answer");
        assert_eq!(trace.until(3).await, ["made", "eof", "lost"]);
        Ok(())
    });
}

#[test]
fn write_eof_follows_the_unsent_bytes_once_and_later_writes_fail() {
    run(async {
        let trace = Trace::default();
        let (transport, client) = connected(&trace).await?;
        let large = vec![b'x'; 4 << 20];
        transport.write(&large)?;
        assert!(transport.unsent() > 0, "more than the kernel takes");
        transport.write_eof();
        transport.write_eof();
        let error = transport.write(b"late").unwrap_err();
        assert!(error.kind() == io::ErrorKind::BrokenPipe && error.to_string().contains("write_eof"), "{error}");
        let mut back = Vec::new();
        let mut reader = &client;
        reader.read_to_end(&mut back).await?;
        assert!(back == large);
        // The reading direction is still open.
        client.write_all(b"still").await?;
        while !trace.events().contains(&"data still".to_string()) {
            yield_now().await;
        }
        assert!(!transport.is_closing());
        drop(client);
        while trace.events().last().unwrap() != "lost" {
            yield_now().await;
        }
        Ok(())
    });
}

#[test]
fn closing_sends_unsent_bytes_and_aborting_drops_them() {
    run(async {
        for aborts in [false, true] {
            let trace = Trace::default();
            let (transport, client) = connected(&trace).await?;
            trace.until(1).await;
            transport.write(&vec![b'x'; 4 << 20])?;
            let unsent = transport.unsent();
            assert!(unsent > 0);
            if aborts {
                transport.abort()
            } else {
                transport.close()
            }
            assert!(transport.is_closing());
            assert_eq!(transport.write(b"late").unwrap_err().kind(), io::ErrorKind::NotConnected);
            let received = rest(client).await?.len();
            assert_eq!(received, if aborts { (4 << 20) - unsent } else { 4 << 20 });
            while trace.events().last().unwrap() != "lost" {
                yield_now().await;
            }
            assert!(transport.peer_addr().is_err());
        }
        Ok(())
    });
}

#[test]
fn a_protocol_pauses_above_the_high_mark_and_resumes_at_the_low_mark() {
    run(async {
        let trace = Trace::default();
        let (transport, client) = connected(&trace).await?;
        trace.until(1).await;
        transport.set_write_marks(10_000, 5_000);
        transport.write(&vec![b'x'; 4 << 20])?;
        assert_eq!(trace.events(), ["made"], "never inside of a call");
        assert_eq!(trace.until(2).await, ["made", "pause"]);
        transport.write(b"more")?;
        seen().await?;
        assert_eq!(trace.events(), ["made", "pause"], "told once");
        let mut piece = vec![0; 1 << 16];
        while trace.events().len() == 2 {
            assert!(client.read(&mut piece).await? > 0);
        }
        assert!(transport.unsent() <= 5_000);
        assert_eq!(trace.events(), ["made", "pause", "resume"]);
        transport.abort();
        assert_eq!(trace.until(4).await[3], "lost");
        Ok(())
    });
}

/// Even if the kernel has room for all of it: a protocol that writes until bytes are unsent
/// continues when none are.
#[test]
fn a_protocol_that_writes_until_bytes_are_unsent_is_resumed() {
    run(async {
        let trace = Trace::default();
        *trace.on_made.borrow_mut() = Some(Box::new(|transport| {
            transport.set_write_marks(0, 0);
            while transport.unsent() == 0 {
                transport.write(b"x").unwrap();
            }
        }));
        let (transport, mut client) = connected(&trace).await?;
        assert_eq!(trace.until(3).await, ["made", "pause", "resume"]);
        assert_eq!(transport.unsent(), 0);
        client.read_exact(&mut [0; 2]).await?;
        drop(client);
        trace.until(5).await;
        Ok(())
    });
}

#[test]
fn many_small_writes_arrive_in_order() {
    run(async {
        let trace = Trace::default();
        *trace.on_data.borrow_mut() = Some(Box::new(|transport| {
            for n in 0..1_000_u32 {
                transport.write(&n.to_ne_bytes()).unwrap();
            }
        }));
        let (transport, mut client) = connected(&trace).await?;
        client.write_all(b"go").await?;
        let mut back = vec![0; 4_000];
        client.read_exact(&mut back).await?;
        // From outside of a callback, too.
        for n in 1_000..2_000_u32 {
            transport.write(&n.to_ne_bytes())?;
        }
        transport.close();
        back.extend(rest(client).await?);
        assert!(back.chunks(4).map(|bytes| u32::from_ne_bytes(bytes.try_into().unwrap())).eq(0..2_000));
        Ok(())
    });
}

#[test]
fn a_panic_in_a_callback_ends_its_connection_and_is_reported_with_the_peer() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            // A panic that prints a backtrace may take long enough to be reported as a slow step.
            if !matches!(report.cause, picot_context::Cause::SlowStep(_)) {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let healthy = Trace::default();
        let connections = Connections::new()?;
        let (other, server) = pair().await?;
        connections.adopt(server, healthy.clone());
        for place in ["made", "data", "eof"] {
            let trace = Trace::default();
            let hook = match place {
                "made" => &trace.on_made,
                "data" => &trace.on_data,
                _ => &trace.on_eof,
            };
            *hook.borrow_mut() = Some(Box::new(move |_| panic!("in {place}")));
            let (mut client, server) = pair().await?;
            let peer = client.local_addr()?;
            connections.adopt(server, trace.clone());
            client.write_all(b"x").await?;
            client.close().await?;
            while trace.events().last().is_none_or(|last| last != "lost a callback of the protocol panicked") {
                yield_now().await;
            }
            yield_now().await;
            let told = reports.take();
            assert_eq!(told.len(), 1);
            assert!(told[0].contains(&format!("in {place}")) && told[0].contains(&peer.to_string()), "{told:?}");
        }
        other.write_all(b"fine").await?;
        assert_eq!(healthy.until(2).await, ["made", "data fine"]);
        connections.abort_all();
        healthy.until(3).await;
        Ok(())
    });
}

/// Several connections of one set, paused, with these bytes waiting in each. If they are resumed
/// together, they are one batch.
async fn paused(connections: &Connections, bytes: &[&[u8]]) -> io::Result<Vec<(Transport, Trace, TcpStream)>> {
    let mut all = Vec::new();
    for bytes in bytes {
        let (client, server) = pair().await?;
        let trace = Trace::default();
        *trace.on_made.borrow_mut() = Some(Box::new(Transport::pause_reading));
        let transport = connections.adopt(server, trace.clone());
        trace.until(1).await;
        client.write_all(bytes).await?;
        all.push((transport, trace, client));
    }
    seen().await?;
    assert!(all.iter().all(|(_, trace, _)| trace.events() == ["made"]));
    Ok(all)
}

#[test]
fn a_panic_in_a_batch_ends_its_connection_and_the_others_are_served_in_the_same_step() {
    run(async {
        let reports = Rc::new(Cell::new(0));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            hook.set(hook.get() + usize::from(report.to_string().contains("in the middle")));
        });
        let connections = Connections::new()?;
        let all = paused(&connections, &[b"a", b"b", b"c", b"d"]).await?;
        let order = Rc::new(RefCell::new(Vec::new()));
        for (n, (_, trace, _)) in all.iter().enumerate() {
            let order = order.clone();
            *trace.on_data.borrow_mut() = Some(Box::new(move |_| {
                order.borrow_mut().push(n);
                assert!(n % 2 == 0, "in the middle");
            }));
        }
        all.iter().for_each(|(transport, ..)| transport.resume_reading());
        while order.borrow().is_empty() {
            yield_now().await;
        }
        assert_eq!(*order.borrow(), [0, 1, 2, 3], "one step");
        for (n, (transport, trace, _)) in all.iter().enumerate() {
            assert_eq!(trace.events().len(), if n % 2 == 0 { 2 } else { 3 });
            assert_eq!(transport.is_closing(), n % 2 == 1);
        }
        yield_now().await;
        assert_eq!((reports.get(), connections.len()), (2, 2));
        connections.abort_all();
        Ok(())
    });
}

#[test]
fn callbacks_can_add_connections_to_their_set_and_end_all_of_them() {
    run(async {
        let connections = Connections::new()?;
        let all = paused(&connections, &[b"a", b"b"]).await?;
        let (client, server) = pair().await?;
        let (added, server) = (Trace::default(), Cell::new(Some(server)));
        let (set, trace) = (connections.clone(), added.clone());
        *all[0].1.on_data.borrow_mut() = Some(Box::new(move |_| {
            set.adopt(server.take().unwrap(), trace.clone());
            assert_eq!(set.len(), 3);
        }));
        let set = connections.clone();
        *all[1].1.on_data.borrow_mut() = Some(Box::new(move |_| {
            assert_eq!(set.len(), 3);
            set.close_all();
            assert_eq!(set.len(), 3, "none ends inside of a call");
        }));
        client.write_all(b"unread").await?;
        all.iter().for_each(|(transport, ..)| transport.resume_reading());
        assert_eq!(all[0].1.until(3).await, ["made", "data a", "lost"]);
        assert_eq!(all[1].1.until(3).await, ["made", "data b", "lost"]);
        assert_eq!(added.until(2).await, ["made", "lost"]);
        seen().await?;
        assert!(connections.is_empty());
        Ok(())
    });
}

#[test]
fn a_connection_with_much_data_lets_the_others_read_in_between() {
    run(async {
        let connections = Connections::new()?;
        let all = paused(&connections, &[&[], b"little"]).await?;
        let [(greedy, much, client), (modest, little, _)] = &all[..] else { unreachable!() };
        // As much as there is room for, which is several reads.
        let mut sent = 0;
        while let Some(written) = poll_once((&*client).write(&[b'x'; 1 << 16])).await {
            sent += written?;
            seen().await?;
        }
        assert!(sent > 4 << 16, "{sent}");
        let order = Rc::new(RefCell::new(Vec::new()));
        for (trace, name) in [(much, "greedy"), (little, "modest")] {
            let order = order.clone();
            *trace.on_data.borrow_mut() = Some(Box::new(move |_| order.borrow_mut().push(name)));
        }
        greedy.resume_reading();
        modest.resume_reading();
        while order.borrow().len() < 4 {
            yield_now().await;
        }
        assert_eq!(order.borrow()[..3], ["greedy", "modest", "greedy"]);
        connections.abort_all();
        Ok(())
    });
}

#[test]
fn a_step_that_read_many_bytes_lets_other_tasks_run() {
    run(async {
        let connections = Connections::new()?;
        let bytes = vec![b'x'; 60_000];
        let all = paused(&connections, &[&bytes[..]; 30]).await?;
        let order = Rc::new(RefCell::new(Vec::new()));
        for (_, trace, _) in &all {
            let order = order.clone();
            *trace.on_data.borrow_mut() = Some(Box::new(move |_| order.borrow_mut().push("data")));
        }
        all.iter().for_each(|(transport, ..)| transport.resume_reading());
        while order.borrow().iter().filter(|what| **what == "data").count() < 30 {
            order.borrow_mut().push("else");
            yield_now().await;
        }
        let order = order.borrow().join(" ");
        assert!(order.trim_start_matches("else ").contains("data else data"), "{order}");
        connections.abort_all();
        Ok(())
    });
}

/// Reads into three bytes of its own, or into none.
struct Own {
    trace: Trace,
    memory: Vec<u8>,
}

impl BufferedProtocol for Own {
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn filled(&mut self, _: &Transport, length: usize) {
        self.trace.note(String::from_utf8_lossy(&self.memory[..length]));
    }

    fn lost(&mut self, error: Option<io::Error>) {
        self.trace.note(format!("lost {}", error.map_or(String::new(), |error| error.to_string())));
    }
}

#[test]
fn a_buffered_protocol_reads_into_its_own_buffer_which_must_not_be_empty() {
    run(async {
        let trace = Trace::default();
        let connections = Connections::new()?;
        let (mut client, server) = pair().await?;
        connections.adopt_buffered(server, Own { trace: trace.clone(), memory: vec![0; 3] });
        client.write_all(b"12345678").await?;
        client.close().await?;
        assert_eq!(trace.until(4).await, ["123", "456", "78", "lost "]);

        let trace = Trace::default();
        let (_client, server) = pair().await?;
        connections.adopt_buffered(server, Own { trace: trace.clone(), memory: Vec::new() });
        assert!(trace.until(1).await[0].contains("empty buffer"));
        Ok(())
    });
}

#[test]
fn a_reset_is_an_error_in_lost_and_closes_the_socket_even_if_transports_are_left() {
    run(async {
        let trace = Trace::default();
        let (transport, client) = connected(&trace).await?;
        trace.until(1).await;
        client.socket().set_linger(Some(std::time::Duration::ZERO))?;
        drop(client);
        let events = trace.until(2).await;
        assert!(events[1].starts_with("lost ") && events.len() == 2, "{events:?}");
        assert!(transport.is_closing() && transport.local_addr().is_err());
        assert_eq!(transport.write(b"late").unwrap_err().kind(), io::ErrorKind::NotConnected);
        transport.close();
        transport.abort();
        seen().await?;
        assert_eq!(trace.events().len(), 2, "lost once");
        Ok(())
    });
}

#[test]
fn a_server_of_protocols_counts_closes_and_aborts_them() {
    run(async {
        let traces = Rc::new(RefCell::new(Vec::new()));
        let made = traces.clone();
        let server = Server::builder().max_connections(2).bind("127.0.0.1:0").await?.serve_protocol(move || {
            let trace = Trace::default();
            made.borrow_mut().push(trace.clone());
            trace
        })?;
        let address = server.local_addrs()[0];
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await?);
        }
        while server.clients() < 2 {
            yield_now().await;
        }
        seen().await?;
        assert_eq!((server.clients(), traces.borrow().len()), (2, 2), "the third waits");
        drop(clients.remove(0));
        while traces.borrow().len() < 3 {
            yield_now().await;
        }
        assert_eq!(server.clients(), 2);
        server.close_clients();
        for client in clients {
            assert!(rest(client).await?.is_empty());
        }
        assert_eq!(server.shutdown(std::time::Duration::from_secs(60)).await, 0);
        assert!(traces.borrow().iter().all(|trace| trace.events().last().unwrap() == "lost"));
        Ok(())
    });
}

#[test]
fn a_panic_in_a_factory_ends_its_connection_and_not_the_server() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            if report.to_string().contains("not today") {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let calls = Cell::new(0);
        let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(move || {
            calls.set(calls.get() + 1);
            assert!(calls.get() != 1, "not today");
            Trace::default()
        })?;
        let first = TcpStream::connect(server.local_addrs()[0]).await?;
        let peer = first.local_addr()?;
        assert!(rest(first).await?.is_empty());
        let second = TcpStream::connect(server.local_addrs()[0]).await?;
        while server.clients() == 0 {
            yield_now().await;
        }
        drop(second);
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains(&peer.to_string()), "{told:?}");
        assert_eq!(server.shutdown(std::time::Duration::from_secs(60)).await, 0);
        Ok(())
    });
}

#[test]
fn connect_protocol_makes_a_set_that_ends_with_its_connection() {
    run(async {
        let listener = picot_net::TcpListener::bind("127.0.0.1:0").await?;
        let trace = Trace::default();
        let transport = connect_protocol(listener.local_addr()?, trace.clone()).await?;
        let (server, peer) = listener.accept().await?;
        assert_eq!((transport.local_addr()?, transport.peer_addr()?), (peer, listener.local_addr()?));
        server.write_all(b"hello").await?;
        assert_eq!(trace.until(2).await, ["made", "data hello"]);
        transport.close();
        assert!(rest(server).await?.is_empty());
        while LoopHandle::current().tasks().len() > 1 {
            yield_now().await;
        }
        Ok(())
    });
}

#[test]
fn connections_of_a_closed_loop_are_closed_and_their_protocols_dropped() {
    let trace = Trace::default();
    let event_loop = picot_loop::EventLoop::new().unwrap();
    let client = event_loop
        .run_until_complete(async {
            let (_, client) = connected(&trace).await?;
            trace.until(1).await;
            io::Result::Ok(client.into_std())
        })
        .unwrap()
        .unwrap();
    let report = event_loop.close().unwrap();
    assert_eq!((report.tasks.len(), report.sources), (1, 0), "the set's task, and no socket");
    assert_eq!(Rc::strong_count(&trace.events), 1, "no protocol is left");
    client.set_nonblocking(false).unwrap();
    assert_eq!(std::io::Read::read(&mut &client, &mut [0]).unwrap(), 0);
}

/// The limit of descriptors of this process, if the system reports it.
fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

#[test]
fn a_thousand_connections_are_served_in_turns() {
    run(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?;
        let mut clients = Vec::new();
        // Both ends are in this process, beside the other tests. A low limit of descriptors lowers
        // the number.
        let count = (descriptor_limit().saturating_sub(500) / 2).min(1_000);
        if count < 1_000 {
            println!("{count} connections, because of the limit of descriptors");
        }
        for _ in 0..count {
            clients.push(TcpStream::connect(server.local_addrs()[0]).await?);
        }
        for round in 0..5_u32 {
            let message = |n: usize| ((n as u32) << 8 | round).to_ne_bytes();
            for (n, client) in clients.iter_mut().enumerate() {
                client.write_all(&message(n)).await?;
            }
            for (n, client) in clients.iter_mut().enumerate() {
                let mut back = [0; 4];
                client.read_exact(&mut back).await?;
                assert_eq!(back, message(n));
            }
        }
        drop(clients);
        assert_eq!(server.shutdown(std::time::Duration::from_secs(60)).await, 0);
        Ok(())
    });
}

struct Echo;

impl Protocol for Echo {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data).unwrap();
    }
}

/// A pipe, with a Unix pair in its place: first the data, then the end, then `lost`; and a writer
/// notices that the reader has closed.
#[cfg(unix)]
#[test]
fn over_a_unix_pair_a_reader_sees_the_end_and_a_writer_sees_the_reader_close() {
    use picot_net::UnixStream;

    run(async {
        let connections = Connections::new()?;
        // The peer closes before the first event of the connection, which then carries the hang-up
        // as well, or between two events.
        for gone_early in [true, false] {
            let (one, two) = UnixStream::pair()?;
            let trace = Trace::default();
            connections.adopt_unix(one, trace.clone());
            two.write_all(b"piped").await?;
            if !gone_early {
                trace.until(2).await;
            }
            drop(two);
            assert_eq!(trace.until(4).await, ["made", "data piped", "eof", "lost"], "{gone_early}");
        }

        let (one, two) = UnixStream::pair()?;
        let trace = Trace::default();
        trace.eof.set(Eof::KeepWriting);
        let transport = connections.adopt_unix(one, trace.clone());
        trace.until(1).await;
        assert!(transport.peer_addr().is_err());
        drop(two);
        trace.until(2).await;
        while transport.write(b"unread").is_ok() {
            assert!(poll_once(yield_now()).await.is_none());
        }
        let events = trace.until(3).await;
        assert!(events[..2] == ["made", "eof"] && events[2].starts_with("lost "), "{events:?}");
        Ok(())
    });
}

/// Behaviour 106 of asyncio: a descriptor that a transport owns cannot be watched beside it.
#[cfg(unix)]
#[test]
fn a_descriptor_that_a_transport_owns_cannot_be_watched_beside_it() {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    /// A descriptor that belongs to another owner.
    #[derive(Debug)]
    struct Number(RawFd);

    impl AsFd for Number {
        fn as_fd(&self) -> BorrowedFd<'_> {
            // SAFETY: The transport of the test outlives it.
            unsafe { BorrowedFd::borrow_raw(self.0) }
        }
    }

    // SAFETY: The descriptor stays open and the same, because the transport of the test outlives
    // this value.
    unsafe impl picot_reactor::Pollable for Number {}

    run(async {
        let (near, far) = pair().await?;
        let trace = Trace::default();
        let transport = Connections::new()?.adopt(near, trace.clone());
        let number = transport.with_socket(|socket| Ok(socket.as_raw_fd()))?;
        let error = LoopHandle::current().register(Number(number)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        // The transport is unchanged.
        far.write_all(b"hello").await?;
        while trace.events.borrow().len() < 2 {
            yield_now().await;
        }
        transport.close();
        assert_eq!(far.read(&mut [0]).await?, 0);
        Ok(())
    });
}

/// A handle of a lost connection may be used late, when another connection has its slot, and before
/// other connections in the same step.
#[test]
fn closed_of_a_lost_connection_returns_at_once() {
    let late: [fn(&Transport); 5] = [
        Transport::close,
        Transport::abort,
        Transport::write_eof,
        |transport| transport.set_write_marks(2, 1),
        |transport| {
            transport.pause_reading();
            transport.resume_reading();
        },
    ];
    run(async {
        for (use_late, is_slot_reused) in late.into_iter().flat_map(|late| [(late, false), (late, true)]) {
            let connections = Connections::new()?;
            let (first, second, third) = (Trace::default(), Trace::default(), Trace::default());
            let (client, server) = pair().await?;
            let gone = connections.adopt(server, first.clone());
            let (mut peer, server) = pair().await?;
            let stays = connections.adopt(server, second.clone());
            second.until(1).await;
            drop(client);
            assert_eq!(first.until(3).await, ["made", "eof", "lost"]);
            let heir = if is_slot_reused {
                let (peer, server) = pair().await?;
                connections.adopt(server, third.clone());
                third.until(1).await;
                Some(peer)
            } else {
                None
            };

            stays.write(b"before")?;
            use_late(&gone);
            stays.write(b" and after")?;
            let mut back = [0; 16];
            peer.read_exact(&mut back).await?;
            peer.write_all(b"answer").await?;
            assert_eq!(second.until(2).await, ["made", "data answer"]);
            if let Some(heir) = &heir {
                heir.write_all(b"heir").await?;
                assert_eq!(third.until(2).await, ["made", "data heir"]);
            }
            assert_eq!(first.events().len(), 3, "nothing is called after `lost`");
            connections.abort_all();
        }
        Ok(())
    });
}

/// Panics in the callback of this name, after causing that callback.
struct Bomb(&'static str);

impl Bomb {
    fn tick(&self, place: &str) {
        assert!(self.0 != place, "in {place}");
    }
}

impl Protocol for Bomb {
    fn made(&mut self, transport: &Transport) {
        if self.0.ends_with("_writing") {
            transport.set_write_marks(1, 0);
            transport.write(&vec![0; 64 << 20]).unwrap();
        }
    }

    fn data(&mut self, _: &Transport, _: &[u8]) {}

    fn lost(&mut self, _: Option<io::Error>) {
        self.tick("lost");
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.tick("pause_writing");
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.tick("resume_writing");
    }
}

/// The same with a buffer of its own.
struct BufferedBomb(Bomb, [u8; 8]);

impl BufferedProtocol for BufferedBomb {
    fn buffer(&mut self) -> &mut [u8] {
        self.0.tick("buffer");
        &mut self.1
    }

    fn filled(&mut self, _: &Transport, _: usize) {
        self.0.tick("filled");
    }
}

#[test]
fn a_panic_in_any_callback_is_reported_with_the_peer() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            if !matches!(report.cause, picot_context::Cause::SlowStep(_)) {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let connections = Connections::new()?;
        for place in ["lost", "pause_writing", "resume_writing", "buffer", "filled"] {
            let (client, server) = pair().await?;
            let peer = client.local_addr()?;
            match place {
                "buffer" | "filled" => connections.adopt_buffered(server, BufferedBomb(Bomb(place), [0; 8])),
                _ => connections.adopt(server, Bomb(place)),
            };
            client.write_all(b"x").await?;
            if place == "lost" {
                seen().await?;
                connections.close_all();
            }
            // The peer reads all bytes, so that there is room to write; and the connection ends in
            // each case.
            let _ = rest(client).await;
            while !connections.is_empty() {
                yield_now().await;
            }
            yield_now().await;
            let told = reports.take();
            assert_eq!(told.len(), 1, "{place}: {told:?}");
            assert!(told[0].contains(&format!("in {place}")) && told[0].contains(&peer.to_string()), "{told:?}");
        }
        Ok(())
    });
}

#[test]
fn clients_that_a_server_of_protocols_aborts_see_a_reset() {
    run(async {
        let trace = Trace::default();
        let made = trace.clone();
        let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(move || made.clone())?;
        let mut client = TcpStream::connect(server.local_addrs()[0]).await?;
        trace.until(1).await;
        server.abort_clients();
        let error = AsyncReadExt::read(&mut client, &mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(trace.until(2).await, ["made", "lost"]);
        Ok(())
    });
}
