//! Known-good and known-bad requests and handshakes, most of them published by the platforms themselves: every `*.json`
//! of the folder that `VECTORS_DIR` names, by default `fixtures/providers/`.
//!
//! A list whose items carry `expect` holds requests, one whose items carry `kind` holds handshakes; other files are passed
//! over. Arguments are parts of the names to run. Ends with how many of how many held.

#![expect(clippy::print_stdout, reason = "it is its own test harness")]

#[path = "providers/agree.rs"]
mod agree;

use std::{env, fs, path::PathBuf, process::ExitCode};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{
    Acknowledgement, Answer, Exchange, Fetched, ParameterFault, Request, Verdict, Verifier, provider,
};
use serde_json::{Value, json};

/// Keys a verifier may ask for one after the other.
const FETCHES_MAX: usize = 4;
const URL: &str = "https://relay.example.com/in/abc";

fn main() -> ExitCode {
    let folder = env::var_os("VECTORS_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers"), PathBuf::from);
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let cases = cases(&folder);
    assert!(!cases.is_empty(), "no vectors in {}", folder.display());
    let (mut held, mut run) = (0, 0);
    for case in &cases {
        let name = text(case, "id");
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        run += 1;
        match if case.get("expect").is_some() { request(case) } else { handshake(case) } {
            Ok(()) => {
                held += 1;
                println!("vector {name} ... ok");
            }
            Err(difference) => println!("vector {name} ... FAILED: {difference} ({})", text(case, "why")),
        }
    }
    println!("\nvectors: {held} of {run} held");
    if held == run { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cases(folder: &PathBuf) -> Vec<Value> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .flat_map(|path| {
            let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let value: Value =
                serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            value.as_array().cloned().unwrap_or_default()
        })
        .filter(|case| case.get("expect").is_some() || case.get("kind").is_some())
        .collect()
}

/// A request is judged as the vector says.
fn request(case: &Value) -> Result<(), String> {
    let expected = text(case, "expect");
    if !["ok", "reject"].contains(&expected) {
        return Err(format!("expects {:?}, which is neither ok nor reject", case["expect"]));
    }
    let made = Made::of(case)?;
    let verdict = match verifier(case) {
        Ok(verifier) => Ok(judge(&verifier, case, &made)?),
        // A key that cannot be is a key that nothing was signed with. A provider that is not there, or that lacks a
        // parameter, has refused nothing.
        Err(faults) if faults.iter().all(|fault| is_of_a_key(case, fault)) => Err(listed(&faults)),
        Err(faults) => return Err(listed(&faults)),
    };
    let is_good = match &verdict {
        Ok(Verdict::Genuine(_) | Verdict::Confirm { .. }) => true,
        Ok(Verdict::Handshake(answer)) => answer.status < 300,
        Ok(Verdict::Refused(_) | Verdict::Malformed(_)) | Err(_) => false,
        Ok(other @ (Verdict::NeedsKey { .. } | Verdict::Adopt { .. })) => return Err(format!("{other:?}")),
    };
    if is_good == (expected == "ok") { Ok(()) } else { Err(format!("{verdict:?}")) }
}

