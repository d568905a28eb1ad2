//! Puts a request before its source's verifier.

use aws_lc_rs::digest::{SHA256, digest};
use relay_core::{storage::Dedupe, time::Wall};
use relay_providers::{Answer, BodyShare, ByHead, DedupeKey, Fetched, Genuine, Refusal, Request, Verdict, Verifier};

use super::fields::Raw;
use crate::{
    dedupe_key,
    error::{Code, Problem},
};

/// What the ingress does with a request that was judged.
#[derive(Debug)]
pub(super) enum Judged {
    /// Take it in.
    Genuine(Genuine),
    /// Answer this; store nothing.
    Handshake(Answer),
    /// Do something first, then answer or judge again; store nothing.
    First(Errand),
    /// Refuse it.
    Refused(Denial),
}

/// What has to be done before a request can be answered.
#[derive(Debug)]
pub(super) enum Errand {
    /// Fetch this key, then judge again.
    Fetch(String),
    /// Visit this URL, then answer.
    Confirm(String, Answer),
    /// Keep this parameter of the source, then answer.
    Adopt(&'static str, String, Answer),
}

/// A refusal on its way out: what the sender is told, and what is counted.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    /// What the sender is told: nothing that helps to forge.
    pub(super) problem: Problem,
    /// For counters.
    pub(super) reason: &'static str,
    /// For the operator, where that is more than the problem's own words.
    pub(super) detail: Option<String>,
}

impl Denial {
    /// The same, with why the body was not judged decoded either: for the operator.
    pub(super) fn and_not(mut self, problem: &Problem) -> Self {
        let detail = self.detail.unwrap_or_else(|| self.problem.detail.clone().into_owned());
        self.detail = Some(format!("{detail}; nor is it decoded: {}", problem.detail));
        self
    }

    /// It showed nothing that it is genuine; not: it did, and something else is wrong with it.
    pub(super) fn is_unproven(&self) -> bool {
        self.problem.code == Code::NotGenuine
    }

    pub(super) fn closing_if(mut self, closing: bool) -> Self {
        self.problem.close |= closing;
        self
    }
}

impl From<Problem> for Denial {
    fn from(problem: Problem) -> Self {
        Self { reason: problem.code.as_str(), problem, detail: None }
    }
}

/// What the head alone says of a request, as the ingress sees it.
#[derive(Debug)]
pub(super) enum Head {
    /// The body decides.
    Open,
    /// It proved itself.
    Proven,
    /// This key has to be fetched before more can be said.
    NeedsKey(String),
    /// It may be no more than a handshake, which has a small body; else it is refused so.
    HandshakeAtMost(Denial),
}

/// What a request is judged by, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct By<'a> {
    /// The URL as its sender sees it.
    pub(super) url: Option<&'a str>,
    /// The present time.
    pub(super) now: Wall,
    /// Keys that were fetched for it.
    pub(super) fetched: &'a [Fetched],
}

/// Judges a request by its raw bytes.
pub(super) fn judge(verifier: &Verifier, raw: &Raw, body: &[u8], by: By<'_>) -> Judged {
    let request = match request(raw, body, by) {
        Ok(request) => request,
        Err(refused) => return Judged::Refused(refused),
    };
    match verifier.judge(&request) {
        Verdict::Genuine(genuine) => Judged::Genuine(genuine),
        Verdict::Handshake(answer) => Judged::Handshake(answer),
        Verdict::NeedsKey { url } => Judged::First(Errand::Fetch(url)),
        Verdict::Confirm { url, answer } => Judged::First(Errand::Confirm(url, answer)),
        Verdict::Adopt { parameter, value, answer } => Judged::First(Errand::Adopt(parameter, value, answer)),
        // The sender proved itself, so it may know what is wrong.
        Verdict::Malformed(Refusal { check, detail, .. }) => Judged::Refused(Denial {
            problem: Problem::described(Code::Malformed, detail),
            reason: check,
            detail: None,
        }),
        Verdict::Refused(refusal) => Judged::Refused(not_genuine(refusal)),
    }
}

