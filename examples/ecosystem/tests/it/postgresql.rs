//! A PostgreSQL in a folder of the test, on a free port of loopback.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use picot_testkit::Folder;

/// The folder of `initdb` and `postgres`, which Debian does not put into the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    folders.sort();
    folders.into_iter().rev().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// A program of PostgreSQL's, which refuses to run as root: then as the user `postgres`.
fn command(program: &Path) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT ends all of its processes at once; a kill would leave the others behind.
        let _ = Command::new("kill").args(["-QUIT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Runs `test` with the URL of a new server. Says so if none is installed.
pub(crate) fn with_server(test: impl FnOnce(&str)) {
    let Some(programs) = programs() else {
        println!("skipped: PostgreSQL (initdb is not installed)");
        return;
    };
    let folder = Folder::new("postgres");
    // The user `postgres` has to reach it.
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let opened = Command::new("chown").arg("postgres").arg(&data).status();
    drop(opened);
    let made = command(&programs.join("initdb"))
        .args(["--username=me", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success(), "initdb: {made}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = Server(
        command(&programs.join("postgres"))
            .args(["-F", "-c", "unix_socket_directories=", "-h", "127.0.0.1", "-p", &port.to_string(), "-D"])
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let url = format!("postgres://me@127.0.0.1:{port}/postgres");
    let is_ready = || {
        let mut query = Command::new(programs.join("pg_isready"));
        query.args(["--quiet", "--dbname", &url]).status().unwrap().success()
    };
    for attempt in 0.. {
        if is_ready() {
            break;
        }
        assert!(attempt < 600, "PostgreSQL is not ready");
        thread::park_timeout(Duration::from_millis(50));
    }
    test(&url);
}
