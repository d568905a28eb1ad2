//! The generic providers as a source uses them: proofs, refusals, rotation, faults in parameters.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{
    Acknowledgement, Draft, Genuine, ParameterFault, Refusal, Request, Signer, StoredKey, Verdict, Verifier, provider,
    secret_digest,
};

const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);
const KEY: &str = "crk_9f86d081884c7d659a2feaa0c55ad015";
const OTHER_KEY: &str = "crk_60303ae22b998861bce3b28f33eec1be";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"total": 4711}"#;

const URL: &str = "https://relay.example.com/webhook/x";

type Headers = Vec<(Bytes, Bytes)>;

#[test]
fn a_key_is_taken_from_either_header_field_and_named_for_removal() {
    let verifier = verifier("api-key", &[("key", KEY)]);
    for (name, value) in [
        ("x-api-key", KEY.to_owned()),
        ("authorization", format!("Bearer {KEY}")),
        ("authorization", format!("bearer  {KEY}")),
    ] {
        let headers = headers(&[("accept", "*/*"), (name, &value)]);
        assert_eq!(genuine(&verifier, &headers).strip, [1], "{name}: {value}");
    }
}

/// S14: only what proved the key is removed; another credential beside it belongs to the target.
#[test]
fn an_authorization_that_is_not_our_key_stays() {
    let verifier = verifier("api-key", &[("key", KEY)]);
    let proof = genuine(&verifier, &headers(&[("authorization", "Bearer for-the-target"), ("x-api-key", KEY)]));
    assert_eq!(proof.strip, [1]);
    let twice = format!("Bearer {KEY}");
    let proof = genuine(&verifier, &headers(&[("authorization", &twice), ("x-api-key", KEY)]));
    assert_eq!(proof.strip, [0, 1], "a key given twice is removed twice");
}

/// S21: a key is known by its digest alone, and the digest is not the key.
#[test]
fn stored_keys_are_known_by_their_digest() {
    let stored = vec![
        StoredKey { name: "ci".into(), digest: secret_digest(KEY.as_bytes()) },
        StoredKey { name: "erp".into(), digest: secret_digest(OTHER_KEY.as_bytes()) },
    ];
    let verifier = Verifier::with_keys("api-key", &[], stored).expect("stored keys are enough");
    assert_eq!(genuine(&verifier, &headers(&[("x-api-key", OTHER_KEY)])).key.as_deref(), Some("erp"));
    assert_eq!(genuine(&verifier, &headers(&[("x-api-key", KEY)])).key.as_deref(), Some("ci"));
    let digest = hex(&secret_digest(KEY.as_bytes()));
    assert_eq!(refusal(&verifier, &headers(&[("x-api-key", &digest)])).check, "wrong_key");
    let by_digest = self::verifier("api-key", &[("key_sha256", &digest)]);
    genuine(&by_digest, &headers(&[("x-api-key", KEY)]));
}

#[test]
fn a_source_whose_keys_are_all_revoked_refuses_everything() {
    let verifier = Verifier::new("api-key", &[]).expect("no key is no fault");
    assert_eq!(refusal(&verifier, &headers(&[("x-api-key", "")])).check, "wrong_key");
    assert_eq!(refusal(&verifier, &headers(&[])).check, "missing_key");
    assert_eq!(refusal(&verifier, &headers(&[("authorization", "Basic dTpw")])).check, "missing_key");
}

#[test]
fn nine_fields_with_keys_are_more_than_one_sender_needs() {
    let verifier = verifier("api-key", &[("key", KEY)]);
    assert_eq!(refusal(&verifier, &headers(&[("x-api-key", KEY); 9])).check, "ambiguous_key");
}

/// I20: the dedupe key is per API key, so that two senders never take each other's webhooks for repeats.
#[test]
fn an_idempotency_key_is_scoped_by_api_key() {
    let verifier = verifier("api-key", &[("key", KEY), ("key", OTHER_KEY)]);
    let dedupe = |key, id| genuine(&verifier, &headers(&[("x-api-key", key), ("idempotency-key", id)])).dedupe;
    assert!(dedupe(KEY, "order-1").is_some());
    assert_eq!(dedupe(KEY, "order-1"), dedupe(KEY, "order-1"));
    assert_ne!(dedupe(KEY, "order-1"), dedupe(OTHER_KEY, "order-1"));
    assert_ne!(dedupe(KEY, "order-1"), dedupe(KEY, "order-2"));
    assert_eq!(genuine(&verifier, &headers(&[("x-api-key", KEY)])).dedupe, None);
}

