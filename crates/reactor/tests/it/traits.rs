//! The tables of the design page are compared with the code: which traits each public type
//! implements, and which test covers which fault.

use std::fmt::Debug;
use std::net::TcpStream;
use std::panic::{RefUnwindSafe, UnwindSafe};

use picot_reactor::driver::{Direct, Events, Key, Portable};
use picot_reactor::{Direction, Reactor, Readiness, Ready, ReadyList, RegisterError, Source, WakeHandle};
use picot_testkit::implements;

macro_rules! row {
    ($name:literal, $type:ty) => {{
        let all = [
            implements!($type: Send),
            implements!($type: Sync),
            implements!($type: Unpin),
            implements!($type: UnwindSafe),
            implements!($type: RefUnwindSafe),
            implements!($type: Clone),
            implements!($type: Copy),
            implements!($type: Debug),
            implements!($type: std::os::fd::AsFd),
        ];
        let cells: Vec<_> = all.map(|is| if is { " yes |" } else { " – |" }).into();
        format!("| `{}` |{}", $name, cells.concat())
    }};
}

/// The rows of the design page's table with this header.
fn table(header: &str) -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/design/reactor.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn each_test_that_the_design_page_names_exists() {
    let faults = table("| what went wrong elsewhere |");
    assert!(faults.len() > 20, "{} rows were found", faults.len());
    for row in faults {
        let (test, file) = {
            let mut quoted = row.rsplit('`').skip(1).step_by(2);
            (quoted.next().unwrap(), quoted.next().unwrap())
        };
        let folder = match file {
            "direct" => "src/driver",
            "faults" => "../../examples/tests",
            _ => "tests/it",
        };
        let path = format!("{}/{folder}/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.contains(&format!("fn {test}()")), "{test} is not in {path}");
    }
}

#[test]
fn each_type_implements_what_the_design_page_says() {
    let rows = [
        row!("Reactor", Reactor),
        row!("Source<TcpStream>", Source<TcpStream>),
        row!("Ready", Ready<'_>),
        row!("ReadyList", ReadyList),
        row!("WakeHandle", WakeHandle),
        row!("RegisterError<TcpStream>", RegisterError<TcpStream>),
        row!("Direction", Direction),
        row!("Readiness", Readiness),
        row!("Key", Key),
        row!("Events", Events),
        row!("Direct", Direct),
        row!("Portable", Portable),
    ];
    let documented = table("| type |");
    assert_eq!(documented, rows, "the table should be:\n{}", rows.join("\n"));
}
