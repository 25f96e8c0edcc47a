//! The programs on picot-hyper, with other people's clients: curl, wrk, h2load, Python. One that is
//! not installed is skipped by name.

use std::process::{Command, Output, Stdio};

use picot_examples::program::{Running, example, lines, server};

/// Runs a program of others to its end; `None` if it is not there, which is said.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

fn curl(arguments: &[&str]) -> Option<String> {
    let output = run("curl", &[&["--silent", "--show-error", "--max-time", "30"], arguments].concat())?;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn interrupt(server: &Running) {
    let status = Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn curl_gets_an_answer_by_http1_and_by_http2() {
    let (mut server, address) = server("hyper_hello", &["127.0.0.1:0"]);
    let uri = format!("http://{address}/");
    let mut requests = 0;
    for (flag, version) in [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let Some(answer) = curl(&[flag, "--write-out", "%{http_version} %{response_code}", &uri]) else { return };
        requests += 1;
        assert_eq!(answer, format!("hello, visitor {requests}\n{version} 200"));
    }
    // An upgrade to HTTP/2 that the server does not take stays HTTP/1.
    assert!(curl(&["--http2", &uri, &uri]).unwrap().ends_with("visitor 5\n"));
    interrupt(&server);
    assert_eq!(server.line(), "served 5 requests; 0 were not finished");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn load_generators_get_only_good_answers() {
    let (mut server, address) = server("hyper_hello", &["127.0.0.1:0"]);
    let uri = format!("http://{address}/");
    if let Some(output) = run("wrk", &["--threads", "1", "--connections", "64", "--duration", "1s", &uri]) {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(" requests in ") && !text.contains("Non-2xx") && !text.contains("Socket errors"),
            "{text}"
        );
    }
    for arguments in [["--h1", "-n2000", "-c64", "-m1"], ["-n2000", "-c4", "-m50", "--no-tls-proto=h2c"]] {
        if let Some(output) = run("h2load", &[&arguments[..], &[&*uri]].concat()) {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
        }
    }
    interrupt(&server);
    let line = server.line();
    assert!(line.ends_with("; 0 were not finished"), "{line}");
}

#[test]
fn the_client_fetches_all_and_names_what_fails() {
    let (_server, address) = server("hyper_hello", &["127.0.0.1:0"]);
    let uris = [format!("http://{address}/a"), format!("http://{address}/b"), "http://127.0.0.1:1/c".to_string()];
    let (status, stdout, stderr) = lines(&example("http_client").args(&uris).output().unwrap());
    assert_eq!((status, stdout), (Some(1), uris[..2].iter().map(|uri| format!("200 17 {uri}")).collect()));
    assert!(stderr.len() == 1 && stderr[0].contains("cannot GET http://127.0.0.1:1/c: "), "{stderr:?}");
    // A server of others.
    let folder = picot_testkit::Folder::new("http-client");
    folder.file("page", "x".repeat(100_000));
    let path = folder.path().to_str().unwrap();
    let arguments = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", path];
    let Some(mut python) = Running::start_if_there("python3", &arguments) else { return };
    let line = python.line();
    let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()).expect(&line).to_string();
    let uri = format!("http://127.0.0.1:{port}/page");
    let (status, stdout, stderr) = lines(&example("http_client").args([&*uri, &uri]).output().unwrap());
    assert_eq!((status, stdout), (Some(0), vec![format!("200 100000 {uri}"); 2]), "{stderr:?}");
}

#[cfg(feature = "axum_app")]
mod axum_app {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn axum_serves_json_files_and_what_another_server_says() {
        let folder = picot_testkit::Folder::new("axum");
        let content = "0123456789abcdef".repeat(20_000);
        folder.file("large.txt", &content);
        let (mut server, address) = server("axum_app", &["127.0.0.1:0", folder.path().to_str().unwrap()]);
        let uri = |path: &str| format!("http://{address}{path}");
        let json = ["--json", r#"{"item":"pear","count":4}"#];
        let Some(receipt) = curl(&[&json[..], &[&*uri("/orders")]].concat()) else { return };
        assert_eq!(receipt, r#"{"text":"4 × pear","total":12}"#);
        assert_eq!(curl(&[&uri("/files/large.txt")]).unwrap(), content);
        assert_eq!(curl(&["--http2-prior-knowledge", &uri("/files/large.txt")]).unwrap(), content);
        let status = ["--write-out", "%{response_code}", "--path-as-is"];
        for path in ["/files/absent", "/files/..%2fsecret", "/files/.."] {
            assert_eq!(curl(&[&status[..], &[&*uri(path)]].concat()).unwrap(), "404", "{path}");
        }
        let relayed = uri(&format!("/relay?uri=http://{address}/files/large.txt"));
        assert_eq!(curl(&[&relayed]).unwrap(), content);
        let text = curl(&[&uri("/relay?uri=http://127.0.0.1:1/")]).unwrap();
        assert!(text.starts_with("cannot GET http://127.0.0.1:1/: "), "{text}");
        interrupt(&server);
        assert_eq!((server.line(), server.line()), ("closing".to_string(), "served 9 requests".to_string()));
        assert!(server.child.wait().unwrap().success());
    }

    /// Sends a head, and reads until `end`.
    fn ask(stream: &mut TcpStream, head: &str, end: &str) -> String {
        stream.write_all(format!("{head}\r\nhost: test\r\n\r\n").as_bytes()).unwrap();
        until(stream, end)
    }

    fn until(stream: &mut TcpStream, end: &str) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn axum_ends_events_and_web_sockets_and_finishes_requests_on_ctrl_c() {
        let (mut server, address) = server("axum_app", &["127.0.0.1:0"]);
        let connect = || TcpStream::connect(&address).unwrap();
        let (mut events, mut socket, mut slow, mut idle) = (connect(), connect(), connect(), connect());
        ask(&mut events, "GET /events HTTP/1.1", "data: event 1\n\n");
        let upgrade = "GET /echo HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        let answer = ask(&mut socket, upgrade, "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        // A text of five bytes, masked by zeros; and back, which is not masked.
        socket.write_all(b"\x81\x85\0\0\0\0hello").unwrap();
        let mut frame = [0; 7];
        socket.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x05hello");
        assert!(ask(&mut idle, "GET /files/absent HTTP/1.1", "\r\n\r\n").starts_with("HTTP/1.1 404"));
        slow.write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        // Its request has arrived when a later one was answered.
        ask(&mut connect(), "GET /files/absent HTTP/1.1", "\r\n\r\n");

        interrupt(&server);
        assert_eq!(server.line(), "closing");
        assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0, "an idle connection ends at once");
        let mut rest = String::new();
        events.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "the events end as they should: {rest}");
        let mut close = Vec::new();
        socket.read_to_end(&mut close).unwrap();
        assert_eq!(close[0], 0x88, "a close frame");
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("finished"), "{answer}");
        assert_eq!(server.line(), "served 5 requests");
        assert!(server.child.wait().unwrap().success());
    }
}
