//! A small threaded HTTP/1.1 server on a loopback port of the system's choice: the base of the
//! upstream, of key-set endpoints and of the page's file server.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::http::{Head, Headers, header, read_body};

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, upper case as sent.
    pub method: String,
    /// The request target: path and query.
    pub path: String,
    /// Header lines in wire order.
    pub headers: Headers,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
}

/// What a handler answers; `content-length` is added when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code; the reason phrase is left empty.
    pub status: u16,
    /// Header lines, `content-type` among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A running server. It stops, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    /// The open connections, kept to close them from outside.
    connections: Mutex<BTreeMap<usize, TcpStream>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1, or on a chosen one (`port` other than 0).
    pub fn start(
        port: u16,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let address = listener
            .local_addr()
            .context("a bound socket has no address")?;
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, &Arc::new(handler))
        });
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees the flag.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        for connection in lock(&self.shared.connections).values() {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Reply {
    /// A reply with a body of the given type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }
}

fn accept<H>(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<H>)
where
    H: Fn(&Request) -> Reply + Send + Sync + 'static,
{
    for (id, connection) in listener.incoming().enumerate() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        // A connection that failed while it was accepted is its peer's concern.
        let Ok(connection) = connection else { continue };
        let Ok(handle) = connection.try_clone() else {
            continue;
        };
        lock(&shared.connections).insert(id, handle);
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        std::thread::spawn(move || {
            // An error here is a peer that went away.
            drop(serve(&connection, &*handler));
            lock(&shared.connections).remove(&id);
        });
    }
}

/// Answers requests until the peer closes or asks for the end.
fn serve(
    connection: &TcpStream,
    handler: &(impl Fn(&Request) -> Reply + ?Sized),
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(head) = Head::read(&mut reader)? {
        let body = read_body(&mut reader, head.framing()?)?;
        let start = String::from_utf8_lossy(&head.start).into_owned();
        let mut words = start.split(' ').map(str::to_owned);
        let request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers: head.headers,
            body,
        };
        write(connection, &request, &handler(&request))?;
        if header(&request.headers, "connection")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
        {
            break;
        }
    }
    connection.shutdown(Shutdown::Both)
}

fn write(mut connection: &TcpStream, request: &Request, reply: &Reply) -> io::Result<()> {
    let mut message = format!("HTTP/1.1 {} \r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        message.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    message.extend_from_slice(format!("content-length: {}\r\n\r\n", reply.body.len()).as_bytes());
    if request.method != "HEAD" {
        message.extend_from_slice(&reply.body);
    }
    connection.write_all(&message)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
