//! Requests that have to be refused or bounded, while the loop lives.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use picot_loop::{EventLoop, VirtualClock, run, sleep, spawn_named};
use picot_net::TcpStream;

use crate::client::{exchange, get, read_all};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn foreign_hosts_pages_and_methods_are_refused() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let address = inspector.local_addr();
        for (request, expected) in [
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
            ("GET / HTTP/1.1\r\n\r\n", "403"),
            ("GET /tasks.json HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", "403"),
            ("GET /events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", "403"),
            ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", "405"),
            ("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
            ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
            ("GET /tasks.json?limit=x HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
            ("\x16\x03\x01 nonsense\r\n\r\n", "400"),
        ] {
            let answer = exchange(address, request.as_bytes()).await.unwrap();
            assert_eq!(status(&answer), expected, "{request}");
            if expected != "200" {
                assert!(!answer.contains("\"tasks\""), "{answer}");
            }
        }
    });
}

#[test]
fn an_overlong_head_is_refused() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(9_000));
        let answer = exchange(inspector.local_addr(), request.as_bytes()).await.unwrap();
        assert_eq!(status(&answer), "431");
    });
}

/// Runs a test under a virtual clock, so that its limits take no time.
fn run_virtual(test: impl AsyncFnOnce(SocketAddr)) {
    let clock = VirtualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).io_grace(Duration::from_millis(20)).build().unwrap();
    event_loop
        .run_until_complete(async {
            let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
            test(inspector.local_addr()).await;
        })
        .unwrap();
}

#[test]
fn a_slow_sender_is_cut_off() {
    run_virtual(async |address| {
        let stream = TcpStream::connect(address).await.unwrap();
        let begin = picot_loop::Instant::now();
        let answer = {
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            sleep(Duration::from_secs(3)).await;
            stream.write_all(b"Host: ").await.unwrap();
            read_all(&stream).await.unwrap()
        };
        assert_eq!(status(&answer), "408");
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_slow_reader_is_cut_off() {
    run_virtual(async |address| {
        for number in 0..20_000 {
            let name = format!("{number} {}", "n".repeat(2_000));
            drop(spawn_named(&name, std::future::pending::<()>()));
        }
        let stream = TcpStream::connect(address).await.unwrap();
        // More than the buffers of the sockets take.
        stream.write_all(b"GET /tasks.json?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        sleep(Duration::from_secs(20)).await;
        let error = match read_all(&stream).await {
            Ok(text) => {
                assert!(text.len() < 20_000_000, "{} bytes were sent", text.len());
                None
            }
            Err(error) => Some(error.kind()),
        };
        assert!(matches!(error, None | Some(ErrorKind::ConnectionReset)), "{error:?}");
    });
}

#[test]
fn pages_and_connections_are_limited() {
    run_virtual(async |address| {
        let mut open = Vec::new();
        for _ in 0..8 {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut start = [0; 12];
            stream.read(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            open.push(stream);
        }
        let (refused, text) = get(address, "/events").await;
        assert_eq!(refused, "503 Service Unavailable", "{text}");
        // Idle connections take all other places, and lose them after the limit.
        let mut idle = Vec::new();
        for _ in 0..40 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(get(address, "/metrics").await.0, "200 OK");
        drop((open, idle));
        assert_eq!(get(address, "/metrics").await.0, "200 OK");
    });
}

#[test]
fn a_dropped_inspector_ends_its_connections() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(inspector.local_addr()).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        let address = inspector.local_addr();
        drop(inspector);
        assert_eq!(read_all(&stream).await.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        assert!(TcpStream::connect(address).await.is_err());
    });
}
