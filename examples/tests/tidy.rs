//! The rules of docs/architecture.md that neither the compiler nor clippy can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below `folder` with this extension, as paths from the root.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The published crates: every folder of `crates` but `testkit`, which only tests depend on.
fn crates() -> Vec<String> {
    let mut crates: Vec<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "testkit")
        .collect();
    crates.sort();
    crates
}

/// The crates of ours that a crate's manifest names under `[dependencies]`, without the prefix.
fn dependencies(name: &str) -> Vec<String> {
    let manifest = read(format!("crates/{name}/Cargo.toml"));
    let section = manifest.split("\n[dependencies]\n").nth(1).map_or("", |rest| rest.split("\n[").next().unwrap());
    section
        .lines()
        .filter_map(|line| line.strip_prefix("picot-"))
        .map(|line| line.split(['.', ' ']).next().unwrap().to_string())
        .collect()
}

#[test]
fn dependencies_point_downwards_and_leaves_do_not_know_each_other() {
    let allowed: &[(&str, &[&str])] = &[
        ("blocking", &["context"]),
        ("context", &[]),
        ("deferred", &["context"]),
        ("executor", &["context"]),
        ("hyper", &["context", "loop", "net", "sync"]),
        ("inspect", &["context", "loop", "net", "tasks"]),
        ("loop", &["blocking", "context", "executor", "reactor", "timers"]),
        ("macros", &[]),
        ("net", &["context", "loop", "reactor"]),
        ("picot", &["deferred", "loop", "macros", "net", "process", "sync", "tasks"]),
        ("process", &["context", "loop", "net", "reactor", "tasks"]),
        ("reactor", &["context"]),
        ("sync", &["context"]),
        ("tasks", &["context", "loop"]),
        ("timers", &[]),
        ("tokio", &["loop"]),
    ];
    assert_eq!(crates(), allowed.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, allowed) in allowed {
        let mut found = dependencies(name);
        found.sort();
        assert_eq!(found, *allowed, "the crates that {name} depends on");
    }
}

/// The paths in one list of the workspace's manifest.
fn workspace_list(name: &str) -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest.split(&format!("\n{name} = [")).nth(1).and_then(|rest| rest.split(']').next());
    let list = list.unwrap_or_else(|| panic!("Cargo.toml has no list `{name}`"));
    list.split('"').skip(1).step_by(2).map(str::to_string).collect()
}

#[test]
fn the_default_members_are_all_but_those_that_build_other_peoples_stacks() {
    let mut left_out = workspace_list("members");
    for member in crates().iter().map(|name| format!("crates/{name}")) {
        assert!(left_out.contains(&member), "{member} is not in the workspace");
    }
    let defaults = workspace_list("default-members");
    left_out.retain(|member| !defaults.contains(member));
    left_out.sort();
    let others =
        ["benches/peers", "crates/hyper", "crates/inspect", "crates/tokio", "crates/tokio/suite", "examples/ecosystem"];
    assert_eq!(left_out, others, "the members that `cargo test` leaves out");
}

#[test]
fn the_default_members_build_no_other_runtime() {
    // Without a package, `cargo tree` shows the default members: what `cargo test` builds.
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let packages: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for package in ["picot", "picot-examples", "picot-benches", "polling", "proptest"] {
        assert!(packages.contains(&package), "{package} is not among the packages that cargo lists");
    }
    let is_runtime = |package: &str| {
        let first_word = package.split('-').next().unwrap();
        ["actix", "compio", "glommio", "mio", "monoio", "smol", "tokio"].contains(&first_word)
            || ["async-executor", "async-global-executor", "async-io", "async-std"].contains(&package)
    };
    assert_eq!(
        packages.into_iter().find(|package| is_runtime(package)),
        None,
        "a default member builds another runtime"
    );
}

/// The crates of others that a package builds with, on the system of this test.
fn crates_of_others(package: &str, features: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .args(features)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    names.filter(|name| !name.starts_with("picot")).map(str::to_string).collect()
}

