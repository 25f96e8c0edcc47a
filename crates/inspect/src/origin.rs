//! Which requests may read: those of this machine's own programs, and of pages from here.
//!
//! Any page in a browser can send requests to a loopback address. It must not read the answers,
//! neither directly (`Origin`, `Sec-Fetch-Site`) nor by a name of its own that resolves to this
//! address (DNS rebinding; `Host`).

use std::net::{IpAddr, SocketAddr};

use httparse::Header;

/// Checks the headers of a request to the server at `local`.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn check(headers: &[Header<'_>], local: SocketAddr) -> Result<(), String> {
    let mut hosts = values(headers, "host");
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err("the request has to have one header `Host`".to_string());
    };
    if !is_own(host, local) {
        return Err(format!(
            "`Host` has to be localhost or the address of this server, {local}: a page under another name must not \
             read this one"
        ));
    }
    // A request of a page that is not from here. A plain program sends neither header.
    let foreign = values(headers, "origin").any(|origin| origin.strip_prefix("http://") != Some(host))
        || values(headers, "sec-fetch-site").any(|site| !matches!(site, "same-origin" | "none"));
    match foreign {
        true => Err("a page from elsewhere must not read this one; type its address into the browser".to_string()),
        false => Ok(()),
    }
}

fn values<'a>(headers: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    // A value that is no text equals none that is allowed.
    named.map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}"))
}

/// Whether the host is this server's. The port is free, because a forwarded one differs.
///
/// A name that an attacker controls is never among them. An address cannot be rebound, but if the
/// server has one address, no other is right.
fn is_own(host: &str, local: SocketAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse().map(IpAddr::V6),
        None => name.parse().map(IpAddr::V4),
    };
    address.is_ok_and(|address| address.is_loopback() || address == local.ip() || local.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(local: &str, headers: &[(&str, &str)]) -> bool {
        let headers: Vec<_> = headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        check(&headers, local.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_the_own_names_and_addresses_are_allowed() {
        let local = "127.0.0.1:6669";
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:6669", "127.0.0.1", "[::1]:6669", "127.1.2.3"] {
            assert!(allows(local, &[("Host", host)]), "{host}");
        }
        for host in ["", "evil.example", "evil.example:6669", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!allows(local, &[("Host", host)]), "{host}");
        }
        for host in ["10.0.0.1:6669", "localhost:", "::1", "[::1", "127.0.0.1@evil.example", "0x7f.1", "localhost:x"] {
            assert!(!allows(local, &[("Host", host)]), "{host}");
        }
        assert!(allows("0.0.0.0:1", &[("Host", "10.0.0.1:1")]), "any address of the machine");
        assert!(!allows("0.0.0.0:1", &[("Host", "evil.example:1")]));
        assert!(!allows(local, &[]));
        assert!(!allows(local, &[("Host", "localhost"), ("host", "localhost")]));
    }

    #[test]
    fn a_page_from_elsewhere_is_refused() {
        let (local, host) = ("127.0.0.1:6669", ("host", "localhost:6669"));
        for header in
            [("origin", "http://localhost:6669"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
        {
            assert!(allows(local, &[host, header]), "{header:?}");
        }
        for origin in ["null", "http://evil.example", "http://localhost:80", "https://localhost:6669"] {
            assert!(!allows(local, &[host, ("Origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(!allows(local, &[host, ("Sec-Fetch-Site", site)]), "{site}");
        }
    }
}
