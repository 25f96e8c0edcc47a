//! A minimal HTTP/1.1 server that answers with a greeting. For a real server use a library.
//!
//! Usage: `http_hello ADDR [SECONDS]`. `GET /` answers a greeting, `GET /NAME` one for NAME;
//! everything else is 404 or 405. Connections stay open for further requests. The server reads no
//! bodies: it refuses a request that has one, or that is not HTTP/1.x, and closes the connection. A
//! client has SECONDS (10 by default) to send each request and to take each answer. The server
//! counts bad connections and prints the count once a second.

use std::cell::Cell;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use picot::net::{ReadError, Server, TcpReader, TcpWriter, start_server};
use picot::{sleep, spawn, timeout};

/// The maximum length of a request line or header, in bytes.
const LINE_MAX: usize = 8 * 1024;

/// The maximum number of headers in a request.
const HEADERS_MAX: usize = 100;

/// How long a client may take to send a request or to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long bad connections are counted before the count is printed.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// Counts bad connections since the last line about them. A line for each would let a client fill
/// the log.
#[derive(Clone, Default)]
struct BadConnections(Rc<Cell<u64>>);

impl BadConnections {
    fn count(&self) {
        let before = self.0.replace(self.0.get() + 1);
        if before > 0 {
            return;
        }
        let bad = self.clone();
        drop(spawn(async move {
            sleep(COUNTED_FOR).await;
            // Ignored: the server continues when standard error is closed.
            let _ = writeln!(io::stderr(), "http_hello: {} bad connections within a second", bad.0.take());
        }));
    }
}

#[picot::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, patience) = match &arguments[..] {
        [address] => (address, Some(PATIENCE)),
        [address, seconds] => (address, seconds.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok())),
        _ => return usage(),
    };
    let Some(patience) = patience else { return usage() };
    let bad = BadConnections::default();
    let server: io::Result<Server> = start_server(address.as_str(), move |reader, writer| {
        let bad = bad.clone();
        async move {
            // A client that disconnects early or sends nonsense is not an error of the server.
            if !matches!(serve(reader.with_limit(LINE_MAX), writer, patience).await, Ok(Ended::Well)) {
                bad.count();
            }
            Ok(())
        }
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
        eprintln!("http_hello: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: http_hello ADDR [SECONDS]");
    ExitCode::FAILURE
}

/// How a connection ended, if not by an error.
enum Ended {
    Well,
    /// The client was refused, or it did not read its answer in time.
    Badly,
}

/// Answers the requests of one connection.
async fn serve(mut reader: TcpReader, mut writer: TcpWriter, patience: Duration) -> Result<Ended, ReadError> {
    loop {
        let request = match timeout(patience, read_request(&mut reader)).await {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) => return Ok(Ended::Well),
            Ok(Err(Refused::Unread(error))) => return Err(error),
            Ok(Err(Refused::With(status))) => return Ok(refuse(reader, writer, status, patience).await?),
            Err(_elapsed) => return Ok(refuse(reader, writer, "408 Request Timeout", patience).await?),
        };
        let (status, body) = match (&*request.method, request.path.strip_prefix('/')) {
            ("GET" | "HEAD", Some("")) => ("200 OK", "Hello, world!\n".to_string()),
            ("GET" | "HEAD", Some(name)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                ("200 OK", format!("Hello, {name}!\n"))
            }
            ("GET" | "HEAD", _) => ("404 Not Found", String::new()),
            _ => ("405 Method Not Allowed", String::new()),
        };
        let answer = respond(&mut writer, status, &body, request.keeps_alive, request.method == "HEAD");
        // The connection of a client that does not read its answers is closed.
        let Ok(answered) = timeout(patience, answer).await else { return Ok(Ended::Badly) };
        answered?;
        if !request.keeps_alive {
            return Ok(Ended::Well);
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
    /// The request is answered with this status, and the connection closed.
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

/// Reads a request without a body; `None` if the client has closed the connection.
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
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(Refused::With("400 Bad Request"));
        }
        match (&*name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])) {
            ("content-length", value) => match is_zero(value) {
                Some(true) => {}
                Some(false) => return Err(Refused::With("413 Content Too Large")),
                None => return Err(Refused::With("400 Bad Request")),
            },
            ("transfer-encoding", _) => return Err(Refused::With("413 Content Too Large")),
            ("connection", value) => {
                let has = |option| value.split(',').any(|given| given.trim().eq_ignore_ascii_case(option));
                keeps_alive = !has("close") && (keeps_alive || has("keep-alive"));
            }
            _ => {}
        }
    }
    Err(Refused::With("431 Request Header Fields Too Large"))
}

/// Whether a length is zero; `None` if it is not a number.
///
/// A number has digits only, although Rust's parser also accepts a sign. If a proxy and the server
/// read different lengths, a client can smuggle a request past the proxy.
fn is_zero(length: &str) -> Option<bool> {
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| length.bytes().all(|byte| byte == b'0'))
}

/// Sends the last answer, and then discards what the client still sends.
///
/// If bytes stayed unread, the kernel would reset the connection, and the reset may overtake the
/// answer. The time limit includes the answer, because a client that reads nothing blocks it.
async fn refuse(mut reader: TcpReader, mut writer: TcpWriter, status: &str, patience: Duration) -> io::Result<Ended> {
    let refusal = async {
        respond(&mut writer, status, "", false, false).await?;
        writer.close().await?;
        let mut discarded = vec![0; LINE_MAX];
        while reader.read(&mut discarded).await? > 0 {}
        io::Result::Ok(())
    };
    timeout(patience, refusal).await.unwrap_or(Ok(()))?;
    Ok(Ended::Badly)
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

#[cfg(test)]
mod tests {
    use picot::net::{Reader, TcpListener, TcpStream, Writer};
    use picot::time::Instant;
    use picot::{EventLoop, VirtualClock};

    use super::*;

    /// A refusal itself may block: the client has read nothing, and the connection has no room
    /// left.
    #[test]
    fn a_refusal_that_the_client_does_not_read_ends_at_the_time_limit() {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        let run = event_loop.run_until_complete(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let _client = TcpStream::connect(listener.local_addr()?).await?;
            let (stream, _) = listener.accept().await?;
            fill(&stream).await?;
            let (read, write) = stream.split();
            let start = Instant::now();
            let refused = refuse(Reader::new(read), Writer::new(write), "400 Bad Request", PATIENCE);
            let ended = timeout(Duration::from_secs(3600), refused).await.expect("the refusal has a time limit")?;
            assert!(matches!(ended, Ended::Badly));
            assert_eq!(start.elapsed(), PATIENCE);
            io::Result::Ok(())
        });
        run.unwrap().unwrap();
    }

    /// Writes until the connection has had no room for a second, in which the kernel may still move
    /// bytes.
    async fn fill(stream: &TcpStream) -> io::Result<()> {
        let bytes = [0; 1 << 16];
        while let Ok(written) = timeout(Duration::from_secs(1), stream.write_all(&bytes)).await {
            written?;
        }
        Ok(())
    }
}
