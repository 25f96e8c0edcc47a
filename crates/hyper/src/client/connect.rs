//! Making a connection of a client, and running it.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use picot_loop::{LoopHandle, sleep};
use picot_net::TcpStream;

use super::pool::{Host, Key, Pool};
use crate::body::{Body, BoxError};
use crate::executor::LoopExecutor;
use crate::io::{HttpStream, Io};
use crate::timer::LoopTimer;

pub(super) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Connects to a host, within the pool's limit of time.
pub(super) async fn connect(pool: &Rc<Pool>, host: &Rc<Host>) -> Result<Sender, BoxError> {
    let limit = pool.options.connect_timeout;
    let (mut connecting, mut alarm) = (pin!(connect_unlimited(pool, host)), sleep(limit));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        Pin::new(&mut alarm).poll(cx).map(|()| Err(late(limit)))
    })
    .await
}

fn late(limit: Duration) -> BoxError {
    io::Error::new(io::ErrorKind::TimedOut, format!("connecting timed out after {limit:?}")).into()
}

async fn connect_unlimited(pool: &Rc<Pool>, host: &Rc<Host>) -> Result<Sender, BoxError> {
    let Key { is_https, host: name, port } = &host.key;
    let stream = TcpStream::connect((name.as_str(), *port)).await?;
    if !is_https {
        return begin(pool, host, stream, pool.options.http2_only).await;
    }
    #[cfg(feature = "__tls")]
    {
        let stream = pool.connector().await?.connect(name, stream).await?;
        let is_http2 = match stream.alpn_protocol() {
            Some(protocol) => protocol == b"h2",
            None => pool.options.http2_only,
        };
        begin(pool, host, stream, is_http2).await
    }
    #[cfg(not(feature = "__tls"))]
    Err("HTTPS needs the feature `tls-ring` or `tls-aws-lc` of picot-hyper".into())
}

/// Begins HTTP on a stream. A task of its own runs the connection until its end.
async fn begin<S: HttpStream>(pool: &Rc<Pool>, host: &Rc<Host>, stream: S, is_http2: bool) -> Result<Sender, BoxError> {
    let io = Io::new(stream);
    if is_http2 {
        let mut builder = http2::Builder::new(LoopExecutor);
        builder.timer(LoopTimer::new());
        let (sender, connection) = builder.handshake(io).await?;
        run(pool, host, connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await?;
        run(pool, host, connection.with_upgrades());
        Ok(Sender::Http1(sender))
    }
}

/// Runs a connection. Its errors come to the request that it serves, too; an idle connection that
/// fails is not used again.
fn run(pool: &Rc<Pool>, host: &Host, connection: impl Future<Output = hyper::Result<()>> + 'static) {
    let open = pool.count_open();
    let handle = LoopHandle::current();
    let task = handle.build_task().name(format!("HTTP connection to {}", host.key));
    drop(task.spawn(async move {
        let _open = open;
        let _ = connection.await;
    }));
}
