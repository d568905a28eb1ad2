//! The way through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).

use std::io;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a proxy's answer head; more is no answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a proxy's answer.
const ANSWER_FIELDS_MAX: usize = 64;
/// What a status line begins with, up to its minor version.
const NAME: &[u8] = b"HTTP/1.";

/// Why a proxy opened no tunnel, in words for operators.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// It broke off.
    #[error("the proxy broke the connection: {0}")]
    Broken(#[source] io::Error),
    /// Its answer has no end.
    #[error("the proxy's answer is too long")]
    TooLong,
    /// It answers something else.
    #[error("the proxy's answer is not HTTP: {0}")]
    NotHttp(#[source] httparse::Error),
    /// It wants to know who asks.
    #[error("the proxy wants a user and a password (407): http://user:password@host:port")]
    Login,
    /// It does not take what it was told of that.
    #[error(
        "the proxy does not take the user and password of its URL (407): they are wrong, or it wants another scheme than \
         Basic; in them @ is written as %40 and : as %3A"
    )]
    WrongLogin,
    /// It does not want to.
    #[error("the proxy refused a tunnel to {target} with status {status}")]
    Refused {
        /// To where.
        target: String,
        /// What it answered.
        status: u16,
    },
}

/// Asks the proxy behind `stream` for a tunnel to `target` (`host:port`), with the login of the proxy's URL.
///
/// # Errors
/// [`TunnelError`]
pub(super) async fn tunnel<S>(stream: &mut S, proxy: &Uri, target: &str) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let login = login(proxy).map_or_else(String::new, |login| format!("Proxy-Authorization: Basic {login}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(TunnelError::Broken)?;
    loop {
        match answer(stream).await? {
            // Before the answer.
            100..=199 => {}
            200..=299 => return Ok(()),
            407 if login.is_empty() => return Err(TunnelError::Login),
            407 => return Err(TunnelError::WrongLogin),
            status => return Err(TunnelError::Refused { target: target.to_owned(), status }),
        }
    }
}

/// The status of the next head.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, TunnelError> {
    let mut head = Vec::with_capacity(512);
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= ANSWER_BYTES_MAX {
            return Err(TunnelError::TooLong);
        }
        head.push(stream.read_u8().await.map_err(TunnelError::Broken)?);
    }
    // Any other minor version is read as the highest that is known (RFC 9110 section 2.5).
    let begin = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    if head[begin..].starts_with(NAME) && head[begin + NAME.len()].is_ascii_digit() {
        head[begin + NAME.len()] = b'1';
    }
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(&head).map_err(TunnelError::NotHttp)?;
    answer.code.ok_or(TunnelError::NotHttp(httparse::Error::Status))
}

/// User and password of the proxy's URL, as it wants them.
fn login(proxy: &Uri) -> Option<String> {
    let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let decoded: Vec<u8> = percent_decode_str(login).collect();
    Some(BASE64_STANDARD.encode(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a proxy that answers so makes of a request for a tunnel, and what is asked of it.
    async fn asked(proxy: &str, answer: &[u8]) -> (Result<(), String>, String) {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let proxy: Uri = proxy.parse().unwrap();
        let tunnel = tunnel(&mut near, &proxy, "[2001:db8::1]:443").await.map_err(|error| error.to_string());
        let (mut left, mut heard) = (Vec::new(), String::new());
        near.read_to_end(&mut left).await.unwrap();
        assert!(tunnel.is_err() || left == b"first words", "what follows the answer is the tunnel's");
        drop(near);
        far.read_to_string(&mut heard).await.unwrap();
        (tunnel, heard)
    }

    #[tokio::test]
    async fn a_tunnel_begins_behind_the_answer() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 Connection established\r\nvia: x\r\n\r\n",
            "\r\nHTTP/1.2 299 X\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let (tunnel, heard) = asked("http://a%3Ab:c%40@proxy", format!("{answer}first words").as_bytes()).await;
            assert_eq!(tunnel, Ok(()), "{answer}");
            let (first, rest) = heard.split_once("\r\n").unwrap();
            assert_eq!(first, "CONNECT [2001:db8::1]:443 HTTP/1.1");
            assert!(rest.contains("Host: [2001:db8::1]:443\r\n"), "{rest}");
            assert!(rest.contains("Proxy-Authorization: Basic YTpiOmNA\r\n"), "{rest}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_opens_none_is_told_in_words() {
        for (answer, words) in [
            ("HTTP/1.1 407 X\r\n\r\n", "wants a user"),
            ("HTTP/1.1 503 X\r\n\r\n", "status 503"),
            ("SSH-2.0\r\n\r\n", "not HTTP"),
            ("HTTP/1.1 200", "broke the connection"),
            (&"x".repeat(2 * ANSWER_BYTES_MAX), "too long"),
        ] {
            let (tunnel, _) = asked("http://proxy", answer.as_bytes()).await;
            let error = tunnel.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let (tunnel, _) = asked("http://user:old@proxy", b"HTTP/1.1 407 X\r\n\r\n").await;
        let error = tunnel.unwrap_err();
        assert!(error.contains("does not take the user and password") && !error.contains("old"), "{error}");
    }
}
