//! Servers: limits, errors and panics with the name of the peer, and every way to end.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::poll_once;
use picot_context::Cause;
use picot_loop::{EventLoop, Instant, LoopHandle, VirtualClock, sleep, spawn, yield_now};
use picot_net::{Connections, Server, ServerBuilder, TcpListener, TcpStream};

use crate::trace::Trace;
use crate::{alone, run};

/// Handles a connection until its peer has ended its stream.
async fn drain(stream: TcpStream, _: SocketAddr) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    stream.write_all(b"bye").await
}

async fn server() -> io::Result<(Server, SocketAddr)> {
    let server = Server::builder().bind(alone(7)).await?.serve(drain)?;
    let address = server.local_addrs()[0];
    Ok((server, address))
}

async fn rest(mut stream: TcpStream) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Collects the reports to the error hook, except slow steps, which a busy machine can cause
/// anywhere.
pub(crate) fn reports() -> Rc<RefCell<Vec<String>>> {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let hook = reports.clone();
    LoopHandle::current().set_error_hook(move |report| {
        if !matches!(report.cause, Cause::SlowStep(..)) {
            hook.borrow_mut().push(report.to_string());
        }
    });
    reports
}

async fn turns_until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

#[test]
fn a_closed_server_refuses_and_waits_for_its_clients() {
    run(async {
        let (server, address) = server().await?;
        let client = TcpStream::connect(address).await?;
        turns_until(|| server.clients() == 1).await;
        server.close();
        server.close();
        assert!(server.is_closed() && server.local_addrs().is_empty());
        assert!(poll_once(server.wait_closed()).await.is_none());
        yield_now().await;
        assert!(TcpStream::connect(address).await.is_err());
        client.shutdown(std::net::Shutdown::Write)?;
        assert_eq!(rest(client).await?, "bye");
        server.wait_closed().await;
        assert_eq!(server.clients(), 0);
        Ok(())
    });
}

#[test]
fn serve_forever_ends_with_its_future_and_has_one_caller() {
    run(async {
        let (server, address) = server().await?;
        let mut serving = Box::pin(server.serve_forever());
        assert!(poll_once(&mut serving).await.is_none());
        assert!(server.serve_forever().await.unwrap_err().to_string().contains("wait_closed"));
        assert!(!server.is_closed(), "the second one has closed nothing");
        drop(serving);
        assert!(server.is_closed());
        server.wait_closed().await;
        assert!(TcpStream::connect(address).await.is_err());
        assert!(server.serve_forever().await.unwrap_err().to_string().contains("build another one"));
        Ok(())
    });
}

#[test]
fn a_server_without_a_listener_is_an_error() {
    run(async {
        let error = Server::builder::<TcpListener>().serve(drain).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    });
}

/// Tries to serve when it is dropped.
struct Late(Option<[ServerBuilder<TcpListener>; 2]>, Rc<RefCell<Vec<String>>>);

impl Drop for Late {
    fn drop(&mut self) {
        let [one, two] = self.0.take().unwrap();
        let errors = [
            one.serve(drain).unwrap_err(),
            two.serve_protocol(Trace::default).unwrap_err(),
            Connections::new().unwrap_err(),
        ];
        self.1.borrow_mut().extend(errors.map(|error| error.to_string()));
    }
}

#[test]
fn serving_on_a_closing_or_missing_loop_is_an_error_that_names_the_cause() {
    let (event_loop, errors) = (EventLoop::new().unwrap(), Rc::new(RefCell::new(Vec::new())));
    let told = errors.clone();
    let spawned = event_loop.run_until_complete(async {
        let builder = || Server::builder().bind("127.0.0.1:0");
        let late = Late(Some([builder().await?, builder().await?]), told);
        drop(spawn(async move {
            let _late = late;
            std::future::pending::<()>().await;
        }));
        io::Result::Ok(())
    });
    spawned.unwrap().unwrap();
    event_loop.close().unwrap();
    assert_eq!(errors.borrow().len(), 3);
    assert!(errors.borrow().iter().all(|error| error.contains("the loop is closed")), "{errors:?}");
    assert!(Connections::new().unwrap_err().to_string().contains("no event loop"));
}

