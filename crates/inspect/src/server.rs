//! The HTTP server: one `GET` per connection, everything bounded.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Request, Status};
use picot_context::Place;
use picot_loop::{LoopHandle, TaskDump, TaskId, sleep};
use picot_net::TcpStream;
use picot_tasks::timeout;

use crate::collect::Loops;
use crate::query::Query;
use crate::view::{self, Frame};
use crate::{origin, prometheus};

/// The maximum number of connections. Others wait in the backlog.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// How many of them may be pages that are open, so that there is room for other requests.
const MAX_STREAMS: usize = 8;

/// The maximum size of a request's head in bytes.
const MAX_HEAD: usize = 8 << 10;

/// How long a client may take to send the head, and to take an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// How long the rest of a request is read after an answer, so that closing does not reset the
/// connection before the client has read the answer.
const LINGER: Duration = Duration::from_millis(500);

/// How often an open page is updated; less often if that would cost too much.
const UPDATE: Duration = Duration::from_secs(1);

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What all connections share.
pub(crate) struct Site {
    local: SocketAddr,
    pub(crate) loops: Loops,
    streams: Cell<usize>,
    /// The tasks that accept: the identifiers between these.
    acceptors: Cell<Option<(TaskId, TaskId)>>,
}

/// An answer: the status, the type of the content, and the content.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn new(status: &'static str, kind: &'static str, body: impl Into<String>) -> Answer {
        Answer { status, kind, body: body.into() }
    }

    fn error(status: &'static str, sentence: &str) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
    }
}

/// What a request leads to.
enum Reply {
    Answer(Answer),
    /// A page that stays open.
    Stream(Query, Stream),
}

