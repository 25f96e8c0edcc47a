//! The page in a real browser: headless Chromium, driven through chromedriver.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use picot_loop::{EventLoop, Instant, sleep, spawn_named};
use picot_net::{Reader, TcpStream};
use serde_json::{Value, json};

use crate::shown::deadlock;

/// A browser with one window. Dropping it ends its processes.
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// `None` if the machine has no Chromium.
    async fn start() -> Option<Browser> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new("chromedriver");
        let command = command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(driver) = command.spawn() else {
            println!("skipped: Chromium");
            return None;
        };
        let profile = std::env::temp_dir().join(format!("picot-inspect-{port}"));
        let mut browser = Browser { driver, address, session: String::new(), profile };
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "chromedriver does not listen");
            sleep(Duration::from_millis(50)).await;
        }
        let mut arguments: Vec<String> = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
            --disable-background-networking --disable-component-update --disable-sync --window-size=1280,900"
            .split_whitespace()
            .map(str::to_string)
            .collect();
        arguments.push(format!("--user-data-dir={}", browser.profile.display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let session = browser.call("POST", "/session", &wanted).await;
        browser.session = session["sessionId"].as_str().expect("a session").to_string();
        Some(browser)
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.exchange(method, path, &body.to_string()).await.expect("chromedriver answers");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }

    async fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect(self.address).await?;
        let (host, length) = (self.address, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).await?;
        let mut reader = Reader::new(stream);
        let head = reader.read_until(b"\r\n\r\n").await.map_err(io::Error::other)?;
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
        reader.read_exact(length.trim().parse().expect("a number")).await.map_err(io::Error::other)
    }

    async fn open(&self, address: SocketAddr) {
        let path = format!("/session/{}/url", self.session);
        self.call("POST", &path, &json!({ "url": format!("http://{address}/") })).await;
    }

    async fn run(&self, script: &str) -> Value {
        let path = format!("/session/{}/execute/sync", self.session);
        self.call("POST", &path, &json!({ "script": script, "args": [] })).await
    }

    /// Waits until a script returns true.
    async fn until(&self, script: &str) {
        let begin = Instant::now();
        while self.run(script).await != true {
            assert!(begin.elapsed() < Duration::from_secs(30), "not in the page: {script}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn close(self) {
        let path = format!("/session/{}", self.session);
        self.call("DELETE", &path, &json!({})).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Opens the page about a program that `start` starts, and tests what it shows.
fn in_browser(start: fn(), test: impl AsyncFnOnce(&Browser)) {
    let event_loop = EventLoop::new().unwrap();
    event_loop.handle().set_error_hook(|_| ());
    event_loop
        .run_until_complete(async {
            let Some(browser) = Browser::start().await else { return };
            let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
            start();
            browser.open(inspector.local_addr()).await;
            browser.until("return document.getElementById('state').textContent === 'live'").await;
            test(&browser).await;
            browser.close().await;
        })
        .unwrap();
}

#[test]
fn a_stalled_task_and_a_deadlock_are_seen() {
    let start = || {
        drop(spawn_named("<b>stalled</b>", pending::<()>()));
        deadlock();
    };
    in_browser(start, async |browser| {
        let row = "[...document.querySelectorAll('#rows tr')].some(row => row.textContent.includes";
        browser.until(&format!("return {row}('<b>stalled</b>'))")).await;
        browser.until("return document.getElementById('cycle').textContent.startsWith('a cycle')").await;
        browser.until("return document.querySelectorAll('#picture g.bad').length === 2").await;
        browser.until("return document.querySelectorAll('#picture path.bad').length === 2").await;
        browser.until("return document.querySelectorAll('#rows tr.bad').length === 2").await;
    });
}

#[test]
fn ten_thousand_tasks_do_not_freeze_the_page() {
    let start = || {
        for number in 0..10_000 {
            drop(spawn_named(&format!("idler {number}"), pending::<()>()));
        }
    };
    in_browser(start, async |browser| {
        browser.until("return document.getElementById('count').textContent.endsWith('of 10,001')").await;
        let rows = browser.run("return document.querySelectorAll('#rows tr').length").await;
        assert_eq!(rows, 100);
        // The page draws an event quickly, and answers to a filter.
        let script = "const begin = performance.now(); show(previous); return performance.now() - begin";
        let millis = browser.run(script).await.as_f64().expect("a number");
        assert!(millis < 500.0, "an event takes {millis} ms");
        let filter = "const filter = document.getElementById('filter'); filter.value = 'idler 9999'; \
                      filter.dispatchEvent(new Event('input')); return true";
        browser.run(filter).await;
        browser.until("return document.querySelectorAll('#rows tr').length === 1").await;
    });
}
