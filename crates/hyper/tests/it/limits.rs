//! Slow, silent and hostile peers: each meets a limit, and other clients are served meanwhile.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response};
use picot_hyper::{Body, HttpServer, serve};
use picot_loop::{Instant, sleep, spawn};
use picot_net::TcpStream;

use crate::{Raw, connect_http2, describe, hello, listener, request, run, run_virtual, text, until};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn slow_heads_are_timed_out_while_others_are_served() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        let address = server.local_addrs()[0];
        let start = Instant::now();
        // One sends nothing, one a part of the first line, one a header now and then, and one the
        // preface of HTTP/2 only in part.
        let silent = Raw::connect(address).await;
        let begun = Raw::connect(address).await;
        begun.send("GET / HT").await;
        let drips = Raw::connect(address).await;
        drips.send("GET / HTTP/1.1\r\n").await;
        let preface = Raw::connect(address).await;
        preface.send("PRI * HTTP/2.0\r\n").await;
        let dripping = async {
            for _ in 0..20 {
                sleep(2 * SECOND).await;
                let _ = drips.stream.write_all(b"a: b\r\n").await;
            }
        };
        let healthy = async {
            let mut client = Raw::connect(address).await;
            for _ in 0..4 {
                assert_eq!(client.get("/").await.1, "hello");
                sleep(20 * SECOND).await;
            }
        };
        futures_lite::future::zip(dripping, healthy).await;
        assert_eq!(server.counts().timed_out, 4);
        assert_eq!((silent.rest().await, begun.rest().await, preface.rest().await), Default::default());
        drips.rest().await;
        sleep(30 * SECOND).await;
        assert_eq!(server.connections(), 0, "the healthy client was idle for 30 s");
        assert_eq!(start.elapsed(), 110 * SECOND);
    });
}

#[test]
fn a_body_that_stops_is_timed_out_and_a_slow_one_is_not() {
    run_virtual(async |reports| {
        let server = serve(listener().await, service_fn(describe)).unwrap();
        let address = server.local_addrs()[0];
        let slow = spawn(async move {
            let mut client = Raw::connect(address).await;
            client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n").await;
            for _ in 0..4 {
                sleep(29 * SECOND).await;
                client.send("x").await;
            }
            client.response().await.1
        });
        let stopped = Raw::connect(address).await;
        stopped.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nxy").await;
        let start = Instant::now();
        assert_eq!(stopped.rest().await, "");
        assert_eq!(start.elapsed(), 30 * SECOND);
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains("the peer sent nothing of the body for 30s"), "{told:?}");
        assert_eq!(slow.await.unwrap(), "POST / 4");
    });
}

/// A response that is longer than what all buffers hold.
async fn long(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from(vec![b'x'; 32 << 20])))
}

#[test]
fn a_peer_that_takes_no_response_is_timed_out() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(long)).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until(|| server.counts().requests == 1).await;
        let start = Instant::now();
        sleep(60 * SECOND).await;
        assert_eq!((server.connections(), server.counts().timed_out), (0, 1));
        assert_eq!(start.elapsed(), 60 * SECOND);
    });
}

#[test]
fn heads_with_too_many_lines_or_bytes_are_refused() {
    run(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        for head in ["a: b\r\n".repeat(101), format!("a: {}\r\n", "b".repeat(64 * 1024))] {
            let client = Raw::connect(server.local_addrs()[0]).await;
            client.send(&format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        assert_eq!((server.counts().malformed, server.counts().requests), (2, 0));
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        client.send(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100))).await;
        assert_eq!(client.response().await.0, 200, "as many as are allowed");
        // HTTP/2 has the limit of bytes.
        let mut client = connect_http2(server.local_addrs()[0]).await;
        let mut large = request("/", "");
        large.headers_mut().insert("a", "b".repeat(64 * 1024).try_into().unwrap());
        assert_eq!(client.send_request(large).await.unwrap().status(), 431);
    });
}

