//! What holds for any bytes: what is signed is verified, one flipped bit is refused, nothing panics.

use std::sync::LazyLock;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::RngSeed};
use relay_core::time::Wall;
use relay_providers::{Draft, Request, Signer, Verdict, Verifier, providers};

use crate::{
    acting::{Acting, URL},
    agree::agree,
};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
/// A secret is sent along, or the signature covers parts of the body, or something else: see each one's `unproven`.
const BODY_OPEN: &[&str] = &[
    "adyen",
    "api-key",
    "aws-sns",
    "azure-event-grid",
    "basic",
    "bearer",
    "cloudevents",
    "freshdesk",
    "google-pubsub",
    "mailgun",
    "mercadopago",
    "microsoft-graph",
    "monday",
    "okta",
    "pipedrive",
    "postmark",
    "salesforce",
    "telegram",
    "zoho-crm",
];

/// What is signed are the fields of a form, decoded.
const FORMS: &[&str] = &["braintree", "mandrill", "twilio"];

/// Every provider, acted by its own signer.
fn all() -> impl Strategy<Value = &'static Acting> {
    static ALL: LazyLock<Vec<Acting>> = LazyLock::new(|| providers().iter().map(Acting::new).collect());
    any::<Index>().prop_map(|index| &ALL[index.index(ALL.len())])
}

/// Names and values such as the provider looks for, with any bytes among them.
fn any_headers(names: &[String]) -> impl Strategy<Value = Vec<(Bytes, Bytes)>> + use<> {
    let names: Vec<String> = names.iter().cloned().chain(["content-type".to_owned()]).collect();
    let value = prop_oneof![
        vec(any::<u8>(), 0..64),
        "(v1,|v1=|v0=|sha256=|sha1=|t=1,v1=)?[A-Za-z0-9+/=, ;]{0,64}".prop_map(String::into_bytes),
        "(Basic|Bearer) [A-Za-z0-9+/=._-]{0,64}".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
            .prop_map(String::into_bytes),
    ];
    let name = any::<Index>().prop_map(move |index| Bytes::from(names[index.index(names.len())].clone()));
    vec((name, value.prop_map(Bytes::from)), 0..12)
}

