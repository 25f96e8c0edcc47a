//! Clients of others against the examples that serve: curl, openssl, Python's asyncio, netcat.
//! Whichever is not there is skipped, and said to be.

use picot_examples::program::{Running, lines, run_if_there, server};

/// What curl gets: its standard output, if it has ended well.
fn curl(arguments: &[&str], input: Vec<u8>) -> Option<String> {
    let arguments = [&["--silent", "--show-error", "--noproxy", "*"], arguments].concat();
    let output = run_if_there("curl", &arguments, input)?;
    let (status, stdout, stderr) = lines(&output);
    assert_eq!((status, stderr), (Some(0), Vec::new()), "{arguments:?}: {stdout:?}");
    Some(stdout.join("\n"))
}

#[test]
fn curl_is_greeted_over_one_connection_and_refused_with_the_right_status() {
    let (_server, address) = server("http_hello", &["127.0.0.1:0"]);
    let url = |path: &str| format!("http://{address}/{path}");
    let Some(text) = curl(&["--include", &url("")], Vec::new()) else { return };
    assert!(text.starts_with("HTTP/1.1 200 OK\n") && text.ends_with("\n\nHello, world!"), "{text}");

    // Two requests, of which the second opens no connection.
    let twice = [&url("ann"), &url("bob"), "--write-out", "%{http_code} %{num_connects}\\n"];
    assert_eq!(curl(&twice, Vec::new()).unwrap(), "Hello, ann!\n200 1\nHello, bob!\n200 0");
    assert!(curl(&["--head", &url("ann")], Vec::new()).unwrap().contains("Content-Length: 12\n"));
    assert_eq!(curl(&["--http1.0", &url("")], Vec::new()).unwrap(), "Hello, world!");

    let status = |arguments: &[&str], input| {
        let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        curl(&[&status, arguments].concat(), input).unwrap()
    };
    assert_eq!(status(&[&url("a/b")], Vec::new()), "404");
    assert_eq!(status(&["--request", "DELETE", &url("")], Vec::new()), "405");
    // More than the kernel's buffers hold, sent to a server that reads no bodies: with and without
    // asking first.
    let body = vec![b'x'; 3_000_000];
    assert_eq!(status(&["--data-binary", "@-", &url("")], body.clone()), "413");
    assert_eq!(status(&["--data-binary", "@-", "--header", "Expect:", &url("")], body), "413");
    assert_eq!(status(&["--header", &format!("Long: {}", "x".repeat(9_000)), &url("")], Vec::new()), "431");
}

#[cfg(feature = "tls-ring")]
#[test]
fn openssl_trusts_the_server_and_has_its_lines_back_by_tls_1_3_and_1_2() {
    let data = |name: &str| format!("{}/../crates/net/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key, authority) = (data("localhost.pem"), data("localhost.key"), data("authority.pem"));
    let (_server, address) = server("tls_echo", &["serve", "127.0.0.1:0", &certificate, &key]);
    for (version, told) in [(None, "TLSv1.3"), (Some("-tls1_2"), "TLSv1.2")] {
        let check = ["-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost"];
        let mut arguments = vec!["s_client", "-connect", &address, "-CAfile", &authority, "-no_ign_eof"];
        arguments.extend(check);
        arguments.extend(version);
        let Some(mut client) = Running::start_if_there("openssl", &arguments) else { return };
        // It tells of the session first, and then passes lines on.
        let mut session = Vec::new();
        client.send("hello, server\n");
        loop {
            let line = client.line();
            assert!(!line.is_empty() || session.len() < 1_000, "{session:?}");
            if line == "hello, server" {
                break;
            }
            session.push(line);
        }
        let session = session.join("\n");
        assert!(session.contains(told), "{session}");
        assert!(session.contains("Verify return code: 0 (ok)") || session.contains("Verification: OK"), "{session}");
        client.send("again\n");
        let again = loop {
            let line = client.line();
            if line == "again" || line.contains("closed") {
                break line;
            }
        };
        assert_eq!(again, "again");
        // The end of its input is the end of the connection, in order.
        drop(client.child.stdin.take());
        assert!(client.child.wait().unwrap().success());
    }
}

/// A hundred clients, each with fifty messages of different lengths, which must come back whole and
/// in order.
const ASYNCIO: &str = r#"
import asyncio, sys
host, port = sys.argv[1].rsplit(":", 1)

async def client(number):
    reader, writer = await asyncio.open_connection(host, int(port))
    for n in range(50):
        message = b"%d %d " % (number, n) + b"x" * (n * 97) + b"\n"
        writer.write(message)
        await writer.drain()
        assert await reader.readline() == message
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return n + 1

async def main():
    print(sum(await asyncio.gather(*map(client, range(100)))))

asyncio.run(main())
"#;

#[test]
fn a_hundred_clients_of_asyncio_have_their_messages_back_from_tasks_and_from_protocols() {
    for options in [&["127.0.0.1:0"][..], &["127.0.0.1:0", "--protocol"]] {
        let (_server, address) = server("echo_server", options);
        let Some(output) = run_if_there("python3", &["-c", ASYNCIO, &address], Vec::new()) else { return };
        let (status, stdout, stderr) = lines(&output);
        assert_eq!((status, stdout, stderr), (Some(0), vec!["5000".to_string()], Vec::new()), "{options:?}");
    }
}

#[test]
fn netcat_has_its_line_back() {
    for options in [&["127.0.0.1:0"][..], &["127.0.0.1:0", "--protocol"]] {
        let (_server, address) = server("echo_server", options);
        let (host, port) = address.rsplit_once(':').unwrap();
        let Some(mut client) = Running::start_if_there("nc", &[host, port]) else { return };
        client.send("hello, server\n");
        assert_eq!(client.line(), "hello, server");
    }
}
