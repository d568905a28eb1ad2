//! Handshakes as a source sees them: answered where they belong, to whom they belong, and never stored.

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{
    Acknowledgement, Answer, Draft, On, Refusal, Request, Signer, Verdict, Verifier, provider, providers,
};

use crate::acting::{Acting, URL, owned};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
const SUBSCRIBE: &str = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=meatyhamhock";

#[test]
fn meta_gets_its_challenge_back_for_the_right_token_alone() {
    let source = verifier("meta", &[("app_secret", "s"), ("verify_token", "other"), ("verify_token", "meatyhamhock")]);
    let answer = answered(get(&source, SUBSCRIBE));
    assert_eq!((answer.status, answer.content_type, &answer.body[..]), (200, Some("text/plain"), &b"1158201444"[..]));
    assert!(answer.headers.contains(&("x-content-type-options", b"nosniff".to_vec())));
    for query in [
        SUBSCRIBE.replace("meatyhamhock", "meatyhamhoc"),
        SUBSCRIBE.replace("subscribe", "unsubscribe"),
        SUBSCRIBE.replace("meatyhamhock", ""),
        SUBSCRIBE.replace("hub.verify_token", "token"),
    ] {
        let refusal = refused(get(&source, &query));
        assert_eq!(refusal.status, 403, "{query}: {refusal:?}");
        assert!(!refusal.detail.contains("1158201444"), "a refusal echoes nothing");
    }
    let without_token = verifier("meta", &[("app_secret", "s")]);
    let refusal = refused(get(&without_token, SUBSCRIBE));
    assert_eq!((refusal.status, refusal.check), (403, "no_verify_token"));
    assert!(refusal.detail.contains("--set verify_token="), "{refusal:?}");
}

#[test]
fn a_challenge_is_answered_at_sources_of_its_provider_alone() {
    for entry in providers().iter().filter(|entry| entry.name != "meta") {
        let verdict = get(&Acting::new(entry).verifier, SUBSCRIBE);
        assert!(!matches!(verdict, Verdict::Handshake(_) | Verdict::Genuine(_)), "{}: {verdict:?}", entry.name);
    }
}

#[test]
fn an_echo_is_bounded() {
    let source = verifier("dropbox", &[("app_secret", "s")]);
    assert_eq!(answered(get(&source, &format!("challenge={}", "a".repeat(4_096)))).body.len(), 4_096);
    assert_eq!(refused(get(&source, &format!("challenge={}", "a".repeat(4_097)))).status, 400);
    assert_eq!(refused(get(&source, "challenge=")).status, 400);
}

