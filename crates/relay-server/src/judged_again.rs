//! The verdict on an event that is stored, judged again as its source's secrets are now.
//!
//! **Invariant:** nothing is counted, fetched or kept for it, and what it says holds no byte of a secret. Nothing is refuted by its age, nor by a
//! proof that is not kept with it.

use std::{borrow::Cow, sync::Arc};

use relay_core::{event::Event, time::Wall};
use relay_providers::{Refusal, Request, SignedOver, Verdict, Verifier};
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use crate::{intake::Intake, scan::needle::body_of, state::State};

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
    /// Its body is signed decoded, and does not decode: it is longer then than is decoded for a look, coded in a way that is not read, or broken.
    BodyUnread,
    /// The time in it is apart from that at which it came, by the clocks of then: its platform has that judged with the proof.
    Age,
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
            Self::BodyUnread => "body_unread",
            Self::Age => "age",
        }
    }
}

/// The checks that say no more than when a request was made.
const OF_AGE: [&str; 4] = ["stale_timestamp", "future_timestamp", "expired_token", "future_token"];

/// The place of one event with its body among those that are in memory at a time: free once nobody works with it any more.
pub(crate) type BodyPlace = Arc<OwnedSemaphorePermit>;

/// Judges it beside the threads that answer: a body may be long. Whoever asked may be gone before that is done, its place is not.
pub(crate) async fn judged_again(state: &State, event: &Arc<Event>, held: BodyPlace) -> JudgedAgain {
    let intake = state.registry.directory().intakes.get(&event.source).cloned();
    let (event, public_url, now) = (Arc::clone(event), state.public_url.clone(), state.clock.wall());
    let judged = beside(held, move || judge_as_of(intake.as_deref(), &event, public_url.as_deref(), now));
    judged.await.unwrap_or(JudgedAgain::Unknown(Unjudged::Broken))
}

/// Work that goes on when nobody waits for it any more, and holds the place until then.
fn beside<T: Send + 'static>(held: BodyPlace, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(held);
        done
    })
}

/// What is said of it by a source as it is at that time.
fn judge_as_of(intake: Option<&Intake>, event: &Event, public_url: Option<&str>, now: Wall) -> JudgedAgain {
    if event.is_erased() {
        return JudgedAgain::Unknown(Unjudged::Erased);
    }
    let Some(intake) = intake else { return JudgedAgain::Unknown(Unjudged::NoSource) };
    if intake.broken.is_some() {
        return JudgedAgain::Unknown(Unjudged::Broken);
    }
    let url = url(public_url, event);
    let judged = judge(&intake.verifier, event, url.as_deref());
    let old = intake.old.as_ref().filter(|old| old.is_valid(now) && !matches!(judged, JudgedAgain::Genuine(_)));
    let Some(old) = old else { return judged };
    match (judged, judge(&old.verifier, event, url.as_deref())) {
        (_, JudgedAgain::Genuine(_)) => JudgedAgain::Genuine(By::Old),
        // It may be what proved it.
        (JudgedAgain::Refused(_), JudgedAgain::Unknown(why)) => JudgedAgain::Unknown(why),
        (judged, _) => judged,
    }
}

/// The URL as its sender saw it, for providers that sign it.
fn url(public_url: Option<&str>, event: &Event) -> Option<String> {
    let base = public_url?;
    let path = str::from_utf8(&event.path).ok()?;
    let query = event.query.as_deref().map(str::from_utf8).transpose().ok()?;
    Some(query.map_or_else(|| format!("{base}{path}"), |query| format!("{base}{path}?{query}")))
}

fn judge(verifier: &Verifier, event: &Event, url: Option<&str>) -> JudgedAgain {
    // Another credential that stands where a key stood is not compared with the keys of now.
    if verifier.is_key_source() {
        return JudgedAgain::Unknown(Unjudged::NotKept);
    }
    let verifier = verifier.of_any_age();
    let over = |body: &[u8]| said(&verifier, verifier.judge(&request(event, body, url)));
    // What is not coded is of any length; what is, is decoded no further than a search does it.
    let decoded = || body_of(event, usize::MAX);
    let unread = JudgedAgain::Unknown(Unjudged::BodyUnread);
    match verifier.signed_over() {
        SignedOver::Sent => over(&event.body),
        SignedOver::Decoded => decoded().map_or(unread, |body| over(&body)),
        SignedOver::Either => match over(&event.body) {
            judged @ JudgedAgain::Refused(_) => match decoded() {
                None => unread,
                Some(Cow::Borrowed(_)) => judged,
                Some(Cow::Owned(body)) => over(&body),
            },
            judged => judged,
        },
    }
}

