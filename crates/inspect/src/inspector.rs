//! The inspector of a program: how it is started, and what ends it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use picot_loop::RemoteHandle;
use picot_net::{Server, TcpListener};

use crate::collect::Loops;
use crate::server::{MAX_CONNECTIONS, Site};

/// The environment variable of [`serve_from_env`].
const VARIABLE: &str = "PICOT_INSPECT";

/// Serves the page about this thread's loop at `address`, such as `127.0.0.1:6669`.
///
/// The page is at `/`, JSON at `/tasks.json`, and Prometheus text at `/metrics`. Port 0 lets the
/// operating system choose a port; see [`Inspector::local_addr`]. The loop measures the steps of
/// its tasks from then on, also when the inspector has ended; see
/// [`LoopHandle::record_steps`](picot_loop::LoopHandle::record_steps).
///
/// # Errors
/// If `address` is no address with a port, or not one of this machine alone; if it cannot be bound;
/// or if this thread has no open loop.
///
/// ```
/// picot_loop::run(async {
///     let inspector = picot_inspect::serve("127.0.0.1:0")?;
///     println!("look at http://{}/", inspector.local_addr());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub fn serve(address: &str) -> io::Result<Inspector> {
    Options::new().serve(address)
}

/// Serves at the address in the environment variable `PICOT_INSPECT`, if that is set and not empty.
///
/// # Errors
/// As for [`serve`]. The error names the variable.
///
/// ```
/// picot_loop::run(async {
///     let _inspector = picot_inspect::serve_from_env()?;
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub fn serve_from_env() -> io::Result<Option<Inspector>> {
    let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    // Text that is no UTF-8 is no address either, and the error shows it.
    let value = value.to_string_lossy();
    let about = |error: io::Error| io::Error::new(error.kind(), format!("{VARIABLE}: {error}"));
    serve(&value).map(Some).map_err(about)
}

/// The options of an [`Inspector`].
///
/// ```
/// # picot_loop::run(async {
/// let options = picot_inspect::Options::new().allow_remote(true);
/// let _inspector = options.serve("0.0.0.0:0")?;
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    allow_remote: bool,
}

impl Options {
    /// The default options: only this machine can connect.
    ///
    /// ```
    /// let options = picot_inspect::Options::new();
    /// # drop(options);
    /// ```
    pub fn new() -> Options {
        Options::default()
    }

    /// Whether other machines may connect. There is no password and no encryption: all that can
    /// reach the address can read the names of tasks and the addresses of peers.
    ///
    /// Without it, forward a port instead, by `ssh -L 6669:localhost:6669 HOST`.
    ///
    /// ```
    /// let options = picot_inspect::Options::new().allow_remote(true);
    /// # drop(options);
    /// ```
    pub fn allow_remote(self, allow: bool) -> Options {
        Options { allow_remote: allow }
    }

    /// As [`serve`](crate::serve()), with these options.
    ///
    /// # Errors
    /// As for [`serve`](crate::serve()).
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let inspector = picot_inspect::Options::new().serve("localhost:0")?;
    /// assert!(inspector.local_addr().ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn serve(&self, address: &str) -> io::Result<Inspector> {
        let asked = address;
        let address = parse(address)?;
        if !self.allow_remote && !address.ip().is_loopback() {
            let text = format!(
                "`{asked}` can be reached from other machines: use 127.0.0.1 or [::1], or `Options::allow_remote`"
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let local = listener.local_addr()?;
            io::Result::Ok((local, TcpListener::from_std(listener)?))
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("inspect at {address}: {error}"));
        let (local, listener) = bind().map_err(named)?;
        let site = Rc::new(Site::new(local, Loops::of_thread()));
        let handler = {
            let site = site.clone();
            move |stream, _| site.clone().connection(stream)
        };
        let builder = Server::builder().max_connections(MAX_CONNECTIONS).listener(listener);
        let server = site.start(|| builder.serve(handler))?;
        Ok(Inspector { site, server, local })
    }
}

/// `localhost` is the one name, so that a mistyped address is no lookup.
fn parse(text: &str) -> io::Result<SocketAddr> {
    let localhost = || {
        let port = text.strip_prefix("localhost:")?.parse().ok()?;
        Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    };
    text.parse().ok().or_else(localhost).ok_or_else(|| {
        let text = format!("`{}` is no address with a port, such as 127.0.0.1:6669", picot_context::Escaped(text));
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// A page about a running program; made by [`serve`](crate::serve()).
///
/// Dropping it closes the page and its connections.
///
/// ```
/// picot_loop::run(async {
///     let inspector = picot_inspect::serve("127.0.0.1:0")?;
///     let stream = picot_net::TcpStream::connect(inspector.local_addr()).await?;
///     stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
///     let mut head = [0; 15];
///     stream.read(&mut head).await?;
///     assert_eq!(&head, b"HTTP/1.1 200 OK");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "an inspector that is dropped is closed"]
pub struct Inspector {
    site: Rc<Site>,
    server: Server,
    local: SocketAddr,
}

impl Inspector {
    /// The address at which it serves.
    ///
    /// ```
    /// # picot_loop::run(async {
    /// let inspector = picot_inspect::serve("127.0.0.1:0")?;
    /// assert_ne!(inspector.local_addr().port(), 0);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Shows another loop, too: a worker's, for example one of a `LoopGroup`.
    ///
    /// That loop lists its own tasks when the page asks for them. If it does not answer within a
    /// second, because it is stuck in a step, the page says so.
    ///
    /// # Errors
    /// If that loop is closed.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start(2, |_| std::future::pending::<()>())?;
    /// picot_loop::run(async {
    ///     let inspector = picot_inspect::serve("127.0.0.1:0")?;
    ///     for index in 0..group.len() {
    ///         inspector.add_loop(&format!("worker {index}"), group.remote(index))?;
    ///     }
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_loop(&self, name: &str, remote: &RemoteHandle) -> io::Result<()> {
        self.site.loops.add(name, remote)
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        self.server.close();
        self.server.abort_clients();
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("local_addr", &self.local).finish_non_exhaustive()
    }
}
