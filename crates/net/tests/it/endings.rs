//! How connections end: which callbacks follow which end, and which waiters are notified.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::AsyncReadExt;
use futures_lite::future::poll_once;
use picot_loop::{EventLoop, LoopHandle, spawn};
use picot_net::{BufferedProtocol, Connections, Eof, Protocol, TcpStream, Transport};
use picot_testkit::WakeCount;

use crate::trace::{Trace, connected, rest, seen, soon};
use crate::{pair, run};

/// The action of one callback, done once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Close,
    Abort,
    WriteEof,
    AbortAnother,
    Adopt,
    DropSet,
    Panic,
}

/// Writes twice when it receives data, so that the second write waits until the callback has
/// returned: then the protocol is paused, and resumed when the bytes are sent. In one callback it
/// does the deed.
struct Doer {
    trace: Trace,
    at: &'static str,
    deed: Option<Deed>,
    transport: Option<Transport>,
    /// The last handle of the set, and another connection of it.
    set: Option<(Connections, Transport)>,
    /// A connection to be added, and the trace that records its callbacks.
    spare: Option<(TcpStream, Trace)>,
    memory: [u8; 64],
}

impl Doer {
    fn called(&mut self, callback: &str) {
        if callback != "buffer" {
            self.trace.note(callback);
        }
        if self.at != callback {
            return;
        }
        let Some(deed) = self.deed.take() else { return };
        // It has no transport yet in its first callbacks.
        let transport = self.transport.as_ref().unwrap();
        match deed {
            Deed::Close => transport.close(),
            Deed::Abort => transport.abort(),
            Deed::WriteEof => transport.write_eof(),
            Deed::AbortAnother => self.set.as_ref().unwrap().1.abort(),
            Deed::Adopt => {
                let (stream, trace) = self.spare.take().unwrap();
                self.set.as_ref().unwrap().0.adopt(stream, trace);
            }
            Deed::DropSet => drop(self.set.take()),
            Deed::Panic => panic!("in {callback}"),
        }
    }

    fn begin(&mut self, transport: &Transport) {
        self.transport = Some(transport.clone());
        transport.set_write_marks(0, 0);
        self.called("made");
    }

    fn answer(&mut self, transport: &Transport) {
        let _ = transport.write(b"a");
        let _ = transport.write(b"b");
        self.called("data");
    }

    fn end(&mut self, error: Option<io::Error>) {
        let panicked = error.is_some_and(|error| error.to_string().contains("panicked"));
        self.called(if panicked { "lost by panic" } else { "lost" });
    }
}

impl Protocol for Doer {
    fn made(&mut self, transport: &Transport) {
        self.begin(transport);
    }

    fn data(&mut self, transport: &Transport, _: &[u8]) {
        self.answer(transport);
    }

    fn eof(&mut self, _: &Transport) -> Eof {
        self.called("eof");
        Eof::Close
    }

    fn lost(&mut self, error: Option<io::Error>) {
        self.end(error);
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.called("pause");
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.called("resume");
    }
}

struct Buffered(Doer);

impl BufferedProtocol for Buffered {
    fn made(&mut self, transport: &Transport) {
        self.0.begin(transport);
    }

    fn buffer(&mut self) -> &mut [u8] {
        self.0.called("buffer");
        &mut self.0.memory
    }

    fn filled(&mut self, transport: &Transport, _: usize) {
        self.0.answer(transport);
    }

    fn eof(&mut self, _: &Transport) -> Eof {
        self.0.called("eof");
        Eof::Close
    }

    fn lost(&mut self, error: Option<io::Error>) {
        self.0.end(error);
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.0.called("pause");
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.0.called("resume");
    }
}

/// All callbacks of an ordinary connection, and the bytes that the peer receives.
const ALL: (&str, &str) = ("made data pause resume eof lost", "ab");

