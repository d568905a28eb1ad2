//! Sends sample webhooks, signed as a provider signs them.

use std::{
    error::Error,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use relay_core::time::Wall;
use relay_net::dial::{self, Stream};
use relay_providers::Draft;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tower::Service;

use crate::{exit::Failure, render::time, sample::Sampler, tls};

/// Requests at the same time when no rate is given.
const CONCURRENCY: usize = 16;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The field in which a relay server's answer names the event.
const EVENT_ID: &str = "relay-event-id";
/// What may be so where a server that wants a word of a proxy says nothing.
const NOT_HEARD: &str = "; with PROXY_PROTOCOL the server hears addresses of its TRUSTED_PROXIES alone: is this machine's among them? \
                         Or go by the proxy: --to URL";
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is sent, where and how often.
pub(crate) struct Batch {
    /// Where it is sent, in place of the URL that the sampler knows.
    pub(crate) url: Uri,
    /// Makes each request.
    pub(crate) sampler: Sampler,
    /// How many.
    pub(crate) count: u64,
    /// How many a second; `None`: as fast as they are answered.
    pub(crate) rate: Option<f64>,
    /// For https.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// How the server of this machine wants to be asked.
    pub(crate) manners: Manners,
}

/// How a server that a proxy stands before is asked without it, by a program of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Under this name; `None`: under that of the URL.
    pub(crate) host: Option<String>,
    /// It is told first, by the PROXY protocol, that nobody is brought.
    pub(crate) introduces: bool,
}

/// What was answered to one webhook.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The status, or why there is none.
    pub(crate) answer: Result<StatusCode, String>,
    /// The event's id, if the answer names it.
    pub(crate) event_id: Option<String>,
    /// The answer's body, for refusals.
    pub(crate) text: String,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Sent {
    /// Whether the server took it.
    pub(crate) fn is_accepted(&self) -> bool {
        self.answer.as_ref().is_ok_and(StatusCode::is_success)
    }
}

/// Sends them all and tells `report` about each as it is answered, until it says that this is enough.
///
/// # Errors
/// A sample that cannot be made, or what `report` failed with.
pub(crate) async fn send(batch: Batch, mut report: impl FnMut(&Sent) -> Result<bool, Failure>) -> Result<(), Failure> {
    let client = client(batch.tls.clone(), batch.manners.introduces);
    let (batch, client) = (&batch, &client);
    let start = tokio::time::Instant::now();
    let sends = stream::iter(0..batch.count).map(|index| async move {
        if let Some(rate) = batch.rate {
            tokio::time::sleep_until(start + Duration::from_secs_f64(index as f64 / rate)).await;
        }
        one(client, batch, index).await
    });
    // With a rate a slow answer must not hold up the next request.
    let at_once = if batch.rate.is_some() { 1024 } else { CONCURRENCY };
    let mut answers = sends.buffer_unordered(at_once);
    while let Some(sent) = answers.next().await {
        if !report(&sent?)? {
            break;
        }
    }
    Ok(())
}

/// What a proxy says that speaks for itself (PROXY protocol, version 1).
const NOBODY: &[u8] = b"PROXY UNKNOWN\r\n";

type HttpClient = Client<Dialler, Full<Bytes>>;

/// Connects, and introduces itself where that is wanted.
#[derive(Clone)]
struct Dialler {
    /// For https.
    tls: Option<Arc<ClientConfig>>,
    introduces: bool,
}

impl Dialler {
    async fn dial(self, url: &Uri) -> io::Result<Stream> {
        let host = url.host().ok_or_else(|| io::Error::other("its URL has no host"))?;
        let (port, tls) = if url.scheme_str() == Some("https") {
            let config = self.tls.ok_or_else(|| io::Error::other("nothing is known to check its certificate by"))?;
            (443, Some(config))
        } else {
            (80, None)
        };
        let mut socket = dial::tcp(host, url.port_u16().unwrap_or(port)).await?;
        if self.introduces {
            socket.write_all(NOBODY).await?;
        }
        match tls {
            Some(config) => dial::encrypt(socket, host, config).await,
            None => Ok(Stream::Left(socket)),
        }
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Dialled>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let dialler = self.clone();
        Box::pin(async move { Ok(TokioIo::new(Dialled(dialler.dial(&url).await?))) })
    }
}

