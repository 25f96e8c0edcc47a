//! Datagrams arrive whole and in order, even empty ones, and errors of the network do not end a
//! socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(target_os = "linux")]
use std::net::{Ipv6Addr, SocketAddrV6};
use std::rc::Rc;

use futures_lite::future::{or, poll_once};
use picot_loop::spawn;
use picot_net::{UdpOptions, UdpSocket};

use crate::run;

async fn sockets() -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?))
}

#[test]
fn datagrams_arrive_whole_and_in_order_even_empty_ones() {
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

/// Only where the network notifies the sender, which Linux does on loopback.
#[cfg(target_os = "linux")]
#[test]
fn an_undeliverable_datagram_is_one_error_and_the_socket_still_works() {
    run(async {
        let (one, two) = sockets().await?;
        let address = two.local_addr()?;
        drop(two);
        one.connect(address).await?;
        one.send(b"to no socket").await?;
        let mut buffer = [0; 100];
        assert_eq!(one.recv(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let two = UdpSocket::bind(address).await?;
        one.send(b"to a socket").await?;
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

/// A group that no other run of these tests uses, because a socket in a group lets other sockets of
/// the host receive its datagrams.
fn group_v4() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(239, 255, high, low)
}

/// The same for one interface, and so for this machine.
#[cfg(target_os = "linux")]
fn group_v6() -> Ipv6Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, u16::from_be_bytes([high, low]))
}

/// The datagrams that have arrived at a socket, in order.
fn heard(socket: &UdpSocket) -> io::Result<Vec<Vec<u8>>> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 100]);
    loop {
        match socket.source().get_ref().recv(&mut buffer) {
            Ok(length) => heard.push(buffer[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn every_member_of_a_group_receives_its_datagrams_until_it_leaves() {
    run(async {
        let (group, options) = (group_v4(), UdpOptions::new().reuse_address(true));
        let one = options.bind("0.0.0.0:0").await?;
        let port = one.local_addr()?.port();
        let other = options.bind(("0.0.0.0", port)).await?;
        let sender = UdpSocket::bind("127.0.0.1:0").await?;
        sender.socket().set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        for member in [&one, &other] {
            member.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        }
        sender.send_to(b"all", (group, port)).await?;
        let mut buffer = [0; 100];
        for member in [&one, &other] {
            let (length, from) = member.recv_from(&mut buffer).await?;
            assert_eq!((&buffer[..length], from), (&b"all"[..], sender.local_addr()?));
        }
        for member in [&one, &other] {
            member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
            assert_eq!(
                member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap_err().kind(),
                io::ErrorKind::AddrNotAvailable
            );
        }
        sender.send_to(b"unheard", (group, port)).await?;
        sender.send_to(b"you", (Ipv4Addr::LOCALHOST, port)).await?;
        // One of the two receives it. A datagram that is not there before it was not received.
        or(one.source().readable(), other.source().readable()).await?;
        assert_eq!([heard(&one)?, heard(&other)?].concat(), [b"you"]);
        Ok(())
    });
}

/// Uses the first interface that has a route for groups, which loopback has not.
#[cfg(target_os = "linux")]
#[test]
fn a_member_of_an_ipv6_group_receives_its_datagrams_until_it_leaves() {
    run(async {
        let member = match UdpOptions::new().only_v6(true).bind("[::]:0").await {
            Err(error) if picot_net::raw_os_error(&error) == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                eprintln!("skipped: this machine has no IPv6");
                return Ok(());
            }
            member => member?,
        };
        assert!(member.socket().only_v6()?);
        let (sender, port) = (UdpSocket::bind("[::]:0").await?, member.local_addr()?.port());
        for interface in 1..100 {
            let group = SocketAddrV6::new(group_v6(), port, 0, interface);
            if sender.send_to(b"unheard", group).await.is_err() {
                continue;
            }
            member.join_multicast_v6(group_v6(), interface)?;
            sender.send_to(b"all", group).await?;
            let mut buffer = [0; 100];
            let (length, from) = member.recv_from(&mut buffer).await?;
            assert_eq!((&buffer[..length], from.port()), (&b"all"[..], sender.local_addr()?.port()));
            member.leave_multicast_v6(group_v6(), interface)?;
            sender.send_to(b"unheard", group).await?;
            sender.send_to(b"you", (Ipv6Addr::LOCALHOST, port)).await?;
            member.source().readable().await?;
            assert_eq!(heard(&member)?, [b"you"]);
            return Ok(());
        }
        eprintln!("skipped: no interface of this machine has a route for groups over IPv6");
        Ok(())
    });
}

/// Only Linux has a broadcast address on loopback.
#[cfg(target_os = "linux")]
#[test]
fn a_broadcast_is_refused_until_it_is_allowed_and_then_received() {
    run(async {
        let (sender, hearer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("0.0.0.0:0").await?);
        let all = (Ipv4Addr::new(127, 255, 255, 255), hearer.local_addr()?.port());
        assert_eq!(sender.send_to(b"early", all).await.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        sender.set_broadcast(true)?;
        sender.send_to(b"all", all).await?;
        let mut buffer = [0; 100];
        let (length, from) = hearer.recv_from(&mut buffer).await?;
        assert_eq!((&buffer[..length], from), (&b"all"[..], sender.local_addr()?));
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_that_reuse_a_port_share_it_and_others_are_refused() {
    run(async {
        let options = UdpOptions::new().reuse_port(true);
        let first = options.bind("127.0.0.1:0").await?;
        let address = first.local_addr()?;
        let second = options.bind(address).await?;
        assert_eq!(second.local_addr()?, address);
        for other in [UdpOptions::new(), UdpOptions::new().reuse_address(true)] {
            assert_eq!(other.bind(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        // Linux distributes by the address of the sender: with this many senders, both sockets
        // receive some.
        for _ in 0..64 {
            UdpSocket::bind("127.0.0.1:0").await?.send_to(b"x", address).await?;
        }
        let shares = [heard(&first)?.len(), heard(&second)?.len()];
        assert!(shares[0] + shares[1] == 64 && shares.iter().all(|share| *share > 0), "{shares:?}");
        Ok(())
    });
}

#[test]
fn several_tasks_may_receive_and_each_datagram_goes_to_one() {
    run(async {
        let (sender, receiver) = sockets().await?;
        let (address, receiver) = (receiver.local_addr()?, Rc::new(receiver));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(async move {
                    let mut got = Vec::new();
                    for _ in 0..5 {
                        let mut buffer = [0; 8];
                        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 1);
                        got.push(buffer[0]);
                    }
                    got
                })
            })
            .collect();
        for n in 0..20 {
            sender.send_to(&[n], address).await?;
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all.sort();
        assert!(all.into_iter().eq(0..20));
        Ok(())
    });
}

#[test]
fn bytes_that_do_not_fit_are_lost_and_a_datagram_that_is_too_long_is_an_error() {
    run(async {
        let (one, two) = sockets().await?;
        one.send_to(b"longer than that", two.local_addr()?).await?;
        one.send_to(b"next", two.local_addr()?).await?;
        let mut buffer = [0; 4];
        // Windows reports that it did not fit; other systems drop the rest silently.
        #[cfg(unix)]
        assert_eq!(two.recv(&mut buffer).await?, 4);
        #[cfg(windows)]
        assert!(two.recv(&mut buffer).await.is_err());
        assert_eq!(two.recv(&mut buffer).await?, 4);
        assert_eq!(&buffer, b"next");
        assert!(one.send_to(&[0; 1 << 17], two.local_addr()?).await.is_err());
        one.send_to(b"fine", two.local_addr()?).await?;
        assert_eq!(two.recv(&mut buffer).await?, 4);
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

#[test]
fn a_datagram_is_sent_to_the_first_address_of_the_sockets_family() {
    run(async {
        let (one, two) = sockets().await?;
        let to = two.local_addr()?;
        let mut buffer = [0; 16];
        one.send_to(b"1", &to).await?;
        one.send_to(b"2", &[(Ipv6Addr::LOCALHOST, to.port()).into(), to][..]).await?;
        one.send_to(b"3", to.to_string()).await?;
        one.send_to(b"4", ("localhost", to.port())).await?;
        for n in [b"1", b"2", b"3", b"4"] {
            assert_eq!(two.recv(&mut buffer).await?, 1);
            assert_eq!(&buffer[..1], n);
        }
        let error = one.send_to(b"5", Vec::<SocketAddr>::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("the list of addresses is empty"), "{error}");
        Ok(())
    });
}

#[test]
fn a_datagram_that_was_looked_at_is_received_again() {
    run(async {
        let (one, two) = sockets().await?;
        one.connect(two.local_addr()?).await?;
        two.connect(one.local_addr()?).await?;
        one.send(b"kept").await?;
        let mut buffer = [0; 16];
        assert_eq!((two.peek(&mut buffer).await?, two.peek(&mut buffer[..2]).await?), (4, 2));
        assert_eq!((two.recv(&mut buffer).await?, &buffer[..4]), (4, &b"kept"[..]));
        Ok(())
    });
}
