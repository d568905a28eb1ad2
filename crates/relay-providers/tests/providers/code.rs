//! Providers with code of their own, as a source sees them: which keys they ask for and when, and what they never accept.

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Fetched, Refusal, Request, Verdict, Verifier, provider};
use serde_json::{Value, json};

use crate::acting::{Acting, URL, owned};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
const TOPIC: &str = "arn:aws:sns:us-east-2:123456789012:crm";
const JWKS: &str = "https://www.googleapis.com/oauth2/v3/certs";

#[test]
fn a_subscription_is_confirmed_only_when_topic_signature_and_host_are_good() {
    let sns = acting("aws-sns");
    let confirmation = |subscribe_url: &str| {
        let body = json!({
            "Type": "SubscriptionConfirmation", "MessageId": "1", "Token": "2336", "Message": "You have chosen to subscribe",
            "SubscribeURL": subscribe_url,
        });
        sns.signer.sign(Draft::post(URL, body.to_string()), "1", NOW).expect("it can be signed")
    };
    let url = format!("https://sns.us-east-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336");
    let good = confirmation(&url);
    let Verdict::Confirm { url: found, answer } = sns.judge(&good, NOW) else { panic!("{:?}", sns.judge(&good, NOW)) };
    assert_eq!((found, answer.status), (url.clone(), 200));

    let unfetched = sns.verifier.judge(&good.request(NOW, &[]));
    assert!(matches!(&unfetched, Verdict::NeedsKey { url } if url.starts_with("https://sns.us-east-2.amazonaws.com/")));
    let strange_host = confirmation("https://169.254.169.254/?Action=ConfirmSubscription");
    assert_eq!(refused(sns.judge(&strange_host, NOW)).check, "untrusted_url");
    let strange_topic = changed(&good, TOPIC, "arn:aws:sns:us-east-2:999999999999:crm");
    assert_eq!(
        refused(sns.verifier.judge(&strange_topic.request(NOW, &[]))).check,
        "wrong_topic",
        "nothing is fetched"
    );
    let tampered = changed(&good, "\"2336\"", "\"2337\"");
    assert_eq!(refused(sns.judge(&tampered, NOW)).check, "bad_signature");
    assert_eq!(refused(sns.judge(&tampered, NOW)).status, 403, "401 makes SNS ask again with credentials");
}

#[test]
fn a_farewell_of_sns_is_an_event_and_nothing_is_fetched_for_it() {
    let sns = acting("aws-sns");
    let body = json!({
        "Type": "UnsubscribeConfirmation", "MessageId": "1", "Token": "2336",
        "SubscribeURL": "https://sns.us-east-2.amazonaws.com/?Action=ConfirmSubscription",
    });
    let signed = sns.signer.sign(Draft::post(URL, body.to_string()), "1", NOW).expect("it can be signed");
    let Verdict::Genuine(genuine) = sns.judge(&signed, NOW) else { panic!("not genuine") };
    assert_eq!(genuine.event.as_deref(), Some("UnsubscribeConfirmation"));
}

