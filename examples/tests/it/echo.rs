//! The echo programs, with each other and with what is not there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use picot_examples::program::{example, lines, server};

#[test]
fn the_client_measures_the_server() {
    let (_server, address) = server("echo_server", &["127.0.0.1:0"]);
    let mut client = example("echo_client");
    client.args([&address, "--connections", "8", "--bytes", "100", "--seconds", "0.2"]);
    let (status, stdout, stderr) = lines(&client.output().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(0), 1, 0), "{stdout:?} {stderr:?}");
    let figures: Vec<_> = stdout[0].split(", ").collect();
    assert_eq!(figures.len(), 4, "{stdout:?}");
    let rate: u64 = figures[0].strip_suffix(" round trips a second").unwrap().parse().unwrap();
    assert!(rate > 0);
    for (figure, name) in figures[1..].iter().zip(["p50 ", "p99 ", "max "]) {
        assert!(figure.starts_with(name) && figure.ends_with(" µs"), "{figure}");
    }
}

#[test]
fn the_server_echoes_what_others_send_and_outlives_those_who_leave() {
    let (_server, address) = server("echo_server", &["127.0.0.1:0"]);
    for _ in 0..3 {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"hello, world").unwrap();
        let mut back = [0; 12];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello, world");
        // Leaves with an answer on its way, which resets the connection.
        stream.write_all(&[0; 10_000]).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_has_one_thread_and_no_hidden_one() {
    let (server, address) = server("echo_server", &["127.0.0.1:0"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"!").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    assert_eq!(threads.count(), 1);
}

#[test]
fn an_address_in_use_or_refused_is_one_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, stdout, stderr) = lines(&example("echo_server").arg(&address).output().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 0, 1), "{stderr:?}");
    assert!(stderr[0].starts_with(&format!("echo_server: cannot listen at {address}: ")), "{stderr:?}");

    drop(taken);
    let (status, stdout, stderr) = lines(&example("echo_client").arg(&address).output().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 0, 1), "{stderr:?}");
    assert!(stderr[0].starts_with(&format!("echo_client: cannot connect to {address}: ")), "{stderr:?}");
}

#[test]
fn a_wrong_use_says_how_it_is_meant() {
    for (name, arguments) in [
        ("echo_server", &[][..]),
        ("echo_server", &["one", "two"]),
        ("echo_client", &[]),
        ("echo_client", &["127.0.0.1:1", "--connections", "0"]),
        ("echo_client", &["127.0.0.1:1", "--seconds", "-1"]),
        ("echo_client", &["127.0.0.1:1", "--nonsense"]),
    ] {
        let (status, stdout, stderr) = lines(&example(name).args(arguments).output().unwrap());
        assert_eq!((status, stdout.len()), (Some(1), 0), "{name} {arguments:?}");
        assert!(stderr.last().unwrap().starts_with(&format!("usage: {name} ADDR")), "{stderr:?}");
    }
}

#[test]
fn a_server_that_goes_away_is_an_error_of_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = example("echo_client");
    client.args([&listener.local_addr().unwrap().to_string(), "--connections", "1", "--seconds", "0.1"]);
    let client = std::thread::spawn(move || client.output().unwrap());
    drop(listener.accept().unwrap());
    let (status, stdout, stderr) = lines(&client.join().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 0, 1), "{stdout:?} {stderr:?}");
}
