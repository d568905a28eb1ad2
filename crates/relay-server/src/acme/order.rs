//! One order: an account, the proof that the names are this server's, a key, a certificate.

use std::{path::PathBuf, sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use relay_core::time::Wall;
use relay_net::tls;

use super::{
    AcmeConfig, Challenges,
    files::{self, Known},
    http::Way,
    schedule::Window,
};

/// How long is asked whether the authority has looked, and then whether the certificate is there.
const POLLED_FOR: Duration = Duration::from_mins(2);
/// What an authority says of an account that it does not have, or that it, or its owner, has put an end to (RFC 8555, sections 6.7
/// and 7.3.6).
const NO_ACCOUNT: [&str; 2] =
    ["urn:ietf:params:acme:error:accountDoesNotExist", "urn:ietf:params:acme:error:unauthorized"];

/// Whom and where orders are made.
pub(super) struct Orders {
    pub(super) config: AcmeConfig,
    pub(super) data_dir: PathBuf,
    pub(super) way: Way,
    /// Shows what is to be found in a handshake.
    pub(super) server: Arc<tls::Server>,
    /// Says what is to be found over plain HTTP, where there is a listener for that.
    pub(super) over_http: Option<Arc<Challenges>>,
}

/// Why no certificate was obtained, in words for an operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(String);

impl Failed {
    /// It took too long.
    pub(super) fn late() -> Self {
        Self("the order was not through within 5 min".to_owned())
    }

    /// It went wrong in a way that nobody had thought of.
    pub(super) fn panicked() -> Self {
        Self("the order panicked on what the authority says, or on acme-account.json in DATA_DIR: if that file is spoilt, remove it".to_owned())
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(why) = cause {
            let more = why.to_string();
            if !said.contains(&more) {
                said = format!("{said}: {more}");
            }
            cause = why.source();
        }
        Self(said)
    }
}

impl From<rcgen::Error> for Failed {
    fn from(error: rcgen::Error) -> Self {
        Self(format!("cannot make a key and a request: {error}"))
    }
}

impl Orders {
    /// Obtains a certificate and writes it.
    ///
    /// # Errors
    /// Why not; the one of before is still there.
    pub(super) async fn order(&self) -> Result<(), Failed> {
        let data_dir = self.data_dir.clone();
        on_disk(move || files::try_to_write(&data_dir)).await?;
        let mut order = self.begin().await?;
        self.prove(&mut order).await?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.config.domains.clone())?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&polled()).await?;
        let data_dir = self.data_dir.clone();
        on_disk(move || files::replace(&data_dir, &key.serialize_pem(), &chain)).await
    }

    /// From when to when the authority would like a certificate to be renewed, if it says so.
    pub(super) async fn suggested(&self, known: &Known) -> Option<Window> {
        let account = self.known_account().await.ok()??;
        let id = CertificateIdentifier::try_from(&known.der).ok()?;
        let (info, _) = account.renewal_info(&id).await.ok()?;
        let wall = |nanos: i128| Wall::from_micros((nanos / 1_000) as i64);
        let (start, end) = (info.suggested_window.start, info.suggested_window.end);
        Some(Window { start: wall(start.unix_timestamp_nanos()), end: wall(end.unix_timestamp_nanos()) })
    }

    fn builder(&self) -> instant_acme::AccountBuilder {
        Account::builder_with_http(Box::new(self.way.clone()))
    }

    /// An order for all names, of the account of before if the authority knows it, else of a new one.
    async fn begin(&self) -> Result<Order, Failed> {
        let names: Vec<Identifier> = self.config.domains.iter().cloned().map(Identifier::Dns).collect();
        let names = NewOrder::new(&names);
        if let Some(account) = self.known_account().await? {
            match account.new_order(&names).await {
                Err(Error::Api(problem))
                    if problem.r#type.as_deref().is_some_and(|kind| NO_ACCOUNT.contains(&kind)) => {}
                begun => return Ok(begun?),
            }
        }
        Ok(self.new_account().await?.new_order(&names).await?)
    }

    async fn known_account(&self) -> Result<Option<Account>, Failed> {
        let (data_dir, config) = (self.data_dir.clone(), self.config.clone());
        let kept = on_disk(move || Ok(files::account(&data_dir, &config.directory, config.email.as_deref())));
        match kept.await? {
            Some(credentials) => match self.builder().from_credentials(credentials).await {
                // What stands in the file is no key: there is no account that it could be.
                Err(Error::Crypto | Error::KeyRejected) => Ok(None),
                known => Ok(Some(known?)),
            },
            None => Ok(None),
        }
    }

    async fn new_account(&self) -> Result<Account, Failed> {
        let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        // Whoever sets ACME_DOMAIN agrees to them; the documents say so.
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = self.builder().create(&new, self.config.directory.clone(), None).await?;
        let (data_dir, config) = (self.data_dir.clone(), self.config.clone());
        on_disk(move || files::keep_account(&data_dir, &config.directory, config.email.as_deref(), &credentials))
            .await?;
        Ok(account)
    }

    /// Proves each name that was not proven lately.
    async fn prove(&self, order: &mut Order) -> Result<(), Failed> {
        let kind = || if self.over_http.is_some() { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
        let mut names = order.authorizations();
        while let Some(name) = names.next().await {
            let mut name = name?;
            match name.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(Failed(format!("the authority has no use for {}", name.identifier()))),
            }
            let none = || Failed(format!("the authority does not check by {:?}", kind()));
            let mut challenge = name.challenge(kind()).ok_or_else(none)?;
            self.answer(&challenge)?;
            challenge.set_ready().await?;
        }
        let polled = order.poll_ready(&polled()).await;
        if matches!(polled, Ok(OrderStatus::Ready)) {
            return Ok(());
        }
        // What was wrong with a name says more than that something was.
        let found = why_not(order).await;
        match (found, polled) {
            (Some(why), _) => Err(why),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(status)) => Err(Failed(format!("the order is {status:?}"))),
        }
    }

    /// Has the answer to a challenge be found.
    fn answer(&self, challenge: &ChallengeHandle<'_>) -> Result<(), Failed> {
        let answer = challenge.key_authorization();
        if let Some(challenges) = &self.over_http {
            challenges.put(challenge.token.clone(), answer.as_str().to_owned());
            return Ok(());
        }
        let name = challenge.identifier().to_string();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.clone()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(answer.digest().as_ref())];
        let certificate = params.self_signed(&key)?.der().clone();
        let shown = self.server.challenge(&name, certificate, &key.into());
        shown.map_err(|error| Failed(format!("cannot make a certificate for the check: {error}")))
    }

    /// There is nothing to be found any more.
    pub(super) fn forget_challenges(&self) {
        match &self.over_http {
            Some(challenges) => challenges.clear(),
            None => self.server.forget_challenges(),
        }
    }
}

const fn polled() -> RetryPolicy {
    RetryPolicy::new().timeout(POLLED_FOR)
}

/// What is done with files is done aside: a disk that hangs holds up this order alone.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failed(format!("cannot work on the files: {error}")))?.map_err(Failed)
}

/// What the authority found at the name that it could not check.
async fn why_not(order: &mut Order) -> Option<Failed> {
    let mut names = order.authorizations();
    while let Some(Ok(mut name)) = names.next().await {
        if name.refresh().await.is_err() {
            continue;
        }
        if let Some(problem) = name.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(Failed(format!("{} could not be checked: {problem}", name.identifier())));
        }
    }
    None
}
