//! axum with tokio's own `serve` on picot's thread: WebSocket, time-outs, and an end on Ctrl-C.
//!
//! Handlers are tasks of tokio's and have to be `Send`. What is not, such as the visits here, stays
//! in a task of picot's, to which they send requests.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use picot::sleep;
use picot::task::Local;
use tokio::sync::{mpsc, oneshot};
use tower_http::timeout::TimeoutLayer;

/// Asks for the number of a visit.
type Visit = oneshot::Sender<u64>;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".to_string());
    picot_tokio::run(async {
        let (visit, mut visits) = mpsc::channel::<Visit>(64);
        let counter = picot::spawn(async move {
            let mut count = 0;
            while let Some(answer) = visits.recv().await {
                count += 1;
                // A handler that has timed out does not wait any more.
                let _ = answer.send(count);
            }
            count
        });

        let routes = Router::new()
            .route("/", get(index))
            .route("/slow", get(slow))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(50)))
            .route("/echo", get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
            .with_state(visit);
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("listening at {}", listener.local_addr()?);

        let (stop, stopped) = oneshot::channel();
        let _on_ctrl_c = picot::spawn(async move {
            picot::process::ctrl_c().await?;
            let _ = stop.send(());
            std::io::Result::Ok(())
        });
        let shutdown = async {
            let _ = stopped.await;
        };
        axum::serve(listener, routes).with_graceful_shutdown(shutdown).await?;
        println!("served {} visits", counter.await?);
        Ok(())
    })
}

async fn index(State(visit): State<mpsc::Sender<Visit>>) -> Result<Json<u64>, StatusCode> {
    let (answer, number) = oneshot::channel();
    visit.send(answer).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    number.await.map(Json).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// Takes an hour by a timer of picot's. `Local` lets the handler hold it, on this thread alone.
async fn slow() -> Response {
    Local::new(sleep(Duration::from_secs(3600))).await;
    Response::default()
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
