//! Sample webhooks, made and proved as their provider does it.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Method;
use relay_core::time::Wall;
use relay_providers::{Draft, Provider, Signer};
use relay_server::api::{DraftDto, UnsignedAsk};

use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure},
    tamper::{self, Tamper},
};

/// How old a stale sample pretends to be: no provider's requests stay valid that long.
const STALE: Duration = Duration::from_hours(7 * 24);

/// Makes samples of one provider.
pub(crate) struct Sampler {
    /// Which.
    pub(crate) provider: &'static Provider,
    /// Proves them.
    pub(crate) hand: Hand,
    /// The URL as the receiver knows it: some providers sign it.
    pub(crate) known_as: String,
    /// The body; `None`: the provider's own sample, each with its own id.
    pub(crate) body: Option<Bytes>,
    /// What it says that happened; `None`: what the sample says.
    pub(crate) event: Option<String>,
    /// What is spoilt.
    pub(crate) tamper: Option<Tamper>,
}

/// Whose hand signs.
pub(crate) enum Hand {
    /// This process, with parameters that were given to it.
    Here(Box<Signer>),
    /// The server, with the parameters of one of its sources: they do not leave it.
    Server {
        /// Its admin API.
        api: Api,
        /// The source's name.
        source: String,
    },
}

/// No sample that says that.
fn unnameable(provider: &Provider, event: &str) -> Failure {
    let want = format!(
        "the sample of {} cannot say that: its requests have no such name at one place. Send a body of your own: --body FILE",
        provider.title
    );
    Failure::option("--event", event, want)
}

impl Sampler {
    /// The sample of this id.
    ///
    /// # Errors
    /// It cannot be signed, or there is nothing of that kind to spoil.
    pub(crate) async fn make(&self, id: &str, now: Wall) -> Result<Draft, Failure> {
        let mut draft = match &self.event {
            None => self.provider.draft(&self.known_as, id, now),
            Some(event) => {
                let named = self.provider.draft_of(&self.known_as, id, now, event);
                named.ok_or_else(|| unnameable(self.provider, event))?
            }
        };
        if let Some(body) = &self.body {
            draft.body = body.clone();
        }
        let signed = self.hand.sign(draft.clone(), id, now).await?;
        Ok(match self.tamper {
            None => signed,
            Some(Tamper::Body) => tamper::body(signed),
            Some(Tamper::Signature) => tamper::signature(&draft, signed, id).ok_or_else(|| {
                Failure::usage(format!("{} proves nothing that could be spoilt", self.provider.title))
            })?,
            Some(Tamper::Timestamp) => {
                let stale = self.hand.sign(draft, id, now - STALE).await?;
                if stale == signed {
                    return Err(Failure::usage(format!("{} signs no time: nothing to spoil", self.provider.title)));
                }
                stale
            }
        })
    }
}

impl Hand {
    async fn sign(&self, draft: Draft, id: &str, at: Wall) -> Result<Draft, Failure> {
        match self {
            Self::Here(signer) => {
                signer.sign(draft, id, at).map_err(|error| Failure::usage(format!("cannot sign the sample: {error}")))
            }
            Self::Server { api, source } => {
                let path = format!("/api/v1/sources/{}/sign", encode(source));
                let answer: Result<DraftDto, Failure> = api.ask(Method::POST, &path, &unsigned(&draft, id, at)).await;
                let answer = answer.map_err(|failure| match failure.exit {
                    Exit::No => Failure::no(format!("{failure}. Sign here instead: --set NAME=VALUE|NAME=@FILE")),
                    _ => failure,
                })?;
                read(answer).ok_or_else(|| Failure::unreachable(format!("{api} answered something that is no request")))
            }
        }
    }
}

fn unsigned(draft: &Draft, id: &str, at: Wall) -> UnsignedAsk {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    UnsignedAsk {
        method: draft.method.clone(),
        url: draft.url.clone(),
        headers: draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
        body: BASE64_STANDARD.encode(&draft.body),
        id: id.to_owned(),
        at_ms: at.as_millis() as i64,
    }
}

fn read(signed: DraftDto) -> Option<Draft> {
    let DraftDto { method, url, headers, body } = signed;
    Some(Draft {
        method,
        url,
        headers: headers.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value))).collect(),
        body: BASE64_STANDARD.decode(body).ok()?.into(),
    })
}