#[test]
fn a_dropped_server_refuses_connections_and_its_clients_continue() {
    run(async {
        let (server, address) = server().await?;
        let client = TcpStream::connect(address).await?;
        turns_until(|| server.clients() == 1).await;
        drop(server);
        yield_now().await;
        assert!(TcpStream::connect(address).await.is_err());
        client.shutdown(std::net::Shutdown::Write)?;
        assert_eq!(rest(client).await?, "bye");
        Ok(())
    });
}

#[test]
fn several_listeners_serve_as_one_server() {
    run(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.bind("127.0.0.1:0").await?.serve(drain)?;
        let addresses = server.local_addrs();
        assert_eq!(addresses.len(), 2);
        for address in addresses {
            let client = TcpStream::connect(address).await?;
            client.shutdown(std::net::Shutdown::Write)?;
            assert_eq!(rest(client).await?, "bye");
        }
        Ok(())
    });
}

#[test]
fn a_full_server_lets_connections_wait_in_the_backlog() {
    run(async {
        let seen = Rc::new(Cell::new((0, 0)));
        let handler = {
            let seen = seen.clone();
            move |stream, peer| {
                let seen = seen.clone();
                async move {
                    let (now, most) = seen.get();
                    seen.set((now + 1, most.max(now + 1)));
                    let result = drain(stream, peer).await;
                    seen.set((seen.get().0 - 1, seen.get().1));
                    result
                }
            }
        };
        let server = Server::builder().max_connections(3).bind("127.0.0.1:0").await?.serve(handler)?;
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(TcpStream::connect(server.local_addrs()[0]).await?);
        }
        turns_until(|| seen.get().0 == 3).await;
        crate::trace::seen().await?;
        assert_eq!((seen.get(), server.clients()), ((3, 3), 3));
        for client in clients {
            client.shutdown(std::net::Shutdown::Write)?;
            assert_eq!(rest(client).await?, "bye");
        }
        assert_eq!(seen.get().1, 3, "never more than three at once");
        Ok(())
    });
}

#[test]
fn an_error_or_panic_of_a_handler_is_reported_with_the_peer_and_ends_only_its_connection() {
    run(async {
        let reports = reports();
        let builder = Server::builder().bind("127.0.0.1:0").await?;
        let line = line!() + 1;
        let server = builder.serve(|mut stream: TcpStream, _| async move {
            let mut order = [0];
            stream.read_exact(&mut order).await?;
            match order[0] {
                b'e' => Err(io::Error::other("as ordered")),
                b'p' => panic!("as ordered"),
                _ => stream.write_all(b"fine").await,
            }
        })?;
        for (order, back, report) in
            [(b"e", "", Some("ended with an error: as ordered")), (b"p", "", Some("panicked")), (b"x", "fine", None)]
        {
            let client = TcpStream::connect(server.local_addrs()[0]).await?;
            let address = client.local_addr()?;
            client.write_all(order).await?;
            assert_eq!(rest(client).await?, back);
            turns_until(|| server.clients() == 0).await;
            yield_now().await;
            let told = reports.take();
            assert_eq!(told.len(), usize::from(report.is_some()), "{told:?}");
            if let Some(report) = report {
                let (name, place) = (format!("client {address}"), format!("{}:{line}:", file!()));
                assert!([report, &*name, &*place].iter().all(|part| told[0].contains(part)), "{told:?}");
            }
        }
        Ok(())
    });
}

/// The future of a handler that panics where its bits say.
struct Faulty(u8);

const IN_MAKING: u8 = 1;
const IN_POLL: u8 = 2;
const IN_DROP: u8 = 4;

impl Future for Faulty {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.0 & IN_POLL == 0, "in poll");
        Poll::Ready(Err(io::Error::other(Unprintable)))
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(self.0 & IN_DROP == 0, "in drop");
    }
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct Unprintable;

impl std::fmt::Display for Unprintable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in display")
    }
}

impl std::error::Error for Unprintable {}

