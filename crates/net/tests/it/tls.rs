//! TLS: trust, ALPN and SNI, time limits, an end that was cut, and the switch in mid-conversation.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{EventLoop, Instant, VirtualClock, spawn};
#[cfg(feature = "tls-aws-lc")]
use picot_net::tls::rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(feature = "tls-aws-lc"))]
use picot_net::tls::rustls::crypto::ring::default_provider;
use picot_net::tls::rustls::{self, CertificateError};
use picot_net::tls::{MissingCloseNotify, TlsAcceptor, TlsConnector, TlsStream};
use picot_net::{OperationError, Reader, Server, TcpStream, duplex};

use crate::{pair, run};

const AUTHORITY: &[u8] = include_bytes!("../data/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../data/localhost.pem");
const KEY: &[u8] = include_bytes!("../data/localhost.key");

/// Both sides of a handshake over loopback.
async fn handshake(
    connector: TlsConnector,
    name: &str,
) -> io::Result<(io::Result<TlsStream<TcpStream>>, io::Result<TlsStream<TcpStream>>)> {
    let (client, server) = pair().await?;
    let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    let accepting = spawn(async move { acceptor.accept(server).await });
    let client = connector.connect(name, client).await;
    Ok((client, accepting.await.unwrap()))
}

pub(crate) fn connector() -> io::Result<TlsConnector> {
    TlsConnector::trusting(AUTHORITY)
}

pub(crate) fn acceptor() -> io::Result<TlsAcceptor> {
    TlsAcceptor::new(CERTIFICATE, KEY)
}

/// A connection over loopback after its handshake.
pub(crate) async fn connected() -> io::Result<(TlsStream<TcpStream>, TlsStream<TcpStream>)> {
    let (client, server) = handshake(TlsConnector::trusting(AUTHORITY)?, "localhost").await?;
    Ok((client?, server?))
}

