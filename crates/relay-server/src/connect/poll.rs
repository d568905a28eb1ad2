//! Sessions without an upgrade: `POST /connect/poll`, for clients behind what cuts `WebSockets`.
//!
//! Below the messages everything is as on a socket that was upgraded: the bytes that would be on it travel in the bodies of
//! requests and answers, in pieces that say where in their stream they are. See `docs/internals/wire.md`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use relay_core::{limits, wire};
use relay_net::{origin::Origin, tls::Pin};
use tokio::time::timeout;

use super::{
    Gate, PROTOCOL,
    holder::Holder,
    pipe::{AtWork, Broken, Pipe},
    respond,
};
use crate::{
    error::{Code, Problem},
    secret,
    supervise::TaskKind,
};

/// Names a session: 128 random bits in hex, given with the answer that begins it.
const SESSION: &str = "relay-session";
/// Where in the client's stream the body of a request begins, and how far the server has taken it.
const UP: &str = "relay-up";
/// Where in the server's stream the client is, and the body of the answer begins.
const DOWN: &str = "relay-down";

const NO_SESSION: Problem = Problem::new(
    Code::Malformed,
    "there is no such session (any more), or it was begun at another server: begin another, with a request without Relay-Session; a balancer has to send all requests of a client to one server",
);
const ONE_WAY: Problem = Problem::new(
    Code::Malformed,
    "want Relay-Up with a body that begins there, or Relay-Down, what was received so far: one of them, as a number",
);
const NAMELESS: Problem = Problem::new(
    Code::Malformed,
    "want Relay-Session beside Relay-Up or Relay-Down: does something in between take fields away that it does not know?",
);
const GAP: Problem =
    Problem::new(Code::Malformed, "this place is not in the session's stream, or no more: begin another session");
const TOO_LARGE: Problem = Problem::new(Code::TooLarge, "one request carries at most 64 KiB of a session").closing();
const BROKEN: Problem = Problem::new(Code::Malformed, "the body ended early").closing();
const TOO_SLOW: Problem = Problem::new(Code::Timeout, "the body came too slowly").closing();
const NO_ROOM: Problem =
    Problem::new(Code::StoreUnavailable, "as many clients poll as there may be; come back later").closing();
const NO_RANDOMNESS: Problem =
    Problem::new(Code::StoreUnavailable, "the system gives no random bytes; come back later");

/// Sessions that are polled, by the digest of what names them.
#[derive(Default)]
pub(super) struct Polls(Mutex<HashMap<[u8; 32], Arc<Polled>>>);

/// One session that is polled.
struct Polled {
    holder: Holder,
    pipe: Pipe,
}

/// Among the open ones for as long as this lives.
struct Listed {
    polls: Arc<Polls>,
    name: [u8; 32],
}

/// Which way a request goes, and from where.
enum Way {
    Up(u64),
    Down(u64),
}

impl Polls {
    fn find(&self, name: &[u8], holder: &Holder) -> Option<Arc<Polled>> {
        let found = self.lock().get(&secret::sha256(name)).cloned()?;
        // A name is its token's alone, and its secret's.
        let is_his = found.holder.token == holder.token && secret::same(&found.holder.digest, &holder.digest);
        is_his.then_some(found)
    }

    /// `None`: there are as many as there may be.
    fn list(self: &Arc<Self>, name: [u8; 32], polled: &Arc<Polled>) -> Option<Listed> {
        let mut open = self.lock();
        if open.len() >= limits::POLL_SESSIONS_MAX {
            return None;
        }
        open.insert(name, Arc::clone(polled));
        Some(Listed { polls: Arc::clone(self), name })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Polled>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.polls.lock().remove(&self.name);
    }
}

impl Gate {
    /// Answers `POST /connect/poll`: begins a session, takes what its client says, or gives what it is told.
    pub(crate) async fn poll(
        &self,
        request: Request<Incoming>,
        origin: Origin,
        key: Option<Pin>,
    ) -> Response<Full<Bytes>> {
        self.polled(request, origin, key).await.unwrap_or_else(|problem| respond(&problem))
    }

