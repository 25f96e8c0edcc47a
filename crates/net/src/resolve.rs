//! Resolvers, which turn the name of a host into addresses.
//!
//! The system's resolver blocks and cannot be interrupted, so it runs on a thread of the loop's lane, and a lookup that was
//! dropped runs on there. Names in the hosts file need no thread (`hosts.rs`). Another resolver implements [`Resolve`].

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;

use picot_context::budget;

use crate::address::Address;
use crate::open::open_loop;
use crate::operation_error::About;

/// The future of a lookup; see [`Resolve`].
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + 'a>>;

/// Finds the socket addresses of a host: the system's resolver, a cache in front of it, a DNS client, a test's table.
///
/// It is asked for names only: what is a number already never reaches it.
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
pub trait Resolve {
    /// The addresses of `host`, best first, each with `port`. An empty list says that the host is not known.
    ///
    /// Dropping the future must not block.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The operating system's resolver, `getaddrinfo`: what is used unless another one is named.
///
/// On Linux, names in the hosts file are found at once and without a thread, where the system asks that file first.
/// A lookup blocks its thread for as long as the system takes. Dropped before it has started, it does not start; dropped
/// later, it runs on, and its result is dropped. Closing the loop does not wait for it.
///
/// Its future is an error if this thread has no loop, or it is closed.
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

/// The socket addresses of `address`, by the system's resolver. Numbers are returned as they are, at once, also without a loop.
///
/// # Errors
/// The resolver's error, with the host; if it knows no address; if a text is not of the form `host:port`; if a name is to be
/// looked up and this thread has no loop, or it is closed.
///
/// # If dropped
/// A lookup that has not started does not start; one that runs goes on, and its result is dropped.
#[doc(alias = "getaddrinfo")]
pub async fn lookup(address: impl Into<Address>) -> io::Result<Vec<SocketAddr>> {
    let address = address.into();
    lookup_with(&SystemResolver, &address).await.about(format_args!("look up {address}"))
}

/// Looks `address` up by `resolver`. It spends the task's budget, because numbers and a cache complete at once. The error does
/// not name the address.
pub(crate) async fn lookup_with(resolver: &dyn Resolve, address: &Address) -> io::Result<Vec<SocketAddr>> {
    poll_fn(budget::poll_left).await;
    budget::spend();
    let (host, port) = match address.parts()? {
        Ok(number) => return Ok(vec![number]),
        Err(name) => name,
    };
    let found = resolver.resolve(host, port).await?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}