/// The script `.ci/lean` measures what they cost to build.
#[test]
#[cfg(target_os = "linux")]
fn the_loop_and_the_umbrella_bring_few_crates_of_others() {
    let limits: [(&str, &[&str], usize); 5] = [
        ("picot-loop", &[], 11),
        ("picot-net", &[], 15),
        ("picot", &["--no-default-features"], 17),
        // The handlers of signals, which all libraries of a process have to share.
        ("picot", &["--no-default-features", "--features", "process"], 20),
        // The parser of the attributes.
        ("picot", &[], 24),
    ];
    for (package, features, limit) in limits {
        let crates = crates_of_others(package, features);
        assert!(crates.len() <= limit, "{package} {features:?} brings {} crates: {crates:?}", crates.len());
        let has = |name: &str| crates.contains(name);
        assert!(has("polling") && has("async-task"), "{package} {features:?}: {crates:?}");
        assert_eq!(has("syn"), package == "picot" && features.is_empty(), "{package} {features:?}");
    }
}

#[test]
fn unsafe_code_is_forbidden_but_where_it_earns_its_place() {
    for name in crates() {
        let root = read(format!("crates/{name}/src/lib.rs"));
        let forbids = root.contains("#![forbid(unsafe_code)]");
        // The buffers of tokio need some.
        let forbids_else = root.contains("#![cfg_attr(not(feature = \"tokio-io\"), forbid(unsafe_code))]");
        assert_eq!(forbids, !matches!(&*name, "executor" | "hyper" | "net" | "reactor"), "{name}");
        assert_eq!(forbids_else, name == "net", "{name}");
    }
    let found: Vec<_> = files("crates", "rs")
        .into_iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "src"))
        .filter(|file| !file.starts_with("crates/testkit"))
        .filter(|file| read(file).lines().any(|line| !line.trim().starts_with("//") && line.contains("unsafe ")))
        .collect();
    let allowed = [
        "crates/executor/src/bound.rs",
        "crates/executor/src/local_value.rs",
        "crates/executor/src/run/current.rs",
        "crates/executor/src/run/queue.rs",
        "crates/executor/src/shared.rs",
        "crates/executor/src/spawner.rs",
        "crates/executor/src/task/body.rs",
        "crates/executor/src/task/make.rs",
        "crates/executor/src/task/meta.rs",
        "crates/executor/src/task/table.rs",
        "crates/hyper/src/io.rs",
        "crates/net/src/tokio_io.rs",
        "crates/reactor/src/driver/direct.rs",
        "crates/reactor/src/driver/mod.rs",
        "crates/reactor/src/driver/portable.rs",
        "crates/reactor/src/fork.rs",
        "crates/reactor/src/growing.rs",
        "crates/reactor/src/inner.rs",
        "crates/reactor/src/pollable.rs",
        "crates/reactor/src/ready_list.rs",
        "crates/reactor/src/source/state.rs",
        "crates/reactor/src/source/waiters.rs",
        "crates/reactor/src/table.rs",
        "crates/reactor/src/waiter.rs",
    ];
    assert_eq!(found, allowed.map(PathBuf::from));
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    for folder in ["crates", "examples", "benches"] {
        for file in files(folder, "rs") {
            let text = read(&file);
            assert!(text.starts_with("//! ") || text.starts_with("#![doc = include_str!"), "{}", file.display());
        }
    }
}

#[test]
fn no_two_files_open_with_the_same_words() {
    let mut headers: Vec<_> = files("crates", "rs")
        .into_iter()
        .map(|file| (read(&file).lines().next().unwrap().to_string(), file))
        .filter(|(header, _)| header.starts_with("//! "))
        .collect();
    headers.sort();
    for pair in headers.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "{} and {}", pair[0].1.display(), pair[1].1.display());
    }
}

