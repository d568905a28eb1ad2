//! Shops, payments, bookkeeping.

use std::time::Duration;

use crate::{
    DeliveryId, Exchange, Handshake, Name, On, Parameter, Provider, Sample, Tries,
    proof::Proof,
    provider::NO_TIME,
    scheme::{Algorithm, At, Encoding, KeyForm, Part, Scheme, Stamp, Style, Unit, When},
    table::{HEADERS_OPEN, STANDARD_WEBHOOKS, generic::STANDARD, ping},
};

/// `TIME.BODY`.
const DOTTED: &[&[Part]] = &[&[Part::Stamp, Part::Literal("."), Part::Body]];
/// `t=TIME,v1=SIGNATURE`.
const T_V1: Style = Style::Pairs { separator: b',', signature: "v1", stamp: "t" };

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "stripe",
        title: "Stripe",
        parameters: &[
            Parameter::key(
                "endpoint_secret",
                "the endpoint's signing secret, whsec_..., all of it: Stripe Dashboard, Workbench, Webhooks, your endpoint",
            )
            .begins(&["whsec_"])
            .not(&[
                ("sk_", "an API key"),
                ("rk_", "a restricted API key"),
                ("pk_", "a publishable API key"),
                ("we_", "the id of the endpoint"),
            ]),
            // Each attempt is signed anew.
            Parameter::tolerance("300s", "https://docs.stripe.com/webhooks#verify-manually"),
        ],
        tries_for: Some(Tries::minutes(3 * 24 * 60, "https://docs.stripe.com/webhooks#automatic-retries")),
        // Of the event: who moves to a newer version of the API has two endpoints at one URL for a while, each with the event in
        // the form of its own version, and takes one of them.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(&DeliveryId::Json(&["id", "api_version"]), "https://docs.stripe.com/webhooks/versioning"),
            DeliveryId::Documented(
                &DeliveryId::Json(&["id"]),
                "https://docs.stripe.com/webhooks#handle-duplicate-events",
            ),
        ]),
        event: Name::Json("type"),
        order: Name::Json("data.object.id"),
        docs: "https://docs.stripe.com/webhooks#verify-official-libraries",
        unproven: HEADERS_OPEN,
        sample: Sample {
            headers: &[
                ("content-type", "application/json; charset=utf-8"),
                ("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
            ],
            query: "",
            body: include_str!("../../samples/stripe.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["stripe-signature"]),
            style: T_V1,
            key: "endpoint_secret",
            messages: DOTTED,
            stamp: Some(Stamp::item(Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "shopify",
        title: "Shopify",
        parameters: &[Parameter::key(
            "client_secret",
            "the app's client secret (Dev Dashboard, your app, Settings), or for webhooks made by hand the secret shown under \
             Settings, Notifications, Webhooks",
        ).not(&[("shpat_", "an access token"), ("shpca_", "an access token")])],
        answer_within: Duration::from_secs(5),
        tries_for: Some(Tries::minutes(4 * 60, "https://shopify.dev/changelog/updates-to-webhook-retry-mechanism")),
        // Documented as the id of a delivery, but not signed: https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
        delivery: DeliveryId::First(&[
            DeliveryId::Header("x-shopify-webhook-id"),
            DeliveryId::Header("shopify-webhook-id"),
        ]),
        event: Name::Header("x-shopify-topic"),
        order: Name::Json("id"),
        docs: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
        unproven: "The signature covers the body alone: topic, shop and time stand in header fields that whoever passes the \
            request on can change. The relay recognises repeats by their webhook id.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("x-shopify-topic", "orders/create"),
                ("x-shopify-shop-domain", "example.myshopify.com"),
                ("x-shopify-api-version", "2025-10"),
                ("x-shopify-webhook-id", "{{uuid}}"),
                ("x-shopify-event-id", "{{uuid}}"),
                ("x-shopify-triggered-at", "{{rfc3339}}"),
            ],
            query: "",
            body: include_str!("../../samples/shopify.json"),
        },
        proof: Proof::Signed(&[Scheme {
            // Of webhooks, and of what is to come after them: https://shopify.dev/docs/apps/build/events/verify-deliveries
            at: At::Headers(&["x-shopify-hmac-sha256", "shopify-hmac-sha256"]),
            encoding: Encoding::Base64,
            key: "client_secret",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "woocommerce",
        title: "WooCommerce",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret: WooCommerce, Settings, Advanced, Webhooks, your webhook",
        )
        .not(&[("ck_", "an API consumer key"), ("cs_", "an API consumer secret")])],
        retries: false,
        handshakes: &[Handshake {
            method: "POST",
            on: &[On::FormOf(&["webhook_id"])],
            signed: false,
            exchange: Exchange::OK,
        }],
        delivery: DeliveryId::Header("x-wc-webhook-delivery-id"),
        event: Name::Header("x-wc-webhook-topic"),
        order: Name::Json("id"),
        docs: "https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("x-wc-webhook-source", "https://shop.example.com/"),
                ("x-wc-webhook-topic", "order.created"),
                ("x-wc-webhook-resource", "order"),
                ("x-wc-webhook-event", "created"),
                ("x-wc-webhook-id", "42"),
                ("x-wc-webhook-delivery-id", "{{hex}}"),
            ],
            query: "",
            body: include_str!("../../samples/woocommerce.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-wc-webhook-signature"]),
            encoding: Encoding::Base64,
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "bigcommerce",
        title: "BigCommerce",
        parameters: &[
            Parameter::key(
                "client_secret",
                "the client secret of the API account that created the webhook, as the text it is",
            )
            .or_none(),
            Parameter::optional("header", None, "a header field you gave the webhook, if its requests are not signed"),
            Parameter::key("header_secret", "the value of that header field").or_none(),
            // The time is that of the attempt.
            Parameter::tolerance("300s", STANDARD_WEBHOOKS),
        ],
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(&DeliveryId::Header("webhook-id"), STANDARD_WEBHOOKS),
            DeliveryId::Json(&["hash"]),
        ]),
        event: Name::Json("scope"),
        order: Name::Json("data.id"),
        docs: "https://developer.bigcommerce.com/docs/integrations/webhooks",
        unproven: "With client_secret body, id and time are covered. With a header field alone nothing is signed: the secret \
            is sent along with every request.",
        sample: Sample::json(include_str!("../../samples/bigcommerce.json")),
        proof: Proof::Signed(&[
            Scheme { when: When::Absent("header"), key: "client_secret", key_form: KeyForm::Text, ..STANDARD },
            Scheme {
                when: When::Given("header"),
                at: At::Named,
                key: "header_secret",
                strip: true,
                ..Scheme::token(&[])
            },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "square",
        title: "Square",
        parameters: &[Parameter::key(
            "signature_key",
            "the subscription's signature key: Developer Console, your application, Webhooks, Subscriptions",
        )
        .not(&[("EAAA", "an access token"), ("sq0", "the id or the secret of an application")])],
        signs_url: true,
        tries_for: Some(Tries::minutes(24 * 60, "https://developer.squareup.com/docs/webhooks/troubleshooting")),
        // Of the event, and the same at each subscription; several, with a version of the API each, may have one URL. What a retry
        // says of itself stands in header fields: https://developer.squareup.com/docs/webhooks/overview
        delivery: DeliveryId::Json(&["event_id"]),
        event: Name::Json("type"),
        order: Name::Json("data.id"),
        docs: "https://developer.squareup.com/docs/webhooks/step3validate",
        unproven: "The signature covers URL and body and no time: whoever has seen one request can send it again, and header fields \
            can be changed. The relay recognises repeats by the id of the event and the body, so that the same event in the form \
            of another version of the API is none.",
        sample: Sample::json(include_str!("../../samples/square.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-square-hmacsha256-signature"]),
            encoding: Encoding::Base64,
            key: "signature_key",
            messages: &[&[Part::Url, Part::Body]],
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "paddle",
        title: "Paddle Billing",
        parameters: &[
            Parameter::key(
                "secret_key",
                "the destination's secret key, pdl_ntfset_...: Paddle, Developer tools, Notifications",
            ).begins(&["pdl_ntfset_"]).not(&[("pdl_sdbx_apikey_", "an API key"), ("pdl_live_apikey_", "an API key"), ("ntfset_", "the id of the destination")]),
            // The platform's libraries take 5 s, too little for anything that was ever queued.
            Parameter::tolerance("300s", "https://developer.paddle.com/webhooks/signature-verification"),
        ],
        answer_within: Duration::from_secs(5),
        // Several destinations, with a version of the API each, may have one URL: notification_id is of the destination's.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(
                &DeliveryId::Json(&["event_id", "notification_id"]),
                "https://developer.paddle.com/webhooks/respond-to-webhooks",
            ),
            DeliveryId::Documented(
                &DeliveryId::Json(&["event_id"]),
                "https://developer.paddle.com/webhooks/respond-to-webhooks",
            ),
        ]),
        event: Name::Json("event_type"),
        order: Name::Json("data.id"),
        docs: "https://developer.paddle.com/webhooks/signature-verification",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/paddle.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["paddle-signature"]),
            style: Style::Pairs { separator: b';', signature: "h1", stamp: "ts" },
            key: "secret_key",
            messages: &[&[Part::Stamp, Part::Literal(":"), Part::Body]],
            stamp: Some(Stamp::item(Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "lemonsqueezy",
        title: "Lemon Squeezy",
        parameters: &[Parameter::key("secret", "the webhook's signing secret: Lemon Squeezy, Settings, Webhooks")
            .not(&[("eyJ", "an API key")])],
        tries_for: Some(Tries::minutes(3, "https://docs.lemonsqueezy.com/help/webhooks/webhook-requests")),
        delivery: DeliveryId::Json(&["data.id", "meta.event_name", "data.attributes.updated_at"]),
        // In a header field too, which is not signed.
        event: Name::Json("meta.event_name"),
        order: Name::Json("data.id"),
        docs: "https://docs.lemonsqueezy.com/help/webhooks/signing-requests",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[("content-type", "application/json"), ("x-event-name", "order_created")],
            query: "",
            body: include_str!("../../samples/lemonsqueezy.json"),
        },
        proof: Proof::Signed(&[Scheme { at: At::Headers(&["x-signature"]), ..Scheme::BASE }]),
        ..Provider::BASE
    },
    Provider {
        name: "xero",
        title: "Xero",
        parameters: &[Parameter::key(
            "webhook_key",
            "the webhooks key: developer.xero.com, My Apps, your app, Webhooks",
        )],
        answer_within: Duration::from_secs(5),
        // The intent to receive: some good, some badly signed, each to be told apart at once.
        handshakes: &[ping(&[On::JsonEmpty("events")])],
        bare_refusals: true,
        delivery: DeliveryId::Items(&[("events[]", &["resourceId", "eventDateUtc", "eventType"])]),
        event: Name::Joined("events[]", &["eventCategory", "eventType"]),
        order: Name::Json("events[].resourceId"),
        docs: "https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/xero.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-xero-signature"]),
            encoding: Encoding::Base64,
            key: "webhook_key",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "gocardless",
        title: "GoCardless",
        parameters: &[Parameter::key(
            "secret",
            "the webhook endpoint's secret: GoCardless, Developers, Webhook endpoints",
        )],
        // "498 Token Invalid": https://developer.gocardless.com/api-reference/#webhooks-overview
        refusal: 498,
        delivery: DeliveryId::Items(&[("events[]", &["id"])]),
        event: Name::Joined("events[]", &["resource_type", "action"]),
        docs: "https://developer.gocardless.com/api-reference/#webhooks-overview",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/gocardless.json")),
        proof: Proof::Signed(&[Scheme { at: At::Headers(&["webhook-signature"]), ..Scheme::BASE }]),
        ..Provider::BASE
    },
    Provider {
        name: "razorpay",
        title: "Razorpay",
        parameters: &[Parameter::key(
            "secret",
            "the webhook's secret: Razorpay Dashboard, Account & Settings, Webhooks",
        )
        .not(&[("rzp_", "the id of an API key")])],
        answer_within: Duration::from_secs(5),
        // Of the event, the same over its retries, but not signed.
        delivery: DeliveryId::Header("x-razorpay-event-id"),
        event: Name::Json("event"),
        order: Name::Json("payload.payment.entity.id"),
        docs: "https://razorpay.com/docs/webhooks/validate-test/",
        unproven: NO_TIME,
        sample: Sample {
            headers: &[("content-type", "application/json"), ("x-razorpay-event-id", "{{id}}")],
            query: "",
            body: include_str!("../../samples/razorpay.json"),
        },
        proof: Proof::Signed(&[Scheme { at: At::Headers(&["x-razorpay-signature"]), ..Scheme::BASE }]),
        ..Provider::BASE
    },
    Provider {
        name: "paystack",
        title: "Paystack",
        parameters: &[Parameter::key(
            "secret_key",
            "the API secret key, sk_live_... or sk_test_...: Paystack, Settings, API Keys & Webhooks",
        ).begins(&["sk_"]).not(&[("pk_", "the public key")])],
        // Four times in twelve minutes, then hourly for 72 hours.
        tries_for: Some(Tries::minutes(73 * 60, "https://paystack.com/docs/payments/webhooks/")),
        delivery: DeliveryId::Json(&["data.id", "event"]),
        event: Name::Json("event"),
        order: Name::Json("data.reference"),
        docs: "https://paystack.com/docs/payments/webhooks/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/paystack.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-paystack-signature"]),
            algorithm: Algorithm::HmacSha512,
            key: "secret_key",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "recharge",
        title: "Recharge",
        parameters: &[
            Parameter::key("client_secret", "the API client secret: Recharge, Apps, API tokens, your token"),
            // Both are sent, and there is no falling back: who may choose the weaker one is who attacks.
            Parameter::choice(
                "signature",
                &["v1", "legacy"],
                "v1 for X-Recharge-Webhook-Signature, legacy for senders so old that they have X-Recharge-Hmac-Sha256 alone",
            ),
            // Prescribed.
            Parameter::tolerance("48h", "https://docs.getrecharge.com/docs/webhooks-overview#validating-webhooks"),
        ],
        answer_within: Duration::from_secs(5),
        tries_for: Some(Tries::minutes(48 * 60, "https://docs.getrecharge.com/docs/webhooks-overview#validating-webhooks")),
        delivery: DeliveryId::Nothing,
        // The topic is in no field, what the webhook is about is.
        event: Name::Member("", &[]),
        docs: "https://docs.getrecharge.com/docs/webhooks-overview#validating-webhooks",
        unproven: "With `signature=v1` body and time are covered, other header fields are not. With `signature=legacy` what is \
            called an HMAC is a plain hash of secret and body, a construction that lets whoever has seen one request make up \
            bodies that begin with that one and go on with bytes of their own, and no time is covered.",
        sample: Sample::json(include_str!("../../samples/recharge.json")),
        proof: Proof::Signed(&[
            Scheme {
                when: When::Is("signature", "v1"),
                at: At::Headers(&["x-recharge-webhook-signature"]),
                style: T_V1,
                key: "client_secret",
                messages: DOTTED,
                stamp: Some(Stamp::item(Unit::Seconds)),
                ..Scheme::BASE
            },
            Scheme {
                when: When::Is("signature", "legacy"),
                at: At::Headers(&["x-recharge-hmac-sha256"]),
                algorithm: Algorithm::Sha256,
                key: "client_secret",
                messages: &[&[Part::Secret, Part::Body]],
                ..Scheme::BASE
            },
        ]),
        ..Provider::BASE
    },
    Provider {
        name: "mux",
        title: "Mux",
        parameters: &[
            Parameter::key("secret", "the webhook's signing secret: Mux Dashboard, Settings, Webhooks"),
            // Prescribed; the platform's library takes 300 s.
            Parameter::tolerance("300s", "https://www.mux.com/docs/core/verify-webhook-signatures"),
        ],
        delivery: DeliveryId::Documented(
            &DeliveryId::Json(&["id"]),
            "https://www.mux.com/docs/core/listen-for-webhooks",
        ),
        event: Name::Json("type"),
        order: Name::Json("object.id"),
        docs: "https://www.mux.com/docs/core/verify-webhook-signatures",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/mux.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["mux-signature"]),
            style: T_V1,
            messages: DOTTED,
            stamp: Some(Stamp::item(Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "revolut",
        title: "Revolut",
        parameters: &[
            Parameter::key(
                "signing_secret",
                "the webhook's signing secret, wsk_...: the answer to the call that created it",
            ).begins(&["wsk_"]),
            // Prescribed, and the time is that of the delivery.
            Parameter::tolerance("300s", "https://developer.revolut.com/docs/guides/merchant/monitor-and-observe/webhooks/verify-the-payload-signature"),
        ],
        delivery: DeliveryId::Json(&["data.id", "event", "timestamp"]),
        event: Name::Json("event"),
        order: Name::Json("data.id"),
        docs: "https://developer.revolut.com/docs/guides/manage-accounts/webhooks/verify-the-payload-signature",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/revolut.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["revolut-signature"]),
            style: Style::List { separator: b',', prefix: "v1=" },
            key: "signing_secret",
            messages: &[&[Part::Literal("v1."), Part::Stamp, Part::Literal("."), Part::Body]],
            stamp: Some(Stamp::header("revolut-request-timestamp", Unit::Millis)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "recurly",
        title: "Recurly",
        parameters: &[
            Parameter::key("secret", "the JSON endpoint's secret key: Recurly, Integrations, Webhooks, your endpoint"),
            // What the platform's libraries take.
            Parameter::tolerance("300s", "https://docs.recurly.com/recurly-subscriptions/docs/signature-verification"),
        ],
        // Ten times, after 10 + x * 2^(x + 5) seconds.
        tries_for: Some(Tries::minutes(73 * 60, "https://docs.recurly.com/recurly-subscriptions/docs/automatic-retries")),
        delivery: DeliveryId::Json(&["id"]),
        event: Name::Joined("", &["object_type", "event_type"]),
        docs: "https://docs.recurly.com/recurly-subscriptions/docs/webhook-signature-verification",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/recurly.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["recurly-signature"]),
            style: Style::Positional { separator: b',' },
            messages: DOTTED,
            stamp: Some(Stamp::item(Unit::Millis)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
];
