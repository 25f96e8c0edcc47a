//! Runs the examples against real servers. One that is not installed is skipped by name.

#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "guest_axum")]
mod guest_axum;
#[cfg(feature = "guest_nats")]
mod guest_nats;
#[cfg(feature = "guest_reqwest")]
mod guest_reqwest;
#[cfg(feature = "guest_sqlx")]
mod guest_sqlx;
#[cfg(unix)]
mod http;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "guest_sqlx", feature = "postgres"))]
mod postgresql;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "websocket")]
mod websocket;
