//! Requests that are answered without an event: handshakes, and what has to be done before them.

use hyper::Response;
use relay_core::limits;
use relay_net::origin::Origin;
use relay_providers::{Answer, Fetched, Genuine, UNKNOWN_KEY};

use super::{
    door::Door,
    fields::Raw,
    respond,
    seam::Body,
    verify::{Denial, Errand, Head, Judged},
};
use crate::{
    error::{Code, Problem},
    intake::Intake,
};

/// What came of errands.
pub(super) enum Errands {
    /// The request is genuine after all.
    Genuine(Genuine),
    /// This is its answer.
    Answered(Response<Body>),
}

const NO_KEY: Problem =
    Problem::new(Code::StoreUnavailable, "the key to check this with could not be fetched; send it again");
const NOT_CONFIRMED: Problem = Problem::new(Code::StoreUnavailable, "it could not be confirmed; send it again");
const NOT_AWAITED: Problem = Problem::new(Code::NotGenuine, "this source awaits no secret");
const NOT_KEPT: Problem = Problem::new(Code::StoreUnavailable, "the secret could not be kept; send it again");

impl Door {
    /// Answers a handshake: counted, told, nothing stored.
    pub(super) fn shake_hands(&self, source: &Intake, raw: &Raw, answer: Answer) -> Response<Body> {
        let name = source.name.as_str();
        self.books().metrics.handshake(name);
        if let Some(left_out) = self.porch.may_tell(name, "handshake") {
            let method = String::from_utf8_lossy(&raw.method);
            tracing::info!(event = "handshake", source = name, %method, left_out, "answered a handshake");
        }
        respond::handshake(answer)
    }

    /// Fetches the key that a head is judged with, before its body is read: until then the body waits in the network. What the
    /// whole is judged with afterwards is kept by then.
    pub(super) async fn prove(
        &self,
        source: &Intake,
        origin: &Origin,
        raw: &Raw,
        mut url: String,
    ) -> Result<Head, Denial> {
        let mut fetched = Vec::new();
        let mut is_renewed = false;
        loop {
            fetched.push(self.fetch(source, origin, &fetched, url).await?);
            let mut judged = self.judge_head(source, raw, &fetched);
            if matches!(&judged, Err(refused) if refused.reason == UNKNOWN_KEY) && !is_renewed {
                is_renewed = true;
                if self.renew(source, &mut fetched).await {
                    judged = self.judge_head(source, raw, &fetched);
                }
            }
            match judged? {
                Head::NeedsKey(next) => url = next,
                head => return Ok(head),
            }
        }
    }

    /// One key more, if it is not one too many. It is not waited for once the server stops.
    async fn fetch(
        &self,
        source: &Intake,
        origin: &Origin,
        fetched: &[Fetched],
        url: String,
    ) -> Result<Fetched, Denial> {
        if fetched.len() == limits::KEYS_PER_REQUEST || fetched.iter().any(|known| known.url == url) {
            return Err(refused(NO_KEY, "no_key", "the provider asked for too many keys".to_owned()));
        }
        tokio::select! {
            biased;
            key = self.backend.keyring.key(&source.name, origin.address, &url) => match key {
                Ok(body) => Ok(Fetched { url, body }),
                Err(why) => Err(refused(NO_KEY, "no_key", why.to_string())),
            },
            () = self.stop.cancelled() => Err(respond::STOPPING.into()),
        }
    }

    /// Does what has to be done first. Each key is fetched once; a provider that asks for ever more is refused.
    pub(super) async fn run(
        &self,
        mut errand: Errand,
        source: &Intake,
        origin: &Origin,
        (raw, body): (&Raw, &[u8]),
    ) -> Result<Errands, Denial> {
        let mut fetched = Vec::new();
        let mut is_renewed = false;
        loop {
            let url = match errand {
                Errand::Fetch(url) => url,
                Errand::Confirm(url, answer) => {
                    return self.confirm(source, origin, raw, &url, answer).await.map(Errands::Answered);
                }
                Errand::Adopt(parameter, value, answer) => {
                    return self.adopt(source, origin, raw, (parameter, value), answer).await.map(Errands::Answered);
                }
            };
            fetched.push(self.fetch(source, origin, &fetched, url).await?);
            let mut judged = self.judge(source, raw, body, &fetched);
            if matches!(&judged, Judged::Refused(refused) if refused.reason == UNKNOWN_KEY) && !is_renewed {
                is_renewed = true;
                if self.renew(source, &mut fetched).await {
                    judged = self.judge(source, raw, body, &fetched);
                }
            }
            errand = match judged {
                Judged::Genuine(genuine) => return Ok(Errands::Genuine(genuine)),
                Judged::Handshake(answer) => return Ok(Errands::Answered(self.shake_hands(source, raw, answer))),
                Judged::Refused(refused) => return Err(refused),
                Judged::First(errand) => errand,
            };
        }
    }

    /// Fetches anew what may have changed since it was: the platform has new keys. Says whether there is anything new.
    async fn renew(&self, source: &Intake, fetched: &mut [Fetched]) -> bool {
        let mut is_new = false;
        for known in fetched {
            if let Some(body) = self.backend.keyring.renewed(&source.name, &known.url, &known.body).await {
                known.body = body;
                is_new = true;
            }
        }
        is_new
    }

    async fn confirm(
        &self,
        source: &Intake,
        origin: &Origin,
        raw: &Raw,
        url: &str,
        answer: Answer,
    ) -> Result<Response<Body>, Denial> {
        let visited = self.backend.keyring.visit(&source.name, origin.address, url).await;
        visited.map_err(|why| refused(NOT_CONFIRMED, "not_confirmed", why.to_string()))?;
        tracing::info!(event = "confirmed", source = %source.name, "confirmed to the platform, as it asked");
        Ok(self.shake_hands(source, raw, answer))
    }

    async fn adopt(
        &self,
        source: &Intake,
        origin: &Origin,
        raw: &Raw,
        (parameter, value): (&'static str, String),
        answer: Answer,
    ) -> Result<Response<Body>, Denial> {
        let name = &source.name;
        // Whoever comes first is believed, so nobody is who comes unbidden.
        if source.adopts_until.is_none_or(|until| self.clock().wall() >= until) {
            let detail = format!(
                "a secret was handed over and nobody awaits one: if it is the platform, open the window with \
                 crm-relay source await-secret {name} and have it sent again"
            );
            return Err(refused(NOT_AWAITED, "secret_not_awaited", detail));
        }
        let kept = self.backend.adopt(&source.name, *origin, parameter, value).await;
        kept.map_err(|why| refused(NOT_KEPT, "not_adopted", why))?;
        tracing::warn!(
            event = "secret_adopted",
            source = %name,
            parameter,
            peer = origin.ip().map(tracing::field::display),
            "believed to be the platform's; if it was not: crm-relay source await-secret {name} --forget"
        );
        Ok(self.shake_hands(source, raw, answer))
    }
}

fn refused(problem: Problem, reason: &'static str, detail: String) -> Denial {
    Denial { problem, reason, detail: Some(detail) }
}