#[test]
fn every_crate_shares_the_fields_the_lints_and_the_manner() {
    for name in crates() {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        for line in ["version.workspace = true", "rust-version.workspace = true", "[lints]\nworkspace = true"] {
            assert!(manifest.contains(line), "{name} lacks {line:?}");
        }
        let package = if name == "picot" { name.clone() } else { format!("picot-{name}") };
        assert!(manifest.contains(&format!("name = \"{package}\"\n")), "the package of crates/{name} is {package}");
        assert!(read(format!("crates/{name}/README.md")).starts_with(&format!("# {package}\n")), "{name}");
        assert!(read(format!("docs/design/{name}.md")).starts_with("# "), "{name}");
    }
}

/// A package is read on a registry page, apart from the repository.
#[test]
fn every_package_stands_alone() {
    let license = read("LICENSE");
    for name in crates() {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        assert!(manifest.contains("\nkeywords = ["), "{name} has no keywords");
        assert_eq!(read(format!("crates/{name}/LICENSE")), license, "the licence of {name}");
        let readme = read(format!("crates/{name}/README.md"));
        for link in readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(link.contains("://") || link.starts_with('#'), "{name}: {link} leads out of the package");
        }
    }
}

#[test]
fn every_page_is_compiled() {
    // Of pages about adapters, the code needs what no default member builds.
    let library = read("examples/lib/lib.rs") + &read("examples/ecosystem/lib.rs");
    let mut pages: Vec<_> = files("docs", "md");
    pages.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benches/README.md"].map(PathBuf::from));
    for page in pages {
        let page = page.to_str().unwrap().replace('\\', "/");
        assert!(library.contains(&format!("\"{page}\"")), "{page} is not among the pages of examples/*/lib.rs");
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut pages = files("docs", "md");
    pages.extend(files("crates", "md"));
    pages.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benches/README.md"].map(PathBuf::from));
    for page in pages {
        let text = read(&page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(root().join(&target).exists(), "{}: {link}", page.display());
        }
    }
}

/// Rust without the arguments of its turbofishes, so that `Mutex::<()>::lock` reads `Mutex::lock`.
fn without_turbofish(code: &str) -> String {
    let mut rest = code.split("::<");
    let mut stripped = rest.next().unwrap().to_string();
    for rest in rest {
        let mut depth = 1;
        let is_end = |c: char| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        };
        stripped.push_str(&rest[rest.find(is_end).expect("a turbofish ends") + 1..]);
    }
    stripped
}

#[test]
fn every_name_of_asyncio_has_one_row_and_what_the_row_names_is_compiled() {
    let page = read("docs/reference/asyncio.md");
    let code = page.split("```rust").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has code");
    let code = without_turbofish(code);
    let is_part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let is_compiled = |path: &str| {
        let mut found = code.match_indices(path).map(|(at, _)| (&code[..at], &code[at + path.len()..]));
        found.any(|(before, after)| !before.ends_with(is_part_of_name) && !after.starts_with(is_part_of_name))
    };

    let mut rows = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, asyncio, picot, differs, _] = cells[..] else { panic!("not three cells: {row}") };
        rows.extend(asyncio.split('`').skip(1).step_by(2));
        let paths: Vec<_> = picot.split('`').skip(1).step_by(2).collect();
        assert!(!paths.is_empty() || differs.starts_with("Absent") || differs.starts_with("Not yet"), "why? {row}");
        assert!(!differs.is_empty(), "the same, or how different? {row}");
        for path in paths {
            // Of a path, a type and its method count, or else the last name: the modules come by
            // the imports.
            let names: Vec<_> = path.split("::").collect();
            let start = names.iter().position(|name| name.starts_with(char::is_uppercase)).unwrap_or(names.len() - 1);
            let path = names[start..].join("::");
            assert!(is_compiled(&path), "{path} is not in the code of the page: {row}");
        }
    }

    let names = read("docs/reference/asyncio-names.txt");
    let names: Vec<_> = names.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(names.len() > 300, "{} names", names.len());
    for name in &names {
        assert_eq!(rows.iter().filter(|row| *row == name).count(), 1, "rows of {name}");
    }
    assert_eq!(rows.iter().find(|row| !names.contains(row)), None, "a row of what is not in the list");
}

