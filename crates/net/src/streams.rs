//! asyncio's functions for streams, over TCP and Unix sockets: connections and servers that use a
//! buffered reader and writer.

use std::io;
use std::panic::Location;

use crate::address::Address;
use crate::duplex::Duplex;
use crate::reader::Reader;
use crate::server::Server;
use crate::split::{ReadHalf, WriteHalf, split};
use crate::stream::TcpStream;
#[cfg(unix)]
use crate::unix::{UnixListener, UnixStream};
use crate::writer::Writer;

/// The reader that [`open_connection`] returns, which has an example.
///
/// ```
/// use picot_net::{TcpReader, open_connection, start_server};
///
/// # picot_loop::run(async {
/// async fn count_lines(mut reader: TcpReader) -> std::io::Result<usize> {
///     let mut count = 0;
///     while reader.read_line().await?.is_some() {
///         count += 1;
///     }
///     Ok(count)
/// }
///
/// let server = start_server("127.0.0.1:0", |_, mut writer| async move {
///     writer.write_all(b"a\nb\n").await
/// })
/// .await?;
/// let (reader, _writer) = open_connection(server.local_addrs()[0]).await?;
/// assert_eq!(count_lines(reader).await?, 2);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub type TcpReader = Reader<ReadHalf<TcpStream>>;

/// The writer that [`open_connection`] returns, which has an example.
///
/// ```
/// use picot_net::{TcpWriter, open_connection, start_server};
///
/// # picot_loop::run(async {
/// async fn greet(writer: &mut TcpWriter, name: &str) -> std::io::Result<()> {
///     writer.write_line(&format!("hello {name}")).await
/// }
///
/// let server = start_server("127.0.0.1:0", |_, mut writer| async move {
///     greet(&mut writer, "you").await
/// })
/// .await?;
/// let (mut reader, _writer) = open_connection(server.local_addrs()[0]).await?;
/// assert_eq!(reader.read_line().await?.as_deref(), Some("hello you"));
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub type TcpWriter = Writer<WriteHalf<TcpStream>>;

/// Connects to `address`, like [`TcpStream::connect`], and returns a buffered reader and writer.
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

/// Listens at all addresses of `address`, and runs `handler` for each connection in a task of its
/// own.
///
/// The handler receives a buffered reader and writer. [`Server`] describes what happens to its
/// errors; [`Server::builder`] has options. An example is at [`open_connection`].
///
/// # Errors
/// The operating system's error with the address, for example that it is in use; and if this thread
/// has no loop.
///
/// # If dropped
/// Nothing listens.
///
/// ```
/// use picot_net::{open_connection, start_server};
///
/// # picot_loop::run(async {
/// let server = start_server("127.0.0.1:0", |mut reader, mut writer| async move {
///     let Some(name) = reader.read_line().await? else { return Ok(()) };
///     writer.write_line(&format!("hello {name}")).await
/// })
/// .await?;
/// let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
/// writer.write_line("world").await?;
/// assert_eq!(reader.read_line().await?.as_deref(), Some("hello world"));
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[track_caller]
pub fn start_server<H, F>(address: impl Into<Address>, handler: H) -> impl Future<Output = io::Result<Server>>
where
    H: Fn(TcpReader, TcpWriter) -> F + 'static,
    F: Future<Output = io::Result<()>> + 'static,
{
    // Not an `async fn`, whose body cannot see the caller's location.
    let place = Location::caller();
    async move {
        Server::builder().bind(address).await?.serve_at(place, move |stream, _peer| {
            let (reader, writer) = buffered(stream);
            handler(reader, writer)
        })
    }
}

/// The reader that [`open_unix_connection`] returns, which has an example.
///
/// ```
/// use picot_net::{Reader, UnixReader, UnixStream};
///
/// # picot_loop::run(async {
/// let (near, far) = UnixStream::pair()?;
/// near.write_all(b"hello\n").await?;
/// let mut reader: UnixReader = Reader::new(far.split().0);
/// assert_eq!(reader.read_line().await?.as_deref(), Some("hello"));
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[cfg(unix)]
pub type UnixReader = Reader<ReadHalf<UnixStream>>;