#[test]
fn data_passes_in_both_directions_and_close_sends_the_end() {
    run(async {
        for name in ["localhost", "127.0.0.1"] {
            let (client, server) = handshake(TlsConnector::trusting(AUTHORITY)?, name).await?;
            let (mut client, mut server) = (client?, server?);
            assert!(client.connection().peer_certificates().is_some());
            let bytes: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
            let expected = bytes.clone();
            let sending = spawn(async move {
                client.write_all(&bytes).await?;
                client.close().await?;
                let mut back = Vec::new();
                client.read_to_end(&mut back).await.map(|_| back)
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).await?;
            assert!(received == expected);
            server.write_all(b"thanks").await?;
            server.close().await?;
            assert_eq!(sending.await.unwrap()?, b"thanks");
        }
        Ok(())
    });
}

#[test]
fn the_client_refuses_a_wrong_name_or_authority_and_both_sides_get_an_error() {
    run(async {
        let (client, server) = handshake(TlsConnector::trusting(AUTHORITY)?, "elsewhere").await?;
        assert!(client.unwrap_err().to_string().contains("elsewhere") && server.is_err());
        // The certificate of the server is not an authority, so its signature is not trusted.
        let (client, server) = handshake(TlsConnector::trusting(CERTIFICATE)?, "localhost").await?;
        let (client, server) = (client.unwrap_err(), server.unwrap_err());
        assert_eq!(
            (client.kind(), &*client.to_string()),
            (io::ErrorKind::InvalidData, "cannot begin TLS with localhost: invalid peer certificate: UnknownIssuer")
        );
        assert_eq!(server.to_string(), "cannot begin TLS with a client: received fatal alert: UnknownCA");
        Ok(())
    });
}

#[test]
fn malformed_certificates_keys_and_names_are_errors() {
    run(async {
        assert!(TlsConnector::trusting(b"nothing").is_err());
        assert!(TlsAcceptor::new(CERTIFICATE, b"nothing").is_err());
        assert!(TlsAcceptor::new(AUTHORITY, KEY).is_err(), "not the key of this certificate");
        let (client, _server) = pair().await?;
        let error = TlsConnector::trusting(AUTHORITY)?.connect("no name", client).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    });
}

/// The error of a client that refuses a server with this certificate: its text, and the reason that
/// rustls gives.
async fn refusal(certificate: &[u8], trusted: &[u8], name: &str) -> io::Result<(String, CertificateError)> {
    let (client, server) = pair().await?;
    let acceptor = TlsAcceptor::new(certificate, KEY)?;
    let accepting = spawn(async move { acceptor.accept(server).await.map(drop) });
    let error = TlsConnector::trusting(trusted)?.connect(name, client).await.map(drop).unwrap_err();
    assert!(accepting.await.unwrap().is_err(), "{error}: the server gets an error, too");
    let inner = error.get_ref().unwrap().downcast_ref::<OperationError>().unwrap().error();
    match inner.get_ref().unwrap().downcast_ref() {
        Some(rustls::Error::InvalidCertificate(reason)) => Ok((error.to_string(), reason.clone())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_certificate_that_must_not_be_trusted_is_refused_with_the_host_and_the_reason() {
    use CertificateError::{ExpiredContext, NotValidForNameContext, NotValidYetContext, UnknownIssuer};

    const DATES: &[u8] = include_bytes!("../data/dates-authority.pem");
    const EXPIRED: &[u8] = include_bytes!("../data/expired.pem");
    const FUTURE: &[u8] = include_bytes!("../data/future.pem");
    const SELF_SIGNED: &[u8] = include_bytes!("../data/selfsigned.pem");
    run(async {
        let (text, reason) = refusal(CERTIFICATE, AUTHORITY, "elsewhere.test").await?;
        assert!(matches!(reason, NotValidForNameContext { .. }), "{reason:?}");
        assert!(text.starts_with("cannot begin TLS with elsewhere.test: ") && text.contains("not valid for name"));
        let (text, reason) = refusal(CERTIFICATE, AUTHORITY, "127.0.0.2").await?;
        assert!(matches!(reason, NotValidForNameContext { .. }), "{reason:?}");
        assert!(text.starts_with("cannot begin TLS with 127.0.0.2: "), "{text}");
        let (text, reason) = refusal(EXPIRED, DATES, "localhost").await?;
        assert!(matches!(reason, ExpiredContext { .. }), "{reason:?}");
        assert!(text.starts_with("cannot begin TLS with localhost: ") && text.contains("expired"), "{text}");
        let (text, reason) = refusal(FUTURE, DATES, "localhost").await?;
        assert!(matches!(reason, NotValidYetContext { .. }), "{reason:?}");
        assert!(text.starts_with("cannot begin TLS with localhost: ") && text.contains("not valid yet"), "{text}");
        for (untrusted, trusted) in [(SELF_SIGNED, AUTHORITY), (CERTIFICATE, DATES)] {
            let (text, reason) = refusal(untrusted, trusted, "localhost").await?;
            assert_eq!(reason, UnknownIssuer);
            assert_eq!(text, "cannot begin TLS with localhost: invalid peer certificate: UnknownIssuer");
        }
        Ok(())
    });
}

#[test]
fn an_end_without_the_end_of_tls_is_an_error_at_each_read_and_counts_once_for_each_connection() {
    run(async {
        let (acceptor, connector) = (acceptor()?, connector()?);
        for round in 1..=2 {
            let (client, server) = pair().await?;
            let both = futures_lite::future::try_zip(connector.connect("localhost", client), acceptor.accept(server));
            let (mut client, mut server) = both.await?;
            client.write_all(b"last").await?;
            client.flush().await?;
            // Ended below TLS, as an attacker in between could.
            client.get_ref().shutdown(std::net::Shutdown::Write)?;
            let mut received = [0; 4];
            server.read_exact(&mut received).await?;
            assert_eq!(&received, b"last");
            for _ in 0..3 {
                let error = server.read(&mut [0; 8]).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert!(error.get_ref().unwrap().is::<MissingCloseNotify>());
            }
            assert_eq!((acceptor.clone().missing_close_notify(), connector.missing_close_notify()), (round, round - 1));
            drop(server);
            for _ in 0..3 {
                let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
                assert!(error.get_ref().unwrap().is::<MissingCloseNotify>());
            }
            assert_eq!((acceptor.missing_close_notify(), connector.missing_close_notify()), (round, round));
        }
        // A connection that ends as TLS wants does not count, however often it is read.
        let (client, server) = pair().await?;
        let both = futures_lite::future::try_zip(connector.connect("localhost", client), acceptor.accept(server));
        let (mut client, mut server) = both.await?;
        client.close().await?;
        assert_eq!((server.read(&mut [0; 8]).await?, server.read(&mut [0; 8]).await?), (0, 0));
        assert_eq!((acceptor.missing_close_notify(), connector.missing_close_notify()), (2, 2));
        Ok(())
    });
}

#[test]
fn a_server_reports_the_errors_of_its_handlers_but_not_a_missing_close_notify() {
    run(async {
        let reports = crate::server::reports();
        let acceptor = acceptor()?;
        let counting = acceptor.clone();
        let server = Server::builder().bind("127.0.0.1:0").await?.serve(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an end of the handler's own"))
            }
        })?;
        for sends in [false, true] {
            let client = TcpStream::connect(server.local_addrs()[0]).await?;
            let mut client = connector()?.connect("localhost", client).await?;
            if sends {
                client.write_all(b"x").await?;
                client.flush().await?;
            }
            drop(client);
            while server.clients() > 0 {
                picot_loop::yield_now().await;
            }
        }
        assert_eq!(counting.missing_close_notify(), 1);
        picot_loop::yield_now().await; // the end of a turn reports
        let reports = reports.take();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].contains("an end of the handler's own"), "{reports:?}");
        Ok(())
    });
}