fn listed(faults: &[ParameterFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether the fault is that a key's value cannot be one, or that it is empty.
fn is_of_a_key(case: &Value, fault: &ParameterFault) -> bool {
    let parameters = provider(text(case, "provider")).map_or(&[][..], |provider| provider.parameters);
    let is_key = |name: &str| parameters.iter().any(|parameter| parameter.name == name && parameter.key);
    let is_empty = case["secret"] == "";
    fault.parameter.as_deref().is_some_and(is_key) && (is_empty || !fault.detail.starts_with("missing"))
}

/// A handshake is answered as the vector says: by the provider's verifier if it is signed, else by its kind alone.
fn handshake(case: &Value) -> Result<(), String> {
    let made = Made::of(&case["request"])?;
    let answer = if let Some(vector) = case.get("vector") {
        let mut signed = vector.clone();
        signed["provider"] = case["provider"].clone();
        let verifier = verifier(&signed).map_err(|faults| format!("{faults:?}"))?;
        match judge(&verifier, &signed, &made)? {
            Verdict::Genuine(genuine) => acknowledgement(genuine.acknowledgement),
            Verdict::Handshake(answer) | Verdict::Confirm { answer, .. } | Verdict::Adopt { answer, .. } => answer,
            Verdict::Refused(refusal) | Verdict::Malformed(refusal) => {
                Answer { status: refusal.status, ..Answer::default() }
            }
            other @ Verdict::NeedsKey { .. } => return Err(format!("{other:?}")),
        }
    } else {
        answer_of_kind(case, &made)?
    };
    let expected = &case["response"];
    let status = expected["status"].as_u64().ok_or("no status")?;
    if u64::from(answer.status) != status {
        return Err(format!("answered {answer:?}"));
    }
    for name in absent(&expected["headers"]) {
        if has_name(&answer, &name) {
            return Err(format!("{name} in {answer:?}"));
        }
    }
    for (name, value) in pairs(&expected["headers"]) {
        if !has_header(&answer, &name.to_ascii_lowercase(), &value) {
            return Err(format!("no {name}: {value} in {answer:?}"));
        }
    }
    let body = String::from_utf8_lossy(&answer.body);
    let wanted = match &expected["body"] {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let same_json = || Some(serde_json::from_str::<Value>(&body).ok()? == serde_json::from_str::<Value>(&wanted).ok()?);
    if status < 300 && body != wanted && same_json() != Some(true) {
        return Err(format!("answered {body:?}, not {wanted:?}"));
    }
    Ok(())
}

/// The answer that a kind of handshake gives from the settings beside it.
fn answer_of_kind(case: &Value, made: &Made) -> Result<Answer, String> {
    let config = &case["config"];
    let name = |field: &str| -> &'static str { Box::leak(text(config, field).to_owned().into_boxed_str()) };
    let exchange = match text(case, "kind") {
        "hub-challenge" => Exchange::HubChallenge { token: "verify_token", json: false },
        "hub-challenge-json" => Exchange::HubChallenge { token: "verify_token", json: true },
        "query-echo" => Exchange::EchoQuery(name("param")),
        "json-echo" => Exchange::EchoJson(name("field")),
        "json-echo-text" => Exchange::EchoJsonText(name("field")),
        "header-echo" => Exchange::EchoHeader {
            header: Box::leak(text(config, "header").to_ascii_lowercase().into_boxed_str()),
            status: status(config),
        },
        "header-to-json" => Exchange::HeaderToJson {
            header: Box::leak(text(config, "header").to_ascii_lowercase().into_boxed_str()),
            field: name("field"),
        },
        "crc" => Exchange::Crc("consumer_secret"),
        "linkedin" => Exchange::ChallengeCode("client_secret"),
        "zoom" => Exchange::PlainToken("secret_token"),
        "ebay" => Exchange::ChallengeHash { token: "verification_token", endpoint: "endpoint" },
        "braintree" => Exchange::BtChallenge { public: "public_key", private: "private_key" },
        "eventgrid" => Exchange::ValidationCode("subscriptions"),
        "cloudevents" => Exchange::WebhookOrigin { origins: "allowed_origins", rate: "rate" },
        "fixed" => Exchange::Fixed {
            status: status(config),
            content_type: config.get("body").map(|_| "text/plain"),
            body: name("body"),
        },
        other => return Err(format!("no kind of handshake is called {other:?}")),
    };
    let settings = |name: &str| values(&config[name]);
    match exchange.answer(&made.request(Wall::from_micros(0), &[]), &settings) {
        Ok(Verdict::Handshake(answer)) => Ok(answer),
        Ok(other) => Err(format!("{other:?}")),
        Err(refusal) => Ok(Answer { status: refusal.status, ..Answer::default() }),
    }
}

/// A setting's values: one, or several in a list.
fn values(setting: &Value) -> Vec<String> {
    match setting {
        Value::Array(list) => list.iter().flat_map(values).collect(),
        Value::String(value) => vec![value.clone()],
        Value::Number(value) => vec![value.to_string()],
        Value::Null | Value::Bool(_) | Value::Object(_) => Vec::new(),
    }
}

fn status(config: &Value) -> u16 {
    config["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(200)
}

/// Names, in lower case, that an answer must not have.
fn absent(headers: &Value) -> Vec<String> {
    let fields = headers.as_object().into_iter().flatten();
    fields.filter(|(_, value)| value.is_null()).map(|(name, _)| name.to_ascii_lowercase()).collect()
}

fn has_name(answer: &Answer, name: &str) -> bool {
    let own = answer.headers.iter().any(|(found, _)| *found == name);
    own || (name == "content-type" && answer.content_type.is_some())
}

/// What a `Content-Type` says, and its charset; UTF-8 if it is silent.
fn media_type(value: &str) -> (String, String) {
    let value = value.to_ascii_lowercase();
    let (kind, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let charset = parameters.trim().strip_prefix("charset=").unwrap_or("utf-8");
    (kind.trim().to_owned(), charset.trim_matches('"').to_owned())
}

fn has_header(answer: &Answer, name: &str, value: &str) -> bool {
    match name {
        "content-type" => answer.content_type.is_some_and(|found| media_type(found) == media_type(value)),
        "content-length" => answer.body.len().to_string() == value,
        _ => answer.headers.iter().any(|(found, text)| *found == name && text == value.as_bytes()),
    }
}

fn acknowledgement(acknowledgement: Acknowledgement) -> Answer {
    match acknowledgement {
        Acknowledgement::Receipt => Answer { status: 202, ..Answer::default() },
        Acknowledgement::Fixed { status, content_type, body } => {
            Answer { status, content_type, headers: Vec::new(), body: body.into() }
        }
    }
}

/// Judges, and fetches what the verifier asks for from the vector's own keys.
fn judge(verifier: &Verifier, case: &Value, made: &Made) -> Result<Verdict, String> {
    let seconds = case.get("timestamp_now").or_else(|| case.get("now")).and_then(Value::as_f64);
    let now = Wall::from_micros((seconds.ok_or("no timestamp_now")? * 1_000_000.0) as i64);
    let mut fetched: Vec<Fetched> = Vec::new();
    for _ in 0..FETCHES_MAX {
        let request = made.request(now, &fetched);
        agree::agree(verifier, &request);
        let verdict = verifier.judge(&request);
        let Verdict::NeedsKey { url } = &verdict else { return Ok(verdict) };
        let Some(body) = fetch(&case["config"], url) else { return Ok(verdict) };
        fetched.push(Fetched { url: url.clone(), body });
    }
    Err("asks for one key after the other".to_owned())
}

/// What is at a URL: the vector's certificate, or its keys as a key set.
fn fetch(config: &Value, _: &str) -> Option<Bytes> {
    if let Some(certificate) = config["cert_pem"].as_str() {
        return Some(certificate.to_owned().into());
    }
    let keys: Vec<Value> = config["jwks_pem"]
        .as_object()?
        .iter()
        .filter_map(|(id, pem)| {
            let (n, e) = rsa_numbers(pem.as_str()?)?;
            Some(json!({"kid": id, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e}))
        })
        .collect();
    Some(json!({ "keys": keys }).to_string().into())
}

/// Modulus and exponent of a public key in PEM, in base64url: the last two numbers in its DER.
fn rsa_numbers(pem: &str) -> Option<(String, String)> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(base64).ok()?;
    let modulus_at = der.windows(2).position(|pair| pair == [0x02, 0x82])?;
    let length = usize::from(der[modulus_at + 2]) << 8 | usize::from(der[modulus_at + 3]);
    let (modulus, rest) = der[modulus_at + 4..].split_at_checked(length)?;
    let [0x02, _, exponent @ ..] = rest else { return None };
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    Some((URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent)))
}

/// A source of the vector's provider.
fn verifier(case: &Value) -> Result<Verifier, Vec<ParameterFault>> {
    let name = text(case, "provider");
    if let Some(parameters) = case.get("parameters") {
        return Verifier::new(name, &pairs(parameters));
    }
    let mut parameters = secrets(case);
    let known = provider(name).map_or(&[][..], |provider| provider.parameters);
    for (name, value) in case["config"].as_object().into_iter().flatten() {
        if let Some(value) = value.as_str()
            && known.iter().any(|parameter| parameter.name == name)
            && !parameters.iter().any(|(given, _)| given == name)
        {
            parameters.push((name.clone(), value.to_owned()));
        }
    }
    for (id, key) in case["config"]["keys"].as_object().into_iter().flatten() {
        parameters.push(("public_key".to_owned(), format!("{id}:{}", key.as_str().unwrap_or_default())));
    }
    Verifier::new(name, &parameters)
}

/// The vector's secret, under the names that the scheme has for it.
fn secrets(case: &Value) -> Vec<(String, String)> {
    let values: Vec<String> = values(&case["secret"]).into_iter().filter(|secret| !secret.is_empty()).collect();
    let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut parameters = Vec::new();
    for value in &values {
        match (text(case, "scheme"), value.split_once(':')) {
            ("basic-auth", Some((username, password))) => {
                parameters.extend([owned("username", username), owned("password", password)]);
            }
            ("gitlab-token", _) => parameters.push(owned("token", value)),
            _ => parameters.push(owned("secret", value)),
        }
    }
    match text(case, "scheme") {
        "hubspot-v1" => parameters.push(owned("version", "v1")),
        "hubspot-v2" => parameters.push(owned("version", "v2")),
        "front-rule" => parameters.push(owned("kind", "rule")),
        "x-hub-sha1" if takes(case, "algorithm") => parameters.push(owned("algorithm", "sha1")),
        _ => {}
    }
    parameters
}

/// Whether the vector's provider has a parameter of that name.
fn takes(case: &Value, name: &str) -> bool {
    let provider = provider(text(case, "provider"));
    provider.is_some_and(|provider| provider.parameters.iter().any(|parameter| parameter.name == name))
}

/// A vector's request.
struct Made {
    method: String,
    url: String,
    path: String,
    query: Option<String>,
    headers: Vec<(Bytes, Bytes)>,
    body: Vec<u8>,
}

impl Made {
    fn of(case: &Value) -> Result<Self, String> {
        let target = case.get("url").or_else(|| case.get("path")).and_then(Value::as_str).unwrap_or(URL).to_owned();
        let url = if target.starts_with('/') { format!("https://relay.example.com{target}") } else { target };
        let after_host = url.splitn(4, '/').nth(3).unwrap_or_default();
        let (path, query) = match after_host.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (after_host, None),
        };
        let body = text(case, "body");
        let encoding = case.get("body_encoding").and_then(Value::as_str).unwrap_or("utf8");
        Ok(Self {
            method: case.get("method").and_then(Value::as_str).unwrap_or("POST").to_owned(),
            path: format!("/{path}"),
            query,
            headers: pairs(&case["headers"])
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase().into(), value.into()))
                .collect(),
            body: match encoding {
                "base64" => STANDARD.decode(body).map_err(|error| format!("body: {error}"))?,
                "utf8" | "utf-8" => body.as_bytes().to_vec(),
                other => return Err(format!("no body_encoding is called {other:?}")),
            },
            url,
        })
    }

    fn request<'a>(&'a self, now: Wall, fetched: &'a [Fetched]) -> Request<'a> {
        Request {
            method: &self.method,
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            headers: &self.headers,
            body: &self.body,
            url: Some(&self.url),
            now,
            fetched,
        }
    }
}

/// Names and values: a list of pairs, or an object whose lists are repetitions.
fn pairs(value: &Value) -> Vec<(String, String)> {
    let owned = |name: &str, value: &Value| (name.to_owned(), value.as_str().unwrap_or_default().to_owned());
    match value {
        Value::Array(list) => list.iter().map(|pair| owned(pair[0].as_str().unwrap_or_default(), &pair[1])).collect(),
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Array(values) => values.iter().map(|value| owned(name, value)).collect(),
                Value::Null => Vec::new(),
                single => vec![owned(name, single)],
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
