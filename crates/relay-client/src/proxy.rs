//! The tunnel through an HTTP proxy to the server (CONNECT, RFC 9110 section 9.3.6).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::heads::Heads;

/// Bytes of a proxy's answer head; more is no answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a proxy's answer.
const ANSWER_FIELDS_MAX: usize = 64;

/// Asks the proxy behind `stream` for a tunnel to `target` (`host:port`).
///
/// # Errors
/// What the proxy said, in words.
pub(crate) async fn tunnel(stream: &mut TcpStream, proxy: &Uri, target: &str) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("the proxy broke the connection: {error}");
    let login = credentials(proxy).map_or_else(String::new, |login| format!("Proxy-Authorization: Basic {login}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::with_capacity(512);
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= ANSWER_BYTES_MAX {
            return Err("the proxy's answer is too long".into());
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS_MAX];
    Heads::begin().read(&mut head);
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(&head).map_err(|error| format!("the proxy's answer is not HTTP: {error}"))?;
    match answer.code {
        Some(200..=299) => Ok(()),
        Some(407) => Err("the proxy wants a user and a password (407): http://user:password@host:port".into()),
        Some(code) => Err(format!("the proxy refused a tunnel to {target} with status {code}")),
        None => Err("the proxy's answer has no status".into()),
    }
}

fn credentials(proxy: &Uri) -> Option<String> {
    let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let decoded: Vec<u8> = percent_decode_str(login).collect();
    Some(BASE64_STANDARD.encode(decoded))
}