#[test]
fn both_sides_know_the_protocol_that_alpn_selected_and_without_a_common_one_both_fail() {
    run(async {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Result<Option<&'a [u8]>, ()>);
        let cases: [Case; 6] = [
            (&["h2", "http/1.1"], &["http/1.1", "h2"], Ok(Some(b"http/1.1"))), // the server's order decides
            (&["http/1.1"], &["h2", "http/1.1"], Ok(Some(b"http/1.1"))),
            (&["h2"], &[], Ok(None)),
            (&[], &["h2"], Ok(None)),
            (&[], &[], Ok(None)),
            (&["h2"], &["http/1.1"], Err(())),
        ];
        for (of_client, of_server, expected) in cases {
            let connector = connector()?.alpn_protocols(of_client.iter().copied());
            let acceptor = acceptor()?.alpn_protocols(of_server.iter().copied());
            let (client, server) = pair().await?;
            let accepting = spawn(async move { acceptor.accept(server).await });
            let client = connector.connect("localhost", client).await;
            let server = accepting.await.unwrap();
            match expected {
                Ok(selected) => {
                    let (client, server) = (client?, server?);
                    assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (selected, selected));
                }
                Err(()) => {
                    assert!(client.unwrap_err().to_string().contains("NoApplicationProtocol"));
                    assert!(server.is_err());
                }
            }
        }
        Ok(())
    });
}

#[test]
#[should_panic(expected = "has 1 to 255 bytes, and not 256")]
fn a_protocol_name_that_is_too_long_is_refused() {
    let _ = connector().unwrap().alpn_protocols([vec![b'x'; 256]]);
}

#[test]
fn a_configuration_of_rustls_selects_the_certificate_by_the_name_that_the_client_asks_for() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::ResolvesServerCertUsingSni;
    use rustls::sign::CertifiedKey;

    run(async {
        let provider = Arc::new(default_provider());
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let mut by_name = ResolvesServerCertUsingSni::new();
        by_name.add("localhost", CertifiedKey::from_der(vec![certificate], key, &provider).unwrap()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(by_name));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let handshake = async |name: &str| {
            let ((client, server), acceptor) = (pair().await?, acceptor.clone());
            let accepting = spawn(async move { acceptor.accept(server).await });
            let client = connector()?.connect(name, client).await;
            io::Result::Ok((client, accepting.await.unwrap()))
        };
        let (client, server) = handshake("localhost").await?;
        assert_eq!((client?.server_name(), server?.server_name()), (None, Some("localhost")));
        // An address is not a name to ask for, and the resolver has no certificate for another one.
        for name in ["127.0.0.1", "elsewhere.test"] {
            let (client, server) = handshake(name).await?;
            assert!(client.is_err() && server.is_err(), "{name}");
        }
        Ok(())
    });
}

