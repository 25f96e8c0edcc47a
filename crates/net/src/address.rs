//! Addresses: numeric ones, which are ready to use, and names, which must be looked up first.
//!
//! Numeric addresses are recognized here, so that none reaches a resolver. `resolve.rs` looks names
//! up.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::slice;

use picot_context::Escaped;

/// Where to connect to or listen: a socket address, several of them, or a host with a port.
///
/// Several addresses are tried like those of a name: best first, until one succeeds.
///
/// ```
/// use picot_net::Address;
///
/// let _: Address = "127.0.0.1:80".into();
/// let _: Address = "localhost:80".into();
/// let _: Address = ("localhost", 80).into();
/// let _: Address = (std::net::Ipv6Addr::LOCALHOST, 80).into();
/// let number = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
/// let _: Address = number.into();
/// let _: Address = (&number).into();
/// let _: Address = [number, ([127, 0, 0, 1], 8080).into()].into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Number(SocketAddr),
    /// None, or more than one.
    Numbers(Vec<SocketAddr>),
    /// `host:port`.
    Name(String),
    HostPort(String, u16),
}

impl Address {
    /// The socket address, if this is a single numeric one, which needs no lookup.
    pub(crate) fn number(&self) -> Option<SocketAddr> {
        match self.0 {
            Kind::Number(address) => Some(address),
            Kind::Numbers(_) | Kind::Name(_) | Kind::HostPort(..) => None,
        }
    }

    /// The socket addresses, or the host and port to look up. An error if it is neither.
    pub(crate) fn parts(&self) -> io::Result<Result<&[SocketAddr], (&str, u16)>> {
        let name = match &self.0 {
            Kind::Number(address) => return Ok(Ok(slice::from_ref(address))),
            Kind::Numbers(addresses) if addresses.is_empty() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the list of addresses is empty"));
            }
            Kind::Numbers(addresses) => return Ok(Ok(addresses)),
            Kind::HostPort(host, port) => return Ok(Err((host, *port))),
            Kind::Name(name) => name,
        };
        let parts = name.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parts {
            // An IPv6 address with the name of an interface is in brackets and has to be looked up.
            Some((host, port)) => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(host) if !host.is_empty() => Ok(Err((host, port))),
                None if !host.is_empty() && !host.contains(':') => Ok(Err((host, port))),
                _ => Err(no_address(name)),
            },
            None => Err(no_address(name)),
        }
    }
}

fn no_address(text: &str) -> io::Error {
    let form = "it should be `host:port`, with a port from 0 to 65535, and an IPv6 address in brackets";
    io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} is not an address: {form}"))
}

/// Displays the address as text, with control characters in a name escaped.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Number(address) => address.fmt(f),
            Kind::Numbers(addresses) if addresses.is_empty() => f.write_str("no address"),
            Kind::Numbers(addresses) => {
                for (n, address) in addresses.iter().enumerate() {
                    let separator = if n == 0 { "" } else { ", " };
                    write!(f, "{separator}{address}")?;
                }
                Ok(())
            }
            Kind::Name(name) => Escaped(name).fmt(f),
            Kind::HostPort(host, port) => write!(f, "{}:{port}", Escaped(host)),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address(Kind::Number(address))
    }
}

impl From<&SocketAddr> for Address {
    fn from(address: &SocketAddr) -> Address {
        (*address).into()
    }
}

impl From<Vec<SocketAddr>> for Address {
    fn from(addresses: Vec<SocketAddr>) -> Address {
        match addresses[..] {
            [address] => address.into(),
            _ => Address(Kind::Numbers(addresses)),
        }
    }
}

impl From<&Vec<SocketAddr>> for Address {
    fn from(addresses: &Vec<SocketAddr>) -> Address {
        addresses.clone().into()
    }
}

impl From<&[SocketAddr]> for Address {
    fn from(addresses: &[SocketAddr]) -> Address {
        addresses.to_vec().into()
    }
}

impl<const N: usize> From<[SocketAddr; N]> for Address {
    fn from(addresses: [SocketAddr; N]) -> Address {
        addresses.to_vec().into()
    }
}

impl<const N: usize> From<&[SocketAddr; N]> for Address {
    fn from(addresses: &[SocketAddr; N]) -> Address {
        addresses.to_vec().into()
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

impl From<(Ipv4Addr, u16)> for Address {
    fn from(address: (Ipv4Addr, u16)) -> Address {
        SocketAddr::from(address).into()
    }
}

impl From<(Ipv6Addr, u16)> for Address {
    fn from(address: (Ipv6Addr, u16)) -> Address {
        SocketAddr::from(address).into()
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Address {
        text.as_str().into()
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