/// A connection as the HTTP library wants it.
struct Dialled(Stream);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn client(tls: Option<Arc<ClientConfig>>, introduces: bool) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(Dialler { tls, introduces })
}

async fn one(client: &HttpClient, batch: &Batch, index: u64) -> Result<Sent, Failure> {
    let now = time::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = format!("msg_{:x}_{index}", now.as_micros());
    let sample = batch.sampler.make(&id, Wall::from_micros(now.as_micros() as i64)).await?;
    let request = request(batch, sample).map_err(|why| Failure::usage(format!("cannot send the sample: {why}")))?;
    let start = tokio::time::Instant::now();
    let exchange = async {
        let response = client.request(request).await.map_err(|error| innermost(&error))?;
        let status = response.status();
        let named = response.headers().get(EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, named, body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes)))
    };
    let outcome = match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    };
    let took = start.elapsed();
    Ok(match outcome {
        Ok((status, named, body)) => {
            Sent { answer: Ok(status), event_id: named, text: String::from_utf8_lossy(&body).into_owned(), took }
        }
        Err(error) => {
            let why = if batch.manners.introduces { format!("{error}{NOT_HEARD}") } else { error };
            Sent { answer: Err(why), event_id: None, text: String::new(), took }
        }
    })
}

fn request(batch: &Batch, sample: Draft) -> Result<Request<Full<Bytes>>, String> {
    // The receiver may know itself under a public URL; the sample goes to where it listens.
    let known_as = &batch.sampler.known_as;
    let url = match sample.url.strip_prefix(known_as.as_str()) {
        Some(added) => format!("{}{added}", batch.url),
        None => sample.url,
    };
    let mut request = Request::new(Full::new(sample.body));
    *request.method_mut() = sample.method.parse().map_err(|_| "its method is none".to_owned())?;
    *request.uri_mut() = url.parse().map_err(|_| "its URL is none".to_owned())?;
    if let Some(host) = &batch.manners.host {
        let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
    }
    for (name, value) in &sample.headers {
        let name = HeaderName::from_bytes(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(value).map_err(|error| error.to_string())?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

/// What TLS failed at, or the cause at the end of the chain: "connection refused" says more than "client error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    if let Some(why) = tls::explain(error) {
        return why;
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(error) => crate::exit::reason(error),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt as _, BufReader},
        net::TcpListener,
    };

    use super::*;

    fn to(host: &str, listener: &TcpListener) -> Request<Full<Bytes>> {
        let url = format!("http://{host}:{}/", listener.local_addr().unwrap().port());
        Request::builder().uri(url).body(Full::default()).unwrap()
    }

    /// It is dialled as targets and servers are: names of this machine lead to it by either address, whatever a resolver knows.
    #[tokio::test]
    async fn a_name_of_this_machine_is_reached_at_either_address() {
        for (address, introduces) in [("127.0.0.1:0", false), ("[::1]:0", true)] {
            let listener = TcpListener::bind(address).await.unwrap();
            let client = client(None, introduces);
            let answering = async {
                let mut socket = BufReader::new(listener.accept().await.unwrap().0);
                let mut lines = vec![String::new()];
                while socket.read_line(lines.last_mut().unwrap()).await.unwrap() > 2 {
                    lines.push(String::new());
                }
                socket.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                lines
            };
            let (answer, lines) = tokio::join!(client.request(to("app.localhost", &listener)), answering);
            assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
            let begins = if introduces { "PROXY UNKNOWN\r\n" } else { "GET / HTTP/1.1\r\n" };
            assert_eq!(lines[0], begins);
        }
    }

    /// What stands at the end of the chain of causes is said, in the words that all commands have for it.
    #[tokio::test]
    async fn what_is_in_the_way_is_told_by_its_cause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = to("127.0.0.1", &listener);
        let encrypted = Request::builder().uri(request.uri().to_string().replace("http:", "https:"));
        drop(listener);
        let client = client(None, false);
        let refused = client.request(request).await.unwrap_err();
        assert_eq!(innermost(&refused), "connection refused");
        let unchecked = client.request(encrypted.body(Full::default()).unwrap()).await.unwrap_err();
        assert_eq!(innermost(&unchecked), "nothing is known to check its certificate by");
    }
}
