//! What stands behind the seam in tests.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use relay_core::{
    hub::{Accepting, Answer, NotStored},
    id::{EventId, IdMint},
    name::Name,
    time::{Mono, Wall},
};
use relay_net::origin::{Address, Origin};
use relay_providers::Verifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    super::{
        refusals::Refusals,
        seam::{Backend, Body},
    },
    KEY,
};
use crate::{
    clock::Clock,
    error::Problem,
    guesses::Guesses,
    intake::Intake,
    network_policy::Terms,
    quotas::{Hold, Quotas},
};

/// Bytes of the answer at `/large`: more than socket buffers take.
pub(super) const LARGE_BYTES: usize = 32 * 1024 * 1024;

/// Keeps what was accepted, as the hub and its store would.
pub(super) struct Recorder {
    pub(super) clock: Clock,
    sources: BTreeMap<&'static str, Arc<Intake>>,
    /// The source that is broken from now on.
    pub(super) breaks: Mutex<Option<&'static str>>,
    pub(super) mode: Mutex<Mode>,
    pub(super) stopping: AtomicBool,
    pub(super) panics: AtomicUsize,
    accepted: Mutex<Accepted>,
    refused: Mutex<Vec<(String, &'static str)>>,
    pub(super) seen: Refusals,
    quotas: Arc<Quotas>,
    guesses: Guesses,
}

/// How the recorder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Store,
    Unavailable,
    NotStored(NotStored),
    Busy,
    Full,
    Stopping,
    Never,
    Panic,
}

struct Accepted {
    mint: IdMint,
    events: Vec<Accepting>,
    first: BTreeMap<(Name, [u8; 32]), EventId>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let source = |name: &'static str, provider: &str, parameters: &[(&str, &str)], allow_empty, paused| {
            let parameters: Vec<_> = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let verifier = Verifier::new(provider, &parameters).unwrap();
            let source = Intake {
                name: name.parse().unwrap(),
                verifier,
                terms: match name {
                    "bounded" => super::webhooks::bounded(),
                    "daily" => super::webhooks::daily(),
                    _ => Terms::default(),
                },
                provider: provider.to_owned(),
                allow_empty,
                resends: false,
                paused,
                broken: (name == "broken").then(|| "secret: missing".to_owned()),
                broken_old: None,
                adopts_until: None,
                old: None,
            };
            (name, Arc::new(source))
        };
        let key = [("key", KEY)];
        let clock = Clock::start(Wall::MIN);
        Self {
            clock,
            guesses: Guesses::new(clock, Arc::default(), Arc::default()),
            sources: BTreeMap::from([
                source("default", "api-key", &key, false, false),
                source("empty", "api-key", &key, true, false),
                source(
                    "chosen",
                    "api-key",
                    &[key[0], ("ack_status", "200"), ("ack_body", "<ok/>"), ("ack_type", "text/xml")],
                    false,
                    false,
                ),
                source("silent", "api-key", &[key[0], ("ack_status", "204")], false, false),
                source("named", "api-key", &[key[0], ("ack_status", "201")], false, false),
                source("bounded", "api-key", &key, false, false),
                source("daily", "api-key", &key, false, false),
                source("paused", "api-key", &key, false, true),
                source("broken", "api-key", &[], false, false),
                source("signed", "standard-webhooks", &[("secret", super::webhooks::SECRET)], false, false),
                source("basic", "basic", &[("username", "crm"), ("password", KEY)], false, false),
                source("token", "telegram", &[("secret_token", KEY)], false, false),
                source("query", "cloudevents", &[("token", KEY)], false, false),
                source("jwt", "monday", &[("signing_secret", KEY), ("audience", "https://relay.test")], false, false),
                source("either", "hmac", &[("secret", KEY), ("header", "X-Signature")], false, false),
                source("sent", "hmac", &[("secret", KEY), ("header", "X-Signature"), ("signed", "sent")], false, false),
                source("plain", "stripe", &[("endpoint_secret", KEY), ("signed", "decoded")], false, false),
                source("header", "mercadopago", &[("secret", KEY)], false, false),
                source("bare", "xero", &[("webhook_key", KEY)], false, false),
            ]),
            breaks: Mutex::default(),
            mode: Mutex::new(Mode::Store),
            stopping: AtomicBool::new(false),
            panics: AtomicUsize::new(0),
            accepted: Mutex::new(Accepted { mint: IdMint::new(0, 1), events: Vec::new(), first: BTreeMap::new() }),
            refused: Mutex::new(Vec::new()),
            seen: Refusals::default(),
            quotas: Arc::default(),
        }
    }

    pub(super) fn answer_with(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(super) fn events(&self) -> Vec<Accepting> {
        self.accepted.lock().unwrap().events.clone()
    }

    /// How many were accepted and are not forgotten.
    pub(super) fn heard(&self) -> usize {
        self.accepted.lock().unwrap().events.len()
    }

    pub(super) fn forget(&self) {
        self.accepted.lock().unwrap().events.clear();
    }

    pub(super) fn refusals(&self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.refused.lock().unwrap())
    }

    fn store(&self, request: Accepting) -> Answer {
        let mut accepted = self.accepted.lock().unwrap();
        let received_at = request.received_at;
        let id = accepted.mint.event(received_at);
        if let Some(dedupe) = &request.dedupe {
            let first = *accepted.first.entry((request.source.clone(), dedupe.key)).or_insert(id);
            if first != id {
                return Answer::Accepted { event: first, received_at, repeat: true, differs: false };
            }
        }
        accepted.events.push(request);
        Answer::Accepted { event: id, received_at, repeat: false, differs: false }
    }
}

