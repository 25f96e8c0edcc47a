//! An axum application on picot's loop, without tokio's runtime: JSON, server-sent events, a
//! WebSocket, static files, a request to another server, and an end on Ctrl-C that lets requests
//! finish.
//!
//! axum wants `Send` of handlers and their state. picot's futures and values get it by `Local`,
//! which stays on this thread. What axum itself builds on tokio's runtime has an equal here: the
//! WebSocket is `hyper::upgrade` and async-tungstenite, and files are `Body::open`.

use std::convert::Infallible;
use std::env;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use axum::body::Body as AxumBody;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_lite::{Stream, StreamExt, stream};
use picot::net::TcpListener;
use picot::task::{CancelToken, Local};
use picot::{race, sleep};
use picot_hyper::server::Closing;
use picot_hyper::{Body, Client, FuturesIo, HttpServer, TowerService};
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct App {
    files: PathBuf,
    client: Client,
    closing: Closing,
}

#[derive(Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Serialize)]
struct Receipt {
    text: String,
    total: u32,
}

#[picot::main(interrupt, terminate, grace = Duration::from_secs(10))]
async fn main(interrupt: CancelToken) -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_string());
    let files = arguments.next().unwrap_or(".".to_string()).into();

    let builder = HttpServer::builder();
    let app = App { files, client: Client::new(), closing: builder.closing() };
    let router = Router::new()
        .route("/orders", post(order))
        .route("/events", get(events))
        .route("/echo", get(web_socket))
        .route("/files/{name}", get(file))
        .route("/relay", get(relay))
        .route("/slow", get(slow))
        .with_state(app);
    let server = builder.serve(TcpListener::bind(address).await?, TowerService::new(router))?;
    println!("listening at {}", server.local_addrs()[0]);

    interrupt.cancelled().await;
    println!("closing");
    for task in server.shutdown(Duration::from_secs(5)).await {
        println!("not finished in time: {task}");
    }
    println!("served {} requests", server.counts().requests);
    Ok(())
}

async fn order(Json(order): Json<Order>) -> Json<Receipt> {
    let text = format!("{} × {}", order.count, order.item);
    Json(Receipt { text, total: order.count * 3 })
}

/// An event each 100 ms, until the client goes or the server closes.
async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let events = stream::unfold((0_u32, app.closing), |(number, closing)| async move {
        let pause = race((
            async {
                sleep(Duration::from_millis(100)).await;
                true
            },
            async {
                closing.wait().await;
                false
            },
        ));
        let event = pause.await.then(|| Event::default().data(format!("event {number}")))?;
        Some((Ok(event), (number + 1, closing)))
    });
    Sse::new(Local::new(Box::pin(events)))
}

/// Switches to a WebSocket that sends each text back, until it is closed or the server closes.
async fn web_socket(State(app): State<App>, headers: HeaderMap, mut request: Request) -> Response {
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return (StatusCode::BAD_REQUEST, "this is a WebSocket").into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = picot_hyper::hyper::upgrade::on(&mut request);
    drop(picot::spawn(async move {
        // The client may be gone by now.
        let Ok(upgraded) = upgraded.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(FuturesIo::new(upgraded), Role::Server, None).await;
        loop {
            let message = race((async { socket.next().await }, async {
                app.closing.wait().await;
                None
            }));
            let sent = match message.await {
                Some(Ok(Message::Text(text))) => socket.send(Message::Text(text)).await,
                Some(Ok(Message::Close(_)) | Err(_)) => return,
                Some(Ok(_)) => Ok(()),
                None => {
                    let _ = socket.close(None).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }));
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, head, [(header::SEC_WEBSOCKET_ACCEPT, accept)]).into_response()
}

/// A file of the folder, streamed with little memory.
async fn file(State(app): State<App>, Path(name): Path<String>) -> Response {
    // One component, so that no request leaves the folder.
    if FilePath::new(&name).file_name() != Some(name.as_ref()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match Body::open(app.files.join(name)).await {
        Ok(body) => AxumBody::new(body).into_response(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Target {
    uri: String,
}

/// Passes on what another server answers.
async fn relay(State(app): State<App>, Query(target): Query<Target>) -> Response {
    match app.client.get(&target.uri).await {
        Ok(response) => response.map(AxumBody::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn slow() -> &'static str {
    Local::new(sleep(Duration::from_secs(1))).await;
    "finished"
}
