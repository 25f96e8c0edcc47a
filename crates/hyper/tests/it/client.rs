//! The client: kept connections, limits, safe retries, both protocols, and what errors say.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use picot_hyper::{Body, Client, HttpServer, serve};
use picot_loop::{Instant, Task, sleep, spawn};
use picot_net::{TcpListener, TcpStream};

use crate::{describe, hello, listener, run, run_virtual, until};

const SECOND: Duration = Duration::from_secs(1);

async fn get(client: &Client, uri: &str) -> String {
    client.get(uri).await.unwrap().into_body().text(1 << 20).await.unwrap()
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    run(async |_| {
        let server = serve(listener().await, service_fn(describe)).unwrap();
        let (client, address) = (Client::new(), server.local_addrs()[0]);
        assert_eq!(get(&client, &format!("http://{address}/one?a=b")).await, "GET /one 0");
        for body in [Body::from("hello"), Body::new(String::from("world"))] {
            let request = Request::post(format!("http://{address}/two")).body(body).unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_11);
            assert_eq!(response.into_body().text(64).await.unwrap(), "POST /two 5");
        }
        assert_eq!(get(&client, &format!("http://{address}")).await, "GET / 0");
        assert_eq!((server.counts().connections, server.counts().requests), (1, 4));
        assert_eq!((client.connections(), client.idle_connections()), (1, 1));
        drop(client);
        until(|| server.connections() == 0).await;
    });
}

#[test]
fn a_response_that_is_dropped_before_its_end_ends_its_connection() {
    run(async |_| {
        let long = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::from(vec![b'x'; 8 << 20])))
        });
        let server = serve(listener().await, long).unwrap();
        let (client, uri) = (Client::new(), format!("http://{}/", server.local_addrs()[0]));
        drop(client.get(&uri).await.unwrap());
        until(|| client.connections() == 0 && server.connections() == 0).await;
        // The same for a request that is dropped while it waits.
        let mut waits = std::pin::pin!(client.get(&uri));
        assert!(futures_lite::future::poll_once(waits.as_mut()).await.is_none());
        until(|| server.counts().connections == 2).await;
        waits.set(client.get(&uri));
        assert_eq!(waits.await.unwrap().into_body().bytes(8 << 20).await.unwrap().len(), 8 << 20);
        until(|| client.connections() == 1 && client.idle_connections() == 1).await;
    });
}

/// A server that answers each request after a second, and keeps the highest number in flight.
async fn slow_server() -> (HttpServer, Rc<Cell<usize>>) {
    let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let highest = most.clone();
    let service = service_fn(move |_: Request<Body>| {
        let now = now.clone();
        now.set(now.get() + 1);
        highest.set(highest.get().max(now.get()));
        async move {
            sleep(SECOND).await;
            now.set(now.get() - 1);
            Ok::<_, Infallible>(Response::new(Body::from("slow")))
        }
    });
    (serve(listener().await, service).unwrap(), most)
}

