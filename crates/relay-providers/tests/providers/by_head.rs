//! What is judged before a body is there: whose proof stands in the head, and what no body makes good.

use relay_core::time::Wall;
use relay_providers::{ByHead, Draft, Verdict, Verifier, provider, providers};

use crate::{
    acting::{Acting, URL, owned},
    agree::agree,
};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
/// Whose proof has no share of the body.
const PROVEN: [&str; 14] = [
    "api-key",
    "azure-event-grid",
    "basic",
    "bearer",
    "cloudevents",
    "freshdesk",
    "google-pubsub",
    "mercadopago",
    "monday",
    "okta",
    "pipedrive",
    "postmark",
    "telegram",
    "gitlab (token)",
];

fn judged(acting: &Acting, draft: &Draft) -> ByHead {
    agree(&acting.verifier, &draft.request(NOW, &acting.fetched))
}

/// S36: of every provider it is known whether the head proves a request; what is signed with its body never is by its head.
#[test]
fn the_head_proves_a_request_where_nothing_of_the_proof_is_in_the_body() {
    let mut proven = Vec::new();
    for provider in providers() {
        let acting = Acting::new(provider);
        let signed = acting.sample("wh_1", NOW);
        match judged(&acting, &signed) {
            ByHead::Proven => proven.push(provider.name.to_owned()),
            ByHead::Open => {}
            other => panic!("{}: {other:?} of its own sample", provider.name),
        }
    }
    let gitlab =
        Verifier::new("gitlab", &owned(&[("token", "It's a Secret to Everybody")])).expect("a token is enough");
    let mut draft = provider("gitlab").expect("in the table").draft(URL, "wh_1", NOW);
    draft.set_header("x-gitlab-token", "It's a Secret to Everybody");
    if agree(&gitlab, &draft.request(NOW, &[])) == ByHead::Proven {
        proven.push("gitlab (token)".to_owned());
    }
    assert_eq!(proven, PROVEN);
}

/// S36: whoever has no proof at all is refused before his body, wherever a proof stands in the head.
#[test]
fn a_request_without_its_proof_is_refused_by_its_head() {
    // What proves these stands in the body; the last takes the header form and that in the body.
    const IN_BODY: [&str; 7] =
        ["aws-sns", "braintree", "mailgun", "microsoft-graph", "salesforce", "zoho-crm", "adyen"];
    for provider in providers() {
        let acting = Acting::new(provider);
        let draft = provider.draft(URL, "wh_1", NOW);
        let by_head = judged(&acting, &draft);
        let is_refused = matches!(by_head, ByHead::Refused { .. });
        assert_eq!(is_refused, !IN_BODY.contains(&provider.name), "{}: {by_head:?}", provider.name);
    }
}

/// S28: a timestamp of another hour is refused by the head where it stands there.
#[test]
fn a_stale_timestamp_is_refused_by_the_head() {
    for name in ["stripe", "slack", "standard-webhooks", "box", "discord", "workos"] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let hour_ago = Wall::from_micros(NOW.as_micros() - 3_600_000_000);
        let by_head = judged(&acting, &acting.sample("wh_1", hour_ago));
        let ByHead::Refused { refusal, .. } = by_head else { panic!("{name}: {by_head:?}") };
        assert_eq!(refusal.check, "stale_timestamp", "{name}");
    }
}

/// What needs a key that is fetched says so by its head where nothing of the proof is in the body.
#[test]
fn a_key_is_asked_for_by_the_head() {
    let acting = Acting::new(provider("google-pubsub").expect("in the table"));
    let signed = acting.sample("wh_1", NOW);
    let by_head = agree(&acting.verifier, &signed.request(NOW, &[]));
    assert!(matches!(by_head, ByHead::NeedsKey { .. }), "{by_head:?}");
    assert_eq!(judged(&acting, &signed), ByHead::Proven);
}

/// A handshake that needs no proof is not refused for want of one, by its head or with its body.
#[test]
fn a_handshake_is_not_refused_by_its_head() {
    for (name, draft) in [
        ("monday", Draft::post(URL, r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#)),
        ("woocommerce", Draft::post(URL, "webhook_id=42")),
        ("microsoft-graph", Draft::post("https://relay.example.com/webhook/x?validationToken=abc", "")),
        ("bitbucket", {
            let mut draft = Draft::post(URL, r#"{"test":true}"#);
            draft.set_header("x-event-key", "diagnostics:ping");
            draft
        }),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let by_head = judged(&acting, &draft);
        let may_be = matches!(by_head, ByHead::Open | ByHead::Refused { or_handshake: true, .. });
        assert!(may_be, "{name}: {by_head:?}");
        assert!(matches!(acting.judge(&draft, NOW), Verdict::Handshake(_)), "{name}");
    }
}