    async fn polled(
        &self,
        request: Request<Incoming>,
        origin: Origin,
        key: Option<Pin>,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        if *request.method() != Method::POST {
            return Err(Problem::new(Code::MethodNotAllowed, "clients poll with POST").allowing(&["POST"]));
        }
        let (head, body) = request.into_parts();
        let Some(name) = head.headers.get(SESSION) else {
            // Something in between takes fields away: that is no beginning.
            if head.headers.contains_key(UP) || head.headers.contains_key(DOWN) {
                return Err(NAMELESS);
            }
            let holder = self.let_in(&head.headers, origin, key).await?;
            return self.begin(holder, origin);
        };
        let holder = self.identify(&head.headers, origin, key).await?;
        let polled = self.polls.find(name.as_bytes(), &holder).ok_or(NO_SESSION)?;
        let at_work = polled.pipe.works();
        match way(&head.headers).ok_or(ONE_WAY)? {
            Way::Up(at) => {
                let taken = timeout(limits::POLL_IDLE, take(&at_work, &polled.pipe, at, body));
                taken.await.unwrap_or(Err(TOO_SLOW))?;
                Ok(answer(Bytes::new(), UP, HeaderValue::from(polled.pipe.taken().await)))
            }
            Way::Down(from) => {
                let said = polled.pipe.get(from, limits::POLL_WAIT).await.map_err(problem)?;
                Ok(answer(said, DOWN, HeaderValue::from(from)))
            }
        }
    }

    /// Begins a session: its task has one end of a stream, and requests the other.
    fn begin(&self, holder: Holder, origin: Origin) -> Result<Response<Full<Bytes>>, Problem> {
        let place = self.place(&holder.token, origin)?;
        let name = secret::generate("").map_err(|_| NO_RANDOMNESS)?;
        let named = HeaderValue::try_from(&name).map_err(|_| NO_RANDOMNESS)?;
        let (near, far) = tokio::io::duplex(limits::POLL_BYTES_MAX);
        let polled = Arc::new(Polled { holder: holder.clone(), pipe: Pipe::new(far) });
        let listed = self.polls.list(secret::sha256(name.as_bytes()), &polled).ok_or(NO_ROOM)?;
        // Said wherever people look at clients.
        let (gate, peer) =
            (self.clone(), format!("{} (long-poll)", origin.shown().unwrap_or_default()).trim_start().to_owned());
        let stopping = self.supervisor.stopping();
        self.supervisor.spawn(TaskKind::Session, "session-polled", async move {
            let (_place, _listed) = (place, listed);
            let mut served = std::pin::pin!(gate.serve(near, holder, peer));
            // Cancel safety: a session that nobody asks after goes on to its end, which it is told of.
            let is_unused = tokio::select! {
                () = &mut served => false,
                () = polled.pipe.is_unused(&stopping) => true,
            };
            if is_unused {
                polled.pipe.end().await;
                served.await;
            }
            // What was said last may still be fetched.
            polled.pipe.is_over(limits::LAST_WORDS_WITHIN).await;
            Ok(())
        });
        Ok(answer(Bytes::new(), SESSION, named))
    }
}

/// Takes what a request brings, as it comes.
async fn take(_: &AtWork<'_>, pipe: &Pipe, at: u64, mut body: Incoming) -> Result<(), Problem> {
    let most = limits::POLL_BYTES_MAX as u64;
    if body.size_hint().lower() > most {
        return Err(TOO_LARGE);
    }
    let mut came = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BROKEN)?.into_data() else { continue };
        if came + data.len() as u64 > most {
            return Err(TOO_LARGE);
        }
        pipe.put(at.checked_add(came).ok_or(GAP)?, &data).await.map_err(problem)?;
        came += data.len() as u64;
    }
    Ok(())
}

fn way(headers: &HeaderMap) -> Option<Way> {
    let place = |field| {
        let mut values = headers.get_all(field).into_iter();
        let place = values.next().map(|value| value.to_str().ok()?.parse().ok());
        values.next().is_none().then_some(place)
    };
    match (place(UP)?, place(DOWN)?) {
        (Some(up), None) => up.map(Way::Up),
        (None, Some(down)) => down.map(Way::Down),
        _ => None,
    }
}

fn problem(broken: Broken) -> Problem {
    match broken {
        Broken::Over => NO_SESSION,
        Broken::Gap => GAP,
    }
}

/// An answer that nothing in between has a reason to keep or to change.
fn answer(body: Bytes, field: &'static str, value: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(PROTOCOL, HeaderValue::from(wire::VERSION));
    headers.insert(field, value);
    response
}