/// All callbacks, and the bytes that the peer receives, if `deed` is done in the callback `at`.
fn expected(deed: Deed, at: &str) -> (&'static str, &'static str) {
    use Deed::*;
    match (deed, at) {
        (Close | Abort, "made" | "buffer") => ("made lost", ""),
        (Close, "data" | "pause") => ("made data pause lost", "ab"),
        (Abort, "data") => ("made data lost", "a"),
        (Abort, "pause") => ("made data pause lost", "a"),
        (Close | Abort, "resume") => ("made data pause resume lost", "ab"),
        // Nothing can be written any more, so nothing waits.
        (WriteEof, "made" | "buffer") => ("made data eof lost", ""),
        (Panic, "made" | "buffer") => ("made lost by panic", ""),
        (Panic, "data") => ("made data lost by panic", "a"),
        (Panic, "pause") => ("made data pause lost by panic", "a"),
        (Panic, "resume") => ("made data pause resume lost by panic", "ab"),
        (Panic, "eof") => ("made data pause resume eof lost by panic", "ab"),
        _ => ALL,
    }
}

async fn does(deed: Deed, at: &'static str, is_buffered: bool, reports: &Cell<usize>) -> io::Result<()> {
    let connections = Connections::new()?;
    let (_other_peer, stream) = pair().await?;
    let other_trace = Trace::default();
    let other = connections.adopt(stream, other_trace.clone());
    other_trace.until(1).await;
    let (_spare_peer, spare) = pair().await?;
    let (trace, spare_trace) = (Trace::default(), Trace::default());
    let (client, server) = pair().await?;
    let doer = Doer {
        trace: trace.clone(),
        at,
        deed: Some(deed),
        transport: None,
        set: Some((connections.clone(), other.clone())),
        spare: Some((spare, spare_trace.clone())),
        memory: [0; 64],
    };
    let transport = match is_buffered {
        true => connections.adopt_buffered(server, Buffered(doer)),
        false => connections.adopt(server, doer),
    };
    let set = Some(connections).filter(|_| deed != Deed::DropSet);
    client.write_all(b"go").await?;
    client.shutdown(std::net::Shutdown::Write)?;
    soon(transport.closed()).await;

    let context = format!("{deed:?} in {at}, buffered: {is_buffered}");
    let (calls, received) = expected(deed, at);
    assert_eq!(trace.events().join(" "), calls, "{context}");
    assert_eq!(Rc::strong_count(&trace.events), 1, "the protocol is dropped: {context}");
    // The peer may see a reset after the bytes that it receives, because its own data was not read.
    let mut back = Vec::new();
    let _ = { client }.read_to_end(&mut back).await;
    assert_eq!(String::from_utf8_lossy(&back), received, "{context}");
    // No later call of a transport or of the set runs a callback.
    transport.close();
    transport.abort();
    transport.write_eof();
    transport.resume_reading();
    transport.set_write_marks(1, 0);
    assert!(transport.write(b"late").is_err() && transport.is_closing() && transport.unsent() == 0);
    seen().await?;
    assert_eq!(trace.events().join(" "), calls, "{context}");

    // The other connections of the set.
    let of_other = if deed == Deed::AbortAnother { "made lost" } else { "made" };
    assert_eq!(other_trace.events().join(" "), of_other, "{context}");
    assert_eq!(spare_trace.events().join(" "), if deed == Deed::Adopt { "made" } else { "" }, "{context}");
    assert_eq!(reports.take(), usize::from(deed == Deed::Panic), "{context}");
    let left = [Deed::AbortAnother, Deed::Adopt].map(|special| usize::from(deed == special));
    if let Some(set) = &set {
        assert_eq!(set.len(), 1 - left[0] + left[1], "{context}");
        set.close_all();
        soon(set.wait_empty()).await;
    } else {
        other.close();
        soon(other.closed()).await;
    }
    assert_eq!(other_trace.events().join(" "), "made lost");
    Ok(())
}

#[test]
fn lost_is_the_last_callback_and_is_called_once_after_any_action_in_any_callback() {
    run(async {
        let reports = Rc::new(Cell::new(0));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            hook.set(hook.get() + usize::from(matches!(report.cause, picot_context::Cause::Panic(_))));
        });
        use Deed::*;
        for deed in [Close, Abort, WriteEof, AbortAnother, Adopt, DropSet, Panic] {
            for at in ["made", "data", "pause", "resume", "eof", "lost"] {
                does(deed, at, false, &reports).await?;
            }
            for at in ["made", "buffer", "data", "pause", "resume", "eof", "lost"] {
                does(deed, at, true, &reports).await?;
            }
        }
        Ok(())
    });
}

/// Panics in its last callback, and in its destructor.
struct Falls(bool);

impl Protocol for Falls {
    fn data(&mut self, _: &Transport, _: &[u8]) {}

