//! HTTP/1.1 by hand, as far as a greeting needs it: small, and honest about it. For a real server take a library.
//!
//! Usage: `http_hello ADDR`. `GET /` answers a greeting, `GET /NAME` one for NAME; everything else is 404 or 405. Connections
//! stay open for further requests. It reads no bodies: a request that announces one is refused and its connection closed, and
//! so is one that is no HTTP/1.x. A client has ten seconds for each request.

use std::env;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use picot::net::{ReadError, Server, TcpReader, TcpWriter, start_server};
use picot::{sleep, spawn};

/// A request line or header may be so long.
const LINE_MAX: usize = 8 * 1024;

/// A request may have so many headers.
const HEADERS_MAX: usize = 100;

/// How long a client may take for a request, or do nothing between two.
const PATIENCE: Duration = Duration::from_secs(10);

#[picot::main]
async fn main() -> ExitCode {
    let [address] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: http_hello ADDR");
        return ExitCode::FAILURE;
    };
    let server: io::Result<Server> = start_server(address.as_str(), |reader, writer| async move {
        // A client that breaks off or talks nonsense is no error of the server.
        let _ = serve(reader.with_limit(LINE_MAX), writer).await;
        Ok(())
    })
    .await;
    let result = match server {
        Ok(server) => {
            println!("listening at {}", server.local_addrs()[0]);
            server.serve_forever().await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        eprintln!("http_hello: cannot listen at {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Answers the requests of one connection.
async fn serve(mut reader: TcpReader, mut writer: TcpWriter) -> Result<(), ReadError> {
    loop {
        // Reading in a task of its own, so that it can be left when the time is over.
        let mut reading = spawn(async move {
            let request = read_request(&mut reader).await;
            (reader, request)
        });
        let mut alarm = spawn(sleep(PATIENCE));
        let read = picot_examples::first(&mut reading, &mut alarm).await;
        let Some(Ok((back, request))) = read else {
            reading.cancel("the client takes too long");
            return Ok(respond(&mut writer, "408 Request Timeout", "", false, false).await?);
        };
        alarm.cancel("the request is there");
        reader = back;
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(Refused::Unread(error)) => return Err(error),
            Err(Refused::With(status)) => return Ok(respond(&mut writer, status, "", false, false).await?),
        };
        let (status, body) = match (&*request.method, request.path.strip_prefix('/')) {
            ("GET" | "HEAD", Some("")) => ("200 OK", "Hello, world!\n".to_string()),
            ("GET" | "HEAD", Some(name)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                ("200 OK", format!("Hello, {name}!\n"))
            }
            ("GET" | "HEAD", _) => ("404 Not Found", String::new()),
            _ => ("405 Method Not Allowed", String::new()),
        };
        respond(&mut writer, status, &body, request.keeps_alive, request.method == "HEAD").await?;
        if !request.keeps_alive {
            return Ok(());
        }
    }
}

struct Request {
    method: String,
    path: String,
    keeps_alive: bool,
}

enum Refused {
    /// The connection has failed.
    Unread(ReadError),
    /// This is the answer, and the last one.
    With(&'static str),
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Refused {
        match error {
            ReadError::LimitOverrun { .. } => Refused::With("431 Request Header Fields Too Large"),
            ReadError::Io(error) if error.kind() == io::ErrorKind::InvalidData => Refused::With("400 Bad Request"),
            other => Refused::Unread(other),
        }
    }
}

/// Reads a request without a body; `None` if the client wants no more.
async fn read_request(reader: &mut TcpReader) -> Result<Option<Request>, Refused> {
    let Some(line) = reader.read_line().await? else { return Ok(None) };
    let [method, path, version] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(Refused::With("400 Bad Request"));
    };
    let mut keeps_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Refused::With("505 HTTP Version Not Supported")),
    };
    let request = |keeps_alive| Request { method: method.to_string(), path: path.to_string(), keeps_alive };
    for _ in 0..=HEADERS_MAX {
        let Some(header) = reader.read_line().await? else { return Err(Refused::With("400 Bad Request")) };
        if header.is_empty() {
            return Ok(Some(request(keeps_alive)));
        }
        let Some((name, value)) = header.split_once(':') else { return Err(Refused::With("400 Bad Request")) };
        match (&*name.to_ascii_lowercase(), value.trim()) {
            ("content-length", "0") => {}
            ("content-length" | "transfer-encoding", _) => return Err(Refused::With("413 Content Too Large")),
            ("connection", value) if value.eq_ignore_ascii_case("close") => keeps_alive = false,
            ("connection", value) if value.eq_ignore_ascii_case("keep-alive") => keeps_alive = true,
            _ => {}
        }
    }
    Err(Refused::With("431 Request Header Fields Too Large"))
}

async fn respond(writer: &mut TcpWriter, status: &str, body: &str, keeps_alive: bool, is_head: bool) -> io::Result<()> {
    let connection = if keeps_alive { "keep-alive" } else { "close" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
    );
    writer.put(head.as_bytes());
    if !is_head {
        writer.put(body.as_bytes());
    }
    writer.flush().await
}
