//! What the engine of schemes takes and refuses, platform by platform where they differ.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Genuine, Refusal, Signer, Verdict, Verifier, provider};

use crate::acting::{Acting, URL, owned};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_header_given_twice_counts_once_if_both_say_the_same() {
    let mut signed = signed("github", &[("secret", "s")], "{}");
    let signature = signed.header("x-hub-signature-256").expect("signed").to_vec();
    signed.headers.push((Bytes::from_static(b"x-hub-signature-256"), signature.into()));
    genuine("github", &[("secret", "s")], &signed);
    signed.headers.push((Bytes::from_static(b"x-hub-signature-256"), Bytes::from_static(b"sha256=00")));
    assert_eq!(refused("github", &[("secret", "s")], &signed).check, "ambiguous_header");
}

#[test]
fn hex_is_read_in_either_case_and_base64_with_its_padding() {
    let mut signed = signed("github", &[("secret", "s")], "{}");
    let value = String::from_utf8(signed.header("x-hub-signature-256").expect("signed").to_vec()).expect("ASCII");
    let digits = value.strip_prefix("sha256=").expect("a prefix").to_ascii_uppercase();
    signed.set_header("x-hub-signature-256", format!("sha256={digits}"));
    genuine("github", &[("secret", "s")], &signed);
    signed.set_header("x-hub-signature-256", format!("SHA256={digits}"));
    assert_eq!(refused("github", &[("secret", "s")], &signed).check, "malformed_signature");

    let mut signed = self::signed("shopify", &[("secret", "s")], "{}");
    let value = String::from_utf8(signed.header("x-shopify-hmac-sha256").expect("signed").to_vec()).expect("ASCII");
    signed.set_header("x-shopify-hmac-sha256", value.trim_end_matches('=').to_owned());
    assert_eq!(refused("shopify", &[("secret", "s")], &signed).check, "malformed_signature");
}

/// Who may send more signatures than any rotation needs would have us compute for him.
#[test]
fn of_a_list_of_signatures_the_first_sixteen_are_looked_at() {
    let list = |before: usize| {
        let mut signed = signed("stripe", &[("secret", "s")], "{}");
        let value = String::from_utf8(signed.header("stripe-signature").expect("signed").to_vec()).expect("ASCII");
        let (time, signature) = value.split_once(',').expect("two items");
        let other = format!(",v1={}", "0".repeat(64)).repeat(before);
        signed.set_header("stripe-signature", format!("{time}{other},{signature}"));
        signed
    };
    genuine("stripe", &[("secret", "s")], &list(15));
    assert_eq!(refused("stripe", &[("secret", "s")], &list(16)).check, "bad_signature");
}

#[test]
fn a_list_of_pairs_may_have_spaces_and_has_one_time() {
    let mut signed = signed("stripe", &[("secret", "s")], "{}");
    let value = String::from_utf8(signed.header("stripe-signature").expect("signed").to_vec()).expect("ASCII");
    signed.set_header("stripe-signature", value.replace(',', " , "));
    genuine("stripe", &[("secret", "s")], &signed);
    signed.set_header("stripe-signature", format!("{value},t=1"));
    assert_eq!(refused("stripe", &[("secret", "s")], &signed).check, "malformed_signature");
    signed.set_header("stripe-signature", value.replace("t=", "x="));
    assert_eq!(refused("stripe", &[("secret", "s")], &signed).check, "missing_timestamp");
}

#[test]
fn any_field_of_a_numbered_family_may_match_and_only_numbers_are_of_it() {
    let mut signed = signed("docusign", &[("secret", "s")], "{}");
    let value = signed.header("x-docusign-signature-1").expect("signed").to_vec();
    signed.set_header("x-docusign-signature-1", STANDARD.encode([0; 32]));
    assert_eq!(refused("docusign", &[("secret", "s")], &signed).check, "bad_signature");
    signed.set_header("x-docusign-signature-100", value.clone());
    genuine("docusign", &[("secret", "s")], &signed);
    signed.headers.retain(|(name, _)| !name.starts_with(b"x-docusign"));
    for name in ["x-docusign-signature-", "x-docusign-signature-x", "x-docusign-signature-1000"] {
        signed.set_header(name, value.clone());
    }
    assert_eq!(refused("docusign", &[("secret", "s")], &signed).check, "missing_signature");
}

