//! The end of a server: requests in flight, idle connections, the deadline, and what handlers see.

use std::convert::Infallible;
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response};
use picot_hyper::{Body, HttpServer, serve};
use picot_loop::{Instant, sleep, spawn};

use crate::{Raw, connect_http2, hello, listener, request, run, run_virtual, text, until};

const SECOND: Duration = Duration::from_secs(1);

/// Answers after ten seconds.
async fn slow(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    sleep(10 * SECOND).await;
    Ok(Response::new(Body::from("finished")))
}

#[test]
fn a_request_in_flight_is_finished_and_idle_connections_end_at_once() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(slow)).unwrap();
        let address = server.local_addrs()[0];
        // New, idle after a request, and busy.
        let (new, mut idle, mut busy) =
            (Raw::connect(address).await, Raw::connect(address).await, Raw::connect(address).await);
        assert_eq!(idle.get("/").await.1, "finished");
        let mut http2 = connect_http2(address).await;
        let http2_busy = http2.send_request(request("/", ""));
        busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let http2_idle = connect_http2(address).await;
        until(|| server.counts().requests == 3 && server.connections() == 5).await;

        let start = Instant::now();
        server.close();
        assert!(server.is_closed() && server.closing().is_closing());
        assert_eq!((new.rest().await, idle.rest().await), (String::new(), String::new()));
        until(|| http2_idle.is_closed() && server.connections() == 2).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(busy.response().await.1, "finished");
        assert_eq!(text(http2_busy.await).await, "finished");
        assert_eq!(busy.rest().await, "", "no further request is read");
        assert!(http2.send_request(request("/", "")).await.is_err());
        server.wait_closed().await;
        assert_eq!(start.elapsed(), 10 * SECOND);
    });
}

#[test]
fn a_shutdown_has_a_deadline_and_returns_what_is_left() {
    run_virtual(async |_| {
        let server = serve(listener().await, service_fn(slow)).unwrap();
        let address = server.local_addrs()[0];
        let (early, late) = (Raw::connect(address).await, Raw::connect(address).await);
        early.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until(|| server.counts().requests == 1).await;
        sleep(6 * SECOND).await;
        late.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut http2 = connect_http2(address).await;
        let http2_late = http2.send_request(request("/", ""));
        until(|| server.counts().requests == 3).await;

        let start = Instant::now();
        let left = server.shutdown(5 * SECOND).await;
        assert_eq!((start.elapsed(), server.connections()), (5 * SECOND, 0));
        let peer = late.stream.local_addr().unwrap();
        let names: Vec<_> = left.iter().map(|task| task.given_name().unwrap()).collect();
        assert!(names.len() == 2 && names.contains(&&*format!("client {peer}")), "{names:?}");
        assert!(early.rest().await.ends_with("finished"));
        assert_eq!(late.rest().await, "");
        assert!(http2_late.await.is_err());
        assert_eq!(server.shutdown(SECOND).await.len(), 0, "everything has ended");
    });
}

#[test]
fn handlers_see_that_the_server_closes() {
    run(async |_| {
        let builder = HttpServer::builder();
        let closing = builder.closing();
        let service = service_fn(move |_: Request<Body>| {
            let closing = closing.clone();
            async move {
                closing.wait().await;
                Ok::<_, Infallible>(Response::new(Body::from("closing")))
            }
        });
        let server = builder.serve(listener().await, service).unwrap();
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until(|| server.counts().requests == 1).await;
        // Outside of the handler, too; and a dropped server closes.
        let outside = spawn(server.closing().wait());
        drop(server);
        outside.await.unwrap();
        assert_eq!(client.response().await.1, "closing");
    });
}

#[test]
fn a_head_that_is_half_received_is_answered_after_the_close() {
    run(async |_| {
        let server = serve(listener().await, service_fn(hello)).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HT").await;
        until(|| server.connections() == 1).await;
        for _ in 0..5 {
            picot_loop::yield_now().await;
        }
        server.close();
        client.send("TP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.rest().await.ends_with("hello"));
    });
}

#[test]
fn a_shutdown_drops_the_late_handlers_of_http2_before_it_returns() {
    run_virtual(async |_| {
        let alive = std::rc::Rc::new(());
        let held = alive.clone();
        let service = service_fn(move |_: Request<Body>| {
            let held = held.clone();
            async move {
                let _held = held;
                std::future::pending::<Result<Response<Body>, Infallible>>().await
            }
        });
        let server = serve(listener().await, service).unwrap();
        let mut http2 = connect_http2(server.local_addrs()[0]).await;
        let _late = http2.send_request(request("/", ""));
        until(|| server.counts().requests == 1).await;
        server.shutdown(SECOND).await;
        assert_eq!(std::rc::Rc::strong_count(&alive), 1, "the service and its handlers are dropped");
    });
}
