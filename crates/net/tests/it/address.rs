//! Numbers and names.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use picot_net::{Address, lookup};

use crate::run;

#[test]
fn numbers_are_given_back_without_a_loop() {
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
fn names_are_looked_up_off_the_loop() {
    run(async {
        for form in [Address::from("localhost:80"), ("localhost", 80).into()] {
            let found = lookup(form).await?;
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        }
        Ok(())
    });
}

#[test]
fn what_is_no_address_is_an_error() {
    run(async {
        // The last but two may have been meant as an IPv6 address with a port or without.
        for text in ["", ":80", "localhost", "localhost:port", "127.0.0.1:99999", "::1:80", "[]:80", "[::1]"] {
            let error = lookup(text).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{text:?}: {error}");
        }
        Ok(())
    });
}
