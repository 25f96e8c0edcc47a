//! Every public name of the crates below has its place in the umbrella. The lists are read from
//! those crates' roots, so that a name which is added there and forgotten here fails.

use std::collections::BTreeSet;

/// The names that the `pub use` items of a crate's root export.
fn exported(root: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for item in root.split("pub use ").skip(1) {
        let item = item.split(';').next().unwrap();
        let list = item.split_once('{').map_or(item, |(_, list)| list);
        for path in list.trim_end_matches('}').split(',') {
            let name = path.trim().rsplit("::").next().unwrap().trim();
            if !name.is_empty() && name != "*" {
                names.insert(name);
            }
        }
    }
    names
}

const UMBRELLA: &str = include_str!("../../src/lib.rs");

#[test]
fn every_name_of_the_loop_is_here() {
    let umbrella = exported(UMBRELLA);
    let missing: Vec<_> = exported(include_str!("../../../loop/src/lib.rs"))
        .into_iter()
        .filter(|name| !umbrella.contains(name))
        .collect();
    assert!(missing.is_empty(), "picot_loop exports {missing:?}, and picot does not");
}

#[test]
fn the_list_of_names_is_read_rightly() {
    let names = exported("pub use a::{B, c};\npub use d::E;\npub use f::*;");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["B", "E", "c"]);
}

#[test]
fn promises_tasks_net_and_sync_are_whole() {
    // These are globs; a type of each shows that they lead where they should.
    fn is<T>() {}
    is::<picot::deferred::Rejection<()>>();
    is::<picot::task::Child<()>>();
    is::<picot::net::TcpListener>();
    is::<picot::net::Address>();
    is::<picot::sync::Mutex<()>>();
}
