//! Addresses: numbers that are ready to use, and names that must be looked up first.
//!
//! Looking up blocks, so it happens on the loop's blocking lane. What is a number already never leaves the thread.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};

use picot_loop::spawn_blocking;

/// Where to connect to or listen: a socket address, or a host with a port.
///
/// ```
/// use picot_net::Address;
///
/// let _: Address = "127.0.0.1:80".into();
/// let _: Address = "localhost:80".into();
/// let _: Address = ("localhost", 80).into();
/// let _: Address = std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Number(SocketAddr),
    /// `host:port`.
    Name(String),
    HostPort(String, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Number(address) => address.fmt(f),
            Kind::Name(name) => f.write_str(name),
            Kind::HostPort(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address(Kind::Number(address))
    }
}

impl From<SocketAddrV4> for Address {
    fn from(address: SocketAddrV4) -> Address {
        SocketAddr::V4(address).into()
    }
}

impl From<SocketAddrV6> for Address {
    fn from(address: SocketAddrV6) -> Address {
        SocketAddr::V6(address).into()
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from(address: (IpAddr, u16)) -> Address {
        SocketAddr::from(address).into()
    }
}

impl From<String> for Address {
    fn from(text: String) -> Address {
        Address(text.parse().map_or_else(|_| Kind::Name(text), Kind::Number))
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Address {
        text.to_string().into()
    }
}

impl From<(String, u16)> for Address {
    fn from((host, port): (String, u16)) -> Address {
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).into(),
            Err(_) => Address(Kind::HostPort(host, port)),
        }
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Address {
        (host.to_string(), port).into()
    }
}

/// The socket addresses of `address`, by the system's resolver, on the loop's blocking lane. Numbers are given back as they
/// are, at once.
///
/// # Errors
/// What the resolver says; and if it knows no address.
///
/// # Panics
/// If a name is to be looked up and this thread has no loop.
///
/// # If dropped
/// A lookup that has not started does not start; one that runs goes on, and its result is dropped.
#[doc(alias = "getaddrinfo")]
pub async fn lookup(address: impl Into<Address>) -> io::Result<Vec<SocketAddr>> {
    let address = address.into();
    let text = address.to_string();
    let found = match address.0 {
        Kind::Number(address) => return Ok(vec![address]),
        Kind::Name(name) => look_up(name).await?,
        Kind::HostPort(host, port) => look_up((host, port)).await?,
    };
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address is known for {text}")));
    }
    Ok(found)
}

async fn look_up(name: impl ToSocketAddrs + Send + 'static) -> io::Result<Vec<SocketAddr>> {
    let job = spawn_blocking(move || name.to_socket_addrs().map(Iterator::collect));
    job.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Tries one address after the other, and returns the first success. If all fail, the error is that of the only one, or
/// names each attempt.
pub(crate) async fn first_success<T, F>(address: Address, attempt: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut errors = Vec::new();
    for address in lookup(address).await? {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(error) => errors.push((address, error)),
        }
    }
    Err(combine(errors))
}

fn combine(mut errors: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let (_, last) = errors.last().expect("a lookup that succeeds gives an address");
    let kind = last.kind();
    if let [_] = errors[..] {
        return errors.remove(0).1;
    }
    let attempts: Vec<_> = errors.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    io::Error::new(kind, attempts.join("; "))
}
