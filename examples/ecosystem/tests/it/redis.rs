//! Redis on picot's streams, against a server on a free port of loopback.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use picot_examples::program::{example, lines};
use picot_testkit::Folder;

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_are_pipelined_and_time_out_by_picots_clock() {
    let folder = Folder::new("redis");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]).current_dir(folder.path());
    let mut server = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => Server(child),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: Redis (redis-server is not installed)");
            return;
        }
        Err(error) => panic!("redis-server: {error}"),
    };
    let mut log = BufReader::new(server.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("Ready to accept connections")), "it listens");
    let output = example("redis").arg(format!("127.0.0.1:{port}")).output().unwrap();
    let expected =
        ["sum 5050", "timed out: true, and the connection answers PONG", "a list operation on a number: WRONGTYPE"];
    assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
}
