//! The porch: what a listener has whether or not there is a store, and what it says to whoever gets no further.

use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use hyper::Response;
use relay_net::origin::Origin;

use super::{Settings, seam::Body, uploads::Uploads};
use crate::{
    clock::Clock,
    error::{Code, Problem},
    metrics::{Metrics, UNKNOWN_SOURCE},
    refusals::{Missed, Refusals},
};

/// The name that requests without a source are counted under.
pub(super) const UNKNOWN: &str = UNKNOWN_SOURCE;

/// What is written down of requests.
#[derive(Clone)]
pub(crate) struct Books {
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// What sources refused lately.
    pub(crate) refusals: Arc<Refusals>,
}

impl Books {
    /// Counts a connection to the listener of this name whose address has all that one may have, and tells that there are such.
    pub(crate) fn no_share(&self, listener: &'static str, origin: Origin) {
        self.metrics.refused(UNKNOWN, Code::StoreUnavailable.as_str());
        // No source has such a name.
        if let Some(left_out) = self.refusals.may_tell(&format!("/{listener}"), "share_full", self.clock.now().mono) {
            tracing::warn!(
                event = "share_full",
                listener,
                address = %origin.address,
                left_out,
                "an address has all the connections that one may have, and others of it are refused; if a proxy is there, let it \
                 take bodies in whole and bound its connections"
            );
        }
    }
}

/// What a listener has whether or not there is a store.
pub(super) struct Porch {
    pub(super) settings: Settings,
    pub(super) books: Books,
    /// Bodies that are waited for.
    pub(super) uploads: Uploads,
}

impl Porch {
    pub(super) fn new(settings: Settings, books: Books) -> Self {
        Self { uploads: Uploads::new(Arc::clone(&settings.budget)), settings, books }
    }

    /// Counts what belongs to no source.
    pub(super) fn refused(&self, reason: &'static str) {
        self.books.metrics.refused(UNKNOWN, reason);
    }

    /// Counts a request of no source, and answers it.
    pub(super) fn turn_away(&self, problem: &Problem) -> Response<Body> {
        self.refused(problem.code.as_str());
        problem.respond()
    }

    /// How many lines of this kind were left out since the last one, if there may be another.
    pub(super) fn may_tell(&self, source: &str, kind: &'static str) -> Option<u64> {
        self.books.refusals.may_tell(source, kind, self.books.clock.now().mono)
    }

    /// Keeps a request that found nothing, and tells that there are such, without a word of theirs.
    pub(super) fn miss(&self, method: &Method, uri: &Uri, origin: Origin, status: StatusCode) {
        self.keep_miss(method, uri, origin, status);
        // No source has such a name.
        if let Some(left_out) = self.may_tell("/", "nothing_there") {
            let peer = origin.ip().map(|ip| ip.to_string());
            tracing::warn!(
                event = "nothing_there",
                peer,
                left_out,
                "requests to a path or source that there is none of; crm-relay status shows them"
            );
        }
    }

    /// Keeps a request that got nowhere.
    pub(super) fn keep_miss(&self, method: &Method, uri: &Uri, origin: Origin, status: StatusCode) {
        let (method, path) = (Missed::visible(method.as_str().as_bytes()), Missed::visible(uri.path().as_bytes()));
        let (at, status) = (self.books.clock.wall(), status.as_u16());
        self.books.refusals.miss(Missed { at, method, path, origin, status });
    }
}
