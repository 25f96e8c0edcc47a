//! A waker is foreign code in `clone`, `wake` and `drop`: an operation that such code completes is
//! never lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt, StreamExt};
use picot_loop::{EventLoop, Instant, spawn, yield_now};
use picot_net::{
    ConnectOptions, Connections, Reader, Resolve, Resolving, Server, TcpListener, TcpStream, UdpSocket, Writer, duplex,
    lookup,
};

use crate::trace::Trace;
use crate::{alone, pair, run};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Clone,
    Wake,
    Drop,
}

type Hook = (Call, Box<dyn FnOnce()>);

thread_local! {
    /// The call of the waker in which an action is to be done, once.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static WAKES: Cell<usize> = const { Cell::new(0) };
}

fn called(call: Call) {
    let hook = HOOK.with_borrow_mut(|hook| hook.take_if(|(at, _)| *at == call));
    if let Some((_, hook)) = hook {
        hook();
    }
}

/// A waker that runs the hook. No two clones of it are equal, so that each poll clones it again.
fn waker(number: usize) -> Waker {
    fn clone(data: *const ()) -> RawWaker {
        called(Call::Clone);
        RawWaker::new(data, &VTABLE)
    }
    fn wake(data: *const ()) {
        wake_by_ref(data);
        drop_it(data);
    }
    fn wake_by_ref(_: *const ()) {
        WAKES.set(WAKES.get() + 1);
        called(Call::Wake);
    }
    fn drop_it(_: *const ()) {
        called(Call::Drop);
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_it);
    // SAFETY: The pointer is a number, which no function dereferences.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::without_provenance(number), &VTABLE)) }
}

/// Polls `future`, which is pending at first, with wakers that run `fulfil` in one of their calls,
/// and from then on only when it was woken. It must become ready.
async fn check<T>(name: &str, call: Call, future: impl Future<Output = T>, fulfil: impl FnOnce() + 'static) -> T {
    let mut future = Box::pin(future);
    WAKES.set(0);
    let fulfil = Rc::new(Cell::new(Some(Box::new(fulfil) as Box<dyn FnOnce()>)));
    let again = fulfil.clone();
    let hook = move || again.take().into_iter().for_each(|fulfil| fulfil());
    HOOK.set(Some((call, Box::new(hook))));
    // Another waker makes the first one be dropped. In the other cases one poll must be enough,
    // because a second poll would hide what the first one lost.
    let polls = if call == Call::Drop { 2 } else { 1 };
    for number in 0..polls {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker(number))) {
            return value;
        }
    }
    // The wanted call did not happen; for a wake, this causes it.
    if let Some(fulfil) = fulfil.take() {
        fulfil();
    }
    let start = Instant::now();
    for turn in 0.. {
        if WAKES.replace(0) > 0 {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker(turn + polls)));
            if let Poll::Ready(value) = polled {
                HOOK.take();
                return value;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{name}: the action in {call:?} is lost");
        yield_now().await;
    }
    unreachable!()
}

const CALLS: [Call; 3] = [Call::Clone, Call::Wake, Call::Drop];