    fn lost(&mut self, _: Option<io::Error>) {
        assert!(!self.0, "in its last callback");
    }
}

impl Drop for Falls {
    fn drop(&mut self) {
        panic!("when it is dropped");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_protocol_is_reported_and_ends_no_other_connection() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            if matches!(report.cause, picot_context::Cause::Panic(_)) {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let connections = Connections::new()?;
        let (client, server) = pair().await?;
        let peer = client.local_addr()?.to_string();
        let transport = connections.adopt(server, Falls(true));
        transport.close();
        soon(transport.closed()).await;
        picot_loop::yield_now().await;
        let told = reports.take();
        assert_eq!(told.len(), 2, "{told:?}");
        for (text, report) in ["in its last callback", "when it is dropped"].iter().zip(&told) {
            assert!(report.contains(text) && report.contains(&peer), "{report}");
        }
        Ok(())
    });
}

/// Panics in one callback, in `lost`, and in its destructor.
struct PanicsThrice {
    at: &'static str,
    memory: [u8; 8],
}

impl PanicsThrice {
    fn called(&self, callback: &str) {
        assert_ne!(self.at, callback, "first, in {callback}");
    }
}

impl Drop for PanicsThrice {
    fn drop(&mut self) {
        panic!("third, in drop");
    }
}

/// The callbacks that both kinds of protocols have.
macro_rules! panics {
    () => {
        fn made(&mut self, transport: &Transport) {
            // The marks are so low that each write that waits pauses the protocol.
            transport.set_write_marks(0, 0);
            self.called("made");
        }

        fn eof(&mut self, _: &Transport) -> Eof {
            self.called("eof");
            Eof::Close
        }

        fn lost(&mut self, _: Option<io::Error>) {
            panic!("second, in lost");
        }

        fn pause_writing(&mut self, _: &Transport) {
            self.called("pause");
        }

        fn resume_writing(&mut self, _: &Transport) {
            self.called("resume");
        }
    };
}

/// The second write of a callback waits until the callback has returned.
fn write_twice(transport: &Transport) {
    let _ = transport.write(b"a");
    let _ = transport.write(b"b");
}

impl Protocol for PanicsThrice {
    panics!();

    fn data(&mut self, transport: &Transport, _: &[u8]) {
        write_twice(transport);
        self.called("data");
    }
}

impl BufferedProtocol for PanicsThrice {
    panics!();

    fn buffer(&mut self) -> &mut [u8] {
        self.called("buffer");
        &mut self.memory
    }

    fn filled(&mut self, transport: &Transport, _: usize) {
        write_twice(transport);
        self.called("filled");
    }
}

#[test]
fn each_panic_of_a_protocol_is_reported_once_and_the_other_connections_continue() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            if matches!(report.cause, picot_context::Cause::Panic(_)) {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let plain = ["made", "data", "pause", "resume", "eof", "none"].map(|at| (at, false));
        let buffered = ["made", "buffer", "filled", "pause", "resume", "eof", "none"].map(|at| (at, true));
        for (at, is_buffered) in plain.into_iter().chain(buffered) {
            let connections = Connections::new()?;
            // One connection is served before it and one after it, in the same batch.
            let mut others = Vec::new();
            let mut add_other = async || {
                let (peer, stream) = pair().await?;
                let trace = Trace::default();
                connections.adopt(stream, trace.clone());
                others.push((peer, trace));
                io::Result::Ok(())
            };
            add_other().await?;
            let (client, server) = pair().await?;
            let name = client.local_addr()?.to_string();
            let protocol = PanicsThrice { at, memory: [0; 8] };
            let transport = match is_buffered {
                true => connections.adopt_buffered(server, protocol),
                false => connections.adopt(server, protocol),
            };
            add_other().await?;
            client.write_all(b"go").await?;
            client.shutdown(std::net::Shutdown::Write)?;
            for (peer, _) in &others {
                peer.write_all(b"x").await?;
            }
            soon(transport.closed()).await;

            let context = format!("in {at}, buffered: {is_buffered}");
            for (peer, trace) in &others {
                soon(trace.until(2)).await;
                assert_eq!(trace.events().join(" "), "made data x", "{context}");
                peer.write_all(b"y").await?;
                assert_eq!(soon(trace.until(3)).await.join(" "), "made data x data y", "{context}");
            }
            let reports = reports.take();
            let first = if at == "none" { None } else { Some(format!("first, in {at}")) };
            let texts: Vec<_> = first.into_iter().chain(["second, in lost".into(), "third, in drop".into()]).collect();
            assert_eq!(reports.len(), texts.len(), "{context}: {reports:?}");
            for (text, report) in texts.iter().zip(&reports) {
                assert!(report.contains(text) && report.contains(&name), "{context}: {report}");
            }
            connections.close_all();
            soon(connections.wait_empty()).await;
        }
        Ok(())
    });
}

