//! Every error of a public function names what the function was about: the address, path or host, and the limit.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use picot_net::{
    ConnectOptions, Connections, ListenOptions, Resolve, Resolving, Server, TcpListener, TcpStream, UdpOptions,
    UdpSocket, connect_protocol, lookup, open_connection, raw_os_error, start_server,
};

use crate::trace::Trace;
use crate::{alone, run};

/// A host for which the resolver has an answer of its own.
struct Table(Result<Vec<SocketAddr>, &'static str>);

impl Resolve for Table {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(std::future::ready(self.0.clone().map_err(io::Error::other)))
    }
}

/// The functions of which a case was seen.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    /// `function` has failed, and its error names each of `parts`.
    fn names<T>(&mut self, function: &'static str, result: io::Result<T>, parts: &[&dyn ToString]) -> io::Error {
        let Err(error) = result else { panic!("{function} has not failed") };
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(&part.to_string()), "{function} does not name {}: {text}", part.to_string());
        }
        assert!(!text.contains(char::is_control), "{function}: {text:?}");
        self.0.push(function);
        error
    }
}

/// A number that refuses connections, and one that is in use.
async fn refused_and_taken() -> io::Result<(SocketAddr, TcpListener)> {
    let refused = TcpListener::bind(alone(3)).await?.local_addr()?;
    Ok((refused, TcpListener::bind("127.0.0.1:0").await?))
}

async fn nothing<R, W>(_: R, _: W) -> io::Result<()> {
    Ok(())
}

async fn internet(seen: &mut Seen) -> io::Result<()> {
    let (refused, listener) = refused_and_taken().await?;
    let taken = listener.local_addr()?;
    let error = seen.names("TcpStream::connect", TcpStream::connect(refused).await, &[&"connect", &refused]);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(raw_os_error(&error).is_some());
    seen.names("open_connection", open_connection(refused).await, &[&refused]);
    seen.names("connect_protocol", connect_protocol(refused, Trace::default()).await, &[&refused]);
    let connections = Connections::new()?;
    seen.names("Connections::connect", connections.connect(refused, Trace::default()).await, &[&refused]);

    let connect = || ConnectOptions::new().resolver(Table(Ok(vec![refused])));
    seen.names("ConnectOptions::connect", connect().connect("host:7").await, &[&"host:7", &refused]);
    let several = ConnectOptions::new().resolver(Table(Ok(vec![refused, refused])));
    let error = several.connect("host:7").await.unwrap_err();
    assert_eq!(error.to_string().matches(&refused.to_string()).count(), 2, "{error}");
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = connect().local_addr(local).connect("host:7").await;
    seen.names("ConnectOptions::connect", bound, &[&local, &"host:7", &refused]);
    let six = connect().local_addr(([0; 8], 0)).connect("host:7").await;
    seen.names("ConnectOptions::connect", six, &[&"[::]:0", &"host:7"]);
    let late = connect().timeout(Duration::ZERO).stagger(Duration::ZERO);
    let late = late.resolver(Table(Ok(vec![]))).connect("host:7").await;
    seen.names("ConnectOptions::connect", late, &[&"host:7", &"no address"]);
    let unknown = ConnectOptions::new().resolver(Table(Err("it\nis down")));
    seen.names("ConnectOptions::connect", unknown.connect("a\nb:7").await, &[&"a\\nb:7", &"it\\nis down"]);

    seen.names("lookup", lookup("no\nport").await, &[&"no\\nport", &"host:port"]);
    seen.names("TcpListener::bind", TcpListener::bind(taken).await, &[&"listen", &taken]);
    seen.names("ListenOptions::bind", ListenOptions::new().bind(taken).await, &[&taken]);
    seen.names("ServerBuilder::bind", Server::builder().bind(taken).await, &[&taken]);
    seen.names("start_server", start_server(taken, nothing).await, &[&taken]);
    let datagrams = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?;
    let socket = UdpSocket::bind(datagrams).await?;
    seen.names("UdpSocket::bind", UdpSocket::bind(datagrams).await, &[&datagrams]);
    seen.names("UdpOptions::bind", UdpOptions::new().bind(datagrams).await, &[&datagrams]);
    drop(socket);

    let server = start_server("127.0.0.1:0", nothing).await?;
    let address = server.local_addrs()[0];
    server.close();
    seen.names("Server::serve_forever", server.serve_forever().await, &[&address]);

    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let listener = TcpListener::from_std(deaf.into())?;
    let address = listener.local_addr()?;
    // The socket was never told to listen. After its first error it rests for a while, and the error comes again.
    for _ in 0..2 {
        seen.names("TcpListener::accept", listener.accept().await, &[&"accept", &address]);
    }
    Ok(())
}

