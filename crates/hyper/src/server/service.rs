//! The service as hyper calls it: it counts requests, and gives their bodies a time limit.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;

use super::Shared;
use crate::body::{Body, BoxError};

/// The body of the requests that a service takes: [`Body`], or hyper's [`Incoming`].
///
/// Only a [`Body`] has the server's [time limit](super::HttpServerBuilder::body_timeout). Other
/// crates cannot implement this trait.
///
/// ```
/// fn takes<B: picot_hyper::server::RequestBody>() {}
/// takes::<picot_hyper::Body>();
/// takes::<hyper::body::Incoming>();
/// ```
pub trait RequestBody: Receivable + 'static {}

#[doc(hidden)]
pub trait Receivable {
    #[doc(hidden)]
    fn receive(body: Incoming, idle: Duration) -> Self;
}

impl RequestBody for Body {}
impl RequestBody for Incoming {}

impl Receivable for Body {
    fn receive(body: Incoming, idle: Duration) -> Body {
        use http_body::Body as _;
        // Most requests have none, and need no time limit.
        if body.is_end_stream() { Body::empty() } else { Body::received(body, Some(idle)) }
    }
}

impl Receivable for Incoming {
    fn receive(body: Incoming, _: Duration) -> Incoming {
        body
    }
}

pub(super) struct Counted<S, B> {
    service: S,
    shared: Rc<Shared>,
    _body: PhantomData<fn(B)>,
}

impl<S, B> Counted<S, B> {
    pub(super) fn new(service: S, shared: Rc<Shared>) -> Counted<S, B> {
        Counted { service, shared, _body: PhantomData }
    }
}

impl<S, B, R> Service<Request<Incoming>> for Counted<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: RequestBody,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn call(&self, request: Request<Incoming>) -> S::Future {
        let mut counts = self.shared.counts.get();
        counts.requests += 1;
        self.shared.counts.set(counts);
        self.service.call(request.map(|body| B::receive(body, self.shared.body_timeout)))
    }
}
