//! Datagrams: whole, in order, also empty; errors of the network do not end a socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use futures_lite::future::poll_once;
use picot_net::UdpSocket;

use crate::run;

async fn sockets() -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?))
}

#[test]
fn datagrams_arrive_whole_and_in_order_and_empty_ones_too() {
    run(async {
        let (one, two) = sockets().await?;
        for datagram in [&b"first"[..], b"", b"third"] {
            assert_eq!(one.send_to(datagram, two.local_addr()?).await?, datagram.len());
        }
        let mut buffer = [0; 100];
        for expected in [&b"first"[..], b"", b"third"] {
            let (length, from) = two.recv_from(&mut buffer).await?;
            assert_eq!((&buffer[..length], from), (expected, one.local_addr()?));
        }
        Ok(())
    });
}

#[test]
fn a_connected_socket_sends_to_its_peer_and_refuses_others() {
    run(async {
        let (one, two) = sockets().await?;
        assert_eq!(one.peer_addr(), None);
        one.connect(two.local_addr()?).await?;
        assert_eq!(one.peer_addr(), Some(two.local_addr()?));
        assert_eq!(one.send(b"by send").await?, 7);
        assert_eq!(one.send_to(b"by send_to", two.local_addr()?).await?, 10);
        let other: SocketAddr = (Ipv4Addr::LOCALHOST, 9).into();
        let error = one.send_to(b"elsewhere", other).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mut buffer = [0; 100];
        assert_eq!(two.peek_from(&mut buffer).await?.0, 7);
        assert_eq!(two.recv(&mut buffer).await?, 7);
        assert_eq!(two.recv(&mut buffer).await?, 10);
        Ok(())
    });
}

/// Where the network tells the sender, which Linux does on loopback.
#[cfg(target_os = "linux")]
#[test]
fn an_undeliverable_datagram_is_one_error_and_the_socket_works_on() {
    run(async {
        let (one, two) = sockets().await?;
        let address = two.local_addr()?;
        drop(two);
        one.connect(address).await?;
        one.send(b"to nobody").await?;
        let mut buffer = [0; 100];
        assert_eq!(one.recv(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let two = UdpSocket::bind(address).await?;
        one.send(b"to somebody").await?;
        assert_eq!(two.recv(&mut buffer).await?, 11);
        two.send_to(b"answer", one.local_addr()?).await?;
        assert_eq!(one.recv(&mut buffer).await?, 6);
        Ok(())
    });
}

#[test]
fn a_dropped_receive_loses_no_datagram() {
    run(async {
        let (one, two) = sockets().await?;
        let mut buffer = [0; 100];
        assert!(poll_once(two.recv(&mut buffer)).await.is_none());
        one.send_to(b"kept", two.local_addr()?).await?;
        assert_eq!(two.recv(&mut buffer).await?, 4);
        Ok(())
    });
}

#[test]
fn multicast_and_broadcast_can_be_set_and_a_group_hears_what_is_sent_to_it() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 77, 77);
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.set_broadcast(true)?;
        assert!(socket.socket().broadcast()?);
        socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        let sender = UdpSocket::bind("127.0.0.1:0").await?;
        sender.socket().set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        sender.send_to(b"all", (group, socket.local_addr()?.port()).into()).await?;
        let mut buffer = [0; 100];
        assert_eq!(socket.recv_from(&mut buffer).await?, (3, sender.local_addr()?));
        socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        Ok(())
    });
}

#[test]
fn a_socket_goes_to_std_and_back_with_its_peer() {
    run(async {
        let (one, two) = sockets().await?;
        one.connect(two.local_addr()?).await?;
        let one = UdpSocket::from_std(one.into_std())?;
        assert_eq!(one.peer_addr(), Some(two.local_addr()?));
        one.send(b"still").await?;
        assert_eq!(two.recv(&mut [0; 8]).await?, 5);
        Ok(())
    });
}