/// Bodies that get far into a parser.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..256),
        "\\{(\"[a-z_.]{1,12}\":(\"\\PC{0,12}\"|[0-9]{1,20}|null|\\[\\]|\\{\\}),?){0,6}\\}?"
            .prop_map(String::into_bytes),
        "([a-z_]{1,10}=[%a-zA-Z0-9+]{0,20}&?){0,8}".prop_map(String::into_bytes),
        "<[a-zA-Z:]{1,8}>[^<]{0,20}(</[a-zA-Z:]{1,8}>)?".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_048,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_signed_is_genuine_at_any_time(acting in all(), id in "[!-~]{1,200}", seconds in 1_000_000_000_i64..1 << 33) {
        let now = Wall::from_micros(seconds * 1_000_000);
        let draft = acting.provider.draft(URL, "wh_1", now);
        let signed = acting.signer.sign(draft, &id, now).expect("a sample can be signed");
        prop_assert!(acting.is_genuine(&signed, now), "{}: {:?}", acting.provider.name, acting.judge(&signed, now));
    }

    #[test]
    fn any_body_that_can_be_signed_is_taken(acting in all(), body in any_body(), id in "[a-z0-9]{1,40}") {
        if let Ok(signed) = acting.signer.sign(Draft::post(URL, body), &id, NOW) {
            let verdict = acting.judge(&signed, NOW);
            let name = acting.provider.name;
            prop_assert!(matches!(verdict, Verdict::Genuine(_) | Verdict::Handshake(_)), "{name}: {verdict:?}");
        }
    }

    #[test]
    fn one_flipped_bit_of_a_signed_body_is_refused(acting in all(), at in any::<Index>(), bit in 0_u8..8) {
        prop_assume!(!BODY_OPEN.contains(&acting.provider.name));
        let mut signed = acting.sample("wh_1", NOW);
        let mut body = signed.body.to_vec();
        let at = at.index(body.len());
        body[at] ^= 1_u8 << bit;
        // In forms, escapes of either case are the same bytes.
        prop_assume!(!FORMS.contains(&acting.provider.name) || !body.eq_ignore_ascii_case(&signed.body));
        signed.body = body.into();
        prop_assert!(!acting.is_genuine(&signed, NOW), "{}", acting.provider.name);
    }

    #[test]
    fn one_flipped_bit_of_a_proof_is_refused(acting in all(), which in any::<Index>(), at in any::<Index>(), bit in 0_u8..8) {
        let before = acting.provider.draft(URL, "wh_1", NOW);
        let mut signed = acting.sample("wh_1", NOW);
        let is_proof = |name: &[u8]| before.header(&String::from_utf8_lossy(name)).is_none()
            // These name a webhook at senders that sign no header field.
            && !(name == b"idempotency-key" || name == b"i-twilio-idempotency-token"
                || name == b"x-goog-pubsub-message-id" || name == b"webhook-id" && acting.provider.name == "hmac");
        let proofs: Vec<usize> = (0..signed.headers.len()).filter(|index| is_proof(&signed.headers[*index].0)).collect();
        prop_assume!(!proofs.is_empty());
        let (_, value) = &mut signed.headers[proofs[which.index(proofs.len())]];
        let mut flipped = value.to_vec();
        let at = at.index(flipped.len());
        flipped[at] ^= 1_u8 << bit;
        // Hex digits of either case are the same bytes, and so are the names of schemes.
        prop_assume!(!flipped.eq_ignore_ascii_case(value));
        *value = flipped.into();
        prop_assert!(!acting.is_genuine(&signed, NOW), "{}: {:?}", acting.provider.name, signed.headers);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic_and_never_genuine(
        (acting, headers) in all().prop_flat_map(|acting| (Just(acting), any_headers(acting.verifier.protected_headers()))),
        method in "GET|HEAD|POST|OPTIONS|PUT",
        query in proptest::option::of("([a-z_.]{1,12}=[%a-zA-Z0-9+]{0,20}&?){0,4}"),
        body in any_body(),
        micros in any::<i64>(),
    ) {
        let request = Request {
            method: &method,
            path: b"/webhook/x",
            query: query.as_deref().map(str::as_bytes),
            headers: &headers,
            body: &body,
            url: Some(URL),
            now: Wall::from_micros(micros),
            fetched: &acting.fetched,
        };
        prop_assert!(!matches!(acting.verifier.judge(&request), Verdict::Genuine(_)), "{}", acting.provider.name);
        agree(&acting.verifier, &request);
    }

    #[test]
    fn a_good_request_with_a_piece_replaced_is_judged_without_a_panic(
        acting in all(),
        which in any::<Index>(),
        (from, to) in (any::<Index>(), any::<Index>()),
        piece in vec(any::<u8>(), 0..16),
    ) {
        let replaced = |bytes: &[u8]| {
            let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            Bytes::from([&bytes[..from.min(to)], &piece[..], &bytes[from.max(to)..]].concat())
        };
        let mut signed = acting.sample("wh_1", NOW);
        let mut fetched = acting.fetched.clone();
        match which.index(2 + signed.headers.len()) {
            0 => signed.body = replaced(&signed.body),
            1 => fetched.iter_mut().for_each(|fetched| fetched.body = replaced(&fetched.body)),
            field => signed.headers[field - 2].1 = replaced(&signed.headers[field - 2].1),
        }
        let request = signed.request(NOW, &fetched);
        agree(&acting.verifier, &request);
        let verdict = acting.verifier.judge(&request);
        if let Verdict::Refused(refusal) | Verdict::Malformed(refusal) = verdict {
            prop_assert!(refusal.detail.len() < 1_024 && !refusal.detail.chars().any(char::is_control), "{refusal:?}");
        }
    }

    /// S36: what is said of a head holds with any body, for whatever is bent of a good request.
    #[test]
    fn head_and_whole_of_a_bent_request_agree(
        acting in all(),
        gone in any::<Index>(),
        twice in any::<bool>(),
        method in "GET|HEAD|POST|OPTIONS|PUT",
        query in proptest::option::of("([a-zA-Z_.]{1,12}=[%a-zA-Z0-9+]{0,20}&?){0,3}"),
        encoding in any::<bool>(),
        away in -700_i64..700,
        url in any::<bool>(),
    ) {
        let mut signed = acting.sample("wh_1", NOW);
        if !signed.headers.is_empty() {
            let at = gone.index(signed.headers.len());
            let field = signed.headers.remove(at);
            if twice {
                signed.headers.extend([field.clone(), (field.0, "other".into())]);
            }
        }
        if encoding {
            signed.set_header("content-encoding", "gzip");
        }
        let whole = signed.request(Wall::from_micros(NOW.as_micros() + away * 1_000_000), &acting.fetched);
        let query = query.as_deref().map(str::as_bytes);
        for method in [whole.method, &method] {
            for query in [whole.query, query] {
                let url = whole.url.filter(|_| url);
                agree(&acting.verifier, &Request { method, query, url, ..whole });
            }
        }
    }

    #[test]
    fn any_parameters_are_judged_without_a_panic(
        acting in all(),
        given in vec((any::<Index>(), "\\PC{0,300}|whsec_[A-Za-z0-9+/=]{0,60}|-----BEGIN [A-Z ]{3,20}-----\n[A-Za-z0-9+/=\n]{0,80}"), 0..6),
    ) {
        let provider = acting.provider;
        let names: Vec<&str> =
            provider.parameters.iter().chain(provider.sending).map(|parameter| parameter.name).chain(["secret", "x"]).collect();
        let parameters: Vec<(String, String)> =
            given.into_iter().map(|(index, value)| (names[index.index(names.len())].to_owned(), value)).collect();
        let verifier = Verifier::new(provider.name, &parameters);
        prop_assert!(verifier.is_ok() || verifier.is_err_and(|faults| !faults.is_empty()));
        drop(Signer::new(provider.name, &parameters));
    }
}
