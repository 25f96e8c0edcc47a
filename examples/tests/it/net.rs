//! The programs for connections, with clients of std, so that the two sides do not share a mistake.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
#[cfg(target_os = "linux")]
use std::net::SocketAddr;
use std::net::TcpStream;
#[cfg(unix)]
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use picot::EventLoop;
use picot_examples::program::{Running, example, lines, server};

/// What has not come by then does not come.
const LATE: Duration = Duration::from_secs(10);

#[test]
fn the_echo_server_serves_by_protocol_as_well() {
    let (_server, address) = server("echo_server", &["127.0.0.1:0", "--protocol"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    let sent: Vec<u8> = (0..3_000_000).map(|n| (n % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn({
        let sent = sent.clone();
        move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent);
}

#[test]
fn what_one_says_in_the_chat_the_others_hear() {
    let (_server, address) = server("chat", &["serve", "127.0.0.1:0"]);
    let join = |name| {
        let mut command = example("chat");
        command.args(["join", &address, name]).stdin(Stdio::piped());
        Running::start(command)
    };
    // A guest by hand, who speaks first: so it is known to be there before the others come.
    let mut guest = TcpStream::connect(&address).unwrap();
    let mut early = TcpStream::connect(&address).unwrap();
    let mut guest_lines = BufReader::new(guest.try_clone().unwrap()).lines();
    early.write_all(b"hello there\n").unwrap();
    assert_eq!(guest_lines.next().unwrap().unwrap(), "hello there");
    drop(early);
    let mut ann = join("ann");
    assert_eq!(guest_lines.next().unwrap().unwrap(), "ann has come");
    let mut bob = join("bob");
    assert_eq!(guest_lines.next().unwrap().unwrap(), "bob has come");
    guest.write_all(b"hel").unwrap();
    guest.write_all(b"lo\nfrom by hand\n").unwrap();
    for client in [&mut ann, &mut bob] {
        let first = loop {
            let line = client.line();
            if !line.ends_with("has come") {
                break line;
            }
        };
        assert_eq!((first.as_str(), client.line().as_str()), ("hello", "from by hand"));
    }
    ann.child.stdin.take().unwrap().write_all(b"bye\n").unwrap();
    assert_eq!(bob.line(), "ann: bye");
    assert_eq!(bob.line(), "ann has gone");
    assert!(ann.child.wait().unwrap().success());
    assert_eq!(guest_lines.next().unwrap().unwrap(), "ann: bye");

    // What others send cannot control the terminal of a guest.
    guest.write_all(b"\x1b[2Jann: forged\rnow\x07\n").unwrap();
    assert_eq!(bob.line(), "\\u{1b}[2Jann: forged\\rnow\\u{7}");

    // One who says more than a line may be is shown the door, and the others do not hear of it.
    let mut endless = TcpStream::connect(&address).unwrap();
    endless.write_all(&[b'x'; 5_000]).unwrap();
    endless.set_read_timeout(Some(LATE)).unwrap();
    match endless.read(&mut [0; 64]) {
        Ok(read) => assert_eq!(read, 0, "it is not spoken to"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    guest.write_all(b"still here\n").unwrap();
    assert_eq!(bob.line(), "still here");
}

#[test]
fn a_guest_who_does_not_listen_is_left_out_of_the_chat_when_a_mebibyte_waits_for_it() {
    let (_server, address) = server("chat", &["serve", "127.0.0.1:0"]);
    let mut deaf = TcpStream::connect(&address).unwrap();
    let mut hears = TcpStream::connect(&address).unwrap();
    // Who comes last speaks first: then the others are there.
    let mut talks = TcpStream::connect(&address).unwrap();
    let mut lines = BufReader::new(hears.try_clone().unwrap()).lines();
    talks.write_all(b"hello there\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "hello there");
    let line = format!("{}\n", "x".repeat(4_000));
    // More than the buffers of both kernels and the server's patience, but the other one hears all
    // of it.
    for _ in 0..5_000 {
        talks.write_all(line.as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap().len(), 4_000);
    }
    // What had gone out before it was left can be read, and then it has ended.
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    deaf.set_read_timeout(Some(LATE)).unwrap();
    while let Ok(read @ 1..) = deaf.read(&mut buffer) {
        total += read;
    }
    assert!(total < 5_000 * line.len(), "{total}");
    hears.write_all(b"bye\n").unwrap();
}

/// Sends a signal, such as `-INT`, to an example.
#[cfg(unix)]
fn signal(running: &Running, signal: &str) {
    let kill = Command::new("kill").args([signal, &running.child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Gives the examples the default for `SIGINT`, which a shell ignores for its jobs in the
/// background: a signal that has had a listener here has the default again in programs that are
/// executed.
#[cfg(unix)]
fn let_examples_be_interrupted() {
    use picot::process::{Signal, signal};

    picot::run(async { drop(signal(Signal::INT).unwrap()) });
}

#[cfg(unix)]
#[test]
fn on_ctrl_c_the_chat_says_so_and_lets_its_guests_read_it() {
    let_examples_be_interrupted();
    for name in ["-INT", "-TERM"] {
        let (mut chat, address) = server("chat", &["serve", "127.0.0.1:0"]);
        let mut guest = TcpStream::connect(&address).unwrap();
        let mut lines = BufReader::new(guest.try_clone().unwrap()).lines().map(Result::unwrap);
        let mut command = example("chat");
        command.args(["join", &address, "ann"]).stdin(Stdio::piped());
        let mut ann = Running::start(command);
        assert_eq!(lines.next().unwrap(), "ann has come");
        guest.write_all(b"hello\n").unwrap();
        assert_eq!(ann.line(), "hello");
        signal(&chat, name);
        assert_eq!(lines.next().unwrap(), "the chat is closing");
        assert_eq!(lines.next(), None, "an end, and no reset");
        assert_eq!((ann.line(), ann.line()), ("the chat is closing".into(), String::new()));
        assert!(ann.child.wait().unwrap().success(), "it ends although its input goes on");
        assert_eq!(chat.line(), "closed");
        assert_eq!(chat.child.wait().unwrap().code(), Some(0), "the program chooses its status");
        assert!(TcpStream::connect(&address).is_err());
    }
}

/// The bytes that the kernel holds for the two ends of a connection over IPv4: sent by `server` and
/// not acknowledged, or received by `client` and not read. Those under way may count twice.
#[cfg(target_os = "linux")]
fn held_by_the_kernel(server: SocketAddr, client: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
    let queues = table.lines().skip(1).map(|line| line.split_whitespace().collect()).map(|fields: Vec<_>| {
        let (sent, received) = fields[4].split_once(':').unwrap();
        let [sent, received] = [sent, received].map(|length| usize::from_str_radix(length, 16).unwrap());
        match (port(fields[1]), port(fields[2])) {
            ends if ends == (server.port(), client.port()) => sent,
            ends if ends == (client.port(), server.port()) => received,
            _ => 0,
        }
    });
    queues.sum()
}

#[cfg(target_os = "linux")]
#[test]
fn a_guest_that_does_not_read_delays_the_end_of_the_chat_by_its_drain_time_only() {
    let_examples_be_interrupted();
    let (mut chat, address) = server("chat", &["serve", "127.0.0.1:0", "0.3"]);
    let deaf = TcpStream::connect(&address).unwrap();
    let guest = TcpStream::connect(&address).unwrap();
    let mut lines = BufReader::new(guest.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut talks = TcpStream::connect(&address).unwrap();
    let line = "x".repeat(4_000);
    let (mut sent, ends) = (0, (deaf.peer_addr().unwrap(), deaf.local_addr().unwrap()));
    // Until bytes for the deaf guest wait in the server, which the kernel's buffers do not take.
    while sent <= held_by_the_kernel(ends.0, ends.1) + 100_000 {
        talks.write_all(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap(), line, "the server has read it");
        sent += line.len() + 1;
    }
    guest.set_read_timeout(Some(LATE)).unwrap();
    signal(&chat, "-TERM");
    assert_eq!(lines.next().unwrap(), "the chat is closing");
    assert_eq!(lines.next(), None, "a guest that reads has an end, and no reset");
    assert_eq!(chat.line(), "closed; guests that did not read the last lines: 1");
    assert_eq!(chat.child.wait().unwrap().code(), Some(0));
    drop(deaf);

    for arguments in [&["serve", "127.0.0.1:0", "-1"][..], &["serve", "127.0.0.1:0", "61"], &["serve"], &[]] {
        let (status, _, stderr) = picot_examples::program::lines(&example("chat").args(arguments).output().unwrap());
        let usage = "usage: chat serve ADDR [SECONDS] | chat join ADDR NAME; at most 60 seconds";
        assert_eq!((status, stderr), (Some(1), vec![usage.to_string()]));
    }
}

#[cfg(unix)]
#[test]
fn a_client_of_the_chat_says_on_ctrl_c_that_it_goes() {
    let_examples_be_interrupted();
    let (_chat, address) = server("chat", &["serve", "127.0.0.1:0"]);
    let guest = TcpStream::connect(&address).unwrap();
    let mut lines = BufReader::new(guest.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut command = example("chat");
    command.args(["join", &address, "ann"]).stdin(Stdio::piped());
    let mut ann = Running::start(command);
    assert_eq!(lines.next().unwrap(), "ann has come");
    signal(&ann, "-INT");
    assert_eq!(lines.next().unwrap(), "ann has gone");
    assert!(ann.child.wait().unwrap().success());
}

/// Sends a request and gives what comes back until the server closes.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn http_is_answered_as_far_as_it_goes_and_refused_beyond() {
    let (_server, address) = server("http_hello", &["127.0.0.1:0"]);
    let two = ask(&address, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /ann HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(two.contains("Hello, world!\n") && two.ends_with("\r\n\r\nHello, ann!\n"), "{two}");
    assert_eq!(two.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    let head = ask(&address, "HEAD / HTTP/1.0\r\n\r\n");
    assert!(head.contains("Content-Length: 14\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for (request, status) in [
        ("GET /a/b HTTP/1.0\r\n\r\n", "404"),
        ("DELETE / HTTP/1.0\r\n\r\n", "405"),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", "413"),
        ("GET /\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\n\r\n", "505"),
    ] {
        let answer = ask(&address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
}

#[test]
fn malformed_and_excessive_requests_are_refused_and_their_connections_closed() {
    let (_server, address) = server("http_hello", &["127.0.0.1:0"]);
    let headers = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "Name: value\r\n".repeat(count));
    let long = |length: usize| format!("GET / HTTP/1.0\r\nLong: {}\r\n\r\n", "x".repeat(length - "Long: ".len()));
    let path = |length: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(length - "GET / HTTP/1.0".len()));
    let length = |length: &str| format!("GET / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    for (request, status) in [
        (headers(0), "200"),
        (headers(100), "200"),
        (headers(101), "431"),
        (headers(5_000), "431"),
        (long(8 * 1024), "200"),
        (long(8 * 1024 + 1), "431"),
        (long(1 << 20), "431"),
        (path(8 * 1024), "200"),
        (path(8 * 1024 + 1), "431"),
        ("\r\n".to_string(), "400"),
        ("GET  / HTTP/1.1\r\n\r\n".to_string(), "400"),
        ("GET / HTTP/1.1 \r\n\r\n".to_string(), "400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_string(), "400"),
        ("GET / HTTP/1.1\r\n: no name\r\n\r\n".to_string(), "400"),
        ("GET / HTTP/1.1\r\nIn between : x\r\n\r\n".to_string(), "400"),
        ("GET / HTTP/1.1\r\nOne: 1\r\n folded: 2\r\n\r\n".to_string(), "400"),
        ("GET / http/1.1\r\n\r\n".to_string(), "505"),
        ("get / HTTP/1.0\r\n\r\n".to_string(), "405"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_string(), "413"),
        // A length is digits, and nothing else that a parser of numbers may take.
        (length("000"), "200"),
        (length("\t0 "), "200"),
        (length("5"), "413"),
        (length("99999999999999999999999999"), "413"),
        (length("+0"), "400"),
        (length("-0"), "400"),
        (length("0x0"), "400"),
        (length("0, 0"), "400"),
        (length("0 0"), "400"),
        (length("\u{a0}0"), "400"),
        (length("\u{0660}"), "400"),
        (length(""), "400"),
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\nConnection: TE, Close\r\n\r\n".to_string(), "200"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nnonsense\r\n".to_string(), "200"),
    ] {
        let answer = ask(&address, &request);
        let start = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start:?}: {answer}");
    }
    // What is no text at all, and a request that breaks off.
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /\xff HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nName: val").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_client_that_takes_too_long_is_told_so_at_its_first_request_and_at_any_later_one() {
    let (_server, address) = server("http_hello", &["127.0.0.1:0", "0.3"]);
    for (sent, answers) in [
        ("", &["408"][..]),
        ("GET / HT", &["408"]),
        ("GET / HTTP/1.1\r\nName: value\r\n", &["408"]),
        ("GET / HTTP/1.1\r\n\r\nGET /", &["200", "408"]),
    ] {
        let text = ask(&address, sent);
        let found: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(found, answers, "{sent:?}: {text}");
        assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
    }
    // One who asks and does not read is left: what it writes then is an error.
    let mut stream = TcpStream::connect(&address).unwrap();
    let requests = "GET / HTTP/1.1\r\n\r\n".repeat(1_000);
    stream.set_write_timeout(Some(LATE)).unwrap();
    let error = loop {
        if let Err(error) = stream.write_all(requests.as_bytes()) {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    // Each request has its own time: together these take longer than one may.
    let mut stream = TcpStream::connect(&address).unwrap();
    let (mut answer, event_loop) = ([0; 512], EventLoop::new().unwrap());
    let clock = event_loop.handle();
    let start = clock.now();
    while clock.now() - start < Duration::from_millis(600) {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
    }
    for arguments in [&["127.0.0.1:0", "-1"][..], &["127.0.0.1:0", "soon"], &[]] {
        let (status, _, stderr) = lines(&example("http_hello").args(arguments).output().unwrap());
        assert_eq!((status, stderr), (Some(1), vec!["usage: http_hello ADDR [SECONDS]".to_string()]));
    }
}

#[test]
fn protocols_on_both_sides_echo_every_message() {
    let (status, stdout, stderr) = lines(&example("protocol_echo").arg("20").output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stderr:?}");
    assert_eq!(stdout, ["20 clients had 200 messages echoed"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_loop_per_core_listens_at_one_port() {
    // As many as are asked for, or as there are cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (arguments, loops) in [(&["127.0.0.1:0", "3"][..], 3), (&["127.0.0.1:0"], cores)] {
        let (mut server, address) = server("loop_per_core", arguments);
        let mut ready: Vec<_> = (0..loops).map(|_| server.line()).collect();
        ready.sort();
        let mut expected: Vec<_> = (0..loops).map(|index| format!("loop {index} is ready")).collect();
        expected.sort();
        assert_eq!(ready, expected);
        let threads = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
        assert_eq!(threads.count(), 1 + loops, "one thread a loop, and the one that waits for them");
        for _ in 0..16 {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"hello").unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
        }
    }
    for arguments in [&["127.0.0.1:0", "0"][..], &["nowhere"], &[]] {
        assert_eq!(lines(&example("loop_per_core").args(arguments).output().unwrap()).0, Some(1), "{arguments:?}");
    }
}

#[test]
fn names_are_resolved_in_order_and_unknown_ones_are_told() {
    let (status, stdout, stderr) =
        lines(&example("resolve").args(["localhost", "::1", "127.0.0.2:80"]).output().unwrap());
    assert_eq!((status, stderr.len(), stdout.len()), (Some(0), 0, 3), "{stderr:?}");
    assert!(stdout[0] == "localhost: 127.0.0.1" || stdout[0].contains("::1"), "{stdout:?}");
    assert_eq!(stdout[1..], ["::1: ::1", "127.0.0.2:80: 127.0.0.2"]);
    let (status, stdout, stderr) = lines(&example("resolve").args(["127.0.0.1", "a.name.invalid"]).output().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 1, 1), "{stderr:?}");
    assert!(stderr[0].starts_with("resolve: a.name.invalid: "), "{stderr:?}");
}

#[cfg(feature = "tls-ring")]
#[test]
fn under_tls_a_line_comes_back_and_a_wrong_name_or_authority_is_refused() {
    let data = |name: &str| format!("{}/../crates/net/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key, authority) = (data("localhost.pem"), data("localhost.key"), data("authority.pem"));
    let (_server, address) = server("tls_echo", &["serve", "127.0.0.1:0", &certificate, &key]);
    let send = |name: &str, rest: &[&str]| {
        lines(&example("tls_echo").args(["send", &address, name, "hello"]).args(rest).output().unwrap())
    };
    let (status, stdout, stderr) = send("localhost", &[&authority]);
    assert_eq!((status, stdout), (Some(0), vec!["hello".to_string()]), "{stderr:?}");
    // The second by the machine's own authorities, of which there may be none.
    let refusals =
        [("elsewhere", &[&*authority][..], "not valid for name"), ("localhost", &[], "UnknownIssuer|no authorit")];
    for (name, rest, texts) in refusals {
        let (status, stdout, stderr) = send(name, rest);
        assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 0, 1), "{stderr:?}");
        assert!(texts.split('|').any(|text| stderr[0].contains(text)), "{stderr:?}");
    }
}

#[test]
fn bad_connections_are_counted_in_one_line_a_second() {
    let mut command = example("http_hello");
    command.args(["127.0.0.1:0"]);
    let mut server = Running::start(command);
    let address = server.line().strip_prefix("listening at ").unwrap().to_string();
    for _ in 0..50 {
        assert!(ask(&address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(ask(&address, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    let lines = stderr.lines().map(Result::unwrap).filter(|line| !line.contains(" kept the loop "));
    let mut counts = lines.map(|line| {
        let count =
            line.strip_prefix("http_hello: ").and_then(|line| line.strip_suffix(" bad connections within a second"));
        count.unwrap_or_else(|| panic!("{line}")).parse::<u32>().unwrap()
    });
    let (mut counted, mut lines) = (0, 0);
    while counted < 50 {
        counted += counts.next().unwrap();
        lines += 1;
    }
    assert_eq!(counted, 50, "the good ones do not count");
    assert!(lines < 25, "{lines} lines for 50 bad connections");
    // The next line is that of the next bad connection.
    assert!(ask(&address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(counts.next(), Some(1));
}
