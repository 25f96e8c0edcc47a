//! Several loops, one per thread, to use more than one core.
//!
//! Loops share nothing. Each thread makes its own objects with the same function, and the kernel
//! distributes connections among listeners at one port.

use std::any::Any;
use std::fmt;
use std::io;
use std::mem;
use std::process;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use picot_loop::{EventLoop, RemoteHandle, RunError};

use crate::operation_error::About;

/// Runs several event loops, each on its own thread, with futures that one function makes.
///
/// ```
/// use picot_net::{ListenOptions, LoopGroup, Server};
/// use std::io::Read;
///
/// # #[cfg(target_os = "linux")] {
/// // The first listener picks the port, and keeps it for the others.
/// let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
/// let (ready, is_ready) = std::sync::mpsc::channel();
/// let group = LoopGroup::start(2, move |_index| {
///     let ready = ready.clone();
///     async move {
///         let options = ListenOptions::new().reuse_port(true);
///         let server = Server::builder().listen_options(options).bind(port).await?;
///         let server = server.serve(|mut stream, _peer| async move {
///             futures_lite::AsyncWriteExt::write_all(&mut stream, b"hello").await
///         })?;
///         ready.send(()).unwrap();
///         server.serve_forever().await
///     }
/// })
/// .unwrap();
/// is_ready.iter().take(2).for_each(drop);
/// let mut text = String::new();
/// std::net::TcpStream::connect(port).unwrap().read_to_string(&mut text).unwrap();
/// assert_eq!(text, "hello");
/// group.stop();
/// assert!(group.join().into_iter().all(|output| output.unwrap().is_none()), "they were stopped");
/// # }
/// ```
///
/// Dropping the group stops its loops and waits for their threads.
pub struct LoopGroup<T> {
    members: Vec<Member<T>>,
    /// The process that started the threads. A forked child has none of them.
    process: u32,
}

struct Member<T> {
    remote: RemoteHandle,
    /// `None` once it was joined.
    thread: Option<JoinHandle<Result<Option<T>, io::Error>>>,
}

