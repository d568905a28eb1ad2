//! Sends what is in line, as much of it at a time as has come.
//!
//! The collector's URL is in the settings of whoever runs the server, and nothing that a sender, a client or the API says has a share
//! in it: unlike other requests of the server it may lead to an address inside, where collectors are, and speak plain HTTP. A redirect is not followed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use relay_core::trace::{Span, Traced};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{TracesConfig, otlp};
use crate::{
    fetch::{Fetcher, Post, Unfetched},
    metrics::Metrics,
    supervise::{Supervisor, TaskKind},
};

/// What one request tells of, at most: about 400 KiB.
const BATCH_MAX: usize = 256;
/// How long what has come waits for more.
const GATHERS_FOR: Duration = Duration::from_secs(1);
/// How long a collector may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to tell the last when the server stops.
const LAST_WITHIN: Duration = Duration::from_secs(2);
/// Pauses before a request is sent once more; behind them what it tells is dropped.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// How often it is said that something was dropped.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// Sends what is in line.
pub(crate) struct Exporter {
    url: Uri,
    headers: Vec<(Bytes, Bytes)>,
    server: String,
    fetcher: Fetcher,
    metrics: Arc<Metrics>,
    came: mpsc::Receiver<Traced>,
    ends: CancellationToken,
    /// Spans on their way.
    sending: usize,
    /// When it was said last that something was dropped, and how much was by then.
    said: Option<Instant>,
    dropped: u64,
    /// Why the last of them were that nothing was said of.
    why: Option<String>,
}

impl Exporter {
    pub(super) fn new(
        config: &TracesConfig,
        server: &str,
        fetcher: Fetcher,
        metrics: Arc<Metrics>,
        (came, ends): (mpsc::Receiver<Traced>, CancellationToken),
    ) -> Self {
        let (url, headers, server) = (config.url.clone(), config.headers.clone(), server.to_owned());
        Self { url, headers, server, fetcher, metrics, came, ends, sending: 0, said: None, dropped: 0, why: None }
    }

    /// Sends in a task of its own, which is not one of those that a store waits for.
    pub(crate) fn spawn(self, supervisor: &Supervisor) {
        supervisor.spawn(TaskKind::Traces, "traces", async move {
            self.run().await;
            Ok(())
        });
    }

    /// Sends until nothing more comes, and a moment longer at most.
    pub(super) async fn run(mut self) {
        let ends = self.ends.clone();
        let is_over = async {
            ends.cancelled().await;
            sleep(LAST_WITHIN).await;
        };
        let has_time = tokio::select! {
            () = self.send_all() => true,
            () = is_over => false,
        };
        if !has_time {
            self.give_up();
        }
    }

    async fn send_all(&mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.gather(&mut batch).await {
            let spans: Vec<Span> = batch.drain(..).flat_map(|traced: Traced| traced.spans()).collect();
            self.sending = spans.len();
            let failed = self.send(&spans).await.err();
            self.sending = 0;
            self.metrics.spans(failed.is_none(), spans.len());
            self.say_dropped(failed.map(|error| error.to_string()));
        }
    }

    /// What is on its way, and what waits behind it.
    fn give_up(&mut self) {
        let mut spans = self.sending;
        while self.came.try_recv().is_ok() {
            spans += Traced::SPANS;
        }
        self.metrics.spans(false, spans);
        self.said = None;
        self.say_dropped(Some("the collector did not take them in time as the server stopped".to_owned()));
    }

    /// Takes what is in line, and what comes for a moment. `false`: nothing comes any more.
    async fn gather(&mut self, batch: &mut Vec<Traced>) -> bool {
        let came = loop {
            // What was dropped is said also where nothing comes behind it.
            let due = self.said.filter(|_| self.has_unsaid()).map(|said| said + SAID_EVERY);
            tokio::select! {
                came = self.came.recv_many(batch, BATCH_MAX) => break came,
                () = self.ends.cancelled() => {
                    self.came.close();
                    break self.came.recv_many(batch, BATCH_MAX).await;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.say_dropped(None),
            }
        };
        let until = Instant::now() + GATHERS_FOR;
        while came > 0 && batch.len() < BATCH_MAX && !self.ends.is_cancelled() {
            tokio::select! {
                more = self.came.recv_many(batch, BATCH_MAX - batch.len()) => if more == 0 { break },
                () = sleep_until(until) => break,
                () = self.ends.cancelled() => break,
            }
        }
        came > 0
    }

    /// Sends these, and again where that may help.
    async fn send(&self, spans: &[Span]) -> Result<(), Unfetched> {
        let body = otlp::request(&self.server, spans);
        let mut pauses = PAUSES.into_iter();
        loop {
            let post = Post {
                url: &self.url,
                headers: &self.headers,
                body: body.clone(),
                allow_private: true,
                allow_plain: true,
                within: ANSWERS_WITHIN,
            };
            let Err(error) = self.fetcher.post(post).await else { return Ok(()) };
            let Some(pause) = pauses.next().filter(|_| may_help(&error) && !self.ends.is_cancelled()) else {
                return Err(error);
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.ends.cancelled() => {}
            }
        }
    }

    fn has_unsaid(&self) -> bool {
        self.metrics.spans_so_far()[1] != self.dropped
    }

    /// Says what was dropped since that was said last: here, or by those who found no room in the line.
    fn say_dropped(&mut self, why: Option<String>) {
        let [_, dropped] = self.metrics.spans_so_far();
        let is_due = self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY);
        self.why = why.or(self.why.take());
        if dropped == self.dropped || !is_due {
            return;
        }
        let why = self.why.take().unwrap_or_else(|| "more came than the collector takes".to_owned());
        let spans = dropped - self.dropped;
        tracing::warn!(event = "traces_dropped", spans, why, "webhooks are not concerned");
        (self.said, self.dropped) = (Some(Instant::now()), dropped);
    }
}

/// Whether the same may be taken a moment later: nobody answered, or he says so.
fn may_help(error: &Unfetched) -> bool {
    error.status.is_none_or(|status| matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504))
}
