//! What holds of every provider's proof, wherever it stands.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Refusal, Verdict, provider, providers};

use crate::acting::{Acting, URL};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
/// These name a webhook where no header field is signed, or are a text that anybody may send.
const NAMES: &[&str] = &["idempotency-key", "i-twilio-idempotency-token", "x-goog-pubsub-message-id"];

/// The fields that signing added to a provider's sample, with its signed sample.
fn proofs(acting: &Acting) -> (Draft, Vec<usize>) {
    let before = acting.provider.draft(URL, "wh_1", NOW);
    let signed = acting.sample("wh_1", NOW);
    let is_proof = |name: &str| {
        before.header(name).is_none()
            && !NAMES.contains(&name)
            && !(name == "webhook-id" && acting.provider.name == "hmac")
    };
    let names = signed.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).enumerate();
    let proofs = names.filter(|(_, name)| is_proof(name)).map(|(index, _)| index).collect();
    (signed, proofs)
}

fn refusal(acting: &Acting, draft: &Draft) -> Refusal {
    match acting.judge(draft, NOW) {
        Verdict::Refused(refusal) | Verdict::Malformed(refusal) => refusal,
        other => panic!("{}: {other:?}", acting.provider.name),
    }
}

/// S28: no proof is compared by its beginning, its end or without regard to case.
#[test]
fn a_piece_of_a_proof_is_none() {
    for acting in providers().iter().map(Acting::new) {
        let (signed, proofs) = proofs(&acting);
        for index in proofs {
            let (name, value) = &signed.headers[index];
            let is_genuine = |value: Vec<u8>| {
                let mut bent = signed.clone();
                bent.headers[index].1 = value.into();
                acting.is_genuine(&bent, NOW)
            };
            let about = || format!("{}: {}", acting.provider.name, String::from_utf8_lossy(name));
            for end in 0..value.len() {
                assert!(!is_genuine(value[..end].to_vec()), "{}: its first {end} bytes", about());
                let rest = &value[end + 1..];
                // A token is taken without its scheme too.
                let is_whole = value.strip_prefix(b"Bearer ") == Some(rest.trim_ascii());
                assert!(is_whole || !is_genuine(rest.to_vec()), "{}: all after {end} bytes", about());
            }
            for more in [&b"0"[..], b"=", b"A", b",", b"\0", b" x"] {
                let is_longer = is_genuine([value, more].concat());
                // A list may end with nothing, or go on with what is no signature.
                assert!(
                    !is_longer || more == b"," || (more == b" x" && value.starts_with(b"v1,")),
                    "{}: {more:?}",
                    about()
                );
            }
        }
    }
}

/// S28: a field that is there twice with different values is nobody's to choose from, whichever is the good one.
#[test]
fn two_different_proofs_in_two_fields_of_a_name_are_none() {
    // Any of several keys will do, as the other is a stranger's guess.
    const KEYS: &[&str] = &["api-key", "bearer"];
    for acting in providers().iter().filter(|entry| !KEYS.contains(&entry.name)).map(Acting::new) {
        let (signed, proofs) = proofs(&acting);
        for index in proofs {
            let (name, value) = signed.headers[index].clone();
            for at in [0, signed.headers.len()] {
                let mut twice = signed.clone();
                twice.headers.insert(at, (name.clone(), Bytes::from([&b"0"[..], &value].concat())));
                assert!(!acting.is_genuine(&twice, NOW), "{}: {name:?} at {at}", acting.provider.name);
            }
            let mut same = signed.clone();
            same.headers.push((name.clone(), value));
            assert!(acting.is_genuine(&same, NOW), "{}: {name:?} twice", acting.provider.name);
        }
    }
}

/// Whoever sets up a proxy that takes fields away learns of all of them at once.
#[test]
fn a_refusal_names_every_header_field_that_is_missing() {
    for (name, check, detail) in [
        ("slack", "missing_signature", "no x-slack-signature and x-slack-request-timestamp header fields"),
        ("svix", "missing_signature", "no svix-signature, svix-id and svix-timestamp header fields"),
        (
            "standard-webhooks",
            "missing_signature",
            "no webhook-signature, webhook-id and webhook-timestamp header fields",
        ),
        ("github", "missing_signature", "no x-hub-signature-256 header field"),
        (
            "box",
            "missing_signature",
            "no box-signature-primary or box-signature-secondary, box-signature-version, box-signature-algorithm and \
             box-delivery-timestamp header fields",
        ),
        (
            "paypal",
            "missing_signature",
            "no paypal-transmission-sig, paypal-transmission-id, paypal-transmission-time, paypal-auth-algo and \
             paypal-cert-url header fields",
        ),
        (
            "contentful",
            "missing_signature",
            "no x-contentful-signature, x-contentful-signed-headers and x-contentful-timestamp header fields",
        ),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let refusal = refusal(&acting, &Draft::post(URL, "{}"));
        assert_eq!((refusal.check, &*refusal.detail), (check, detail), "{name}");
    }
    for acting in providers().iter().map(Acting::new) {
        let (signed, proofs) = proofs(&acting);
        let required: Vec<usize> = proofs
            .into_iter()
            .filter(|index| {
                let mut without = signed.clone();
                without.headers.remove(*index);
                matches!(acting.judge(&without, NOW), Verdict::Refused(refusal) if refusal.check.starts_with("missing_"))
            })
            .collect();
        let mut without = signed.clone();
        for index in required.iter().rev() {
            without.headers.remove(*index);
        }
        let Verdict::Refused(refusal) = acting.judge(&without, NOW) else { continue };
        for index in required {
            let name = String::from_utf8_lossy(&signed.headers[index].0).into_owned();
            let detail = refusal.detail.to_ascii_lowercase();
            // A numbered family is named without its number.
            let is_named =
                detail.contains(&name) || detail.contains(name.trim_end_matches(|last: char| last.is_ascii_digit()));
            assert!(is_named, "{}: {name} is not in {detail:?}", acting.provider.name);
        }
    }
}
