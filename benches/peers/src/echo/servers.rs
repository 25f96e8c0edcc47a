//! The echo server on each runtime, of one thread.

use std::net::TcpListener as StdListener;

use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::BUFFER;

pub(super) fn picot(ready: &dyn Fn(u16)) {
    use picot_net::{TcpListener, TcpStream};

    async fn echo(stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read]).await?,
            }
        }
    }

    picot_loop::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready(listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(picot_loop::spawn(echo(stream)));
        }
    });
}

pub(super) fn picot_protocol(ready: &dyn Fn(u16)) {
    use picot_net::{Protocol, Server, Transport};

    struct Echo;

    impl Protocol for Echo {
        #[inline]
        fn data(&mut self, transport: &Transport, data: &[u8]) {
            let _ = transport.write(data); // a connection that is gone is told in `lost`
        }
    }

    picot_loop::run(async {
        let server = Server::builder().bind("127.0.0.1:0").await.unwrap().serve_protocol(|| Echo).unwrap();
        ready(server.local_addrs()[0].port());
        std::future::pending::<()>().await;
    });
}

pub(super) fn tokio(ready: &dyn Fn(u16)) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read]).await?,
            }
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready(listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::task::spawn_local(echo(stream));
        }
    });
}

pub(super) fn smol(ready: &dyn Fn(u16)) {
    use async_io::Async;
    use std::net::TcpStream;

    async fn echo(mut stream: Async<TcpStream>) -> std::io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read]).await?,
            }
        }
    }

    let executor = async_executor::LocalExecutor::new();
    async_io::block_on(executor.run(async {
        let listener = Async::<StdListener>::bind(([127, 0, 0, 1], 0)).unwrap();
        ready(listener.get_ref().local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.get_ref().set_nodelay(true).unwrap();
            executor.spawn(echo(stream)).detach();
        }
    }));
}

pub(super) fn monoio_epoll(ready: &dyn Fn(u16)) {
    monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap().block_on(monoio_serve(ready));
}

pub(super) fn monoio_uring(ready: &dyn Fn(u16)) {
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build().unwrap().block_on(monoio_serve(ready));
}

async fn monoio_serve(ready: &dyn Fn(u16)) {
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    use monoio::net::{TcpListener, TcpStream};

    async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let (read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            let (written, emptied) = stream.write_all(filled).await;
            written?;
            buffer = emptied;
            buffer.clear();
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ready(listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        monoio::spawn(echo(stream));
    }
}

pub(super) fn compio(ready: &dyn Fn(u16)) {
    use compio::io::{AsyncRead, AsyncWriteExt};
    use compio::net::{TcpListener, TcpStream};

    async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let compio::BufResult(read, filled) = stream.read(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            let compio::BufResult(written, emptied) = stream.write_all(filled).await;
            written?;
            buffer = emptied;
            buffer.clear();
        }
    }

    compio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready(listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            compio::runtime::spawn(echo(stream)).detach();
        }
    });
}