/// As many keys as `DocuSign` lets be active, each with a field of its own.
#[test]
fn the_last_of_a_hundred_numbered_fields_may_be_ours() {
    let mut signed = signed("docusign", &[("hmac_key", "s")], "{}");
    let ours = signed.header("x-docusign-signature-1").expect("signed").to_vec();
    for number in 1..100 {
        signed.set_header(&format!("x-docusign-signature-{number}"), "AAAA");
    }
    signed.set_header("x-docusign-signature-100", ours);
    genuine("docusign", &[("hmac_key", "s")], &signed);
}

/// RFC 9110, section 11.1: the name of an authentication scheme has no case.
#[test]
fn a_bearer_is_one_in_whatever_case() {
    for (name, key) in [("cloudevents", "token"), ("azure-event-grid", "secret")] {
        let parameters = [(key, "a token"), ("subscription", "crm")];
        let parameters = if name == "cloudevents" { &parameters[..1] } else { &parameters };
        let with = |value: &str| {
            let mut draft = Draft::post(URL, "{}");
            draft.set_header("authorization", value.to_owned());
            draft
        };
        for value in ["Bearer a token", "bearer a token", "BEARER   a token"] {
            assert_eq!(genuine(name, parameters, &with(value)).strip, [0], "{value}");
        }
        for value in ["Bearera token", "Basic a token", "a token", "Bearer", "Bearer a tokem"] {
            refused(name, parameters, &with(value));
        }
    }
}

/// Secrets of Standard Webhooks as platforms show them: all of these are the same key.
#[test]
fn a_secret_may_have_its_version_in_front_and_lack_its_padding() {
    let key = STANDARD.encode([7; 25]);
    let signed = signed("standard-webhooks", &[("secret", &format!("whsec_{key}"))], "{}");
    for secret in [key.clone(), format!("v1,whsec_{key}"), format!("whsec_{}", key.trim_end_matches('='))] {
        genuine("standard-webhooks", &[("secret", &secret)], &signed);
    }
    for bytes in [8, 16, 64, 65, 200] {
        let secret = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        let parameters = [("secret", &secret[..])];
        genuine("standard-webhooks", &parameters, &self::signed("standard-webhooks", &parameters, "{}"));
    }
    let short = format!("whsec_{}", STANDARD.encode([7; 7]));
    assert!(Verifier::new("standard-webhooks", &owned(&[("secret", &short)])).is_err());
}

/// Host and port of a URL have spellings, and which one is signed is a matter of what was typed where.
#[test]
fn a_signed_url_may_be_spelled_otherwise_than_ours() {
    for (name, key) in [
        ("square", "signature_key"),
        ("trello", "app_secret"),
        ("hubspot", "client_secret"),
        ("mandrill", "webhook_key"),
        ("twilio", "auth_token"),
    ] {
        let (rest, spellings) =
            ("/webhook/x/?y=1", ["https://h.example", "https://h.example:443", "https://H.Example"]);
        let entry = provider(name).expect("in the table");
        for theirs in spellings {
            let draft = entry.draft(&format!("{theirs}{rest}"), "1", NOW);
            let signed = sign(name, &[(key, "s")], draft);
            for ours in ["https://h.example", "https://h.example:443", "https://H.EXAMPLE", "https://h.example:8443"] {
                let here = Draft { url: format!("{ours}{rest}"), ..signed.clone() };
                let is_good = matches!(judge(name, &[(key, "s")], &here), Verdict::Genuine(_));
                let is_theirs = !ours.ends_with("8443") && theirs != "https://H.Example";
                // Twilio's libraries leave any port out.
                assert!(is_good == is_theirs || name == "twilio", "{name}: {ours}, signed {theirs}");
                assert!(!is_theirs || is_good, "{name}: {ours}, signed {theirs}");
            }
        }
        let other =
            Draft { url: format!("https://g.example{rest}"), ..sign(name, &[(key, "s")], entry.draft(URL, "1", NOW)) };
        assert_eq!(refused(name, &[(key, "s")], &other).check, "bad_signature", "{name}");
    }
}

