//! Messaging and social platforms.

use std::time::Duration;

use crate::{
    DeliveryId, Exchange, Handshake, Name, On, Parameter, Provider, Sample,
    provider::Proof,
    scheme::{At, Part, Scheme, Stamp, Style, Unit},
    table::{GET_POST, HEADERS_OPEN, NO_TIME, TOLERANCE},
};

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "meta",
        title: "Meta: WhatsApp, Messenger, Instagram",
        parameters: &[
            Parameter::key("app_secret", "the app secret: App Dashboard, App settings, Basic"),
            Parameter::secret(
                "verify_token",
                "a text of your choice that you also enter as Verify token: App Dashboard, Webhooks, Edit subscription",
            )
            .or_none(),
        ],
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Query("hub.mode")],
            signed: false,
            exchange: Exchange::HubChallenge { token: "verify_token", json: false },
        }],
        // A batch has no id of its own, and holds messages, statuses or both.
        delivery: DeliveryId::First(&[
            DeliveryId::Items(&[
                ("entry[].changes[].value.messages[]", &["id"]),
                ("entry[].changes[].value.statuses[]", &["id", "status"]),
                ("entry[].messaging[].message", &["mid"]),
            ]),
            DeliveryId::Body,
        ]),
        event: Name::Json("entry[].changes[].field"),
        docs: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/meta.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-hub-signature-256"]),
            style: Style::Prefix("sha256="),
            key: "app_secret",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "slack",
        title: "Slack",
        parameters: &[
            Parameter::key("signing_secret", "the signing secret: api.slack.com/apps, your app, Basic Information"),
            TOLERANCE,
        ],
        answer_within: Duration::from_secs(3),
        handshakes: &[Handshake {
            method: "POST",
            on: &[On::JsonIs("type", "url_verification")],
            signed: true,
            exchange: Exchange::EchoJson("challenge"),
        }],
        delivery: DeliveryId::Json(&["event_id"]),
        event: Name::Json("event.type"),
        docs: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/slack.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-slack-signature"]),
            style: Style::Prefix("v0="),
            key: "signing_secret",
            messages: &[&[Part::Literal("v0:"), Part::Stamp, Part::Literal(":"), Part::Body]],
            stamp: Stamp::header("x-slack-request-timestamp", Unit::Seconds),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
];
