//! The address of a Unix socket: a path in the file system, or an abstract name, which only Linux
//! has.
//!
//! A path outlives its process unless it is removed. As in asyncio since Python 3.13, a socket
//! removes its path at its end, unless another socket has taken that meanwhile, and a socket that a
//! process left behind is replaced. Before that, the kernel is asked whether a process still has
//! it: otherwise two servers that were both started by mistake would take each other's path. The
//! question and the removal are two system calls, so a lock on the folder joins them: otherwise a
//! second server could remove the socket that a first one has bound between them.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr;
use std::path::{self, Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// The number of bytes that an address has for a path and the zero at its end.
const SUN_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 108 } else { 104 };

/// The address of `path`. A path that begins with a zero byte is an abstract name.
pub(crate) fn address(path: &Path) -> io::Result<SockAddr> {
    let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let bytes = path.as_os_str().as_bytes();
    let has_abstract_names = cfg!(any(target_os = "linux", target_os = "android"));
    match bytes {
        // The kernel would pick a name.
        [] => invalid("the path is empty"),
        [0, ..] if !has_abstract_names => invalid("this system has no abstract names, which begin with a zero byte"),
        // The kernel would take the part before the zero.
        [first, ..] if *first != 0 && bytes.contains(&0) => invalid("the path contains a zero byte"),
        _ => SockAddr::unix(path).or_else(|_| {
            let (length, max) = (bytes.len(), SUN_PATH - 1);
            invalid(&format!("the path has {length} bytes, and an address has room for {max}"))
        }),
    }
}

/// The path of an address of std; an abstract name begins with a zero byte there.
pub(crate) fn of_address(address: &SocketAddr) -> io::Result<PathBuf> {
    if let Some(path) = address.as_pathname() {
        return Ok(path.to_path_buf());
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        return Ok(OsString::from_vec([b"\0", name].concat()).into());
    }
    #[cfg(target_os = "android")]
    if let Some(name) = std::os::android::net::SocketAddrExt::as_abstract_name(address) {
        return Ok(OsString::from_vec([b"\0", name].concat()).into());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the address is unnamed, so no socket can be found by it"))
}

/// A path or abstract name as text: `/run/server`, `@server`.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_os_str().as_bytes() {
            [0, name @ ..] => write!(f, "@{}", String::from_utf8_lossy(name)),
            _ => self.0.display().fmt(f),
        }
    }
}

/// Binds a new socket, in non-blocking mode, to `path`. A socket that a process left there is
/// removed first.
pub(crate) fn bind(path: &Path, kind: Type) -> io::Result<(Socket, Option<OwnedPath>)> {
    let address = address(path)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        // An abstract name ends with its socket, so none is left behind.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.as_pathname().is_some() => {
            let _lock = lock_folder(path)?;
            make_room(path, &address)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    Ok((socket, OwnedPath::new(path)))
}

/// Locks the folder of `path` until the returned file is dropped. Other sockets of this crate, also
/// in other processes, replace no path there until then. `None` if the folder cannot be opened for
/// reading, or is on a file system without locks.
///
/// # Errors
/// If another process holds the lock for long. A replacement takes some microseconds, so that
/// process was stopped, or it locks the folder on purpose. To block would give it control of the
/// loop.
fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    const TRIES: u32 = 100;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(folder) = File::open(folder) else { return Ok(None) };
    for _ in 0..TRIES {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(folder)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::park_timeout(Duration::from_millis(1)),
            Err(_) => return Ok(None),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "another process keeps the folder locked, so none can be replaced"))
}

/// Removes a socket that a process left at `path`. If something else is there, the error names it.
fn make_room(path: &Path, address: &SockAddr) -> io::Result<()> {
    let in_use = |text: String| Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    if !found.is_socket() {
        let what = match found {
            _ if found.is_file() => "a file",
            _ if found.is_dir() => "a directory",
            _ if found.is_symlink() => "a symbolic link",
            _ => "something",
        };
        return in_use(format!("{what} is there, not a socket"));
    }
    match has_owner(address) {
        Ok(true) => return in_use("a process has a socket there".to_string()),
        Ok(false) => {}
        Err(error) => return in_use(format!("a socket is there, and whether a process has it is unknown: {error}")),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether a process has the socket at `address`.
///
/// A datagram socket asks, so that a listener gets no connection: the kernel looks for an owner
/// first, then compares the kinds of the sockets, and refuses.
fn has_owner(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
            // It is a socket of another kind, or one that is connected to a third.
            Some(Errno::PROTOTYPE | Errno::PERM | Errno::ISCONN) => Ok(true),
            _ => Err(error),
        },
    }
}

/// Removes its file when it is dropped, if that is still the one it was made for.
#[derive(Debug)]
pub(crate) struct OwnedPath {
    /// Absolute: the process may change its directory meanwhile.
    path: PathBuf,
    /// Device and number of the file; `None` once the path was left to another owner.
    id: Option<(u64, u64)>,
    /// The process that bound it. In a child that was forked from it, the path is still the
    /// parent's.
    process: u32,
}

impl OwnedPath {
    /// The path of a socket that has just been bound; `None` for an abstract name, which ends with
    /// its socket.
    fn new(path: &Path) -> Option<OwnedPath> {
        let id = Some(file_id(path)?);
        Some(OwnedPath {
            path: path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
            id,
            process: process::id(),
        })
    }

    /// Leaves the file to another owner.
    pub(crate) fn leave(mut self) {
        self.id = None;
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if self.id.is_some() && self.process == process::id() && file_id(&self.path) == self.id {
            // A failure leaves the file, which the next bind removes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use picot_testkit::Folder;

    use super::*;

    /// A path at which a process has left its socket.
    fn left_behind(folder: &Folder) -> PathBuf {
        let path = folder.path().join("socket");
        bind(&path, Type::STREAM).unwrap().1.unwrap().leave();
        path
    }

    #[test]
    fn what_was_left_behind_is_not_replaced_while_another_replaces_it() {
        let folder = Folder::new("net-path-locked");
        let path = left_behind(&folder);
        let before = file_id(&path).unwrap();
        let lock = lock_folder(&path).unwrap().unwrap();
        let error = bind(&path, Type::STREAM).unwrap_err();
        assert!(error.to_string().contains("another process keeps the folder locked"), "{error}");
        assert_eq!(file_id(&path), Some(before));
        drop(lock);
        let (_socket, owned) = bind(&path, Type::STREAM).unwrap();
        assert_eq!(owned.unwrap().id, file_id(&path));
    }

    /// Of several that bind at once, one gets the path, and the others the error that it is there.
    #[test]
    fn servers_that_start_at_once_do_not_take_each_others_path() {
        for round in 0..50 {
            let folder = Folder::new(&format!("net-path-race-{round}"));
            let path = left_behind(&folder);
            let (sender, results) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..4 {
                    let (sender, path) = (sender.clone(), &path);
                    scope.spawn(move || sender.send(bind(path, Type::STREAM)).unwrap());
                }
            });
            drop(sender);
            let (bound, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!((bound.len(), refused.len()), (1, 3), "round {round}");
            assert!(has_owner(&address(&path).unwrap()).unwrap(), "round {round}: the path is that of the first");
            for error in refused.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "round {round}: {error}");
            }
        }
    }
}
