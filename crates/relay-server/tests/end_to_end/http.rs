//! Requests as senders and operators make them, written by hand: one per connection.

use std::path::Path;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request to a TCP address.
pub(crate) async fn tcp(addr: std::net::SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    request(TcpStream::connect(addr).await.unwrap(), method, path, headers, body).await
}

/// One request to a unix socket.
pub(crate) async fn unix(socket: &Path, method: &str, path: &str, body: &[u8]) -> Reply {
    let headers = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    request(UnixStream::connect(socket).await.unwrap(), method, path, headers, body).await
}

async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    answer(socket, &[head.as_bytes(), body].concat()).await
}

/// One request, byte for byte; it must ask for the connection to be closed.
pub(crate) async fn raw(addr: std::net::SocketAddr, request: &[u8]) -> Reply {
    answer(TcpStream::connect(addr).await.unwrap(), request).await
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, request: &[u8]) -> Reply {
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a head has a status");
    let mut body = answer.split_off(end + 4);
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Reply { status, head, body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}
