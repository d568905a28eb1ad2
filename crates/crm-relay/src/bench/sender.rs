//! Senders: each sends its next webhook over its one connection when the last one is answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use super::{sink::Arrivals, waits::Waits};
use crate::exit::{Failure, reason};

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Webhooks that may be on their way to the target: beyond them nobody measures how they pass, but how they pile up.
const UNDER_WAY_MAX: u64 = 4096;
/// How long a sender stands still that is ahead of the target.
const STEP: Duration = Duration::from_millis(1);

/// What each of them sends, and where.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    address: SocketAddr,
    api_key: HeaderValue,
    body: Bytes,
}

/// Who is to send next, and when.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The first number.
    first: u64,
    next: AtomicU64,
    /// Numbers from here on are not given.
    end: u64,
    until: Instant,
    rhythm: Rhythm,
}

/// How fast they follow each other.
#[derive(Debug)]
pub(crate) enum Rhythm {
    /// As soon as a sender is free.
    Free,
    /// The same, while the target is not far behind.
    WithTarget(Arc<Arrivals>),
    /// One every so often, from a moment on.
    Even(Instant, Duration),
}

/// The next webhook of a sender.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Turn {
    number: u64,
    /// When it is to be sent, which may have gone by.
    due: Instant,
}

/// One webhook that was answered 2xx.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// Its number, which stands in its query.
    pub(crate) number: u64,
    /// When its first byte was sent; at an even pace: was to be sent, so that what a stall holds up counts as late.
    pub(crate) sent: Instant,
    answered: Instant,
}

#[cfg(test)]
impl Exchange {
    /// One that was answered at once.
    pub(crate) fn at(number: u64, sent: Instant) -> Self {
        Self { number, sent, answered: sent }
    }
}

impl Webhooks {
    /// Of so many bytes, to the source `default` of a server.
    ///
    /// # Errors
    /// The key is none.
    pub(crate) fn new(address: SocketAddr, api_key: &str, bytes: usize) -> Result<Self, Failure> {
        let mut api_key = HeaderValue::from_str(api_key)
            .map_err(|error| Failure::unreachable(format!("the server's API key cannot be sent: {error}")))?;
        api_key.set_sensitive(true);
        Ok(Self { address, api_key, body: body(bytes) })
    }

    fn request(&self, number: u64) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::post(format!("/webhook?{number}"))
            .header(header::HOST, self.address.to_string())
            .header("x-api-key", self.api_key.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "platform-webhooks/1.0");
        request.body(Full::new(self.body.clone())).map_err(|error| error.to_string())
    }
}

impl Turns {
    /// So many until then, and one at least, numbered from `first` on.
    pub(crate) fn new(rhythm: Rhythm, first: u64, most: u64, until: Instant) -> Arc<Self> {
        Arc::new(Self { first, next: AtomicU64::new(first), end: first.saturating_add(most), until, rhythm })
    }

    /// The next webhook, once it is its turn; `None`: that was all.
    async fn next(&self) -> Option<Turn> {
        if let Rhythm::WithTarget(seen) = &self.rhythm {
            while self.next.load(Ordering::Relaxed) > seen.count() + UNDER_WAY_MAX && Instant::now() < self.until {
                tokio::time::sleep(STEP).await;
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match &self.rhythm {
            Rhythm::Even(from, every) if number < self.end => *from + every.mul_f64((number - self.first + 1) as f64),
            _ => Instant::now(),
        };
        tokio::time::sleep_until(due.min(self.until)).await;
        // Of an even pace those that a stall held up are sent late, and are not left out.
        (number < self.end && (due < self.until || number == self.first)).then_some(Turn { number, due })
    }
}

/// Sends from so many connections until there are no more turns.
///
/// # Errors
/// One was answered otherwise than with 2xx, or not at all.
pub(crate) async fn send(webhooks: &Webhooks, senders: usize, turns: &Arc<Turns>) -> Result<Vec<Exchange>, Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        tasks.spawn(one(webhooks.clone(), Arc::clone(turns)));
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(|error| Failure::unreachable(format!("a sender ended: {error}")))?;
        all.extend(ended.map_err(Failure::unreachable)?);
    }
    Ok(all)
}

