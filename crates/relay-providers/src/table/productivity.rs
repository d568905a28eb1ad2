//! Work, planning, documents, marketing, identity.

use std::time::Duration;

use crate::{
    DeliveryId, Exchange, Handshake, Name, On, Parameter, Provider, Sample, Tries,
    proof::Proof,
    provider::NO_TIME,
    scheme::{At, Encoding, KeyForm, Part, Scheme, Stamp, StampAt, Style, Unit},
    table::{ATLASSIAN, GET_POST, HEAD_POST, HEADERS_OPEN, SENT_ALONG, ping},
};

const CALENDLY: &str = "https://developer.calendly.com/api-docs/overview/webhooks/webhook-signatures";

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "asana",
        title: "Asana",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret; leave it out: Asana hands it over when the webhook is created. Each webhook has one of its own: a \
             source of its own for each, or crm-relay source await-secret before the next is created",
        )
        .or_none()],
        handshakes: &[
            Handshake {
                method: "POST",
                on: &[On::Header("x-hook-secret")],
                signed: false,
                exchange: Exchange::AdoptHeader { header: "x-hook-secret", parameter: "secret" },
            },
            // A heartbeat: nothing has happened.
            ping(&[On::JsonEmpty("events")]),
        ],
        tries_for: Some(Tries::minutes(24 * 60, "https://developers.asana.com/docs/webhooks-guide")),
        // Events carry their time, so that equal bytes are the same events.
        delivery: DeliveryId::Body,
        event: Name::Joined("events[]", &["resource.resource_type", "action"]),
        order: Name::Json("events[].resource.gid"),
        docs: "https://developers.asana.com/docs/webhooks-guide",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/asana.json")),
        proof: Proof::Signed(&[Scheme { at: At::Headers(&["x-hook-signature"]), ..Scheme::BASE }]),
        ..Provider::BASE
    },
    Provider {
        name: "notion",
        title: "Notion",
        parameters: &[Parameter::key(
            "verification_token",
            "the verification token; leave it out: Notion hands it over when the subscription is created, and asks for it \
             in the integration's Webhooks tab",
        )
        .not(&[("ntn_", "the token of an integration")])
        .or_none()],
        handshakes: &[Handshake {
            method: "POST",
            on: &[On::Json("verification_token")],
            signed: false,
            exchange: Exchange::AdoptJson { field: "verification_token", parameter: "verification_token" },
        }],
        delivery: DeliveryId::Json(&["id"]),
        attempts: &["attempt_number"],
        event: Name::Json("type"),
        order: Name::Json("entity.id"),
        docs: "https://developers.notion.com/reference/webhooks",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/notion.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-notion-signature"]),
            style: Style::Prefix("sha256="),
            key: "verification_token",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "trello",
        title: "Trello",
        parameters: &[Parameter::key("app_secret", "the app's OAuth1 secret: trello.com/power-ups/admin, your app, API key")],
        methods: HEAD_POST,
        signs_url: true,
        handshakes: &[Handshake::any("HEAD")],
        delivery: DeliveryId::Json(&["action.id"]),
        event: Name::Json("action.type"),
        order: Name::Json("action.data.card.id"),
        docs: "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/trello.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-trello-webhook"]),
            encoding: Encoding::Base64,
            algorithm: crate::scheme::Algorithm::HmacSha1,
            key: "app_secret",
            messages: &[&[Part::Body, Part::Url]],
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "linear",
        title: "Linear",
        parameters: &[
            Parameter::key("secret", "the webhook's signing secret: Linear, Settings, API, Webhooks, your webhook").not(&[("lin_api_", "an API key"), ("lin_oauth_", "an access token")]),
            // Prescribed.
            Parameter::tolerance("60s", "https://linear.app/developers/webhooks"),
        ],
        answer_within: Duration::from_secs(5),
        // Of the delivery, but not signed.
        delivery: DeliveryId::Header("linear-delivery"),
        // When it was sent.
        attempts: &["webhookTimestamp"],
        // In a header field too, which is not signed.
        event: Name::Joined("", &["type", "action"]),
        order: Name::Json("data.id"),
        docs: "https://linear.app/developers/webhooks",
        unproven: "The signature covers body and time; other header fields can be changed by whoever passes the request on. The \
            window that Linear prescribes is short: where the relay's clock is a minute off, everything is refused.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json; charset=utf-8"),
                ("linear-delivery", "{{uuid}}"),
                ("linear-event", "Issue"),
            ],
            query: "",
            body: include_str!("../../samples/linear.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["linear-signature"]),
            // As `LinearWebhookClient` of @linear/sdk reads it.
            stamp: Some(Stamp {
                at: StampAt::JsonOrHeader("webhookTimestamp", "linear-timestamp"),
                unit: Unit::Millis,
            }),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "jira",
        title: "Jira Cloud",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret: Jira, Settings, System, WebHooks, your webhook; Jira never shows it again. Webhooks that an app \
             registers (Connect, OAuth 2.0) have none: they carry a token in Authorization that covers no body, and are refused",
        )
        .made_up()],
        answer_within: Duration::from_secs(20),
        // Five times, each within a quarter of an hour of the one before.
        tries_for: Some(Tries::minutes(75, "https://developer.atlassian.com/cloud/jira/platform/webhooks/")),
        again: "only after 408, 409, 425, 429 and 5xx, and where no answer came",
        // Of the webhook, the same over its retries, but not signed.
        delivery: DeliveryId::Header("x-atlassian-webhook-identifier"),
        event: Name::Json("webhookEvent"),
        order: Name::Json("issue.id"),
        docs: "https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[("content-type", "application/json"), ("x-atlassian-webhook-identifier", "{{uuid}}")],
            query: "",
            body: include_str!("../../samples/jira.json"),
        },
        proof: Proof::Signed(ATLASSIAN),
        ..Provider::BASE
    },
    Provider {
        name: "typeform",
        title: "Typeform",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret: your form, Connect, Webhooks, Edit; there is no signature without one, and the webhook is off until \
             it is switched on there",
        )
        .not(&[("tfp_", "an access token")])
        .made_up()],
        answer_within: Duration::from_secs(30),
        tries_for: Some(Tries::minutes(11 * 60, "https://www.typeform.com/developers/webhooks/")),
        again: "404 and 410 switch the webhook off",
        delivery: DeliveryId::Json(&["event_id"]),
        event: Name::Json("event_type"),
        docs: "https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/typeform.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["typeform-signature"]),
            style: Style::Prefix("sha256="),
            encoding: Encoding::Base64,
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "calendly",
        title: "Calendly",
        parameters: &[
            Parameter::key(
                "secret",
                "the signing key: signing_key of the call that created the subscription with a personal access token (give one, else \
                 nothing is signed), or that of your OAuth app",
            )
            .not(&[("eyJ", "an access token")]),
            // Recommended.
            Parameter::tolerance("3m", CALENDLY),
        ],
        answer_within: Duration::from_secs(15),
        tries_for: Some(Tries::minutes(24 * 60, "https://developer.calendly.com/api-docs/overview/webhooks/webhook-errors")),
        again: "410 deletes the subscription",
        delivery: DeliveryId::Json(&["payload.uri", "event", "created_at"]),
        event: Name::Json("event"),
        order: Name::Json("payload.uri"),
        docs: CALENDLY,
        unproven: "The signature covers body and time; other header fields can be changed by whoever passes the request on. Calendly \
            goes on trying for a day and does not say that it signs a retry anew: if late ones are refused as `stale_timestamp`, give \
            `tolerance=25h`, within which a webhook that is sent again is a repeat.",
        sample: Sample::json(include_str!("../../samples/calendly.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["calendly-webhook-signature"]),
            style: Style::Pairs { separator: b',', signature: "v1", stamp: "t" },
            messages: &[&[Part::Stamp, Part::Literal("."), Part::Body]],
            stamp: Some(Stamp::item(Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "airtable",
        title: "Airtable",
        parameters: &[Parameter::key("mac_secret", "macSecretBase64 of the answer to the call that created the webhook")],
        answer_within: Duration::from_secs(25),
        // A ping without content: equal ones are two changes.
        delivery: DeliveryId::Nothing,
        order: Name::Json("base.id"),
        docs: "https://airtable.com/developers/web/api/webhooks-overview",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/airtable.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-airtable-content-mac"]),
            style: Style::Prefix("hmac-sha256="),
            key: "mac_secret",
            key_form: KeyForm::Base64,
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "klaviyo",
        title: "Klaviyo",
        parameters: &[
            Parameter::key("secret", "the webhook's secret: the one you gave when you created it"),
            // None is prescribed, nor is it said how long a webhook is tried, or whether a retry is signed anew: as long as
            // equal bytes are known to be a repeat.
            Parameter::tolerance("3d", "https://developers.klaviyo.com/en/docs/working_with_system_webhooks"),
        ],
        delivery: DeliveryId::Body,
        event: Name::Json("data[].topic"),
        docs: "https://developers.klaviyo.com/en/docs/working_with_system_webhooks",
        unproven: HEADERS_OPEN,
        sample: Sample {
            headers: &[("content-type", "application/json"), ("klaviyo-timestamp", "{{rfc3339}}")],
            query: "",
            body: include_str!("../../samples/klaviyo.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["klaviyo-signature"]),
            // The header field is a text that is signed, and no clock: it was seen five hours ahead and called GMT, and in two
            // spellings (github.com/nickdnk/klaviyo-php-sdk, "Webhooks").
            messages: &[&[Part::Body, Part::Header("klaviyo-timestamp")]],
            stamp: Some(Stamp { at: StampAt::JsonIfAny("meta.timestamp"), unit: Unit::Rfc3339 }),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "docusign",
        title: "DocuSign Connect",
        parameters: &[Parameter::key("hmac_key", "an HMAC key: DocuSign Admin, Connect, Connect Keys; several may be active")],
        answer_within: Duration::from_secs(100),
        delivery: DeliveryId::Json(&["data.envelopeId", "event", "generatedDateTime"]),
        attempts: &["retryCount"],
        event: Name::Json("event"),
        order: Name::Json("data.envelopeId"),
        docs: "https://developers.docusign.com/platform/webhooks/connect/hmac/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/docusign.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Numbered("x-docusign-signature-"),
            encoding: Encoding::Base64,
            key: "hmac_key",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "okta",
        title: "Okta event hooks",
        parameters: &[Parameter::key(
            "secret",
            "the authentication secret of the event hook, whose authentication field is Authorization: Okta Admin Console, \
             Workflow, Event Hooks",
        ).made_up()],
        answer_within: Duration::from_secs(3),
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Header("x-okta-verification-challenge")],
            signed: false,
            exchange: Exchange::HeaderToJson { header: "x-okta-verification-challenge", field: "verification" },
        }],
        delivery: DeliveryId::Json(&["eventId"]),
        // When it was delivered: help.okta.com, Okta Workflows, "Custom Webhook".
        attempts: &["eventTime"],
        event: Name::Json("data.events[].eventType"),
        docs: "https://developer.okta.com/docs/concepts/event-hooks/",
        unproven: SENT_ALONG,
        sample: Sample::json(include_str!("../../samples/okta.json")),
        proof: Proof::Signed(&[Scheme { strip: true, ..Scheme::token(&["authorization"]) }]),
        ..Provider::BASE
    },
    Provider {
        name: "workos",
        title: "WorkOS",
        parameters: &[
            Parameter::key("secret", "the endpoint's signing secret: WorkOS Dashboard, Webhooks, your endpoint"),
            // Prescribed; the platform's libraries take 180 s.
            Parameter::tolerance("300s", "https://workos.com/docs/events/data-syncing/webhooks"),
        ],
        delivery: DeliveryId::Json(&["id"]),
        event: Name::Json("event"),
        order: Name::Json("data.id"),
        docs: "https://workos.com/docs/events/data-syncing/webhooks",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/workos.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["workos-signature"]),
            style: Style::Pairs { separator: b',', signature: "v1", stamp: "t" },
            messages: &[&[Part::Stamp, Part::Literal("."), Part::Body]],
            stamp: Some(Stamp::item(Unit::Millis)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
];
