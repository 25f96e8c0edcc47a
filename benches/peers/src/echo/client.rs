//! The client: starts a server as a process of its own, keeps every connection busy with one
//! message at a time, and counts what the server does meanwhile.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use perf_event::events::{Hardware, Software, Tracepoint};
use perf_event::{Builder, Counter};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{MESSAGE, SERVERS};

/// What a round trip costs the server; what cannot be counted here is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Round trips a second.
    pub rate: f64,
    /// Nanoseconds of processor time, in user mode and in the kernel.
    pub nanos: Option<f64>,
    /// Instructions in user mode. Needs a processor with counters.
    pub user: Option<f64>,
    /// Instructions in the kernel. Needs a processor with counters.
    pub kernel: Option<f64>,
    /// System calls. Needs tracefs, mounted at `/sys/kernel/tracing`.
    pub calls: Option<f64>,
}

/// Counters of a process and all the threads that it will have.
#[derive(Debug)]
struct Counters([Option<Counter>; 4]);

impl Counters {
    fn of(process: u32) -> Counters {
        let build = |builder: &mut Builder<'_>| {
            let mut counter = builder.observe_pid(process as i32).inherit(true).any_cpu().build().ok()?;
            counter.enable().ok()?;
            Some(counter)
        };
        let entered = std::fs::read_to_string("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id");
        let entered = entered.ok().and_then(|id| id.trim().parse().ok());
        Counters([
            build(Builder::new(Software::TASK_CLOCK).include_kernel()),
            build(Builder::new(Hardware::INSTRUCTIONS).exclude_kernel(true)),
            build(Builder::new(Hardware::INSTRUCTIONS).exclude_user(true).include_kernel()),
            entered.and_then(|id| build(Builder::new(Tracepoint::with_id(id)).include_kernel())),
        ])
    }

    fn read(&mut self) -> [Option<u64>; 4] {
        self.0.each_mut().map(|counter| counter.as_mut().and_then(|counter| counter.read().ok()))
    }
}

/// A server that runs in a process of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    counters: Counters,
    port: u16,
}

/// Keeps this process, and those that it starts, on one processor, so that server and client do not
/// share one.
fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    // With a single processor they share it.
    let _ = sched_setaffinity(None, &set);
}

impl Server {
    /// Starts this program again, as the server `name`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(name: &str) -> io::Result<Server> {
        Server::start_by(Command::new(env::current_exe()?), name)
    }

    fn start_by(mut command: Command, name: &str) -> io::Result<Server> {
        let command =
            command.args(["--serve", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // It begins when it is told to, so that no thread of it is missed.
        let counters = Counters::of(child.id());
        child.stdin.take().expect("piped").write_all(b"begin\n")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
        let port = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Server { child, counters, port })
    }

    /// The other side of `start`: serves as `name` for ever.
    pub fn serve(name: &str) {
        stay_on(0);
        io::stdin().read_line(&mut String::new()).unwrap();
        let (_, serve) = SERVERS.iter().find(|(known, _)| *known == name).expect("a server of the list");
        serve(&|port| println!("{port}"));
    }

    /// Makes `connections`, keeps each busy, and measures `round_trips` of all together after as
    /// many of warming up.
    ///
    /// # Errors
    /// What the operating system says, for example that there are too many open files.
    pub fn measure(&mut self, connections: usize, round_trips: usize) -> io::Result<Cost> {
        let mut client = Client::connect(self.port, connections)?;
        client.drive(round_trips)?;
        let before = self.counters.read();
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
        let start = Instant::now();
        client.drive(round_trips)?;
        let seconds = start.elapsed().as_secs_f64();
        let after = self.counters.read();
        let cost = |n: usize| Some((after[n]? - before[n]?) as f64 / round_trips as f64);
        Ok(Cost { rate: round_trips as f64 / seconds, nanos: cost(0), user: cost(1), kernel: cost(2), calls: cost(3) })
    }

    /// User-mode instructions of the server `name` for each round trip, counted by callgrind: for
    /// processors without counters. The server runs twice, and the difference of the two runs is
    /// what the round trips cost.
    ///
    /// # Errors
    /// If valgrind is not there, or cannot run that server.
    pub fn callgrind(name: &str, connections: usize, round_trips: usize) -> io::Result<f64> {
        let total = |round_trips: usize| {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?);
            let mut server = Server::start_by(command, name)?;
            Client::connect(server.port, connections)?.drive(round_trips)?;
            kill_process(Pid::from_child(&server.child), Signal::TERM)?;
            let mut text = String::new();
            server.child.stderr.take().expect("piped").read_to_string(&mut text)?;
            let collected = text.split("Collected :").nth(1).and_then(|rest| rest.split_whitespace().next());
            let collected = collected.and_then(|number| number.parse::<f64>().ok());
            collected.ok_or_else(|| io::Error::other("valgrind did not say how much it has collected"))
        };
        Ok((total(2 * round_trips)? - total(round_trips)?) / round_trips as f64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end of all connections, on a bare epoll loop.
struct Client {
    streams: Vec<TcpStream>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Client {
    fn connect(port: u16, connections: usize) -> io::Result<Client> {
        stay_on(1);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut streams = Vec::with_capacity(connections);
        for n in 0..connections {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            // One round trip each shows that it was accepted, so that the backlog never overflows.
            stream.write_all(&[b'x'; MESSAGE])?;
            stream.read_exact(&mut [0; MESSAGE])?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(n as u64), EventFlags::IN)?;
            streams.push(stream);
        }
        let mut client = Client { streams, epoll, events: Vec::with_capacity(1024) };
        for stream in &mut client.streams {
            stream.write_all(&[b'x'; MESSAGE])?;
        }
        Ok(client)
    }

    /// Makes so many round trips, and leaves a message on its way on every connection.
    fn drive(&mut self, round_trips: usize) -> io::Result<()> {
        let mut done = 0;
        while done < round_trips {
            self.events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut self.events), None)?;
            for event in &self.events {
                let data = event.data;
                let mut stream = &self.streams[data.u64() as usize];
                // A message is small, and so comes in one piece.
                if stream.read(&mut [0; MESSAGE])? != MESSAGE {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                stream.write_all(&[b'x'; MESSAGE])?;
                done += 1;
            }
        }
        Ok(())
    }
}
