//! The verdict on an event that is stored, judged again as its source's secrets are now.
//!
//! **Invariant:** nothing is counted, fetched or kept for it, and what it says holds no byte of a secret. It judges as of the moment at which the
//! event was received, so that age alone refutes nothing.

use std::sync::Arc;

use relay_core::event::Event;
use relay_providers::{Refusal, Request, SignedOver, Verdict, Verifier};

use crate::{intake::Intake, scan::needle::body_of, state::State};

/// A body that is judged decoded is decoded up to so many bytes.
const DECODED_BYTES_MAX: usize = 4 << 20;

/// What is said of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JudgedAgain {
    /// Its proof holds under a secret that the source has.
    Genuine(By),
    /// It does not.
    Refused(Refusal),
    /// There is nothing to judge it by.
    Unknown(Unjudged),
}

/// Which secret it holds under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// One of the present ones.
    Present,
    /// One that is being replaced.
    Old,
}

/// Why it cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unjudged {
    /// What was received is erased.
    Erased,
    /// Its source is deleted, and its secrets with it.
    NoSource,
    /// The settings of its source do not read.
    Broken,
    /// A key or a password proved it, which is not kept with it.
    NotKept,
    /// The platform's key is fetched when a webhook comes, and not for a look.
    Fetched,
    /// Its source takes such a request for a question of its platform by now.
    Question,
}

impl Unjudged {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::NoSource => "no_source",
            Self::Broken => "source_broken",
            Self::NotKept => "not_kept",
            Self::Fetched => "key_fetched",
            Self::Question => "handshake",
        }
    }
}

/// Judges it beside the threads that answer: a body may be long.
pub(crate) async fn judged_again(state: &State, event: &Arc<Event>) -> JudgedAgain {
    if event.is_erased() {
        return JudgedAgain::Unknown(Unjudged::Erased);
    }
    let Some(intake) = state.registry.directory().intakes.get(&event.source).cloned() else {
        return JudgedAgain::Unknown(Unjudged::NoSource);
    };
    if intake.broken.is_some() {
        return JudgedAgain::Unknown(Unjudged::Broken);
    }
    let (event, public_url, now) = (Arc::clone(event), state.public_url.clone(), state.clock.wall());
    let judged = tokio::task::spawn_blocking(move || {
        let url = url(&intake, public_url.as_deref(), &event);
        let judge = |verifier| judge(verifier, &event, url.as_deref());
        let judged = judge(&intake.verifier);
        let old = intake.old.as_ref().filter(|old| old.is_valid(now));
        match (judged, old) {
            (JudgedAgain::Refused(refusal), Some(old)) => match judge(&old.verifier) {
                JudgedAgain::Genuine(_) => JudgedAgain::Genuine(By::Old),
                _ => JudgedAgain::Refused(refusal),
            },
            (judged, _) => judged,
        }
    });
    judged.await.unwrap_or(JudgedAgain::Unknown(Unjudged::Broken))
}

/// The URL as its sender saw it, for providers that sign it.
fn url(intake: &Intake, public_url: Option<&str>, event: &Event) -> Option<String> {
    let base = public_url.filter(|_| !intake.verifier.is_key_source())?;
    let path = str::from_utf8(&event.path).ok()?;
    let query = event.query.as_deref().map(str::from_utf8).transpose().ok()?;
    Some(query.map_or_else(|| format!("{base}{path}"), |query| format!("{base}{path}?{query}")))
}

fn judge(verifier: &Verifier, event: &Event, url: Option<&str>) -> JudgedAgain {
    let decoded = || body_of(event, DECODED_BYTES_MAX);
    let over = |body: &[u8]| {
        let request = Request {
            method: str::from_utf8(&event.method).unwrap_or_default(),
            path: &event.path,
            query: event.query.as_deref(),
            headers: &event.headers,
            body,
            url,
            now: event.received_at,
            fetched: &[],
        };
        said(verifier.judge(&request))
    };
    match (verifier.signed_over(), over(&event.body)) {
        (SignedOver::Sent, judged) | (_, judged @ (JudgedAgain::Genuine(_) | JudgedAgain::Unknown(_))) => judged,
        (_, judged) => decoded().map_or(judged, |body| over(&body)),
    }
}

fn said(verdict: Verdict) -> JudgedAgain {
    match verdict {
        // What it carries beside its proof is another matter: it was taken.
        Verdict::Genuine(_) | Verdict::Malformed(_) => JudgedAgain::Genuine(By::Present),
        Verdict::NeedsKey { .. } => JudgedAgain::Unknown(Unjudged::Fetched),
        Verdict::Handshake(_) | Verdict::Confirm { .. } | Verdict::Adopt { .. } => {
            JudgedAgain::Unknown(Unjudged::Question)
        }
        Verdict::Refused(refusal) if refusal.check.starts_with("missing_") => JudgedAgain::Unknown(Unjudged::NotKept),
        Verdict::Refused(refusal) => JudgedAgain::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use relay_core::{id::IdMint, time::Wall};
    use relay_providers::{Draft, Signer};

    use super::*;
    use crate::tests;

    const SECRET: &str = "whsec_canary-secret-of-the-source";

    fn verifier(secret: &str) -> Verifier {
        Verifier::new("stripe", &[("secret".to_owned(), secret.to_owned())]).unwrap()
    }

    /// As the platform signed it years ago.
    fn signed() -> Event {
        let at = Wall::from_micros(1_600_000_000_000_000);
        let signer = Signer::new("stripe", &[("secret".to_owned(), SECRET.to_owned())]).unwrap();
        let draft = signer.sign(Draft::post("http://h/webhook/shop", r#"{"id":"evt_1"}"#), "evt_1", at).unwrap();
        Event { headers: draft.headers, body: draft.body, ..tests::event(&mut IdMint::new(0, 7), at, "shop") }
    }

    #[test]
    fn a_signature_holds_however_old_it_is_and_not_over_another_body_or_secret() {
        let event = signed();
        assert_eq!(judge(&verifier(SECRET), &event, None), JudgedAgain::Genuine(By::Present));
        let judged = judge(&verifier("whsec_another"), &event, None);
        let JudgedAgain::Refused(refusal) = &judged else { panic!("{judged:?}") };
        assert_eq!(refusal.check, "bad_signature");
        assert!(!format!("{judged:?}").contains("canary"), "{judged:?}");
        let changed = Event { body: Bytes::from_static(b"{}"), ..event };
        assert!(matches!(judge(&verifier(SECRET), &changed, None), JudgedAgain::Refused(_)));
    }

    /// What it was proved by is taken out before it is stored: that it is not there says nothing against it.
    #[test]
    fn a_key_that_is_not_kept_refutes_nothing() {
        let keys = Verifier::new("api-key", &[("key".to_owned(), "a-key-of-the-source".to_owned())]).unwrap();
        let basic = [("username".to_owned(), "a".to_owned()), ("password".to_owned(), "b".to_owned())];
        let basic = Verifier::new("basic", &basic).unwrap();
        for verifier in [keys, basic] {
            let stripped = Event { headers: Vec::new(), ..signed() };
            assert_eq!(judge(&verifier, &stripped, None), JudgedAgain::Unknown(Unjudged::NotKept));
        }
    }
}