/// While the secret is replaced the platform knows one of the two: that which it signed its question with.
#[test]
fn what_is_signed_is_answered_with_the_key_that_it_is_signed_with() {
    const OLD: &str = "the old secret of the app";
    const NEW: &str = "the new secret of the app";
    let source = verifier("zoom", &[("secret_token", NEW), ("secret_token", OLD)]);
    for secret in [OLD, NEW] {
        let question = post(r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#);
        let signer = Signer::new("zoom", &owned(&[("secret_token", secret)])).expect("good parameters");
        let question = signer.sign(question, "1", NOW).expect("it can be signed");
        let alone = verifier("zoom", &[("secret_token", secret)]);
        let answer = answered(judge(&source, &question));
        assert_eq!(answer, answered(judge(&alone, &question)), "signed with {secret:?}");
        assert!(answer.body.starts_with(b"{\"encryptedToken\":\""), "{answer:?}");
    }
}

/// The secret is taken from whoever comes first, so nobody may come second.
#[test]
fn a_secret_is_adopted_only_while_the_source_has_none() {
    let handed_over = post("{}").with("x-hook-secret", "b537207f20cbfa02");
    let awaiting = verifier("asana", &[]);
    assert!(awaiting.awaits_secret());
    let Verdict::Adopt { parameter, value, answer } = judge(&awaiting, &handed_over) else { panic!("not adopted") };
    assert_eq!((parameter, value.as_str(), answer.status), ("secret", "b537207f20cbfa02", 200));
    assert_eq!(answer.headers, [("x-hook-secret", b"b537207f20cbfa02".to_vec())]);
    assert_eq!(refused(judge(&awaiting, &post("{}"))).check, "awaiting_secret");
    let settled = verifier("asana", &[("secret", "b537207f20cbfa02")]);
    assert!(!settled.awaits_secret());
    assert_eq!(refused(judge(&settled, &handed_over)).check, "second_handover");
    assert_eq!(refused(judge(&settled, &post("{}"))).check, "missing_signature");

    let token = post(r#"{"verification_token":"secret_tMrlL1qK5vuQAh1b"}"#);
    let Verdict::Adopt { parameter, value, answer } = judge(&verifier("notion", &[]), &token) else {
        panic!("not adopted")
    };
    assert_eq!((parameter, value.as_str()), ("verification_token", "secret_tMrlL1qK5vuQAh1b"));
    assert!(answer.body.is_empty(), "the token is for the operator's eyes");
    assert_eq!(refused(judge(&verifier("notion", &[("secret", "x")]), &token)).check, "second_handover");
    let hostile = post("{\"verification_token\":\"a\\nb\"}");
    assert_eq!(refused(judge(&verifier("notion", &[]), &hostile)).status, 400);
}

#[test]
fn signed_handshakes_are_answered_once_they_prove_themselves() {
    for (name, body, headers, expected) in [
        ("slack", r#"{"type":"url_verification","challenge":"abc"}"#, None, r#"{"challenge":"abc"}"#),
        (
            "zoom",
            r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8"}}"#,
            None,
            r#"{"encryptedToken":"#,
        ),
        (
            "twitch",
            r#"{"challenge":"pogchamp"}"#,
            Some(("twitch-eventsub-message-type", "webhook_callback_verification")),
            "pogchamp",
        ),
        ("github", r#"{"zen":"Keep it logically awesome.","hook_id":1}"#, Some(("x-github-event", "ping")), ""),
        ("github", "payload=%7B%22zen%22%3A%22Keep+it%22%2C%22hook_id%22%3A1%7D", Some(("x-github-event", "ping")), ""),
        (
            "front",
            r#"{"type":"sync","authorization":{"id":"cmp_abc"}}"#,
            Some(("x-front-challenge", "c1")),
            r#"{"challenge":"c1"}"#,
        ),
        ("discord", r#"{"type":1}"#, None, r#"{"type":1}"#),
        ("xero", r#"{"events":[]}"#, None, ""),
        ("line", r#"{"destination":"U8","events":[]}"#, None, ""),
        ("asana", r#"{"events":[]}"#, None, ""),
        ("intercom", r#"{"topic":"ping"}"#, None, ""),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let mut draft = Draft::post(URL, body);
        if let Some((name, value)) = headers {
            draft.set_header(name, value);
        }
        let verdict = judge(&acting.verifier, &draft);
        assert!(matches!(verdict, Verdict::Refused(_)), "{name} answered a stranger: {verdict:?}");
        let signed = acting.signer.sign(draft, "wh_1", NOW).expect("can be signed");
        let answer = answered(judge(&acting.verifier, &signed));
        let text = String::from_utf8(answer.body).expect("text");
        assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{name}: {text}");
    }
}

/// Discord sends interactions and webhook events to one URL and wants each acknowledged in its own way; what is sent by whom has
/// no proof is not acknowledged at all.
#[test]
fn discord_is_acknowledged_by_what_it_sends() {
    let acting = Acting::new(provider("discord").expect("in the table"));
    let empty = |status| Acknowledgement::Fixed { status, content_type: None, body: "" };
    for (body, wanted) in [
        (r#"{"version":1,"application_id":"1","type":1,"event":{"type":"ENTITLEMENT_CREATE","data":{}}}"#, empty(204)),
        (
            r#"{"version":1,"application_id":"1","type":1,"event":{"type":"X","data":{"token":"t"}},"token":"t"}"#,
            empty(204),
        ),
        (r#"{"id":"9","application_id":"1","type":2,"data":{"name":"blep"},"token":"t","version":1}"#, empty(202)),
        (r#"{"id":"9","application_id":"1","type":3,"data":{"custom_id":"b"},"token":"t","version":1}"#, empty(202)),
        (r#"{"id":"9","application_id":"1","type":5,"data":{},"token":"t","version":1}"#, empty(202)),
        ("[]", empty(204)),
        ("{", empty(204)),
    ] {
        let draft = Draft::post(URL, body);
        assert!(matches!(judge(&acting.verifier, &draft), Verdict::Refused(_)), "{body}");
        let signed = acting.signer.sign(draft, "wh_1", NOW).expect("can be signed");
        let Verdict::Genuine(genuine) = judge(&acting.verifier, &signed) else { panic!("{body}") };
        assert_eq!(genuine.acknowledgement, wanted, "{body}");
    }
    // A large interaction, such as one on a long message, too.
    let body = format!(r#"{{"type":3,"token":"t","message":{{"content":"{}"}}}}"#, "x".repeat(200_000));
    let signed = acting.signer.sign(Draft::post(URL, body), "wh_1", NOW).expect("can be signed");
    let Verdict::Genuine(genuine) = judge(&acting.verifier, &signed) else { panic!("large") };
    assert_eq!(genuine.acknowledgement, empty(202));
    let ping = acting.signer.sign(Draft::post(URL, r#"{"type":0}"#), "wh_1", NOW).expect("can be signed");
    let answer = answered(judge(&acting.verifier, &ping));
    assert_eq!((answer.status, answer.content_type, answer.body.len()), (204, Some("application/json"), 0));
}

#[test]
fn a_badly_signed_probe_is_refused_as_the_platform_wants_to_see_it() {
    for name in ["xero", "discord"] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let draft = Draft::post(URL, r#"{"events":[],"type":1}"#);
        let mut signed = acting.signer.sign(draft, "wh_1", NOW).expect("can be signed");
        signed.body = Bytes::from_static(br#"{"events":[],"type":1} "#);
        let refusal = refused(judge(&acting.verifier, &signed));
        assert_eq!((refusal.check, refusal.status), ("bad_signature", 401), "{name}");
    }
}

#[test]
fn unsigned_requests_on_saving_are_answered_and_nothing_else_is() {
    let trello = verifier("trello", &[("secret", "s")]);
    assert_eq!(answered(judge(&trello, &Draft { method: "HEAD".to_owned(), ..post("") })).status, 200);
    assert_eq!(refused(judge(&trello, &post(""))).check, "missing_signature");
    let shop = verifier("woocommerce", &[("secret", "s")]);
    assert_eq!(answered(judge(&shop, &post("webhook_id=42"))).status, 200);
    assert_eq!(refused(judge(&shop, &post("webhook_id=42&total=1"))).check, "missing_signature");
}

/// Slack's check of a slash command's certificate is not signed, with GET and with POST.
#[test]
fn slack_checks_a_certificate_and_nothing_is_stored() {
    let source = verifier("slack", &[("signing_secret", "s")]);
    assert_eq!(answered(get(&source, "ssl_check=1&token=x")).status, 200);
    assert_eq!(answered(judge(&source, &post("ssl_check=1&token=x"))).status, 200);
    assert_eq!(refused(judge(&source, &post("command=%2Fcrm&text=ssl_check%3D1"))).check, "missing_signature");
    assert_eq!(refused(get(&source, "token=x")).check, "missing_signature");
}

/// What nothing signs may have come on the way: added to a genuine event, it makes no handshake of it. With its method left as it
/// is, since that tells challenges and events apart.
#[test]
fn an_event_stays_one_with_what_shows_a_handshake_beside_it() {
    let mut seen = 0;
    for entry in providers() {
        let acting = Acting::new(entry);
        let sample = acting.sample("wh_1", NOW);
        for handshake in entry.handshakes.iter().filter(|handshake| handshake.method == sample.method) {
            let (mut shown, mut form) = (sample.clone(), sample.clone());
            let mut is_in_url = false;
            for on in handshake.on {
                match on {
                    On::Header(name) => shown.set_header(name, "shown"),
                    On::HeaderIs(name, value) => shown.set_header(name, *value),
                    On::Query(name) | On::QueryWithout(name, _) => {
                        shown.url = format!("{}&{name}=1", shown.url);
                        is_in_url = true;
                    }
                    On::FormOf(names) => form.body = [&form.body[..], b"&", names[0].as_bytes(), b"=1"].concat().into(),
                    _ => {}
                }
            }
            let verdict = acting.judge(&shown, NOW);
            let is_kept = matches!(verdict, Verdict::Genuine(_)) || is_in_url && matches!(verdict, Verdict::Refused(_));
            assert!(is_kept, "{}, {handshake}: {verdict:?}", entry.name);
            let verdict = acting.judge(&form, NOW);
            let is_kept = matches!(verdict, Verdict::Genuine(_) | Verdict::Refused(_));
            assert!(is_kept, "{}, {handshake}: {verdict:?}", entry.name);
            seen += 1;
        }
    }
    assert!(seen > 12, "{seen}");
}

/// The same, of events that are forms or come in the query.
#[test]
fn a_command_is_no_check_of_a_certificate() {
    let acting = Acting::new(provider("slack").expect("in the table"));
    for body in ["command=%2Fcrm&text=x&ssl_check=1", "ssl_check=1&command=%2Fcrm", "ssl_check=1&payload=%7B%7D"] {
        assert_eq!(refused(judge(&acting.verifier, &post(body))).check, "missing_signature", "{body}");
        let signed = acting.signer.sign(post(body), "wh_1", NOW).expect("can be signed");
        assert!(acting.is_genuine(&signed, NOW), "{body}");
    }
    let url = format!("{URL}&command=%2Fcrm&ssl_check=1");
    let command = Draft { method: "GET".to_owned(), ..Draft::post(&url, "") };
    let signed = acting.signer.sign(command, "wh_1", NOW).expect("can be signed");
    assert!(acting.is_genuine(&signed, NOW));
}

/// A correctly signed body that is not the platform's own for a ping is an event, whatever the header says.
#[test]
fn a_ping_is_one_by_its_body_too() {
    for (name, header, body) in [
        ("bitbucket", ("x-event-key", "diagnostics:ping"), r#"{"test":true,"push":{}}"#),
        ("github", ("x-github-event", "ping"), r#"{"zen":"x","ref":"refs/heads/main"}"#),
        ("github", ("x-github-event", "ping"), "payload=%7B%22zen%22%3A%22x%22%2C%22ref%22%3A%22refs%22%7D"),
        ("github", ("x-github-event", "ping"), "payload=%7B%22zen%22%3A1%2C%22hook_id%22%3A1%7D&x=1"),
        ("front", ("x-front-challenge", "c1"), r#"{"type":"inbound_received"}"#),
        (
            "twitch",
            ("twitch-eventsub-message-type", "webhook_callback_verification"),
            r#"{"challenge":"c","event":{"id":"1"}}"#,
        ),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let signed = acting.signer.sign(post(body).with(header.0, header.1), "wh_1", NOW).expect("can be signed");
        assert!(acting.is_genuine(&signed, NOW), "{name}: {:?}", acting.judge(&signed, NOW));
    }
    let ping = post(r#"{"test": true}"#).with("x-event-key", "diagnostics:ping");
    assert_eq!(answered(judge(&verifier("bitbucket", &[("secret", "s")]), &ping)).status, 200);
}

/// While a further secret is awaited, what is signed with one that is in use is an event, and everything else is as before.
#[test]
fn a_further_secret_is_taken_beside_the_one_in_use() {
    let acting = Acting::new(provider("asana").expect("in the table"));
    let source = acting.verifier.clone().taking_another();
    let handover = post("{}").with("x-hook-secret", "of-the-second-webhook");
    let Verdict::Adopt { parameter, value, .. } = judge(&source, &handover) else { panic!("not adopted") };
    assert_eq!((parameter, &*value), ("secret", "of-the-second-webhook"));
    assert_eq!(refused(judge(&acting.verifier, &handover)).check, "second_handover");
    assert!(matches!(
        source.judge_head(&handover.request(NOW, &[])),
        relay_providers::ByHead::Refused { or_handshake: true, .. }
    ));

    let signed = acting.sample("1", NOW).with("x-hook-secret", "added-on-the-way");
    assert!(matches!(judge(&source, &signed), Verdict::Genuine(_)), "{:?}", judge(&source, &signed));
    let badly = Draft { body: "{}".into(), ..acting.sample("1", NOW) };
    assert_eq!(refused(judge(&source, &badly)).check, "bad_signature");
}

/// Before a webhook of Zendesk exists, its test is signed with a key that everybody knows.
#[test]
fn a_test_with_a_public_key_is_answered_and_never_an_event() {
    const PUBLIC: &str = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==";
    let test = Signer::new("zendesk", &owned(&[("signing_secret", PUBLIC)])).expect("good parameters");
    let signed = test.sign(post(r#"{"test":1}"#), "", NOW).expect("can be signed");
    let source = verifier("zendesk", &[("signing_secret", "a secret of a source")]);
    let answer = answered(judge(&source, &signed));
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    let other = Draft { body: "{}".into(), ..signed.clone() };
    assert_eq!(refused(judge(&source, &other)).check, "bad_signature");
    let late = Wall::from_micros(NOW.as_micros() + 3_600_000_000);
    assert_eq!(refused(source.judge(&signed.request(late, &[]))).status, 401, "a test is as old as an event may be");
    let theirs = verifier("zendesk", &[("signing_secret", PUBLIC)]);
    assert!(matches!(judge(&theirs, &signed), Verdict::Genuine(_)), "whoever gives it as a secret means it");
}

#[test]
fn event_grid_is_validated_for_known_subscriptions_and_its_url_is_left_alone() {
    let source = verifier("azure-event-grid", &[("secret", "s"), ("subscription", "crm"), ("subscription", "erp")]);
    let validation = post(r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d38b6","validationUrl":"https://example.com/"}}]"#)
        .with("aeg-event-type", "SubscriptionValidation");
    let known = validation.clone().with("aeg-subscription-name", "ERP");
    assert_eq!(answered(judge(&source, &known)).body, br#"{"validationResponse":"512d38b6"}"#);
    assert_eq!(refused(judge(&source, &validation.with("aeg-subscription-name", "else"))).status, 403);
}

#[test]
fn a_sender_of_cloud_events_is_let_in_by_its_origin() {
    let source = verifier("cloudevents", &[("token", "s"), ("allowed_origin", "eventemitter.example.com")]);
    let ask = |origin: &str| {
        let draft = Draft { method: "OPTIONS".to_owned(), ..post("") }.with("webhook-request-origin", origin);
        judge(&source, &draft)
    };
    let answer = answered(ask("eventemitter.example.com"));
    assert!(answer.headers.contains(&("webhook-allowed-origin", b"eventemitter.example.com".to_vec())));
    assert_eq!(refused(ask("evil.example.net")).status, 403);
}

trait With {
    fn with(self, name: &str, value: &str) -> Self;
}

impl With for Draft {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.set_header(name, value.to_owned());
        self
    }
}

fn post(body: &str) -> Draft {
    Draft::post(URL, body.to_owned())
}

fn verifier(name: &str, parameters: &[(&str, &str)]) -> Verifier {
    Verifier::new(name, &owned(parameters)).expect("good parameters")
}

fn judge(verifier: &Verifier, draft: &Draft) -> Verdict {
    verifier.judge(&draft.request(NOW, &[]))
}

fn get(verifier: &Verifier, query: &str) -> Verdict {
    verifier.judge(&Request {
        method: "GET",
        path: b"/webhook/x",
        query: Some(query.as_bytes()),
        headers: &[],
        body: b"",
        url: Some(URL),
        now: NOW,
        fetched: &[],
    })
}

fn answered(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Handshake(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}
