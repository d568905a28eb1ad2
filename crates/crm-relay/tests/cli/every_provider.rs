//! The whole table of providers through real processes: a source of each, its sample whole and spoilt.

use serde_json::Value;

use crate::place::{Place, wait_until};

const PUBLIC_URL: &str = "https://relay.example.com/in";
/// Taken by whatever wants any text.
const SECRET: &str = "a-secret-of-no-one-in-particular";
/// Seed and public key of RFC 8032, section 7.1, test 1.
const ED25519: (&str, &str) = (
    include_str!("../../../../fixtures/providers/keys/ed25519.seed.txt").trim_ascii(),
    include_str!("../../../../fixtures/providers/keys/ed25519.public.txt").trim_ascii(),
);
/// A P-256 key pair made for the tests: PKCS#8, and the public key as platforms show it.
const P256: (&str, &str) = (
    include_str!("../../../../fixtures/providers/keys/p256.private.txt").trim_ascii(),
    include_str!("../../../../fixtures/providers/keys/p256.public.txt").trim_ascii(),
);

/// What proves these does not cover the body, or not the byte in its middle; their pages say so.
const BODY_NOT_PROVEN: [&str; 15] = [
    "adyen",
    "azure-event-grid",
    "basic",
    "cloudevents",
    "freshdesk",
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
/// These sign a time and prescribe no age, or sign differently each time.
const AGE_NOT_PROVEN: [&str; 3] = ["ebay", "mercadopago", "sanity"];

/// Every provider as an operator would try it: what a source lacks is named at once; its sample is answered as the platform
/// wants it and arrives; a spoilt one is refused, and the source says which check failed.
#[test]
fn every_provider_takes_its_sample_and_refuses_a_spoilt_one() {
    let place = Place::new();
    place.write("rsa.pem", include_str!("../../../../fixtures/providers/keys/rsa.key.pem"));
    place.write("private.txt", P256.0);
    place.write("seed.txt", ED25519.0);
    // Keys that live at a URL are asked for through a proxy that is not there: nothing leaves the machine.
    let _server = place.server_with(&[("PUBLIC_URL", PUBLIC_URL), ("RELAY_PROXY", "http://127.0.0.1:9")]);
    place.wait_for("server.log", "listening");
    let (_receiver, target) = place.receiver(&[]);
    let _client = place.client_to("client", &target);
    let all = place.json(&["provider", "list"]);
    let all = all["items"].as_array().unwrap();
    let mut wrong = Vec::new();
    let mut arriving = 0;
    for provider in all.iter().filter(|provider| provider["key_source"] == false) {
        let mut note = |what: String| wrong.push(format!("{}: {what}", provider["name"].as_str().unwrap()));
        arriving += walk(&place, provider, &mut note);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    wait_until("every sample at the target", || place.json(&["health"])["webhooks_processed"] == arriving);
}

/// Whoever signs the URL cannot be believed by a server that does not know it: said at once, not at the first webhook.
#[test]
fn a_provider_that_signs_its_url_wants_a_public_url() {
    let place = Place::new();
    let _server = place.server();
    let all = place.json(&["provider", "list"]);
    let signing: Vec<&Value> =
        all["items"].as_array().unwrap().iter().filter(|provider| provider["signs_url"] == true).collect();
    assert!(!signing.is_empty());
    for provider in signing {
        let name = provider["name"].as_str().unwrap();
        let sets = options(&parameters(provider));
        let refused = place.cli(&[&["source", "create", name, "--provider", name][..], &as_str(&sets)].concat());
        let words = place.transcript(&refused);
        assert!(!refused.status.success() && words.contains("PUBLIC_URL"), "{name}: {words}");
    }
}

/// Tries one; gives how many webhooks are to arrive.
fn walk(place: &Place, provider: &Value, note: &mut impl FnMut(String)) -> u64 {
    let name = provider["name"].as_str().unwrap();
    let create = ["source", "create", name, "--provider", name];
    missing_parameters(place, provider, &create, note);
    let sets = options(&parameters(provider));
    let created = place.cli(&[&create[..], &as_str(&sets)].concat());
    if !created.status.success() {
        note(format!("not created: {}", place.transcript(&created)));
        return 0;
    }
    let private = options(&private(name));
    let send = |more: &[&str]| {
        let own = if private.is_empty() { vec![] } else { [as_str(&sets), as_str(&private)].concat() };
        place.cli(&[&["send", "--source", name, "--json"][..], &own, more].concat())
    };
    let wants_key = ["aws-sns", "paypal", "google-pubsub"].contains(&name);
    let status = if wants_key { 503 } else { provider["acknowledgement"]["status"].as_u64().unwrap() };
    let whole = send(&[]);
    if !says(&whole.stdout, status) {
        note(format!("want {status} for the sample: {}", place.transcript(&whole)));
    }
    for what in ["body", "signature", "timestamp"] {
        let spoilt = send(&["--tamper", what]);
        match spoilt.status.code() {
            // Nothing of that kind is signed.
            Some(2) if what != "signature" => {}
            Some(1) => {}
            // A password does not cover the body.
            Some(0) if what == "body" && BODY_NOT_PROVEN.contains(&name) => {}
            Some(0) if what == "timestamp" && AGE_NOT_PROVEN.contains(&name) => {}
            _ => note(format!("--tamper {what} is not refused: {}", place.transcript(&spoilt))),
        }
    }
    let shown = place.json(&["source", "show", name]);
    let refusals = shown["refusals"].as_array().cloned().unwrap_or_default();
    if refusals.is_empty() || refusals.iter().any(|refusal| refusal["check"].as_str().is_none_or(str::is_empty)) {
        note(format!("the failed checks are not shown: {shown}"));
    }
    shown["counters"]["accepted"].as_u64().unwrap_or_default()
}

/// Whatever is required is named together.
fn missing_parameters(place: &Place, provider: &Value, create: &[&str], note: &mut impl FnMut(String)) {
    let required = required(provider);
    if required.is_empty() {
        return;
    }
    let refused = place.transcript(&place.cli(create));
    if !refused.contains("[exit 2]") && !refused.contains("[exit 1]")
        || required.iter().any(|name| !refused.contains(name))
    {
        note(format!("want {required:?} named: {refused}"));
    }
}

fn required(provider: &Value) -> Vec<&str> {
    let parameters = provider["parameters"].as_array().unwrap().iter();
    parameters.filter(|parameter| parameter["required"] == true).map(|found| found["name"].as_str().unwrap()).collect()
}

/// Values that a source of it takes.
fn parameters(provider: &Value) -> Vec<(&str, String)> {
    let name = provider["name"].as_str().unwrap();
    let chosen: &[(&str, &str)] = match name {
        "hmac" => &[("secret", SECRET), ("header", "X-Signature")],
        "standard-webhooks" | "svix" | "gitlab" => &[("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "pipedrive" | "postmark" | "freshdesk" => &[("username", "crm"), ("password", SECRET)],
        "stripe" => &[("endpoint_secret", "whsec_It's a Secret to Everybody")],
        "paddle" => &[("secret_key", "pdl_ntfset_01gkpjp8bkm3tm53kdgkx6sms7_6h3qd3uFSi9YCD3OLYAShQI90XTI5vEI")],
        "paystack" => &[("secret_key", "sk_test_6f1a2b3c4d5e6f708192a3b4c5d6e7f8")],
        "revolut" => &[("signing_secret", "wsk_r59a4HfWVAKycbCaNO1RvgCJec02gRd8")],
        "bigcommerce" => &[("client_secret", SECRET)],
        "airtable" => &[("mac_secret", "c2VjcmV0LWJ5dGVzLW9mLWEtd2ViaG9vaw==")],
        "authorize_net" => {
            return vec![("signature_key", "A6214F6105625D5ED957CF02E749BB44".repeat(4))];
        }
        "telegram" => &[("secret_token", "a-Secret_of_a_bot")],
        "discord" | "telnyx" => &[("public_key", ED25519.1)],
        "sendgrid" => &[("public_key", P256.1)],
        "adyen" => &[("hmac_key", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056")],
        "aws-sns" => &[("topic_arn", "arn:aws:sns:us-east-2:123456789012:crm")],
        "google-pubsub" => &[("audience", "crm"), ("email", "push@example.iam.gserviceaccount.com")],
        "monday" => &[("signing_secret", SECRET), ("audience", "https://relay.example.com/in/webhook/monday")],
        "paypal" => &[("webhook_id", "4JH86294D6297924G")],
        "salesforce" => &[("organization_id", "00D5g000000abcdEAA")],
        "ebay" => {
            let key = format!("9936261a-7d7b-4621-a0f1-96ccb428af49:{}", P256.1);
            return vec![("public_key", key), ("verification_token", SECRET.to_owned())];
        }
        "asana" | "notion" => &[("secret", SECRET)],
        _ => return required(provider).into_iter().map(|name| (name, SECRET.to_owned())).collect(),
    };
    chosen.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// What only its sender has.
fn private(name: &str) -> Vec<(&'static str, String)> {
    let file = match name {
        "discord" | "telnyx" => "@seed.txt",
        "sendgrid" | "ebay" => "@private.txt",
        "aws-sns" | "google-pubsub" | "paypal" => "@rsa.pem",
        _ => return Vec::new(),
    };
    vec![("signing_key", file.to_owned())]
}

fn options(parameters: &[(&str, String)]) -> Vec<String> {
    parameters.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]).collect()
}

fn as_str(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn says(stdout: &[u8], status: u64) -> bool {
    serde_json::from_slice::<Value>(stdout).is_ok_and(|line| line["status"] == status)
}
