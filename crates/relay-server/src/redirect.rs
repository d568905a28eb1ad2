//! The listener of plain HTTP beside one that speaks TLS: it takes nothing in, and says where to go instead.
//!
//! **Invariant:** what it says comes from `PUBLIC_URL`, and never from the host that somebody asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use relay_net::{
    origin::Origin,
    proxies::Behind,
    serve::{self, Bounds, Closing, Connections, Listening, Seated, Serve},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{
    acme::Challenges,
    error::{Code, Problem},
    ingress::{Answers, Body, Books, Connection, Flaw, Introduced, Introductions, Patience, SentQuery},
};

/// What the listener is called.
pub(crate) const NAME: &str = "redirect";

/// Where everybody is sent.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    /// Scheme, host and port, without a path: `https://relay.example.com`.
    site: String,
    /// What an authority finds here.
    challenges: Arc<Challenges>,
}

impl Redirect {
    /// To the site of this URL, but for what an authority looks for.
    pub(crate) fn to(public_url: &str, challenges: Arc<Challenges>) -> Self {
        let (scheme, rest) = public_url.split_once("://").unwrap_or(("https", public_url));
        let host = rest.split('/').next().unwrap_or_default();
        Self { site: format!("{scheme}://{host}"), challenges }
    }

    /// The same target there, byte for byte; the method and the body go along (RFC 9110, section 15.4.9).
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if let Some(answer) = self.challenges.answer(request.uri().path()) {
            let mut response = Response::new(Full::new(Bytes::from(answer)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            return response;
        }
        let mut target = format!("{}{}", self.site, request.uri().path()).into_bytes();
        let sent = request.extensions().get::<SentQuery>().map(|sent| sent.0.clone());
        let query = sent.or_else(|| request.uri().query().map(|query| Bytes::copy_from_slice(query.as_bytes())));
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(&query);
        }
        let Ok(location) = HeaderValue::from_bytes(&target) else {
            return Problem::new(Code::Malformed, "this target fits in no header").closing().respond();
        };
        let words = "ask this relay over https; see Location\n";
        let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // Its body is not waited for.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Serves until `stop`, then returns when the last connection has ended. Dropped, it ends them all.
pub(crate) async fn serve(
    listener: impl Listening<Socket = TcpStream> + Sync,
    signpost: Signpost,
    stop: CancellationToken,
) {
    let connections = Connections::new(Bounds::private());
    let proxies = signpost.introductions.as_ref().map(Introductions::proxies).unwrap_or_default();
    serve::serve(Behind::new(listener, proxies), NAME, connections, Arc::new(signpost), stop).await;
}

/// What answers there.
pub(crate) struct Signpost {
    pub(crate) redirect: Redirect,
    pub(crate) books: Books,
    /// None: whoever comes is heard.
    pub(crate) introductions: Option<Introductions>,
}

impl Serve<TcpStream> for Signpost {
    async fn connection(&self, mut socket: TcpStream, origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        if let Some(introductions) = &self.introductions {
            let heard = introductions.hear(&mut socket, origin, &seat, closing, |_| 0).await;
            let Some(Introduced::In(_)) = heard else { return };
        }
        let connection = Connection { socket, seat, patience: Patience::default(), answers: Answers::Short };
        let answer = async |request: Result<Box<Request<Incoming>>, Flaw>| match request {
            Ok(request) => self.redirect.answer(&request),
            Err(flaw) => flaw.problem().respond(),
        };
        connection.drive(closing, answer).await;
    }

    fn panicked(&self) {
        self.books.metrics.panicked();
    }

    fn refused(&self, origin: Origin) {
        self.books.no_share(NAME, origin);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use relay_core::time::Wall;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::clock::Clock;

    fn signpost(redirect: Redirect) -> Signpost {
        let books = Books { clock: Clock::start(Wall::default()), metrics: Arc::default(), refusals: Arc::default() };
        Signpost { redirect, books, introductions: None }
    }

    async fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        timeout(Duration::from_secs(20), socket.read_to_end(&mut said)).await.expect("it is answered").unwrap();
        said
    }

    /// S7, S3: everybody is sent to the site of the operator with what he asked for, and nobody to one that he chose; what is no request
    /// is none here either.
    #[tokio::test]
    async fn everybody_is_sent_to_the_same_place_over_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let redirect = Redirect::to("https://relay.test:8443/hooks", Arc::default());
        let served = tokio::spawn(serve(listener, signpost(redirect), stop.clone()));
        for (target, wanted) in [
            (&b"/"[..], &b"https://relay.test:8443/"[..]),
            (b"/hooks/webhook/a%2Fb//c?x=1&y={\xe9}", b"https://relay.test:8443/hooks/webhook/a%2Fb//c?x=1&y={\xe9}"),
            (b"//evil.test/a", b"https://relay.test:8443//evil.test/a"),
            (b"http://evil.test/a", b"https://relay.test:8443/a"),
        ] {
            let head = [b"POST ", target, b" HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 90000\r\n\r\n"].concat();
            let said = say(address, &head).await;
            let location = [b"\r\nlocation: ", wanted, b"\r\n"].concat();
            let text = String::from_utf8_lossy(&said);
            assert!(said.starts_with(b"HTTP/1.1 308 "), "{text}");
            assert!(said.windows(location.len()).any(|part| part == location), "{text}");
        }
        for (head, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "400"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\nHost: a\n\n", "400"),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ] {
            let said = String::from_utf8(say(address, head).await).unwrap();
            assert_eq!(&said[9..12], status, "{said}");
        }
        stop.cancel();
        served.await.unwrap();
    }

    /// RFC 8555, section 8.3: an authority finds what it looks for while it is to be found, and nothing beside it.
    #[tokio::test]
    async fn an_authority_finds_what_it_looks_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let challenges = Arc::<Challenges>::default();
        challenges.put("token".to_owned(), "token.thumbprint".to_owned());
        let redirect = Redirect::to("https://relay.test", Arc::clone(&challenges));
        let served = tokio::spawn(serve(listener, signpost(redirect), stop.clone()));
        let found = async |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n");
            String::from_utf8(say(address, head.as_bytes()).await).unwrap()
        };
        let path = "/.well-known/acme-challenge/token";
        let said = found(path).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\ntoken.thumbprint"), "{said}");
        for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/tokens", "/token"] {
            assert!(found(other).await.starts_with("HTTP/1.1 308 "), "{other}");
        }
        challenges.clear();
        assert!(found(path).await.starts_with("HTTP/1.1 308 "));
        stop.cancel();
        served.await.unwrap();
    }
}