#[test]
fn an_idempotency_key_out_of_bounds_is_malformed_and_not_a_refusal() {
    let verifier = verifier("bearer", &[("token", KEY)]);
    let longest = "a".repeat(255);
    genuine(&verifier, &headers(&[("x-api-key", KEY), ("idempotency-key", &longest)]));
    let longer = "a".repeat(256);
    for fields in [
        vec![("idempotency-key", "")],
        vec![("idempotency-key", longer.as_str())],
        vec![("idempotency-key", "a"), ("idempotency-key", "b")],
    ] {
        let headers = headers(&[&[("x-api-key", KEY)], &fields[..]].concat());
        assert!(matches!(judge(&verifier, &headers), Verdict::Malformed(_)), "{fields:?}");
    }
    let unproven = headers(&[("idempotency-key", "")]);
    assert_eq!(refusal(&verifier, &unproven).check, "missing_key", "a stranger learns nothing about the rest");
}

#[test]
fn basic_credentials_prove_a_request_and_are_removed() {
    let verifier = verifier("basic", &[("username", "crm"), ("password", "pässword: one"), ("password", "two")]);
    for (user_and_password, good) in
        [("crm:pässword: one", true), ("crm:two", true), ("crm:three", false), ("erp:two", false), ("crm:", false)]
    {
        let value = format!("Basic {}", base64(user_and_password.as_bytes()));
        let verdict = judge(&verifier, &headers(&[("authorization", &value)]));
        let strip = match verdict {
            Verdict::Genuine(proof) => Some(proof.strip),
            _ => None,
        };
        assert_eq!(strip, good.then(|| vec![0]), "{user_and_password}");
    }
    assert_eq!(refusal(&verifier, &headers(&[("authorization", "Basic %%%")])).check, "malformed_credentials");
    assert_eq!(refusal(&verifier, &headers(&[])).check, "missing_credentials");
}

#[test]
fn a_timestamp_outside_its_window_is_refused_with_its_age() {
    let parameters = [("secret", WHSEC)];
    let (verifier, signer) = (verifier("standard-webhooks", &parameters), signer("standard-webhooks", &parameters));
    let signed = signer.sign(draft(), "msg_1", NOW).expect("signed").headers;
    let later =
        |seconds: i64| Request { now: Wall::from_micros(NOW.as_micros() + seconds * 1_000_000), ..request(&signed) };
    assert!(matches!(verifier.judge(&later(300)), Verdict::Genuine(_)));
    assert!(matches!(verifier.judge(&later(-300)), Verdict::Genuine(_)));
    let Verdict::Refused(stale) = verifier.judge(&later(412)) else { panic!("412 s old is too old") };
    assert_eq!((stale.check, stale.detail.as_str()), ("stale_timestamp", "timestamp 412 s old, limit 300 s"));
    let Verdict::Refused(future) = verifier.judge(&later(-301)) else { panic!("301 s ahead is too far") };
    assert_eq!((future.check, future.detail.as_str()), ("future_timestamp", "timestamp 301 s ahead, limit 300 s"));
}

#[test]
fn the_delivery_id_is_what_webhook_id_says() {
    let parameters = [("secret", WHSEC)];
    let signed = signer("standard-webhooks", &parameters).sign(draft(), "msg_1", NOW).expect("signed").headers;
    assert_eq!(
        genuine(&verifier("standard-webhooks", &parameters), &signed).dedupe.map(|key| key.id).as_deref(),
        Some(&b"msg_1"[..])
    );

    let parameters = [("secret", "a secret"), ("header", "X-Signature")];
    let signed = signer("hmac", &parameters).sign(draft(), "msg_2", NOW).expect("signed").headers;
    let verifier = verifier("hmac", &parameters);
    assert_eq!(genuine(&verifier, &signed).dedupe.map(|key| key.id).as_deref(), Some(&b"msg_2"[..]));
    let without: Headers = signed.into_iter().filter(|(name, _)| &name[..] != b"webhook-id").collect();
    assert_eq!(genuine(&verifier, &without).dedupe, None);
}

#[test]
fn while_a_secret_is_replaced_both_are_good() {
    let second = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let both = verifier("standard-webhooks", &[("secret", WHSEC), ("secret", second)]);
    for secret in [WHSEC, second] {
        genuine(
            &both,
            &signer("standard-webhooks", &[("secret", secret)]).sign(draft(), "msg_1", NOW).expect("signed").headers,
        );
    }
    let new_only = verifier("standard-webhooks", &[("secret", second)]);
    let old = signer("standard-webhooks", &[("secret", WHSEC)]).sign(draft(), "msg_1", NOW).expect("signed").headers;
    assert_eq!(refusal(&new_only, &old).check, "bad_signature");
}

