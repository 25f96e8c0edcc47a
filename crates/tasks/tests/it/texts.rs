//! The compiler's texts for wrong calls: each says what to write instead.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Compiles the body of a function that has everything of this crate in scope, and returns the
/// compiler's messages.
fn messages(name: &str, body: &str) -> String {
    let deps = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let libs = fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path());
    let is_lib = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "rlib");
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("libpicot_tasks-");
    // Several builds may lie there; the newest is the one of this test.
    let lib = libs
        .filter(|path| is_lib(path) && is_ours(path))
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    let source = env::temp_dir().join(format!("picot-texts-{}-{name}.rs", std::process::id()));
    fs::write(&source, format!("use picot_tasks::*;\npub async fn wrong() {{ {body} }}\n")).unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-A", "warnings", "-o"])
        .arg(source.with_extension("rmeta"))
        .arg("--extern")
        .arg(format!("picot_tasks={}", lib.expect("the library was built for this test").display()))
        .arg("-L")
        .arg(&deps)
        .arg(&source)
        .output()
        .expect("the compiler that built this test runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    fs::remove_file(&source).unwrap();
    assert!(!output.status.success(), "{name} compiles");
    text
}

#[test]
fn wrong_calls_get_a_message_that_helps() {
    let cases = [
        (
            "gather_of_values",
            "gather(5).await;",
            ["`gather` cannot wait for `{integer}`", "use `gather_settled` for futures of plain values"],
        ),
        (
            "gather_settled_of_values",
            "gather_settled(5).await;",
            ["`gather_settled` cannot wait for `{integer}`", "pass a tuple of at most eight"],
        ),
        (
            "race_of_values",
            "race(5).await;",
            ["`race` cannot wait for `{integer}`", "map the members to a common type"],
        ),
        (
            "child_of_a_value",
            "let _ = scope(async |s: Scope<'_, ()>| { drop(s.spawn(async { 1u8 })); Ok(()) }).await;",
            [
                "a child of this scope returns `()` or a `Result` with the error `()`, not `u8`",
                "end the child with `Ok(value)`",
            ],
        ),
    ];
    for (name, body, texts) in cases {
        let messages = messages(name, body);
        for text in texts {
            assert!(messages.contains(text), "{name}: no {text:?} in\n{messages}");
        }
    }
}
