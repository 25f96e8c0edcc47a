//! What a server serves: both protocols, any service, any listener; and what it reports.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use http::header::{CONNECTION, UPGRADE};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use picot_hyper::{Body, BoxError, FuturesIo, HttpServer, TowerService, serve, serve_tower};
use picot_loop::{spawn, yield_now};
use picot_net::{Server, TcpStream};
use picot_testkit::quiet_panic;

use crate::{Raw, connect_http2, describe, hello, listener, request, run, tasks, text, until};

#[test]
fn one_connection_carries_many_requests_of_http1() {
    run(async |_| {
        let server = serve(listener().await, service_fn(describe)).unwrap();
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        assert_eq!(client.get("/one").await, (200, "GET /one 0".to_string()));
        client.send("POST /two HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(client.response().await.1, "POST /two 5");
        // Two requests in one packet.
        let both = "GET /three HTTP/1.1\r\nhost: a\r\n\r\nGET /four HTTP/1.1\r\nhost: a\r\n\r\n";
        client.send(both).await;
        assert_eq!(client.response().await.1, "GET /three 0");
        assert_eq!(client.response().await.1, "GET /four 0");
        let counts = server.counts();
        assert_eq!((counts.connections, counts.requests, server.connections()), (1, 4, 1));
    });
}

#[test]
fn http2_with_prior_knowledge_is_found_by_its_first_bytes() {
    run(async |_| {
        let server = serve(listener().await, service_fn(describe)).unwrap();
        let mut client = connect_http2(server.local_addrs()[0]).await;
        let both = [client.send_request(request("/one", "hello")), client.send_request(request("/two", ""))];
        let [one, two] = both;
        assert_eq!(text(two.await).await, "POST /two 0");
        assert_eq!(text(one.await).await, "POST /one 5");
        assert_eq!((server.counts().connections, server.counts().requests), (1, 2));
    });
}

#[test]
fn the_protocol_is_found_however_the_first_bytes_are_cut() {
    run(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        // A method that begins as the preface of HTTP/2 does.
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        for byte in "PRI / HTTP/1.1\r\nhost: a\r\n\r\n".chars() {
            client.send(&byte.to_string()).await;
            yield_now().await;
        }
        assert_eq!(client.response().await, (200, "hello".to_string()));
        let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
            stream.write_all(&[*byte]).await.unwrap();
            yield_now().await;
        }
        // The server's SETTINGS: a frame of type 4 on stream 0.
        let mut frame = [0; 9];
        (&stream).read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn a_server_of_one_protocol_refuses_the_other() {
    run(async |_| {
        let server = HttpServer::builder().http2_only().serve(listener().await, service_fn(hello)).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.rest().await, "");
        assert_eq!(server.counts().malformed, 1);
        let server = HttpServer::builder().http1_only().serve(listener().await, service_fn(hello)).unwrap();
        let mut client = connect_http2(server.local_addrs()[0]).await;
        assert!(client.send_request(request("/", "")).await.is_err());
        until(|| server.connections() == 0).await;
        assert_eq!((server.counts().requests, server.counts().malformed), (0, 1));
    });
}

#[test]
fn a_connection_that_ends_before_its_first_byte_is_no_error() {
    run(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        drop(Raw::connect(server.local_addrs()[0]).await);
        until(|| server.counts().connections == 1 && server.connections() == 0).await;
        let counts = server.counts();
        assert_eq!((counts.disconnected, counts.malformed, counts.timed_out), (0, 0, 0));
    });
}

#[test]
fn a_service_may_take_hypers_body_and_need_not_be_send() {
    run(async |_| {
        let count = Rc::new(Cell::new(0));
        let counted = count.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let counted = counted.clone();
            async move {
                yield_now().await;
                counted.set(counted.get() + 1);
                Ok::<_, Infallible>(Response::new(request.into_body()))
            }
        });
        let server = serve(listener().await, service).unwrap();
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(client.response().await.1, "hello");
        let mut client = connect_http2(server.local_addrs()[0]).await;
        assert_eq!(text(client.send_request(request("/", "echo")).await).await, "echo");
        assert_eq!(count.get(), 2);
    });
}

/// A service of tower that is ready at the second poll, and has room for one request.
#[derive(Clone, Default)]
struct Slow {
    polls: usize,
}

impl tower_service::Service<Request<Body>> for Slow {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        cx.waker().wake_by_ref();
        if self.polls == 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert_eq!(self.polls, 2, "called when it was ready");
        std::future::ready(Ok(Response::new(Body::from("tower"))))
    }
}

#[test]
fn a_service_of_tower_is_called_when_it_is_ready() {
    run(async |_| {
        let server = serve_tower(listener().await, Slow::default()).unwrap();
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        assert_eq!(client.get("/").await.1, "tower");
        assert_eq!(client.get("/").await.1, "tower", "each call has a clone of its own");
    });
}

#[test]
fn each_connection_can_have_a_service_that_knows_the_peer() {
    run(async |_| {
        let listeners = Server::builder().bind("127.0.0.1:0").await.unwrap().bind("127.0.0.2:0").await.unwrap();
        let server = HttpServer::builder().serve_with(listeners, |peer| {
            let peer = *peer;
            service_fn(move |_: Request<Body>| async move {
                Ok::<_, Infallible>(Response::new(Body::from(peer.to_string())))
            })
        });
        let server = server.unwrap();
        assert_eq!(server.local_addrs().len(), 2);
        for address in server.local_addrs() {
            let mut client = Raw::connect(address).await;
            let own = client.stream.local_addr().unwrap().to_string();
            assert_eq!(client.get("/").await.1, own);
        }
    });
}

