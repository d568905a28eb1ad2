//! Handshakes as somebody uses them who wants an event signed: whatever a stranger asks, no answer is a signature.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::RngSeed};
use relay_core::time::Wall;
use relay_providers::{Answer, Draft, Handshake, On, Verdict, Verifier, providers};

use crate::acting::{Acting, URL};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
/// `{"forged":1}`, deflated: no byte of it is a brace.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xab, 0x56, 0x4a, 0xcb, 0x2f, 0x4a, 0x4f, 0x4d, 0x51,
    0xb2, 0x32, 0xac, 0x05, 0x00, 0x58, 0x40, 0x9d, 0x6f, 0x0c, 0x00, 0x00, 0x00,
];

/// Every provider that answers strangers.
fn answering() -> impl Strategy<Value = (&'static Acting, &'static Handshake)> {
    static ALL: LazyLock<Vec<(Acting, &'static Handshake)>> = LazyLock::new(|| {
        let of_strangers = providers().iter().flat_map(|provider| {
            let unsigned = provider.handshakes.iter().filter(|handshake| !handshake.signed);
            unsigned.map(|handshake| (Acting::new(provider), handshake))
        });
        of_strangers.collect()
    });
    any::<Index>().prop_map(|index| {
        let (acting, handshake) = &ALL[index.index(ALL.len())];
        (acting, *handshake)
    })
}

/// What a stranger may want signed.
fn any_challenge() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..200),
        Just(GZIP.to_vec()),
        "[A-Za-z0-9+/=_.~-]{1,160}".prop_map(String::into_bytes),
        "[0-9a-f]{18,34}".prop_map(String::into_bytes),
        "(hmacsha256=|v0:1763000000:|1763000000\\.|sha256=)?[\\[{\"a-z=&:,0-9}\\]]{1,60}".prop_map(String::into_bytes),
        "[a-z]{1,8}=[a-z0-9]{1,8}(&[a-z]{1,8}=[a-z0-9]{0,8}){0,3}".prop_map(String::into_bytes),
        Just(br#"[{"type":"forged"}]"#.to_vec()),
        Just(br#""forged""#.to_vec()),
        Just(b"\xef\xbb\xbf{}".to_vec()),
        Just(b"+AHs-+AH0-".to_vec()),
    ]
}

/// The handshake that asks for an answer to a challenge.
fn ask(handshake: &Handshake, challenge: &[u8]) -> Draft {
    let escaped = escaped(challenge);
    let mut draft = Draft::post("https://relay.example.com/webhook/x", Bytes::new());
    handshake.method.clone_into(&mut draft.method);
    let text = String::from_utf8_lossy(challenge).into_owned();
    let mut json = serde_json::Map::new();
    for on in handshake.on {
        match on {
            On::Query(name) | On::QueryWithout(name, _) => draft.url = format!("{}?{name}={escaped}", draft.url),
            On::Header(name) => draft.set_header(name, challenge.to_vec()),
            On::HeaderIs(name, value) => draft.set_header(name, (*value).to_owned()),
            On::Json(path) | On::JsonOnly(path) => drop(json.insert((*path).to_owned(), text.clone().into())),
            On::JsonIs(path, value) => drop(json.insert((*path).to_owned(), (*value).into())),
            On::JsonEmpty(path) => drop(json.insert((*path).to_owned(), serde_json::json!([]))),
            On::FormJson(name, path) => {
                draft.body = format!("{name}=%7B%22{path}%22%3A%22{escaped}%22%7D").into();
            }
            On::FormOf(names) => draft.body = format!("{}={escaped}", names[0]).into(),
            On::JsonWhole(text) => draft.body = (*text).into(),
            On::NoJson(_) | On::NoBody => {}
        }
    }
    if !json.is_empty() {
        draft.body = serde_json::Value::Object(json).to_string().into();
    }
    draft
}

