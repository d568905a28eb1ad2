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

use std::{panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
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
/// When the file is looked at again that could not be read.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
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
        // What an authority says, and what stands in a file, must end no process: the library panics on some of it.
        let ordered = timeout(ORDER_WITHIN, AssertUnwindSafe(self.orders.order()).catch_unwind()).await;
        self.orders.forget_challenges();
        ordered.unwrap_or_else(|_| Ok(Err(Failed::late()))).unwrap_or_else(|_| Err(Failed::panicked()))?;
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
        let known = match known {
            Ok(Ok(Some(known))) => known,
            Ok(Ok(None)) => return now,
            // Authorities count what they hand out: no order is made while it is not known whether one is needed.
            Ok(Err(_)) | Err(_) => return now + LOOK_AGAIN,
        };
        let life = Life { from: known.from, until: known.until };
        if life.until <= now {
            return now;
        }

        let suggested = AssertUnwindSafe(self.orders.suggested(&known)).catch_unwind().await.unwrap_or(None);
        renew_at(life, suggested, known.roll)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use relay_core::time::Wall;
    use relay_net::tls::Identity;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::fetch::ProxyChoice;

    /// An authority that answers every request with this.
    async fn authority(shown: Arc<tls::Server>, answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let directory = format!("https://localhost:{}/dir", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let Ok(mut socket) = shown.accept(socket, Duration::from_secs(5)).await else { continue };
                let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
                while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
                    let read = socket.read(&mut piece).await.unwrap();
                    asked.extend_from_slice(&piece[..read]);
                }
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
                socket.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                let _ = socket.shutdown().await;
            }
        });
        directory
    }

    /// An authority may say anything; what its library makes of it ends no process.
    #[tokio::test]
    async fn an_authority_that_makes_its_library_panic_is_a_failed_order() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
        let shown = tls::Server::new(&identity, &[]).unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, &pem).unwrap();
        let nowhere = r#"{"newNonce":"","newAccount":"https://localhost/a","newOrder":"https://localhost/o"}"#;
        let directory = authority(Arc::clone(&shown), nowhere).await;
        let domains = vec!["relay.test".to_owned()];
        prepare(dir.path(), &domains).unwrap();
        let config = AcmeConfig { domains, email: None, directory };
        let fetching = Fetching {
            ca_file: Some(ca_file),
            proxy: ProxyChoice::new(|_| None),
            pinned: std::collections::BTreeMap::new(),
            ..Fetching::default()
        };
        let trouble = Trouble::default();
        let acme = Acme::new(config, dir.path().to_owned(), &fetching, shown, None, trouble).unwrap();
        let failed = acme.order().await.expect_err("there is no such thing");
        assert!(failed.to_string().contains("panicked"), "{failed}");
        let now = Wall::MIN + Duration::from_hours(48);
        assert_eq!(acme.due(now).await, now, "there is none yet");
    }
}
