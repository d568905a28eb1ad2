//! Developer platforms and clouds.

use std::time::Duration;

use crate::{
    DeliveryId, Exchange, Handshake, Name, On, Parameter, Provider, Sample, Tries,
    proof::Proof,
    provider::NO_TIME,
    scheme::{Algorithm, At, Encoding, Part, Scheme, Stamp, Style, Unit, When},
    table::{
        ANY_METHOD, ATLASSIAN, GET_POST, HEADERS_OPEN, HUB_ALGORITHM, HUB_SHA1, HUB_SHA256, SENT_IN_URL,
        STANDARD_WEBHOOKS, acknowledge, generic::STANDARD, ping,
    },
};

/// Where `Idempotency-Key` and `webhook-id` are said to be the same over retries; the event's UUID is shared by webhooks that one caused.
const GITLAB_HEADERS: &str = "https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers";
const OPTIONS_POST: &[&str] = &["OPTIONS", "POST"];
/// How `CloudEvents` ask: may I send to you?
const MAY_I: Handshake = Handshake {
    method: "OPTIONS",
    on: &[On::Header("webhook-request-origin")],
    signed: false,
    exchange: Exchange::WebhookOrigin { origins: "allowed_origin", rate: "allowed_rate" },
};
const ALLOWED_RATE: Parameter =
    Parameter::optional("allowed_rate", Some("*"), "requests a minute that a sender is allowed; *: any number");