/// What the platform's host answered is not the sender's fault: it is to try again.
#[test]
fn a_key_that_cannot_be_read_is_no_refusal_for_good() {
    for name in ["aws-sns", "paypal", "google-pubsub"] {
        let acting = acting(name);
        let signed = acting.sample("wh_1", NOW);
        let Verdict::NeedsKey { url } = acting.verifier.judge(&signed.request(NOW, &[])) else { panic!("{name}") };
        for body in ["", "<html>captive portal</html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
        {
            let fetched = [Fetched { url: url.clone(), body: body.into() }];
            let refusal = refused(acting.verifier.judge(&signed.request(NOW, &fetched)));
            assert_eq!((refusal.check, refusal.status), ("unreadable_key", 503), "{name}");
        }
        let elsewhere = [Fetched { url: format!("{url}x"), body: acting.fetched[0].body.clone() }];
        let verdict = acting.verifier.judge(&signed.request(NOW, &elsewhere));
        assert!(matches!(verdict, Verdict::NeedsKey { .. }), "{name}: a key counts where it was asked for alone");
    }
}

#[test]
fn nothing_is_fetched_from_where_a_stranger_points() {
    let paypal = acting("paypal");
    for url in [
        "https://evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
    ] {
        let mut signed = paypal.sample("wh_1", NOW);
        signed.set_header("paypal-cert-url", url.to_owned());
        let fetched = [Fetched { url: url.to_owned(), body: paypal.fetched[0].body.clone() }];
        assert_eq!(refused(paypal.verifier.judge(&signed.request(NOW, &fetched))).check, "untrusted_url", "{url}");
    }
}

/// RFC 8725, section 2.1: the two oldest forgeries.
#[test]
fn a_token_is_never_signed_in_its_own_way() {
    let google = acting("google-pubsub");
    let claims = json!({
        "aud": URL, "email": "push@example.iam.gserviceaccount.com", "email_verified": true, "exp": 1_763_003_600,
        "iat": 1_763_000_000, "iss": "https://accounts.google.com",
    });
    let public_key = &google.fetched[0].body;
    for (algorithm, signature) in [
        ("none", Vec::new()),
        ("HS256", hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public_key), b"").as_ref().to_vec()),
        ("RS256", vec![0; 256]),
        ("RS256", Vec::new()),
    ] {
        let head = json!({"alg": algorithm, "kid": "sample", "typ": "JWT"});
        let message = format!("{}.{}", encoded(&head), encoded(&claims));
        let mut signature = signature;
        if algorithm == "HS256" {
            signature =
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public_key), message.as_bytes()).as_ref().to_vec();
        }
        let token = format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut draft = Draft::post(URL, "{}");
        draft.set_header("authorization", token);
        let check = refused(google.judge(&draft, NOW)).check;
        assert!(["unsupported_algorithm", "bad_signature"].contains(&check), "{algorithm}: {check}");
    }
}

/// Any customer of Google gets tokens for any audience: who asked for it is what counts.
#[test]
fn a_token_of_another_service_account_is_refused() {
    let google = acting("google-pubsub");
    let signed = google.sample("wh_1", NOW);
    let source = [("audience", URL), ("email", "other@example.iam.gserviceaccount.com")];
    let other = Verifier::new("google-pubsub", &owned(&source)).expect("good parameters");
    let refusal = refused(other.judge(&signed.request(NOW, &google.fetched)));
    assert_eq!(refusal.check, "wrong_email");
    let elsewhere =
        [("audience", "https://relay.example.com/other"), ("email", "push@example.iam.gserviceaccount.com")];
    let other = Verifier::new("google-pubsub", &owned(&elsewhere)).expect("good parameters");
    assert_eq!(refused(other.judge(&signed.request(NOW, &google.fetched))).check, "wrong_audience");
    let late = Wall::from_micros(NOW.as_micros() + 3_901 * 1_000_000);
    let refusal = refused(google.judge(&signed, late));
    assert_eq!((refusal.check, refusal.detail.as_str()), ("expired_token", "token expired 301 s ago, leeway 300 s"));
    let rotated = [Fetched { url: JWKS.to_owned(), body: Bytes::from_static(b"{\"keys\": []}") }];
    assert_eq!(refused(google.verifier.judge(&signed.request(NOW, &rotated))).check, "unknown_key");
}

#[test]
fn an_ebay_key_is_a_parameter_or_what_a_program_with_a_login_fetched() {
    let ebay = acting("ebay");
    let signed = ebay.sample("wh_1", NOW);
    let without = Verifier::new("ebay", &[]).expect("keys may come later");
    let refusal = refused(without.judge(&signed.request(NOW, &[])));
    assert_eq!((refusal.check, refusal.status), ("unknown_key", 503));
    assert!(refusal.detail.contains("9936261a-7d7b-4621-a0f1-96ccb428af49"), "{}", refusal.detail);
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETyKofZFTLJ3b6dqRCDJ0morkhvxwkuSQo8U76gAttG3Y1UjJdDAGzlKEDiPIvQ+O/lyguwx31u3ipiQSkm/uLw==";
    let answer =
        json!({"key": format!("-----BEGIN PUBLIC KEY-----{key}-----END PUBLIC KEY-----"), "algorithm": "ECDSA"});
    let url = "https://api.ebay.com/commerce/notification/v1/public_key/9936261a-7d7b-4621-a0f1-96ccb428af49";
    let fetched = [Fetched { url: url.to_owned(), body: answer.to_string().into() }];
    assert!(matches!(without.judge(&signed.request(NOW, &fetched)), Verdict::Genuine(_)));
}

