//! The compiler's messages for wrong calls: each says what to write instead.
//!
//! All calls are in one source file, which one run of the compiler checks.

use std::fs;
use std::path::Path;

use picot_testkit::{MessageCase, assert_messages};

/// One case for each `on_unimplemented` of the crates.
const CASES: [MessageCase; 11] = [
    (
        "picot_reactor::Reactor::new().unwrap().register(String::new())",
        &[
            "`String` cannot be registered with the reactor",
            "implement `Pollable` for it if it keeps its descriptor open for as long as it lives",
        ],
    ),
    (
        "picot_reactor::Reactor::with_driver(5u8)",
        &[
            "`u8` cannot be the driver of a reactor",
            "implement `picot_reactor::driver::Driver` for it, or let `Reactor::new` choose one",
        ],
    ),
    (
        "picot::net::ConnectOptions::new().resolver(5u8)",
        &[
            "`u8` is not a resolver",
            "expected a type that implements `picot_net::Resolve`",
            "implement `Resolve` for a type with \
             `fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>`",
        ],
    ),
    (
        "listener(std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap())",
        &[
            "a server cannot listen with `std::net::TcpListener`",
            "expected `picot_net::TcpListener` or `picot_net::UnixListener`",
            "convert a listener of std with `TcpListener::from_std` or `UnixListener::from_std`",
        ],
    ),
    (
        "promise().then(|n| n + 1)",
        &[
            "a handler of a promise cannot return `i32`",
            "this handler must return `Result<",
            "return `Ok(value)` for a plain value, and `Promise::spawn(future)` for a future",
        ],
    ),
    (
        "picot::deferred::when_all([1, 2])",
        &[
            "a group cannot wait for `{integer}`",
            "this member must be a promise or a future of a `Result`",
            "values and errors must be `'static` and values `Clone`; pass a plain value as `std::future::ready(Ok(value))`",
        ],
    ),
    (
        "picot::when(vec![promise()])",
        &[
            "`when` cannot wait for `Vec<",
            "this must be one promise, or a tuple of up to eight members with the same error type",
            "pass a list or an iterator to `when_all`, and one future `f` as `(f,)`",
        ],
    ),
    (
        "async { picot::gather(5).await }",
        &[
            "`gather` cannot wait for `{integer}`",
            "not a tuple or an iterator of futures that return a `Result` with one error type",
            "pass a tuple of at most eight, a `Vec`, an array or an iterator; use `gather_settled` for futures of plain values",
        ],
    ),
    (
        "async { picot::gather_settled(5).await }",
        &[
            "`gather_settled` cannot wait for `{integer}`",
            "not a tuple or an iterator of futures",
            "pass a tuple of at most eight, a `Vec`, an array or an iterator of futures or tasks",
        ],
    ),
    (
        "async { picot::race(5).await }",
        &[
            "`race` cannot wait for `{integer}`",
            "not a tuple or an iterator of futures with one output type",
            "pass a tuple of at most eight, a `Vec`, an array or an iterator; map the members to a common type, \
             such as an enum",
        ],
    ),
    (
        "picot::scope(async |s: picot::task::Scope<'_, ()>| { drop(s.spawn(async { 1u8 })); Ok(()) })",
        &[
            "a child of this scope returns `()` or a `Result` with the error `()`, not `u8`",
            "the output of this child is `u8`",
            "end the child with `Ok(value)`, convert its error with `?` or `map_err`, or use `supervised`, \
             whose children return any value",
        ],
    ),
];

/// Functions that the calls use.
const HELPERS: &str = "fn listener<L: picot::net::Listener>(_: L) {}\n\
                       fn promise() -> picot::Promise<i32, String> { todo!() }\n";

#[test]
fn wrong_calls_get_a_message_that_helps() {
    assert_messages(&["picot", "picot_reactor"], HELPERS, &CASES);
}

/// The adapters, which are no default members, test their messages themselves.
#[test]
fn each_message_of_the_default_members_has_a_case() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
    let defaults = manifest.lines().find(|line| line.starts_with("default-members")).unwrap();
    let is_default = |path: &Path| defaults.contains(&format!("\"crates/{}\"", path.file_name().unwrap().display()));
    fn count(folder: &Path) -> usize {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let each = paths.map(|path| match path.is_dir() {
            true => count(&path),
            false => fs::read_to_string(&path).unwrap_or_default().matches("on_unimplemented(").count(),
        });
        each.sum()
    }
    let crates = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().path()).filter(|path| is_default(path));
    let counts = crates.map(|path| count(&path.join("src")));
    assert_eq!(counts.sum::<usize>(), CASES.len());
}