/// Judges a request by its head, so that nobody is listened to who cannot prove himself.
pub(super) fn judge_head(verifier: &Verifier, raw: &Raw, by: By<'_>) -> Result<Head, Denial> {
    match verifier.judge_head(&request(raw, b"", by)?) {
        ByHead::Open => Ok(Head::Open),
        ByHead::Proven => Ok(Head::Proven),
        ByHead::NeedsKey { url } => Ok(Head::NeedsKey(url)),
        ByHead::Refused { refusal, or_handshake: true } => Ok(Head::HandshakeAtMost(not_genuine(refusal))),
        ByHead::Refused { refusal, or_handshake: false } => Err(not_genuine(refusal)),
    }
}

fn request<'a>(raw: &'a Raw, body: &'a [u8], By { url, now, fetched }: By<'a>) -> Result<Request<'a>, Denial> {
    let method = std::str::from_utf8(&raw.method);
    let method = method.map_err(|_| Problem::new(Code::Malformed, "the method is not ASCII"))?;
    let (path, query) = (raw.path.as_ref(), raw.query.as_deref());
    Ok(Request { method, path, query, headers: &raw.headers, body, url, now, fetched })
}

fn not_genuine(Refusal { check, detail, status }: Refusal) -> Denial {
    Denial { problem: NOT_GENUINE.with_status(status), reason: check, detail: Some(detail) }
}

const NOT_GENUINE: Problem = Problem::new(Code::NotGenuine, "the request did not prove that it may use this source");

/// The key under which a repeat of this webhook is found: scoped to the API key, and by the store to the source. Where the
/// id is not enough, the body has a share in it, so that another body is never taken for a repeat.
pub(super) fn dedupe(genuine: &Genuine, body_sha256: &[u8; 32], until: Wall) -> Option<Dedupe> {
    let DedupeKey { id, body } = genuine.dedupe.as_ref()?;
    let key = genuine.key.as_deref().unwrap_or_default().as_bytes();
    let body: &[u8] = match body {
        BodyShare::Nothing => &[],
        BodyShare::Whole => body_sha256,
        BodyShare::ButAttempts(digest) => digest,
    };
    Some(Dedupe { key: dedupe_key::of(key, id, body), until })
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I20: an id that is not a delivery's own counts together with the body.
    #[test]
    fn another_body_is_another_key_where_the_body_has_a_share() {
        let key = |body, sha256: u8| {
            let id = DedupeKey { id: b"1".to_vec(), body };
            let genuine = Genuine { dedupe: Some(id), ..Genuine::default() };
            dedupe(&genuine, &[sha256; 32], Wall::MAX).unwrap().key
        };
        assert_eq!(key(BodyShare::Nothing, 1), key(BodyShare::Nothing, 2));
        assert_ne!(key(BodyShare::Whole, 1), key(BodyShare::Whole, 2));
        assert_eq!(key(BodyShare::ButAttempts([7; 32]), 1), key(BodyShare::ButAttempts([7; 32]), 2));
        assert_ne!(key(BodyShare::Nothing, 1), key(BodyShare::Whole, 1));
    }

    /// I20: a dedupe key means something only together with the key that sent it.
    #[test]
    fn dedupe_keys_of_different_senders_or_ids_never_meet() {
        let key = |key: Option<&str>, id: &str| {
            let id = DedupeKey { id: id.into(), body: BodyShare::Nothing };
            let genuine = Genuine { dedupe: Some(id), key: key.map(Into::into), ..Genuine::default() };
            dedupe(&genuine, &[0; 32], Wall::MAX).unwrap().key
        };
        assert_eq!(key(Some("a"), "1"), key(Some("a"), "1"));
        assert_ne!(key(Some("a"), "1"), key(Some("b"), "1"));
        assert_ne!(key(Some("a"), "b1"), key(Some("ab"), "1"));
        assert_ne!(key(None, "1"), key(Some("1"), ""));
        assert_eq!(dedupe(&Genuine::default(), &[0; 32], Wall::MAX), None);
    }
}
