//! Finds names without a thread if they need no name server: names in the hosts file, and IPv6
//! addresses with an interface.
//!
//! A lookup at a silent name server occupies its thread for seconds, and the lane has few threads.
//! A name in a file must not wait behind such lookups. The answers equal those of the system's
//! resolver: the hosts file counts only if the system reads it first. A large file is left to the
//! system's resolver, because reading it would block the loop.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rustix::net::{AddressFamily, SocketType, netdevice};
use socket2::{Domain, Socket, Type};

/// The longest file that is read, in bytes. The system's resolver reads longer ones on its thread.
const MAX: u64 = 64 * 1024;

/// The addresses of `host`, best first, if they are known without a name server.
pub(crate) fn find(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Some(address) = with_interface(host, port) {
        return Some(vec![address]);
    }
    let found = in_file(read("/etc/nsswitch.conf").as_deref(), read("/etc/hosts").as_deref(), host)?;
    Some(best_first(found.into_iter().map(|ip| (ip, port).into()).collect(), has_route))
}

/// The addresses of `host`, by the texts of `nsswitch.conf` and of the hosts file. `None` leaves it
/// to the system's resolver.
fn in_file(switch: Option<&str>, hosts: Option<&str>, host: &str) -> Option<Vec<IpAddr>> {
    if !asks_files_first(switch) {
        return None;
    }
    listed(hosts?, host).filter(|found| !found.is_empty())
}

/// Orders addresses as RFC 6724 does: what can be reached first, and IPv6 before IPv4.
fn best_first(mut addresses: Vec<SocketAddr>, has_route: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
    // A single address needs no order, so no socket is opened to look for a route.
    if addresses.len() > 1 {
        addresses.sort_by_cached_key(|address| (!has_route(address), address.is_ipv4()));
    }
    addresses
}

/// An IPv6 address with the name of an interface, such as `fe80::1%eth0`. With a number it is an
/// address that std can parse.
fn with_interface(host: &str, port: u16) -> Option<SocketAddr> {
    let (ip, interface) = host.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()?;
    let index = netdevice::name_to_index(socket, interface).ok()?;
    Some(SocketAddrV6::new(ip, port, 0, index).into())
}

/// The text of a small file; `None` for anything else, such as a pipe, which would block.
fn read(path: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let text = (metadata.is_file() && metadata.len() <= MAX).then(|| fs::read(path))?;
    Some(String::from_utf8_lossy(&text.ok()?).into_owned())
}

/// Whether the system's resolver reads the hosts file first, by the text of `nsswitch.conf`. musl
/// has no such file, and always reads the hosts file first.
fn asks_files_first(switch: Option<&str>) -> bool {
    if cfg!(target_env = "musl") {
        return true;
    }
    let sources = switch.into_iter().flat_map(str::lines).find_map(|line| line.trim_start().strip_prefix("hosts:"));
    sources.is_some_and(|sources| sources.split_whitespace().next() == Some("files"))
}

/// The addresses that a hosts file lists for `host`, each once. `None` if std cannot parse one of
/// them; then the system's resolver answers.
fn listed(hosts: &str, host: &str) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let entry = line.split('#').next().unwrap_or_default();
        let mut words = entry.split_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            let address = address.parse().ok()?;
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Some(found)
}

/// Whether the system has a route to `address`. Connecting a datagram socket sends nothing.
fn has_route(address: &SocketAddr) -> bool {
    let socket = Socket::new(Domain::for_address(*address), Type::DGRAM, None);
    socket.is_ok_and(|socket| socket.connect(&(*address).into()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_host_counts_once_in_any_case_and_comments_do_not() {
        let hosts =
            "# 1.1.1.1 box\n127.0.0.1\tlocalhost box # not: other\n\n::1 localhost Box\n127.0.0.1 box\n10.0.0.1\n";
        let loopback: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(listed(hosts, "BOX").unwrap(), loopback);
        assert_eq!(listed(hosts, "localhost").unwrap(), loopback);
        for absent in ["other", "not:", "1.1.1.1", "10.0.0.1", "bo", ""] {
            assert_eq!(listed(hosts, absent).unwrap(), [] as [IpAddr; 0], "{absent}");
        }
        assert_eq!(listed("fe80::1%lo0 box\n127.0.0.1 box", "box"), None, "the system's resolver knows what it means");
    }

    #[cfg(not(target_env = "musl"))]
    #[test]
    fn the_hosts_file_counts_only_if_the_system_reads_it_first() {
        for (switch, expected) in [
            ("hosts: files dns", true),
            ("passwd: db\n  hosts:\tfiles\n", true),
            ("hosts: resolve [!UNAVAIL=return] files", false),
            ("hosts: dns files", false),
            ("# hosts: files\nnetworks: files", false),
            ("", false),
        ] {
            assert_eq!(asks_files_first(Some(switch)), expected, "{switch:?}");
        }
        assert!(!asks_files_first(None));
        let hosts = Some("127.0.0.1 box");
        assert_eq!(in_file(Some("hosts: files"), hosts, "box"), Some(vec!["127.0.0.1".parse().unwrap()]));
        for (switch, hosts, host) in [("dns files", hosts, "box"), ("files", hosts, "other"), ("files", None, "box")] {
            assert_eq!(in_file(Some(&format!("hosts: {switch}")), hosts, host), None, "{switch}, {host}");
        }
    }

    #[test]
    fn addresses_with_a_route_come_first_and_ipv6_before_ipv4() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse(&["10.0.0.1:1", "127.0.0.1:1", "[fe80::1]:1", "[::1]:1", "127.0.0.2:1"]);
        let expected = parse(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1", "[fe80::1]:1", "10.0.0.1:1"]);
        assert_eq!(best_first(given, |address| address.ip().is_loopback()), expected);
        let one = parse(&["10.0.0.1:1"]);
        assert_eq!(best_first(one.clone(), |_| panic!("no route is looked up")), one);
    }

    #[test]
    fn only_small_files_are_read() {
        let folder = picot_testkit::Folder::new("hosts");
        let path = folder.join("hosts");
        let file = path.to_str().unwrap();
        for (length, is_read) in [(0, true), (MAX as usize, true), (MAX as usize + 1, false)] {
            fs::write(&path, "x".repeat(length)).unwrap();
            assert_eq!(read(file).map(|text| text.len()), is_read.then_some(length));
        }
        // A device, like a pipe, may block.
        assert_eq!((read(file), read("/dev/null")), (None, None));
    }

    #[test]
    fn an_address_with_the_name_of_an_interface_is_found() {
        let Some(found) = find("fe80::1%lo", 80) else { return assert!(with_interface("fe80::1%lo", 80).is_none()) };
        let SocketAddr::V6(address) = found[0] else { panic!("{found:?}") };
        assert_eq!((address.port(), address.scope_id() > 0), (80, true));
        assert!(with_interface("fe80::1%nothing", 80).is_none() && with_interface("127.0.0.1%lo", 80).is_none());
    }
}