/// The tests that a crate's page names in tables, as `file::test`. Each exists.
fn tests_named(krate: &str, text: &str) -> usize {
    let rows: String = text.lines().filter(|line| line.starts_with("| ")).collect();
    let names: Vec<_> = rows.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::")).collect();
    for (file, test) in &names {
        let tests = read(format!("crates/{krate}/tests/it/{file}.rs"));
        let before = tests.split(&format!("\nfn {test}() {{")).next().filter(|before| before.len() < tests.len());
        let mut attributes = before.unwrap_or("").lines().rev().take_while(|line| line.starts_with("#["));
        assert!(attributes.any(|line| line == "#[test]"), "{krate}: {file}::{test}");
    }
    names.len()
}

#[test]
fn every_test_that_the_executors_page_names_exists() {
    let named = tests_named("executor", &read("docs/design/executor.md"));
    assert!(named > 40, "the page names {named} tests");
}

#[test]
fn every_test_that_the_conformance_table_names_exists() {
    let table = read("docs/reference/deferred-conformance.md");
    let named = tests_named("deferred", &table);
    assert!(named > 60, "the table names {named} tests");
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case")) {
        let is_told =
            ["::", "JavaScript: ", "Rust: ", "left out: ", "see 2.3", "| test |"].iter().any(|told| row.contains(told));
        assert!(is_told, "neither a test nor a reason: {row}");
    }
}

/// The one piece of syntax that is newer than the oldest compiler we support, and that clippy does
/// not tell of.
#[test]
fn no_condition_chains_a_pattern() {
    for folder in ["crates", "examples", "benches"] {
        for file in files(folder, "rs") {
            let found = read(&file).lines().position(|line| line.contains(concat!("&& ", "let ")));
            assert_eq!(found, None, "{} has a chain of conditions in a line counted from 0", file.display());
        }
    }
}

/// The pages of the project, and the README of each crate.
fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", "md");
    pages.extend(files("crates", "md"));
    pages.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benches/README.md"].map(PathBuf::from));
    pages
}

/// The source files of the project, tests included.
fn sources() -> Vec<PathBuf> {
    ["crates", "examples", "benches"].iter().flat_map(|folder| files(folder, "rs")).collect()
}

#[test]
fn comments_and_pages_name_components_and_not_persons() {
    // Put together from two halves, so that this file has none of them.
    let words = [("who", "ever"), ("whom", "ever"), ("no", "body"), ("some", "body"), ("any", "body")];
    let words = words.map(|(start, end)| format!("{start}{end}"));
    let mut found = Vec::new();
    for file in sources().into_iter().chain(pages()) {
        for (line, text) in read(&file).lines().enumerate() {
            let text = text.to_lowercase();
            let has = text.split(|c: char| !c.is_alphanumeric()).filter(|word| words.iter().any(|bad| bad == word));
            found.extend(has.map(|word| format!("{}:{}: {word}", file.display(), line + 1)));
        }
    }
    assert!(found.is_empty(), "words that name a person: {found:#?}");
}

/// The widest line of a comment or of prose, in columns.
const WIDTH: usize = 100;

#[test]
fn lines_of_comments_are_at_most_100_columns_wide() {
    let mut found = Vec::new();
    for file in sources() {
        for (line, text) in read(&file).lines().enumerate() {
            if text.trim_start().starts_with("//") && text.chars().count() > WIDTH {
                found.push(format!("{}:{}", file.display(), line + 1));
            }
        }
    }
    assert!(found.is_empty(), "comment lines wider than 100 columns: {found:#?}");
}

/// A line of Markdown as it is read: without the targets of its links.
fn without_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let first = parts.next().unwrap().to_string();
    parts.fold(first, |text, part| text + "]" + part.split_once(')').map_or(part, |(_, rest)| rest))
}

