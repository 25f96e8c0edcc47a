//! Unix sockets: data, halves, and the life of their paths.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use picot_loop::{LoopHandle, sleep, spawn};
use picot_net::{UnixDatagram, UnixListener, UnixStream, open_unix_connection, start_unix_server};
use picot_testkit::Folder;

use crate::allocations::held_bytes;
use crate::run;

/// A path in a folder of its own, which is removed at the end.
struct Path(PathBuf, #[expect(dead_code, reason = "its drop removes the folder")] Folder);

impl Path {
    fn new(name: &str) -> Path {
        let folder = Folder::new(name);
        Path(folder.join("socket"), folder)
    }
}

#[test]
fn a_client_and_a_listener_talk() {
    let path = Path::new("talk");
    run(async {
        let listener = UnixListener::bind(&path.0)?;
        let mut client = UnixStream::connect(&path.0).await?;
        let mut server = listener.incoming().next().await.unwrap()?;
        client.write_all(b"question").await?;
        client.close().await?;
        let mut text = String::new();
        server.read_to_string(&mut text).await?;
        assert_eq!(text, "question");
        server.write_all(b"answer").await?;
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "answer");
        assert_eq!(client.peer_addr()?.as_pathname(), Some(&*path.0));
        assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path.0));
        Ok(())
    });
}

