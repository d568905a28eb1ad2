//! Forwarding one webhook to its local target: one HTTP/1.1 request, one outcome, nothing retried in here.
//!
//! One exception to "nothing retried": a kept connection that ends before a byte of an answer says nothing about the target,
//! so the same try goes on over a fresh one (see `docs/adr/0011-a-stale-connection-is-no-try.md`).
//!
//! The class of the outcome follows from the complete response head alone. A connection is driven by the forward that
//! uses it, so a kept one costs no task; whether it is still open is asked when it is taken out.

mod probe;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

pub use probe::probe;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Body as _;
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use relay_core::{
    client::Forward,
    delivery::{
        answer::Answer,
        outcome::{Class, Outcome},
    },
    limits,
};
use relay_net::{
    dial::{Peer, Stream},
    tls::{self, IdentityError, TlsError},
};

use crate::{
    ReportAnswers,
    answer::Refusal,
    clock,
    config::{Destination, IdentityFiles, TargetUrl},
    lacking::Lacking,
    read_on::ReadOn,
    request::Base,
    request_line::{NextTarget, RequestLine},
    retry_after,
    turns::{Heard, InTurns},
    unreached::{Whose, explain, explain_alert},
};

/// A kept connection is not used again after this long: many servers close theirs after 5 s, and a request sent into
/// that close would be a failure that says nothing about the target.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// What was lacking so short a time ago is lacking still: it is asked for again after every pause.
const LACKING_STILL: Duration = limits::SHORTAGE_PAUSE.saturating_mul(3);

/// Pieces of an answer's body that are read before others have their turn.
const FRAMES_PER_TURN: usize = 32;
/// Bytes of a body that are hashed before others have their turn.
const HASH_BYTES: usize = 1024 * 1024;

/// Forwards to one destination's target.
#[derive(Debug)]
pub(crate) struct Target {
    base: Base,
    peer: Peer,
    timeout: Duration,
    report_answers: ReportAnswers,
    /// Kept connections, the one used last at the end.
    idle: Mutex<VecDeque<Idle>>,
    lacking: Arc<Lacking>,
}

/// How a forward ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The target was tried.
    Tried(Outcome),
    /// The body does not match its digest; the target was not asked.
    Corrupt,
    /// This machine lacked something for as long as a try may take; the target was not asked.
    Lacking,
}

/// Why there is no target for a destination.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL names no host, or another scheme than `http` and `https`.
    #[error("target {0} is not a URL of the form http://host[:port][/path]")]
    Url(TargetUrl),
    /// TLS cannot be set up.
    #[error("failed to set up TLS for the target")]
    Tls(#[from] TlsError),
    /// The certificate that is shown to it does not read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl TargetError {
    /// Who has to change something: whoever runs the client.
    pub const fn fault(&self) -> relay_core::fault::Fault {
        relay_core::fault::Fault::Operator
    }

    /// Whether trying again helps: never.
    pub const fn retry(&self) -> relay_core::fault::Retry {
        relay_core::fault::Retry::Never
    }
}

/// One connection to a target, and the handle that sends on it.
struct Http {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Option<Connection>,
    heard: Arc<Heard>,
    target: NextTarget,
}

/// The future that reads and writes.
type Connection = Pin<Box<http1::Connection<TokioIo<RequestLine<InTurns<ReadOn<Stream>>>>, Full<Bytes>>>>;

struct Idle {
    http: Http,
    since: Instant,
}

/// What one try came to before it has a duration.
struct Verdict {
    class: Class,
    status: Option<u16>,
    retry_after: Option<Duration>,
    error: Option<String>,
    answer: Option<Arc<Answer>>,
}