/// Attributes without which nothing is a `CloudEvents` event; source and id name it.
const CLOUD_EVENT: &[&str] = &["id", "source", "specversion"];
const CLOUD_EVENT_ID: &str = "https://github.com/cloudevents/spec/blob/main/cloudevents/spec.md#id";
/// A secret behind `Bearer`.
const BEARER: Scheme =
    Scheme { style: Style::Authentication("Bearer"), strip: true, ..Scheme::token(&["authorization"]) };

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "github",
        title: "GitHub",
        parameters: &[
            Parameter::key(
                "secret",
                "the webhook's secret: the repository's or organisation's Settings, Webhooks, Edit",
            ).made_up()
            .not(&[
                ("ghp_", "an access token"),
                ("github_pat_", "an access token"),
                ("ghs_", "an access token"),
                ("gho_", "an access token"),
            ]),
            HUB_ALGORITHM,
        ],
        // A redelivery is somebody who pressed the button, and it has the id of the first.
        retries: false,
        // The header field is not signed: https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
        handshakes: &[
            ping(&[On::HeaderIs("x-github-event", "ping"), On::Json("zen"), On::Json("hook_id")]),
            // Of a webhook whose content type is application/x-www-form-urlencoded.
            ping(&[
                On::HeaderIs("x-github-event", "ping"),
                On::FormOf(&["payload"]),
                On::FormJson("payload", "zen"),
                On::FormJson("payload", "hook_id"),
            ]),
        ],
        // The first is shared by the deliveries of one event to all hooks, so it takes the hook to name one of them.
        delivery: DeliveryId::Headers(&["x-github-delivery", "x-github-hook-id"]),
        event: Name::Header("x-github-event"),
        order: Name::Json("repository.full_name"),
        docs: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("user-agent", "GitHub-Hookshot/044aadd"),
                ("x-github-delivery", "{{uuid}}"),
                ("x-github-event", "issues"),
                ("x-github-hook-id", "292430182"),
                ("x-github-hook-installation-target-id", "79929171"),
                ("x-github-hook-installation-target-type", "repository"),
            ],
            query: "",
            body: include_str!("../../samples/github.json"),
        },
        proof: Proof::Signed(&[HUB_SHA256, HUB_SHA1]),
        ..Provider::BASE
    },
    Provider {
        name: "gitlab",
        title: "GitLab",
        parameters: &[
            Parameter::key(
                "secret",
                "the signing token, whsec_...: the project's Settings, Webhooks, your webhook; the older Secret token goes into \
                 token",
            )
            .begins(&["whsec_"])
            .not(&[("glpat-", "an access token")])
            .or_none(),
            Parameter::key("token", "the older Secret token, if there is no signing token")
                .not(&[("whsec_", "the signing token, which goes into secret"), ("glpat-", "an access token")])
                .or_none(),
            // The time is that of the attempt.
            Parameter::tolerance("300s", STANDARD_WEBHOOKS),
        ],
        // A webhook that failed is sent again by hand: Resend Request.
        retries: false,
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(&DeliveryId::Header("idempotency-key"), GITLAB_HEADERS),
            DeliveryId::Documented(&DeliveryId::Header("webhook-id"), GITLAB_HEADERS),
            DeliveryId::Header("x-gitlab-event-uuid"),
        ]),
        event: Name::Header("x-gitlab-event"),
        order: Name::Json("project.path_with_namespace"),
        docs: "https://docs.gitlab.com/user/project/integrations/webhooks/",
        unproven: "With a signing token body, id and time are covered. With a Secret token alone nothing is signed: the token \
            is sent along with every request, and it is forwarded, so that your application can check it too.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("user-agent", "GitLab/18.5.0"),
                ("idempotency-key", "{{uuid}}"),
                ("webhook-id", "{{uuid}}"),
                ("x-gitlab-event", "Push Hook"),
                ("x-gitlab-event-uuid", "{{uuid}}"),
                ("x-gitlab-instance", "https://gitlab.com"),
            ],
            query: "",
            body: include_str!("../../samples/gitlab.json"),
        },
        proof: Proof::Signed(&[
            Scheme { when: When::Given("secret"), ..STANDARD },
            Scheme { when: When::Absent("secret"), key: "token", ..Scheme::token(&["x-gitlab-token"]) },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "bitbucket",
        title: "Bitbucket Cloud",
        parameters: &[Parameter::key("secret", "the webhook's secret: Repository settings, Webhooks, Edit").made_up()],
        // "Test connection" of Bitbucket Data Center is not signed, and nor is the header field of anything that is.
        handshakes: &[Handshake {
            method: "POST",
            on: &[On::HeaderIs("x-event-key", "diagnostics:ping"), On::JsonWhole(r#"{"test":true}"#)],
            signed: false,
            exchange: Exchange::OK,
        }],
        delivery: DeliveryId::Header("x-request-uuid"),
        event: Name::Header("x-event-key"),
        order: Name::Json("repository.full_name"),
        docs: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("user-agent", "Bitbucket-Webhooks/2.0"),
                ("x-attempt-number", "1"),
                ("x-event-key", "repo:push"),
                ("x-hook-uuid", "fae2d1c3-98ab-4c51-9f5e-26a1d1b7e9f0"),
                ("x-request-uuid", "{{uuid}}"),
            ],
            query: "",
            body: include_str!("../../samples/bitbucket.json"),
        },
        proof: Proof::Signed(ATLASSIAN),
        ..Provider::BASE
    },
    Provider {
        name: "vercel",
        title: "Vercel",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret (Vercel, Team settings, Webhooks), or the integration's client secret",
        )],
        answer_within: Duration::from_secs(30),
        delivery: DeliveryId::Json(&["id"]),
        event: Name::Json("type"),
        order: Name::Json("payload.deployment.id"),
        docs: "https://vercel.com/docs/webhooks/webhooks-api",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/vercel.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-vercel-signature"]),
            algorithm: Algorithm::HmacSha1,
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "circleci",
        title: "CircleCI",
        parameters: &[Parameter::key("secret", "the webhook's secret token: Project settings, Webhooks, Edit")
            .not(&[("CCIPAT_", "an access token")])],
        // Several webhooks may have one URL.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(
                &DeliveryId::Json(&["id", "webhook.id"]),
                "https://circleci.com/docs/guides/integration/webhooks/",
            ),
            DeliveryId::Documented(
                &DeliveryId::Json(&["id"]),
                "https://circleci.com/docs/guides/integration/webhooks/",
            ),
        ]),
        event: Name::Json("type"),
        order: Name::Json("workflow.id"),
        docs: "https://circleci.com/docs/guides/integration/outbound-webhooks/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/circleci.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["circleci-signature"]),
            style: Style::List { separator: b',', prefix: "v1=" },
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "pagerduty",
        title: "PagerDuty V3",
        parameters: &[Parameter::key("secret", "the subscription's secret, shown once when the webhook is created")],
        answer_within: Duration::from_secs(5),
        handshakes: &[ping(&[On::JsonIs("event.event_type", "pagey.ping")])],
        // X-Webhook-Id names the delivery, but is not signed: who sent something again would choose it.
        delivery: DeliveryId::Json(&["event.id"]),
        event: Name::Json("event.event_type"),
        order: Name::Json("event.data.id"),
        docs: "https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/pagerduty.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-pagerduty-signature"]),
            style: Style::List { separator: b',', prefix: "v1=" },
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "sanity",
        title: "Sanity",
        parameters: &[
            Parameter::key("secret", "the webhook's secret: sanity.io/manage, your project, API, Webhooks"),
            // The platform's own library knows no window.
            Parameter::tolerance("off", "https://www.sanity.io/docs/content-lake/webhooks"),
        ],
        answer_within: Duration::from_secs(30),
        methods: ANY_METHOD,
        tries_for: Some(Tries::minutes(1, "https://www.sanity.io/docs/changelog/50ec6abf-fe0c-475b-ae72-314148860132")),
        again: "only after 429 and 5xx",
        // Of the delivery, the same over its retries, but not signed.
        delivery: DeliveryId::Header("idempotency-key"),
        event: Name::Header("sanity-operation"),
        order: Name::Header("sanity-document-id"),
        docs: "https://www.sanity.io/docs/content-lake/webhooks",
        unproven: "The signature covers body and time, but its age is not checked unless `tolerance` is given; header fields, \
            the idempotency key among them, can be changed by whoever passes the request on.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("idempotency-key", "{{id}}"),
                ("sanity-document-id", "contact-ada"),
                ("sanity-operation", "update"),
            ],
            query: "",
            body: include_str!("../../samples/sanity.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["sanity-webhook-signature"]),
            style: Style::Pairs { separator: b',', signature: "v1", stamp: "t" },
            encoding: Encoding::Base64Url,
            messages: &[&[Part::Stamp, Part::Literal("."), Part::Body]],
            stamp: Some(Stamp::item(Unit::Millis)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "azure-event-grid",
        title: "Azure Event Grid",
        parameters: &[
            Parameter::key(
                "secret",
                "a secret of your choice: add ?secret=... to the endpoint's URL, or a delivery property Authorization with \
                 Bearer and the secret",
            ).made_up(),
            Parameter::required("subscription", "the event subscription's name; only known ones are validated")
                .several(),
            Parameter::optional(
                "allowed_origin",
                Some("eventgrid.azure.net"),
                "who may send in the CloudEvents schema",
            )
            .several(),
            ALLOWED_RATE,
        ],
        answer_within: Duration::from_secs(30),
        methods: OPTIONS_POST,
        // After 400, 401 and 403 it drops the event at once. After this it tries again, so that what comes while the secret is
        // being replaced is not lost: https://learn.microsoft.com/azure/event-grid/delivery-and-retry
        refusal: 409,
        handshakes: &[
            Handshake {
                method: "POST",
                on: &[
                    On::HeaderIs("aeg-event-type", "SubscriptionValidation"),
                    On::JsonIs("[].eventType", "Microsoft.EventGrid.SubscriptionValidationEvent"),
                ],
                signed: false,
                exchange: Exchange::ValidationCode("subscription"),
            },
            MAY_I,
        ],
        tries_for: Some(Tries::minutes(24 * 60, "https://learn.microsoft.com/azure/event-grid/delivery-and-retry")),
        again: "not after 400, 401, 403 and 413",
        delivery: DeliveryId::First(&[DeliveryId::Items(&[("[]", &["id"])]), DeliveryId::Json(&["id", "source"])]),
        // In the platform's own schema and in that of CloudEvents.
        event: Name::First(&[Name::Json("[].eventType"), Name::Json("type"), Name::Json("[].type")]),
        order: Name::First(&[Name::Json("[].subject"), Name::Json("subject")]),
        docs: "https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema",
        unproven: SENT_IN_URL,
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("aeg-event-type", "Notification"),
                ("aeg-subscription-name", "CRM"),
                ("aeg-delivery-count", "0"),
            ],
            query: "",
            body: include_str!("../../samples/azure-event-grid.json"),
        },
        proof: Proof::Signed(&[Scheme { at: At::Query("secret"), ..Scheme::token(&[]) }, BEARER]),
        ..Provider::BASE
    },
    Provider {
        name: "cloudevents",
        title: "CloudEvents over HTTP",
        parameters: &[
            Parameter::key(
                "token",
                "the access token the sender was given: sent as Authorization: Bearer or ?access_token=",
            ).made_up(),
            Parameter::optional("allowed_origin", None, "who may ask by OPTIONS whether it may send; *: anybody")
                .several(),
            ALLOWED_RATE,
        ],
        // "Accepted, but not yet processed": http-webhook.md, section 2.2.
        acknowledgement: acknowledge(202),
        methods: OPTIONS_POST,
        handshakes: &[MAY_I],
        // What is no event in any of these modes has an id of something else.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(
                &DeliveryId::InType("application/cloudevents+json", &DeliveryId::Json(CLOUD_EVENT)),
                CLOUD_EVENT_ID,
            ),
            DeliveryId::Documented(
                &DeliveryId::InType("application/cloudevents-batch+json", &DeliveryId::Items(&[("[]", CLOUD_EVENT)])),
                CLOUD_EVENT_ID,
            ),
            DeliveryId::Documented(&DeliveryId::Headers(&["ce-id", "ce-source", "ce-specversion"]), CLOUD_EVENT_ID),
            DeliveryId::Json(&["id", "source"]),
            DeliveryId::Items(&[("[]", &["id", "source"])]),
        ]),
        event: Name::First(&[Name::Header("ce-type"), Name::Json("type"), Name::Json("[].type")]),
        order: Name::First(&[Name::Header("ce-subject"), Name::Json("subject"), Name::Json("[].subject")]),
        docs: "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
        unproven: SENT_IN_URL,
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("ce-specversion", "1.0"),
                ("ce-id", "{{id}}"),
                ("ce-source", "https://shop.example.com/orders"),
                ("ce-type", "com.example.order.created"),
                ("ce-subject", "order/{{number}}"),
                ("ce-time", "{{rfc3339}}"),
            ],
            query: "",
            body: include_str!("../../samples/cloudevents.json"),
        },
        proof: Proof::Signed(&[
            Scheme { key: "token", ..BEARER },
            Scheme { at: At::Query("access_token"), key: "token", ..Scheme::token(&[]) },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "dropbox",
        title: "Dropbox",
        parameters: &[Parameter::key("app_secret", "the app secret: dropbox.com/developers/apps, your app, Settings")
            .not(&[("sl.", "an access token")])],
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Query("challenge")],
            signed: false,
            exchange: Exchange::EchoQuery("challenge"),
        }],
        // A ping without content: equal ones are two changes.
        delivery: DeliveryId::Nothing,
        event: Name::Member("", &["delta"]),
        docs: "https://www.dropbox.com/developers/reference/webhooks",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/dropbox.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-dropbox-signature"]),
            key: "app_secret",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "box",
        title: "Box",
        parameters: &[
            Parameter::key(
                "signature_key",
                "the primary or secondary key: Box Developer Console, your app, Webhooks, Manage signature keys",
            ),
            // Prescribed.
            Parameter::tolerance("10m", "https://developer.box.com/guides/webhooks/v2/signatures-v2/"),
        ],
        answer_within: Duration::from_secs(30),
        // BOX-DELIVERY-ID changes from attempt to attempt.
        // Several webhooks of one application may have one URL.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(
                &DeliveryId::Json(&["id", "webhook.id"]),
                "https://developer.box.com/guides/webhooks/v2/",
            ),
            DeliveryId::Documented(&DeliveryId::Json(&["id"]), "https://developer.box.com/guides/webhooks/v2/"),
        ]),
        event: Name::Json("trigger"),
        order: Name::Json("source.id"),
        docs: "https://developer.box.com/guides/webhooks/v2/signatures-v2/",
        unproven: HEADERS_OPEN,
        sample: Sample {
            headers: &[("content-type", "application/json"), ("box-delivery-id", "{{uuid}}")],
            query: "",
            body: include_str!("../../samples/box.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["box-signature-primary", "box-signature-secondary"]),
            encoding: Encoding::Base64,
            key: "signature_key",
            messages: &[&[Part::Body, Part::Stamp]],
            stamp: Some(Stamp::header("box-delivery-timestamp", Unit::Rfc3339)),
            require: &[("box-signature-version", "1"), ("box-signature-algorithm", "HmacSHA256")],
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
];