#[test]
fn a_handler_that_panics_anywhere_ends_its_connection_and_each_panic_is_reported_once() {
    run(async {
        let reports = reports();
        let faults = Rc::new(Cell::new(0));
        let server = Server::builder().bind("127.0.0.1:0").await?.serve({
            let faults = faults.clone();
            move |_: TcpStream, _| {
                assert!(faults.get() & IN_MAKING == 0, "in making");
                Faulty(faults.get())
            }
        })?;
        for bits in 0..8 {
            faults.set(bits);
            let client = TcpStream::connect(server.local_addrs()[0]).await?;
            // The client sees an end or a reset, and never a hang.
            let _ = rest(client).await;
            turns_until(|| server.clients() == 0).await;
            yield_now().await;
            let told = reports.take();
            let count = |text: &str| told.iter().filter(|report| report.contains(text)).count();
            let makes = bits & IN_MAKING == 0;
            assert_eq!(count("in making"), usize::from(!makes), "bits {bits}: {told:?}");
            assert_eq!(count("in poll"), usize::from(makes && bits & IN_POLL != 0), "bits {bits}: {told:?}");
            assert_eq!(count("in drop"), usize::from(makes && bits & IN_DROP != 0), "bits {bits}: {told:?}");
            assert_eq!(count("in display"), usize::from(makes && bits & IN_POLL == 0), "bits {bits}: {told:?}");
            assert!(!server.is_closed());
        }
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn a_peers_path_cannot_forge_a_line_of_a_report() {
    use picot_net::{UnixListener, UnixStream};

    let folder = picot_testkit::Folder::new("forge");
    let (path, evil) = (folder.join("server"), folder.join("evil\n2026-01-01 all is well\u{1b}[2J"));
    run(async {
        let reports = reports();
        let server = Server::builder().listener(UnixListener::bind(&path)?).serve(|_: UnixStream, _| async {
            // Hooks and logs receive the bare name; only the display of a report escapes it.
            let task = picot_context::current().unwrap();
            assert!(!task.given_name().unwrap().contains(char::is_control), "{:?}", task.given_name());
            Err(io::Error::other("as\nordered"))
        })?;
        let protocols = Server::builder()
            .listener(UnixListener::bind(folder.join("protocols"))?)
            .serve_protocol(|| -> Trace { panic!("no\nprotocol") })?;
        for to in [&path, &folder.join("protocols")] {
            let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            client.bind(&socket2::SockAddr::unix(&evil)?)?;
            client.connect(&socket2::SockAddr::unix(to)?)?;
            turns_until(|| !reports.borrow().is_empty()).await;
            let told = reports.take();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains("evil\\n2026-01-01 all is well\\u{1b}[2J"), "{told:?}");
            assert!(told[0].contains("\\nordered") || told[0].contains("no\\nprotocol"), "{told:?}");
            assert!(!told[0].contains(char::is_control), "{told:?}");
            std::fs::remove_file(&evil)?;
        }
        #[cfg(target_os = "linux")]
        {
            let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            client.bind(&socket2::SockAddr::unix(format!("\0picot-net-{}-evil\n", std::process::id()))?)?;
            client.connect(&socket2::SockAddr::unix(&path)?)?;
            turns_until(|| !reports.borrow().is_empty()).await;
            let told = reports.take();
            assert!(told.len() == 1 && told[0].contains("-evil\\n") && told[0].contains("as\\nordered"), "{told:?}");
        }
        drop((server, protocols));
        Ok(())
    });
}

#[test]
fn clients_that_are_aborted_see_a_reset_and_nothing_is_reported() {
    run(async {
        let reports = reports();
        let (server, address) = server().await?;
        let client = TcpStream::connect(address).await?;
        turns_until(|| server.clients() == 1).await;
        server.abort_clients();
        assert_eq!(rest(client).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        turns_until(|| server.clients() == 0).await;
        yield_now().await;
        assert!(reports.borrow().is_empty() && !server.is_closed());
        Ok(())
    });
}

#[test]
fn clients_that_are_closed_read_an_end_and_may_still_answer() {
    run(async {
        let (server, address) = server().await?;
        let client = TcpStream::connect(address).await?;
        turns_until(|| server.clients() == 1).await;
        server.close_clients();
        assert_eq!(rest(client).await?, "bye");
        Ok(())
    });
}

/// Runs a test under the virtual clock, which advances when the sockets are idle.
fn run_virtually(test: impl Future<Output = io::Result<()>>) {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    event_loop.run_until_complete(test).unwrap().unwrap();
    // The tasks of sets whose servers the test has dropped end now.
    event_loop.run_until_complete(yield_now()).unwrap();
    assert_eq!(event_loop.close().unwrap().tasks.len(), 0);
}

/// A server by tasks or by protocols; neither ends a connection before its client does.
async fn patient(by_protocol: bool) -> io::Result<Server> {
    let builder = Server::builder().bind("127.0.0.1:0").await?;
    if by_protocol { builder.serve_protocol(Trace::default) } else { builder.serve(drain) }
}

/// A client that is being served.
async fn client_of(server: &Server) -> io::Result<TcpStream> {
    let before = server.clients();
    let client = TcpStream::connect(server.local_addrs()[0]).await?;
    turns_until(|| server.clients() > before).await;
    Ok(client)
}

#[test]
fn a_shutdown_returns_when_the_last_client_has_ended() {
    run_virtually(async {
        for by_protocol in [false, true] {
            let server = patient(by_protocol).await?;
            let client = client_of(&server).await?;
            let ending = spawn(async move {
                sleep(Duration::from_secs(7)).await;
                client.shutdown(std::net::Shutdown::Write)?;
                rest(client).await
            });
            let start = Instant::now();
            assert_eq!(server.shutdown(Duration::from_secs(3600)).await, 0);
            assert_eq!(start.elapsed(), Duration::from_secs(7));
            assert_eq!(ending.await.unwrap()?, if by_protocol { "" } else { "bye" });
            assert!(server.is_closed() && server.clients() == 0);
            assert_eq!(poll_once(server.shutdown(Duration::from_secs(3600))).await, Some(0), "at once, from then on");
        }
        Ok(())
    });
}

#[test]
fn a_shutdown_aborts_the_remaining_clients_at_its_deadline_and_counts_them() {
    run_virtually(async {
        for by_protocol in [false, true] {
            let server = patient(by_protocol).await?;
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(client_of(&server).await?);
            }
            clients.pop().unwrap().shutdown(std::net::Shutdown::Write)?;
            let start = Instant::now();
            assert_eq!(server.shutdown(Duration::from_secs(5)).await, 2);
            assert_eq!((start.elapsed(), server.clients()), (Duration::from_secs(5), 0));
            for client in clients {
                assert_eq!(rest(client).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            }
        }
        Ok(())
    });
}

#[test]
fn the_earlier_of_two_shutdown_deadlines_counts_and_a_dropped_shutdown_aborts_no_client() {
    run_virtually(async {
        for by_protocol in [false, true] {
            let server = patient(by_protocol).await?;
            let client = client_of(&server).await?;
            assert!(poll_once(server.shutdown(Duration::from_secs(1))).await.is_none());
            sleep(Duration::from_secs(10)).await;
            assert!(server.is_closed() && server.clients() == 1, "closed, and no client aborted");
            let start = Instant::now();
            let (first, second) = (server.shutdown(Duration::from_secs(60)), server.shutdown(Duration::from_secs(2)));
            assert_eq!(futures_lite::future::zip(first, second).await, (0, 1));
            assert_eq!(start.elapsed(), Duration::from_secs(2));
            assert_eq!(rest(client).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn a_server_serves_a_unix_socket() {
    use picot_net::{UnixListener, UnixStream};

    let folder = picot_testkit::Folder::new("server");
    let path = folder.join("socket");
    run(async {
        let server = Server::builder()
            .listener(UnixListener::bind(&path)?)
            .serve(|stream: UnixStream, _| async move { stream.write_all(b"hello").await })?;
        let mut client = UnixStream::connect(&path).await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "hello");
        assert_eq!(server.shutdown(Duration::from_secs(60)).await, 0);
        assert!(!path.exists());
        Ok(())
    });
}

/// Queries the server while a client is being spawned.
struct Curious(RefCell<Option<Rc<Server>>>, Cell<usize>);

impl picot_loop::Hooks for Curious {
    fn spawned(&self, _: &picot_context::TaskInfo) {
        if let Some(server) = &*self.0.borrow() {
            self.1.set(self.1.get().max(server.clients() + 1));
            server.close_clients();
        }
    }
}

#[test]
fn a_hook_can_query_the_server_whose_client_is_being_spawned() {
    run(async {
        let server = Server::builder().bind("127.0.0.1:0").await?;
        let server = Rc::new(server.serve(|_, _| async { Ok(()) })?);
        let hooks = Rc::new(Curious(RefCell::new(Some(server.clone())), Cell::new(0)));
        LoopHandle::current().set_hooks(hooks.clone());
        let client = TcpStream::connect(server.local_addrs()[0]).await?;
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut { client }, &mut rest).await?;
        LoopHandle::current().reset_hooks();
        hooks.0.take();
        assert_eq!(hooks.1.get(), 1, "it was asked, when there was no client yet");
        Ok(())
    });
}

/// Opens files until the process has no free descriptor.
#[cfg(target_os = "linux")]
pub(crate) fn take_all_descriptors() -> io::Result<Vec<std::fs::File>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), maximum })?;
    let null = || std::fs::File::open("/dev/null");
    let files = std::iter::from_fn(|| null().ok()).collect();
    assert_eq!(null().unwrap_err().raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    Ok(files)
}

/// The rest of a listener without descriptors ends when this thread closes a socket of any kind.
#[cfg(target_os = "linux")]
#[test]
fn closing_a_socket_of_any_kind_ends_the_rest_of_a_listener() {
    use picot_net::{UdpSocket, UnixDatagram, UnixListener, UnixStream};

    let folder = picot_testkit::Folder::new("kinds");
    let path = folder.join("socket");
    crate::forked::in_child(move || {
        run_virtually(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let connections = Connections::new()?;
            let (stream, accepted) = crate::pair().await?;
            let (unix_stream, other_end) = UnixStream::pair()?;
            let transport = connections.adopt(accepted, Trace::default());
            let sockets: Vec<(&str, Box<dyn std::any::Any>)> = vec![
                ("TcpListener", Box::new(TcpListener::bind("127.0.0.1:0").await?)),
                ("UdpSocket", Box::new(UdpSocket::bind("127.0.0.1:0").await?)),
                ("UnixListener", Box::new(UnixListener::bind(&path)?)),
                ("UnixDatagram", Box::new(UnixDatagram::unbound()?)),
                ("UnixStream", Box::new(unix_stream)),
                ("UnixStream, its other end", Box::new(other_end)),
                ("TcpStream", Box::new(stream)),
            ];
            let clients: Vec<_> = (0..=sockets.len())
                .map(|_| std::net::TcpStream::connect(listener.local_addr()?))
                .collect::<io::Result<_>>()?;
            let _files = take_all_descriptors()?;
            let start = Instant::now();
            let mut accepted = Vec::new();
            // The loop below starts in the rest that follows an error.
            listener.accept().await.unwrap_err();
            for (kind, socket) in sockets {
                let mut accepting = Box::pin(listener.accept());
                assert!(poll_once(&mut accepting).await.is_none(), "{kind}: there is no descriptor yet");
                drop(socket);
                let next = poll_once(accepting).await.unwrap_or_else(|| panic!("{kind}: the rest goes on"));
                accepted.push(next?);
            }
            let mut accepting = Box::pin(listener.accept());
            assert!(poll_once(&mut accepting).await.is_none());
            transport.abort();
            accepted.push(accepting.await?);
            assert_eq!(start.elapsed(), Duration::ZERO, "no rest was waited for");
            assert_eq!(accepted.len(), clients.len());
            Ok(())
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_without_descriptors_continues_as_soon_as_a_client_has_closed() {
    // The limit belongs to the process, so this runs in a process of its own.
    crate::forked::in_child(|| {
        run_virtually(async {
            let reports = reports();
            let (server, leaving) = {
                let server = Server::builder().bind("127.0.0.1:0").await?.serve(drain)?;
                let client = client_of(&server).await?;
                (server, client)
            };
            let mut fill = take_all_descriptors()?;
            drop(fill.pop());
            let start = Instant::now();
            let waiting = TcpStream::connect(server.local_addrs()[0]).await?;
            turns_until(|| !reports.borrow().is_empty()).await;
            sleep(Duration::from_millis(3_500)).await;
            assert_eq!(reports.borrow().len(), 4, "one at once, and one after each second of rest");
            assert_eq!(server.clients(), 1);
            let start = start + start.elapsed();
            drop(leaving);
            waiting.shutdown(std::net::Shutdown::Write)?;
            assert_eq!(rest(waiting).await?, "bye");
            assert_eq!(start.elapsed(), Duration::ZERO, "the rest of the second was not waited for");
            let told = reports.take();
            assert_eq!(told.len(), 4, "{told:?}");
            assert!(told.iter().all(|told| told.contains("cannot accept a connection at 127.0.0.1:")), "{told:?}");
            Ok(())
        });
    });
}