impl Target {
    /// The target of a configured destination.
    pub(crate) fn new(destination: &Destination, lacking: Arc<Lacking>) -> Result<Self, TargetError> {
        let url = destination.url.uri();
        let unusable = || TargetError::Url(destination.url.clone());
        let encrypted = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable()),
        };
        let presented = destination.identity.as_ref().map(IdentityFiles::presented).transpose()?;
        Ok(Self {
            base: Base::of(destination).ok_or_else(unusable)?,
            peer: Peer {
                host: url.host().filter(|host| !host.is_empty()).ok_or_else(unusable)?.to_owned(),
                port: url.port_u16().unwrap_or(if encrypted { 443 } else { 80 }),
                proxy: None,
                tls: if encrypted {
                    Some(tls::presenting(destination.ca_file.as_deref(), &[], presented)?)
                } else {
                    None
                },
            },
            timeout: destination.forward_timeout,
            report_answers: destination.report_answers,
            idle: Mutex::new(VecDeque::new()),
            lacking,
        })
    }

    /// Sends the webhook and reads the answer, within the destination's timeout.
    pub(crate) async fn forward(&self, forward: &Forward) -> Ended {
        if !is_whole(forward).await {
            return Ended::Corrupt;
        }
        let begun = tokio::time::Instant::now();
        let deadline = begun + self.timeout;
        let verdict = match self.base.request(forward, clock::wall()) {
            Ok(request) => self.attempt(forward, request, deadline).await,
            Err(error) => Some(Verdict::failed(Class::Rejected, error.to_string())),
        };
        let Some(verdict) = verdict else { return Ended::Lacking };
        Ended::Tried(Outcome {
            class: verdict.class,
            status: verdict.status,
            retry_after: verdict.retry_after,
            duration: begun.elapsed(),
            error: verdict.error.map(Into::into),
            answer: verdict.answer,
        })
    }

    /// One try; none if this machine lacked something for it.
    async fn attempt(
        &self,
        forward: &Forward,
        request: Request<Full<Bytes>>,
        deadline: tokio::time::Instant,
    ) -> Option<Verdict> {
        let mut request = request;
        while let Some(mut http) = self.kept().await {
            match tokio::time::timeout_at(deadline, http.send(request)).await {
                Err(_) => return Some(Verdict::failed(Class::Busy, self.silence())),
                Ok(Ok(response)) => return Some(self.answered(http, response, deadline).await),
                Ok(Err(Unsent::Returned(unsent))) => request = *unsent,
                Ok(Err(unsent @ Unsent::Failed(_))) if http.heard.is_silent() => {
                    // The target has closed it, as servers do with idle connections, and the request crossed the close.
                    match self.base.request(forward, clock::wall()) {
                        Ok(again) => request = again,
                        Err(_) => return Some(self.unanswered(&unsent, &http)),
                    }
                    break;
                }
                Ok(Err(unsent)) => return Some(self.unanswered(&unsent, &http)),
            }
        }
        let mut http = match self.connect_by(deadline).await {
            Ok(http) => http,
            Err(NoWay::Lacking) => return None,
            Err(NoWay::Failed(error)) => return Some(Verdict::failed(Class::Unreachable, error)),
        };
        Some(match tokio::time::timeout_at(deadline, http.send(request)).await {
            Err(_) => Verdict::failed(Class::Busy, self.silence()),
            Ok(Ok(response)) => self.answered(http, response, deadline).await,
            Ok(Err(unsent)) => self.unanswered(&unsent, &http),
        })
    }

    /// A complete head is there, and decides. The body is read away so that the connection can be kept.
    async fn answered(&self, mut http: Http, response: Response<Incoming>, deadline: tokio::time::Instant) -> Verdict {
        let status = response.status();
        let class = Class::of_status(status.as_u16());
        let retry_after = if class.heeds_retry_after() { retry_after::of(response.headers()) } else { None };
        let stays = !http.heard.is_of_1_0() || stays_by_1_0(response.headers());
        // What frames it may stand where nobody looks, so that what comes next need not be the next answer.
        let is_kept = stays && !http.heard.is_cut();
        let mut refusal = (class != Class::Delivered).then(|| Refusal::of(&response, self.report_answers));
        let end = End::of(&response, stays);
        let body = http.drain_to(end, response.into_body(), refusal.as_mut());
        let drained = tokio::time::timeout_at(deadline, body).await;
        if self.peer.tls.is_none() && refusal.as_ref().is_some_and(Refusal::wants_tls) {
            return self.is_encrypted();
        }
        if class == Class::Delivered {
            // Who takes it may have said so at its head, and gets all of it (I3); that it was taken stands all the same (I6).
            let _ = tokio::time::timeout_at(deadline, http.tell_all()).await;
        }
        match (drained, &mut refusal) {
            (Ok(Drained::Whole), _) if is_kept && http.is_open().await => self.keep(http),
            (Ok(Drained::Whole | Drained::Enough), _) | (_, None) => {}
            (Ok(Drained::Broken) | Err(_), Some(refusal)) => refusal.broke_off(),
        }
        let error = refusal.is_some().then(|| status.to_string());
        let answer = refusal.and_then(Refusal::told);
        Verdict { class, status: Some(status.as_u16()), retry_after, error, answer }
    }

    /// The request was sent, at least in part, and no complete head came back.
    fn unanswered(&self, unsent: &Unsent, http: &Http) -> Verdict {
        if self.peer.tls.is_none() && http.heard.is_tls_alert() {
            return self.is_encrypted();
        }
        if http.heard.is_http2() {
            return self.is_of_http2();
        }
        match unsent {
            Unsent::Returned(_) => Verdict::failed(Class::Busy, "the target closed the connection at once".into()),
            Unsent::Endless => {
                let words = format!("more than {} interim answers (1xx), and no answer", limits::ANSWER_INTERIM_MAX);
                Verdict::failed(Class::Rejected, words)
            }
            Unsent::Failed(error) if error.is_parse() || error.is_parse_too_large() => {
                Verdict::failed(Class::Rejected, format!("the answer is not HTTP: {error}"))
            }
            // What TLS refuses never got as far as the target.
            Unsent::Failed(error) if let Some(words) = explain_alert(error, &self.peer.to_string(), Whose::Target) => {
                Verdict::failed(Class::Unreachable, words)
            }
            Unsent::Failed(error) => {
                let words = format!("the connection was closed before the answer was complete: {error}");
                Verdict::failed(Class::Busy, words)
            }
        }
    }

    /// Nobody there has seen the webhook: the URL is wrong, and it is not the webhook's fault.
    fn is_encrypted(&self) -> Verdict {
        let words = format!("{} speaks TLS there; use https:// in the target's URL", self.peer);
        Verdict::failed(Class::Unreachable, words)
    }

    /// The same: what speaks HTTP/2 alone takes no request in HTTP/1.1.
    fn is_of_http2(&self) -> Verdict {
        let words = format!("{} speaks HTTP/2 and no HTTP/1.1; give a port that speaks HTTP/1.1", self.peer);
        Verdict::failed(Class::Unreachable, words)
    }

    /// A connection, as soon as this machine has what it takes: what it lacks is no fault of the target, and others give theirs
    /// back when they are done.
    async fn connect_by(&self, deadline: tokio::time::Instant) -> Result<Http, NoWay> {
        let mut lacked = None;
        let connected = async {
            loop {
                let stream = match self.peer.dial().await {
                    Ok(stream) => stream,
                    Err(error) => {
                        let failed = || NoWay::Failed(explain(&error, Whose::Target));
                        self.lacking.note(error.shortage().ok_or_else(failed)?);
                        lacked = Some(tokio::time::Instant::now());
                        tokio::time::sleep(limits::SHORTAGE_PAUSE).await;
                        continue;
                    }
                };
                return self.connect_over(stream).await.map_err(NoWay::Failed);
            }
        };
        match tokio::time::timeout_at(deadline, connected).await {
            Ok(connected) => connected,
            // Else there was what it takes since, and a target that does not answer.
            Err(_) if lacked.is_some_and(|at| at + LACKING_STILL >= deadline) => Err(NoWay::Lacking),
            Err(_) => Err(NoWay::Failed(self.silence())),
        }
    }

    async fn connect_over(&self, stream: Stream) -> Result<Http, String> {
        let stream = InTurns::new(ReadOn::new(stream));
        let heard = stream.heard();
        let (stream, target) = RequestLine::new(stream);
        let handshake = http1::Builder::new()
            .max_header_size(limits::ANSWER_HEAD_BYTES_MAX)
            // Answers are read as RFC 9112 asks of a user agent (sections 5.1 and 5.2), and a line that is no field is left
            // out: the status decides, and the webhook has arrived.
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) =
            handshake.map_err(|error| format!("cannot use the connection to {}: {error}", self.peer))?;
        Ok(Http { sender, driver: Some(Box::pin(driver)), heard, target })
    }

    /// A kept connection that is still open. Old ones are closed here.
    async fn kept(&self) -> Option<Http> {
        loop {
            let mut idle = self.take()?;
            if idle.since.elapsed() < IDLE_MAX && idle.http.is_open().await {
                return Some(idle.http);
            }
        }
    }

    fn take(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()
    }

    fn keep(&self, http: Http) {
        let since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        retire(&mut idle, since);
        idle.push_back(Idle { http, since });
    }

    /// Closes kept connections that are too old to be used again.
    pub(crate) fn retire(&self) {
        retire(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    }

    fn silence(&self) -> String {
        format!("no answer from {} within {:?}", self.peer, self.timeout)
    }
}

