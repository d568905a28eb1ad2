//! The public listener's certificate from an authority (ACME, RFC 8555): ordered, renewed, and told of where that fails.
//!
//! What is obtained is written to `DATA_DIR/acme-certificate.pem`, from where the listener shows it like any other file's. Until there
//! is one it shows a certificate that nobody takes, so that the authority finds a listener and everybody else an error that says why.
//!
//! **Invariant:** no failure here ends or delays anything else.

mod challenges;
mod files;
mod http;
mod order;
mod schedule;

use std::{path::PathBuf, sync::Arc, time::Duration};

use relay_core::time::Wall;
use relay_net::tls::{self, TlsError};
use tokio::time::{sleep, timeout};

use crate::{
    certificate::{TlsFiles, Trouble},
    clock::Clock,
    fetch::Fetching,
};

pub(crate) use challenges::Challenges;
pub(crate) use files::prepare;

use order::{Failed, Orders};
use schedule::{Life, renew_at, retry_in};

/// How long an order may take: the authority looks for the challenges from several places.
const ORDER_WITHIN: Duration = Duration::from_mins(5);
/// Between two orders that came to something: whatever an authority hands out, it is not asked again and again.
const ORDER_EVERY: Duration = Duration::from_hours(1);
/// Between two questions to an authority when it would like a certificate to be renewed.
const ASK_EVERY: Duration = Duration::from_hours(6);

/// For which names a certificate is ordered, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names; the first is that of the order.
    pub domains: Vec<String>,
    /// Whom the authority writes to.
    pub email: Option<String>,
    /// The authority's directory.
    pub directory: String,
}

/// Orders certificates for as long as it runs.
pub(crate) struct Acme {
    orders: Orders,
    files: TlsFiles,
    trouble: Trouble,
}

impl Acme {
    /// Asks nobody anything yet. Challenges are answered over plain HTTP if `over_http`, else in handshakes of `server`.
    ///
    /// # Errors
    /// There are no roots to trust the authority by.
    pub(crate) fn new(
        config: AcmeConfig,
        data_dir: PathBuf,
        fetching: &Fetching,
        server: Arc<tls::Server>,
        over_http: Option<Arc<Challenges>>,
        trouble: Trouble,
    ) -> Result<Self, TlsError> {
        let way = http::Way { tls: tls::client(fetching.ca_file.as_deref())?, proxy: fetching.proxy.clone() };
        let files = files::of(&data_dir);
        Ok(Self { orders: Orders { config, data_dir, way, server, over_http }, files, trouble })
    }

    /// Keeps a certificate for as long as it is polled; `renewed` is called after each that was written.
    pub(crate) async fn keep(self, clock: Clock, renewed: impl Fn()) {
        let mut failures = 0;
        self.trouble.is(Some("it is being ordered".to_owned()));
        loop {
            let due = self.due(clock.present()).await;
            // A clock that is set meanwhile is noticed at the next look.
            let wait = due.since(clock.present()).min(ASK_EVERY);
            if !wait.is_zero() {
                self.trouble.is(None);
                sleep(wait).await;
                continue;
            }
            let pause = match self.order().await {
                Ok(()) => {
                    failures = 0;
                    renewed();
                    ORDER_EVERY
                }
                Err(why) => {
                    failures += 1;
                    self.failed(&why, failures)
                }
            };
            sleep(pause).await;
        }
    }

    /// One order, whose challenges are forgotten also where it was given up half way.
    async fn order(&self) -> Result<(), Failed> {
        let ordered = timeout(ORDER_WITHIN, self.orders.order()).await;
        self.orders.forget_challenges();
        ordered.unwrap_or_else(|_| Err(Failed::late()))?;
        self.trouble.is(None);
        tracing::info!(event = "acme_obtained", names = self.orders.config.domains.join(","));
        Ok(())
    }

    /// Tells why an order failed, and when the next is made.
    fn failed(&self, why: &Failed, failures: u32) -> Duration {
        let (wait, why) = (retry_in(failures, rand::random()), why.to_string());
        tracing::warn!(
            event = "acme_failed",
            names = self.orders.config.domains.join(","),
            error = why,
            failures,
            retry_in_s = wait.as_secs(),
            "no certificate was obtained; the one of before goes on being shown"
        );
        self.trouble.is(Some(why));
        wait
    }

    /// When the next certificate is to be ordered: now, where there is none for these names.
    async fn due(&self, now: Wall) -> Wall {
        let (files, domains) = (self.files.clone(), self.orders.config.domains.clone());
        // A disk that hangs holds up this task alone.
        let known = tokio::task::spawn_blocking(move || files::known(&files, &domains)).await;
        let Ok(Some(known)) = known else { return now };
        let life = Life { from: known.from, until: known.until };
        if life.until <= now {
            return now;
        }

        let suggested = self.orders.suggested(&known).await;
        renew_at(life, suggested, known.roll)
    }
}
