//! DNS by hickory, against a dnsmasq on a free port of loopback.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use picot_examples::program::{example, lines};

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the example says about a host.
fn ask(server: &str, host: &str, port: u16) -> Vec<String> {
    let (status, stdout, stderr) = lines(&example("dns").args([server, host, &port.to_string()]).output().unwrap());
    assert_eq!((status, stderr), (Some(0), Vec::new()));
    stdout
}

#[test]
fn a_name_is_resolved_by_udp_and_by_tcp_and_an_unknown_one_is_an_error() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let mut command = Command::new("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
    command.args(["--user=", "--pid-file=", "--listen-address=127.0.0.1", "--log-facility=-"]);
    command.args([&format!("--port={port}"), "--local=/test/", "--host-record=one.test,127.0.0.1"]);
    // So many addresses that they do not fit into a datagram without extensions.
    let many = (1..=40).map(|n| {
        format!("--host-record=many.test,{}", if n == 1 { "127.0.0.1".into() } else { format!("127.0.1.{n}") })
    });
    let mut server = match command.args(many).stderr(Stdio::piped()).spawn() {
        Ok(child) => Server(child),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: DNS (dnsmasq is not installed)");
            return;
        }
        Err(error) => panic!("dnsmasq: {error}"),
    };
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("started")), "it listens");
    let dns = format!("127.0.0.1:{port}");
    let connected = format!("connected to {target}");
    assert_eq!(ask(&dns, "one.test", target.port()), ["1 addresses", &connected]);
    assert_eq!(ask(&dns, "many.test", target.port()), ["40 addresses", &connected], "by TCP");
    let unknown = "cannot connect to none.test:80: the name has no address";
    assert_eq!(ask(&dns, "none.test", 80), ["0 addresses", unknown]);
}
