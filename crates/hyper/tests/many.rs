//! As many idle connections as the process's limit of descriptors allows, up to 10 000. A program
//! of its own, because it uses all of them.

#[cfg(unix)]
mod unix {
    use std::convert::Infallible;
    use std::process::Command;
    use std::time::Duration;

    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use picot_hyper::{Body, HttpServer};
    use picot_net::{TcpListener, TcpStream};

    /// The soft limit of this process, which a child inherits.
    fn descriptors() -> usize {
        let output = Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
        // It may be "unlimited".
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or(usize::MAX)
    }

    async fn ask(stream: &TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the connection ended");
            answer.extend_from_slice(&buffer[..length]);
        }
    }

    #[test]
    fn many_idle_connections_leave_the_others_served_and_end_at_once() {
        // Both ends are here.
        let count = (descriptors().saturating_sub(200) / 2).clamp(1, 10_000);
        picot_loop::run(async {
            let hello =
                service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
            // A busy machine may take long for all of them.
            let builder = HttpServer::builder().header_timeout(Duration::from_secs(3600));
            let server = builder.serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), hello).unwrap();
            let address = server.local_addrs()[0];
            let mut streams = Vec::new();
            for number in 0..count {
                streams.push(TcpStream::connect(address).await.unwrap());
                // Half of them never send a byte.
                if number % 2 == 0 {
                    ask(&streams[number]).await;
                }
            }
            for stream in streams.iter().step_by(100) {
                ask(stream).await;
            }
            assert_eq!(server.connections(), count);
            assert_eq!(server.shutdown(Duration::from_secs(60)).await.len(), 0, "idle ones end at once");
            for stream in &streams {
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            }
            println!("{count} idle connections");
        });
    }
}
