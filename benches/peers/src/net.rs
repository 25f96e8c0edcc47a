//! Servers for the benches of connections: picot by streams and by protocol, on one loop and on
//! two, and tokio.

use std::io;
use std::net::SocketAddr;

use futures_lite::AsyncReadExt;
use picot_net::{ListenOptions, LoopGroup, Protocol, Server, Transport};

/// The servers by name, with the kinds of service that each has: `echo` sends back what comes;
/// `send` reads a count and sends that many MiB.
pub const SERVERS: [(&str, &[&str]); 4] = [
    ("picot streams", &["echo", "send"]),
    ("picot protocol", &["echo", "send"]),
    ("picot protocol, two loops", &["echo"]),
    ("tokio streams", &["echo", "send"]),
];

const PIECE: usize = 1 << 20;

/// Serves as `name`, a server and a kind, until the process is killed. The first line on standard
/// output is the address.
pub fn serve(name: &str) {
    let result = match name {
        "picot streams echo" => picot_loop::run(streams(echo)),
        "picot streams send" => picot_loop::run(streams(send)),
        "picot protocol echo" => picot_loop::run(protocol(|| Echo)),
        "picot protocol send" => picot_loop::run(protocol(Send::default)),
        "picot protocol, two loops echo" => two_loops(),
        "tokio streams echo" => tokio_server::run(false),
        "tokio streams send" => tokio_server::run(true),
        other => Err(io::Error::other(format!("there is no server {other:?}"))),
    };
    result.unwrap();
}

fn tell(address: SocketAddr) {
    println!("{address}");
}

async fn streams<F: Future<Output = io::Result<()>> + 'static>(
    handler: impl Fn(picot_net::TcpStream) -> F + Copy + 'static,
) -> io::Result<()> {
    // A client that ends by a reset is no error here.
    let server = Server::builder().bind("127.0.0.1:0").await?.serve(move |stream, _| async move {
        let _ = handler(stream).await;
        Ok(())
    })?;
    tell(server.local_addrs()[0]);
    server.serve_forever().await
}

async fn echo(stream: picot_net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

async fn send(mut stream: picot_net::TcpStream) -> io::Result<()> {
    let mut count = [0; 8];
    stream.read_exact(&mut count).await?;
    let piece = vec![7; PIECE];
    for _ in 0..u64::from_le_bytes(count) {
        stream.write_all(&piece).await?;
    }
    Ok(())
}

struct Echo;

impl Protocol for Echo {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        let _ = transport.write(data);
    }
}

/// Writes a piece whenever the one before is down to the low mark.
#[derive(Default)]
struct Send {
    asked: Vec<u8>,
    left: u64,
    piece: Vec<u8>,
}

impl Send {
    fn write(&mut self, transport: &Transport) {
        while self.left > 0 && transport.unsent() == 0 {
            self.left -= 1;
            let _ = transport.write(&self.piece);
        }
    }
}

impl Protocol for Send {
    fn made(&mut self, transport: &Transport) {
        transport.set_write_marks(0, 0);
    }

    fn data(&mut self, transport: &Transport, data: &[u8]) {
        self.asked.extend_from_slice(data);
        if let Ok(count) = self.asked[..].try_into() {
            self.left = u64::from_le_bytes(count);
            self.piece = vec![7; PIECE];
            self.write(transport);
        }
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.write(transport);
    }
}

async fn protocol<P: Protocol>(factory: impl Fn() -> P + 'static) -> io::Result<()> {
    let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(factory)?;
    tell(server.local_addrs()[0]);
    server.serve_forever().await
}

/// Two loops at one port. The listener of the first picks it, and the second is there before it is
/// told.
fn two_loops() -> io::Result<()> {
    let (address, found) = std::sync::mpsc::channel::<SocketAddr>();
    let start = move |at: SocketAddr| {
        let address = address.clone();
        LoopGroup::start(1, move |_| {
            let address = address.clone();
            async move {
                let listen = ListenOptions::new().reuse_port(true);
                let server = Server::builder().listen_options(listen).bind(at).await?.serve_protocol(|| Echo)?;
                let _ = address.send(server.local_addrs()[0]);
                server.serve_forever().await
            }
        })
    };
    let first = start(([127, 0, 0, 1], 0).into())?;
    let port = found.recv().map_err(io::Error::other)?;
    let second = start(port)?;
    found.recv().map_err(io::Error::other)?;
    tell(port);
    drop((first.join(), second.join()));
    Ok(())
}

mod tokio_server {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{PIECE, tell};

    pub(super) fn run(sends: bool) -> io::Result<()> {
        let runtime = tokio::runtime::LocalRuntime::new()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            tell(listener.local_addr()?);
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(async move { if sends { send(stream).await } else { echo(stream).await } });
            }
        })
    }

    async fn echo(mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read]).await?,
            }
        }
    }

    async fn send(mut stream: TcpStream) -> io::Result<()> {
        let count = stream.read_u64_le().await?;
        let piece = vec![7; PIECE];
        for _ in 0..count {
            stream.write_all(&piece).await?;
        }
        Ok(())
    }
}
