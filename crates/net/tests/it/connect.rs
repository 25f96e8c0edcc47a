//! Making connections, and failing to.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{LoopHandle, spawn};
use picot_net::{TcpListener, TcpStream};

use crate::{pair, run};

#[test]
fn both_ends_know_each_other() {
    run(async {
        let (client, server) = pair().await?;
        assert_eq!(client.peer_addr()?, server.local_addr()?);
        assert_eq!(server.peer_addr()?, client.local_addr()?);
        Ok(())
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        drop(listener);
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let error = TcpListener::bind(listener.local_addr()?).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        Ok(())
    });
}

#[test]
fn of_several_addresses_each_failed_attempt_is_named() {
    run(async {
        let listener = TcpListener::bind("localhost:0").await?;
        let port = listener.local_addr()?.port();
        // Whichever of its addresses the listener has got, connecting by name finds it.
        drop(TcpStream::connect(("localhost", port)).await?);
        drop(listener.accept().await?);
        drop(listener);
        let addresses = picot_net::lookup(("localhost", port)).await?;
        let error = TcpStream::connect(("localhost", port)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        if addresses.len() > 1 {
            assert!(addresses.iter().all(|address| error.to_string().contains(&address.to_string())), "{error}");
        }
        Ok(())
    });
}

#[test]
fn without_a_loop_the_error_says_what_to_do() {
    let error = futures_lite::future::block_on(TcpStream::connect("127.0.0.1:1")).unwrap_err();
    assert!(error.to_string().contains("this thread has no event loop"), "{error}");
    let error = futures_lite::future::block_on(TcpListener::bind("127.0.0.1:0")).unwrap_err();
    assert!(error.to_string().contains("this thread has no event loop"), "{error}");
}

#[test]
fn a_dropped_accept_leaves_nothing_registered_and_loses_no_connection() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        assert!(poll_once(listener.accept()).await.is_none());
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (_server, peer) = listener.accept().await?;
        assert_eq!(peer, client.local_addr()?);
        Ok(())
    });
}

#[test]
fn a_dropped_connect_closes_its_socket() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut connecting = Box::pin(TcpStream::connect(address));
        // Loopback may be quicker than the first poll.
        drop(poll_once(&mut connecting).await);
        drop(connecting);
        let (server, _) = listener.accept().await?;
        assert_eq!(server.read(&mut [0]).await?, 0);
        Ok(())
    });
}

#[test]
fn several_tasks_may_accept_and_each_connection_goes_to_one() {
    run(async {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await?);
        let address = listener.local_addr()?;
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = listener.clone();
                spawn(async move {
                    let mut peers = Vec::new();
                    for _ in 0..5 {
                        peers.push(listener.accept().await.unwrap().1);
                    }
                    peers
                })
            })
            .collect();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let client = TcpStream::connect(address).await?;
            clients.push((client.local_addr()?, client));
        }
        let mut accepted = Vec::new();
        for acceptor in acceptors {
            accepted.extend(acceptor.await.unwrap());
        }
        let mut connected: Vec<_> = clients.iter().map(|(address, _)| *address).collect();
        accepted.sort();
        connected.sort();
        assert_eq!(accepted, connected);
        Ok(())
    });
}

#[test]
fn a_listener_that_was_dropped_refuses() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = spawn(async move { listener.accept().await.map(drop) });
        drop(TcpStream::connect(address).await?);
        accepting.await.unwrap()?;
        assert!(TcpStream::connect(address).await.is_err());
        Ok(())
    });
}

#[test]
fn shutting_down_is_for_each_direction_and_twice_is_fine() {
    run(async {
        let (mut client, mut server) = pair().await?;
        client.shutdown(Shutdown::Write)?;
        client.shutdown(Shutdown::Write)?;
        assert_eq!(server.read(&mut [0]).await?, 0);
        server.write_all(b"still").await?;
        server.close().await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "still");
        client.close().await?;
        Ok(())
    });
}

/// The peer has sent before it was accepted: a server must not wait once more to find that out.
#[test]
fn what_came_before_the_accept_is_read_without_another_wait() {
    use std::io::{Read, Write};
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut clients = Vec::new();
        for n in 0..3_u8 {
            let mut client = std::net::TcpStream::connect(listener.local_addr()?)?;
            client.write_all(&[n; 10])?;
            clients.push(client);
        }
        let turns = LoopHandle::current().metrics().snapshot().turns;
        for (n, client) in clients.iter_mut().enumerate() {
            let (server, _) = listener.accept().await?;
            let mut bytes = [0; 10];
            // Polled once: whatever had to wait for readiness, in either direction, would be pending.
            assert_eq!(poll_once(server.read(&mut bytes)).await.expect("no wait before the read")?, 10);
            poll_once(server.write_all(&bytes)).await.expect("no wait before the write")?;
            client.read_exact(&mut bytes)?;
            assert_eq!(bytes, [n as u8; 10]);
        }
        let turns = LoopHandle::current().metrics().snapshot().turns - turns;
        assert!(turns <= 1, "one wait for all three, and not {turns}");
        Ok(())
    });
}

#[test]
fn shutting_down_a_connection_that_was_reset_is_no_error() {
    run(async {
        let (mut client, server) = pair().await?;
        client.write_all(b"never read").await?;
        // Closing with unread data resets the connection.
        assert_eq!(server.peek(&mut [0]).await?, 1);
        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        for how in [Shutdown::Write, Shutdown::Read, Shutdown::Both] {
            client.shutdown(how)?;
        }
        client.close().await
    });
}

#[test]
#[cfg(unix)]
fn connections_and_listeners_are_not_inherited_by_the_programs_that_are_started() {
    use std::os::fd::AsFd;
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        let (listener, client, server) = (listener.into_std(), client.into_std(), server.into_std());
        for (name, fd) in [("listener", listener.as_fd()), ("client", client.as_fd()), ("server", server.as_fd())] {
            assert!(rustix::io::fcntl_getfd(fd)?.contains(rustix::io::FdFlags::CLOEXEC), "the {name} is inherited");
        }
        Ok(())
    });
}

#[test]
fn streams_of_a_loop_are_gone_with_its_tasks() {
    let event_loop = picot_loop::EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let (client, server) = pair().await?;
            drop(spawn(async move { server.read(&mut [0]).await }));
            picot_loop::yield_now().await;
            drop(client);
            let _ = LoopHandle::current();
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(event_loop.close().unwrap().sources, 0);
}
