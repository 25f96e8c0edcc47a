//! The server that stands on the reactor alone.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

use picot_examples::program::server;

fn ask(stream: &TcpStream, line: &str) -> String {
    writeln!(&mut &*stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn it_answers_several_clients_line_by_line_and_quits_when_told_to() {
    let (mut server, address) = server("only_reactor", &["127.0.0.1:0"]);

    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for round in 0..3 {
        for (n, client) in clients.iter().enumerate() {
            assert_eq!(ask(client, &format!("{n} ab {round}")), format!("{round} ba {}\n", reversed(n)));
        }
    }
    // In pieces, more lines than one at a time, and more than a socket's buffer holds.
    let [first, second, ..] = &clients[..] else { unreachable!() };
    (&*first).write_all(b"ab").unwrap();
    assert_eq!(ask(second, "xy"), "yx\n");
    (&*first).write_all(b"c\nde\n").unwrap();
    let mut lines = BufReader::new(first).lines();
    assert_eq!([(); 2].map(|()| lines.next().unwrap().unwrap()), ["cba", "ed"]);
    let long = "0123456789".repeat(50_000);
    assert_eq!(ask(second, &long).trim_end(), reversed(&long));

    // An end is an end, and the others stay.
    first.shutdown(Shutdown::Write).unwrap();
    assert!(lines.next().is_none());
    assert_eq!(ask(second, "still"), "llits\n");
    (&*second).write_all(b"quit\n").unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

fn reversed(text: impl ToString) -> String {
    text.to_string().chars().rev().collect()
}