#[test]
fn the_connections_to_a_host_are_limited_and_requests_wait_in_order() {
    run_virtual(async |_| {
        let (server, most) = slow_server().await;
        let (client, uri) = (Client::builder().max_per_host(2).build(), format!("http://{}/", server.local_addrs()[0]));
        let (start, ends) = (Instant::now(), Rc::new(RefCell::new(Vec::new())));
        let all: Vec<Task<()>> = (0..6)
            .map(|number| {
                let (client, uri, ends) = (client.clone(), uri.clone(), ends.clone());
                spawn(async move {
                    assert_eq!(get(&client, &uri).await, "slow");
                    ends.borrow_mut().push(number);
                })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!((most.get(), server.counts().connections), (2, 2));
        assert_eq!(*ends.borrow(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(start.elapsed(), 3 * SECOND);
    });
}

#[test]
fn at_the_limit_of_all_the_longest_idle_connection_makes_room() {
    run_virtual(async |_| {
        let client = Client::builder().max_total(2).build();
        let mut servers = Vec::new();
        for _ in 0..3 {
            let server = serve(listener().await, service_fn(hello)).unwrap();
            get(&client, &format!("http://{}/", server.local_addrs()[0])).await;
            sleep(SECOND).await;
            servers.push(server);
        }
        until(|| client.connections() == 2).await;
        until(|| servers[0].connections() == 0).await;
        assert_eq!((servers[1].connections(), servers[2].connections()), (1, 1));
        // Busy connections are not closed: the third waits for one of them.
        let (slow, _) = slow_server().await;
        let uri = format!("http://{}/", slow.local_addrs()[0]);
        let start = Instant::now();
        let busy: Vec<_> = (0..3)
            .map(|_| {
                let (client, uri) = (client.clone(), uri.clone());
                spawn(async move { get(&client, &uri).await })
            })
            .collect();
        for one in busy {
            one.await.unwrap();
        }
        assert_eq!((start.elapsed(), slow.counts().connections), (2 * SECOND, 2));
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        let (client, uri) = (Client::new(), format!("http://{}/", server.local_addrs()[0]));
        get(&client, &uri).await;
        sleep(19 * SECOND).await;
        get(&client, &uri).await;
        sleep(19 * SECOND).await;
        assert_eq!((client.idle_connections(), server.counts().connections), (1, 1));
        sleep(2 * SECOND).await;
        assert_eq!((client.idle_connections(), client.connections()), (0, 0));
        get(&client, &uri).await;
        assert_eq!(server.counts().connections, 2);
    });
}

/// Accepts connections one by one, and answers the requests on each as `answers` says: `true` is an
/// answer, `false` an end. Returns how many requests each connection received.
async fn scripted(listener: TcpListener, answers: &[&[bool]]) -> Vec<usize> {
    let mut requests = Vec::new();
    for answers in answers {
        let (stream, _): (TcpStream, SocketAddr) = listener.accept().await.unwrap();
        requests.push(0);
        let mut received = Vec::new();
        for is_answered in *answers {
            while !received.ends_with(b"\r\n\r\n") {
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).await.unwrap();
                assert!(length > 0, "the client ended the connection after {received:?}");
                received.extend_from_slice(&buffer[..length]);
            }
            received.clear();
            *requests.last_mut().unwrap() += 1;
            if !is_answered {
                break;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    }
    requests
}

#[test]
fn a_kept_connection_that_has_ended_is_replaced_without_an_error() {
    run(async |_| {
        let listener = listener().await;
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        // Each server connection ends after one answer, so that the client finds it closed.
        let server = spawn(scripted(listener, &[&[true], &[true], &[true]]));
        let client = Client::new();
        for _ in 0..2 {
            assert_eq!(get(&client, &uri).await, "ok");
            until(|| client.connections() == 0).await;
        }
        let post = Request::post(&uri).body(()).unwrap();
        assert_eq!(client.request(post).await.unwrap().into_body().text(8).await.unwrap(), "ok");
        assert_eq!(server.await.unwrap(), [1, 1, 1]);
    });
}

#[test]
fn only_a_safe_request_without_an_answer_is_sent_again_and_only_on_a_kept_connection() {
    run(async |_| {
        // The second request on a kept connection gets an end.
        let pool = async |second: Request<Body>, script: &'static [&'static [bool]]| {
            let listener = listener().await;
            let address = listener.local_addr().unwrap();
            let server = spawn(scripted(listener, script));
            let client = Client::new();
            assert_eq!(get(&client, &format!("http://{address}/")).await, "ok");
            let (mut head, body) = second.into_parts();
            head.uri = format!("http://{address}/").parse().unwrap();
            let result = client.request(Request::from_parts(head, body)).await;
            let result = match result {
                Ok(response) => Ok(response.into_body().text(8).await.unwrap()),
                Err(error) => Err(error),
            };
            (result, server.await.unwrap())
        };
        let (result, requests) = pool(Request::new(Body::empty()), &[&[true, false], &[true]]).await;
        assert_eq!((result.unwrap(), requests), ("ok".to_string(), vec![2, 1]));
        let (result, requests) = pool(Request::post("/").body(Body::empty()).unwrap(), &[&[true, false]]).await;
        let error = result.unwrap_err();
        assert_eq!(requests, [2]);
        assert!(error.to_string().starts_with("cannot POST http://127.0.0.1:") && !error.is_connect(), "{error}");
        // Again an end on the new connection: that is the answer.
        let (result, requests) = pool(Request::new(Body::empty()), &[&[true, false], &[false]]).await;
        assert!(!result.unwrap_err().is_connect(), "no third connection is tried");
        assert_eq!(requests, [2, 1]);
    });
}

#[test]
fn http2_shares_one_connection_also_among_the_first_requests() {
    run_virtual(async |_| {
        let (server, most) = slow_server().await;
        let (client, uri) = (Client::builder().http2_only().build(), format!("http://{}/", server.local_addrs()[0]));
        let start = Instant::now();
        let all: Vec<_> = (0..50)
            .map(|_| {
                let (client, uri) = (client.clone(), uri.clone());
                spawn(async move {
                    let response = client.get(&uri).await.unwrap();
                    assert_eq!(response.version(), Version::HTTP_2);
                    response.into_body().text(64).await.unwrap()
                })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), "slow");
        }
        assert_eq!((most.get(), server.counts().connections, start.elapsed()), (50, 1, SECOND));
        // After the server's end, a new one is made.
        server.close();
        server.wait_closed().await;
        let error = client.get(&uri).await.unwrap_err();
        assert!(error.is_connect(), "{error}");
    });
}

#[test]
fn errors_name_the_request_and_hide_a_password() {
    run_virtual(async |_| {
        let client = Client::new();
        let error = client.get("http://me:secret@127.0.0.1:1/a?b=c").await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot GET http://127.0.0.1:1/a?b=c: "), "{text}");
        assert!(text.contains("refused") && error.is_connect(), "{text}");
        for (uri, reason) in [
            ("no uri", "cannot GET no uri: "),
            ("/path", "cannot GET /path: the URI has no scheme; write http:// or https:// and a host"),
            ("ftp://a/", "cannot GET ftp://a/: the scheme \"ftp\" is not http or https"),
        ] {
            let text = client.get(uri).await.unwrap_err().to_string();
            assert!(text.starts_with(reason), "{text}");
        }
        // What answers no HTTP.
        let listener = listener().await;
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
            stream.read(&mut [0; 64]).await.unwrap();
        });
        let error = client.get(&uri).await.unwrap_err();
        assert!(error.to_string().contains("invalid HTTP version"), "{error}");
        server.await.unwrap();
        // A server that accepts nothing: its backlog is full of connections.
        let silent = Client::builder().connect_timeout(3 * SECOND).build();
        let start = Instant::now();
        let error = silent.get("http://192.0.2.1/").await.unwrap_err();
        assert!(error.is_connect(), "{error}");
        assert!(start.elapsed() <= 3 * SECOND);
    });
}

#[test]
fn a_client_and_its_futures_are_send() {
    fn send<T: Send + Sync>(value: T) -> T {
        value
    }
    run(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        let client = send(Client::new());
        let uri = format!("http://{}/", server.local_addrs()[0]);
        let future = client.get(&uri);
        fn only_send<T: Send>(value: T) -> T {
            value
        }
        let response = only_send(future).await.unwrap();
        assert_eq!(send(response).into_body().text(8).await.unwrap(), "hello");
    });
}

#[test]
fn an_upgrade_leaves_the_pool() {
    run(async |_| {
        let service = service_fn(|mut request: Request<Body>| async move {
            let upgraded = hyper::upgrade::on(&mut request);
            drop(spawn(async move {
                use futures_lite::AsyncWriteExt;
                let mut stream = picot_hyper::FuturesIo::new(upgraded.await.unwrap());
                stream.write_all(b"other protocol").await.unwrap();
                stream.close().await.unwrap();
            }));
            let response = Response::builder().status(101).header("connection", "upgrade");
            Ok::<_, Infallible>(response.header("upgrade", "other").body(Body::empty()).unwrap())
        });
        let server = serve(listener().await, service).unwrap();
        let client = Client::new();
        let request = Request::get(format!("http://{}/", server.local_addrs()[0]))
            .header("connection", "upgrade")
            .header("upgrade", "other")
            .body(())
            .unwrap();
        let response = client.request(request).await.unwrap();
        let mut stream = picot_hyper::FuturesIo::new(hyper::upgrade::on(response).await.unwrap());
        let mut text = String::new();
        futures_lite::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
        assert_eq!((text.as_str(), client.idle_connections()), ("other protocol", 0));
    });
}