#[cfg(unix)]
async fn unix(seen: &mut Seen, folder: &Path) -> io::Result<()> {
    use picot_net::{UnixDatagram, UnixListener, UnixStream, open_unix_connection, start_unix_server};

    let path = folder.join("no\nfolder").join("socket");
    let shown = format!("{}/no\\nfolder/socket", folder.display());
    seen.names("UnixListener::bind", UnixListener::bind(&path), &[&"listen", &shown]);
    seen.names("start_unix_server", start_unix_server(&path, nothing), &[&shown]);
    seen.names("UnixStream::connect", UnixStream::connect(&path).await, &[&"connect", &shown]);
    seen.names("open_unix_connection", open_unix_connection(&path).await, &[&shown]);
    seen.names("UnixDatagram::bind", UnixDatagram::bind(&path), &[&shown]);
    let unbound = UnixDatagram::unbound()?;
    seen.names("UnixDatagram::connect", unbound.connect(&path), &[&shown]);
    seen.names("UnixDatagram::send_to", unbound.send_to(b"x", &path).await, &[&shown]);

    let deaf = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    let path = folder.join("deaf");
    deaf.bind(&socket2::SockAddr::unix(&path)?)?;
    let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(deaf).into())?;
    seen.names("UnixListener::accept", listener.accept().await, &[&"accept", &path.display()]);
    Ok(())
}

/// What needs a loop names its subject where there is none, too.
fn without_a_loop(seen: &mut Seen, folder: &Path) {
    use futures_lite::future::block_on;

    let no_loop: &dyn ToString = &"no event loop";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    seen.names("TcpListener::from_std", TcpListener::from_std(listener), &[&address, no_loop]);
    seen.names("TcpStream::connect", block_on(TcpStream::connect(address)), &[&address, no_loop]);
    seen.names("TcpListener::bind", block_on(TcpListener::bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    seen.names("UdpSocket::bind", block_on(UdpSocket::bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    seen.names("lookup", block_on(lookup("host:1")), &[&"host:1", no_loop]);
    seen.names("ServerBuilder::bind", block_on(Server::builder().bind("127.0.0.1:0")), &[&"127.0.0.1:0", no_loop]);
    #[cfg(unix)]
    {
        use picot_net::{UnixDatagram, UnixListener, UnixStream};
        let path = folder.join("std");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let shown: &dyn ToString = &path.display();
        seen.names("UnixListener::from_std", UnixListener::from_std(listener), &[shown, no_loop]);
        seen.names("UnixListener::bind", UnixListener::bind(&path), &[shown, no_loop]);
        seen.names("UnixDatagram::bind", UnixDatagram::bind(&path), &[shown, no_loop]);
        seen.names("UnixStream::connect", block_on(UnixStream::connect(&path)), &[shown, no_loop]);
    }
}

/// Functions of these files that have no subject to name, or whose errors cannot be brought about.
const WITHOUT_A_CASE: [&str; 8] = [
    // They fail for a mistake in the program only, which the text describes.
    "ServerBuilder::serve",
    "ServerBuilder::serve_protocol",
    "ServerBuilder::serve_buffered",
    // The operating system does not refuse them to the owner of a socket.
    "TcpListener::local_addr",
    "UnixListener::local_addr",
    // They fail if the process can have no further thread; the texts name the loop's index.
    "LoopGroup::start",
    "LoopGroup::start_all",
    // `connect` and `bind` have the cases.
    "UnixDatagram::local_addr",
];

/// The functions in the files of servers, listeners, connecting and lookups that return an `io::Result`.
fn fallible() -> Vec<String> {
    let files = [
        ("group.rs", "LoopGroup"),
        ("listener.rs", "TcpListener"),
        ("options.rs", ""),
        ("resolve.rs", ""),
        ("server/builder.rs", "ServerBuilder"),
        ("server/mod.rs", "Server"),
        ("streams.rs", ""),
        ("unix/listener.rs", "UnixListener"),
    ];
    let mut found = Vec::new();
    for (file, owner) in files {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
        let mut owner = owner.to_string();
        for (number, line) in text.lines().enumerate() {
            if let Some(of) = line.strip_prefix("impl ") {
                owner = of.trim_end_matches(" {").to_string();
            }
            let is_public = line.trim_start().starts_with("pub fn ") || line.trim_start().starts_with("pub async fn ");
            let Some((_, name)) = line.split_once("fn ").filter(|_| is_public) else { continue };
            let signature: Vec<_> = text.lines().skip(number).take_while(|line| !line.ends_with('{')).collect();
            let last = text.lines().nth(number + signature.len()).unwrap_or_default();
            if !signature.join(" ").contains("io::Result") && !last.contains("io::Result") {
                continue;
            }
            let name = name.split(['(', '<']).next().unwrap();
            let owner = owner.split(['<', ' ']).next().unwrap();
            let is_method = line.starts_with(' ');
            found.push(if is_method { format!("{owner}::{name}") } else { name.to_string() });
        }
    }
    found
}

#[test]
fn every_error_names_the_address_path_or_host_and_no_function_is_left_out() {
    let folder: PathBuf = std::env::temp_dir().join(format!("picot-net-{}-names", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let mut seen = Seen::default();
    without_a_loop(&mut seen, &folder);
    run(internet(&mut seen));
    #[cfg(unix)]
    run(unix(&mut seen, &folder));
    fs::remove_dir_all(&folder).unwrap();
    let left_out: Vec<_> = fallible()
        .into_iter()
        .filter(|name| !seen.0.contains(&&**name) && !WITHOUT_A_CASE.contains(&&**name))
        .filter(|name| cfg!(unix) || !name.to_lowercase().contains("unix"))
        .collect();
    assert!(left_out.is_empty(), "no case shows what the errors of these name: {left_out:?}");
}