impl<T: Send + 'static> LoopGroup<T> {
    /// Starts `loops` threads, each with a loop that runs the future that `make` returns for its
    /// index.
    ///
    /// All loops exist when this returns; their futures may not have run yet.
    ///
    /// # Errors
    /// The operating system's error if a thread or a loop cannot be created, with the loop's index.
    /// The loops that were started have been stopped by then, and their threads have ended.
    ///
    /// # Panics
    /// If `loops` is 0.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start(2, |index| async move { 10 * index }).unwrap();
    /// let outputs: Vec<_> = group.join().into_iter().map(|output| output.unwrap()).collect();
    /// assert_eq!(outputs, [Some(0), Some(10)]);
    /// ```
    pub fn start<F: Future<Output = T>>(
        loops: usize,
        make: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> io::Result<LoopGroup<T>> {
        assert!(loops > 0, "a group needs at least one loop");
        let make = Arc::new(make);
        let mut group = LoopGroup { members: Vec::new(), process: process::id() };
        for index in 0..loops {
            let (make, (built, is_built)) = (make.clone(), mpsc::channel());
            let run = move || {
                let event_loop = match EventLoop::new() {
                    Ok(event_loop) => event_loop,
                    Err(error) => {
                        let _ = built.send(Err(error.into()));
                        return Ok(None);
                    }
                };
                if built.send(Ok(event_loop.handle().remote())).is_err() {
                    return Ok(None);
                }
                match event_loop.run_until_complete(async { make(index).await }) {
                    Ok(output) => Ok(Some(output)),
                    Err(RunError::Stopped) => Ok(None),
                    Err(error) => Err(io::Error::other(error)),
                }
            };
            let thread = thread::Builder::new().name(format!("picot-loop-{index}")).spawn(run);
            let thread = thread.about(format_args!("start the thread of loop {index} of {loops}"))?;
            let remote = is_built.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of a loop has panicked")));
            match remote {
                Ok(remote) => group.members.push(Member { remote, thread: Some(thread) }),
                Err(error) => {
                    // Joined before the return, so that no thread is left when the caller has the
                    // error. Dropping `group` stops and joins the earlier ones.
                    let _ = thread.join();
                    return Err(error.about(format_args!("build loop {index} of {loops}")));
                }
            }
        }
        Ok(group)
    }

    /// As [`start`](LoopGroup::start), with a loop for each core that the process may use.
    ///
    /// # Errors
    /// As for [`start`](LoopGroup::start).
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start_all(|index| async move { index }).unwrap();
    /// let loops = group.len();
    /// assert_eq!(group.join().len(), loops);
    /// ```
    pub fn start_all<F: Future<Output = T>>(
        make: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> io::Result<LoopGroup<T>> {
        LoopGroup::start(thread::available_parallelism().map_or(1, usize::from), make)
    }

    /// How many loops there are.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start(3, |_| std::future::ready(())).unwrap();
    /// assert_eq!(group.len(), 3);
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The handle of a loop, by its index: to call and stop it from here.
    ///
    /// # Panics
    /// If there is no such loop.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    /// use std::sync::mpsc;
    ///
    /// let group = LoopGroup::start(2, |_| std::future::pending::<()>()).unwrap();
    /// let (send, receive) = mpsc::channel();
    /// // The closure runs on the thread of loop 1.
    /// let send_name = move || send.send(std::thread::current().name().map(String::from)).unwrap();
    /// group.remote(1).call_soon(send_name).unwrap();
    /// assert_eq!(receive.recv().unwrap().as_deref(), Some("picot-loop-1"));
    /// ```
    pub fn remote(&self, index: usize) -> &RemoteHandle {
        &self.members[index].remote
    }

    /// Stops all loops. Their futures are dropped on their threads. A loop that has ended is
    /// skipped.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start(2, |_| std::future::pending::<()>()).unwrap();
    /// group.stop();
    /// assert!(group.join().into_iter().all(|output| output.unwrap().is_none()));
    /// ```
    pub fn stop(&self) {
        stop(&self.members);
    }

    /// Waits until all loops have ended, and returns what their futures have returned, in order:
    /// `None` for those that were stopped first. In a child that was forked from the process of the
    /// group there are no threads to wait for, and the result is empty.
    ///
    /// # Errors
    /// For each, its own: the payload of the panic that ended its thread.
    ///
    /// ```
    /// use picot_net::LoopGroup;
    ///
    /// let group = LoopGroup::start(2, |index| async move { index + 1 }).unwrap();
    /// let sum: usize = group.join().into_iter().map(|output| output.unwrap().unwrap()).sum();
    /// assert_eq!(sum, 3);
    /// ```
    pub fn join(mut self) -> Vec<Result<Option<T>, Box<dyn Any + Send>>> {
        self.leave_if_forked();
        let threads = self.members.iter_mut().filter_map(|member| member.thread.take());
        threads.map(|thread| thread.join()?.map_err(|error| Box::new(error) as Box<dyn Any + Send>)).collect()
    }
}

impl<T> LoopGroup<T> {
    /// In a forked child, leaves the parent's threads alone: stopping them would stop the parent's,
    /// and joining waits for ever.
    fn leave_if_forked(&mut self) {
        if self.process != process::id() {
            // The handles refer to threads that this process does not have, so their
            // destructors must not run either.
            self.members.drain(..).for_each(mem::forget);
        }
    }
}

fn stop<T>(members: &[Member<T>]) {
    for member in members {
        // The only error is that the loop is closed, and a closed loop has stopped.
        let _ = member.remote.stop();
    }
}

impl<T> Drop for LoopGroup<T> {
    fn drop(&mut self) {
        self.leave_if_forked();
        // After `join` there is nothing left to wait for.
        if self.members.iter().any(|member| member.thread.is_some()) {
            stop(&self.members);
        }
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                // Only `join` returns a panic of the thread; std has printed it to standard error.
                let _ = thread.join();
            }
        }
    }
}

impl<T> fmt::Debug for LoopGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopGroup").field("loops", &self.members.len()).finish_non_exhaustive()
    }
}