/// Every byte percent-encoded.
fn escaped(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
    bytes.iter().flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Every text of an answer, in every spelling in which signatures stand.
fn signatures(answer: &Answer) -> Vec<String> {
    let mut texts = vec![String::from_utf8_lossy(&answer.body).into_owned()];
    texts.extend(answer.headers.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned()));
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&answer.body) {
        texts.extend(fields.values().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    let parts: Vec<String> = texts.iter().flat_map(|text| text.split(['|', '=']).map(str::to_owned)).collect();
    texts.extend(parts);
    let bytes = |text: &str| {
        let pairs = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        let hex = pairs.collect::<Option<Vec<u8>>>();
        let padded = format!("{text}{}", &"===="[..(4 - text.len() % 4) % 4]);
        hex.or_else(|| STANDARD.decode(padded).ok())
    };
    let hex = |bytes: &[u8]| escaped(bytes).replace('%', "").to_ascii_lowercase();
    let decoded: Vec<Vec<u8>> = texts.iter().filter_map(|text| bytes(text)).collect();
    for bytes in decoded {
        texts.push(hex(&bytes));
        texts.push(STANDARD.encode(bytes));
    }
    texts.retain(|text| !text.is_empty() && text.len() < 512);
    texts.sort();
    texts.dedup();
    texts
}

/// What the challenge could be as the body of an event.
fn bodies(challenge: &[u8], signature: &str) -> Vec<Vec<u8>> {
    let mut bodies = vec![challenge.to_vec()];
    for prefix in ["hmacsha256=", "v0:1763000000:", "1763000000.", "sha256="] {
        bodies.extend(challenge.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec));
    }
    for end in ["", "%0A"] {
        let form = format!("bt_signature={}&bt_payload={}{end}", escaped(signature.as_bytes()), escaped(challenge));
        bodies.push(form.into_bytes());
    }
    bodies
}

/// Whether any event with this signature and this body is taken.
fn forges(verifier: &Verifier, sample: &Draft, unsigned: &Draft, signature: &str, body: &[u8]) -> bool {
    let is_proof = |name: &Bytes| unsigned.header(&String::from_utf8_lossy(name)).is_none();
    [None, Some("gzip"), Some("deflate")].into_iter().any(|encoding| {
        ["", "sha256=", "sha1=", "v0=", "v1=", "t=1763000000,v1="].iter().any(|prefix| {
            let mut forged = sample.clone();
            for (name, value) in &mut forged.headers {
                if is_proof(name) && (value.len() >= 20 || name.ends_with(b"signature")) {
                    *value = format!("{prefix}{signature}").into();
                }
            }
            if let Some(encoding) = encoding {
                forged.set_header("content-encoding", encoding);
            }
            forged.body = Bytes::copy_from_slice(body);
            matches!(verifier.judge(&forged.request(NOW, &[])), Verdict::Genuine(_))
        })
    })
}

/// Providers whose proof is the secret itself or does not cover the body: a challenge has no part in it, and an answer can
/// only pass for the secret if it is echoed, which takes somebody who knows it.
const NO_SIGNATURE: &[&str] = &["azure-event-grid", "cloudevents", "okta", "microsoft-graph", "monday"];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_024,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    /// S28: a handshake is no oracle.
    #[test]
    fn no_answer_to_a_stranger_is_the_signature_of_an_event((acting, handshake) in answering(), challenge in any_challenge()) {
        let name = acting.provider.name;
        prop_assume!(!NO_SIGNATURE.contains(&name));
        let asked = ask(handshake, &challenge);
        let Verdict::Handshake(answer) = acting.verifier.judge(&asked.request(NOW, &[])) else { return Ok(()) };
        let (unsigned, sample) = (acting.provider.draft(URL, "wh_1", NOW), acting.sample("wh_1", NOW));
        for signature in signatures(&answer) {
            for body in bodies(&challenge, &signature) {
                let is_forged = forges(&acting.verifier, &sample, &unsigned, &signature, &body);
                prop_assert!(!is_forged, "{name} signs {:?}", String::from_utf8_lossy(&challenge));
            }
        }
    }
}

/// The property above finds something to look at: each of these answers words with a signature over them.
#[test]
fn challenges_of_the_platforms_own_shape_are_answered() {
    for (name, query) in [
        ("x-twitter", "crc_token=NzY4ZGU1MjctOTk4Ni00MzM3%3D&nonce=1"),
        ("linkedin", "challengeCode=890e4665-4dfe-4ab1-b689-ed553bceeed0&applicationId=1"),
        ("braintree", "bt_challenge=20f9f8ed05f77439fe955c977e4c8a53"),
    ] {
        let acting = Acting::new(relay_providers::provider(name).expect("in the table"));
        let mut draft = Draft::post(format!("https://relay.example.com/webhook/x?{query}"), "");
        draft.method = "GET".to_owned();
        let Verdict::Handshake(answer) = acting.verifier.judge(&draft.request(NOW, &[])) else { panic!("{name}") };
        assert!(!signatures(&answer).is_empty(), "{name}");
    }
}