/// Closes those that were used too long ago; they stand in front.
fn retire(idle: &mut VecDeque<Idle>, now: Instant) {
    while idle.pop_front_if(|oldest| now.duration_since(oldest.since) >= IDLE_MAX).is_some() {}
}

/// Why there is no connection.
enum NoWay {
    /// The target, or the way to it, in words.
    Failed(String),
    /// This machine lacks something, and did for as long as there was time.
    Lacking,
}

/// Why a request got no complete response head.
enum Unsent {
    /// Not a byte of it was written: here it is back.
    Returned(Box<Request<Full<Bytes>>>),
    /// Some of it may have been.
    Failed(hyper::Error),
    /// The target goes on and on, and nothing of it is an answer.
    Endless,
}

impl Http {
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unsent> {
        self.heard.begin();
        self.target.is(request.extensions_mut().get().cloned());
        let mut response = std::pin::pin!(self.sender.try_send_request(request));
        let (driver, heard) = (&mut self.driver, &self.heard);
        let sent = std::future::poll_fn(|cx| {
            drive(driver, cx);
            match response.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(done.map_err(|mut error| match error.take_message() {
                    Some(request) => Unsent::Returned(Box::new(request)),
                    None => Unsent::Failed(error.into_error()),
                })),
                Poll::Pending if heard.interim() > limits::ANSWER_INTERIM_MAX => Poll::Ready(Err(Unsent::Endless)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        heard.end();
        sent
    }

    /// Reads a body as far as its end is to be found.
    async fn drain_to(&mut self, end: End, body: Incoming, refusal: Option<&mut Refusal>) -> Drained {
        let heard = Arc::clone(&self.heard);
        let End::Unframed(length) = end else { return self.drain(u64::MAX, body, refusal).await };
        let mut draining = std::pin::pin!(self.drain(length.unwrap_or(u64::MAX), body, refusal));
        loop {
            let before = heard.bytes();
            match tokio::time::timeout(limits::ANSWER_SILENCE_MAX, draining.as_mut()).await {
                Ok(drained) => return drained,
                Err(_) if heard.bytes() == before => return Drained::Enough,
                Err(_) => {}
            }
        }
    }

    /// Reads a body to its end or for so many bytes, and drops what nobody takes.
    async fn drain(&mut self, enough: u64, mut body: Incoming, mut refusal: Option<&mut Refusal>) -> Drained {
        let (driver, mut read) = (&mut self.driver, 0);
        std::future::poll_fn(|cx| {
            for _ in 0..FRAMES_PER_TURN {
                if read >= enough {
                    return Poll::Ready(Drained::Enough);
                }
                drive(driver, cx);
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Drained::Whole),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Drained::Broken),
                    Poll::Ready(Some(Ok(frame))) => {
                        let Some(piece) = frame.data_ref() else { continue };
                        read += piece.len() as u64;
                        if let Some(refusal) = refusal.as_deref_mut() {
                            refusal.take(piece);
                        }
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Waits until the request has left whole, or its target has ended the connection.
    async fn tell_all(&mut self) {
        let (driver, heard) = (&mut self.driver, &self.heard);
        std::future::poll_fn(|cx| {
            if heard.was_told_all() {
                return Poll::Ready(());
            }
            drive(driver, cx);
            if heard.was_told_all() || driver.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the peer has not closed it meanwhile.
    async fn is_open(&mut self) -> bool {
        let driver = &mut self.driver;
        std::future::poll_fn(|cx| {
            drive(driver, cx);
            Poll::Ready(())
        })
        .await;
        self.is_usable()
    }

    /// Whether another request can be sent.
    fn is_usable(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// How the end of an answer's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By its length, its chunks or, as its head says, the end of its connection.
    Framed,
    /// By the end of its connection, of which its head says nothing; or by a transfer coding that nobody takes, so that the
    /// length beside it is the only one there is.
    Unframed(Option<u64>),
}

/// What reading a body came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// It is there, and the connection may go on.
    Whole,
    /// As much of it is there as will come.
    Enough,
    /// It broke off.
    Broken,
}

impl End {
    /// RFC 9112 section 6.3.
    /// `stays`: by its version the connection goes on.
    fn of<B>(response: &Response<B>, stays: bool) -> Self {
        let headers = response.headers();
        let last = |name| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(str::trim).next_back().map(str::to_ascii_lowercase)
        };
        let length = || last(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        match (last(header::TRANSFER_ENCODING).as_deref(), response.status().as_u16()) {
            (_, 204 | 304) | (Some("chunked"), _) => Self::Framed,
            (Some("identity" | ""), _) => Self::Unframed(length()),
            (Some(_), _) => Self::Unframed(None),
            (None, _) if headers.contains_key(header::CONTENT_LENGTH) => Self::Framed,
            (None, _) => {
                let says_close = options(headers).any(|option| option.eq_ignore_ascii_case("close"));
                if says_close || !stays { Self::Framed } else { Self::Unframed(None) }
            }
        }
    }
}

/// What `Connection` says.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let said = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether a connection goes on after this answer of HTTP/1.0: it has to say so, and chunks, which that version has not, end
/// it whatever it says (RFC 9112, sections 6.1 and 9.3).
fn stays_by_1_0(headers: &HeaderMap) -> bool {
    let says_so = options(headers).any(|option| option.eq_ignore_ascii_case("keep-alive"));
    says_so && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether the body is the one that was taken in.
async fn is_whole(forward: &Forward) -> bool {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut pieces = forward.body.chunks(HASH_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        hash.update(piece);
        if pieces.peek().is_some() {
            tokio::task::yield_now().await;
        }
    }
    hash.finish().as_ref() == forward.body_sha256
}

/// Lets a connection work. Its own errors reach the request that it was for.
fn drive(driver: &mut Option<Connection>, cx: &mut Context<'_>) {
    if let Some(connection) = driver
        && connection.as_mut().poll(cx).is_ready()
    {
        *driver = None;
    }
}

impl Verdict {
    fn failed(class: Class, error: String) -> Self {
        Self { class, status: None, retry_after: None, error: Some(error), answer: None }
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
