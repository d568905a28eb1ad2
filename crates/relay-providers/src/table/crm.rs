//! Customer relations and support.

use std::time::Duration;

use crate::{
    DeliveryId, Exchange, Handshake, Name, On, Parameter, Provider, Sample, Tries,
    proof::Proof,
    provider::NO_TIME,
    scheme::{Algorithm, At, Encoding, Part, Scheme, Stamp, Style, Unit, When},
    table::{ANY_METHOD, GET_POST, HEAD_POST, SENT_ALONG, ping},
};

/// Front's challenge.
const fn challenge(on: &'static [On]) -> Handshake {
    Handshake {
        method: "POST",
        on,
        signed: true,
        exchange: Exchange::HeaderToJson { header: "x-front-challenge", field: "challenge" },
    }
}

/// What Zendesk signs tests with before a webhook is created, as it tells everybody.
const ZENDESK_TESTS: &str = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==";

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "hubspot",
        title: "HubSpot",
        parameters: &[
            Parameter::key("client_secret", "the app's client secret: HubSpot developer account, Apps, your app, Auth")
                .not(&[("pat-", "an access token")]),
            Parameter::choice(
                "version",
                &["v3", "v2", "v1"],
                "v3, v2 or v1: which signature is checked; every webhook carries v3 beside an older one",
            ),
            // Prescribed.
            Parameter::tolerance(
                "300s",
                "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
            ),
        ],
        answer_within: Duration::from_secs(5),
        signs_url: true,
        // Of the webhooks that a workflow sends.
        methods: GET_POST,
        delivery: DeliveryId::Items(&[("[]", &["eventId", "subscriptionId", "occurredAt"])]),
        attempts: &["[].attemptNumber"],
        event: Name::Json("[].subscriptionType"),
        order: Name::Json("[].objectId"),
        docs: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        unproven: "With v3 method, URL, body and time are covered; other header fields are not. v1 covers the body alone, v2 \
            also method and URL; neither covers a time, and both are plain hashes, so give v3 unless the app cannot.",
        sample: Sample::json(include_str!("../../samples/hubspot.json")),
        proof: Proof::Signed(&[
            Scheme {
                when: When::Is("version", "v3"),
                at: At::Headers(&["x-hubspot-signature-v3"]),
                encoding: Encoding::Base64,
                key: "client_secret",
                // The documents have some escapes of the URL decoded; senders have been seen to leave them.
                messages: &[
                    &[Part::Method, Part::Url, Part::Body, Part::Stamp],
                    &[Part::Method, Part::UrlDecoded, Part::Body, Part::Stamp],
                ],
                stamp: Some(Stamp::header("x-hubspot-request-timestamp", Unit::Millis)),
                ..Scheme::BASE
            },
            Scheme {
                when: When::Is("version", "v2"),
                at: At::Headers(&["x-hubspot-signature"]),
                algorithm: Algorithm::Sha256,
                key: "client_secret",
                messages: &[&[Part::Secret, Part::Method, Part::Url, Part::Body]],
                ..Scheme::BASE
            },
            Scheme {
                when: When::Is("version", "v1"),
                at: At::Headers(&["x-hubspot-signature"]),
                algorithm: Algorithm::Sha256,
                key: "client_secret",
                messages: &[&[Part::Secret, Part::Body]],
                ..Scheme::BASE
            },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "pipedrive",
        title: "Pipedrive",
        parameters: &[
            Parameter::required("username", "the HTTP auth username: Pipedrive, Settings, Tools and apps, Webhooks"),
            Parameter::key("password", "the HTTP auth password beside it; make one with: openssl rand -hex 32")
                .made_up(),
        ],
        delivery: DeliveryId::Json(&["meta.id"]),
        // The first version counts in `retry`.
        attempts: &["meta.attempt", "retry"],
        // As a webhook of either version is created for: https://pipedrive.readme.io/docs/list-of-webhooks-v2
        event: Name::First(&[Name::Json("event"), Name::Joined("meta", &["action", "entity"])]),
        order: Name::Json("meta.entity_id"),
        docs: "https://pipedrive.readme.io/docs/guide-for-webhooks-v2",
        unproven: SENT_ALONG,
        sample: Sample::json(include_str!("../../samples/pipedrive.json")),
        proof: Proof::Basic,
        ..Provider::BASE
    },
    Provider {
        name: "zendesk",
        title: "Zendesk",
        parameters: &[
            Parameter::key(
                "signing_secret",
                "the signing secret: Admin Center, Apps and integrations, Webhooks, your webhook",
            )
            .known(&[(ZENDESK_TESTS, "the key of Zendesk's tests")]),
            // None is prescribed, nor is it said that a retry is signed anew: up to five, each within a minute of the one before.
            Parameter::tolerance(
                "15m",
                "https://developer.zendesk.com/api-reference/webhooks/introduction#webhook-retries",
            ),
        ],
        methods: ANY_METHOD,
        // Of tests before the webhook is created: https://developer.zendesk.com/documentation/webhooks/verifying/
        test_key: Some(ZENDESK_TESTS),
        again: "only after 409, 429 and 503, and where no answer came",
        delivery: DeliveryId::Header("x-zendesk-webhook-invocation-id"),
        event: Name::Json("type"),
        order: Name::Json("detail.id"),
        docs: "https://developer.zendesk.com/documentation/webhooks/verifying/",
        unproven: "The signature covers body and time; other header fields can be changed by whoever passes the request on, the \
            invocation id among them, by which the relay recognises repeats: within `tolerance` an old request can be sent again \
            as a new one.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("x-zendesk-webhook-id", "01HZX4Q7J0000000000000000A"),
                ("x-zendesk-webhook-invocation-id", "{{id}}"),
                ("x-zendesk-account-id", "21825834"),
            ],
            query: "",
            body: include_str!("../../samples/zendesk.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-zendesk-webhook-signature"]),
            encoding: Encoding::Base64,
            key: "signing_secret",
            messages: &[&[Part::Stamp, Part::Body]],
            stamp: Some(Stamp::header("x-zendesk-webhook-signature-timestamp", Unit::Rfc3339)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "intercom",
        title: "Intercom",
        parameters: &[Parameter::key(
            "client_secret",
            "the app's client secret: Intercom Developer Hub, your app, Basic information",
        )
        .not(&[("dG9r", "an access token")])],
        answer_within: Duration::from_secs(5),
        methods: HEAD_POST,
        handshakes: &[Handshake::any("HEAD"), ping(&[On::JsonIs("topic", "ping")])],
        delivery: DeliveryId::Json(&["id"]),
        attempts: &["delivery_attempts", "delivery_status", "delivered_at"],
        event: Name::Json("topic"),
        order: Name::Json("data.item.id"),
        docs: "https://developers.intercom.com/docs/webhooks/setting-up-webhooks",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/intercom.json")),
        proof: Proof::Signed(&[
            Scheme {
                at: At::Headers(&["x-hub-signature"]),
                style: Style::Prefix("sha1="),
                algorithm: Algorithm::HmacSha1,
                key: "client_secret",
                ..Scheme::BASE
            },
            // What goes to the app's uninstall and health check URLs: github.com/dubinc/dub/pull/4054.
            Scheme { at: At::Headers(&["x-body-signature"]), key: "client_secret", ..Scheme::BASE },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "freshdesk",
        title: "Freshdesk automations",
        parameters: &[
            Parameter::optional(
                "username",
                None,
                "the user name of the automation's Trigger webhook action, if it has one",
            ),
            Parameter::key("password", "the password beside it").or_none(),
            Parameter::optional(
                "header",
                None,
                "a custom header field of that action, instead of user name and password",
            ),
            Parameter::key("secret", "the value of that header field; make one with: openssl rand -hex 32").or_none(),
        ],
        methods: ANY_METHOD,
        tries_for: Some(Tries::minutes(
            95,
            "https://supportsandbox.freshdesk.com/support/solutions/articles/11000000028141-receiving-webhook-failure-emails",
        )),
        // The body is made up by whoever writes the automation: equal ones can be two events.
        delivery: DeliveryId::Nothing,
        docs: "https://support.freshdesk.com/support/solutions/articles/132589-using-webhooks-in-automation-rules",
        unproven: SENT_ALONG,
        sample: Sample::json(include_str!("../../samples/freshdesk.json")),
        proof: Proof::BasicOrHeader,
        ..Provider::BASE
    },
    Provider {
        name: "front",
        title: "Front",
        parameters: &[
            Parameter::key(
                "secret",
                "the application's signing key (Front, Settings, Developers, your app); for rules the API secret",
            ),
            Parameter::choice(
                "kind",
                &["application", "rule"],
                "application, or rule for the webhook action of a rule",
            ),
            // Recommended.
            Parameter::tolerance("300s", "https://dev.frontapp.com/docs/security-1"),
        ],
        // The header field is not signed: https://dev.frontapp.com/docs/application-webhooks
        handshakes: &[
            challenge(&[On::Header("x-front-challenge"), On::JsonIs("type", "sync")]),
            challenge(&[On::Header("x-front-challenge"), On::JsonWhole("{}")]),
        ],
        delivery: DeliveryId::First(&[DeliveryId::Json(&["payload.id"]), DeliveryId::Json(&["id"])]),
        event: Name::Json("type"),
        docs: "https://dev.frontapp.com/docs/application-webhooks",
        unproven: "Application webhooks cover body and time, those of rules the body alone; other header fields are not \
            covered.",
        sample: Sample::json(include_str!("../../samples/front.json")),
        proof: Proof::Signed(&[
            Scheme {
                when: When::Is("kind", "application"),
                at: At::Headers(&["x-front-signature"]),
                encoding: Encoding::Base64,
                messages: &[&[Part::Stamp, Part::Literal(":"), Part::Body]],
                stamp: Some(Stamp::header("x-front-request-timestamp", Unit::Millis)),
                ..Scheme::BASE
            },
            Scheme {
                when: When::Is("kind", "rule"),
                at: At::Headers(&["x-front-signature"]),
                encoding: Encoding::Base64,
                algorithm: Algorithm::HmacSha1,
                ..Scheme::BASE
            },
        ]),
        ..Provider::BASE
    },
];
