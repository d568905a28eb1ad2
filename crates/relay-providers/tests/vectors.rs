//! Known-good and known-bad requests, most of them published by the platforms themselves: `fixtures/providers/`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Request, Verdict, Verifier};
use serde_json::Value;

#[test]
fn every_vector_of_the_generic_providers_is_judged_as_it_says() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../fixtures/providers/generic.json")).expect("the fixture is JSON");
    assert!(vectors.len() >= 70, "vectors went missing: {}", vectors.len());
    let wrong: Vec<String> = vectors
        .iter()
        .map(|vector| (vector, verdict(vector)))
        .filter(|(vector, verdict)| matches!(verdict, Verdict::Genuine(_)) != (text(vector, "expect") == "ok"))
        .map(|(vector, verdict)| format!("{} ({}): {verdict:?}", text(vector, "id"), text(vector, "why")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn verdict(vector: &Value) -> Verdict {
    let verifier =
        Verifier::new(text(vector, "provider"), &parameters(vector)).expect("a vector's parameters are good");
    let headers: Vec<(Bytes, Bytes)> =
        pairs(vector, "headers").map(|(name, value)| (name.into(), value.into())).collect();
    let body = match text(vector, "body_encoding") {
        "base64" => STANDARD.decode(text(vector, "body")).expect("base64"),
        _ => text(vector, "body").as_bytes().to_vec(),
    };
    let seconds = vector["now"].as_i64().expect("seconds since the epoch");
    verifier.judge(&Request {
        method: "POST",
        path: b"/webhook/x",
        query: None,
        headers: &headers,
        body: &body,
        url: None,
        now: Wall::from_micros(seconds * 1_000_000),
        fetched: &[],
    })
}

fn parameters(vector: &Value) -> Vec<(String, String)> {
    pairs(vector, "parameters").collect()
}

fn pairs<'a>(vector: &'a Value, field: &str) -> impl Iterator<Item = (String, String)> + 'a {
    vector[field].as_array().expect("a list of pairs").iter().map(|pair| {
        let part = |index: usize| pair[index].as_str().expect("a text").to_owned();
        (part(0), part(1))
    })
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().expect("a text")
}
