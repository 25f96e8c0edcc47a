//! The compiler's messages for wrong calls.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Folder;

/// A wrong call, and the message, the label and the note that the compiler shows for it.
pub type MessageCase = (&'static str, &'static [&'static str]);

/// Compiles each call in a function of its own, and asserts that the compiler shows its texts.
///
/// All calls are in one source file, which one run of the compiler checks. `libraries` are the
/// crates that the calls name, as the running test was built against them; `helpers` is code that
/// the calls use.
///
/// # Panics
/// Panics if a text is not shown, if all calls compile, or if a library is not built.
#[track_caller]
pub fn assert_messages(libraries: &[&str], helpers: &str, cases: &[MessageCase]) {
    let errors = errors(libraries, helpers, cases);
    for (call, texts) in cases {
        let first = errors.iter().find(|error| error.contains(texts[0]));
        let error = first.unwrap_or_else(|| panic!("{call}: no {:?} in\n{}", texts[0], errors.join("\nerror")));
        for text in *texts {
            assert!(error.lines().any(|line| is_whole(line, text)), "{call}: no {text:?} in\n{error}");
        }
    }
}

/// The library of this name that was built for the running test: the newest, if there are several.
fn library(name: &str) -> PathBuf {
    let deps = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let files = fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    };
    files.filter(is_it).max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("a built library")
}

/// The compiler's errors for a source file with the calls.
fn errors(libraries: &[&str], helpers: &str, cases: &[MessageCase]) -> Vec<String> {
    let folder = Folder::new("messages");
    let source = folder.path().join("wrong.rs");
    let functions =
        cases.iter().enumerate().map(|(n, (call, _))| format!("pub fn wrong_{n}() {{ let _ = {call}; }}\n"));
    fs::write(&source, format!("{helpers}{}", functions.collect::<String>())).unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-A", "warnings", "-o"])
        .arg(source.with_extension("rmeta"))
        .args(libraries.iter().map(|name| format!("--extern={name}={}", library(name).display())))
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
