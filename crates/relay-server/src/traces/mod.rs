//! Traces: the way of events, told to a collector over OTLP/HTTP after the fact
//! ([0021](../../../../docs/adr/0021-traces-by-hand.md)).
//!
//! Whoever has taken something in, or heard what came of a try, puts that in line; what spans it makes and how they are written is
//! found out by the one task that sends them.
//!
//! **Invariant:** nothing waits for a collector, and nothing is kept for it but a line of a fixed length: what does not go into it is
//! dropped and counted.

mod exporter;
mod otlp;
mod sighting;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::Uri;
use relay_core::trace::{Sampling, Traced};
use relay_net::sites::is_loopback;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{exporter::Exporter, sighting::Sighting};
use crate::{
    fetch::{CaFileError, Fetcher, Fetching, ProxyChoice},
    metrics::Metrics,
};

/// What waits to be sent, at most: as much as other exporters of this kind hold.
const WAITING_MAX: usize = 2048;

/// Who is told of the way of events, and of which.
#[derive(Clone)]
pub struct TracesConfig {
    /// `TRACES_URL`: where OTLP/HTTP is taken, with its path. It is an operator's own, at any address.
    pub url: Uri,
    /// `TRACES_HEADERS`: fields of each request. `Debug` shows no value.
    pub headers: Vec<(Bytes, Bytes)>,
    /// `TRACES_SAMPLED`.
    pub sampling: Sampling,
}

impl TracesConfig {
    /// How its URL is reached, where others are reached so: what runs on this machine without a proxy.
    fn fetching(&self, others: &Fetching) -> Fetching {
        let is_here = is_loopback(self.url.host().unwrap_or_default().as_bytes());
        let proxy = if is_here { ProxyChoice::default() } else { others.proxy.clone() };
        Fetching { proxy, ..others.clone() }
    }
}

impl fmt::Debug for TracesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, headers: _, sampling } = self;
        f.debug_struct("TracesConfig").field("host", &url.host()).field("sampling", sampling).finish_non_exhaustive()
    }
}

/// Where those put what is traced who have it.
pub(crate) struct Traces {
    sampling: Sampling,
    line: mpsc::Sender<Traced>,
    metrics: Arc<Metrics>,
    ends: CancellationToken,
}

impl Traces {
    /// A line, and who sends what is put in it, for the server of that name.
    ///
    /// # Errors
    /// The authorities of whoever is sent to do not read.
    pub(crate) fn open(
        config: &TracesConfig,
        server: &str,
        others: &Fetching,
        metrics: &Arc<Metrics>,
    ) -> Result<(Arc<Self>, Exporter), CaFileError> {
        let (fetcher, metrics) = (Fetcher::new(config.fetching(others))?, Arc::clone(metrics));
        let (line, came) = mpsc::channel(WAITING_MAX);
        let ends = CancellationToken::new();
        let exporter = Exporter::new(config, server, fetcher, Arc::clone(&metrics), (came, ends.clone()));
        Ok((Arc::new(Self { sampling: config.sampling, line, metrics, ends }), exporter))
    }

    /// Which events are told.
    pub(crate) const fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Puts it in line, if that has room.
    pub(crate) fn put(&self, traced: Traced) {
        if self.line.try_send(traced).is_err() {
            self.metrics.spans(false, Traced::SPANS);
        }
    }

    /// Nothing more comes: what is in line is sent, and then its task ends.
    pub(crate) fn end(&self) {
        self.ends.cancel();
    }
}
