//! How much memory a server needs: for an idle connection, and for a long file. A program of its
//! own, because it counts the bytes of the whole process.

use std::convert::Infallible;
use std::fs::File;

use hyper::service::service_fn;
use hyper::{Request, Response};
use picot_hyper::{Body, BoxError, HttpServer, serve};
use picot_loop::yield_now;
use picot_net::{TcpListener, TcpStream};
use picot_testkit::Folder;
use picot_testkit::alloc::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The bytes that the server holds for each of `n` idle connections that had one request.
async fn idle_connection(n: usize) -> usize {
    let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
    let server = HttpServer::builder().serve(listener().await, service).unwrap();
    let address = server.local_addrs()[0];
    // The clients are blocking sockets, which hold no memory of this process.
    let before = live_bytes();
    let mut clients = Vec::with_capacity(n);
    for number in 1..=n as u64 {
        let client = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut &client, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        until(|| server.counts().requests == number).await;
        clients.push(client);
    }
    for _ in 0..1000 {
        yield_now().await;
    }
    let held = live_bytes() - before;
    assert_eq!(server.connections(), n);
    drop(clients);
    until(|| server.connections() == 0).await;
    held / n
}

/// The most bytes that a server holds while a client reads a file of 1 GiB slowly.
async fn long_file() -> usize {
    let folder = Folder::new("memory");
    let path = folder.file("long", "");
    // A file without blocks: it reads as zeros.
    File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let service = service_fn(move |_: Request<Body>| {
        let path = path.clone();
        async move { Ok::<_, BoxError>(Response::new(Body::open(&path).await?)) }
    });
    let server = serve(listener().await, service).unwrap();
    let client = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    let (before, mut most, mut read) = (live_bytes(), 0, 0);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 16 * 1024];
    while read < 64 << 20 {
        read += client.read(&mut buffer).await.unwrap();
        most = most.max(live_bytes().saturating_sub(before));
    }
    most
}

#[test]
fn an_idle_connection_and_a_long_file_need_little_memory() {
    picot_loop::run(async {
        let idle = idle_connection(200).await;
        println!("{idle} bytes an idle connection of HTTP/1");
        // hyper allocates two buffers of 8 KiB; the rest is its state and ours.
        assert!(idle < 20_000, "{idle} bytes an idle connection");
        let file = long_file().await;
        println!("{file} bytes while a file is sent");
        assert!(file < 1 << 20, "{file} bytes while a file is sent");
    });
}
