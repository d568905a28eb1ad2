//! What holds for every entry of the table.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use relay_core::time::Wall;
use relay_providers::{Acknowledgement, DeliveryId, Name, Request, SignedOver, Verdict, Verifier, provider, providers};
use serde_json::Value;

use crate::acting::{Acting, URL, owned};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
/// Manners rather than platforms: their vectors name parameters, and their proofs are tested on their own.
const GENERIC: [&str; 4] = ["api-key", "basic", "bearer", "hmac"];

#[test]
fn the_table_is_sorted_and_each_name_is_once_and_fit_for_a_command_line() {
    assert!(providers().windows(2).all(|pair| pair[0].name < pair[1].name));
    for entry in providers() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        assert!(entry.name.bytes().all(is_plain), "{}", entry.name);
        assert_eq!(provider(entry.name).map(|found| found.name), Some(entry.name));
    }
}

#[test]
fn every_entry_is_whole() {
    for entry in providers() {
        let name = entry.name;
        assert!(!entry.title.is_empty() && !entry.parameters.is_empty(), "{name}");
        assert!(entry.docs.starts_with("https://"), "{name}");
        assert!(entry.unproven.ends_with('.'), "{name} does not say what its signature leaves open");
        assert!(!entry.answer_within.is_zero(), "{name}");
        assert!(!entry.sample.body.is_empty() && !entry.sample.headers.is_empty(), "{name}");
        assert!((400..500).contains(&entry.refusal), "{name}");
        for parameter in entry.parameters.iter().chain(entry.sending) {
            assert!(!parameter.help.is_empty() && !parameter.help.ends_with('.'), "{name}: {}", parameter.name);
            assert!(!(parameter.required && parameter.default.is_some()), "{name}: {}", parameter.name);
            assert!(
                !parameter.made_up || (parameter.secret && parameter.begins.is_empty()),
                "{name}: {}",
                parameter.name
            );
        }
        // Google's keys are fetched.
        let has_key = entry.parameters.iter().any(|parameter| parameter.key) || name == "google-pubsub";
        assert!(has_key, "{name} checks requests with nothing");
    }
}

/// S28: what the platforms' documents, or their own libraries, want to see; each entry says where that stands.
#[test]
fn what_is_accepted_or_refused_is_answered_as_the_platform_documents() {
    let differs = providers().iter().filter(|entry| entry.refusal != 401 || entry.bare_refusals);
    let refusals: Vec<_> = differs.map(|entry| (entry.name, entry.refusal, entry.bare_refusals)).collect();
    assert_eq!(
        refusals,
        [
            ("aws-sns", 403, false),
            ("azure-event-grid", 409, false),
            ("ebay", 412, false),
            ("gocardless", 498, false),
            ("salesforce", 403, false),
            ("xero", 401, true)
        ]
    );
    let differs =
        providers().iter().filter(|entry| !entry.key_source && entry.acknowledgement != Acknowledgement::EMPTY);
    let accepted: Vec<_> = differs
        .map(|entry| match entry.acknowledgement {
            Acknowledgement::Fixed { status, content_type, .. } => (entry.name, status, content_type),
            Acknowledgement::Receipt => (entry.name, 202, None),
        })
        .collect();
    assert_eq!(
        accepted,
        [
            ("adyen", 200, Some("text/plain")),
            ("cloudevents", 202, None),
            ("discord", 204, None),
            ("google-pubsub", 204, None),
            ("salesforce", 200, Some("text/xml; charset=utf-8")),
            ("twilio", 200, Some("text/xml")),
        ]
    );
}

/// A repeat of something delivered is somebody who pressed Resend, where the platform never tries again by itself.
#[test]
fn platforms_that_never_try_again_are_known() {
    for name in ["github", "gitlab", "woocommerce"] {
        assert!(!provider(name).expect("in the table").retries, "{name}");
    }
    assert!(provider("stripe").expect("in the table").retries);
}

#[test]
fn how_long_a_platform_tries_is_said_by_a_page_of_its_own() {
    let mut known = 0;
    for entry in providers() {
        assert!(entry.again.is_empty() || (entry.retries && !entry.again.ends_with('.')), "{}", entry.name);
        let Some(tries) = entry.tries_for else { continue };
        assert!(entry.retries && tries.time >= Duration::from_mins(1), "{}", entry.name);
        assert!(tries.page.starts_with("https://"), "{}", entry.name);
        known += 1;
    }
    assert!(known > 20, "{known}");
}