#[test]
fn lines_of_prose_are_at_most_100_columns_wide() {
    let mut found = Vec::new();
    for file in pages() {
        let mut is_code = false;
        for (line, text) in read(&file).lines().enumerate() {
            is_code ^= text.trim_start().starts_with("```");
            if !is_code && !text.starts_with('|') && without_targets(text).chars().count() > WIDTH {
                found.push(format!("{}:{}", file.display(), line + 1));
            }
        }
    }
    assert!(found.is_empty(), "lines of prose wider than 100 columns: {found:#?}");
}

#[test]
fn no_two_public_types_share_a_name() {
    // Where the ecosystem has one name for a type of several modules, so has this.
    let mut apart = ["broadcast", "mpsc", "oneshot", "watch"].map(|name| format!("crates/sync/src/{name}.rs")).to_vec();
    apart.push("crates/process/src/child.rs".to_string());
    let apart: Vec<_> = apart.into_iter().map(PathBuf::from).collect();
    let mut names: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for krate in crates() {
        // The compiler warns of a `pub` item that cannot be reached, so each of these is public.
        for file in files(&format!("crates/{krate}/src"), "rs").into_iter().filter(|file| !apart.contains(file)) {
            let text = read(&file);
            let items = text.lines().filter_map(|line| line.trim_start().strip_prefix("pub "));
            for item in items {
                let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_');
                let kind = words.next().unwrap();
                if ["struct", "enum", "trait", "type", "union"].contains(&kind) {
                    names.entry(words.next().unwrap().to_string()).or_default().insert(file.clone());
                }
            }
        }
    }
    // A sealed trait is public for the compiler only.
    names.remove("Sealed");
    assert!(names.len() > 150, "{} public types", names.len());
    names.retain(|_, files| files.len() > 1);
    assert!(names.is_empty(), "types of one name: {names:#?}");
}

/// Whether a line of code defines `name`: as an item, or as a variant of an enum.
fn defines(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with("//") {
        return false;
    }
    let is_name = |rest: &str| {
        rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let kinds = ["fn ", "struct ", "enum ", "trait ", "type ", "mod ", "const ", "static ", "macro_rules! "];
    kinds.iter().any(|kind| line.match_indices(kind).any(|(at, _)| is_name(&line[at + kind.len()..])))
        || is_name(line) && line[name.len()..].starts_with([',', '(', ' ', ':'])
}

/// The right column of the glossary names what embodies each term: all of it is in the sources.
#[test]
fn what_the_glossary_names_exists() {
    let sources: Vec<_> =
        files("crates", "rs").iter().filter(|file| file.iter().any(|part| part == "src")).map(read).collect();
    let mut count = 0;
    for row in read("docs/glossary.md").lines().filter(|line| line.starts_with("| ") && !line.starts_with("| term")) {
        let place = row.trim_end_matches(" |").rsplit_once("| ").unwrap().1;
        for path in place.split('`').skip(1).step_by(2).filter(|path| !path.starts_with("std::")) {
            count += 1;
            if path.contains('/') {
                assert!(root().join(path).exists(), "{path} does not exist: {row}");
                continue;
            }
            for name in path.split("::").filter(|name| !name.starts_with("picot")) {
                let exists = sources.iter().any(|text| text.lines().any(|line| defines(line, name)));
                assert!(exists, "no source defines {name}: {row}");
            }
        }
    }
    assert!(count > 60, "the glossary names {count} items");
}

/// Each row of the drawings' tables names functions or types, and the files that define them.
#[test]
fn what_the_drawn_paths_name_exists() {
    let mut count = 0;
    for row in read("docs/walks.md").lines().filter(|line| line.starts_with("| ") && !line.starts_with("| step")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, _step, _what, names, files, _] = cells[..] else { panic!("not four cells: {row}") };
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>();
        let (names, files) = (quoted(names), quoted(files));
        let texts: Vec<_> = files.iter().map(read).collect();
        let is_in = |text: &String, name: &String| text.lines().any(|line| defines(line, name));
        for name in &names {
            assert!(texts.iter().any(|text| is_in(text, name)), "{name} is not in {files:?}: {row}");
        }
        for (file, text) in files.iter().zip(&texts) {
            assert!(names.iter().any(|name| is_in(text, name)), "{file} defines none of {names:?}: {row}");
        }
        count += names.len();
    }
    assert!(count > 40, "the drawings name {count} items");
}

