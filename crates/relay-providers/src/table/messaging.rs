//! Messaging and social platforms.

use std::time::Duration;

use crate::{
    Characters, DeliveryId, Exchange, Handshake, Name, On, Otherwise, Parameter, Provider, Sample, Tries,
    proof::Proof,
    provider::NO_TIME,
    scheme::{Algorithm, At, Encoding, KeyForm, Part, Scheme, Stamp, Style, Unit},
    table::{GET_POST, HEADERS_OPEN, HUB_ALGORITHM, HUB_SHA1, HUB_SHA256, SENT_ALONG, acknowledge, ping},
};

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "meta",
        title: "Meta: WhatsApp, Messenger, Instagram",
        parameters: &[
            Parameter::key(
                "app_secret",
                "the app secret: App Dashboard, App settings, Basic; for the Instagram API with Instagram login the Instagram app \
                 secret: App Dashboard, Instagram, API setup with Instagram login. Both may be given",
            )
            .not(&[("EAA", "an access token")]),
            Parameter::secret(
                "verify_token",
                "a text of your choice that you also enter as Verify token: App Dashboard, Webhooks, Edit subscription",
            )
            .made_up()
            .or_none(),
            HUB_ALGORITHM,
        ],
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Query("hub.mode")],
            signed: false,
            exchange: Exchange::HubChallenge { token: "verify_token", json: false },
        }],
        // Those of WhatsApp; the others for 36 hours.
        tries_for: Some(Tries::minutes(7 * 24 * 60, "https://developers.facebook.com/docs/whatsapp/cloud-api/guides/set-up-webhooks")),
        // A batch has no id of its own, and holds messages, statuses or both.
        delivery: DeliveryId::First(&[
            DeliveryId::Items(&[
                ("entry[].changes[].value.messages[]", &["id"]),
                ("entry[].changes[].value.statuses[]", &["id", "status"]),
                ("entry[].messaging[].message", &["mid"]),
            ]),
            DeliveryId::Body,
        ]),
        // Of Messenger, which names no field, what an item holds besides who wrote to whom.
        event: Name::First(&[
            Name::Json("entry[].changes[].field"),
            Name::Member("entry[].messaging[]", &["sender", "recipient", "timestamp"]),
            Name::Member("entry[].standby[]", &["sender", "recipient", "timestamp"]),
        ]),
        docs: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/meta.json")),
        proof: Proof::Signed(&[Scheme { key: "app_secret", ..HUB_SHA256 }, Scheme { key: "app_secret", ..HUB_SHA1 }]),
        ..Provider::BASE
    },
    Provider {
        name: "slack",
        title: "Slack",
        parameters: &[
            Parameter::key("signing_secret", "the signing secret: api.slack.com/apps, your app, Basic Information")
                .not(&[("xoxb-", "a bot token"), ("xoxp-", "a user token"), ("xapp-", "an app token")]),
            // Prescribed.
            Parameter::tolerance("300s", "https://docs.slack.dev/authentication/verifying-requests-from-slack"),
        ],
        answer_within: Duration::from_secs(3),
        methods: GET_POST,
        handshakes: &[
            Handshake {
                method: "POST",
                on: &[On::JsonIs("type", "url_verification")],
                signed: true,
                exchange: Exchange::EchoJson("challenge"),
            },
            // Looks after the certificate of a slash command's URL: slackhq/slack-api-docs, index_slash_commands.md. As a form
            // too: the platform's own receivers answer that before they look for a signature (AwsLambdaReceiver of bolt-js).
            // A command or an interaction is none of these, whatever else it says.
            Handshake {
                method: "GET",
                on: &[On::QueryWithout("ssl_check", &["command", "payload"])],
                signed: false,
                exchange: Exchange::OK,
            },
            Handshake {
                method: "POST",
                on: &[On::FormOf(&["ssl_check", "token"])],
                signed: false,
                exchange: Exchange::OK,
            },
        ],
        // Several apps may have one URL.
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(
                &DeliveryId::Json(&["event_id", "api_app_id"]),
                "https://docs.slack.dev/apis/events-api/",
            ),
            DeliveryId::Documented(&DeliveryId::Json(&["event_id"]), "https://docs.slack.dev/apis/events-api/"),
        ]),
        // A slash command and an interaction are forms.
        event: Name::First(&[
            Name::Json("event.type"),
            Name::Json("type"),
            Name::Form("command"),
            Name::FormJson("payload", "type"),
        ]),
        docs: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/slack.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-slack-signature"]),
            style: Style::Prefix("v0="),
            key: "signing_secret",
            messages: &[&[Part::Literal("v0:"), Part::Stamp, Part::Literal(":"), Part::Body]],
            stamp: Some(Stamp::header("x-slack-request-timestamp", Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "discord",
        title: "Discord",
        parameters: &[
            Parameter::public_key(
                "public_key",
                "the application's public key, 64 hex digits: Developer Portal, your application, General Information",
            ),
            // None is prescribed, nor is it said that a retry is signed anew, for up to ten minutes.
            Parameter::tolerance("15m", "https://docs.discord.com/developers/events/webhook-events"),
        ],
        sending: &[Parameter::signing_key("the private key that belongs to public_key: 32 bytes in hex")],
        acknowledgement: acknowledge(204),
        // An interaction wants its answer, which nobody has before its target was asked: with this Discord waits for it at its
        // own API ("respond to the original HTTP request with a 202 and no body").
        otherwise: &[Otherwise { on: &[On::Json("token"), On::NoJson("event")], acknowledgement: acknowledge(202) }],
        answer_within: Duration::from_secs(3),
        handshakes: &[
            Handshake {
                method: "POST",
                on: &[On::JsonIs("type", "1"), On::NoJson("event")],
                signed: true,
                exchange: Exchange::Fixed {
                    status: 200,
                    content_type: Some("application/json"),
                    body: r#"{"type":1}"#,
                },
            },
            Handshake {
                method: "POST",
                on: &[On::JsonIs("type", "0")],
                signed: true,
                // "You must provide a valid Content-Type when responding to PINGs."
                exchange: Exchange::Fixed { status: 204, content_type: Some("application/json"), body: "" },
            },
        ],
        tries_for: Some(Tries::minutes(10, "https://docs.discord.com/developers/events/webhook-events")),
        delivery: DeliveryId::First(&[DeliveryId::Json(&["id"]), DeliveryId::Body]),
        // An interaction's is a number.
        event: Name::First(&[Name::Json("event.type"), Name::Json("type")]),
        docs: "https://docs.discord.com/developers/events/webhook-events",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/discord.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-signature-ed25519"]),
            algorithm: Algorithm::Ed25519,
            key: "public_key",
            key_form: KeyForm::Ed25519,
            messages: &[&[Part::Stamp, Part::Body]],
            stamp: Some(Stamp::header("x-signature-timestamp", Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "telegram",
        title: "Telegram Bot API",
        parameters: &[Parameter::key(
            "secret_token",
            "the secret_token you gave to setWebhook: 1 to 256 of A-Z, a-z, 0-9, _ and - (the bot's own token has a colon, and is another)",
        )
        .made_of(Characters::Word, 1, 256, "letters, digits, _ and -, 256 at most")
        .made_up()],
        delivery: DeliveryId::Json(&["update_id"]),
        // "At most one of the optional parameters can be present in any given update."
        event: Name::Member("", &["update_id"]),
        docs: "https://core.telegram.org/bots/api#setwebhook",
        unproven: SENT_ALONG,
        sample: Sample::json(include_str!("../../samples/telegram.json")),
        proof: Proof::Signed(&[Scheme { key: "secret_token", ..Scheme::token(&["x-telegram-bot-api-secret-token"]) }]),
        ..Provider::BASE
    },
    Provider {
        name: "x-twitter",
        title: "X",
        parameters: &[Parameter::key(
            "consumer_secret",
            "the app's consumer secret (API key secret): developer.x.com, your app, Keys and tokens",
        )],
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Query("crc_token")],
            signed: false,
            exchange: Exchange::Crc("consumer_secret"),
        }],
        // Ids stand in lists whose names differ by event; a retry repeats the bytes.
        delivery: DeliveryId::Body,
        event: Name::First(&[
            Name::Json("data.event_type"),
            Name::Member("", &["for_user_id", "user_has_blocked", "users", "apps", "data", "includes", "matching_rules"]),
        ]),
        docs: "https://docs.x.com/x-api/webhooks/introduction",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/x-twitter.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-twitter-webhooks-signature"]),
            style: Style::Prefix("sha256="),
            encoding: Encoding::Base64,
            key: "consumer_secret",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "zoom",
        title: "Zoom",
        parameters: &[
            Parameter::key("secret_token", "the secret token: marketplace.zoom.us, your app, Features, Access")
                .not(&[("eyJ", "an access token")]),
            // None is prescribed, nor is it said that a retry is signed anew; the last comes after 85 minutes. Equal bytes are a repeat.
            Parameter::tolerance("2h", "https://developers.zoom.us/blog/webhook-delays"),
        ],
        answer_within: Duration::from_secs(3),
        handshakes: &[Handshake {
            method: "POST",
            on: &[On::JsonIs("event", "endpoint.url_validation")],
            signed: true,
            exchange: Exchange::PlainToken("secret_token"),
        }],
        tries_for: Some(Tries::minutes(85, "https://developers.zoom.us/blog/webhook-delays")),
        // There is no id; event_ts makes the bytes of two events differ.
        delivery: DeliveryId::Body,
        event: Name::Json("event"),
        order: Name::Json("payload.object.uuid"),
        docs: "https://developers.zoom.us/docs/api/webhooks/",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/zoom.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-zm-signature"]),
            style: Style::Prefix("v0="),
            key: "secret_token",
            messages: &[&[Part::Literal("v0:"), Part::Stamp, Part::Literal(":"), Part::Body]],
            stamp: Some(Stamp::header("x-zm-request-timestamp", Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "line",
        title: "LINE Messaging API",
        parameters: &[Parameter::key(
            "channel_secret",
            "the channel secret: LINE Developers Console, your channel, Basic settings",
        )],
        // The console's Verify button sends no events.
        handshakes: &[ping(&[On::JsonEmpty("events")])],
        delivery: DeliveryId::Items(&[("events[]", &["webhookEventId"])]),
        attempts: &["events[].deliveryContext.isRedelivery"],
        event: Name::Json("events[].type"),
        docs: "https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/line.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-line-signature"]),
            encoding: Encoding::Base64,
            key: "channel_secret",
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "twitch",
        title: "Twitch EventSub",
        parameters: &[
            Parameter::key("secret", "the secret you gave when you created the subscription, 10 to 100 characters")
                .made_of(Characters::Printable, 10, 100, "10 to 100 characters of ASCII")
                .made_up(),
            // Prescribed.
            Parameter::tolerance("10m", "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/"),
        ],
        answer_within: Duration::from_secs(5),
        handshakes: &[Handshake {
            method: "POST",
            // The header field is not signed.
            on: &[
                On::HeaderIs("twitch-eventsub-message-type", "webhook_callback_verification"),
                On::Json("challenge"),
                On::NoJson("event"),
            ],
            signed: true,
            exchange: Exchange::EchoJsonText("challenge"),
        }],
        delivery: DeliveryId::Documented(
            &DeliveryId::Header("twitch-eventsub-message-id"),
            "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
        ),
        // In a header field too, which is not signed.
        event: Name::Json("subscription.type"),
        docs: "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
        unproven: "The signature covers message id, time and body; other header fields, the message type among them, can be \
            changed by whoever passes the request on.",
        sample: Sample {
            headers: &[
                ("content-type", "application/json"),
                ("twitch-eventsub-message-id", "{{uuid}}"),
                ("twitch-eventsub-message-type", "notification"),
                ("twitch-eventsub-message-retry", "0"),
                ("twitch-eventsub-subscription-type", "channel.follow"),
                ("twitch-eventsub-subscription-version", "2"),
            ],
            query: "",
            body: include_str!("../../samples/twitch.json"),
        },
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["twitch-eventsub-message-signature"]),
            style: Style::Prefix("sha256="),
            messages: &[&[Part::Header("twitch-eventsub-message-id"), Part::Stamp, Part::Body]],
            stamp: Some(Stamp::header("twitch-eventsub-message-timestamp", Unit::Rfc3339)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "linkedin",
        title: "LinkedIn",
        parameters: &[Parameter::key(
            "client_secret",
            "the app's client secret: LinkedIn Developers, your app, Auth. A source is for one app, since LinkedIn's challenge \
             is answered with one secret: several apps have a source each",
        )],
        answer_within: Duration::from_secs(3),
        methods: GET_POST,
        handshakes: &[Handshake {
            method: "GET",
            on: &[On::Query("challengeCode")],
            signed: false,
            exchange: Exchange::ChallengeCode("client_secret"),
        }],
        delivery: DeliveryId::First(&[DeliveryId::Json(&["notificationId"]), DeliveryId::Body]),
        event: Name::Json("type"),
        docs: "https://learn.microsoft.com/linkedin/marketing/lead-sync/leadsync",
        unproven: NO_TIME,
        sample: Sample::json(include_str!("../../samples/linkedin.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-li-signature"]),
            key: "client_secret",
            // The prefix is signed and not sent.
            messages: &[&[Part::Literal("hmacsha256="), Part::Body]],
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "telnyx",
        title: "Telnyx",
        parameters: &[
            Parameter::public_key(
                "public_key",
                "the account's public key, base64: Telnyx portal, Account settings, Keys",
            ),
            // What the platform's libraries take.
            Parameter::tolerance("300s", "https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks"),
        ],
        sending: &[Parameter::signing_key("the private key that belongs to public_key: 32 bytes in hex or base64")],
        answer_within: Duration::from_secs(2),
        delivery: DeliveryId::Json(&["data.id"]),
        // A retry may go to the second URL of two.
        attempts: &["meta.attempt", "meta.delivered_to"],
        event: Name::Json("data.event_type"),
        docs: "https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/telnyx.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["telnyx-signature-ed25519"]),
            encoding: Encoding::Base64,
            algorithm: Algorithm::Ed25519,
            key: "public_key",
            key_form: KeyForm::Ed25519,
            messages: &[&[Part::Stamp, Part::Literal("|"), Part::Body]],
            stamp: Some(Stamp::header("telnyx-timestamp", Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "sinch",
        title: "Sinch Conversation",
        parameters: &[
            Parameter::key("secret", "the webhook's secret: Sinch Dashboard, Conversation API, your app, Webhooks"),
            // "Sufficiently small", and no word of retries, which come for 23 hours at the platform's other callbacks. An equal message is a repeat.
            Parameter::tolerance("25h", "https://developers.sinch.com/docs/conversation/callbacks"),
        ],
        // The nonce differs from attempt to attempt.
        delivery: DeliveryId::First(&[
            DeliveryId::Json(&["message.id"]),
            DeliveryId::Json(&["message_delivery_report.message_id", "message_delivery_report.status"]),
            DeliveryId::Body,
        ]),
        event: Name::Member(
            "",
            &["app_id", "project_id", "accepted_time", "event_time", "message_metadata", "correlation_id"],
        ),
        docs: "https://developers.sinch.com/docs/conversation/callbacks/",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/sinch.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-sinch-webhook-signature"]),
            encoding: Encoding::Base64,
            messages: &[&[
                Part::Body,
                Part::Literal("."),
                Part::Header("x-sinch-webhook-signature-nonce"),
                Part::Literal("."),
                Part::Stamp,
            ]],
            stamp: Some(Stamp::header("x-sinch-webhook-signature-timestamp", Unit::Seconds)),
            require: &[("x-sinch-webhook-signature-algorithm", "HmacSHA256")],
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "sendgrid",
        title: "Twilio SendGrid",
        parameters: &[
            Parameter::public_key(
                "public_key",
                "the verification key: SendGrid, Settings, Mail Settings, Event Webhook, Signature verification",
            ),
            // None is prescribed, nor is it said that a retry is signed anew; they come for 24 hours. Equal events are a repeat.
            Parameter::tolerance("25h", "https://docs.sendgrid.com/for-developers/tracking-events/troubleshooting"),
        ],
        sending: &[Parameter::signing_key("the private key that belongs to public_key: PKCS#8 in PEM or base64")],
        tries_for: Some(Tries::minutes(24 * 60, "https://docs.sendgrid.com/for-developers/tracking-events/troubleshooting")),
        delivery: DeliveryId::Items(&[("[]", &["sg_event_id"])]),
        event: Name::Json("[].event"),
        docs: "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        unproven: HEADERS_OPEN,
        sample: Sample::json(include_str!("../../samples/sendgrid.json")),
        proof: Proof::Signed(&[Scheme {
            at: At::Headers(&["x-twilio-email-event-webhook-signature"]),
            encoding: Encoding::Base64,
            algorithm: Algorithm::EcdsaP256,
            key: "public_key",
            key_form: KeyForm::Spki,
            messages: &[&[Part::Stamp, Part::Body]],
            stamp: Some(Stamp::header("x-twilio-email-event-webhook-timestamp", Unit::Seconds)),
            ..Scheme::BASE
        }]),
        ..Provider::BASE
    },
    Provider {
        name: "postmark",
        title: "Postmark",
        parameters: &[
            Parameter::optional(
                "username",
                None,
                "the user name in the webhook's URL: Postmark, your server, Webhooks, Basic auth",
            ),
            Parameter::key("password", "the password beside it").or_none(),
            Parameter::optional(
                "header",
                None,
                "a custom header field of the webhook, instead of user name and password",
            ),
            Parameter::key("secret", "the value of that header field").or_none(),
        ],
        tries_for: Some(Tries::minutes(10 * 60 + 31, "https://postmarkapp.com/support/article/understanding-inbound-webhook-retries-in-postmark")),
        again: "not after 403",
        // A message is opened more than once, so its id alone names no event.
        delivery: DeliveryId::Json(&[
            "MessageID",
            "RecordType",
            "ID",
            "ReceivedAt",
            "DeliveredAt",
            "BouncedAt",
            "ChangedAt",
            "Recipient",
        ]),
        event: Name::Json("RecordType"),
        docs: "https://postmarkapp.com/developer/webhooks/webhooks-overview",
        unproven: SENT_ALONG,
        sample: Sample::json(include_str!("../../samples/postmark.json")),
        proof: Proof::BasicOrHeader,
        ..Provider::BASE
    },
];