/// Where nothing but an id's memory keeps a proof from carrying other bodies, what is signed has a time, and the memory of
/// the default lasts as long.
#[test]
fn what_is_taken_once_is_signed_with_a_time_that_is_remembered() {
    let once = providers().iter().filter(|entry| entry.once);
    assert_eq!(once.clone().map(|entry| entry.name).collect::<Vec<_>>(), ["mailgun", "paypal"]);
    for entry in once {
        let needed = Acting::new(entry).verifier.remembers_for().expect("it has a time");
        assert!(needed <= relay_core::limits::DEDUPE_WINDOW, "{}: {needed:?}", entry.name);
        assert_eq!(
            Acting::new(entry).with("tolerance", "7d").verifier.remembers_for(),
            Some(Duration::from_hours(7 * 24))
        );
        assert_eq!(
            Acting::new(entry).with("tolerance", "off").verifier.remembers_for(),
            None,
            "it is the operator's word"
        );
        assert!(matches!(entry.delivery, DeliveryId::Documented(..)), "{}", entry.name);
    }
    assert_eq!(Acting::new(provider("stripe").expect("in the table")).verifier.remembers_for(), None);
}

/// Names of events are for people and prove nothing; still they are read where they are signed, if they stand there.
#[test]
fn the_name_of_an_event_is_a_header_field_only_where_the_body_has_none() {
    let by_header =
        providers().iter().filter(|entry| matches!(entry.event, Name::Header(_) | Name::First([Name::Header(_), ..])));
    assert_eq!(
        by_header.map(|entry| entry.name).collect::<Vec<_>>(),
        ["bitbucket", "cloudevents", "contentful", "github", "gitlab", "sanity", "shopify", "woocommerce"]
    );
}

/// Beside POST and the handshakes' own: methods that the platform, or whoever writes the automation there, chooses.
#[test]
fn methods_that_a_sender_may_choose_are_taken() {
    for (name, methods) in [
        ("basic", "PUT PATCH DELETE GET"),
        ("contentful", "PUT PATCH DELETE GET"),
        ("freshdesk", "PUT PATCH DELETE GET"),
        ("hmac", "PUT PATCH DELETE GET"),
        ("hubspot", "GET"),
        ("sanity", "PUT PATCH DELETE GET"),
        ("svix", "PUT"),
        ("twilio", "GET"),
        ("zendesk", "PUT PATCH DELETE GET"),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        for method in methods.split(' ') {
            assert!(acting.verifier.methods().contains(&method), "{name} {method}");
            let mut draft = acting.provider.draft(URL, "wh_1", NOW);
            method.clone_into(&mut draft.method);
            if method == "GET" {
                draft.body = "".into();
            }
            let signed = acting.signer.sign(draft, "wh_1", NOW).expect("it can be signed");
            assert!(acting.is_genuine(&signed, NOW), "{name} {method}");
        }
    }
}

#[test]
fn every_entry_acknowledges_with_a_success_and_takes_its_own_handshakes() {
    for entry in providers() {
        match entry.acknowledgement {
            Acknowledgement::Receipt => assert!(entry.key_source, "{}", entry.name),
            Acknowledgement::Fixed { status, content_type, body } => {
                assert!((200..300).contains(&status), "{}", entry.name);
                assert_eq!(content_type.is_some(), !body.is_empty(), "{}", entry.name);
                assert!(!entry.key_source, "{}", entry.name);
            }
        }
        for other in entry.otherwise {
            let Acknowledgement::Fixed { status, .. } = other.acknowledgement else { panic!("{}", entry.name) };
            assert!((200..300).contains(&status) && !other.on.is_empty(), "{}", entry.name);
        }
        let chosen = ["zendesk", "freshdesk", "sanity", "contentful", "basic", "hmac"].contains(&entry.name);
        assert_eq!(entry.key_source || chosen, entry.methods.contains(&"DELETE"), "{}", entry.name);
        for handshake in entry.handshakes {
            assert!(entry.methods.contains(&handshake.method), "{}: {handshake:?}", entry.name);
        }
    }
}

#[test]
fn every_sample_is_signed_and_verified_and_says_which_webhook_it_is() {
    for entry in providers() {
        let acting = Acting::new(entry);
        let signed = acting.sample("wh_1", NOW);
        let Verdict::Genuine(genuine) = acting.judge(&signed, NOW) else {
            panic!("{}: {:?}", entry.name, acting.judge(&signed, NOW));
        };
        let key = acting.key(&signed, NOW);
        if key.is_some() {
            let other = acting.key(&acting.sample("wh_2", NOW), NOW);
            assert_ne!(key, other, "{}: two samples are one webhook", entry.name);
        }
        let expects_event = entry.event.is_anywhere();
        assert!(genuine.event.is_some() || !expects_event, "{}: {genuine:?}", entry.name);
        let expects_order = entry.order.is_anywhere();
        assert!(genuine.order.is_some() || !expects_order, "{}: {genuine:?}", entry.name);
    }
}