#[cfg(unix)]
#[test]
fn a_server_listens_at_a_unix_socket() {
    run(async |_| {
        let folder = picot_testkit::Folder::new("http");
        let listener = picot_net::UnixListener::bind(folder.join("socket")).unwrap();
        let server = serve(listener, service_fn(hello)).unwrap();
        let mut client = picot_net::UnixStream::connect(folder.join("socket")).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        drop(server);
    });
}

#[test]
fn tasks_have_the_place_of_the_call_that_serves() {
    run(async |_| {
        let shown = Rc::new(Cell::new(Vec::new()));
        let notes = shown.clone();
        let service = service_fn(move |_: Request<Body>| {
            let notes = notes.clone();
            async move {
                notes.set(tasks());
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let listener = listener().await;
        let (server, line) = (serve(listener, service).unwrap(), line!());
        let place = format!("{}:{line}:", file!());
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        client.get("/").await;
        let peer = client.stream.local_addr().unwrap();
        let here = |task: &&String| task.contains(&place);
        let named = shown.take().iter().filter(here).cloned().collect::<Vec<_>>();
        assert!(named.len() == 1 && named[0].contains(&format!("client {peer}")), "{named:?}");
        // A request of HTTP/2 is a task beside that of its connection.
        connect_http2(server.local_addrs()[0]).await.send_request(request("/", "")).await.unwrap();
        assert_eq!(shown.take().iter().filter(here).count(), 3);
    });
}

#[test]
fn a_panic_in_a_handler_is_reported_once_and_ends_only_its_connection() {
    run(async |reports| {
        let service = service_fn(|request: Request<Body>| async move {
            if request.uri().path() == "/panic" {
                quiet_panic("the handler's bug");
            }
            Ok::<_, Infallible>(Response::new(Body::from("fine")))
        });
        let server = serve(listener().await, service).unwrap();
        let address = server.local_addrs()[0];
        let (mut other, broken) = (Raw::connect(address).await, Raw::connect(address).await);
        assert_eq!(other.get("/").await.1, "fine");
        broken.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let peer = broken.stream.local_addr().unwrap();
        assert_eq!(broken.rest().await, "");
        assert_eq!(other.get("/").await.1, "fine");
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains("the handler's bug"), "{told:?}");
        assert!(told[0].contains(&format!("client {peer}")), "{told:?}");
        // With HTTP/2, only the stream ends.
        let mut client = connect_http2(address).await;
        assert!(client.send_request(request("/panic", "")).await.is_err());
        assert_eq!(text(client.send_request(request("/", "")).await).await, "fine");
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains("the handler's bug"), "{told:?}");
    });
}

#[test]
fn an_error_of_the_service_is_reported_and_one_of_a_peer_is_counted() {
    run(async |reports| {
        let fails = || service_fn(|_: Request<Body>| async { Err::<Response<Body>, BoxError>("no database".into()) });
        let server = serve(listener().await, fails()).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let peer = client.stream.local_addr().unwrap();
        assert_eq!(client.rest().await, "");
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains("no database"), "{told:?}");
        assert!(told[0].contains(&format!("client {peer}")), "{told:?}");
        assert_eq!(server.counts().failed, 1);

        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("this is no HTTP\r\n\r\n").await;
        assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HT").await;
        until(|| server.connections() == 1).await;
        drop(client);
        until(|| server.connections() == 0).await;
        let counts = server.counts();
        assert_eq!((counts.malformed, counts.disconnected, counts.failed), (1, 1, 1));
        assert_eq!(*reports.borrow(), [""; 0]);

        // If the program asks for it, each is reported as well.
        let server = HttpServer::builder().report_peer_errors().serve(listener().await, fails()).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("this is no HTTP\r\n\r\n").await;
        client.rest().await;
        assert_eq!(reports.take().len(), 1);
    });
}

/// Switches to a protocol that sends everything back in capitals.
async fn upgrade(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let upgraded = hyper::upgrade::on(&mut request);
    drop(spawn(async move {
        let mut stream = FuturesIo::new(upgraded.await.unwrap());
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
        stream.close().await.unwrap();
    }));
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    Ok(response.header(CONNECTION, "upgrade").header(UPGRADE, "capitals").body(Body::empty()).unwrap())
}

#[test]
fn an_upgraded_connection_is_a_stream_of_the_handler() {
    run(async |_| {
        let server = serve_tower(listener().await, Tower(upgrade)).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        // The first bytes of the new protocol come with the request.
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: capitals\r\n\r\nhello").await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nHELLO"), "{answer}");
        until(|| server.connections() == 0).await;
    });
}

/// A function as a service of tower, for what must be `Send`.
#[derive(Clone)]
struct Tower<F>(F);

impl<F, R> tower_service::Service<Request<Body>> for Tower<F>
where
    F: Fn(Request<Body>) -> R,
    R: Future<Output = Result<Response<Body>, Infallible>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> R {
        (self.0)(request)
    }
}

#[test]
fn without_a_loop_or_a_listener_serving_is_an_error() {
    run(async |_| {
        let none = Server::builder::<picot_net::TcpListener>();
        let error = HttpServer::builder().serve(none, service_fn(hello)).unwrap_err();
        assert!(error.to_string().contains("a server needs a listener"), "{error}");
    });
    let error = HttpServer::builder().serve(Server::builder::<picot_net::TcpListener>(), service_fn(hello));
    assert!(error.unwrap_err().to_string().contains("loop"));
    let _ = TowerService::new(Slow::default());
}