/// Panics when it receives data.
#[cfg(unix)]
struct PanicsAtData;

#[cfg(unix)]
impl Protocol for PanicsAtData {
    fn data(&mut self, _: &Transport, _: &[u8]) {
        panic!("at data");
    }
}

#[cfg(unix)]
#[test]
fn a_panic_on_a_unix_socket_is_reported_with_its_path() {
    use picot_net::{Server, UnixListener, UnixStream};

    let folder = picot_testkit::Folder::new("panics");
    let (path, own) = (folder.join("server"), folder.join("peer"));
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        LoopHandle::current().set_error_hook(move |report| {
            if matches!(report.cause, picot_context::Cause::Panic(_)) {
                hook.borrow_mut().push(report.to_string());
            }
        });
        let listen = || io::Result::Ok(Server::builder().listener(UnixListener::bind(&path)?));
        // A peer without a path, and a peer with one; by a protocol, a factory and a task.
        for is_bound in [false, true] {
            let named = if is_bound { own.display().to_string() } else { path.display().to_string() };
            let servers: [fn(_) -> io::Result<Server>; 3] = [
                |builder: picot_net::ServerBuilder<UnixListener>| builder.serve_protocol(|| PanicsAtData),
                |builder| builder.serve_protocol(|| -> PanicsAtData { panic!("at data") }),
                |builder| builder.serve(|_, _| async { panic!("at data") }),
            ];
            for (serve, kind) in servers.into_iter().zip(["connection", "client", "client"]) {
                let server = serve(listen()?)?;
                let client = connect_unix(&path, is_bound.then_some(&*own))?;
                let client = UnixStream::from_std(client)?;
                // A path that does not exist any more is fine.
                let _ = client.write_all(b"x").await;
                soon(async {
                    while reports.borrow().is_empty() {
                        picot_loop::yield_now().await;
                    }
                })
                .await;
                let told = reports.take();
                let name = format!(
                    "{kind} {}{named}",
                    if is_bound { if kind == "client" { "" } else { "of " } } else { "at " }
                );
                assert!(told.len() == 1 && told[0].contains(&name), "{name}: {told:?}");
                assert_eq!(server.shutdown(std::time::Duration::from_secs(30)).await, 0);
            }
        }
        Ok(())
    });
}