/// Linux connects at once or not at all.
#[cfg(target_os = "linux")]
#[test]
fn connecting_does_not_wait() {
    let path = Path::new("at-once");
    run(async {
        let listener = UnixListener::bind(&path.0)?;
        let client = poll_once(UnixStream::connect(&path.0)).await.expect("no wait")?;
        poll_once(client.write_all(b"hello")).await.expect("no wait")?;
        let (server, _) = listener.accept().await?;
        assert_eq!(server.read(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn a_stale_socket_is_replaced_and_the_own_path_is_removed() {
    let path = Path::new("stale");
    drop(std::os::unix::net::UnixListener::bind(&path.0).unwrap());
    assert!(path.0.exists());
    run(async {
        let listener = UnixListener::bind(&path.0)?;
        drop(UnixStream::connect(&path.0).await?);
        drop(listener.accept().await?);
        drop(listener);
        assert!(!path.0.exists());
        assert_eq!(UnixStream::connect(&path.0).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        Ok(())
    });
}

/// Binds a socket of each kind.
fn bind_each(path: &std::path::Path) -> [io::Result<()>; 2] {
    [UnixListener::bind(path).map(drop), UnixDatagram::bind(path).map(drop)]
}

#[test]
fn a_file_that_is_not_a_socket_stays_and_the_error_names_it() {
    let path = Path::new("file");
    run(async {
        let place = |what: &str, put: &dyn Fn() -> io::Result<()>, take: &dyn Fn() -> io::Result<()>| {
            put()?;
            for bound in bind_each(&path.0) {
                let error = bound.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
                let expected = format!("{}: {what} is there, not a socket", path.0.display());
                assert!(error.to_string().ends_with(&expected), "{error}");
            }
            take()
        };
        place("a file", &|| fs::write(&path.0, "precious"), &|| {
            assert_eq!(fs::read_to_string(&path.0)?, "precious");
            fs::remove_file(&path.0)
        })?;
        place("a directory", &|| fs::create_dir(&path.0), &|| fs::remove_dir(&path.0))?;
        place("a symbolic link", &|| std::os::unix::fs::symlink("nowhere", &path.0), &|| fs::remove_file(&path.0))
    });
}

#[test]
fn a_path_with_a_live_owner_is_in_use_and_the_owner_sees_no_connection() {
    use std::os::unix::net;

    let path = Path::new("owned");
    run(async {
        let refused = || {
            for bound in bind_each(&path.0) {
                let error = bound.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
                assert!(error.to_string().ends_with(": a process has a socket there"), "{error}");
            }
        };
        let listener = UnixListener::bind(&path.0)?;
        refused();
        let accepted = listener.source().get_ref().accept();
        assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::WouldBlock, "the probe has made no connection");
        let left = listener.into_std();
        refused();
        drop(left);
        let datagrams = net::UnixDatagram::bind(&path.0).unwrap_err();
        assert_eq!(datagrams.kind(), io::ErrorKind::AddrInUse, "the path is there, and its socket is gone");
        assert!(bind_each(&path.0).iter().all(Result::is_ok));
        let datagrams = UnixDatagram::bind(&path.0)?;
        refused();
        // A socket that is connected to a third refuses others, and still counts as an owner.
        let (third, own) = (path.0.with_extension("third"), UnixDatagram::unbound()?);
        let third_socket = UnixDatagram::bind(&third)?;
        datagrams.connect(&third)?;
        refused();
        drop((third_socket, datagrams, own));
        assert!(bind_each(&path.0).iter().all(Result::is_ok));
        assert!(!path.0.exists());
        Ok(())
    });
}

/// The working directory belongs to the process, so this runs in a process of its own.
#[test]
fn a_relative_path_is_removed_after_the_directory_has_changed() {
    let path = Path::new("relative");
    let folder = path.0.parent().unwrap().to_path_buf();
    crate::forked::in_child(move || {
        std::env::set_current_dir(&folder).unwrap();
        run(async {
            let sockets = (UnixListener::bind("listener")?, UnixDatagram::bind("datagrams")?);
            std::env::set_current_dir("/")?;
            drop(sockets);
            Ok(())
        });
    });
    assert_eq!(fs::read_dir(path.0.parent().unwrap()).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_are_bound_connected_to_and_sent_to_alike_and_end_with_their_sockets() {
    let name = |kind: &str| format!("\0picot-net-{}-{kind}", std::process::id());
    run(async {
        let (stream, datagram) = (name("stream"), name("datagram"));
        for _ in 0..2 {
            let listener = UnixListener::bind(&stream)?;
            let client = UnixStream::connect(&stream).await?;
            let (server, _) = listener.accept().await?;
            client.write_all(b"hello").await?;
            assert_eq!(server.read(&mut [0; 8]).await?, 5);
            let error = UnixListener::bind(&stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&format!("listen at @{}", &stream[1..])), "{error}");

            let (receiver, sender) = (UnixDatagram::bind(&datagram)?, UnixDatagram::unbound()?);
            sender.send_to(b"one", &datagram).await?;
            sender.connect(&datagram)?;
            sender.send(b"three").await?;
            assert_eq!((receiver.recv(&mut [0; 8]).await?, receiver.recv(&mut [0; 8]).await?), (3, 5));
        }
        let error = UnixStream::connect(&stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        Ok(())
    });
}

#[test]
fn all_functions_refuse_malformed_paths() {
    run(async {
        let long = "x".repeat(200);
        for (path, reason) in [("", "empty"), ("a\0b", "a zero byte"), (&long, "200 bytes")] {
            let (unbound, peer) = (UnixDatagram::unbound()?, std::path::Path::new(path));
            let [listened, bound] = bind_each(peer);
            let connected = UnixStream::connect(path).await.map(drop);
            for result in
                [listened, bound, connected, unbound.connect(path), unbound.send_to(b"", path).await.map(drop)]
            {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path:?}: {error}");
                assert!(error.to_string().contains(reason), "{path:?}: {error}");
                assert!(!error.to_string().contains('\0'), "{path:?}: {error}");
            }
        }
        Ok(())
    });
}

/// Linux refuses a connection to a full backlog instead of queueing it.
#[cfg(target_os = "linux")]
#[test]
fn connecting_to_a_full_backlog_waits_for_room_and_ends_with_the_listener() {
    let path = Path::new("backlog");
    run(async {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(&path.0)?)?;
        socket.listen(0)?;
        let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())?;
        let first = UnixStream::connect(&path.0).await?;
        let connect = || {
            let path = path.0.clone();
            spawn(async move { UnixStream::connect(path).await })
        };
        let (second, turns) = (connect(), || LoopHandle::current().metrics().snapshot().turns);
        let before = turns();
        sleep(Duration::from_millis(30)).await;
        assert!(!second.is_finished());
        assert!(turns() - before < 30, "{} turns in 30 ms", turns() - before);
        drop(listener.accept().await?);
        drop(second.await.unwrap()?);
        let third = connect();
        sleep(Duration::from_millis(2)).await;
        drop((first, listener));
        assert_eq!(third.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn a_path_that_another_socket_has_taken_is_not_removed() {
    let path = Path::new("taken");
    run(async {
        let old = UnixListener::bind(&path.0)?;
        fs::remove_file(&path.0)?;
        let new = UnixListener::bind(&path.0)?;
        drop(old);
        drop(UnixStream::connect(&path.0).await?);
        drop(new);
        assert!(!path.0.exists());
        Ok(())
    });
}

#[test]
fn a_listener_that_becomes_one_of_std_keeps_its_path() {
    let path = Path::new("std");
    run(async {
        let std = UnixListener::bind(&path.0)?.into_std();
        let listener = UnixListener::from_std(std)?;
        drop(UnixStream::connect(&path.0).await?);
        drop(listener);
        assert!(path.0.exists(), "the creator of the path removes it");
        Ok(())
    });
}

#[test]
fn converting_sockets_with_paths_to_std_leaks_nothing() {
    let path = Path::new("leak");
    run(async {
        let round = || {
            drop(UnixListener::bind(&path.0)?.into_std());
            drop(UnixDatagram::bind(&path.0)?.into_std());
            io::Result::Ok(())
        };
        // The table of the reactor grows first.
        round()?;
        let before = held_bytes();
        for _ in 0..100 {
            round()?;
        }
        assert_eq!(held_bytes() - before, 0, "bytes held for a hundred rounds");
        Ok(())
    });
}

#[test]
fn a_datagram_socket_replaces_a_stale_one_and_keeps_its_path_when_it_becomes_one_of_std() {
    let path = Path::new("stale-datagram");
    drop(std::os::unix::net::UnixDatagram::bind(&path.0).unwrap());
    assert!(path.0.exists());
    run(async {
        let (socket, client) = (UnixDatagram::bind(&path.0)?, UnixDatagram::unbound()?);
        client.send_to(b"to the new one", &path.0).await?;
        assert_eq!(socket.recv(&mut [0; 20]).await?, 14);
        let socket = UnixDatagram::from_std(socket.into_std())?;
        assert!(path.0.exists());
        client.send_to(b"still", &path.0).await?;
        assert_eq!(socket.recv(&mut [0; 20]).await?, 5);
        drop(socket);
        assert!(path.0.exists(), "the creator of the path removes it");
        Ok(())
    });
}

#[test]
fn a_connection_and_a_server_at_a_path_by_the_names_of_asyncio() {
    let path = Path::new("asyncio");
    run(async {
        let server = start_unix_server(&path.0, |mut reader, mut writer| async move {
            while let Some(line) = reader.read_line().await? {
                writer.write_all(format!("{}\n", line.to_uppercase()).as_bytes()).await?;
            }
            writer.write_all(b"that is all").await
        })?;
        let (mut reader, mut writer) = open_unix_connection(&path.0).await?;
        writer.write_all(b"hello\nyou\n").await?;
        assert_eq!(reader.read_line().await?.as_deref(), Some("HELLO"));
        writer.close().await?;
        assert_eq!(reader.read_to_end().await?, b"YOU\nthat is all");
        server.close();
        server.wait_closed().await;
        assert!(!path.0.exists());
        assert_eq!(open_unix_connection(&path.0).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn an_error_of_a_handler_at_a_path_is_reported_with_the_source_location_of_its_server() {
    let path = Path::new("error");
    let told = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let log = told.clone();
        LoopHandle::current().set_error_hook(move |report| log.borrow_mut().push(report.to_string()));
        let server = start_unix_server(&path.0, |_, _| async { Err(io::Error::other("no such luck")) })?;
        let (mut reader, _writer) = open_unix_connection(&path.0).await?;
        assert_eq!(reader.read_line().await?, None);
        server.close();
        server.wait_closed().await;
        Ok(())
    });
    let told = told.take();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["no such luck", &format!("client at {}", path.0.display()), "tests/it/unix.rs"] {
        assert!(told[0].contains(part), "{told:?}");
    }
}

#[test]
fn a_pair_carries_data_and_converts_to_std_and_back() {
    run(async {
        let (one, two) = UnixStream::pair()?;
        assert!(poll_once(two.read(&mut [0; 8])).await.is_none());
        let one = UnixStream::from_std(one.into_std())?;
        one.write_all(b"hello").await?;
        assert_eq!(two.read(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn a_dropped_write_half_is_an_end_for_the_peer() {
    run(async {
        let (one, mut two) = UnixStream::pair()?;
        let (mut read, mut write) = one.split();
        write.write_all(b"last words").await?;
        drop(write);
        let mut text = String::new();
        two.read_to_string(&mut text).await?;
        assert_eq!(text, "last words");
        two.write_all(b"heard").await?;
        drop(two);
        let mut text = String::new();
        read.read_to_string(&mut text).await?;
        assert_eq!(text, "heard");
        Ok(())
    });
}

#[test]
fn datagrams_arrive_whole_and_in_order() {
    let path = Path::new("datagram");
    run(async {
        let server = UnixDatagram::bind(&path.0)?;
        let client = UnixDatagram::unbound()?;
        client.send_to(b"one", &path.0).await?;
        client.connect(&path.0)?;
        client.send(b"").await?;
        client.send(b"three").await?;
        let mut buffer = [0; 100];
        let (length, from) = server.recv_from(&mut buffer).await?;
        assert_eq!((&buffer[..length], from.is_unnamed()), (&b"one"[..], true));
        assert_eq!(server.recv(&mut buffer).await?, 0);
        assert_eq!(server.recv(&mut buffer).await?, 5);
        drop(server);
        assert!(!path.0.exists());
        assert!(client.send(b"to no socket").await.is_err());
        Ok(())
    });
}

#[test]
fn a_full_peer_makes_a_datagram_wait_and_a_dropped_send_sends_nothing() {
    run(async {
        let (one, two) = UnixDatagram::pair()?;
        let mut sent = 0_u32;
        while poll_once(one.send(&sent.to_ne_bytes())).await.transpose()?.is_some() {
            sent += 1;
        }
        // The send that found no room was dropped, so its datagram is not there.
        let mut buffer = [0; 4];
        for expected in 0..sent {
            two.recv(&mut buffer).await?;
            assert_eq!(u32::from_ne_bytes(buffer), expected);
        }
        assert!(poll_once(two.recv(&mut buffer)).await.is_none());
        one.send(&7_u32.to_ne_bytes()).await?;
        assert_eq!(two.recv(&mut buffer).await?, 4);
        Ok(())
    });
}

/// The kernel does not notify an unconnected sender when a peer that others have filled has room.
#[test]
fn a_datagram_waits_for_a_peer_that_others_have_filled() {
    let path = Path::new("full");
    run(async {
        let (server, client, other) =
            (UnixDatagram::bind(&path.0)?, UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        let mut sent = 0_u32;
        while poll_once(other.send_to(&sent.to_ne_bytes(), &path.0)).await.transpose()?.is_some() {
            sent += 1;
        }
        let waiting = spawn({
            let path = path.0.clone();
            async move { client.send_to(&sent.to_ne_bytes(), path).await }
        });
        // The sender tries again from time to time, and lets the loop sleep in between.
        let turns = || LoopHandle::current().metrics().snapshot().turns;
        let before = turns();
        sleep(Duration::from_millis(30)).await;
        assert!(turns() - before < 30, "{} turns in 30 ms", turns() - before);
        for expected in 0..=sent {
            let mut buffer = [0; 4];
            server.recv(&mut buffer).await?;
            assert_eq!(u32::from_ne_bytes(buffer), expected);
        }
        assert_eq!(waiting.await.unwrap()?, 4);
        Ok(())
    });
}

#[test]
fn sockets_are_found_by_addresses_of_std_too() {
    let (path, other) = (Path::new("address"), Path::new("address-datagrams"));
    run(async {
        let listener = UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_pathname(&path.0)?)?;
        let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
        let (server, from) = listener.accept().await?;
        assert!(from.is_unnamed());
        for error in [
            UnixListener::bind_addr(&from).map(drop).unwrap_err(),
            UnixStream::connect_addr(&from).await.map(drop).unwrap_err(),
            UnixDatagram::bind_addr(&from).map(drop).unwrap_err(),
            UnixDatagram::unbound()?.connect_addr(&from).unwrap_err(),
            UnixDatagram::unbound()?.send_to_addr(b"x", &from).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("unnamed"), "{error}");
        }
        drop((client, server));
        let one = UnixDatagram::bind_addr(&std::os::unix::net::SocketAddr::from_pathname(&other.0)?)?;
        let two = UnixDatagram::unbound()?;
        two.connect_addr(&one.local_addr()?)?;
        two.send(b"hello").await?;
        assert_eq!(one.recv(&mut [0; 16]).await?, 5);
        Ok(())
    });
    assert!(!path.0.exists() && !other.0.exists(), "paths are removed as ever");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_goes_to_a_sender_with_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;

    run(async {
        let name = |text: &str| {
            std::os::unix::net::SocketAddr::from_abstract_name(format!("picot-{text}-{}", std::process::id()))
        };
        let (server, client) = (UnixDatagram::bind_addr(&name("server")?)?, UnixDatagram::bind_addr(&name("client")?)?);
        client.send_to_addr(b"question", &name("server")?).await?;
        let (_, sender) = server.recv_from(&mut [0; 16]).await?;
        assert_eq!(sender.as_abstract_name(), name("client")?.as_abstract_name());
        server.send_to_addr(b"answer", &sender).await?;
        assert_eq!(client.recv(&mut [0; 16]).await?, 6);
        Ok(())
    });
}
