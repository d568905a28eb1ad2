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
    use std::{path::Path, sync::Mutex};

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use instant_acme::AccountCredentials;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use relay_net::tls::Identity;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::fetch::ProxyChoice;

    const DAY: Duration = Duration::from_hours(24);
    /// Nothing here takes this long.
    const STUCK: Duration = Duration::from_secs(60);

    /// An authority whose every answer is made of the path that is asked for, and of its own URL.
    struct Authority {
        directory: String,
        shown: Arc<tls::Server>,
        ca_file: PathBuf,
        /// The paths, in their order.
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Authority {
        async fn new(dir: &Path, answer: impl Fn(&str, &str) -> String + Send + 'static) -> Self {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            let (pem, key) = (certificate.pem(), key.serialize_pem());
            let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
            let shown = tls::Server::new(&identity, &[]).unwrap();
            let ca_file = dir.join("ca.pem");
            std::fs::write(&ca_file, &pem).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            let (directory, asked) = (format!("{base}/dir"), Arc::<Mutex<Vec<String>>>::default());
            let (listens, told) = (Arc::clone(&shown), Arc::clone(&asked));
            tokio::spawn(async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let Ok(mut socket) = listens.accept(socket, STUCK).await else { continue };
                    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
                    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                        let read = socket.read(&mut piece).await.unwrap();
                        head.extend_from_slice(&piece[..read]);
                    }
                    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
                    let answer = answer(&path, &base);
                    told.lock().unwrap().push(path);
                    let fields = format!("content-length: {}\r\nretry-after: 21600\r\nconnection: close", answer.len());
                    let _ = socket.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{answer}").as_bytes()).await;
                    let _ = socket.shutdown().await;
                }
            });
            Self { directory, shown, ca_file, asked }
        }

        /// A server that has its certificates from here.
        fn serves(&self, data_dir: &Path, domains: &[String]) -> Acme {
            let config = AcmeConfig { domains: domains.to_vec(), email: None, directory: self.directory.clone() };
            let fetching = Fetching {
                ca_file: Some(self.ca_file.clone()),
                proxy: ProxyChoice::new(|_| None),
                pinned: std::collections::BTreeMap::new(),
                ..Fetching::default()
            };
            let shown = Arc::clone(&self.shown);
            Acme::new(config, data_dir.to_owned(), &fetching, shown, None, Trouble::default()).unwrap()
        }

        /// It has given an account, and this certificate, which holds from then on for 90 days.
        fn has_given(&self, data_dir: &Path, domains: &[String], from: Wall) {
            let key = URL_SAFE_NO_PAD.encode(KeyPair::generate().unwrap().serialize_der());
            let text =
                format!(r#"{{"id":"https://localhost/1","key_pkcs8":"{key}","directory":"{}"}}"#, self.directory);
            let credentials: AccountCredentials = serde_json::from_str(&text).unwrap();
            files::keep_account(data_dir, &self.directory, None, &credentials).unwrap();
            let authority = KeyPair::generate().unwrap();
            let mut root = CertificateParams::new(Vec::new()).unwrap();
            root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(domains.to_vec()).unwrap();
            params.use_authority_key_identifier_extension = true;
            params.not_before = date_time_ymd(1970, 1, 1) + from.since(Wall::from_micros(0));
            params.not_after = params.not_before + 90 * DAY;
            let made = params.signed_by(&key, &Issuer::new(root, authority)).unwrap();
            files::replace(data_dir, &key.serialize_pem(), &made.pem()).unwrap();
        }
    }

    fn names() -> Vec<String> {
        vec!["relay.test".to_owned()]
    }

    /// An authority may say anything; what its library makes of it ends no process.
    #[tokio::test]
    async fn an_authority_that_makes_its_library_panic_is_a_failed_order() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = r#"{"newNonce":"","newAccount":"https://localhost/a","newOrder":"https://localhost/o"}"#;
        let authority = Authority::new(dir.path(), move |_, _| nowhere.to_owned()).await;
        prepare(dir.path(), &names()).unwrap();
        let acme = authority.serves(dir.path(), &names());
        let failed = acme.order().await.expect_err("there is no such thing");
        assert!(failed.to_string().contains("panicked"), "{failed}");
        let now = Wall::MIN + Duration::from_hours(48);
        assert_eq!(acme.due(now).await, now, "there is none yet");
    }

    /// What an authority says at `/dir`, and of when it would like a certificate to be renewed.
    fn suggesting(window: String) -> impl Fn(&str, &str) -> String + Send + 'static {
        move |path, base| match path {
            "/dir" => format!(
                r#"{{"newNonce":"{base}/nonce","newAccount":"{base}/account","newOrder":"{base}/order","renewalInfo":"{base}/when"}}"#
            ),
            path if path.starts_with("/when/") => window.clone(),
            _ => String::new(),
        }
    }

    fn window(start: &str, end: &str) -> String {
        format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#)
    }

    /// S31, RFC 9773: a certificate is renewed when its authority would like that, long before a third of its life is left; where it does not
    /// say so, or nothing that makes sense, at that third.
    #[tokio::test]
    async fn a_certificate_is_renewed_when_its_authority_would_like_that() {
        // 2030-01-01, and ten days later.
        let from = Wall::from_micros(1_893_456_000_000_000);
        let now = from + 10 * DAY;
        for (said, is_heard) in [
            (window("2030-01-05T00:00:00Z", "2030-01-06T00:00:00Z"), true),
            (window("2030-01-12T00:00:00Z", "2030-01-14T00:00:00Z"), true),
            (window("2030-01-14T00:00:00Z", "2030-01-12T00:00:00Z"), false),
            (window("2030-03-30T00:00:00Z", "2030-03-31T00:00:00Z"), false),
            (window("soon", "9999999999"), false),
            ("{".to_owned(), false),
            (String::new(), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::new(dir.path(), suggesting(said.clone())).await;
            authority.has_given(dir.path(), &names(), from);
            let due = authority.serves(dir.path(), &names()).due(now).await;
            assert!(authority.asked.lock().unwrap().iter().any(|path| path.starts_with("/when/")), "{said}");
            let third = from + 54 * DAY..from + 61 * DAY;
            assert_eq!((due < from + 14 * DAY, third.contains(&due)), (is_heard, !is_heard), "{said}: {due:?}");
        }
    }

    /// S31: an order is made at once where an authority would like it now.
    #[tokio::test]
    async fn an_authority_that_would_like_it_now_is_asked_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let past = window("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
        let authority = Authority::new(dir.path(), suggesting(past)).await;
        let clock = Clock::start(Wall::MIN);
        authority.has_given(dir.path(), &names(), clock.present() - DAY);
        let acme = authority.serves(dir.path(), &names());
        let asked = async {
            while !authority.asked.lock().unwrap().iter().any(|path| path == "/nonce") {
                tokio::task::yield_now().await;
            }
        };
        let ordered = async {
            tokio::select! { () = acme.keep(clock, || {}) => {}, () = asked => {} }
        };
        timeout(STUCK, ordered).await.expect("an order is begun");
    }
}