/// A connection from a path of its own or from none.
#[cfg(unix)]
fn connect_unix(path: &std::path::Path, own: Option<&std::path::Path>) -> io::Result<std::os::unix::net::UnixStream> {
    use picot_net::socket2::{Domain, SockAddr, Socket, Type};

    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Some(own) = own {
        socket.bind(&SockAddr::unix(own)?)?;
    }
    socket.connect(&SockAddr::unix(path)?)?;
    if let Some(own) = own {
        std::fs::remove_file(own)?;
    }
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

#[test]
fn protocols_that_panic_while_the_loop_closes_are_reported_and_all_sockets_are_closed() {
    let event_loop = EventLoop::new().unwrap();
    let reports = Rc::new(Cell::new(0));
    let hook = reports.clone();
    let clients = event_loop
        .run_until_complete(async {
            LoopHandle::current().set_error_hook(move |report| {
                hook.set(hook.get() + usize::from(report.to_string().contains("when it is dropped")));
            });
            let connections = Connections::new()?;
            let mut clients = Vec::new();
            for _ in 0..3 {
                let (client, server) = pair().await?;
                connections.adopt(server, Falls(false));
                clients.push(client.into_std());
            }
            seen().await?;
            io::Result::Ok(clients)
        })
        .unwrap()
        .unwrap();
    event_loop.close().unwrap();
    assert_eq!(reports.get(), 3);
    for client in clients {
        client.set_nonblocking(false).unwrap();
        assert_eq!(io::Read::read(&mut &client, &mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_connection_that_is_added_after_its_loop_was_closed_is_closed() {
    let event_loop = EventLoop::new().unwrap();
    let (connections, stream, client) = event_loop
        .run_until_complete(async {
            let (client, server) = pair().await?;
            io::Result::Ok((Connections::new()?, server, client.into_std()))
        })
        .unwrap()
        .unwrap();
    event_loop.close().unwrap();
    let trace = Trace::default();
    let transport = connections.adopt(stream, trace.clone());
    assert!(transport.is_closing() && connections.is_empty() && trace.events().is_empty());
    assert_eq!(Rc::strong_count(&trace.events), 1, "the protocol is dropped");
    client.set_nonblocking(false).unwrap();
    assert_eq!(io::Read::read(&mut &client, &mut [0]).unwrap(), 0);
    // A wait for the end returns at once.
    let waiting = futures_lite::future::zip(transport.closed(), connections.wait_empty());
    assert!(futures_lite::future::block_on(poll_once(waiting)).is_some());
}

#[test]
fn a_loop_that_closes_ends_the_waits_for_its_connections() {
    let event_loop = EventLoop::new().unwrap();
    let (connections, transport, _client) = event_loop
        .run_until_complete(async {
            let (client, server) = pair().await?;
            let connections = Connections::new()?;
            let transport = connections.adopt(server, Trace::default());
            io::Result::Ok((connections, transport, client.into_std()))
        })
        .unwrap()
        .unwrap();
    let counts = [WakeCount::default(), WakeCount::default()];
    let mut waits: [Pin<Box<dyn Future<Output = ()>>>; 2] =
        [Box::pin(connections.wait_empty()), Box::pin(transport.closed())];
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert!(count.poll(|cx| wait.as_mut().poll(cx)).is_pending());
    }
    event_loop.close().unwrap();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert_eq!(count.get(), 1);
        assert!(count.poll(|cx| wait.as_mut().poll(cx)).is_ready());
    }
}

#[test]
fn closed_returns_to_all_waiters_after_lost_and_the_close_of_the_socket() {
    run(async {
        let trace = Trace::default();
        let (transport, client) = connected(&trace).await?;
        trace.until(1).await;
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (transport, trace) = (transport.clone(), trace.clone());
                spawn(async move {
                    transport.closed().await;
                    (trace.events().join(" "), Rc::strong_count(&trace.events))
                })
            })
            .collect();
        // One waiter that is dropped before, and two that remain.
        assert!(poll_once(transport.closed()).await.is_none());
        let two = futures_lite::future::zip(transport.closed(), transport.closed());
        assert!(poll_once(two).await.is_none());
        seen().await?;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        transport.close();
        let own = soon(async {
            transport.closed().await;
            (trace.events().join(" "), transport.local_addr().is_err())
        });
        assert_eq!(own.await, ("made lost".to_string(), true));
        for waiter in waiters {
            assert_eq!(soon(waiter).await.unwrap().0, "made lost");
        }
        assert_eq!(Rc::strong_count(&trace.events), 1);
        assert!(poll_once(transport.closed()).await.is_some(), "at once, from then on");
        assert!(rest(client).await?.is_empty());
        Ok(())
    });
}

#[test]
fn wait_empty_waits_again_each_time_the_set_was_filled() {
    run(async {
        let connections = Connections::new()?;
        assert!(poll_once(connections.wait_empty()).await.is_some(), "it is empty");
        for _ in 0..2 {
            let (first, second) = (Trace::default(), Trace::default());
            let (client, server) = pair().await?;
            connections.adopt(server, first.clone());
            assert!(poll_once(connections.wait_empty()).await.is_none(), "also of one that has not begun");
            let waiting = spawn({
                let connections = connections.clone();
                async move { connections.wait_empty().await }
            });
            first.until(1).await;
            // Another connection is added before the first has ended.
            let (other, server) = pair().await?;
            connections.adopt(server, second.clone());
            drop(client);
            first.until(3).await;
            seen().await?;
            assert!(!waiting.is_finished() && connections.len() == 1);
            drop(other);
            soon(waiting).await.unwrap();
            assert_eq!(second.events().join(" "), "made eof lost");
            assert_eq!((Rc::strong_count(&first.events), Rc::strong_count(&second.events)), (1, 1));
        }
        Ok(())
    });
}