/// The webhook that tests a URL comes before the webhook's key exists, and brings no event.
/// The platform's documents have SHA-1 and SHA-256; what a request names is what is checked.
#[test]
fn an_ebay_signature_may_be_over_sha_256() {
    use aws_lc_rs::{rand::SystemRandom, signature};
    let pair = signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let spki =
        [
            &[
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
                0x48,
            ][..],
            &[0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00],
            signature::KeyPair::public_key(&pair).as_ref(),
        ]
        .concat();
    let key = format!("k1:{}", STANDARD.encode(spki));
    let source = Verifier::new("ebay", &owned(&[("public_key", &key)])).expect("good parameters");
    let signed = pair.sign(&SystemRandom::new(), b"{}").expect("it signs");
    for (algorithm, digest, good) in
        [("ecdsa", "SHA256", true), ("ECDSA", "sha256", true), ("ecdsa", "SHA1", false), ("ecdsa", "MD5", false)]
    {
        let head =
            json!({"alg": algorithm, "kid": "k1", "signature": STANDARD.encode(signed.as_ref()), "digest": digest});
        let mut draft = Draft::post(URL, "{}");
        draft.set_header("x-ebay-signature", STANDARD.encode(head.to_string()));
        let verdict = source.judge(&draft.request(NOW, &[]));
        assert_eq!(matches!(verdict, Verdict::Genuine(_)), good, "{digest}: {verdict:?}");
    }
}

#[test]
fn mandrills_test_is_answered_and_opens_nothing() {
    let source = Verifier::new("mandrill", &owned(&[("secret", "the real key")])).expect("good parameters");
    let signed = |body: &str| {
        let signer = relay_providers::Signer::new("mandrill", &owned(&[("secret", "test-webhook")])).expect("good");
        let draft = signer.sign(Draft::post(URL, body.to_owned()), "", NOW).expect("it can be signed");
        source.judge(&draft.request(NOW, &[]))
    };
    assert!(matches!(signed("mandrill_events=%5B%5D"), Verdict::Handshake(answer) if answer.status == 200));
    let sent = "mandrill_events=%5B%7B%22event%22%3A%22send%22%7D%5D";
    assert_eq!(refused(signed(sent)).check, "bad_signature");
}

/// What the simulator of that platform sends has one id for everybody, so that anybody can have anything signed with it.
#[test]
fn paypals_simulator_is_answered_and_opens_nothing() {
    let paypal = acting("paypal");
    let simulator = [
        ("webhook_id", "WEBHOOK_ID"),
        ("signing_key", include_str!("../../../../fixtures/providers/keys/rsa.key.pem")),
    ];
    let simulator = relay_providers::Signer::new("paypal", &owned(&simulator)).expect("good parameters");
    let signed = simulator.sign(Draft::post(URL, "{}"), "t-1", NOW).expect("it can be signed");
    let verdict = paypal.judge(&signed, NOW);
    assert!(matches!(&verdict, Verdict::Handshake(answer) if answer.status == 200), "{verdict:?}");
    assert_eq!(refused(paypal.judge(&Draft { body: "[]".into(), ..signed }, NOW)).check, "bad_signature");
}

/// S28: of the body only a checksum is signed, so header fields that were seen must not outlive what is remembered of them.
#[test]
fn a_transmission_of_paypal_is_of_these_days() {
    let paypal = acting("paypal");
    let signed = paypal.sample("t-1", NOW);
    let later = |hours: i64| Wall::from_micros(NOW.as_micros() + hours * 3_600_000_000);
    assert!(paypal.is_genuine(&signed, later(72)), "it goes on trying for three days");
    assert_eq!(refused(paypal.judge(&signed, later(73))).check, "stale_timestamp");
}

