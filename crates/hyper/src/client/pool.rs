//! The connections of a client: which are idle, how many there may be, and when they end.
//!
//! A request with HTTP/1 holds a permit of its host and one of the pool while it uses a connection.
//! So at most as many connections are busy as there are permits. An idle connection holds none:
//! before a new one would exceed the limit of the pool, the one that is idle longest is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use picot_loop::{Instant, LoopHandle, TimerHandle};
use picot_sync::{Permit, Semaphore};

use super::connect::{Sender, connect};
use crate::body::{Body, BoxError};
#[cfg(feature = "__tls")]
use picot_net::tls::TlsConnector;

/// What connections can serve: requests to one host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) is_https: bool,
    /// In lower case; an address of IPv6 without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) max_per_host: usize,
    pub(super) max_total: usize,
    pub(super) idle_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) http2_only: bool,
    #[cfg(feature = "__tls")]
    pub(super) tls: Option<TlsConnector>,
}

pub(super) struct Pool {
    pub(super) options: Options,
    hosts: RefCell<HashMap<Key, Rc<Host>>>,
    permits: Rc<Semaphore>,
    /// The connections whose tasks run.
    open: Cell<usize>,
    /// Closes what was idle too long. Set while a connection is idle.
    reaper: RefCell<Option<TimerHandle>>,
    /// Made of the system's authorities with the first request for HTTPS.
    #[cfg(feature = "__tls")]
    connector: RefCell<Option<TlsConnector>>,
}

pub(super) struct Host {
    pub(super) key: Key,
    permits: Rc<Semaphore>,
    /// The one that was used last is at the end, and is used first.
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<Option<http2::SendRequest<Body>>>,
    /// Lets one request at a time connect to a host that speaks HTTP/2: the others share the
    /// connection.
    turn: Semaphore,
    speaks_http2: Cell<bool>,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

/// A connection for one request.
pub(super) enum Connection {
    Http1(Lease),
    Http2(http2::SendRequest<Body>),
}

impl Pool {
    pub(super) fn new(options: Options) -> Rc<Pool> {
        Rc::new(Pool {
            hosts: RefCell::default(),
            permits: Rc::new(Semaphore::new(options.max_total)),
            open: Cell::new(0),
            reaper: RefCell::default(),
            #[cfg(feature = "__tls")]
            connector: RefCell::new(options.tls.clone().map(|connector| with_alpn(connector, &options))),
            options,
        })
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    pub(super) fn idle(&self) -> usize {
        self.hosts.borrow().values().map(|host| host.idle.borrow().len()).sum()
    }

    #[cfg(feature = "__tls")]
    pub(super) async fn connector(&self) -> std::io::Result<TlsConnector> {
        if let Some(connector) = &*self.connector.borrow() {
            return Ok(connector.clone());
        }
        let connector = with_alpn(TlsConnector::new().await?, &self.options);
        *self.connector.borrow_mut() = Some(connector.clone());
        Ok(connector)
    }

    pub(super) fn host(&self, key: Key) -> Rc<Host> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(host) = hosts.get(&key) {
            return host.clone();
        }
        // A client that meets many hosts must not remember all of them.
        if hosts.len() >= self.options.max_total {
            hosts.retain(|_, host| !host.is_unused());
        }
        let host = Rc::new(Host {
            key: key.clone(),
            permits: Rc::new(Semaphore::new(self.options.max_per_host)),
            idle: RefCell::default(),
            http2: RefCell::default(),
            turn: Semaphore::new(1),
            speaks_http2: Cell::new(self.options.http2_only),
        });
        hosts.insert(key, host.clone());
        host
    }

    /// Waits for a connection, idle or new. Returns also whether it was used before.
    pub(super) async fn check_out(self: &Rc<Pool>, host: &Rc<Host>) -> Result<(Connection, bool), BoxError> {
        if let Some(sender) = host.live_http2() {
            return Ok((Connection::Http2(sender), true));
        }
        let _turn = if host.speaks_http2.get() { Some(host.turn.acquire().await) } else { None };
        let permits = (host.permits.acquire_owned().await, self.permits.acquire_owned().await);
        // Another request may have connected meanwhile.
        if let Some(sender) = host.live_http2() {
            return Ok((Connection::Http2(sender), true));
        }
        let lease = |sender| Lease { sender, host: host.clone(), pool: Rc::downgrade(self), _permits: permits };
        loop {
            // Not borrowed while it waits.
            let Some(idle) = host.idle.borrow_mut().pop() else { break };
            let mut sender = idle.sender;
            // Its task has seen the end of the last response, or is about to. An error says that
            // the connection has ended.
            if sender.ready().await.is_ok() {
                return Ok((Connection::Http1(lease(sender)), true));
            }
        }
        if self.open.get() >= self.options.max_total {
            self.close_longest_idle();
        }
        match connect(self, host).await? {
            Sender::Http1(sender) => Ok((Connection::Http1(lease(sender)), false)),
            Sender::Http2(sender) => {
                host.speaks_http2.set(true);
                *host.http2.borrow_mut() = Some(sender.clone());
                Ok((Connection::Http2(sender), false))
            }
        }
    }