/// S27: neither refusals nor `Debug` hold what would let somebody in.
#[test]
fn nothing_printed_holds_a_secret_or_a_valid_signature() {
    for (name, parameters) in CASES {
        let (verifier, signer) = (verifier(name, parameters), signer(name, parameters));
        let signed = signer.sign(draft(), "msg_1", NOW).expect("signed").headers;
        let tampered = Request { body: b"other", ..request(&signed) };
        let printed = format!("{verifier:?} {signer:?} {:?}", verifier.judge(&tampered));
        for (_, value) in
            parameters.iter().filter(|(parameter, _)| ["key", "token", "password", "secret"].contains(parameter))
        {
            assert!(!printed.contains(value), "{name}: {printed}");
        }
        let valid = signer.sign(Draft::post(URL, "other"), "msg_1", NOW).expect("signed").headers;
        let (_, proof) = valid.last().expect("a signer adds a field");
        if name == "hmac" || name == "standard-webhooks" {
            assert!(!printed.contains(str::from_utf8(proof).expect("ASCII")), "{name}: {printed}");
        }
    }
}

/// S13: a request that has these fields removed by naming them in `Connection` is refused by ingress.
#[test]
fn a_verifier_names_every_field_it_reads() {
    let hmac = verifier("hmac", &[("secret", "a secret"), ("header", "X-Signature")]);
    assert_eq!(hmac.protected_headers(), ["x-signature", "webhook-id"]);
    let standard = verifier("standard-webhooks", &[("secret", WHSEC)]);
    assert_eq!(standard.protected_headers(), ["webhook-signature", "webhook-timestamp", "webhook-id"]);
    let key = verifier("api-key", &[("key", KEY)]);
    assert_eq!(key.protected_headers(), ["authorization", "idempotency-key", "x-api-key"]);
}

#[test]
fn key_sources_answer_with_a_receipt_and_take_six_methods() {
    let key = verifier("bearer", &[("token", KEY)]);
    assert!(key.is_key_source());
    assert_eq!(key.methods(), ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
    assert_eq!(key.provider().acknowledgement, Acknowledgement::Receipt);
    let standard = verifier("standard-webhooks", &[("secret", WHSEC)]);
    assert!(!standard.is_key_source());
    assert_eq!(standard.methods(), ["POST"]);
    assert_eq!(standard.provider().acknowledgement, Acknowledgement::EMPTY);
}

/// I1: an operator may choose what the sender hears, but nothing that is no success, and nothing that no answer can carry.
#[test]
fn an_acknowledgement_that_is_chosen_is_one() {
    let chosen = |given: &[(&str, &str)]| {
        let given: Vec<_> =
            [("key", KEY)].iter().chain(given).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Verifier::new("api-key", &given).map(|verifier| verifier.chosen().cloned())
    };
    assert_eq!(chosen(&[]), Ok(None));
    let body = |kind: &str, body: &'static str| Some((kind.to_owned(), body.into()));
    let found = chosen(&[("ack_status", "200"), ("ack_body", "OK")]).unwrap().unwrap();
    assert_eq!((found.status, found.body), (Some(200), body("text/plain; charset=utf-8", "OK")));
    let found = chosen(&[("ack_body", "{}"), ("ack_type", "application/json")]).unwrap().unwrap();
    assert_eq!((found.status, found.body), (None, body("application/json", "{}")));
    let found = chosen(&[("ack_status", "204")]).unwrap().unwrap();
    assert_eq!((found.status, found.body), (Some(204), body("", "")));
    let (long, most) = ("x".repeat(4097), "x".repeat(4096));
    assert!(chosen(&[("ack_body", &most)]).is_ok());
    for (given, said) in [
        (&[("ack_status", "500")][..], "200 to 299"),
        (&[("ack_status", "OK")], "200 to 299"),
        (&[("ack_status", "302")], "200 to 299"),
        (&[("ack_body", long.as_str())], "at most 4096"),
        (&[("ack_status", "204"), ("ack_body", "x")], "has no body"),
        (&[("ack_type", "text/plain")], "of which body"),
        (&[("ack_body", "x"), ("ack_type", "text")], "a media type"),
        (&[("ack_body", "x"), ("ack_type", "text/plain\r\nX-A: 1")], "a media type"),
    ] {
        let faults = chosen(given).expect_err(said);
        assert!(faults.iter().any(|fault| fault.to_string().contains(said)), "{faults:?}");
    }
    let faults = Verifier::new("svix", &[("secret".into(), WHSEC.into()), ("ack_status".into(), "200".into())]);
    assert!(faults.is_err(), "its platform says what it wants");
}

#[test]
fn all_faults_come_together_with_what_would_be_right() {
    let faults =
        faults("hmac", &[("headr", "X-Signature"), ("algorithm", "md5"), ("encoding", "hex"), ("encoding", "hex")]);
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "headr: the provider hmac has no such parameter; did you mean header?",
            "secret: missing; hmac needs the signing secret, used as the text it is",
            "header: missing; hmac needs the header field that carries the signature, like X-Signature",
            r#"algorithm: "md5" must be sha256, sha1 or sha512"#,
            "encoding: given 2 times; only a secret may be, while it is replaced",
        ]
    );
}

