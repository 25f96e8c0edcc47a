//! Addresses: numeric ones, and names that are looked up.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use futures_lite::future::block_on;
use picot_net::{Address, TcpListener, TcpStream, lookup};

use crate::run;

#[test]
fn numeric_addresses_need_no_loop() {
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let forms: [Address; 9] = [
        "127.0.0.1:80".into(),
        "127.0.0.1:80".to_string().into(),
        (&"127.0.0.1:80".to_string()).into(),
        ("127.0.0.1", 80).into(),
        ("127.0.0.1".to_string(), 80).into(),
        (address.ip(), 80).into(),
        (Ipv4Addr::LOCALHOST, 80).into(),
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80).into(),
        address.into(),
    ];
    for form in forms {
        let found = futures_lite::future::block_on(lookup(form)).unwrap();
        assert_eq!(found, [address]);
    }
    let six = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0);
    let forms: [Address; 4] = ["[::1]:80".into(), ("::1", 80).into(), (Ipv6Addr::LOCALHOST, 80).into(), six.into()];
    for form in forms {
        assert_eq!(futures_lite::future::block_on(lookup(form)).unwrap(), [SocketAddr::V6(six)]);
    }
}

#[test]
fn control_characters_of_a_name_are_escaped_where_it_is_shown() {
    for (address, shown) in [(Address::from("a\nb\u{1b}[2J:1"), "a\\nb\\u{1b}[2J:1"), (("a\rb", 1).into(), "a\\rb:1")] {
        assert_eq!(address.to_string(), shown);
    }
}

#[test]
fn names_are_looked_up_on_another_thread() {
    run(async {
        for form in [Address::from("localhost:80"), ("localhost", 80).into()] {
            let found = lookup(form).await?;
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        }
        Ok(())
    });
}

#[test]
fn malformed_addresses_are_errors() {
    run(async {
        // All but the last two could be an IPv6 address with or without a port.
        for text in ["", ":80", "localhost", "localhost:port", "127.0.0.1:99999", "::1:80", "[]:80", "[::1]"] {
            let error = lookup(text).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{text:?}: {error}");
        }
        Ok(())
    });
}

/// A name that needs no name server is found at once, even if lookups at a silent name server
/// occupy every thread of the lane.
#[cfg(target_os = "linux")]
#[test]
fn a_name_in_the_hosts_file_does_not_wait_for_a_thread() {
    use picot_loop::LoopHandle;

    let switch = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let sources = switch.lines().find_map(|line| line.strip_prefix("hosts:")).unwrap_or_default();
    if sources.split_whitespace().next() != Some("files") || !hosts.contains("localhost") {
        return println!("this system does not ask the hosts file first, or `localhost` is not there");
    }
    run(async {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
        let silent: Vec<_> = (0..64)
            .map(|_| {
                let receiver = receiver.clone();
                LoopHandle::current().spawn_lookup(move || receiver.lock().unwrap().recv()).unwrap()
            })
            .collect();
        let found = futures_lite::future::poll_once(lookup("LocalHost:80")).await.expect("no wait")?;
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        drop(sender);
        for lookup in silent {
            lookup.await.unwrap().unwrap_err();
        }
        let resolved: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs("localhost:80")?.collect();
        assert_eq!(found[0], resolved[0], "the system's resolver prefers the same one");
        Ok(())
    });
}

#[test]
fn several_addresses_are_one_address_to_try_in_order() {
    let (one, two): (SocketAddr, SocketAddr) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
    assert_eq!(block_on(lookup([one, two])).unwrap(), [one, two]);
    assert_eq!(block_on(lookup(&[two, one])).unwrap(), [two, one]);
    assert_eq!(block_on(lookup(&vec![one, two])).unwrap(), [one, two]);
    assert_eq!(block_on(lookup(&one)).unwrap(), [one]);
    assert_eq!(Address::from(vec![one]), Address::from(one), "a list of one is that one");
    assert_eq!(Address::from([one, two]).to_string(), "127.0.0.1:1, 127.0.0.1:2");
    assert_eq!(Address::from(Vec::new()).to_string(), "no address");
    let error = block_on(lookup(Vec::new())).unwrap_err();
    assert_eq!(error.to_string(), "cannot look up no address: the list of addresses is empty");
}

#[test]
fn a_list_of_addresses_is_connected_to_and_bound_like_a_name() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let there = listener.local_addr()?;
        let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let stream = TcpStream::connect([closed, there]).await?;
        assert_eq!(stream.peer_addr()?, there, "the first one has refused");
        let other = TcpListener::bind([there, ([127, 0, 0, 1], 0).into()]).await?;
        assert_ne!(other.local_addr()?, there, "the first one is in use");
        let error = TcpStream::connect([closed, closed]).await.unwrap_err();
        assert!(error.to_string().contains(&closed.to_string()), "{error}");
        Ok(())
    });
}
