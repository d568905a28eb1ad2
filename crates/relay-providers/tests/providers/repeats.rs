//! What a repeat is known by: a genuine webhook with another body is another webhook, unless the platform documents its id as
//! that of a delivery.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{BodyShare, DeliveryId, Draft, Verdict, Verifier, provider, providers};
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
    assert!(documented > 15, "{documented}");
}

fn is_documented(id: DeliveryId) -> bool {
    match id {
        DeliveryId::Documented(_, page) => page.starts_with("https://"),
        DeliveryId::First(ids) => ids.iter().any(|id| is_documented(*id)),
        _ => false,
    }
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
