//! asyncio's pair of functions for streams: a connection as a reader and a writer, and a server that hands out such pairs.

use std::io;
use std::panic::Location;

use crate::address::Address;
use crate::reader::Reader;
use crate::server::Server;
use crate::split::{ReadHalf, WriteHalf};
use crate::stream::TcpStream;
use crate::writer::Writer;

/// What [`open_connection`] gives to read from.
pub type TcpReader = Reader<ReadHalf<TcpStream>>;

/// What [`open_connection`] gives to write to.
pub type TcpWriter = Writer<WriteHalf<TcpStream>>;

/// Connects to `address`, as [`TcpStream::connect`] does, and gives a buffered reader and writer.
///
/// # Errors
/// As for [`TcpStream::connect`].
///
/// # If dropped
/// The connection is not made, or closed again.
///
/// ```
/// use picot_net::{open_connection, start_server};
///
/// picot_loop::run(async {
///     let server = start_server("127.0.0.1:0", |mut reader, mut writer| async move {
///         while let Some(line) = reader.read_line().await? {
///             writer.write_all(format!("you said {line}\n").as_bytes()).await?;
///         }
///         Ok(())
///     })
///     .await?;
///
///     let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
///     writer.write_all(b"hello\n").await?;
///     assert_eq!(reader.read_line().await?.as_deref(), Some("you said hello"));
///     writer.close().await?;
///     server.close();
///     server.wait_closed().await;
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub async fn open_connection(address: impl Into<Address>) -> io::Result<(TcpReader, TcpWriter)> {
    Ok(buffered(TcpStream::connect(address).await?))
}

/// Listens at all addresses of `address`, and runs `handler` for each connection, with a buffered reader and writer, in a
/// task of its own. [`Server`] says what becomes of its errors; [`Server::builder`] has options.
///
/// # Errors
/// What the operating system says, for example that the address is in use; and if this thread has no loop.
///
/// # If dropped
/// Nothing listens.
#[track_caller]
pub fn start_server<H, F>(address: impl Into<Address>, handler: H) -> impl Future<Output = io::Result<Server>>
where
    H: Fn(TcpReader, TcpWriter) -> F + 'static,
    F: Future<Output = io::Result<()>> + 'static,
{
    // A function, and no `async fn`: that would not know its caller.
    let place = Location::caller();
    async move {
        Server::builder().bind(address).await?.serve_at(place, move |stream, _peer| {
            let (reader, writer) = buffered(stream);
            handler(reader, writer)
        })
    }
}

fn buffered(stream: TcpStream) -> (TcpReader, TcpWriter) {
    let (read, write) = stream.split();
    (Reader::new(read), Writer::new(write))
}
