//! The way through a SOCKS proxy, version 5 (RFC 1928), with a user and a password where it wants them (RFC 1929).
//!
//! Nothing is read beyond the proxy's answers: what follows them is the peer's.

use std::{io, net::IpAddr};

use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The port of such a proxy whose URL names none (RFC 1928).
pub(super) const PORT: u16 = 1080;

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why such a proxy led nowhere, in words for operators.
#[derive(Debug, thiserror::Error)]
pub enum SocksError {
    /// It broke off.
    #[error("the proxy broke the connection: {0}")]
    Broken(#[source] io::Error),
    /// It answers something else.
    #[error("the proxy does not speak SOCKS 5; is it an HTTP proxy? Then its URL begins with http://")]
    NotSocks,
    /// It wants to know who asks.
    #[error("the proxy wants a user and a password: socks5h://user:password@host:port")]
    Login,
    /// It does not take what it was told of that.
    #[error(
        "the proxy does not take the user and password of its URL: they are wrong; in them @ is written as %40 and : as %3A"
    )]
    WrongLogin,
    /// The host's name is longer than it can be said.
    #[error("the name of {0} is longer than a SOCKS proxy can be told")]
    LongName(String),
    /// It does not lead there.
    #[error("the proxy does not lead to {target}: {why}")]
    Refused {
        /// To where.
        target: String,
        /// Why, as it says.
        why: &'static str,
    },
}

/// Whether a proxy's URL is that of one, and then whether that looks names up itself.
pub(super) fn looks_up(proxy: &Uri) -> Option<bool> {
    match proxy.scheme_str() {
        Some("socks5h") => Some(true),
        Some("socks5") => Some(false),
        _ => None,
    }
}

/// Has the proxy behind `stream` lead to a port of a host, an address or a name, with the login of the proxy's URL.
///
/// # Errors
/// [`SocksError`]
pub(super) async fn lead<S>(stream: &mut S, proxy: &Uri, (host, port): (&str, u16)) -> Result<(), SocksError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let login = login(proxy);
    let methods: &[u8] = if login.is_some() { &[VERSION, 2, NO_LOGIN, LOGIN] } else { &[VERSION, 1, NO_LOGIN] };
    match (asked(stream, methods).await?, &login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, LOGIN], Some((user, password))) => prove(stream, user, password).await?,
        // It may insist on what was not offered.
        ([VERSION, _], None) => return Err(SocksError::Login),
        ([VERSION, _], Some(_)) => return Err(SocksError::WrongLogin),
        _ => return Err(SocksError::NotSocks),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(NAME);
            request.push(u8::try_from(host.len()).map_err(|_| SocksError::LongName(host.to_owned()))?);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    let [version, reply] = asked(stream, &request).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks);
    }
    if let Some(why) = refusal(reply) {
        return Err(SocksError::Refused { target: format!("{host}:{port}"), why });
    }
    // The address that the proxy comes from there is of no use.
    let [_reserved, kind] = next(stream).await?;
    match kind {
        IPV4 => next::<6>(stream).await.map(drop),
        IPV6 => next::<18>(stream).await.map(drop),
        NAME => {
            let [length] = next(stream).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut rest).await.map(drop).map_err(SocksError::Broken)
        }
        _ => Err(SocksError::NotSocks),
    }
}

/// Shows the proxy who asks.
async fn prove<S>(stream: &mut S, user: &[u8], password: &[u8]) -> Result<(), SocksError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut request = vec![LOGIN_VERSION];
    for part in [user, password] {
        request.push(u8::try_from(part.len()).map_err(|_| SocksError::WrongLogin)?);
        request.extend(part);
    }
    match asked(stream, &request).await {
        Ok([_, 0]) => Ok(()),
        Ok(_) => Err(SocksError::WrongLogin),
        // It closes the connection after that, or instead of it (RFC 1929, section 2).
        Err(SocksError::Broken(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(SocksError::WrongLogin),
        Err(error) => Err(error),
    }
}

/// Says something, and gives the first two bytes of the answer.
async fn asked<S>(stream: &mut S, request: &[u8]) -> Result<[u8; 2], SocksError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    stream.write_all(request).await.map_err(SocksError::Broken)?;
    next(stream).await
}

async fn next<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], SocksError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(SocksError::Broken)?;
    Ok(bytes)
}

