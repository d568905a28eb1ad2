//! What a repeat is known by: a genuine webhook with another body is another webhook, unless the platform documents its id as
//! that of a delivery.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{BodyShare, DedupeKey, DeliveryId, Draft, Verdict, Verifier, provider, providers};
use serde_json::Value;

use crate::acting::{Acting, URL, owned, whole};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);

/// The same webhook's body with something else in it.
fn otherwise(body: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(body).into_owned();
    if text.contains("{\"") {
        return text.replacen("{\"", "{\"seen\":\"otherwise\",\"", 1).into();
    }
    if text.starts_with('<') {
        return text.replacen("<sObject", "<other>1</other><sObject", 1).into();
    }
    format!("{text}&seen=otherwise").into()
}

/// I20: for every provider, with its own signature over the other body.
#[test]
fn another_body_is_another_webhook_where_the_id_is_not_documented_as_that_of_a_delivery() {
    let mut documented = 0;
    for entry in providers().iter().filter(|entry| !entry.key_source) {
        let acting = Acting::new(entry);
        let draft = entry.draft(URL, "wh_1", NOW);
        let sign = |draft: Draft| acting.signer.sign(draft, "wh_1", NOW).expect("a sample can be signed");
        let first = sign(draft.clone());
        // Braintree sends and signs one field.
        let is_form = entry.name == "braintree";
        let body = if is_form { entry.draft(URL, "wh_2", NOW).body } else { otherwise(&draft.body) };
        let other = sign(Draft { body, ..draft });
        assert_ne!(first.body, other.body, "{}", entry.name);
        let Verdict::Genuine(genuine) = acting.judge(&first, NOW) else { panic!("{}", entry.name) };
        let Some(key) = genuine.dedupe else { continue };
        let is_alone = key.body == BodyShare::Nothing;
        assert_eq!(acting.key(&first, NOW) == acting.key(&other, NOW), is_alone, "{}", entry.name);
        assert!(!is_alone || is_documented(entry.delivery), "{}: nothing says that its id may stand alone", entry.name);
        documented += usize::from(is_alone);
    }
    assert!(documented >= 15, "{documented}");
}

fn is_documented(id: DeliveryId) -> bool {
    match id {
        DeliveryId::Documented(_, page) => page.starts_with("https://"),
        DeliveryId::First(ids) => ids.iter().any(|id| is_documented(*id)),
        _ => false,
    }
}

/// What stands alone as an id leads to its webhook, with what another webhook of the source tells of it; where nothing does, that is said and
/// not that there is none.
#[test]
fn an_id_that_stands_alone_leads_to_its_webhook() {
    let mut found = Vec::new();
    for entry in providers().iter().filter(|entry| !entry.key_source) {
        let acting = Acting::new(entry);
        let (first, second) = (acting.sample("wh_1", NOW), acting.sample("wh_2", NOW));
        let Verdict::Genuine(genuine) = acting.judge(&first, NOW) else { panic!("{}", entry.name) };
        let Some(key) = genuine.dedupe.filter(|key| key.body == BodyShare::Nothing) else { continue };
        let given = key.id.split(|byte| *byte == b'\n').next().expect("there is a first");
        let Some(known) = acting.verifier.known_by(given, &[second.request(NOW, &[])]) else {
            assert_eq!(entry.name, "paddle", "the other part of its ids is another with each webhook");
            continue;
        };
        assert!(known.iter().any(|known| known.id == key.id), "{}: {:?}", entry.name, String::from_utf8_lossy(&key.id));
        found.push(entry.name);
    }
    assert!(found.contains(&"stripe") && found.len() >= 12, "{found:?}");
}

