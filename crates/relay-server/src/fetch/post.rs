//! Sends something to a URL that an operator named.
//!
//! **Invariant:** one lookup a try, all addresses judged, and one of those is dialled; no redirect is followed; nothing of the
//! answer is kept but its status, and of a question's as much as was asked for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use relay_net::dial::encrypt;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::{BUFFER_BYTES, Failed, Fetcher, NOT_PUBLIC, Unfetched, beside, proxy};

/// A request to be sent.
pub(crate) struct Post<'a> {
    /// Where to: http or https, without a login.
    pub(crate) url: &'a Uri,
    /// Header fields beside those that every request has.
    pub(crate) headers: &'a [(Bytes, Bytes)],
    /// JSON, unless a field says what else.
    pub(crate) body: Bytes,
    /// It may be dialled at an address that is not of the public internet.
    pub(crate) allow_private: bool,
    /// It may be sent without TLS.
    pub(crate) allow_plain: bool,
    /// How long its answer may take.
    pub(crate) within: Duration,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Somebody answered: his status, and how his answer begins.
    Answered(StatusCode, Bytes),
    /// The host's address is inside, where nobody asks.
    Inside,
    /// Nobody answered in time.
    Silent,
    /// Somebody was reached whose TLS or HTTP does not hold, and why.
    Unfit(String),
    /// Nobody could be asked from here, and why.
    Unasked(String),
}

impl Fetcher {
    /// Sends it once. Any status but 2xx is an error. Cancel safe: nobody knows then whether it arrived.
    ///
    /// # Errors
    /// Why not, for the operator: without the URL, which may be a secret.
    pub(crate) async fn post(&self, post: Post<'_>) -> Result<(), Unfetched> {
        let host = post.url.host().unwrap_or_default().to_owned();
        let sent = match timeout(post.within, self.send(&post, 0)).await {
            Ok(sent) => sent,
            Err(_) => Err(format!("no answer within {} s", post.within.as_secs()).into()),
        };
        match sent.map(|(status, _)| status) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) if status.is_redirection() => {
                let why = format!("status {}; redirects are not followed", status.as_u16());
                Err(Unfetched { host, why, is_ours: false, status: Some(status) })
            }
            Ok(status) => {
                let why = format!("status {}", status.as_u16());
                Err(Unfetched { host, why, is_ours: false, status: Some(status) })
            }
            Err(Failed { why, is_ours, .. }) => Err(Unfetched { host, why, is_ours, status: None }),
        }
    }

    /// Sends it once, for what is answered: at most so many bytes of it, within that time. Cancel safe.
    pub(crate) async fn ask(&self, post: Post<'_>, most: usize) -> Asked {
        match timeout(post.within, self.send(&post, most)).await {
            Ok(Ok((status, begin))) => Asked::Answered(status, begin),
            Ok(Err(Failed { why, .. })) if why == NOT_PUBLIC => Asked::Inside,
            Ok(Err(Failed { why, is_theirs: true, .. })) => Asked::Unfit(why),
            Ok(Err(Failed { why, .. })) => Asked::Unasked(why),
            Err(_) => Asked::Silent,
        }
    }

    /// Its status, and the first bytes of what is answered; none of them are read where none are wanted.
    async fn send(&self, post: &Post<'_>, most: usize) -> Result<(StatusCode, Bytes), Failed> {
        let host = post.url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_plain = post.url.scheme_str() == Some("http");
        if is_plain && !post.allow_plain {
            return Err("not https".into());
        }
        let port = post.url.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let tcp = self.connect(post.url, host, port, post.allow_private).await?;
        let stream = if is_plain {
            Either::Left(tcp)
        } else {
            let tls = self.tls.get_or_init(|| self.make_tls()).clone()?;
            Either::Right(encrypt(tcp, host, tls).await.map_err(|error| Failed::of_peer(format!("TLS: {error}")))?)
        };
        let said = |error: hyper::Error| Failed::of_peer(format!("no HTTP answer: {error}"));
        let connection = http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream));
        let (mut sender, connection) = connection.await.map_err(said)?;
        let path = post.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = match post.url.port_u16() {
            Some(port) => format!("{}:{port}", proxy::authority(host)),
            None => proxy::authority(host).into_owned(),
        };
        let mut request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, HeaderValue::from_static(concat!("crm-relay/", env!("CARGO_PKG_VERSION"))));
        if !post.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-type")) {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in post.headers {
            request = request.header(&name[..], &value[..]);
        }
        let request = request.body(Full::new(post.body.clone())).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(said)?;
            Ok::<_, Failed>((answer.status(), begin(answer.into_body(), most).await))
        };
        beside(exchange, connection).await
    }
}

/// The first bytes of a body; one that breaks off is as long as it came.
async fn begin(mut body: Incoming, most: usize) -> Bytes {
    let mut came = BytesMut::new();
    while came.len() < most
        && let Some(Ok(frame)) = body.frame().await
    {
        came.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    came.truncate(most);
    came.freeze()
}
