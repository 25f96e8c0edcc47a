//! DNS by hickory's messages over picot's sockets, as a `Resolve` for all functions that connect.
//!
//! `dns SERVER HOST PORT` asks that server for the addresses of the host, and connects to it.

use std::env;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use picot::net::{ConnectOptions, Resolve, Resolving, TcpStream, UdpSocket};
use picot::timeout;

/// Asks one server, by UDP, and by TCP if the answer does not fit.
struct Dns {
    server: SocketAddr,
}

impl Dns {
    async fn query(&self, host: &str, kind: RecordType) -> io::Result<Vec<IpAddr>> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        let mut name = Name::from_utf8(host).map_err(io::Error::other)?;
        // A complete name, as it comes back.
        name.set_fqdn(true);
        query.add_query(Query::query(name, kind));
        let mut answer = self.by_udp(&query).await?;
        if answer.metadata.truncation {
            answer = self.by_tcp(&query).await?;
        }
        match answer.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Ok(Vec::new()),
            code => return Err(io::Error::other(format!("the DNS server {} answered: {code}", self.server))),
        }
        let addresses = answer.answers.iter().filter_map(|record| match record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Datagrams get lost, so the query is sent again after a second, three times in all.
    async fn by_udp(&self, query: &Message) -> io::Result<Message> {
        let bytes = query.to_vec().map_err(io::Error::other)?;
        let any = if self.server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.server).await?;
        for _ in 0..3 {
            socket.send(&bytes).await?;
            if let Ok(answer) = timeout(Duration::from_secs(1), receive(&socket, query)).await {
                return answer;
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("the DNS server {} does not answer", self.server)))
    }

    async fn by_tcp(&self, query: &Message) -> io::Result<Message> {
        let exchange = async {
            let bytes = query.to_vec().map_err(io::Error::other)?;
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            let stream = TcpStream::connect(self.server).await?;
            stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
            let mut reader = picot::net::Reader::new(stream);
            let length = reader.read_exact(2).await?;
            let answer = reader.read_exact(u16::from_be_bytes([length[0], length[1]]).into()).await?;
            let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
            if belongs(&answer, query) { Ok(answer) } else { Err(io::Error::other("an answer to another query")) }
        };
        timeout(Duration::from_secs(3), exchange).await?
    }
}

/// Whether this is the answer to the query, and not a forged one with a guessed number.
fn belongs(answer: &Message, query: &Message) -> bool {
    answer.metadata.id == query.metadata.id && answer.queries == query.queries
}

/// Receives until the answer to `query` is among the datagrams.
async fn receive(socket: &UdpSocket, query: &Message) -> io::Result<Message> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if belongs(&answer, query) => return Ok(answer),
            _ => {}
        }
    }
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            let mut addresses = self.query(host, RecordType::AAAA).await?;
            addresses.extend(self.query(host, RecordType::A).await?);
            Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, host, port] = &arguments[..] else { return Err("usage: dns SERVER HOST PORT".into()) };
    picot::run(async {
        let (resolver, port) = (Dns { server: server.parse()? }, port.parse()?);
        println!("{} addresses", resolver.resolve(host, port).await?.len());
        match ConnectOptions::new().resolver(resolver).connect((&**host, port)).await {
            Ok(stream) => println!("connected to {}", stream.peer_addr()?),
            Err(error) => println!("{error}"),
        }
        Ok(())
    })
}