#[test]
fn hubspot_may_have_decoded_the_url_or_not_and_never_falls_back_to_an_older_version() {
    let source = [("client_secret", "s")];
    let url = "https://relay.example.com/webhook/x?a=%2Fb%3A%20c";
    let decoded = "https://relay.example.com/webhook/x?a=/b:%20c";
    for signed_for in [url, decoded] {
        let mut signed = sign("hubspot", &source, Draft::post(signed_for, "[]"));
        signed.url = url.to_owned();
        genuine("hubspot", &source, &signed);
    }
    let signer = [("client_secret", "s"), ("version", "v2")];
    let older = sign("hubspot", &signer, Draft::post(url, "[]"));
    genuine("hubspot", &signer, &older);
    assert_eq!(refused("hubspot", &source, &older).check, "missing_signature");
}

#[test]
fn svix_has_two_families_of_fields_and_mixes_them_never() {
    let source = [("secret", WHSEC)];
    let signed = signed("svix", &source, "{}");
    let renamed = |parts: &[&str]| {
        let mut renamed = signed.clone();
        for (name, _) in &mut renamed.headers {
            let text = String::from_utf8_lossy(name).into_owned();
            if parts.iter().any(|part| text == format!("svix-{part}")) {
                *name = text.replace("svix-", "webhook-").into();
            }
        }
        renamed
    };
    assert_eq!(
        genuine("svix", &source, &renamed(&["id", "timestamp", "signature"])).dedupe.map(|key| key.id),
        Some(b"wh_1".to_vec())
    );
    for mixed in [&["id"][..], &["timestamp"], &["signature"], &["id", "signature"]] {
        refused("svix", &source, &renamed(mixed));
    }
}

#[test]
fn gitlab_takes_no_token_where_a_signature_is_expected() {
    let both = [("secret", WHSEC), ("token", "a token")];
    let by_token = signed("gitlab", &[("token", "a token")], "{}");
    genuine("gitlab", &[("token", "a token")], &by_token);
    assert_eq!(refused("gitlab", &both, &by_token).check, "missing_signature");
    genuine("gitlab", &both, &signed("gitlab", &both, "{}"));
    let faults = Verifier::new("gitlab", &[]).expect_err("nothing to check with");
    assert_eq!(faults[0].to_string(), "secret: missing; gitlab needs secret or token");
}