/// The source files of a crate by module path, such as `task::handle`. Comments and tests are cut
/// off.
fn modules(krate: &str) -> BTreeMap<String, String> {
    let folder = format!("crates/{krate}/src");
    let modules = files(&folder, "rs").into_iter().map(|file| {
        let text = read(&file);
        let code: String = text
            .lines()
            .map(|line| line.split("//").next().unwrap())
            .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let path = file.strip_prefix(&folder).unwrap().with_extension("");
        let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
        let module = names.join("::");
        (module.strip_suffix("::mod").unwrap_or(&module).to_string(), code)
    });
    modules.filter(|(module, _)| module != "lib").collect()
}

/// Writes out the braces of an import: `a::{b, c::d}` becomes `a::b` and `a::c::d`.
fn without_braces(import: &str) -> Vec<String> {
    let Some((prefix, rest)) = import.split_once('{') else { return vec![import.to_string()] };
    let Some(end) = rest.rfind('}') else { return Vec::new() };
    let inner = &rest[..end];
    let mut depth = 0;
    let is_separator = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    };
    inner.split(is_separator).flat_map(|part| without_braces(&format!("{prefix}{part}"))).collect()
}

/// The modules of the same crate that a module names, in imports and in paths from the crate's
/// root.
fn imports(module: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = &modules[module];
    let lines = code.lines().map(str::trim_start).filter(|line| line.starts_with("use ") || line.starts_with("pub"));
    let starts = lines
        .filter_map(|line| line.split_once("use "))
        .map(|(_, rest)| rest.as_ptr() as usize - code.as_ptr() as usize);
    let uses = starts.map(|at| code[at..].split(';').next().unwrap());
    let uses = uses.flat_map(|import| without_braces(&import.split_whitespace().collect::<String>()));
    let is_in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = code.match_indices("crate::").map(|(at, _)| code[at..].split(|c| !is_in_path(c)).next().unwrap());
    let mut found = BTreeSet::new();
    for path in uses.chain(paths.map(str::to_string)) {
        let mut base: Vec<_> = module.split("::").collect();
        let mut names = path.split("::").peekable();
        match names.next().unwrap() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
                while names.next_if_eq(&"super").is_some() {
                    base.pop();
                }
            }
            _ => continue,
        }
        base.extend(names);
        // The longest part of the path that is a module; what follows it is an item.
        let target = (1..=base.len()).rev().map(|len| base[..len].join("::")).find(|path| modules.contains_key(path));
        found.extend(target.filter(|target| target != module));
    }
    found
}

/// The greatest group of files of which each imports each other one, directly or by way of others.
fn largest_circle(krate: &str) -> BTreeSet<String> {
    let modules = modules(krate);
    let graph: BTreeMap<_, _> = modules.keys().map(|module| (module, imports(module, &modules))).collect();
    let reachable = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut left: Vec<_> = graph[from].iter().collect();
        while let Some(module) = left.pop() {
            if seen.insert(module.clone()) {
                left.extend(&graph[module]);
            }
        }
        seen
    };
    let reachable: BTreeMap<_, _> = modules.keys().map(|module| (module, reachable(module))).collect();
    let circle = |module: &String| -> BTreeSet<String> {
        reachable[module].iter().filter(|other| reachable[other].contains(module)).cloned().collect()
    };
    modules.keys().map(circle).max_by_key(BTreeSet::len).unwrap_or_default()
}

#[test]
fn imports_form_no_large_circle() {
    for name in crates() {
        let circle = largest_circle(&name);
        assert!(circle.len() <= 3, "files of {name} import each other in a circle: {circle:?}");
    }
}