/// What those came to that were sent behind `from`.
pub(crate) fn waits(exchanges: &[Exchange], from: Instant) -> Option<Waits> {
    let counted = exchanges.iter().filter(|exchange| exchange.sent >= from);
    let last = exchanges.iter().map(|exchange| exchange.answered).max()?;
    Waits::of(counted.map(|exchange| exchange.answered - exchange.sent).collect(), last.saturating_duration_since(from))
}

async fn one(webhooks: Webhooks, turns: Arc<Turns>) -> Result<Vec<Exchange>, String> {
    let mut connection = connect(webhooks.address).await?;
    let mut done = Vec::new();
    while let Some(Turn { number, due: sent }) = turns.next().await {
        exchange(&mut connection, webhooks.request(number)?).await?;
        done.push(Exchange { number, sent, answered: Instant::now() });
    }
    Ok(done)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let failed = |error: std::io::Error| format!("cannot connect to the server: {}", reason(&error));
    let socket = TcpStream::connect(address).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    // It ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(connection: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("the server did not answer: {error}");
    connection.ready().await.map_err(broken)?;
    let response = connection.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("the server's answer broke off: {error}"))?.to_bytes();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("the server answered {status}: {}", String::from_utf8_lossy(&body)))
}

/// JSON of so many bytes, as a platform would send.
fn body(bytes: usize) -> Bytes {
    let (head, tail) = (r#"{"object":"page","text":""#, r#""}"#);
    let filled = "a".repeat(bytes.saturating_sub(head.len() + tail.len()));
    Bytes::from(format!("{head}{filled}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_the_length_that_was_asked_for() {
        for bytes in [64, 1024] {
            let body = body(bytes);
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }

    async fn number(turns: &Turns) -> Option<u64> {
        turns.next().await.map(|turn| turn.number)
    }

    /// A disk that stands still for half a second makes all late that were due then, and not one for each sender.
    #[tokio::test(start_paused = true)]
    async fn what_a_stall_holds_up_is_late_from_when_it_was_due() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let turns = Turns::new(Rhythm::Even(start, ms(10)), 1, 1_000, start + ms(500));
        assert_eq!(turns.next().await, Some(Turn { number: 1, due: start + ms(10) }));
        tokio::time::advance(ms(590)).await;
        let mut late = Vec::new();
        while let Some(turn) = turns.next().await {
            late.push(turn.due.elapsed());
        }
        assert_eq!(late, (2..50).map(|number| ms(600 - number * 10)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_has_a_turn_however_late_its_sender_is() {
        let turns = Turns::new(Rhythm::Free, 1, 9, Instant::now());
        assert_eq!((number(&turns).await, number(&turns).await), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_end_with_their_number_and_with_their_time() {
        let soon = || Instant::now() + Duration::from_secs(10);
        let few = Turns::new(Rhythm::Free, 7, 2, soon());
        assert_eq!((number(&few).await, number(&few).await, number(&few).await), (Some(7), Some(8), None));
        let even = Turns::new(Rhythm::Even(Instant::now(), Duration::from_secs(4)), 9, 100, soon());
        let start = Instant::now();
        assert_eq!((number(&even).await, number(&even).await), (Some(9), Some(10)));
        assert_eq!(start.elapsed(), Duration::from_secs(8));
        assert_eq!(even.next().await, None, "the third would be late");
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    /// Senders that are far ahead wait, and are let go when their time is over.
    #[tokio::test(start_paused = true)]
    async fn whoever_is_ahead_of_the_target_waits_for_it() {
        let seen = Arc::<Arrivals>::default();
        let start = Instant::now();
        let turns = Turns::new(Rhythm::WithTarget(seen), 1, u64::MAX, start + Duration::from_secs(1));
        for number in 1..=UNDER_WAY_MAX {
            assert_eq!(self::number(&turns).await, Some(number));
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(turns.next().await, None);
        assert!(start.elapsed() >= Duration::from_secs(1));
    }

    #[test]
    fn what_was_sent_while_it_warmed_up_does_not_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let exchange = |number, sent, answered| Exchange { number, sent: at(sent), answered: at(answered) };
        let all = [exchange(1, 0, 900), exchange(2, 1_000, 1_200), exchange(3, 1_500, 2_000)];
        let waits = waits(&all, at(1_000)).unwrap();
        let half = Duration::from_millis(500);
        assert_eq!(waits, Waits { per_second: 2.0, p50: half, p99: half });
        assert_eq!(super::waits(&all[..1], at(1_000)), None);
    }
}
