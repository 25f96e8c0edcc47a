//! What the sources offer: every public async function, every public function that returns a
//! future, and every public type that is one. The code is formatted, so a line says what it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::futures::list;

/// The source files of each published crate, but for adapters: what is no default member needs
/// other people's stacks, which the walks do not build.
fn sources() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let defaults = manifest.lines().find(|line| line.starts_with("default-members")).unwrap().to_string();
    let crates = root.join("crates");
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(crates).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name == "testkit" || !defaults.contains(&format!("\"crates/{name}\"")) {
            continue;
        }
        let mut texts = Vec::new();
        let mut folders = vec![entry.path().join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path: PathBuf = entry.unwrap().path();
                match path.extension() {
                    _ if path.is_dir() => folders.push(path),
                    Some(extension) if extension == "rs" => texts.push(fs::read_to_string(path).unwrap()),
                    _ => {}
                }
            }
        }
        sources.insert(name, texts);
    }
    sources
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The type that an `impl` at the begin of a line is for.
fn subject(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    // Behind the parameters, which may hold brackets of their own.
    let mut depth = 0;
    let end = rest.find(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c == ' '
    })?;
    let rest = &rest[end + 1..];
    let subject = rest.split_once(" for ").map_or(rest, |(_, subject)| subject);
    words(subject).find(|word| *word != "mut" && *word != "dyn" && !subject.contains(&format!("'{word}")))
}

/// The public types of a crate that are futures.
fn futures_of(texts: &[String]) -> BTreeSet<String> {
    let is_public = |name: &str| {
        texts.iter().flat_map(|text| text.lines()).any(|line| {
            let name_there = line.trim_start().strip_prefix("pub struct ").and_then(|rest| words(rest).next());
            name_there == Some(name)
        })
    };
    let mut found = BTreeSet::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if line.starts_with("impl") && line.contains("Future for ") {
            let name = subject(line).unwrap();
            if is_public(name) {
                found.insert(name.to_string());
            }
        }
    }
    found
}

/// A public function of a crate.
pub(crate) struct Function {
    /// `crate::Type::function` or `crate::function`.
    pub(crate) name: String,
    pub(crate) is_async: bool,
    pub(crate) tracks_caller: bool,
    /// What it returns, up to the conditions on its parameters.
    returned: String,
    /// The lines of its documentation.
    pub(crate) docs: String,
}

/// All public functions.
pub(crate) fn functions() -> Vec<Function> {
    let mut functions = Vec::new();
    for (name, texts) in sources() {
        for lines in texts.iter().map(|text| text.lines().collect::<Vec<_>>()) {
            let mut of = None;
            for (number, line) in lines.iter().enumerate() {
                match subject(line) {
                    Some(subject) => of = Some(subject),
                    None if *line == "}" => of = None,
                    None => {}
                }
                let code = line.trim_start();
                let is_async = code.starts_with("pub async fn ");
                let rest = code.strip_prefix("pub async fn ").or(code.strip_prefix("pub fn "));
                let Some(rest) = rest.or(code.strip_prefix("pub const fn ")) else { continue };
                let head = &lines[number..];
                let end = head.iter().position(|line| line.ends_with(['{', ';'])).unwrap();
                let head = head[..=end].join(" ");
                // Behind the parameters, whose types may have arrows of their own.
                let head = head.split(" where ").next().unwrap();
                let returned = head.rsplit_once(") -> ").map_or("", |(_, returned)| returned);
                let above = lines[..number].iter().rev().map(|line| line.trim_start());
                let above: Vec<_> =
                    above.take_while(|line| line.starts_with("///") || line.starts_with("#[")).collect();
                let function = words(rest).next().unwrap();
                functions.push(Function {
                    name: match of {
                        Some(of) if line.starts_with(' ') => format!("{name}::{of}::{function}"),
                        _ => format!("{name}::{function}"),
                    },
                    is_async,
                    tracks_caller: above.contains(&"#[track_caller]"),
                    returned: returned.to_string(),
                    docs: above.iter().rev().filter_map(|line| line.strip_prefix("///")).collect::<Vec<_>>().join("\n"),
                });
            }
        }
    }
    functions
}

/// The names in the sources that the list must have.
fn offered() -> BTreeSet<String> {
    let futures: BTreeMap<_, _> = sources().into_iter().map(|(name, texts)| (name, futures_of(&texts))).collect();
    let mut offered = BTreeSet::new();
    for (name, futures) in &futures {
        offered.extend(futures.iter().map(|future| format!("{name}::{future}")));
    }
    for function in functions() {
        let of = function.name.split("::").next().unwrap();
        // The loop's functions return the executor's tasks.
        let known = |word: &str| {
            word == "Future" || futures[of].contains(word) || (of == "loop" && futures["executor"].contains(word))
        };
        if function.is_async || words(&function.returned).any(known) {
            offered.insert(function.name);
        }
    }
    offered
}

#[test]
fn the_list_has_every_future_of_the_sources_and_no_other() {
    let offered = offered();
    assert!(offered.len() > 120, "the sources are read: {offered:?}");
    let listed: Vec<_> = list().iter().flat_map(|entry| entry.names.split(' ')).map(str::to_string).collect();
    let known: BTreeSet<_> = listed.iter().cloned().collect();
    let missing: Vec<_> = offered.difference(&known).collect();
    assert!(missing.is_empty(), "not on the list: {missing:#?}");
    let gone: Vec<_> = known.difference(&offered).collect();
    assert!(gone.is_empty(), "on the list, and not in the sources: {gone:#?}");
    assert_eq!(listed.len(), known.len(), "a name is listed twice");
}
