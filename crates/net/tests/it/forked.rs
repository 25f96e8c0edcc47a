//! Forked children: objects that they drop belong to the parent, and a drop in the child has no
//! effect outside of the child.

use std::cell::RefCell;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::EventLoop;
use picot_net::{
    Connections, LoopGroup, Server, TcpListener, TcpStream, Transport, UnixDatagram, UnixListener, UnixStream,
};

use crate::trace::Trace;

/// Runs `child` in a process that is forked from this thread and that ends after it. The
/// thread-locals of this thread are inherited.
pub(crate) fn in_child(mut child: impl FnMut() + Send + Sync + 'static) {
    let mut command = Command::new("true");
    let run = move || catch_unwind(AssertUnwindSafe(&mut child)).map_err(|_| io::ErrorKind::Other.into());
    // SAFETY: The closure uses its own memory, system calls and the allocator, which no other
    // thread of this process leaves locked across a fork.
    unsafe { command.pre_exec(run) };
    assert!(command.status().unwrap().success());
}

/// All objects whose end has an effect outside of their process.
struct Everything {
    listener: UnixListener,
    datagrams: UnixDatagram,
    server: Server,
    unix_server: Server,
    protocols: Server,
    connections: Connections,
    clients: Vec<TcpStream>,
    unix_client: UnixStream,
    group: LoopGroup<()>,
}

thread_local! {
    static INHERITED: RefCell<Option<(Everything, EventLoop)>> = const { RefCell::new(None) };
}

/// The transport of a server's protocol, for the parent to read the options of its socket.
type Kept = Rc<RefCell<Option<Transport>>>;

thread_local! {
    static SERVERS: RefCell<Option<(Server, Server)>> = const { RefCell::new(None) };
}

#[test]
fn closing_and_aborting_clients_in_a_forked_child_leaves_the_parents_connections_open() {
    let event_loop = EventLoop::new().unwrap();
    let kept = Kept::default();
    let (clients, streams) = event_loop
        .run_until_complete(async {
            let trace = Trace::default();
            let keep = kept.clone();
            *trace.on_made.borrow_mut() = Some(Box::new(move |transport| _ = keep.replace(Some(transport.clone()))));
            let protocols = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(move || trace.clone())?;
            let streams = Rc::new(RefCell::new(Vec::new()));
            let keep = streams.clone();
            let server = Server::builder().bind("127.0.0.1:0").await?.serve(move |stream, peer| {
                // A second descriptor of the same socket, to read its options.
                keep.borrow_mut().push(stream.socket().try_clone());
                echo(stream, peer)
            })?;
            let clients = [
                TcpStream::connect(server.local_addrs()[0]).await?,
                TcpStream::connect(protocols.local_addrs()[0]).await?,
            ];
            while streams.borrow().is_empty() || kept.borrow().is_none() {
                picot_loop::yield_now().await;
            }
            SERVERS.set(Some((server, protocols)));
            io::Result::Ok((clients, streams))
        })
        .unwrap()
        .unwrap();
    in_child(|| {
        SERVERS.with_borrow(|servers| {
            let (server, protocols) = servers.as_ref().expect("the thread's locals are inherited");
            for server in [server, protocols] {
                server.close_clients();
                server.abort_clients();
            }
        });
    });
    let servers = SERVERS.take();
    event_loop
        .run_until_complete(async {
            let transport = kept.take().unwrap();
            assert_eq!(transport.with_socket(|socket| socket.linger())?, None, "a protocol");
            let stream = streams.borrow_mut().remove(0)?;
            assert_eq!(stream.linger()?, None, "a stream");
            clients[0].write_all(b"still").await?;
            assert_eq!(clients[0].read(&mut [0; 8]).await?, 5);
            // In the parent, the same call is a reset.
            let (server, protocols) = servers.as_ref().unwrap();
            server.abort_clients();
            protocols.abort_clients();
            drop(stream);
            for client in &clients {
                let error = client.read(&mut [0; 8]).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            }
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
}

async fn echo(stream: TcpStream, _: std::net::SocketAddr) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            length => stream.write_all(&bytes[..length]).await?,
        }
    }
}

#[test]
fn drops_in_a_forked_child_change_nothing_for_the_parent() {
    let folder = picot_testkit::Folder::new("forked");
    let paths = ["listener", "datagrams", "server"].map(|name| folder.join(name));
    let event_loop = EventLoop::new().unwrap();
    let everything = event_loop
        .run_until_complete(async {
            let server = Server::builder().bind("127.0.0.1:0").await?.serve(echo)?;
            let protocols = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(Trace::default)?;
            let own = TcpListener::bind("127.0.0.1:0").await?;
            let mut clients = Vec::new();
            for address in [server.local_addrs()[0], protocols.local_addrs()[0], own.local_addr()?] {
                clients.push(TcpStream::connect(address).await?);
            }
            let connections = Connections::new()?;
            drop(connections.adopt(own.accept().await?.0, Trace::default()));
            let unix_server = Server::builder()
                .listener(UnixListener::bind(&paths[2])?)
                .serve(|stream: UnixStream, _| async move { stream.read(&mut [0; 64]).await.map(drop) })?;
            let unix_client = UnixStream::connect(&paths[2]).await?;
            while server.clients() + protocols.clients() + unix_server.clients() < 3 {
                picot_loop::yield_now().await;
            }
            io::Result::Ok(Everything {
                listener: UnixListener::bind(&paths[0])?,
                datagrams: UnixDatagram::bind(&paths[1])?,
                server,
                unix_server,
                protocols,
                connections,
                clients,
                unix_client,
                group: LoopGroup::start(2, |_| std::future::pending())?,
            })
        })
        .unwrap()
        .unwrap();

    INHERITED.set(Some((everything, event_loop)));
    in_child(|| {
        // This would hang if the drop waited for threads that do not exist here.
        drop(INHERITED.take().expect("the thread's locals are inherited"));
    });
    let (everything, event_loop) = INHERITED.take().unwrap();

    assert!(paths.iter().all(|path| path.exists()), "{paths:?}");
    event_loop
        .run_until_complete(async {
            let Everything { clients, unix_client, server, protocols, connections, unix_server, .. } = &everything;
            assert_eq!((server.clients(), protocols.clients(), connections.len(), unix_server.clients()), (1, 1, 1, 1));
            clients[0].write_all(b"still").await?;
            assert_eq!(clients[0].read(&mut [0; 8]).await?, 5);
            let ended = futures_lite::future::poll_once(clients[1].read(&mut [0; 8])).await;
            assert!(ended.is_none(), "{ended:?}");
            let ended = futures_lite::future::poll_once(clients[2].read(&mut [0; 8])).await;
            assert!(ended.is_none(), "{ended:?}");
            let ended = futures_lite::future::poll_once(unix_client.read(&mut [0; 8])).await;
            assert!(ended.is_none(), "{ended:?}");
            drop(UnixStream::connect(&paths[0]).await?);
            drop(everything.listener.accept().await?);
            UnixDatagram::unbound()?.send_to(b"hello", &paths[1]).await?;
            assert_eq!(everything.datagrams.recv(&mut [0; 8]).await?, 5);
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    // The loops of the group still run, and answer.
    let (sender, receiver) = std::sync::mpsc::channel();
    everything.group.remote(1).call_soon(move || sender.send(7).unwrap()).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(7));
    drop(everything);
    event_loop.run_until_complete(picot_loop::yield_now()).unwrap();
    drop(event_loop);
    assert!(!paths.iter().any(|path| path.exists()), "the parent removes its paths itself");
    std::fs::remove_dir(folder.path()).unwrap();
}