/// The writer that [`open_unix_connection`] returns, which has an example.
///
/// ```
/// use picot_net::{UnixStream, UnixWriter, Writer};
///
/// # picot_loop::run(async {
/// let (near, far) = UnixStream::pair()?;
/// let mut writer: UnixWriter = Writer::new(near.split().1);
/// writer.write_line("hello").await?;
/// assert_eq!(far.read(&mut [0; 16]).await?, 6);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[cfg(unix)]
pub type UnixWriter = Writer<WriteHalf<UnixStream>>;

/// Connects to the socket at `path`, like [`UnixStream::connect`], and returns a buffered reader
/// and writer.
///
/// # Errors
/// As for [`UnixStream::connect`].
///
/// # If dropped
/// The connection is not made, or closed again.
///
/// ```
/// use picot_net::{open_unix_connection, start_unix_server};
///
/// let folder = std::env::temp_dir().join(format!("picot-unix-{}", std::process::id()));
/// std::fs::create_dir(&folder).unwrap();
/// let path = folder.join("socket");
/// picot_loop::run(async {
///     let server = start_unix_server(&path, |mut reader, mut writer| async move {
///         while let Some(line) = reader.read_line().await? {
///             writer.write_all(format!("you said {line}\n").as_bytes()).await?;
///         }
///         Ok(())
///     })?;
///
///     let (mut reader, mut writer) = open_unix_connection(&path).await?;
///     writer.write_all(b"hello\n").await?;
///     assert_eq!(reader.read_line().await?.as_deref(), Some("you said hello"));
///     writer.close().await?;
///     server.close();
///     server.wait_closed().await;
///     assert!(!path.exists());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// # std::fs::remove_dir(&folder).unwrap();
/// ```
#[cfg(unix)]
pub async fn open_unix_connection(path: impl AsRef<std::path::Path>) -> io::Result<(UnixReader, UnixWriter)> {
    Ok(buffered(UnixStream::connect(path).await?))
}

/// Listens at `path`, like [`UnixListener::bind`], and runs `handler` for each connection in a task
/// of its own.
///
/// The handler receives a buffered reader and writer. Closing the server removes its path.
/// [`Server`] describes what happens to errors. [`Server::builder`] has options, and takes a
/// listener by [`listener`](crate::ServerBuilder::listener).
///
/// It is not `async`, because a path need not be looked up. An example is at
/// [`open_unix_connection`].
///
/// # Errors
/// The operating system's error with the path, for example that something other than a socket is
/// there; and if this thread has no loop.
///
/// ```
/// use picot_net::{open_unix_connection, start_unix_server};
///
/// # picot_loop::run(async {
/// let path = std::env::temp_dir().join(format!("picot-greeter-{}", std::process::id()));
/// let server = start_unix_server(&path, |_, mut writer| async move {
///     writer.write_line("hello").await
/// })?;
/// let (mut reader, _writer) = open_unix_connection(&path).await?;
/// assert_eq!(reader.read_line().await?.as_deref(), Some("hello"));
/// drop(server);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[cfg(unix)]
#[doc(alias = "create_unix_server")]
#[track_caller]
pub fn start_unix_server<H, F>(path: impl AsRef<std::path::Path>, handler: H) -> io::Result<Server>
where
    H: Fn(UnixReader, UnixWriter) -> F + 'static,
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = UnixListener::bind(path)?;
    Server::builder().listener(listener).serve_at(Location::caller(), move |stream, _peer| {
        let (reader, writer) = buffered(stream);
        handler(reader, writer)
    })
}

fn buffered<S: Duplex>(stream: S) -> (Reader<ReadHalf<S>>, Writer<WriteHalf<S>>) {
    let (read, write) = split(stream);
    (Reader::new(read), Writer::new(write))
}