#[test]
fn an_action_of_a_waker_on_a_stream_in_memory_is_not_lost() {
    run(async {
        for call in CALLS {
            let (mut near, mut far) = duplex(2);
            let mut buffer = [0; 8];
            let read = check("read", call, near.read(&mut buffer), move || {
                block_on(far.write_all(b"x")).unwrap();
                std::mem::forget(far);
            });
            assert_eq!(read.await?, 1);
            let (mut near, far) = duplex(2);
            assert_eq!(check("read of an end", call, near.read(&mut [0; 4]), move || drop(far)).await?, 0);
            let (mut near, mut far) = duplex(2);
            near.write_all(b"xy").await?;
            let written = check("write", call, near.write(b"z"), move || {
                block_on(far.read(&mut [0; 4])).unwrap();
                std::mem::forget(far);
            });
            assert_eq!(written.await?, 1);
            let (mut near, far) = duplex(2);
            near.write_all(b"xy").await?;
            let written = check("write to no reader", call, near.write(b"z"), move || drop(far)).await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
        Ok(())
    });
}

#[test]
fn an_action_of_a_waker_on_a_socket_is_not_lost() {
    run(async {
        for call in CALLS {
            macro_rules! received {
                ($name:literal, |$stream:ident| $read:expr) => {
                    let (mut $stream, peer) = pair().await?;
                    let peer = peer.into_std();
                    let send = move || {
                        io::Write::write_all(&mut &peer, b"line\n").unwrap();
                        std::mem::forget(peer);
                    };
                    let _ = &mut $stream;
                    check($name, call, $read, send).await?;
                };
            }
            received!("read", |stream| stream.read(&mut [0; 8]));
            received!("peek", |stream| stream.peek(&mut [0; 8]));
            received!("readable", |stream| stream.source().readable());
            received!("read of a trait", |stream| AsyncReadExt::read(&mut stream, &mut [0; 8]));
            received!("read of a half", |stream| async {
                let (mut read, _write) = stream.split();
                read.read(&mut [0; 8]).await
            });
            received!("read_line", |stream| async { Reader::new(stream).read_line().await.map_err(io::Error::from) });
            received!("read_exact", |stream| async {
                Reader::new(stream).read_exact(5).await.map_err(io::Error::from)
            });

            // A peer that reads fulfils a write, in the next turns.
            let (stream, mut peer) = pair().await?;
            let (mut writer, bytes) = (Writer::new(stream), vec![0; 1 << 22]);
            let drain = move || {
                drop(spawn(async move { peer.read_to_end(&mut Vec::new()).await }));
            };
            check("write_all", call, writer.write_all(&bytes), drain).await?;
            writer.close().await?;

            let (one, two) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
            let (address, sender) = (one.local_addr()?, two.into_std());
            let mut buffer = [0; 8];
            let received = check("recv_from", call, one.recv_from(&mut buffer), move || {
                sender.send_to(b"datagram", address).unwrap();
            });
            assert_eq!(received.await?.0, 8);
        }
        Ok(())
    });
}

#[test]
fn an_action_of_a_waker_on_a_full_stream_is_not_lost() {
    run(async {
        for call in CALLS {
            macro_rules! drained {
                ($name:literal, |$stream:ident| $write:expr) => {
                    let ($stream, mut peer) = pair().await?;
                    let bytes = vec![0; 1 << 20];
                    while let Some(written) = poll_once($stream.write_all(&bytes)).await {
                        written?;
                        yield_now().await;
                    }
                    let drain = move || {
                        drop(spawn(async move { peer.read_to_end(&mut Vec::new()).await }));
                    };
                    check($name, call, $write, drain).await?;
                };
            }
            drained!("write_all", |stream| stream.write_all(b"x"));
            drained!("writable", |stream| stream.source().writable());
            let file = std::fs::File::open("Cargo.toml")?;
            drained!("send_file", |stream| stream.send_file(&file, 0..9));
        }
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn an_action_of_a_waker_on_a_unix_socket_is_not_lost() {
    use picot_net::{UnixDatagram, UnixListener, UnixStream};

    let folder = picot_testkit::Folder::new("wakers");
    let path = folder.join("socket");
    run(async {
        for call in CALLS {
            let (stream, peer) = UnixStream::pair()?;
            let peer = peer.into_std();
            let send = move || {
                io::Write::write_all(&mut &peer, b"x").unwrap();
                std::mem::forget(peer);
            };
            check("read", call, stream.read(&mut [0; 8]), send).await?;

            macro_rules! received {
                ($name:literal, |$socket:ident| $receive:expr) => {
                    let ($socket, peer) = UnixDatagram::pair()?;
                    let peer = peer.into_std();
                    let send = move || {
                        peer.send(b"x").unwrap();
                        std::mem::forget(peer);
                    };
                    check($name, call, $receive, send).await?;
                };
            }
            received!("recv", |socket| socket.recv(&mut [0; 8]));
            received!("recv_from", |socket| socket.recv_from(&mut [0; 8]));

            let (socket, peer) = UnixDatagram::pair()?;
            while poll_once(socket.send(b"x")).await.is_some() {
                yield_now().await;
            }
            let peer = peer.into_std();
            // The kernel reports room only when much of the sender's buffer is free.
            let receive = move || {
                while peer.recv(&mut [0; 8]).is_ok() {}
                std::mem::forget(peer);
            };
            check("send", call, socket.send(b"x"), receive).await?;

            let listener = UnixListener::bind(&path)?;
            let other = path.clone();
            let connect = move || std::mem::forget(std::os::unix::net::UnixStream::connect(other).unwrap());
            check("accept", call, listener.accept(), connect).await?;
        }
        Ok(())
    });
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn an_action_of_a_waker_on_tls_is_not_lost() {
    run(async {
        for call in CALLS {
            let (mut stream, mut peer) = crate::tls::connected().await?;
            // Session tickets follow the handshake; they are not data.
            peer.write_all(b"a").await?;
            peer.flush().await?;
            stream.read_exact(&mut [0]).await?;
            let mut buffer = [0; 8];
            // Kept until the read is done, because dropping it would end the stream.
            let peer = Rc::new(RefCell::new(peer));
            let sender = peer.clone();
            let send = move || {
                let peer = &mut *sender.borrow_mut();
                block_on(async {
                    peer.write_all(b"x").await.unwrap();
                    peer.flush().await.unwrap();
                });
            };
            assert_eq!(check("read", call, stream.read(&mut buffer), send).await?, 1);
            drop(peer);

            // Each side of a handshake waits for the other, which starts in a call of the waker.
            let begun = Rc::new(RefCell::new(None));
            let (client, server) = pair().await?;
            let (acceptor, connector) = (crate::tls::acceptor()?, crate::tls::connector()?);
            let place = begun.clone();
            let begin =
                move || _ = place.replace(Some(spawn(async move { connector.connect("localhost", client).await })));
            check("accept", call, acceptor.accept(server), begin).await?;
            let other = begun.take().unwrap();
            other.await.unwrap()?;
            let (client, server) = pair().await?;
            let (acceptor, connector) = (crate::tls::acceptor()?, crate::tls::connector()?);
            let place = begun.clone();
            let begin = move || _ = place.replace(Some(spawn(async move { acceptor.accept(server).await })));
            check("connect", call, connector.connect("localhost", client), begin).await?;
            let other = begun.take().unwrap();
            other.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn an_action_of_a_waker_on_a_transport_is_not_lost() {
    run(async {
        for call in CALLS {
            let connections = Connections::new()?;
            let (stream, _peer) = pair().await?;
            let transport = connections.adopt(stream, Trace::default());
            let other = transport.clone();
            check("closed", call, transport.closed(), move || other.abort()).await;
            let (stream, _peer) = pair().await?;
            let transport = connections.adopt(stream, Trace::default());
            check("wait_empty", call, connections.wait_empty(), move || transport.abort()).await;
        }
        Ok(())
    });
}

#[test]
fn an_action_of_a_waker_on_a_listener_is_not_lost() {
    run(async {
        for call in CALLS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let connect = move || std::mem::forget(std::net::TcpStream::connect(address).unwrap());
            check("accept", call, listener.accept(), connect).await?;
            let mut incoming = listener.incoming();
            check("incoming", call, incoming.next(), connect).await.expect("it has no end")?;
            #[cfg(unix)]
            {
                use std::os::unix::net::UnixStream;
                let folder = picot_testkit::Folder::new("wakers");
                let path = folder.join("socket");
                let listener = picot_net::UnixListener::bind(&path)?;
                let connect = move || std::mem::forget(UnixStream::connect(path).unwrap());
                check("accept at a path", call, listener.accept(), connect).await?;
            }
        }
        Ok(())
    });
}

/// A listener without descriptors waits for a socket that closes, which is not an event of the
/// reactor.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_closes_in_a_waker_ends_the_rest_of_a_listener() {
    // The limit belongs to the process, so this runs in a process of its own.
    crate::forked::in_child(|| {
        run(async {
            for call in [Call::Clone, Call::Drop] {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
                let spare = UdpSocket::bind("127.0.0.1:0").await?;
                let _files = crate::server::take_all_descriptors()?;
                listener.accept().await.unwrap_err();
                let mut accepting = Box::pin(listener.accept());
                WAKES.set(0);
                HOOK.set(Some((call, Box::new(|| drop(spare)))));
                let accepted =
                    (0..2).any(|number| accepting.as_mut().poll(&mut Context::from_waker(&waker(number))).is_ready());
                assert!(HOOK.take().is_none(), "{call:?} did not come");
                assert!(accepted || WAKES.get() > 0, "the close in {call:?} is lost");
            }
            Ok(())
        });
    });
}

/// A resolver that answers when the test supplies the addresses.
#[derive(Clone, Default)]
struct Late(Rc<Answer>);

#[derive(Default)]
struct Answer {
    addresses: Cell<Option<Vec<SocketAddr>>>,
    waker: Cell<Option<Waker>>,
}

impl Late {
    fn answer(&self, addresses: Vec<SocketAddr>) {
        self.0.addresses.set(Some(addresses));
        self.0.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Resolve for Late {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(poll_fn(|cx| {
            // Cloned first, because the clone may supply the answer.
            self.0.waker.set(Some(cx.waker().clone()));
            self.0.addresses.take().map_or(Poll::Pending, |addresses| Poll::Ready(Ok(addresses)))
        }))
    }
}

#[test]
fn an_action_of_a_waker_on_a_connect_or_lookup_is_not_lost() {
    run(async {
        for call in CALLS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            check("connect", call, TcpStream::connect(address), || {}).await?;
            // By name: the lookup, then a race of two addresses, of which one refuses.
            let refused = TcpListener::bind(alone(8)).await?.local_addr()?;
            let resolver = Late::default();
            let options = ConnectOptions::new().timeout(Duration::from_secs(60)).resolver(resolver.clone());
            let answer = move || resolver.answer(vec![refused, address]);
            let connected = check("connect to a name", call, options.connect("host:1"), answer).await?;
            assert_eq!(connected.peer_addr()?, address);
            // The resolver of the system answers on its own thread.
            let found = check("lookup", call, lookup("a.name.invalid:1"), || {}).await;
            assert!(found.is_err(), "{found:?}");
        }
        Ok(())
    });
}

#[test]
fn an_action_of_a_waker_on_a_server_is_not_lost() {
    run(async {
        for (call, by_protocol) in CALLS.into_iter().flat_map(|call| [(call, false), (call, true)]) {
            // A server with a client.
            let serve = async || {
                let builder = Server::builder().bind("127.0.0.1:0").await?;
                let server = match by_protocol {
                    true => builder.serve_protocol(Trace::default)?,
                    false => builder.serve(async |stream, _| stream.read(&mut [0; 8]).await.map(drop))?,
                };
                let client = TcpStream::connect(server.local_addrs()[0]).await?;
                while server.clients() == 0 {
                    yield_now().await;
                }
                io::Result::Ok((Rc::new(server), client))
            };
            let end = |server: &Rc<Server>| {
                let server = server.clone();
                move || {
                    server.close();
                    server.abort_clients();
                }
            };
            let (server, _client) = serve().await?;
            check("wait_closed", call, server.wait_closed(), end(&server)).await;
            let (server, _client) = serve().await?;
            check("serve_forever", call, server.serve_forever(), end(&server)).await?;
            let (server, _client) = serve().await?;
            let shutdown = server.shutdown(Duration::from_secs(60));
            assert_eq!(check("shutdown", call, shutdown, end(&server)).await, 0);
            assert_eq!(server.clients(), 0);
        }
        Ok(())
    });
}

/// Two tasks that read one end: both wait, and each gets a byte.
#[test]
fn any_number_of_tasks_can_wait_on_a_stream_in_memory_and_all_are_woken() {
    block_on(async {
        for readers in [2, 3, 17, 18, 40] {
            let (near, mut far) = duplex(64);
            let near = Rc::new(RefCell::new(near));
            let read = || {
                let near = near.clone();
                Box::pin(poll_fn(move |cx| {
                    let mut byte = [0];
                    Pin::new(&mut *near.borrow_mut()).poll_read(cx, &mut byte)
                }))
            };
            let mut reads: Vec<_> = (0..readers).map(|_| read()).collect();
            let woken: Vec<_> = (0..readers).map(|_| std::sync::Arc::new(Flag::default())).collect();
            let mut poll = |index: usize| {
                let waker = Waker::from(woken[index].clone());
                reads[index].as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
            };
            assert!(!(0..readers).any(&mut poll));
            far.write_all(&vec![7; readers]).await.unwrap();
            // The woken tasks read: all of them, because those beyond the limit were woken before,
            // and wait again.
            let mut left: Vec<_> = (0..readers).collect();
            for _ in 0..readers {
                left.retain(|&index| {
                    !(woken[index].0.swap(false, std::sync::atomic::Ordering::Relaxed) && poll(index))
                });
            }
            assert_eq!(left, [], "{readers} readers");
        }
    });
}

#[derive(Default)]
struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Outside of a run, a waker may make turns of the loop, in which the wait is fulfilled.
#[test]
fn a_turn_that_a_waker_makes_is_not_lost_to_a_wait_for_an_empty_set() {
    for call in [Call::Clone, Call::Drop] {
        let event_loop = Rc::new(EventLoop::new().unwrap());
        let (connections, _peer) = event_loop
            .run_until_complete(async {
                let (peer, stream) = pair().await?;
                let connections = Rc::new(Connections::new()?);
                connections.adopt(stream, Trace::default());
                yield_now().await;
                io::Result::Ok((connections, peer.into_std()))
            })
            .unwrap()
            .unwrap();
        let (inside, set) = (event_loop.clone(), connections.clone());
        let turns = move || {
            set.abort_all();
            while !set.is_empty() {
                inside.turn(Some(Duration::ZERO)).unwrap();
            }
        };
        HOOK.set(Some((call, Box::new(turns))));
        WAKES.set(0);
        let mut wait = Box::pin(connections.wait_empty());
        // A waker that is dropped is one that the wait has cloned.
        let mut poll = |number| {
            let waker = ManuallyDrop::new(waker(number));
            wait.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        };
        let is_over = poll(0) || (call == Call::Drop && poll(1));
        assert!(connections.is_empty(), "{call:?}: the waker has acted");
        assert!(is_over || (WAKES.get() > 0 && poll(2)), "{call:?}: the wake is lost");
    }
}
