//! Puts a request before its source's verifier, and tells the operator, not the sender, what was wrong.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use relay_core::{storage::Dedupe, time::Wall};
use relay_providers::{Answer, Genuine, Refusal, Request, Verdict};

use super::{fields::Raw, seam::Source};
use crate::error::{Code, Problem};

/// What the ingress does with a request that was judged.
#[derive(Debug)]
pub(super) enum Judged {
    /// Take it in.
    Genuine(Genuine),
    /// Answer this; store nothing.
    Handshake(Answer),
    /// Refuse it.
    Refused {
        /// What the sender is told: nothing that helps to forge.
        problem: Problem,
        /// For counters.
        reason: &'static str,
        /// For the operator.
        detail: Option<Refusal>,
    },
}

/// Judges a request by its raw bytes.
pub(super) fn judge(source: &Source, raw: &Raw, body: &[u8], url: Option<&str>, now: Wall) -> Judged {
    let Ok(method) = std::str::from_utf8(&raw.method) else {
        let problem = Problem::new(Code::Malformed, "the method is not ASCII");
        return Judged::Refused { problem, reason: Code::Malformed.as_str(), detail: None };
    };
    let (path, query) = (raw.path.as_ref(), raw.query.as_deref());
    let request = Request { method, path, query, headers: &raw.headers, body, url, now, fetched: &[] };
    match source.verifier.judge(&request) {
        Verdict::Genuine(genuine) => Judged::Genuine(genuine),
        Verdict::Handshake(answer) => Judged::Handshake(answer),
        Verdict::NeedsKey { .. } | Verdict::Confirm { .. } | Verdict::Adopt { .. } => Judged::Refused {
            problem: Problem::new(Code::StoreUnavailable, "the key to check this with is not here yet; send it again"),
            reason: "needs_key",
            detail: None,
        },
        Verdict::Malformed(refusal) => Judged::Refused {
            // The sender proved itself, so it may know what is wrong.
            problem: Problem::described(Code::Malformed, refusal.detail),
            reason: refusal.check,
            detail: None,
        },
        Verdict::Refused(refusal) => Judged::Refused {
            problem: Problem::new(Code::NotGenuine, "the request did not prove that it may use this source"),
            reason: refusal.check,
            detail: Some(refusal),
        },
    }
}

/// The key under which a repeat of this webhook is found: scoped to the API key, and by the store to the source.
pub(super) fn dedupe(genuine: &Genuine, until: Wall) -> Option<Dedupe> {
    let id = genuine.dedupe.as_deref()?;
    let key = genuine.key.as_deref().unwrap_or_default().as_bytes();
    let mut parts = Vec::with_capacity(id.len() + key.len() + 16);
    for part in [key, id] {
        parts.extend_from_slice(&(part.len() as u64).to_be_bytes());
        parts.extend_from_slice(part);
    }
    Some(Dedupe { key: sha256(&parts), until })
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Log lines about refused requests, at most one a second: strangers can cause as many as they like.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    last_second: AtomicI64,
    suppressed: AtomicU64,
}

impl RefusalLog {
    /// Tells the operator which check failed. The detail is the verifier's: it holds no secret and no payload.
    pub(super) fn note(&self, source: &str, refusal: &Refusal, now: Wall) {
        let second = now.as_micros() / 1_000_000;
        if self.last_second.swap(second, Ordering::Relaxed) == second {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let suppressed = self.suppressed.swap(0, Ordering::Relaxed);
        let (check, detail) = (refusal.check, refusal.detail.as_str());
        tracing::warn!(event = "request_refused", source, check, detail, suppressed, "a request was not genuine");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I20: a dedupe key means something only together with the key that sent it.
    #[test]
    fn dedupe_keys_of_different_senders_or_ids_never_meet() {
        let key = |key: Option<&str>, id: &str| {
            let genuine = Genuine { dedupe: Some(id.into()), key: key.map(str::to_owned), ..Genuine::default() };
            dedupe(&genuine, Wall::MAX).unwrap().key
        };
        assert_eq!(key(Some("a"), "1"), key(Some("a"), "1"));
        assert_ne!(key(Some("a"), "1"), key(Some("b"), "1"));
        assert_ne!(key(Some("a"), "b1"), key(Some("ab"), "1"));
        assert_ne!(key(None, "1"), key(Some("1"), ""));
        assert_eq!(dedupe(&Genuine::default(), Wall::MAX), None);
    }
}