/// I20: a retry that says which try it is has another body, and is the same webhook; a member of the same name elsewhere is a
/// customer's own.
#[test]
fn what_counts_the_attempts_of_a_platform_is_no_part_of_the_body() {
    let mut seen = 0;
    for entry in providers() {
        let acting = Acting::new(entry);
        for path in entry.attempts {
            let key = |path: &str, value: Value| {
                let mut draft = entry.draft(URL, "wh_1", NOW);
                let mut body: Value = serde_json::from_slice(&draft.body).expect("JSON");
                place(&mut body, path, &value);
                draft.body = body.to_string().into();
                acting.key(&acting.signer.sign(draft, "wh_1", NOW).expect("it can be signed"), NOW)
            };
            assert_eq!(key(path, 1.into()), key(path, 2.into()), "{} {path}", entry.name);
            assert_eq!(key(path, false.into()), key(path, true.into()), "{} {path}", entry.name);
            let list = if path.starts_with("[]") { "[]." } else { "" };
            let own = format!("{list}custom.{}", path.rsplit('.').next().expect("a name"));
            assert_ne!(key(&own, 1.into()), key(&own, 2.into()), "{} {own}", entry.name);
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}

/// Puts a value there, in every item of the lists on the way.
fn place(body: &mut Value, path: &str, value: &Value) {
    let (segment, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = segment.trim_end_matches("[]");
    let body = if name.is_empty() { body } else { &mut body[name] };
    match body {
        Value::Array(items) if segment.ends_with("[]") => items.iter_mut().for_each(|item| place(item, rest, value)),
        _ if segment.ends_with("[]") => panic!("{path}: the sample has no such list"),
        body if rest.is_empty() => *body = value.clone(),
        body => place(body, rest, value),
    }
}

/// I20: ids of things to which something happened, not of what was sent. Each pair is two webhooks.
#[test]
fn things_that_happen_to_one_message_deal_or_push_are_as_many_webhooks() {
    for (name, headers, first, second) in [
        (
            "mandrill",
            None,
            "mandrill_events=%5B%7B%22event%22%3A%22send%22%2C%22_id%22%3A%22exampleaaa%22%7D%5D",
            "mandrill_events=%5B%7B%22event%22%3A%22open%22%2C%22_id%22%3A%22exampleaaa%22%7D%5D",
        ),
        (
            "meta",
            None,
            r#"{"object":"instagram","entry":[{"messaging":[{"message":{"mid":"mid.AAA","text":"hello"}}]}]}"#,
            r#"{"object":"instagram","entry":[{"messaging":[{"message":{"mid":"mid.AAA","is_deleted":true}}]}]}"#,
        ),
        (
            "pipedrive",
            None,
            r#"{"v":1,"meta":{"id":123,"timestamp":1},"current":{"title":"a"},"event":"updated.deal","retry":0}"#,
            r#"{"v":1,"meta":{"id":123,"timestamp":2},"current":{"title":"b"},"event":"updated.deal","retry":0}"#,
        ),
        (
            "github",
            Some(("x-github-delivery", "72d3162e")),
            r#"{"installation":{"id":1}}"#,
            r#"{"repository":{"id":1}}"#,
        ),
        ("woocommerce", Some(("x-wc-webhook-delivery-id", "made from the second")), r#"{"id":1}"#, r#"{"id":2}"#),
        ("recurly", None, r#"{"id":"a","event_type":"updated"}"#, r#"{"id":"a","event_type":"closed"}"#),
        // Two subscriptions with one URL, each with its version of the API.
        ("square", None, r#"{"event_id":"a","data":{"old":1}}"#, r#"{"event_id":"a","data":{"new":1}}"#),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |body: &str| {
            let mut draft = Draft::post(URL, body.to_owned());
            if let Some((name, value)) = headers {
                draft.set_header(name, value);
            }
            acting.key(&acting.signer.sign(draft, "", NOW).expect("it can be signed"), NOW)
        };
        assert!(key(first).is_some(), "{name}");
        assert_eq!(key(first), key(first), "{name}");
        assert_ne!(key(first), key(second), "{name}");
    }
}

/// I20: GitLab before 17.4 sends no `Idempotency-Key`, and the event's UUID is shared by webhooks that one caused.
#[test]
fn webhooks_that_one_gitlab_event_caused_are_as_many() {
    let source = Verifier::new("gitlab", &owned(&[("token", "a token of the operator's")])).expect("good parameters");
    let key = |body: &str| {
        let mut draft = Draft::post(URL, body.to_owned());
        draft.set_header("x-gitlab-token", "a token of the operator's");
        draft.set_header("x-gitlab-event-uuid", "13792a34-cac6-4fda-95a8-c58e00a3954e");
        match source.judge(&draft.request(NOW, &[])) {
            Verdict::Genuine(genuine) => genuine.dedupe.map(|key| whole(&key, &draft)),
            other => panic!("{other:?}"),
        }
    };
    let (main, dev) = (r#"{"ref":"refs/heads/main"}"#, r#"{"ref":"refs/heads/dev"}"#);
    assert!(key(main).is_some() && key(main) == key(main));
    assert_ne!(key(main), key(dev));
}

/// I20: bodies of different webhooks may be equal (a dispatch that is sent again every hour); what they are called tells them
/// apart, although anybody could change it.
#[test]
fn an_equal_body_under_another_id_is_another_webhook() {
    for (name, header) in [("github", "x-github-delivery"), ("woocommerce", "x-wc-webhook-delivery-id")] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |id: &str| {
            let mut draft = acting.sample("wh_1", NOW);
            draft.set_header(header, id.to_owned());
            acting.key(&draft, NOW)
        };
        assert!(key("1").is_some() && key("1") == key("1"), "{name}");
        assert_ne!(key("1"), key("2"), "{name}");
    }
}

/// I20: what is left of a documented id is no id of a delivery. Each pair is two webhooks, and each of them is its own repeat.
#[test]
fn a_documented_id_that_is_not_whole_counts_with_the_body() {
    let json = ("content-type", "application/json");
    for (name, header, first, second) in [
        ("cloudevents", json, r#"{"id":5,"name":"a"}"#, r#"{"id":5,"name":"b"}"#),
        ("cloudevents", ("ce-id", "5"), "a", "b"),
        ("cloudevents", json, r#"[{"id":"1","source":"s"},{"n":1}]"#, r#"[{"id":"1","source":"s"},{"n":2}]"#),
        ("hmac", ("webhook-id", "the subscription"), "a", "b"),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |body: &str| {
            let mut draft = Draft::post(URL, body.to_owned());
            draft.set_header(header.0, header.1);
            acting.key(&acting.signer.sign(draft, "", NOW).expect("it can be signed"), NOW)
        };
        assert!(key(first).is_some() && key(first) == key(first), "{name}: {first}");
        assert_ne!(key(first), key(second), "{name}");
    }
}

/// The secret itself comes along: whoever has it is the sender.
const SENT_ALONG: &[&str] = &["cloudevents"];
/// Of the body no more is signed than the id (Mailgun), a checksum (`PayPal`) or the members that count (SNS).
const BODY_OPEN: &[&str] = &["aws-sns", "mailgun", "paypal"];

/// I20: under a key that is taken a genuine webhook is lost, so an id stands alone only if nobody else can have chosen it. Every
/// byte of a signed sample is bent, and every header field that is read is given another value: what is still genuine then has
/// the same id, or counts with its body.
#[test]
fn an_id_that_stands_alone_is_nobodys_to_choose_but_the_senders() {
    for entry in providers().iter().filter(|entry| !entry.key_source) {
        let acting = Acting::new(entry);
        let sample = acting.sample("wh_1", NOW);
        let Some(key) = key_of(&acting, &sample) else { continue };
        if key.body != BodyShare::Nothing {
            continue;
        }
        if SENT_ALONG.contains(&entry.name) {
            assert!(entry.unproven.contains("secret is sent along"), "{}", entry.name);
            continue;
        }
        let is_safe = |bent: &Draft| {
            let bent = key_of(&acting, bent);
            bent.is_none_or(|bent| bent == key || bent.body != BodyShare::Nothing)
        };
        let mut names: Vec<String> = acting.verifier.protected_headers().to_vec();
        names.extend(sample.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()));
        for name in names {
            for value in ["wh_2".to_owned(), String::new()] {
                let mut bent = sample.clone();
                bent.set_header(&name, value);
                assert!(is_safe(&bent), "{}: {name}", entry.name);
            }
        }
        for at in 0..sample.body.len() {
            let mut body = sample.body.to_vec();
            body[at] ^= 1;
            let bent = Draft { body: body.into(), ..sample.clone() };
            assert!(is_safe(&bent), "{}: {}", entry.name, String::from_utf8_lossy(&bent.body));
            assert!(BODY_OPEN.contains(&entry.name) || !acting.is_genuine(&bent, NOW), "{}", entry.name);
        }
    }
}

fn key_of(acting: &Acting, draft: &Draft) -> Option<DedupeKey> {
    match acting.judge(draft, NOW) {
        Verdict::Genuine(genuine) => genuine.dedupe,
        _ => None,
    }
}

/// I20: where nothing secret covers the id or the body, a stranger who sends something else under ids to come keeps nothing out.
#[test]
fn an_id_that_others_can_choose_counts_with_the_body() {
    for (name, header) in [
        ("google-pubsub", None),
        ("jira", Some("x-atlassian-webhook-identifier")),
        ("linear", Some("linear-delivery")),
        ("razorpay", Some("x-razorpay-event-id")),
        ("salesforce", None),
        ("sanity", Some("idempotency-key")),
        ("twilio", Some("i-twilio-idempotency-token")),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let draft = |body: Bytes| {
            let mut draft = acting.provider.draft(URL, "wh_1", NOW);
            draft.body = body;
            if let Some(header) = header {
                draft.set_header(header, "coming");
            }
            acting.signer.sign(draft, "wh_1", NOW).expect("it can be signed")
        };
        let body = acting.provider.draft(URL, "wh_1", NOW).body;
        let (genuine, junk) = (draft(body.clone()), draft(otherwise(&body)));
        assert!(acting.key(&genuine, NOW).is_some(), "{name}");
        assert_eq!(acting.key(&genuine, NOW), acting.key(&draft(body), NOW), "{name}: a retry is a repeat");
        assert_ne!(acting.key(&genuine, NOW), acting.key(&junk, NOW), "{name}");
    }
}

/// I20: of the two families of header fields that Svix has, the one that is signed names the webhook.
#[test]
fn the_id_of_the_other_family_of_header_fields_names_nothing() {
    let svix = Acting::new(provider("svix").expect("in the table"));
    let standard = Acting::new(provider("standard-webhooks").expect("in the table"));
    let signed = standard.sample("msg_1", NOW);
    let mut bent = signed.clone();
    bent.set_header("svix-id", "msg_2");
    assert!(svix.key(&signed, NOW).is_some());
    assert_eq!(svix.key(&signed, NOW), svix.key(&bent, NOW));
    assert_eq!(key_of(&svix, &bent).map(|key| key.body), Some(BodyShare::Nothing));
}

/// I20: `id` and `source` name a `CloudEvents` event; anything else may have members of these names.
#[test]
fn source_and_id_name_a_cloud_event_and_nothing_else() {
    const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
    const BATCH: &str = "application/cloudevents-batch+json";
    let acting = Acting::new(provider("cloudevents").expect("in the table"));
    let key = |headers: &[(&str, &str)], body: &str| {
        let mut draft = Draft::post(URL, body.to_owned());
        for (name, value) in headers {
            draft.set_header(name, (*value).to_owned());
        }
        acting.key(&acting.signer.sign(draft, "", NOW).expect("it can be signed"), NOW)
    };
    let binary = [("ce-id", "1"), ("ce-source", "s"), ("ce-specversion", "1.0")];
    let (event, other) = (r#"{"id":"1","source":"s","specversion":"1.0""#, r#""status":"#);
    let with = |text: &str, status: u8| format!("{text},{other}{status}}}");
    for (headers, text) in [
        (&[("content-type", STRUCTURED)][..], event.to_owned()),
        (&binary, r#"{"a":1"#.to_owned()),
        (&[("content-type", "Application/CloudEvents+JSON")], event.to_owned()),
    ] {
        assert!(key(headers, &with(&text, 1)).is_some(), "{headers:?}");
        assert_eq!(key(headers, &with(&text, 1)), key(headers, &with(&text, 2)), "{headers:?}: {text}");
    }
    let batch =
        |status| format!("[{},{}]", with(event, status), with(r#"{"id":"2","source":"s","specversion":"1.0""#, 0));
    assert_eq!(key(&[("content-type", BATCH)], &batch(1)), key(&[("content-type", BATCH)], &batch(2)));
    for (headers, text) in [
        (&[("content-type", "application/json")][..], r#"{"id":"42","source":"web""#),
        (&[("content-type", "application/json")], event),
        (&[("content-type", STRUCTURED)], r#"{"id":"42","source":"web""#),
        (&[("content-type", "application/cloudevents+jsonx")], event),
        (&[("content-type", BATCH)], event),
        (&binary[..2], r#"{"a":1"#),
        (&[("ce-id", "1"), ("ce-specversion", "1.0")], r#"{"a":1"#),
    ] {
        assert!(key(headers, &with(text, 1)).is_some(), "{headers:?}: {text}");
        assert_ne!(key(headers, &with(text, 1)), key(headers, &with(text, 2)), "{headers:?}: {text}");
    }
    let partly = |status| format!("[{},{}]", with(event, 0), with(r#"{"id":"2","source":"s""#, status));
    assert_ne!(key(&[("content-type", BATCH)], &partly(1)), key(&[("content-type", BATCH)], &partly(2)));
    assert_ne!(
        key(&[("content-type", "application/json")], &batch(1)),
        key(&[("content-type", "application/json")], &batch(2))
    );
}

/// I20: an id that a sender leaves empty, or makes longer than any, is no reason to lose its webhook.
#[test]
fn odd_ids_in_header_fields_are_taken() {
    for (name, header) in [("github", "x-github-delivery"), ("jira", "x-atlassian-webhook-identifier")] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |id: &str| {
            let mut draft = acting.sample("wh_1", NOW);
            draft.set_header(header, id.to_owned());
            acting.key(&draft, NOW)
        };
        assert_eq!(key(""), None, "{name}");
        let long = "1".repeat(300);
        assert!(key(&long).is_some() && key(&long) == key(&long), "{name}");
        assert_ne!(key(&long), key(&long.replacen('1', "2", 1)), "{name}");
    }
}

/// I20: a body that is too large to be looked through for ids is repeated by a retry all the same.
#[test]
fn a_very_large_body_is_known_as_a_whole() {
    for name in ["stripe", "meta"] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |fill: &str| {
            let draft = Draft::post(URL, format!(r#"{{"id":"evt_1","fill":"{}"}}"#, fill.repeat(5 * 1024 * 1024)));
            acting.key(&acting.signer.sign(draft, "", NOW).expect("it can be signed"), NOW)
        };
        assert!(key("a").is_some() && key("a") == key("a"), "{name}");
        assert_ne!(key("a"), key("b"), "{name}");
    }
}

/// I20: an event goes to each of a platform's endpoints, and several may have one URL: while the version of the API is changed,
/// for several apps or folders. Each sends what its own application asked for.
#[test]
fn one_event_for_two_endpoints_at_one_url_is_two_webhooks() {
    for (name, own, one, other, without) in [
        ("stripe", "pending_webhooks", r#""api_version":"2024-04-10""#, r#""api_version":"2025-09-30.clover""#, ""),
        ("stripe", "pending_webhooks", r#""api_version":"2024-04-10""#, r#""x":0"#, r#""api_version":null"#),
        ("paddle", "occurred_at", r#""notification_id":"ntf_1""#, r#""notification_id":"ntf_2""#, ""),
        ("slack", "event_time", r#""api_app_id":"A1""#, r#""api_app_id":"A2""#, ""),
        ("box", "created_at", r#""webhook":{"id":"1"}"#, r#""webhook":{"id":"2"}"#, r#""webhook":{"type":"webhook"}"#),
        ("circleci", "happened_at", r#""webhook":{"id":"1"}"#, r#""webhook":{"id":"2"}"#, ""),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let key = |endpoint: &str, value: u8| {
            let endpoint = if endpoint.is_empty() { String::new() } else { format!(",{endpoint}") };
            let body = format!(r#"{{"id":"evt_1","event_id":"evt_1","type":"x"{endpoint},"{own}":{value}}}"#);
            acting.key(&acting.signer.sign(Draft::post(URL, body), "wh_1", NOW).expect("it can be signed"), NOW)
        };
        assert_ne!(key(one, 1), key(other, 1), "{name}");
        for endpoint in [one, other, without] {
            assert_eq!(key(endpoint, 1), key(endpoint, 2), "{name}: a retry of {endpoint} is the same webhook");
        }
    }
}
