//! Resolvers, which turn the name of a host into addresses.
//!
//! The system's resolver blocks and cannot be interrupted, so it runs on the lane's threads, and a
//! lookup that was dropped continues there. Names in the hosts file need no thread (`hosts.rs`).

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;

use picot_context::budget;

use crate::address::Address;
use crate::open::open_loop;
use crate::operation_error::About;

/// The future of a lookup; see [`Resolve`].
///
/// ```
/// use picot_net::Resolving;
///
/// /// Resolves every name to this machine.
/// fn resolve_here(port: u16) -> Resolving<'static> {
///     Box::pin(async move { Ok(vec![([127, 0, 0, 1], port).into()]) })
/// }
///
/// let addresses = futures_lite::future::block_on(resolve_here(80)).unwrap();
/// assert_eq!(addresses[0].port(), 80);
/// ```
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + 'a>>;

/// Finds the socket addresses of a host, for example by a cache, a DNS client or a table in a test.
///
/// Only names reach a resolver; numeric addresses are used as they are.
///
/// ```
/// use picot_net::{ConnectOptions, Resolve, Resolving, TcpListener};
///
/// struct Table(Vec<(&'static str, std::net::IpAddr)>);
///
/// impl Resolve for Table {
///     fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
///         let known = self.0.iter().filter(|(name, _)| *name == host);
///         let found = known.map(|(_, ip)| (*ip, port).into()).collect();
///         Box::pin(std::future::ready(Ok(found)))
///     }
/// }
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let table = Table(vec![("printer", [127, 0, 0, 1].into())]);
///     let port = listener.local_addr()?.port();
///     let stream = ConnectOptions::new().resolver(table).connect(("printer", port)).await?;
///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "getaddrinfo")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a resolver",
    label = "expected a type that implements `picot_net::Resolve`",
    note = "implement `Resolve` for a type with `fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>`"
)]
pub trait Resolve {
    /// Returns the addresses of `host`, best first, each with `port`. An empty list means an
    /// unknown host.
    ///
    /// Dropping the future must not block.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The operating system's resolver, `getaddrinfo`, which is the default.
///
/// On Linux, names in the hosts file are found at once and without a thread if the system reads
/// that file first. Other lookups block a thread of the loop's lane. A lookup that is dropped
/// before it has started never starts; later, it continues and its result is dropped. Closing the
/// loop does not wait for it.
///
/// The future fails if this thread has no loop or if the loop is closed.
///
/// ```
/// use picot_net::{Resolve, SystemResolver};
///
/// picot_loop::run(async {
///     let addresses = SystemResolver.resolve("localhost", 80).await?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        let host = host.to_string();
        Box::pin(async move {
            let handle = open_loop()?;
            #[cfg(target_os = "linux")]
            if let Some(found) = crate::hosts::find(&host, port) {
                return Ok(found);
            }
            let job = handle
                .spawn_lookup(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect))
                .map_err(io::Error::other)?;
            job.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        })
    }
}

/// Looks up the socket addresses of `address` with the system's resolver.
///
/// Numeric addresses are returned at once, even without a loop.
///
/// # Errors
/// The resolver's error, with the host. Also if the host has no address, if a list is empty, if a
/// text is not of the form `host:port`, or if a name needs a loop and this thread has none, or a
/// closed one.
///
/// # If dropped
/// A lookup that has not started never starts; one that runs continues, and its result is dropped.
///
/// ```
/// picot_loop::run(async {
///     let addresses = picot_net::lookup("127.0.0.1:80").await?;
///     assert_eq!(addresses, [([127, 0, 0, 1], 80).into()]);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "getaddrinfo")]
pub async fn lookup(address: impl Into<Address>) -> io::Result<Vec<SocketAddr>> {
    let address = address.into();
    lookup_with(&SystemResolver, &address).await.about(format_args!("look up {address}"))
}

/// Looks up `address` with `resolver`. The error does not name the address.
///
/// Spends the task's budget, because numeric addresses and cached names complete at once.
pub(crate) async fn lookup_with(resolver: &dyn Resolve, address: &Address) -> io::Result<Vec<SocketAddr>> {
    poll_fn(budget::poll_left).await;
    budget::spend();
    let (host, port) = match address.parts()? {
        Ok(numbers) => return Ok(numbers.to_vec()),
        Err(name) => name,
    };
    let found = resolver.resolve(host, port).await?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}