#[test]
fn a_fault_in_a_secret_does_not_show_it() {
    for (name, parameters) in [
        ("api-key", vec![("key", "hunter2")]),
        ("api-key", vec![("key_sha256", "hunter2")]),
        ("bearer", vec![("token", "hunter2")]),
        ("basic", vec![("username", "crm"), ("password", "hunter2\n")]),
        ("hmac", vec![("secret", "hunter2\n"), ("header", "x-signature")]),
        ("standard-webhooks", vec![("secret", "whsec_hunter2")]),
        ("standard-webhooks", vec![("secret", "whpk_hunter2")]),
        ("slack", vec![("secret", "hunter2\n")]),
    ] {
        let faults = faults(name, &parameters);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(!format!("{faults:?} {}", faults[0]).contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn an_unknown_provider_names_its_neighbour() {
    let faults = faults("standard-webhook", &[]);
    assert_eq!(faults[0].to_string(), r#"no provider is called "standard-webhook"; did you mean standard-webhooks?"#);
    assert!(self::faults("fax", &[])[0].to_string().contains("; there are "));
}

#[test]
fn a_digest_alone_cannot_sign() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned();
    let parameters = [("key_sha256".to_owned(), digest)];
    assert!(Verifier::new("api-key", &parameters).is_ok());
    let faults = Signer::new("api-key", &parameters).expect_err("there is no key to present");
    assert_eq!(faults[0].to_string(), "key: missing; to sign takes the key itself, its digest is not enough");
}

#[test]
fn what_every_generic_provider_signs_it_verifies() {
    for (name, parameters) in CASES {
        assert!(provider(name).is_some());
        let signed = signer(name, parameters).sign(draft(), "msg_1", NOW).expect("signed").headers;
        genuine(&verifier(name, parameters), &signed);
    }
}

/// One good set of parameters for every provider.
const CASES: [(&str, &[(&str, &str)]); 5] = [
    ("api-key", &[("key", KEY)]),
    ("basic", &[("username", "crm"), ("password", "correct horse battery")]),
    ("bearer", &[("token", KEY)]),
    ("hmac", &[("secret", "It's a Secret to Everybody"), ("header", "X-Hub-Signature-256"), ("prefix", "sha256=")]),
    ("standard-webhooks", &[("secret", WHSEC)]),
];

fn verifier(name: &str, parameters: &[(&str, &str)]) -> Verifier {
    Verifier::new(name, &owned(parameters)).expect("good parameters")
}

fn signer(name: &str, parameters: &[(&str, &str)]) -> Signer {
    Signer::new(name, &owned(parameters)).expect("good parameters")
}

fn faults(name: &str, parameters: &[(&str, &str)]) -> Vec<ParameterFault> {
    Verifier::new(name, &owned(parameters)).expect_err("bad parameters")
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn draft() -> Draft {
    Draft::post(URL, BODY)
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().map(|(name, value)| (Bytes::from((*name).to_owned()), Bytes::from((*value).to_owned()))).collect()
}

fn request(headers: &[(Bytes, Bytes)]) -> Request<'_> {
    Request { method: "POST", path: b"/webhook/x", query: None, headers, body: BODY, url: None, now: NOW, fetched: &[] }
}

fn judge(verifier: &Verifier, headers: &[(Bytes, Bytes)]) -> Verdict {
    verifier.judge(&request(headers))
}

fn genuine(verifier: &Verifier, headers: &[(Bytes, Bytes)]) -> Genuine {
    match judge(verifier, headers) {
        Verdict::Genuine(genuine) => genuine,
        other => panic!("not genuine: {other:?}"),
    }
}

fn refusal(verifier: &Verifier, headers: &[(Bytes, Bytes)]) -> Refusal {
    match judge(verifier, headers) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}