#[test]
fn the_age_of_mercado_pagos_webhooks_is_checked_if_wanted() {
    let mercadopago = acting("mercadopago");
    let signed = mercadopago.sample("wh_1", NOW);
    let later = Wall::from_micros(NOW.as_micros() + 3_600_000_000);
    assert!(mercadopago.is_genuine(&signed, later));
    assert_eq!(refused(mercadopago.with("tolerance", "10m").judge(&signed, later)).check, "stale_timestamp");
    assert!(mercadopago.with("tolerance", "10m").is_genuine(&signed, NOW));
}

#[test]
fn a_webhook_made_in_a_board_of_monday_is_told_why_it_is_refused() {
    let refusal = refused(acting("monday").judge(&Draft::post(URL, r#"{"event":{"type":"create_pulse"}}"#), NOW));
    assert_eq!(refusal.check, "missing_token");
    assert!(refusal.detail.contains("made in a board"), "{}", refusal.detail);
}

/// Without its wrapper a message has its id in a header field.
#[test]
fn an_unwrapped_message_of_pubsub_is_known_by_its_header_field() {
    let google = acting("google-pubsub");
    let id = |message: &str| {
        let mut draft = Draft::post(URL, r#"{"order":1}"#);
        draft.set_header("x-goog-pubsub-message-id", message.to_owned());
        dedupe(google.judge(&google.signer.sign(draft, "", NOW).expect("it can be signed"), NOW))
    };
    assert_eq!(id("1").as_deref(), Some(&b"1"[..]));
    assert_ne!(id("1"), id("2"));
}

#[test]
fn twilio_signs_other_bodies_by_their_hash_in_the_url() {
    let twilio = acting("twilio");
    let mut draft = Draft::post(URL, r#"{"a": 1}"#);
    draft.set_header("content-type", "application/json");
    let signed = twilio.signer.sign(draft, "", NOW).expect("it can be signed");
    assert!(signed.url.contains("&bodySHA256="), "{}", signed.url);
    assert!(twilio.is_genuine(&signed, NOW));
    let tampered = changed(&signed, "1", "2");
    assert_eq!(refused(twilio.judge(&tampered, NOW)).check, "bad_body_hash");
    let as_form = Request { body: b"", ..signed.request(NOW, &[]) };
    assert_eq!(refused(twilio.verifier.judge(&as_form)).check, "bad_body_hash");
    let without_it = Request { method: "GET", ..as_form };
    assert_eq!(refused(twilio.verifier.judge(&without_it)).check, "bad_body_hash");
}

/// The platform's callbacks of compliance bundles, as they were reported: GETs with the hash of another body, twice.
#[test]
fn twilio_calls_back_with_a_hash_of_nothing() {
    const TOKEN: &str = "12345678901234567890123456789012";
    let twilio = Verifier::new("twilio", &owned(&[("auth_token", TOKEN)])).expect("it can be made");
    let hash = "bodySHA256=b7a80df52b4d45926de7e92a63219b4dec8e93e3527a65188d147b54c880ea9f";
    let url = format!("{URL}&{hash}&{hash}&AccountSid=AC1&BundleSid=BU1&Status=pending-review&FailureReason=");
    let mut draft = Draft::post(&url, "");
    draft.method = "GET".to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    draft.set_header("x-twilio-signature", STANDARD.encode(hmac::sign(&key, url.as_bytes())));
    let verdict = twilio.judge(&draft.request(NOW, &[]));
    assert!(matches!(verdict, Verdict::Genuine(_)), "{verdict:?}");
}

/// Where only parts of a body are signed, each of them is; `unproven` names the rest.
#[test]
fn every_signed_part_of_a_body_counts() {
    for (name, parts) in [
        (
            "adyen",
            &[
                "/notificationItems/0/NotificationRequestItem/pspReference",
                "/notificationItems/0/NotificationRequestItem/merchantAccountCode",
                "/notificationItems/0/NotificationRequestItem/merchantReference",
                "/notificationItems/0/NotificationRequestItem/amount/value",
                "/notificationItems/0/NotificationRequestItem/amount/currency",
                "/notificationItems/0/NotificationRequestItem/eventCode",
                "/notificationItems/0/NotificationRequestItem/success",
                "/notificationItems/0/NotificationRequestItem/additionalData/hmacSignature",
            ][..],
        ),
        (
            "aws-sns",
            &[
                "/Type",
                "/MessageId",
                "/TopicArn",
                "/Subject",
                "/Message",
                "/Timestamp",
                "/SignatureVersion",
                "/Signature",
            ],
        ),
        ("mailgun", &["/signature/timestamp", "/signature/token", "/signature/signature"]),
        ("microsoft-graph", &["/value/0/clientState"]),
        ("zoho-crm", &["/token"]),
    ] {
        let acting = acting(name);
        let signed = acting.sample("wh_1", NOW);
        let body: Value = serde_json::from_slice(&signed.body).expect("JSON");
        for part in parts {
            for other in [json!("1"), json!(""), json!(null), json!(["1"]), json!({}), json!(1), json!(false)] {
                let mut changed = body.clone();
                *changed.pointer_mut(part).expect("a part of the sample") = other.clone();
                let changed = Draft { body: changed.to_string().into(), ..signed.clone() };
                assert!(!acting.is_genuine(&changed, NOW), "{name}: {part} is {other}");
            }
        }
    }
}

#[test]
fn what_mercado_pago_signs_stands_in_the_query() {
    let mercadopago = acting("mercadopago");
    let signed = mercadopago.sample("wh_1", NOW);
    let other = |from: &str, to: &str| Draft { url: signed.url.replace(from, to), ..signed.clone() };
    assert!(mercadopago.is_genuine(&other("&type=payment", "&type=order"), NOW), "type is not signed");
    assert!(!mercadopago.is_genuine(&other("data.id=", "data.id=1"), NOW));
    assert!(!mercadopago.is_genuine(&other("data.id=", "id="), NOW));
    assert_eq!(refused(mercadopago.judge(&other("&type=", "&data.id=1&type="), NOW)).check, "ambiguous_query");
}

#[test]
fn what_identifies_a_webhook_is_what_is_signed_where_anything_is() {
    // The event's id in Mailgun's body is open to whoever holds one signature; the token is not.
    let mailgun = acting("mailgun");
    let signed = mailgun.sample("wh_1", NOW);
    let forged = changed(&signed, "delivered", "complained");
    assert_eq!(dedupe(mailgun.judge(&signed, NOW)), dedupe(mailgun.judge(&forged, NOW)));
    // The same holds for PayPal, whose checksum anybody can meet.
    let paypal = acting("paypal");
    assert_eq!(dedupe(paypal.judge(&paypal.sample("wh_1", NOW), NOW)).as_deref(), Some(&b"wh_1"[..]));
}

#[test]
fn two_questions_of_one_call_are_two_webhooks() {
    let twilio = acting("twilio");
    let id = |body: &str| {
        let signed = twilio.signer.sign(Draft::post(URL, body.to_owned()), "", NOW).expect("it can be signed");
        dedupe(twilio.judge(&signed, NOW))
    };
    assert_eq!(id("CallSid=CA1&CallStatus=in-progress&Digits=1"), None);
    assert_eq!(id("MessageSid=SM1&MessageStatus=sent").as_deref(), Some(&b"SM1\nsent"[..]));
}

fn acting(name: &str) -> Acting {
    Acting::new(provider(name).expect("it is in the table"))
}

fn changed(draft: &Draft, from: &str, to: &str) -> Draft {
    let body = str::from_utf8(&draft.body).expect("text");
    assert!(body.contains(from), "{body}");
    Draft { body: body.replace(from, to).into(), ..draft.clone() }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn dedupe(verdict: Verdict) -> Option<Vec<u8>> {
    match verdict {
        Verdict::Genuine(genuine) => genuine.dedupe.map(|key| key.id),
        other => panic!("not genuine: {other:?}"),
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
