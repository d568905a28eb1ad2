//! What holds for any bytes: what is signed is verified, one flipped bit is refused, nothing panics.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::RngSeed};
use relay_core::time::Wall;
use relay_providers::{Draft, Request, Signer, Verdict, Verifier};

/// Providers that sign the body, each with one set of parameters.
fn signing() -> impl Strategy<Value = (&'static str, Vec<(String, String)>)> {
    let algorithms = prop_oneof![Just("sha1"), Just("sha256"), Just("sha512")];
    let encodings = prop_oneof![Just("hex"), Just("base64")];
    let hmac =
        ("[ -~]{1,40}", algorithms, encodings, "[a-z0-9=]{0,8}").prop_map(|(secret, algorithm, encoding, prefix)| {
            let parameters = [
                ("secret", secret.as_str()),
                ("header", "x-signature"),
                ("algorithm", algorithm),
                ("encoding", encoding),
                ("prefix", &prefix),
            ];
            ("hmac", parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        });
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
    prop_oneof![hmac, Just(("standard-webhooks", vec![("secret".to_owned(), secret)]))]
}

/// Every provider, with good parameters.
fn all() -> impl Strategy<Value = (&'static str, Vec<(String, String)>)> {
    let key = "crk_9f86d081884c7d659a2feaa0c55ad015".to_owned();
    let credentials = vec![("username".to_owned(), "crm".to_owned()), ("password".to_owned(), "p".to_owned())];
    prop_oneof![
        signing(),
        Just(("api-key", vec![("key".to_owned(), key.clone())])),
        Just(("bearer", vec![("token".to_owned(), key)])),
        Just(("basic", credentials)),
    ]
}

/// Header fields that a provider reads, with any bytes as values.
fn any_headers() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
    let name = prop_oneof![
        Just("authorization"),
        Just("x-api-key"),
        Just("idempotency-key"),
        Just("x-signature"),
        Just("webhook-id"),
        Just("webhook-timestamp"),
        Just("webhook-signature"),
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..64),
        "(v1,)?[A-Za-z0-9+/= ]{0,64}".prop_map(String::into_bytes),
        "(Basic|Bearer) [A-Za-z0-9+/=]{0,64}".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
    ];
    vec((name, value).prop_map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value))), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_signed_is_genuine((name, parameters) in all(), body in vec(any::<u8>(), 0..512), id in "[!-~]{1,255}", seconds in 0_i64..1 << 40) {
        let now = Wall::from_micros(seconds * 1_000_000);
        let signed = sign(name, &parameters, &body, &id, now);
        prop_assert!(is_genuine(&judge(name, &parameters, &signed, &body, now)));
    }

    #[test]
    fn one_flipped_bit_of_the_body_is_refused((name, parameters) in signing(), mut body in vec(any::<u8>(), 1..512), at in any::<Index>(), bit in 0_u8..8) {
        let now = Wall::from_micros(1_700_000_000_000_000);
        let signed = sign(name, &parameters, &body, "msg_1", now);
        let at = at.index(body.len());
        body[at] ^= 1_u8 << bit;
        prop_assert!(!is_genuine(&judge(name, &parameters, &signed, &body, now)));
    }

    #[test]
    fn one_flipped_bit_of_a_signed_field_is_refused((name, parameters) in signing(), which in any::<Index>(), at in any::<Index>(), bit in 0_u8..8) {
        let now = Wall::from_micros(1_700_000_000_000_000);
        let mut signed = sign(name, &parameters, b"body", "msg_1", now);
        // The id of a generic HMAC is the one field that nothing signs.
        signed.retain(|(field, _)| name != "hmac" || &field[..] != b"webhook-id");
        let which = which.index(signed.len());
        let mut value = signed[which].1.to_vec();
        let at = at.index(value.len());
        value[at] ^= 1_u8 << bit;
        // Hex digits of either case are the same bytes.
        prop_assume!(!value.eq_ignore_ascii_case(&signed[which].1));
        signed[which].1 = value.into();
        prop_assert!(!is_genuine(&judge(name, &parameters, &signed, b"body", now)));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic_and_never_genuine((name, parameters) in all(), headers in any_headers(), body in vec(any::<u8>(), 0..64), micros in any::<i64>()) {
        prop_assert!(!is_genuine(&judge(name, &parameters, &headers, &body, Wall::from_micros(micros))));
    }

    #[test]
    fn any_parameters_are_judged_without_a_panic(name in "[a-z-]{0,20}", known in 0_usize..6, parameters in vec(("[a-z_0-9]{0,10}|secret|key|token|header|username|password", "\\PC{0,300}"), 0..6)) {
        let names = ["api-key", "basic", "bearer", "hmac", "standard-webhooks", &name];
        let verifier = Verifier::new(names[known], &parameters);
        prop_assert!(verifier.is_ok() || verifier.is_err_and(|faults| !faults.is_empty()));
        drop(Signer::new(names[known], &parameters));
    }
}

fn sign(name: &str, parameters: &[(String, String)], body: &[u8], id: &str, now: Wall) -> Vec<(Bytes, Bytes)> {
    let draft = Draft::post("https://relay.example.com/webhook/x", body.to_vec());
    let signer = Signer::new(name, parameters).expect("good parameters");
    signer.sign(draft, id, now).expect("signed").headers
}

fn judge(name: &str, parameters: &[(String, String)], headers: &[(Bytes, Bytes)], body: &[u8], now: Wall) -> Verdict {
    Verifier::new(name, parameters).expect("good parameters").judge(&request(headers, body, now))
}

fn request<'a>(headers: &'a [(Bytes, Bytes)], body: &'a [u8], now: Wall) -> Request<'a> {
    Request { method: "POST", path: b"/webhook/x", query: None, headers, body, url: None, now, fetched: &[] }
}

fn is_genuine(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Genuine(_))
}