#[test]
fn a_silent_peer_is_a_timeout_on_either_side() {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    event_loop
        .run_until_complete(async {
            let (client, _server) = pair().await?;
            let connector = TlsConnector::trusting(AUTHORITY)?.handshake_timeout(Duration::from_secs(5));
            let error = connector.connect("localhost", client).await.unwrap_err();
            let text = "cannot begin TLS with localhost: the TLS handshake timed out after 5s";
            assert_eq!((error.kind(), &*error.to_string()), (io::ErrorKind::TimedOut, text));
            let (_client, server) = pair().await?;
            let error = TlsAcceptor::new(CERTIFICATE, KEY)?.accept(server).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
}

/// In memory, so that only the clock decides how much time passes.
#[test]
fn closing_times_out_on_either_side_if_the_peer_does_not_read() {
    let seconds = Duration::from_secs;
    EventLoop::builder().clock(&VirtualClock::new()).error_on_deadlock().run(async {
        for closes_server in [false, true] {
            let connector = TlsConnector::trusting(AUTHORITY).unwrap().shutdown_timeout(seconds(7));
            let acceptor = TlsAcceptor::new(CERTIFICATE, KEY).unwrap().shutdown_timeout(seconds(9));
            let (near, far) = duplex(4096);
            let both = futures_lite::future::try_zip(connector.connect("localhost", near), acceptor.accept(far));
            let (client, server) = both.await.unwrap();
            let (mut closing, mut peer, limit) = if closes_server { (server, client, 9) } else { (client, server, 7) };
            let (bytes, start) = (vec![1; 100_000], Instant::now());
            assert!(poll_once(closing.write_all(&bytes)).await.is_none(), "the peer does not read");
            let error = closing.close().await.unwrap_err();
            let text = format!("closing TLS timed out after {limit}s");
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::TimedOut, text));
            assert_eq!(start.elapsed(), seconds(limit));
            // The peer reads the bytes that were sent, and then an end that was cut.
            drop(closing);
            let error = peer.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    });
}

#[test]
fn a_live_stream_switches_to_tls() {
    run(async {
        let (client, server) = pair().await?;
        let server = spawn(async move {
            let mut reader = Reader::new(&server);
            assert_eq!(reader.read_line().await?.as_deref(), Some("STARTTLS"));
            server.write_all(b"go ahead\n").await?;
            assert!(reader.buffer().is_empty());
            drop(reader);
            let mut server = TlsAcceptor::new(CERTIFICATE, KEY)?.accept(server).await?;
            server.write_all(b"secret").await?;
            server.close().await
        });
        client.write_all(b"STARTTLS\n").await?;
        let mut reader = Reader::new(client);
        assert_eq!(reader.read_line().await?.as_deref(), Some("go ahead"));
        let (client, rest) = reader.into_parts();
        assert!(rest.is_empty());
        let mut client = TlsConnector::trusting(AUTHORITY)?.connect("localhost", client).await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "secret");
        server.await.unwrap()
    });
}

/// One byte at a time, as a hostile or very slow peer would send it.
#[test]
fn a_handshake_that_arrives_byte_by_byte_succeeds() {
    run(async {
        let (client, relay_client) = pair().await?;
        let (relay_server, server) = pair().await?;
        let relay = |from: TcpStream, to: TcpStream| async move {
            let mut byte = [0];
            while from.read(&mut byte).await? > 0 {
                to.write_all(&byte).await?;
            }
            io::Result::Ok(())
        };
        let (from_client, to_client) = (relay_client.into_std(), relay_server.into_std());
        let one = |stream: &std::net::TcpStream| TcpStream::from_std(stream.try_clone()?);
        let up = spawn(relay(one(&from_client)?, one(&to_client)?));
        let down = spawn(relay(TcpStream::from_std(to_client)?, TcpStream::from_std(from_client)?));
        let accepting = spawn(async move {
            let mut server = TlsAcceptor::new(CERTIFICATE, KEY)?.accept(server).await?;
            let mut buffer = [0; 5];
            server.read_exact(&mut buffer).await?;
            io::Result::Ok(buffer)
        });
        let mut client = TlsConnector::trusting(AUTHORITY)?.connect("localhost", client).await?;
        client.write_all(b"hello").await?;
        client.flush().await?;
        assert_eq!(&accepting.await.unwrap()?, b"hello");
        drop(client);
        up.cancel_and_wait("the test has ended").await;
        down.cancel_and_wait("the test has ended").await;
        Ok(())
    });
}