/// Counts a page that is open.
struct Stream(Rc<Site>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

impl Site {
    pub(crate) fn new(local: SocketAddr, loops: Loops) -> Site {
        Site { local, loops, streams: Cell::new(0), acceptors: Cell::new(None) }
    }

    /// Starts to serve by `start`, and notes which tasks it spawns.
    pub(crate) fn start<T>(&self, start: impl FnOnce() -> T) -> T {
        let handle = LoopHandle::current();
        let before = handle.allocate_id();
        let started = start();
        self.acceptors.set(Some((before, handle.allocate_id())));
        started
    }

    /// Whether a task is one of the inspector: it was spawned here, by a call in this crate, or it
    /// accepts.
    fn is_own(&self, task: &TaskDump) -> bool {
        let id = task.task.id();
        self.acceptors.get().is_some_and(|(before, after)| before < id && id < after) || is_here(task.task.place())
    }

    /// Serves one connection.
    pub(crate) async fn connection(self: Rc<Self>, stream: TcpStream) -> io::Result<()> {
        // What a client does is no error of the program.
        let _ = self.serve(&stream).await;
        Ok(())
    }

    async fn serve(self: &Rc<Self>, stream: &TcpStream) -> io::Result<()> {
        let reply = match timeout(LIMIT, read_head(stream)).await {
            Ok(Ok(Some(head))) => self.reply(&head).await,
            Ok(Ok(None)) => {
                let sentence = format!("the head of a request has at most {MAX_HEAD} bytes");
                Reply::Answer(Answer::error("431 Request Header Fields Too Large", &sentence))
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let sentence = format!("the head of the request has not come within {LIMIT:?}");
                Reply::Answer(Answer::error("408 Request Timeout", &sentence))
            }
        };
        match reply {
            Reply::Answer(answer) => {
                let mut text = head(answer.status, answer.kind, Some(answer.body.len()));
                text.push_str(&answer.body);
                send(stream, text.as_bytes()).await?;
            }
            Reply::Stream(query, open) => {
                send(stream, head("200 OK", "text/event-stream", None).as_bytes()).await?;
                self.stream(stream, &query).await?;
                drop(open);
            }
        }
        linger(stream).await
    }

    async fn reply(self: &Rc<Self>, head: &[u8]) -> Reply {
        let mut headers = [EMPTY_HEADER; 64];
        let mut request = Request::new(&mut headers);
        if !matches!(request.parse(head), Ok(Status::Complete(_))) {
            return Reply::Answer(Answer::error("400 Bad Request", "this is no request of HTTP/1.1"));
        }
        if let Err(sentence) = origin::check(request.headers, self.local) {
            return Reply::Answer(Answer::error("403 Forbidden", &sentence));
        }
        if request.method != Some("GET") {
            let sentence = "this server can only be read: use GET";
            return Reply::Answer(Answer::error("405 Method Not Allowed", sentence));
        }
        let target = request.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let answer = match path {
            "/" => Answer::new("200 OK", "text/html; charset=utf-8", HTML),
            "/page.css" => Answer::new("200 OK", "text/css; charset=utf-8", STYLE),
            "/page.js" => Answer::new("200 OK", "text/javascript; charset=utf-8", SCRIPT),
            "/metrics" => Answer::new("200 OK", prometheus::CONTENT_TYPE, self.metrics().await),
            "/tasks.json" | "/events" => match query.parse::<Query>() {
                Err(sentence) => Answer::error("400 Bad Request", &sentence),
                Ok(query) if self.loops.get(query.index).is_none() => {
                    Answer::error("404 Not Found", &format!("there is no loop {}", query.index))
                }
                Ok(query) if path == "/events" => match self.open() {
                    Some(open) => return Reply::Stream(query, open),
                    None => {
                        let sentence = format!("{MAX_STREAMS} pages are open, which is the limit: close one");
                        Answer::error("503 Service Unavailable", &sentence)
                    }
                },
                Ok(query) => Answer::new("200 OK", "application/json", self.view(&query).await),
            },
            _ => Answer::error("404 Not Found", "there are /, /tasks.json, /events and /metrics"),
        };
        Reply::Answer(answer)
    }

    fn open(self: &Rc<Self>) -> Option<Stream> {
        let streams = self.streams.get();
        (streams < MAX_STREAMS).then(|| {
            self.streams.set(streams + 1);
            Stream(self.clone())
        })
    }

    /// Sends an event after the other, until the client is gone or takes none.
    async fn stream(&self, stream: &TcpStream, query: &Query) -> io::Result<()> {
        loop {
            // JSON has no line end in it, so one line is the event.
            let event = format!("data: {}\n\n", self.view(query).await);
            send(stream, event.as_bytes()).await?;
            drop(event);
            let watched = self.loops.get(query.index).expect("no loop is ever removed");
            sleep(watched.rest(self.loops.now()).max(UPDATE)).await;
        }
    }

    async fn view(&self, query: &Query) -> String {
        let handle = LoopHandle::current();
        let watched = self.loops.get(query.index).expect("the query was checked, and no loop is ever removed");
        let names = self.loops.names();
        let all = async { Ok((watched.snapshot().await?, watched.collect(&handle).await?)) };
        match all.await {
            Ok((snapshot, collected)) => {
                let begin = handle.now();
                let is_own = |task: &TaskDump| match query.index {
                    0 => self.is_own(task),
                    _ => is_here(task.task.place()),
                };
                let frame = Frame { loops: &names, snapshot: &snapshot, is_own: &is_own };
                let text = view::render(&collected, &frame, query);
                watched.charge(handle.now(), handle.now() - begin);
                text
            }
            Err(error) => {
                let error: crate::collect::NoAnswer = error;
                view::render_error(&error.0, &names, query)
            }
        }
    }

    async fn metrics(&self) -> String {
        let mut loops = Vec::new();
        for watched in self.loops.all() {
            // A loop that has never answered has no metrics yet.
            if let Ok(snapshot) = watched.snapshot().await {
                loops.push((watched.name.clone(), snapshot));
            }
        }
        prometheus::render(&loops)
    }
}

/// Whether a place is in this crate.
fn is_here(place: Place) -> bool {
    // This file, without its name.
    let here = file!().trim_end_matches("server.rs");
    place.file().starts_with(here)
}

/// Reads the head of a request; `None` if it is too long.
async fn read_head(stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..length]);
        // The end may lie across two reads.
        let new = head.len().saturating_sub(length + 3);
        if head[new..].windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() > MAX_HEAD {
            return Ok(None);
        }
    }
}

fn head(status: &str, kind: &str, length: Option<usize>) -> String {
    let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
    // Neither may another page show this one, nor may this page load anything from elsewhere.
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}Connection: close\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\n"
    )
}

/// Sends within the limit.
async fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    match timeout(LIMIT, stream.write_all(bytes)).await {
        Ok(sent) => sent,
        Err(elapsed) => Err(io::Error::new(ErrorKind::TimedOut, elapsed)),
    }
}

async fn linger(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let rest = async {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout(LINGER, rest).await {
        Ok(ended) => ended,
        // The client has had its time.
        Err(_) => Ok(()),
    }
}
