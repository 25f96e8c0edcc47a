//! async-nats as a guest, against a server on a free port of loopback.

use std::io::{BufRead, BufReader};
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

/// Starts a server, and returns its address. `None` if it is not installed.
fn start() -> Option<(Server, String)> {
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", "-1"]).stderr(Stdio::piped());
    let mut server = match command.spawn() {
        Ok(child) => Server(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("nats-server: {error}"),
    };
    let log = BufReader::new(server.0.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    let listening = lines.find(|line| line.contains("Listening for client connections on "));
    let address = listening.expect("it listens").rsplit(' ').next().unwrap().to_string();
    // Read on, so that the server does not write to a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some((server, address))
}

#[test]
fn a_service_of_picots_tasks_answers_a_hundred_requests() {
    let Some((_server, address)) = start() else {
        println!("skipped: NATS (nats-server is not installed)");
        return;
    };
    let output = example("guest_nats").arg(address).output().unwrap();
    let expected = ["100 requests, sum 9900", "timed out: true"];
    assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
}
