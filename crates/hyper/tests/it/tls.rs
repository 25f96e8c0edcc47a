//! HTTPS: ALPN, the names in certificates, and handshakes that fail.

use std::time::Duration;

use hyper::Version;
use hyper::service::service_fn;
use picot_hyper::server::HttpServerBuilder;
use picot_hyper::{Client, HttpServer};
use picot_loop::{Instant, sleep};
use picot_net::tls::{TlsAcceptor, TlsConnector};

use crate::{Raw, describe, listener, run, run_virtual, until};

const AUTHORITY: &[u8] = include_bytes!("../../../net/tests/data/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../net/tests/data/localhost.pem");
const KEY: &[u8] = include_bytes!("../../../net/tests/data/localhost.key");

async fn serve(builder: HttpServerBuilder) -> (HttpServer, String) {
    let builder = builder.tls(TlsAcceptor::new(CERTIFICATE, KEY).unwrap());
    let server = builder.serve(listener().await, service_fn(describe)).unwrap();
    let uri = format!("https://127.0.0.1:{}/path", server.local_addrs()[0].port());
    (server, uri)
}

fn client(builder: picot_hyper::client::ClientBuilder) -> Client {
    builder.tls(TlsConnector::trusting(AUTHORITY).unwrap()).build()
}

#[test]
fn alpn_chooses_the_protocol_that_both_speak() {
    run(async |_| {
        let both = || (HttpServer::builder(), Client::builder());
        let cases = [
            (both(), Version::HTTP_2),
            ((both().0.http1_only(), both().1), Version::HTTP_11),
            ((both().0.http2_only(), both().1), Version::HTTP_2),
            ((both().0, both().1.http2_only()), Version::HTTP_2),
        ];
        for ((server, builder), version) in cases {
            let (server, uri) = serve(server).await;
            let client = client(builder);
            for _ in 0..3 {
                let response = client.get(&uri).await.unwrap();
                assert_eq!(response.version(), version);
                assert_eq!(response.into_body().text(64).await.unwrap(), "GET /path 0");
            }
            assert_eq!((server.counts().connections, server.counts().requests), (1, 3));
            drop(client);
            until(|| server.connections() == 0).await;
        }
    });
}

#[test]
fn a_handshake_that_fails_is_counted_and_ends_nothing_else() {
    run(async |_| {
        let (server, uri) = serve(HttpServer::builder()).await;
        // Plain HTTP; a client that does not trust; and one without a protocol in common.
        let plain = Raw::connect(server.local_addrs()[0]).await;
        plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        plain.rest().await;
        let other = TlsConnector::trusting(CERTIFICATE).unwrap();
        let error = Client::builder().tls(other).build().get(&uri).await.unwrap_err();
        assert!(error.is_connect() && error.to_string().contains("certificate"), "{error}");
        let (only_http1, only_uri) = serve(HttpServer::builder().http1_only()).await;
        assert!(client(Client::builder().http2_only()).get(&only_uri).await.unwrap_err().is_connect());
        until(|| server.connections() == 0 && only_http1.connections() == 0).await;
        assert_eq!((server.counts().handshakes_failed, only_http1.counts().handshakes_failed), (2, 1));
        assert_eq!(client(Client::builder()).get(&uri).await.unwrap().status(), 200);
    });
}

#[test]
fn a_peer_that_does_not_begin_the_handshake_is_timed_out() {
    run_virtual(async |_| {
        let acceptor = TlsAcceptor::new(CERTIFICATE, KEY).unwrap().handshake_timeout(Duration::from_secs(5));
        let server = HttpServer::builder().tls(acceptor).serve(listener().await, service_fn(describe)).unwrap();
        let start = Instant::now();
        assert_eq!(Raw::connect(server.local_addrs()[0]).await.rest().await, "");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        assert_eq!(server.counts().handshakes_failed, 1);
        sleep(Duration::from_secs(60)).await;
    });
}

#[test]
fn a_shutdown_ends_a_connection_that_has_not_begun_its_handshake_at_once() {
    run_virtual(async |_| {
        let (server, _) = serve(HttpServer::builder()).await;
        let silent = Raw::connect(server.local_addrs()[0]).await;
        until(|| server.connections() == 1).await;
        let start = Instant::now();
        assert_eq!(server.shutdown(Duration::from_secs(10)).await.len(), 0);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(silent.rest().await, "");
    });
}
