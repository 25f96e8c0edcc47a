//! Descriptors for ten thousand connections, which is more than a shell gives a process unless it
//! is asked.

use std::io;

/// Lets this process, and those that it starts from now on, have so many connections, and some
/// descriptors besides.
///
/// # Errors
/// If the hard limit forbids it. It is raised as far as it may be.
pub fn raise(connections: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let (wanted, limit) = (connections as u64 + 200, getrlimit(Resource::Nofile));
        let most = limit.maximum.unwrap_or(u64::MAX);
        if limit.current.is_some_and(|current| current < wanted) {
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum })?;
        }
        if most < wanted {
            let text = format!("{connections} connections need {wanted} descriptors, and the hard limit is {most}");
            return Err(io::Error::other(text));
        }
    }
    let _ = connections;
    Ok(())
}