/// What a reply other than success says.
const fn refusal(reply: u8) -> Option<&'static str> {
    Some(match reply {
        0 => return None,
        2 => "its rules do not allow it",
        3 => "it knows no way to that network",
        4 => "it does not reach that host, or knows no address of it",
        5 => "nothing listens there",
        6 => "the way there is too long",
        7 => "it opens no connections at all",
        8 => "it does not take such an address; socks5:// tells it none but addresses, socks5h:// names",
        _ => "it failed",
    })
}

/// User and password of the proxy's URL.
fn login(proxy: &Uri) -> Option<(Vec<u8>, Vec<u8>)> {
    let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    Some((percent_decode_str(user).collect(), percent_decode_str(password).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a proxy that says so makes of a request, what is asked of it, and that what follows is left to the peer.
    async fn asked_of(proxy: &str, target: (&str, u16), answers: &[u8]) -> (Result<(), String>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(1 << 12);
        far.write_all(answers).await.unwrap();
        far.shutdown().await.unwrap();
        let led = lead(&mut near, &proxy.parse().unwrap(), target).await.map_err(|error| error.to_string());
        let (mut left, mut heard) = (Vec::new(), Vec::new());
        near.read_to_end(&mut left).await.unwrap();
        assert!(led.is_err() || left == b"first words", "what follows the answer is the peer's");
        drop(near);
        far.read_to_end(&mut heard).await.unwrap();
        (led, heard)
    }

    #[tokio::test]
    async fn a_proxy_is_told_a_name_or_an_address_and_who_asks() {
        let bound = b"\x05\x00\x00\x01\x7f\0\0\x01\0\x50first words";
        let (led, heard) = asked_of("socks5h://p", ("relay.test", 443), &[b"\x05\x00", &bound[..]].concat()).await;
        assert_eq!((led, heard.as_slice()), (Ok(()), &b"\x05\x01\x00\x05\x01\x00\x03\x0arelay.test\x01\xbb"[..]));
        let answers = [b"\x05\x02\x01\x00", &bound[..]].concat();
        let (led, heard) = asked_of("socks5://a%3Ab:c%40@p", ("192.0.2.7", 80), &answers).await;
        let asked = b"\x05\x02\x00\x02\x01\x03a:b\x02c@\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50";
        assert_eq!((led, heard.as_slice()), (Ok(()), &asked[..]));
        for bound in [
            &b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0first words"[..],
            b"\x05\x00\x00\x03\x01a\0\0first words",
        ] {
            let (led, _) = asked_of("socks5://u:p@p", ("::1", 80), &[b"\x05\x00", bound].concat()).await;
            assert_eq!(led, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_proxy_that_leads_nowhere_is_told_in_words() {
        let long = "x".repeat(256);
        for (proxy, host, answers, words) in [
            ("socks5h://p", "h", &b"\x05\xff"[..], "wants a user"),
            ("socks5h://p", "h", b"\x05\x02", "wants a user"),
            ("socks5h://u:s3cr@p", "h", b"\x05\xff", "does not take the user"),
            ("socks5h://u:s3cr@p", "h", b"\x05\x02\x01\x01", "does not take the user"),
            ("socks5h://u:s3cr@p", "h", b"\x05\x02", "does not take the user"),
            ("socks5h://p", "h", b"HTTP/1.1 400", "is it an HTTP proxy"),
            ("socks5h://p", "h", b"\x05", "broke the connection"),
            ("socks5h://p", "h", b"\x05\x00\x05\x02\0\x01\0\0\0\0\0\0", "to h:1: its rules"),
            ("socks5h://p", "h", b"\x05\x00\x05\x05\0\x01\0\0\0\0\0\0", "nothing listens"),
            ("socks5h://p", "h", b"\x05\x00\x05\x63\0\x01\0\0\0\0\0\0", "it failed"),
            ("socks5h://p", "h", b"\x05\x00\x05\x00\0\x09", "does not speak SOCKS 5"),
            ("socks5h://p", &long, b"\x05\x00", "longer than"),
        ] {
            let (led, _) = asked_of(proxy, (host, 1), answers).await;
            let error = led.unwrap_err();
            assert!(error.contains(words) && !error.contains("s3cr"), "{error}");
        }
    }
}
