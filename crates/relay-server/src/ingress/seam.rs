//! What the ingress needs from the rest of the server.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use relay_core::{
    hub::{Accepting, Answer},
    name::Name,
    time::{Mono, Wall},
};
use relay_net::origin::{Address, Origin};

use super::refusals::Refusals;
use crate::{
    intake::Intake,
    quotas::{Hold, Quotas},
    registry::uses::Proof,
};

/// The body of every answer on the public listener: whole, and in memory.
pub type Body = Full<Bytes>;

/// What the ingress needs from the rest of the server.
///
/// Futures may be dropped at any await: a sender that goes away takes its request's future with it. What was handed to the
/// hub by then goes on without it.
pub trait Backend: Send + Sync + 'static {
    /// The source of that name in the present snapshot.
    fn source(&self, name: &[u8]) -> Option<Arc<Intake>>;

    /// Makes a verified request durable; completes when that is certain, or certainly not going to be known. What is held for it is
    /// counted when it is stored, also if nobody waits for that any more.
    fn accept(&self, request: Box<Accepting>, hold: Option<Box<Hold>>) -> impl Future<Output = Answer> + Send;

    /// Counts a request that was refused. `source` is `unknown` where none was found; `reason` is a problem code or the
    /// check that failed.
    fn refused(&self, source: &str, reason: &'static str);

    /// Takes note of what proved a request to a source whose secrets are being replaced since then.
    fn proved(&self, source: &Name, since: Wall, by: Proof) {
        let _ = (source, since, by);
    }

    /// Counts a handshake that was answered.
    fn handshake(&self, source: &str);

    /// What sources refused lately.
    fn refusals(&self) -> &Refusals;

    /// What sources took today, of those that bound it.
    fn quotas(&self) -> &Arc<Quotas>;

    /// Whether a request to a source is looked at that shows these secrets, after all that came from there.
    ///
    /// # Errors
    /// How long to wait.
    fn may_show(&self, source: &Name, origin: Origin, shown: &[&[u8]]) -> Result<(), Duration>;

    /// One of them is right.
    fn shown_right(&self, source: &Name, origin: Origin, shown: &[&[u8]]);

    /// None of them is; completes when that may be said.
    fn shown_wrong(&self, source: &Name, origin: Origin, shown: &[&[u8]]) -> impl Future<Output = ()> + Send;

    /// The key or certificate at a URL that the source's provider named: kept, or fetched.
    fn key(&self, source: &Name, asker: Address, url: &str) -> impl Future<Output = Result<Bytes, String>> + Send;

    /// What is at that URL now, where it is something else than `known`; fetched anew once a minute at most.
    fn renewed_key(&self, source: &Name, url: &str, known: &Bytes) -> impl Future<Output = Option<Bytes>> + Send;

    /// Visits a URL that the source's provider named, for what that does there.
    fn visit(&self, source: &Name, asker: Address, url: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Keeps a secret durably that the source's platform handed over; an error says what the operator can do.
    fn adopt(
        &self,
        source: &Name,
        origin: Origin,
        parameter: &'static str,
        value: String,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// What is answered to a request of this server to itself, known by this field of it; `None`: it is none.
    fn own_answer(&self, token: &[u8]) -> Option<String> {
        let _ = token;
        None
    }

    /// Counts a panic that was contained in one connection's task.
    fn panicked(&self) {}

    /// The time of schedules, for what is stored.
    fn now(&self) -> Wall;

    /// The same as the hub has it, who puts it right for what it stores.
    fn hub_time(&self) -> Wall {
        self.now()
    }

    /// The time of what this process waits for.
    fn mono(&self) -> Mono;

    /// The present time as the system's clock has it, for comparing with what others signed.
    fn present(&self) -> Wall {
        self.now()
    }

    /// Whether there is a store by now: until then nothing is accepted.
    fn has_store(&self) -> bool {
        true
    }

    /// Whether the server stops: nothing is accepted any more.
    fn is_stopping(&self) -> bool;

    /// Answers what is not a webhook: `/connect` (by an upgrade), `/livez`, `/readyz`, `/health`. Unknown paths get
    /// [`error::Problem::not_found`](crate::error::Problem).
    fn other(&self, request: Request<Incoming>, origin: Origin) -> impl Future<Output = Response<Body>> + Send;
}