#[test]
fn at_the_limit_of_connections_others_wait_for_their_turn() {
    run(async |_| {
        let server = HttpServer::builder().max_connections(2).serve(listener().await, service_fn(hello)).unwrap();
        let address = server.local_addrs()[0];
        let mut first = [Raw::connect(address).await, Raw::connect(address).await];
        for client in &mut first {
            assert_eq!(client.get("/").await.1, "hello");
        }
        let waiting = spawn(async move { Raw::connect(address).await.get("/").await.1 });
        for _ in 0..1000 {
            picot_loop::yield_now().await;
        }
        assert_eq!((server.connections(), server.counts().connections), (2, 2));
        drop(first);
        assert_eq!(waiting.await.unwrap(), "hello");
    });
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Opens `n` streams by a peer that resets each at once, and returns the error code with which the
/// server ended the connection.
async fn rapid_resets(stream: &TcpStream, n: u32) -> Option<u32> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, b""));
    for id in (0..n).map(|index| 2 * index + 1) {
        // From HPACK's static table: `GET`, `/`, `http`; and the authority, as a literal.
        bytes.extend(frame(HEADERS, 0x5, id, b"\x82\x84\x86\x01\x01a"));
        bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&bytes).await;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        received.extend_from_slice(&buffer[..length]);
    }
    let mut frames = &received[..];
    while frames.len() >= 9 {
        let length = u32::from_be_bytes([0, frames[0], frames[1], frames[2]]) as usize;
        if frames[3] == GOAWAY {
            return Some(u32::from_be_bytes(frames[13..17].try_into().unwrap()));
        }
        frames = &frames[9 + length..];
    }
    None
}

#[test]
fn a_flood_of_resets_ends_its_connection_and_others_are_served() {
    run(async |_| {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let service = service_fn(move |_: Request<Body>| {
            counted.set(counted.get() + 1);
            async {
                sleep(Duration::from_millis(1)).await;
                Ok::<_, Infallible>(Response::new(Body::from("fine")))
            }
        });
        let server = serve(listener().await, service).unwrap();
        let address = server.local_addrs()[0];
        let mut healthy = connect_http2(address).await;
        assert_eq!(text(healthy.send_request(request("/", "")).await).await, "fine");
        for round in 1..=3 {
            let flood = TcpStream::connect(address).await.unwrap();
            // ENHANCE_YOUR_CALM
            assert_eq!(rapid_resets(&flood, 10_000).await, Some(11));
            assert_eq!(text(healthy.send_request(request("/", "")).await).await, "fine");
            until(|| server.connections() == 1).await;
            assert_eq!(server.counts().malformed, round);
        }
        assert!(calls.get() < 100, "{} calls", calls.get());
    });
}

#[test]
fn a_client_of_http2_has_a_limit_of_requests_in_flight() {
    run_virtual(async |_| {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (counted, highest) = (now.clone(), most.clone());
        let service = service_fn(move |_: Request<Body>| {
            let counted = counted.clone();
            counted.set(counted.get() + 1);
            highest.set(highest.get().max(counted.get()));
            async move {
                sleep(SECOND).await;
                counted.set(counted.get() - 1);
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let server = HttpServer::builder().max_streams(8).serve(listener().await, service).unwrap();
        let mut client = connect_http2(server.local_addrs()[0]).await;
        // The first answer comes after the server's settings.
        client.send_request(request("/", "")).await.unwrap();
        let all: Vec<_> = (0..32).map(|_| spawn(client.send_request(request("/", "")))).collect();
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert_eq!((most.get(), server.counts().requests), (8, 33));
    });
}

#[test]
fn a_peer_of_http2_that_answers_no_ping_is_gone() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let start = Instant::now();
        while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
        assert_eq!(start.elapsed(), 50 * SECOND, "a ping after 30 s, and 20 s for the answer");
        until(|| server.connections() == 0).await;
        assert_eq!(server.counts().timed_out, 1);
    });
}

#[test]
fn a_time_limit_may_be_as_long_as_a_duration_can_be() {
    run(async |_| {
        let builder = HttpServer::builder().header_timeout(Duration::MAX).body_timeout(Duration::MAX);
        let builder = builder.write_timeout(Duration::MAX).ping(Some((Duration::MAX, Duration::MAX)));
        let server = builder.serve(listener().await, service_fn(describe)).unwrap();
        let address = server.local_addrs()[0];
        assert_eq!(Raw::connect(address).await.get("/").await.1, "GET / 0");
        let mut http2 = connect_http2(address).await;
        assert_eq!(text(http2.send_request(request("/", "body")).await).await, "POST / 4");
    });
}