    /// Counts a connection until the value is dropped.
    pub(super) fn count_open(self: &Rc<Pool>) -> impl Drop + use<> {
        self.open.set(self.open.get() + 1);
        CountedOpen(Rc::downgrade(self))
    }

    fn close_longest_idle(&self) {
        let hosts = self.hosts.borrow();
        let since = |host: &&Rc<Host>| host.idle.borrow().first().map(|idle| idle.since);
        let longest = hosts.values().filter(|host| since(host).is_some()).min_by_key(since);
        let closed = longest.map(|host| host.idle.borrow_mut().remove(0));
        // A waker of the connection's task may run: nothing is borrowed.
        drop(hosts);
        drop(closed);
    }

    fn check_in(self: &Rc<Pool>, host: &Host, sender: http1::SendRequest<Body>) {
        if self.options.idle_timeout.is_zero() || sender.is_closed() {
            return;
        }
        host.idle.borrow_mut().push(Idle { sender, since: Instant::now() });
        if self.reaper.borrow().is_none() {
            self.reap_after(self.options.idle_timeout);
        }
    }

    fn reap_after(self: &Rc<Pool>, delay: Duration) {
        let pool = Rc::downgrade(self);
        let reap = move || {
            if let Some(pool) = pool.upgrade() {
                pool.reap();
            }
        };
        *self.reaper.borrow_mut() = Some(LoopHandle::current().call_later(delay, reap));
    }

    /// Closes what was idle too long.
    fn reap(self: &Rc<Pool>) {
        let (now, limit) = (Instant::now(), self.options.idle_timeout);
        let mut closed = Vec::new();
        let mut next: Option<Duration> = None;
        self.hosts.borrow_mut().retain(|_, host| {
            let mut idle = host.idle.borrow_mut();
            let old = idle.iter().take_while(|idle| now - idle.since >= limit).count();
            closed.extend(idle.drain(..old));
            if let Some(first) = idle.first() {
                let left = limit - (now - first.since);
                next = Some(next.map_or(left, |next| next.min(left)));
            }
            drop(idle);
            !host.is_unused()
        });
        *self.reaper.borrow_mut() = None;
        if let Some(delay) = next {
            self.reap_after(delay);
        }
        drop(closed);
    }
}

/// Lets a connector choose among the protocols that the client speaks.
#[cfg(feature = "__tls")]
fn with_alpn(connector: TlsConnector, options: &Options) -> TlsConnector {
    if options.http2_only { connector.alpn_protocols(["h2"]) } else { connector.alpn_protocols(["h2", "http/1.1"]) }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(reaper) = self.reaper.take() {
            reaper.cancel();
        }
    }
}

impl Host {
    /// The host's connection of HTTP/2, if it can take a request.
    fn live_http2(&self) -> Option<http2::SendRequest<Body>> {
        let mut http2 = self.http2.borrow_mut();
        if http2.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *http2 = None;
        }
        http2.clone()
    }

    /// Whether no request uses the host, and no connection is open for later ones.
    fn is_unused(self: &Rc<Host>) -> bool {
        Rc::strong_count(self) == 1 && self.idle.borrow().is_empty() && self.live_http2().is_none()
    }
}

struct CountedOpen(Weak<Pool>);

impl Drop for CountedOpen {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.open.set(pool.open.get() - 1);
        }
    }
}

/// A connection of HTTP/1 that serves one request. Dropping it closes the connection.
pub(super) struct Lease {
    pub(super) sender: http1::SendRequest<Body>,
    host: Rc<Host>,
    pool: Weak<Pool>,
    _permits: (Permit<'static>, Permit<'static>),
}

impl Lease {
    /// Keeps the connection for a later request: the response was read to its end.
    pub(super) fn check_in(self) {
        let Lease { sender, host, pool, _permits } = self;
        if let Some(pool) = pool.upgrade() {
            pool.check_in(&host, sender);
        }
        // The permits are released after that, so that a waiter finds the connection.
        drop(_permits);
    }
}