/// I20: the id of a webhook is the same however often its sender tries.
#[test]
fn a_sample_that_is_sent_again_has_the_same_id() {
    for entry in providers() {
        let acting = Acting::new(entry);
        let draft = entry.draft(URL, "wh_1", NOW);
        let id = |at: i64| {
            let now = Wall::from_micros(NOW.as_micros() + at * 1_000_000);
            let signed = acting.signer.sign(draft.clone(), "wh_1", now).expect("a sample can be signed");
            let Verdict::Genuine(genuine) = acting.judge(&signed, now) else { panic!("{}", entry.name) };
            genuine.dedupe.map(|key| key.id)
        };
        assert_eq!(id(0), id(120), "{}", entry.name);
    }
}

#[test]
fn every_provider_has_one_good_and_three_bad_requests_in_the_vectors() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers");
    for file in ["vectors.json", "derived.json"] {
        let cases: Vec<Value> =
            serde_json::from_slice(&fs::read(folder.join(file)).expect("the fixture is there")).expect("JSON");
        for case in cases {
            let count = counts.entry(case["provider"].as_str().unwrap_or_default().to_owned()).or_default();
            *(if case["expect"] == "ok" { &mut count.0 } else { &mut count.1 }) += 1;
        }
    }
    for entry in providers().iter().filter(|entry| !GENERIC.contains(&entry.name)) {
        let (good, bad) = counts.get(entry.name).copied().unwrap_or_default();
        assert!(good >= 1 && bad >= 3, "{}: {good} good, {bad} bad", entry.name);
    }
}

#[test]
fn a_signed_time_outside_its_window_is_refused_as_such_and_the_window_can_be_widened() {
    let mut windows = 0;
    for entry in providers() {
        let Some(tolerance) = entry.parameters.iter().find(|parameter| parameter.name == "tolerance") else { continue };
        let limit = match tolerance.default {
            Some("off") => continue,
            Some(text) => seconds(text),
            None => panic!("{}: a window has a default", entry.name),
        };
        windows += 1;
        let acting = Acting::new(entry);
        let signed = acting.sample("wh_1", NOW);
        let at = |after: i64| Wall::from_micros(NOW.as_micros() + after * 1_000_000);
        assert!(acting.is_genuine(&signed, at(limit - 1)), "{}", entry.name);
        for (after, check) in [(limit + 2, "stale_timestamp"), (-limit - 2, "future_timestamp")] {
            let Verdict::Refused(refusal) = acting.judge(&signed, at(after)) else { panic!("{}: {after}", entry.name) };
            assert_eq!(refusal.check, check, "{}: {refusal:?}", entry.name);
            assert!(refusal.detail.ends_with(&format!("limit {limit} s")), "{}: {refusal:?}", entry.name);
        }
        let wide = acting.with("tolerance", "9d");
        assert!(wide.is_genuine(&signed, at(86_400)), "{}", entry.name);
        assert!(acting.with("tolerance", "off").is_genuine(&signed, at(1 << 30)), "{}", entry.name);
    }
    assert!(windows >= 20, "the table lost its windows: {windows}");
}

fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        other => panic!("{other}"),
    };
    number.parse::<i64>().expect("a number") * unit
}

/// While a key is replaced, what is signed with either is good.
#[test]
fn a_key_given_twice_is_valid_twice() {
    for entry in providers() {
        let acting = Acting::new(entry);
        let signed = acting.sample("wh_1", NOW);
        let Some(other) = acting.other_key() else { continue };
        let key = entry.parameters.iter().find(|parameter| parameter.key).map_or("", |parameter| parameter.name);
        let key = if other.0.is_empty() { key } else { other.0 };
        assert!(acting.with(key, other.1).is_genuine(&signed, NOW), "{}", entry.name);
    }
}

#[test]
fn everything_that_is_missing_is_named_together_with_where_to_find_it() {
    for entry in providers() {
        let required: Vec<_> = entry.parameters.iter().filter(|parameter| parameter.required).collect();
        let Err(faults) = Verifier::new(entry.name, &[]) else {
            assert!(required.is_empty(), "{}", entry.name);
            continue;
        };
        for parameter in required {
            let fault = faults.iter().find(|fault| fault.parameter.as_deref() == Some(parameter.name));
            assert!(fault.is_some_and(|fault| fault.detail.contains(parameter.help)), "{}: {faults:?}", entry.name);
        }
        assert!(!faults.is_empty());
    }
}

#[test]
fn a_private_key_is_nothing_a_source_takes() {
    for entry in providers() {
        for parameter in entry.sending {
            let given = [(parameter.name.to_owned(), "x".to_owned())];
            let faults = Verifier::new(entry.name, &given).expect_err("a source does not sign");
            let fault = faults.iter().find(|fault| fault.parameter.as_deref() == Some(parameter.name));
            assert!(fault.is_some_and(|fault| fault.detail.contains("sending only")), "{}: {faults:?}", entry.name);
        }
    }
}

