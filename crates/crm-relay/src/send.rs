//! Sends sample webhooks, signed as a provider signs them.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use relay_core::time::Wall;
use relay_providers::Draft;
use rustls::ClientConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
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
/// No TLS, or what `report` failed with.
pub(crate) async fn send(batch: Batch, mut report: impl FnMut(&Sent) -> Result<bool, Failure>) -> Result<(), Failure> {
    let client = client(batch.tls.as_deref(), batch.manners.introduces)?;
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

type HttpClient = Client<HttpsConnector<Dialled>, Full<Bytes>>;

/// Connects, and introduces itself where that is wanted.
#[derive(Clone)]
struct Dialled {
    http: HttpConnector,
    introduces: bool,
}

impl Service<Uri> for Dialled {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (connecting, introduces) = (self.http.call(url), self.introduces);
        Box::pin(async move {
            let mut socket = connecting.await?;
            if introduces {
                socket.inner_mut().write_all(NOBODY).await?;
            }
            Ok(socket)
        })
    }
}

fn client(tls: Option<&ClientConfig>, introduces: bool) -> Result<HttpClient, Failure> {
    let config = match tls {
        Some(config) => config.clone(),
        // Plain http must work also where no roots are installed.
        None => trusting_nobody().map_err(|error| Failure::unreachable(format!("cannot use TLS: {error}")))?,
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    Ok(Client::builder(TokioExecutor::new()).build(connector.wrap_connector(Dialled { http, introduces })))
}

fn trusting_nobody() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
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
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(why) = tls::explain(error) {
        return why;
    }
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => crate::exit::reason(error),
        None => cause.to_string(),
    }
}
