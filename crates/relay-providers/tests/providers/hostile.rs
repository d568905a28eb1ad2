//! What somebody would send who wants a signature that is not his, an answer that costs much, or a crash.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Verdict, Verifier, provider, providers};

use crate::acting::{Acting, URL, owned};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
const MEBIBYTE: usize = 1024 * 1024;

/// X, `LinkedIn` and Braintree answer anybody's challenge with the key that signs their events.
#[test]
fn no_challenge_gets_the_signature_of_an_event() {
    for (name, key, query, check) in [
        ("x-twitter", "consumer_secret", "crc_token=%7B%22for_user_id%22%3A%222244994945%22%7D", "malformed_handshake"),
        ("x-twitter", "consumer_secret", "crc_token=+%7b%7d", "malformed_handshake"),
        ("x-twitter", "consumer_secret", "crc_token=a%3Db", "malformed_handshake"),
        ("x-twitter", "consumer_secret", "crc_token=%3D%3D", "malformed_handshake"),
        ("linkedin", "client_secret", "challengeCode=type%3Dx", "malformed_handshake"),
        ("linkedin", "client_secret", "challengeCode=hmacsha256%3D%7B%22type%22%3A%22x%22%7D", "malformed_handshake"),
    ] {
        let source = verifier(name, &[(key, "s")]);
        let Verdict::Refused(refusal) = get(&source, query) else { panic!("{name} signs anything: {query}") };
        assert_eq!((refusal.check, refusal.status), (check, 400), "{query}");
    }

    let parameters = [("private_key", "private"), ("public_key", "public")];
    let source = verifier("braintree", &parameters);
    let challenge = "20f9f8ed05f77439fe955c977e4c8a53";
    let Verdict::Handshake(answer) = get(&source, &format!("bt_challenge={challenge}")) else { panic!("not answered") };
    let pair = String::from_utf8(answer.body).expect("text").replace('|', "%7C");
    for end in ["", "%0A"] {
        let forged = Draft::post(URL, format!("bt_signature={pair}&bt_payload={challenge}{end}"));
        let verdict = source.judge(&forged.request(NOW, &[]));
        assert!(matches!(&verdict, Verdict::Refused(refusal) if refusal.check == "malformed_body"), "{verdict:?}");
    }
}

#[test]
fn a_body_is_taken_apart_only_once_its_signature_is_good() {
    let source = verifier("linear", &[("secret", "s")]);
    for body in ["{}", "no JSON", r#"{"webhookTimestamp":1}"#] {
        let mut draft = Draft::post(URL, body);
        draft.set_header("linear-signature", "0".repeat(64));
        let verdict = source.judge(&draft.request(NOW, &[]));
        assert!(matches!(&verdict, Verdict::Refused(refusal) if refusal.check == "bad_signature"), "{verdict:?}");
    }
}

#[test]
fn a_secret_that_is_handed_over_or_sent_along_is_in_no_debug_output() {
    for (name, header, body) in [
        ("asana", Some("x-hook-secret"), "{}".to_owned()),
        ("notion", None, r#"{"verification_token":"canary-of-a-secret"}"#.to_owned()),
    ] {
        let mut draft = Draft::post(URL, body);
        if let Some(header) = header {
            draft.set_header(header, "canary-of-a-secret");
        }
        let request = draft.request(NOW, &[]);
        let verdict = verifier(name, &[]).judge(&request);
        assert!(matches!(verdict, Verdict::Adopt { .. }), "{name}");
        assert!(!format!("{verdict:?} {request:?}").contains("canary"), "{verdict:?} {request:?}");
    }
}

/// Whatever were worse than linear here would not end.
#[test]
fn a_mebibyte_anywhere_is_judged_and_never_genuine() {
    let fill = |piece: &str| piece.repeat(MEBIBYTE / piece.len());
    let bodies = [
        fill("a=1&"),
        fill("["),
        fill("{\"a\":"),
        format!("[{}0]", fill("{},")),
        format!("{{\"notificationItems\":[{}0],\"value\":[{}0]}}", fill("{},"), fill("1,")),
        fill("<a>"),
        format!("<Envelope>{}", fill("<a/>")),
        fill("\u{fffd}"),
    ];
    let values = [",", " ", "=", "v1=,", "v1,AAAA ", "t=1,", "a.", "%", "0"].map(fill);
    for entry in providers() {
        let acting = Acting::new(entry);
        for body in &bodies {
            judged(&acting, &Draft::post(URL, body.clone()));
        }
        for value in &values {
            let mut draft = Draft::post(URL, "{}");
            for name in acting.verifier.protected_headers() {
                draft.set_header(name, value.clone());
            }
            judged(&acting, &draft);
            judged(&acting, &Draft::post(format!("{URL}&{value}"), "{}"));
        }
        let mut crowded = Draft::post(URL, "{}");
        for name in acting.verifier.protected_headers() {
            crowded.headers.extend((0..10_000).map(|_| (Bytes::from(name.clone()), Bytes::from_static(b"v1=00"))));
        }
        judged(&acting, &crowded);
    }
}

fn judged(acting: &Acting, draft: &Draft) {
    let verdict = acting.verifier.judge(&draft.request(NOW, &[]));
    let name = acting.verifier.provider().name;
    assert!(!matches!(verdict, Verdict::Genuine(_) | Verdict::Confirm { .. }), "{name}: {verdict:?}");
}

fn get(source: &Verifier, query: &str) -> Verdict {
    let draft = Draft { method: "GET".to_owned(), ..Draft::post(format!("{URL}&{query}"), "") };
    source.judge(&draft.request(NOW, &[]))
}

fn verifier(name: &str, parameters: &[(&str, &str)]) -> Verifier {
    assert!(provider(name).is_some(), "{name}");
    Verifier::new(name, &owned(parameters)).expect("good parameters")
}