#[test]
fn a_shared_secret_and_a_public_key_may_be_valid_at_once() {
    let pair = [("signing_key", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")];
    let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let source = [("secret", WHSEC), ("secret", public)];
    genuine("standard-webhooks", &source, &signed("standard-webhooks", &[("secret", WHSEC)], "{}"));
    let by_pair = signed("standard-webhooks", &pair, "{}");
    assert!(by_pair.header("webhook-signature").expect("signed").starts_with(b"v1a,"));
    genuine("standard-webhooks", &source, &by_pair);
    refused("standard-webhooks", &[("secret", WHSEC)], &by_pair);
}

#[test]
fn either_field_of_box_may_match_and_its_version_must() {
    let source = [("secret", "s")];
    let mut signed = signed("box", &source, "{}");
    let value = signed.header("box-signature-primary").expect("signed").to_vec();
    signed.set_header("box-signature-secondary", value);
    signed.set_header("box-signature-primary", STANDARD.encode([0; 32]));
    genuine("box", &source, &signed);
    signed.set_header("box-signature-version", "2");
    assert_eq!(refused("box", &source, &signed).check, "unsupported_algorithm");
}

/// As the platform's own library has it: the header field counts only where the body is without the time.
#[test]
fn linear_may_have_its_time_beside_a_body_that_is_without_it() {
    let source = [("secret", "s")];
    let now = NOW.as_millis().to_string();
    let stale = (NOW.as_millis() - 61_000).to_string();
    let judged = |body: &str, field: Option<&str>| {
        let mut signed = signed("linear", &source, body);
        // The signer writes the time into every body; this one is signed by another sender.
        let as_hmac = [("secret", "s"), ("header", "linear-signature")];
        signed.body = body.to_owned().into();
        signed =
            Signer::new("hmac", &owned(&as_hmac)).expect("good parameters").sign(signed, "1", NOW).expect("signed");
        if let Some(field) = field {
            signed.set_header("linear-timestamp", field.to_owned());
        }
        match Verifier::new("linear", &owned(&source)).expect("good parameters").judge(&signed.request(NOW, &[])) {
            Verdict::Refused(refusal) => refusal.check,
            other => {
                assert!(matches!(other, Verdict::Genuine(_)), "{other:?}");
                "genuine"
            }
        }
    };
    assert_eq!(judged(r#"{"action":"create"}"#, Some(&now)), "genuine");
    assert_eq!(judged(r#"{"action":"create"}"#, Some(&stale)), "stale_timestamp");
    assert_eq!(judged(r#"{"action":"create"}"#, Some("soon")), "malformed_timestamp");
    assert_eq!(judged(r#"{"action":"create"}"#, None), "missing_timestamp");
    // What is signed decides.
    assert_eq!(judged(&format!(r#"{{"webhookTimestamp":{stale}}}"#), Some(&now)), "stale_timestamp");
    assert_eq!(judged(&format!(r#"{{"webhookTimestamp":{now}}}"#), Some(&stale)), "genuine");
}

#[test]
fn linear_has_its_time_in_the_body_and_signing_puts_it_there() {
    let source = [("secret", "s")];
    let signed = signed("linear", &source, r#"{"webhookTimestamp":1,"action":"create"}"#);
    assert!(String::from_utf8_lossy(&signed.body).contains("1763000000123"));
    genuine("linear", &source, &signed);
    let signer = Signer::new("linear", &owned(&source)).expect("good parameters");
    assert!(signer.sign(Draft::post(URL, "[]"), "wh_1", NOW).is_err(), "no object, no time");
}

/// S14: a credential for the relay alone is neither stored nor forwarded; what the application checks itself stays.
#[test]
fn credentials_are_named_for_removal_and_tokens_of_the_platform_stay() {
    for (name, source, header) in [
        ("okta", &[("secret", "s")][..], "authorization"),
        ("pipedrive", &[("username", "u"), ("password", "p")], "authorization"),
        ("freshdesk", &[("header", "X-Mine"), ("secret", "s")], "x-mine"),
        ("freshdesk", &[("username", "u"), ("password", "p")], "authorization"),
        ("bigcommerce", &[("header", "X-Mine"), ("header_secret", "s")], "x-mine"),
        ("cloudevents", &[("token", "s")], "authorization"),
    ] {
        let signed = signed(name, source, "{}");
        let strip = genuine(name, source, &signed).strip;
        let names: Vec<_> = strip.iter().map(|index| &signed.headers[*index].0[..]).collect();
        assert_eq!(names, [header.as_bytes()], "{name}");
    }
    for name in ["telegram", "github", "stripe"] {
        assert!(genuine(name, &[("secret", "s")], &signed(name, &[("secret", "s")], "{}")).strip.is_empty(), "{name}");
    }
}

#[test]
fn half_a_credential_is_a_fault() {
    for (given, fault) in [
        (&[][..], "header: missing; give username and password, or header and secret"),
        (&[("username", "u")], "password: missing; username and password go together"),
        (&[("header", "X-Mine")], "secret: missing; postmark needs secret"),
        (
            &[("header", "not a name"), ("secret", "s")],
            r#"header: "not a name" is not a header field's name; like X-Signature"#,
        ),
    ] {
        let faults = Verifier::new("postmark", &owned(given)).expect_err("a fault");
        assert!(faults.iter().any(|found| found.to_string() == fault), "{faults:?}");
    }
}

#[test]
fn public_keys_are_taken_as_the_platforms_show_them() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF\n\
        9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==\n-----END PUBLIC KEY-----\n";
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for (name, good) in [
        ("sendgrid", pem),
        ("sendgrid", &base64),
        ("discord", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        ("telnyx", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    ] {
        assert!(Verifier::new(name, &owned(&[("public_key", good)])).is_ok(), "{name}: {good}");
    }
    for (name, bad) in
        [("sendgrid", "AAAA"), ("discord", "d75a98"), ("telnyx", "AAAA"), ("standard-webhooks", "whpk_AAAA")]
    {
        assert!(Verifier::new(name, &owned(&[("secret", bad)])).is_err(), "{name}: {bad}");
    }
}

fn signed(name: &str, parameters: &[(&str, &str)], body: &str) -> Draft {
    sign(name, parameters, Draft::post(URL, body.to_owned()))
}

fn sign(name: &str, parameters: &[(&str, &str)], draft: Draft) -> Draft {
    let signer = Signer::new(name, &owned(parameters)).expect("good parameters");
    signer.sign(draft, "wh_1", NOW).expect("can be signed")
}

fn judge(name: &str, parameters: &[(&str, &str)], draft: &Draft) -> Verdict {
    Verifier::new(name, &owned(parameters)).expect("good parameters").judge(&draft.request(NOW, &[]))
}

fn genuine(name: &str, parameters: &[(&str, &str)], draft: &Draft) -> Genuine {
    match judge(name, parameters, draft) {
        Verdict::Genuine(genuine) => genuine,
        other => panic!("{name}: not genuine: {other:?}"),
    }
}

fn refused(name: &str, parameters: &[(&str, &str)], draft: &Draft) -> Refusal {
    match judge(name, parameters, draft) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{name}: not refused: {other:?}"),
    }
}

/// What Intercom sends to an app's uninstall and health check URLs has a signature in another field.
#[test]
fn intercoms_other_signature_is_taken_too() {
    use aws_lc_rs::hmac;
    let source = [("client_secret", "a secret of an app")];
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"a secret of an app"), b"{}");
    let hex = crate::generic::hex(mac.as_ref());
    let mut signed = Draft::post(URL, "{}");
    signed.set_header("x-body-signature", hex.clone());
    genuine("intercom", &source, &signed);
    signed.body = "[]".into();
    assert_eq!(refused("intercom", &source, &signed).check, "bad_signature");
    signed.set_header("x-hub-signature", format!("sha1={hex}"));
    assert_eq!(refused("intercom", &source, &signed).check, "bad_signature");
}

/// Libraries of the specification pass over bits behind the last whole byte of a secret.
#[test]
fn a_standard_secret_may_end_in_stray_bits() {
    let source = [("secret", "whsec_notsosecretwordshi")];
    genuine("standard-webhooks", &source, &signed("standard-webhooks", &source, "{}"));
}

/// Its events, in preview beside its webhooks, are signed in the same way under other names.
#[test]
fn shopify_signs_events_as_it_signs_webhooks() {
    let acting = Acting::new(provider("shopify").expect("in the table"));
    let renamed = |id: &str| {
        let mut draft = acting.sample("wh_1", NOW);
        for (name, _) in &mut draft.headers {
            if let Some(plain) = name.strip_prefix(b"x-") {
                *name = plain.to_vec().into();
            }
        }
        draft.set_header("shopify-webhook-id", id.to_owned());
        draft
    };
    assert!(acting.is_genuine(&renamed("1"), NOW));
    assert!(acting.key(&renamed("1"), NOW).is_some());
    assert_ne!(acting.key(&renamed("1"), NOW), acting.key(&renamed("2"), NOW));
}

/// The field names the hash, and each is made with the source's key.
#[test]
fn atlassian_signs_with_newer_hashes_too_and_with_none_that_is_weaker() {
    use aws_lc_rs::hmac;
    for name in ["jira", "bitbucket"] {
        let source = Verifier::new(name, &owned(&[("secret", "a secret of the operator's")])).expect("good parameters");
        let judge = |prefix: &str, algorithm, secret: &str| {
            let mac = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), b"{}");
            let digits = mac.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let hex: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
            let mut draft = Draft::post(URL, "{}");
            draft.set_header("x-hub-signature", format!("{prefix}={hex}"));
            match source.judge(&draft.request(NOW, &[])) {
                Verdict::Genuine(_) => "genuine",
                Verdict::Refused(refusal) => refusal.check,
                other => panic!("{other:?}"),
            }
        };
        for (prefix, algorithm) in
            [("sha256", hmac::HMAC_SHA256), ("sha384", hmac::HMAC_SHA384), ("sha512", hmac::HMAC_SHA512)]
        {
            assert_eq!(judge(prefix, algorithm, "a secret of the operator's"), "genuine", "{name} {prefix}");
            assert_eq!(judge(prefix, algorithm, "another's"), "bad_signature", "{name} {prefix}");
        }
        assert_eq!(judge("sha256", hmac::HMAC_SHA512, "a secret of the operator's"), "bad_signature");
        for (prefix, algorithm) in [
            ("sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            ("none", hmac::HMAC_SHA256),
            ("SHA256", hmac::HMAC_SHA256),
            ("", hmac::HMAC_SHA256),
        ] {
            assert_eq!(
                judge(prefix, algorithm, "a secret of the operator's"),
                "malformed_signature",
                "{name} {prefix}"
            );
        }
    }
}
