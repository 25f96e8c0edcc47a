//! What a connection costs that does nothing: the bytes that are asked of the allocator for it,
//! without what an allocator adds. Run it by `cargo bench -p picot-benches --features net --bench
//! net`; both ends are in this process, so it needs descriptors (`ulimit -n 20000`).

use std::io::{self, Read, Write};
use std::net::TcpStream;

use picot_benches::{Counting, live_bytes};
use picot_loop::yield_now;
use picot_net::{Protocol, Server, Transport};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IDLE: usize = 9_800;

struct Echo;

impl Protocol for Echo {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        let _ = transport.write(data);
    }
}

/// The buffer is a part of it, and so of what it costs.
async fn echo(stream: picot_net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

fn main() -> io::Result<()> {
    println!("| live bytes an idle connection, {IDLE} of them | |");
    println!("|---|---:|");
    let protocol = picot_loop::run(async {
        measure(Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?).await
    })?;
    println!("| by protocol | {protocol} |");
    let streams = picot_loop::run(async {
        measure(Server::builder().bind("127.0.0.1:0").await?.serve(|stream, _| echo(stream))?).await
    })?;
    println!("| by streams, with a buffer of 64 bytes | {streams} |");
    Ok(())
}

/// Connects, and has one round trip, before what there is by then is measured.
async fn measure(server: Server) -> io::Result<usize> {
    let mut clients = Vec::with_capacity(IDLE + 100);
    connect(&server, &mut clients, 100).await?;
    let before = live_bytes();
    connect(&server, &mut clients, IDLE).await?;
    let bytes = (live_bytes() - before) / IDLE;
    drop(clients);
    while server.clients() > 0 {
        yield_now().await;
    }
    Ok(bytes)
}

/// The clients are plain sockets, which ask the allocator for nothing.
async fn connect(server: &Server, clients: &mut Vec<TcpStream>, count: usize) -> io::Result<()> {
    let address = server.local_addrs()[0];
    for _ in 0..count {
        let mut client = TcpStream::connect(address)?;
        client.write_all(&[7; 64])?;
        client.set_nonblocking(true)?;
        let mut back = [0; 64];
        let mut read = 0;
        while read < back.len() {
            match client.read(&mut back[read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => yield_now().await,
                Err(error) => return Err(error),
            }
        }
        clients.push(client);
    }
    Ok(())
}