impl Backend for Recorder {
    fn source(&self, name: &[u8]) -> Option<Arc<Intake>> {
        let name = std::str::from_utf8(name).ok()?;
        let broken = self.breaks.lock().unwrap().filter(|broken| *broken == name).map(|_| "broken");
        self.sources.get(broken.unwrap_or(name)).cloned()
    }

    async fn accept(&self, request: Box<Accepting>, hold: Option<Box<Hold>>) -> Answer {
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Store => {
                let answer = self.store(*request);
                if let Some(hold) = hold.filter(|_| matches!(answer, Answer::Accepted { repeat: false, .. })) {
                    hold.count();
                }
                answer
            }
            Mode::Unavailable => Answer::Unavailable,
            Mode::NotStored(why) => Answer::NotStored(why),
            Mode::Busy => Answer::Busy,
            Mode::Full => Answer::Full,
            Mode::Stopping => Answer::Stopping,
            Mode::Never => std::future::pending().await,
            Mode::Panic => panic!("the backend panics, as the test wants"),
        }
    }

    fn refused(&self, source: &str, reason: &'static str) {
        self.refused.lock().unwrap().push((source.to_owned(), reason));
    }

    fn handshake(&self, _source: &str) {}

    fn refusals(&self) -> &Refusals {
        &self.seen
    }

    fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    fn may_show(&self, source: &Name, origin: Origin, shown: &[&[u8]]) -> Result<(), Duration> {
        self.guesses.may_show(source, origin, shown)
    }

    fn shown_right(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        self.guesses.shown_right(source, origin, shown);
    }

    async fn shown_wrong(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        self.guesses.shown_wrong(source, origin, shown).await;
    }

    async fn key(&self, _source: &Name, _asker: Address, _url: &str) -> Result<Bytes, String> {
        Err("there are no keys".to_owned())
    }

    async fn renewed_key(&self, _source: &Name, _url: &str, _known: &Bytes) -> Option<Bytes> {
        None
    }

    async fn visit(&self, _source: &Name, _asker: Address, _url: &str) -> Result<(), String> {
        Ok(())
    }

    async fn adopt(
        &self,
        _source: &Name,
        _origin: Origin,
        _parameter: &'static str,
        _value: String,
    ) -> Result<(), String> {
        Err("nothing is kept".to_owned())
    }

    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::SeqCst);
    }

    fn now(&self) -> Wall {
        self.clock.wall()
    }

    fn hub_time(&self) -> Wall {
        self.clock.own().wall
    }

    fn mono(&self) -> Mono {
        self.clock.now().mono
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    async fn other(&self, mut request: Request<Incoming>, _origin: Origin) -> Response<Body> {
        match request.uri().path() {
            "/livez" => Response::new(Full::new(Bytes::from_static(b"alive\n"))),
            "/large" => Response::new(Full::new(Bytes::from(vec![b'x'; LARGE_BYTES]))),
            "/connect" => {
                tokio::spawn(async move {
                    let mut raw = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    let mut piece = [0; 1024];
                    while let Ok(read @ 1..) = raw.read(&mut piece).await {
                        raw.write_all(&piece[..read]).await.unwrap();
                    }
                });
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("echo"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                response
            }
            _ => Problem::not_found().respond(),
        }
    }
}
