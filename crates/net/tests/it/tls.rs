//! TLS: trust, time limits, an end that was cut, and the switch in mid-conversation.

use std::io;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{EventLoop, Instant, VirtualClock, spawn};
use picot_net::tls::{TlsAcceptor, TlsConnector, TlsStream};
use picot_net::{Reader, TcpStream, duplex};

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

#[test]
fn an_end_without_the_end_of_tls_is_an_error() {
    run(async {
        let (client, server) = handshake(TlsConnector::trusting(AUTHORITY)?, "localhost").await?;
        let client = client?;
        // Ended below TLS, as an attacker in between could.
        client.get_ref().shutdown(std::net::Shutdown::Write)?;
        let error = server?.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
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
