//! The smallest HTTP server on picot: HTTP/1 and HTTP/2 on one port, until Ctrl-C.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use picot::net::TcpListener;
use picot::task::CancelToken;
use picot_hyper::hyper::service::service_fn;
use picot_hyper::hyper::{Request, Response};
use picot_hyper::{Body, serve};

#[picot::main(interrupt, terminate)]
async fn main(interrupt: CancelToken) -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_string());
    // No lock and no `Send`: all handlers run on this thread.
    let visits = Rc::new(Cell::new(0));
    let hello = service_fn(move |_: Request<Body>| {
        visits.set(visits.get() + 1);
        let text = format!("hello, visitor {}\n", visits.get());
        async { Ok::<_, Infallible>(Response::new(Body::from(text))) }
    });
    let server = serve(TcpListener::bind(address).await?, hello)?;
    println!("listening at {}", server.local_addrs()[0]);
    interrupt.cancelled().await;
    let late = server.shutdown(Duration::from_secs(2)).await;
    println!("served {} requests; {} were not finished", server.counts().requests, late.len());
    Ok(())
}
