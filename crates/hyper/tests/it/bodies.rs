//! Bodies: files, streams and limits.

use std::convert::Infallible;
use std::fs::File;
use std::io;

use futures_lite::stream;
use hyper::service::service_fn;
use hyper::{Request, Response};
use picot_hyper::{Body, BoxError, serve};
use picot_testkit::Folder;

use crate::{Raw, listener, run};

#[test]
fn a_file_is_sent_whole_and_with_its_length() {
    run(async |_| {
        let folder = Folder::new("bodies");
        let content: Vec<u8> = (0..1_000_003_u32).map(|index| (index % 251) as u8 % 128).collect();
        let path = folder.file("large", &content);
        let service = service_fn(move |_: Request<Body>| {
            let path = path.clone();
            async move { Ok::<_, BoxError>(Response::new(Body::open(&path).await?)) }
        });
        let server = serve(listener().await, service).unwrap();
        let mut client = Raw::connect(server.local_addrs()[0]).await;
        client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        while !client.received.ends_with(b"\r\n\r\n") {
            assert!(client.receive().await);
        }
        let head = String::from_utf8(std::mem::take(&mut client.received)).unwrap();
        assert!(head.contains("content-length: 1000003\r\n"), "{head}");
        assert!(client.get("/").await.1.as_bytes() == content);
    });
}

#[test]
fn a_file_that_is_absent_or_too_short_or_a_folder_is_an_error() {
    run(async |_| {
        let folder = Folder::new("bodies");
        let absent = Body::open(folder.join("absent")).await.unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        assert!(absent.to_string().contains("absent"), "{absent}");
        let error = Body::open(folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("it is no regular file"), "{error}");
        let path = folder.file("short", "hello");
        assert_eq!(Body::file(File::open(&path).unwrap(), 5).bytes(5).await.unwrap(), "hello");
        let error = Body::file(File::open(&path).unwrap(), 7).bytes(7).await.unwrap_err();
        assert_eq!(error.to_string(), "the file ended 2 bytes before its length");
        assert_eq!(Body::file(File::open(&path).unwrap(), 0).bytes(7).await.unwrap(), "");
    });
}

#[test]
fn a_stream_is_sent_in_pieces_and_its_error_is_reported() {
    run(async |reports| {
        let service = service_fn(|request: Request<Body>| async move {
            let mut pieces = vec![Ok("one ".into()), Ok("two".into())];
            if request.uri().path() == "/broken" {
                pieces.push(Err(io::Error::other("the source has failed")));
            }
            Ok::<_, Infallible>(Response::new(Body::stream(stream::iter(pieces))))
        });
        let server = serve(listener().await, service).unwrap();
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        assert!(client.rest().await.ends_with("\r\n\r\none two"));
        assert_eq!(server.counts().failed, 0);
        let client = Raw::connect(server.local_addrs()[0]).await;
        client.send("GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(!client.rest().await.ends_with("0\r\n\r\n"), "the client sees that it is not whole");
        let told = reports.take();
        assert!(told.len() == 1 && told[0].contains("the source has failed"), "{told:?}");
    });
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_in_memory() {
    run(async |_| {
        let service = service_fn(|request: Request<Body>| async move {
            let error = request.into_body().bytes(8).await.unwrap_err();
            Ok::<_, Infallible>(Response::new(Body::from(error.to_string())))
        });
        let server = serve(listener().await, service).unwrap();
        // By its length, and without one.
        for rest in ["content-length: 9\r\n\r\n", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n"] {
            let mut client = Raw::connect(server.local_addrs()[0]).await;
            client.send(&format!("POST / HTTP/1.1\r\nhost: a\r\n{rest}")).await;
            assert_eq!(client.response().await.1, "the body has more than the allowed 8 bytes");
        }
        let error = Body::from(vec![0xff]).text(8).await.unwrap_err();
        assert!(error.to_string().contains("utf-8"), "{error}");
        let pieces = Body::stream(stream::iter(["a", "", "b", "c"].map(|piece| io::Result::Ok(piece.into()))));
        assert_eq!(pieces.text(3).await.unwrap(), "abc");
    });
}
