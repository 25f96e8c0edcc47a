//! The compiler's messages for wrong calls: each says what to write instead.
//!
//! All calls are in one source file, which one run of the compiler checks.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use picot_testkit::Folder;

/// A wrong call, and the message, the label and the note that the compiler shows for it.
type Case = (&'static str, &'static [&'static str]);

/// One case for each `on_unimplemented` of the crates.
const CASES: [Case; 11] = [
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

/// The library of this name that was built for this test. Several builds may exist; the newest is
/// it.
fn library(name: &str) -> PathBuf {
    let deps = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let files = fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    };
    files.filter(is_it).max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("a built library")
}

/// The compiler's errors for a source file with each of the calls in a function of its own.
fn errors() -> Vec<String> {
    let folder = Folder::new("texts");
    let source = folder.path().join("wrong.rs");
    let functions =
        CASES.iter().enumerate().map(|(n, (call, _))| format!("pub fn wrong_{n}() {{ let _ = {call}; }}\n"));
    let helpers = "fn listener<L: picot::net::Listener>(_: L) {}\n\
                   fn promise() -> picot::Promise<i32, String> { todo!() }\n";
    fs::write(&source, format!("{helpers}{}", functions.collect::<String>())).unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-A", "warnings", "-o"])
        .arg(source.with_extension("rmeta"))
        .args(["picot", "picot_reactor"].map(|name| format!("--extern={name}={}", library(name).display())))
        .arg("-L")
        .arg(env::current_exe().unwrap().parent().unwrap())
        .arg(&source)
        .output()
        .expect("the compiler that built this test runs");
    assert!(!output.status.success(), "wrong calls compile");
    String::from_utf8_lossy(&output.stderr).split("\nerror").map(str::to_string).collect()
}

/// Whether `text` is the whole text of a line of a diagnostic, after its arrow or `note:`. A text
/// that ends within a type may continue.
fn is_whole(line: &str, text: &str) -> bool {
    line.split_once(text).is_some_and(|(before, after)| {
        before.trim_end().ends_with([':', '^', '-', '|']) && (after.is_empty() || text.ends_with('<'))
    })
}

#[test]
fn wrong_calls_get_a_message_that_helps() {
    let errors = errors();
    for (call, texts) in CASES {
        let first = errors.iter().find(|error| error.contains(texts[0]));
        let error = first.unwrap_or_else(|| panic!("{call}: no {:?} in\n{}", texts[0], errors.join("\nerror")));
        for text in texts {
            assert!(error.lines().any(|line| is_whole(line, text)), "{call}: no {text:?} in\n{error}");
        }
    }
}

#[test]
fn each_message_of_the_crates_has_a_case() {
    fn count(folder: &Path) -> usize {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let each = paths.map(|path| match path.is_dir() {
            true => count(&path),
            false => fs::read_to_string(&path).unwrap_or_default().matches("on_unimplemented(").count(),
        });
        each.sum()
    }
    let crates = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")).unwrap();
    let counts =
        crates.map(|entry| entry.unwrap().path().join("src")).filter(|src| src.is_dir()).map(|src| count(&src));
    assert_eq!(counts.sum::<usize>(), CASES.len());
}