/// It as it came, with this body.
fn request<'a>(event: &'a Event, body: &'a [u8], url: Option<&'a str>) -> Request<'a> {
    Request {
        method: str::from_utf8(&event.method).unwrap_or_default(),
        path: &event.path,
        query: event.query.as_deref(),
        headers: &event.headers,
        body,
        url,
        now: event.received_at,
        fetched: &[],
    }
}

fn said(verifier: &Verifier, verdict: Verdict) -> JudgedAgain {
    match verdict {
        // What it carries beside its proof is another matter: it was taken.
        Verdict::Genuine(_) | Verdict::Malformed(_) => JudgedAgain::Genuine(By::Present),
        Verdict::NeedsKey { .. } => JudgedAgain::Unknown(Unjudged::Fetched),
        Verdict::Handshake(_) | Verdict::Confirm { .. } | Verdict::Adopt { .. } => {
            JudgedAgain::Unknown(Unjudged::Question)
        }
        Verdict::Refused(_) if verifier.strips() => JudgedAgain::Unknown(Unjudged::NotKept),
        Verdict::Refused(refusal) if OF_AGE.contains(&refusal.check) => JudgedAgain::Unknown(Unjudged::Age),
        Verdict::Refused(refusal) => JudgedAgain::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};
    use relay_core::id::IdMint;
    use relay_providers::{Draft, Signer};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{intake::Old, network_policy::Terms, tests};

    const SECRET: &str = "whsec_canary-secret-of-the-source";
    /// Years ago.
    const AT: Wall = Wall::from_micros(1_600_000_000_000_000);
    const PRESENT: JudgedAgain = JudgedAgain::Genuine(By::Present);

    type Settings = &'static [(&'static str, &'static str)];

    fn given(settings: Settings) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn verifier(provider: &str, settings: Settings) -> Verifier {
        Verifier::new(provider, &given(settings)).unwrap()
    }

    fn stripe(secret: &str) -> Verifier {
        Verifier::new("stripe", &[("secret".to_owned(), secret.to_owned())]).unwrap()
    }

    /// As its platform signed it, and as it was received then.
    fn signed(provider: &str, settings: Settings, url: &str, body: &str) -> Event {
        let draft =
            Signer::new(provider, &given(settings)).unwrap().sign(Draft::post(url, body.to_owned()), "evt_1", AT);
        let draft = draft.unwrap();
        let (path, query) = draft.target();
        let (path, query) = (Bytes::from(path.to_owned()), query.map(|query| Bytes::from(query.to_owned())));
        let event = tests::event(&mut IdMint::new(0, 7), AT, "shop");
        Event { method: "POST".into(), path, query, headers: draft.headers, body: draft.body, ..event }
    }

    fn of_stripe() -> Event {
        signed("stripe", &[("secret", SECRET)], "http://h/webhook/shop", r#"{"id":"evt_1"}"#)
    }

    fn source(verifier: Verifier, old: Option<(Verifier, Option<Wall>)>) -> Intake {
        Intake {
            name: "shop".parse().unwrap(),
            provider: verifier.provider().name.to_owned(),
            verifier,
            old: old.map(|(verifier, until)| Old { verifier, since: AT, until }),
            terms: Terms::default(),
            allow_empty: false,
            resends: false,
            paused: false,
            broken: None,
            broken_old: None,
            adopts_until: None,
        }
    }

    fn gzip(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    fn check(judged: &JudgedAgain) -> &str {
        let JudgedAgain::Refused(refusal) = judged else { panic!("{judged:?}") };
        refusal.check
    }

    #[test]
    fn a_signature_holds_however_old_it_is_and_not_over_another_body_or_secret() {
        let event = of_stripe();
        assert_eq!(judge(&stripe(SECRET), &event, None), PRESENT);
        let judged = judge(&stripe("whsec_another"), &event, None);
        assert_eq!(check(&judged), "bad_signature");
        assert!(!format!("{judged:?}").contains("canary"), "{judged:?}");
        let changed = Event { body: Bytes::from_static(b"{}"), ..event };
        assert_eq!(check(&judge(&stripe(SECRET), &changed, None)), "bad_signature");
    }

    /// The clock of the door and that of what is stored may be hours apart, after a sleep or where a clock was set.
    #[test]
    fn a_clock_that_was_apart_refutes_nothing() {
        const MONDAY: Settings = &[("signing_secret", SECRET), ("audience", "https://h/webhook/shop")];
        for apart in [Duration::from_hours(5), Duration::from_hours(500)] {
            for received_at in [AT + apart, AT - apart] {
                let event = Event { received_at, ..of_stripe() };
                assert_eq!(judge(&stripe(SECRET), &event, None), PRESENT);
                assert_eq!(check(&judge(&stripe("whsec_another"), &event, None)), "bad_signature");
            }
        }
        let event = signed("monday", MONDAY, "https://h/webhook/shop", "{}");
        assert_eq!(judge(&verifier("monday", MONDAY), &event, None), PRESENT);
        let event = Event { received_at: AT + Duration::from_hours(5), ..event };
        assert_eq!(judge(&verifier("monday", MONDAY), &event, None), JudgedAgain::Unknown(Unjudged::Age));
    }

    /// What it was proved by is taken out before it is stored: that it is not there says nothing against it, nor does what stands there beside it.
    #[test]
    fn a_key_that_is_not_kept_refutes_nothing() {
        let stripping: [(&str, Settings); 4] = [
            ("api-key", &[("key", "a-key-of-the-source")]),
            ("basic", &[("username", "a"), ("password", "b-password-of-the-source")]),
            ("bigcommerce", &[("header", "x-secret"), ("header_secret", "a-secret-of-the-source")]),
            ("azure-event-grid", &[("secret", "a-secret-of-the-source"), ("subscription", "orders")]),
        ];
        let others = ["Bearer a-token-of-the-target", "Bearer a-key-of-the-source", "Basic YTpi"];
        for (provider, settings) in stripping {
            let verifier = verifier(provider, settings);
            let bare = Event { headers: Vec::new(), ..of_stripe() };
            assert_eq!(judge(&verifier, &bare, None), JudgedAgain::Unknown(Unjudged::NotKept), "{provider}");
            for other in others {
                let event = Event { headers: vec![("authorization".into(), other.into())], ..of_stripe() };
                assert_eq!(
                    judge(&verifier, &event, None),
                    JudgedAgain::Unknown(Unjudged::NotKept),
                    "{provider} {other}"
                );
            }
        }
    }

    /// The provider or its settings are others since: that is what refuses it, and no key that is not kept.
    #[test]
    fn a_proof_that_is_looked_for_elsewhere_by_now_is_refused_with_its_check() {
        let github = verifier("github", &[("secret", SECRET)]);
        assert_eq!(check(&judge(&github, &of_stripe(), None)), "missing_signature");
    }

    #[test]
    fn a_signed_url_is_that_of_now() {
        const TWILIO: Settings = &[("auth_token", "canary0123456789abcdef0123456789")];
        let event = signed("twilio", TWILIO, "https://relay.example.com/webhook/shop?a=1", "From=%2B1&Body=hi");
        let intake = source(verifier("twilio", TWILIO), None);
        assert_eq!(judge_as_of(Some(&intake), &event, Some("https://relay.example.com"), AT), PRESENT);
        let moved = judge_as_of(Some(&intake), &event, Some("https://other.example.com"), AT);
        assert_eq!(check(&moved), "bad_signature");
        assert!(check(&judge_as_of(Some(&intake), &event, None, AT)).starts_with("missing_"));
    }

    #[test]
    fn a_body_that_is_signed_decoded_is_decoded_and_one_that_cannot_be_is_not_judged() {
        for over in ["decoded", "either"] {
            let settings = [("secret".to_owned(), SECRET.to_owned()), ("signed".to_owned(), over.to_owned())];
            let verifier = Verifier::new("github", &settings).unwrap();
            let plain = signed("github", &[("secret", SECRET)], "http://h/webhook/shop", r#"{"a":1}"#);
            assert_eq!(judge(&verifier, &plain, None), PRESENT, "{over}");
            let coded = |coding: &'static str, body: Bytes| {
                let mut headers = plain.headers.clone();
                headers.push(("content-encoding".into(), coding.into()));
                Event { headers, body, ..plain.clone() }
            };
            assert_eq!(judge(&verifier, &coded("gzip", gzip(&plain.body)), None), PRESENT, "{over}");
            assert_eq!(check(&judge(&verifier, &coded("gzip", gzip(b"{}")), None)), "bad_signature", "{over}");
            let unread = JudgedAgain::Unknown(Unjudged::BodyUnread);
            let too_long = gzip(&vec![b' '; (4 << 20) + 1]);
            for event in [coded("br", "x".into()), coded("gzip", "no gzip".into()), coded("gzip", too_long)] {
                assert_eq!(judge(&verifier, &event, None), unread, "{over}");
            }
            // Of one that is not coded there is nothing to decode, however long it is.
            let long = Event { body: vec![b' '; (4 << 20) + 1].into(), ..plain.clone() };
            assert_eq!(check(&judge(&verifier, &long, None)), "bad_signature", "{over}");
        }
    }

    #[test]
    fn what_a_platform_asks_is_no_event_by_now() {
        const SLACK: Settings = &[("signing_secret", SECRET)];
        let asked = r#"{"type":"url_verification","challenge":"abc"}"#;
        let event = signed("slack", SLACK, "http://h/webhook/shop", asked);
        assert_eq!(judge(&verifier("slack", SLACK), &event, None), JudgedAgain::Unknown(Unjudged::Question));
    }

    #[test]
    fn the_secret_that_is_being_replaced_is_as_good_for_as_long_as_it_holds() {
        let (event, later) = (of_stripe(), AT + Duration::from_hours(1));
        let judged = |present: Verifier, old: Verifier, until: Option<Wall>, now: Wall| {
            judge_as_of(Some(&source(present, Some((old, until)))), &event, None, now)
        };
        let (old, new) = (stripe(SECRET), stripe("whsec_another"));
        let of_key = verifier("api-key", &[("key", "a-key-of-the-source")]);
        assert_eq!(judged(new.clone(), old.clone(), None, later), JudgedAgain::Genuine(By::Old));
        assert_eq!(judged(new.clone(), old.clone(), Some(later), AT), JudgedAgain::Genuine(By::Old));
        assert_eq!(check(&judged(new.clone(), old.clone(), Some(later), later)), "bad_signature");
        assert_eq!(judged(old.clone(), new.clone(), None, later), PRESENT);
        // Of the present one nothing is kept, and it is the old one that proved it; or it was that of which nothing is kept.
        assert_eq!(judged(of_key.clone(), old, None, later), JudgedAgain::Genuine(By::Old));
        assert_eq!(judged(new, of_key, None, later), JudgedAgain::Unknown(Unjudged::NotKept));
    }

    /// Whoever asks and hangs up, again and again, has no more bodies worked at than there are places.
    #[tokio::test]
    async fn the_place_is_held_until_the_work_is_done_also_where_nobody_waits_for_it() {
        let bodies = Arc::new(Semaphore::new(1));
        let held = Arc::new(Arc::clone(&bodies).acquire_owned().await.unwrap());
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let work = beside(held, move || goes.recv().unwrap());
        drop(work);
        assert_eq!(bodies.available_permits(), 0);
        go.send(()).unwrap();
        drop(tokio::time::timeout(Duration::from_mins(1), bodies.acquire()).await.unwrap().unwrap());
    }

    #[test]
    fn what_is_erased_or_of_a_source_that_does_not_read_is_not_judged() {
        let unknown = |intake: Option<&Intake>, event: &Event| judge_as_of(intake, event, None, AT);
        let intake = source(stripe(SECRET), None);
        let erased = Event { method: vec![relay_core::event::ERASED].into(), ..of_stripe() };
        assert_eq!(unknown(Some(&intake), &erased), JudgedAgain::Unknown(Unjudged::Erased));
        assert_eq!(unknown(None, &of_stripe()), JudgedAgain::Unknown(Unjudged::NoSource));
        let broken = Intake { broken: Some("no secret".to_owned()), ..intake };
        assert_eq!(unknown(Some(&broken), &of_stripe()), JudgedAgain::Unknown(Unjudged::Broken));
    }
}