#[test]
fn another_url_is_refused_where_the_url_is_signed_and_no_url_at_all_too() {
    for entry in providers().iter().filter(|entry| entry.signs_url) {
        let acting = Acting::new(entry);
        let mut signed = acting.sample("wh_1", NOW);
        let request = Request { url: None, ..signed.request(NOW, &acting.fetched) };
        let verdict = acting.verifier.judge(&request);
        assert!(matches!(&verdict, Verdict::Refused(refusal) if refusal.check == "missing_url"), "{}", entry.name);
        signed.url = signed.url.replace("/webhook/x", "/webhook/y");
        assert!(!acting.is_genuine(&signed, NOW), "{}", entry.name);
    }
}

/// S27: neither refusals nor `Debug` hold what would let somebody in.
#[test]
fn nothing_printed_holds_a_secret_or_a_valid_signature() {
    for entry in providers() {
        let acting = Acting::new(entry);
        let signed = acting.sample("wh_1", NOW);
        let draft = entry.draft(URL, "wh_1", NOW);
        // Not signed at all, yet with a delivery id.
        let stripped = draft.clone();
        let later = Wall::from_micros(NOW.as_micros() + 30 * 86_400_000_000);
        let printed = format!(
            "{:?} {:?} {:?} {:?}",
            acting.verifier,
            acting.signer,
            acting.judge(&stripped, NOW),
            acting.judge(&signed, later)
        );
        assert!(!acting.is_genuine(&stripped, NOW), "{}", entry.name);
        for (name, value) in signed.headers.iter().filter(|field| !draft.headers.contains(field)) {
            let value = String::from_utf8_lossy(value);
            let is_public = ["timestamp", "-id", "version", "algorithm", "idempotency-key", "nonce"]
                .iter()
                .any(|part| String::from_utf8_lossy(name).contains(part));
            assert!(is_public || !printed.contains(&*value), "{}: {printed}", entry.name);
        }
        assert!(!printed.contains("Secret to Everybody"), "{}: {printed}", entry.name);
    }
}

/// S12: which bytes are signed can be said where the signature is over bytes of the body, and nowhere where strangers'
/// challenges are signed like events.
#[test]
fn signed_can_be_said_where_a_signature_covers_the_body() {
    let choices = |name: &str| {
        let known =
            provider(name).expect("in the table").parameters.iter().find(|parameter| parameter.name == "signed");
        known.map(|parameter| (parameter.default, parameter.choices))
    };
    let all: &[&str] = &["sent", "decoded", "either"];
    for name in ["stripe", "github", "standard-webhooks", "slack", "square", "gitlab"] {
        assert_eq!(choices(name), Some((Some("sent"), all)), "{name}");
    }
    assert_eq!(choices("hmac").expect("it may be said").0, Some("either"));
    for name in ["x-twitter", "linkedin", "api-key", "basic", "telegram", "okta", "twilio", "monday"] {
        assert_eq!(choices(name), None, "{name}");
    }
    let parameters = |value: &str| owned(&[("secret", "It's a Secret to Everybody"), ("signed", value)]);
    for (value, expected) in [("decoded", SignedOver::Decoded), ("either", SignedOver::Either), ("", SignedOver::Sent)]
    {
        assert_eq!(Verifier::new("github", &parameters(value)).expect("it is a choice").signed_over(), expected);
    }
    let faults = Verifier::new("github", &parameters("plain")).expect_err("it is no choice");
    assert_eq!(faults[0].detail, "\"plain\" must be sent, decoded or either");
}

/// A window that nobody prescribes refuses what is sent again after an outage: each default follows from a page.
#[test]
fn every_window_follows_from_a_document() {
    let mut seen = 0;
    for entry in providers() {
        for window in entry.parameters.iter().filter(|parameter| parameter.name == "tolerance") {
            let page = window.document.unwrap_or_default();
            assert!(window.default.is_some() && page.starts_with("https://"), "{}: {page:?}", entry.name);
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

/// I20: these prescribe no window, and none says that it signs a retry anew: the last of them is taken, and known for what it is.
#[test]
fn the_last_retry_of_a_platform_without_a_window_is_taken() {
    for (name, minutes) in [("zoom", 85), ("sendgrid", 24 * 60), ("sinch", 23 * 60), ("zendesk", 10)] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let first = acting.sample("wh_1", NOW);
        let after = |minutes: i64| Wall::from_micros(NOW.as_micros() + minutes * 60_000_000);
        assert!(acting.is_genuine(&first, after(minutes)), "{name}: {:?}", acting.judge(&first, after(minutes)));
        let key = acting.key(&first, NOW);
        assert!(key.is_some() && key == acting.key(&first, after(minutes)), "{name}");
        assert!(!acting.is_genuine(&first, after(2 * minutes)), "{name}: an old one sent again is refused");
    }
}
