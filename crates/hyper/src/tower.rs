//! tower's services as hyper's.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use hyper::service::Service;
use pin_project_lite::pin_project;

use crate::body::Body;

/// A service of tower as one of hyper: axum's `Router`, tonic's services, and everything with the
/// middleware of tower around it.
///
/// Each call clones the service, and waits until the clone is ready.
///
/// ```
/// use picot_hyper::{Body, HttpServer, TowerService};
/// use picot_net::TcpListener;
///
/// # picot_loop::run(async {
/// # let router = Hello;
/// // `router` is a service of tower, such as axum's.
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let server = HttpServer::builder().serve_with(listener, move |peer| {
///     println!("{peer} has connected");
///     TowerService::new(router.clone())
/// })?;
/// # drop(server);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// # use picot_hyper::hyper::{Request, Response};
/// # #[derive(Clone)]
/// # struct Hello;
/// # impl tower_service::Service<Request<Body>> for Hello {
/// #     type Response = Response<Body>;
/// #     type Error = std::convert::Infallible;
/// #     type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;
/// #     fn poll_ready(
/// #         &mut self,
/// #         _: &mut std::task::Context<'_>,
/// #     ) -> std::task::Poll<Result<(), Self::Error>> {
/// #         std::task::Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<Body>) -> Self::Future {
/// #         std::future::ready(Ok(Response::new(Body::empty())))
/// #     }
/// # }
/// ```
pub struct TowerService<S, B = Body> {
    service: S,
    _body: PhantomData<fn(B)>,
}

impl<S> TowerService<S> {
    /// Adapts a service that takes requests with a [`Body`]. The type parameter `B` is for services
    /// that take another received body; see [`RequestBody`](crate::server::RequestBody).
    ///
    /// ```
    /// use picot_hyper::TowerService;
    ///
    /// # struct Router;
    /// let router = Router; // a service of tower
    /// let _service = TowerService::new(router);
    /// ```
    pub fn new(service: S) -> TowerService<S> {
        TowerService::with_body(service)
    }
}

impl<S, B> TowerService<S, B> {
    /// Adapts a service that takes requests with a body `B`, such as hyper's
    /// [`Incoming`](hyper::body::Incoming).
    ///
    /// ```
    /// use hyper::body::Incoming;
    /// use picot_hyper::TowerService;
    ///
    /// # struct Service;
    /// let _service = TowerService::<_, Incoming>::with_body(Service);
    /// ```
    pub fn with_body(service: S) -> TowerService<S, B> {
        TowerService { service, _body: PhantomData }
    }
}

impl<S, B> Service<Request<B>> for TowerService<S, B>
where
    S: tower_service::Service<Request<B>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Call<S, Request<B>>;

    fn call(&self, request: Request<B>) -> Call<S, Request<B>> {
        Call { service: self.service.clone(), request: Some(request), future: None }
    }
}

pin_project! {
    /// One call of a service of tower, which waits until the service is ready.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Call<S, R>
    where
        S: tower_service::Service<R>,
    {
        service: S,
        request: Option<R>,
        #[pin]
        future: Option<S::Future>,
    }
}

impl<S: tower_service::Service<R>, R> Future for Call<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.future.is_none() {
            ready!(this.service.poll_ready(cx))?;
            let request = this.request.take().expect("the call was not polled after its end");
            this.future.set(Some(this.service.call(request)));
        }
        this.future.as_pin_mut().expect("set above").poll(cx)
    }
}

impl<S: fmt::Debug, B> fmt::Debug for TowerService<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TowerService").field(&self.service).finish()
    }
}

impl<S: tower_service::Service<R>, R> fmt::Debug for Call<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
