//! Not platforms but manners: what anything that sends webhooks can be told to do.

use std::time::Duration;

use crate::{
    Acknowledgement, DeliveryId, Name, Parameter, Provider, Sample, Tries, chosen,
    proof::Proof,
    provider::NO_TIME,
    scheme::{Algorithm, At, Encoding, KeyForm, Part, Scheme, Stamp, Style, Unit},
    table::{ANY_METHOD, SENT_ALONG, STANDARD_WEBHOOKS},
};

const KEY_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const RFC_6750: &str = "https://www.rfc-editor.org/rfc/rfc6750";
const SVIX: &str = "https://docs.svix.com/receiving/verifying-payloads/how-manual";
/// For ids that name an event, whichever endpoint it goes to.
const SHARED_ID: &str = "The signature covers id, time and body; other header fields can be changed by whoever passes the request \
    on. The id is that of an event and the same at each of the sender's endpoints: one source for each, or the second one's \
    webhooks are taken for repeats.";
/// What a sender may be told that can be told anything: no platform says what it wants to hear.
const ACK_STATUS: Parameter = Parameter::optional(
    chosen::STATUS,
    None,
    "the status of the answer to what is stored, 200 to 299, where the sender wants another",
);
const ACK_TYPE: Parameter =
    Parameter::optional(chosen::TYPE, None, "the Content-Type of ack_body; left out: text/plain");
const ACK_BODY: Parameter = Parameter::optional(
    chosen::BODY,
    None,
    "the body of that answer, up to 4 KiB, where the sender wants a certain one",
);
const SAMPLE: Sample = Sample::json(
    r#"{"type":"contact.created","id":"{{id}}","data":{"name":"Ada Lovelace","email":"ada@example.com","number":{{number}}}}"#,
);

/// What Standard Webhooks sign, by the names of their fields.
macro_rules! standard {
    ($family:literal, $algorithm:expr, $key_form:expr, $prefix:literal) => {
        Scheme {
            at: At::Headers(&[concat!($family, "-signature")]),
            style: Style::List { separator: b' ', prefix: $prefix },
            encoding: Encoding::Base64,
            algorithm: $algorithm,
            key_form: $key_form,
            messages: &[&[
                Part::Header(concat!($family, "-id")),
                Part::Literal("."),
                Part::Stamp,
                Part::Literal("."),
                Part::Body,
            ]],
            stamp: Some(Stamp::header(concat!($family, "-timestamp"), Unit::Seconds)),
            ..Scheme::BASE
        }
    };
}

/// `webhook-id`, `webhook-timestamp` and `webhook-signature`, with a shared secret.
pub(super) const STANDARD: Scheme = standard!("webhook", Algorithm::HmacSha256, KeyForm::Whsec, "v1,");
/// The same with a key pair. A public key never checks a `v1` signature: anybody could make one with it.
pub(super) const STANDARD_PAIR: Scheme = standard!("webhook", Algorithm::Ed25519, KeyForm::Whpk, "v1a,");

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "api-key",
        title: "API key",
        parameters: &[
            Parameter::key(
                "key",
                "the API key, 16 to 256 printable ASCII characters; left out: keys made with `crm-relay key create`",
            )
            .or_none(),
            Parameter::optional(
                "key_sha256",
                None,
                "the SHA-256 of an API key in hex, where the key itself is not to be in a file",
            )
            .several(),
            ACK_STATUS,
            ACK_TYPE,
            ACK_BODY,
        ],
        acknowledgement: Acknowledgement::Receipt,
        methods: KEY_METHODS,
        key_source: true,
        docs: RFC_6750,
        unproven: SENT_ALONG,
        sample: SAMPLE,
        proof: Proof::Key("key"),
        ..Provider::BASE
    },
    Provider {
        name: "basic",
        title: "HTTP Basic",
        parameters: &[
            Parameter::required("username", "the user name the sender is given"),
            Parameter::key("password", "the password the sender is given; make one with: openssl rand -hex 32").made_up(),
            ACK_STATUS,
            ACK_TYPE,
            ACK_BODY,
        ],
        methods: ANY_METHOD,
        docs: "https://www.rfc-editor.org/rfc/rfc7617",
        unproven: SENT_ALONG,
        sample: SAMPLE,
        proof: Proof::Basic,
        ..Provider::BASE
    },
    Provider {
        name: "bearer",
        title: "Bearer token",
        parameters: &[
            Parameter::key(
                "token",
                "the bearer token, 16 to 256 printable ASCII characters; left out: keys made with `crm-relay key create`",
            )
            .or_none(),
            Parameter::optional(
                "token_sha256",
                None,
                "the SHA-256 of a bearer token in hex, where the token itself is not to be in a file",
            )
            .several(),
            ACK_STATUS,
            ACK_TYPE,
            ACK_BODY,
        ],
        acknowledgement: Acknowledgement::Receipt,
        methods: KEY_METHODS,
        key_source: true,
        docs: RFC_6750,
        unproven: SENT_ALONG,
        sample: SAMPLE,
        proof: Proof::Key("token"),
        ..Provider::BASE
    },
    Provider {
        name: "hmac",
        title: "HMAC over the body",
        parameters: &[
            Parameter::key("secret", "the signing secret, used as the text it is"),
            Parameter::required("header", "the header field that carries the signature, like X-Signature"),
            Parameter::choice("algorithm", &["sha256", "sha1", "sha512"], "sha1, sha256 or sha512"),
            Parameter::choice("encoding", &["hex", "base64"], "hex or base64"),
            Parameter::optional("prefix", Some(""), "what stands before the signature in the header field, like sha256="),
            ACK_STATUS,
            ACK_TYPE,
            ACK_BODY,
        ],
        methods: ANY_METHOD,
        // It is not signed here, and senders that are not of Standard Webhooks number their subscriptions in it.
        delivery: DeliveryId::Header("webhook-id"),
        docs: "https://www.rfc-editor.org/rfc/rfc2104",
        unproven: NO_TIME,
        sample: SAMPLE,
        proof: Proof::Described,
        ..Provider::BASE
    },
    Provider {
        name: "standard-webhooks",
        title: "Standard Webhooks",
        parameters: &[
            Parameter::key(
                "secret",
                "the endpoint's signing secret: whsec_ (or whpk_ for a public key) and base64, as the sender shows it",
            ).begins(&["whsec_", "whpk_", "v1,whsec_"]).not(&[("whsk_", "a private key")]),
            // The time is that of the attempt.
            Parameter::tolerance("300s", STANDARD_WEBHOOKS),
            ACK_STATUS,
            ACK_TYPE,
            ACK_BODY,
        ],
        sending: &[Parameter::signing_key("the private key: whsk_ and base64, for sources with a whpk_ key").or_none()],
        answer_within: Duration::from_secs(15),
        delivery: DeliveryId::Documented(&DeliveryId::Header("webhook-id"), STANDARD_WEBHOOKS),
        event: Name::Json("type"),
        docs: STANDARD_WEBHOOKS,
        unproven: SHARED_ID,
        sample: Sample::json(include_str!("../../samples/standard-webhooks.json")),
        proof: Proof::Signed(&[STANDARD, STANDARD_PAIR]),
        ..Provider::BASE
    },
    Provider {
        name: "svix",
        title: "Svix",
        parameters: &[
            Parameter::key("secret", "the endpoint's signing secret, whsec_...: in the Svix application portal, Endpoints").begins(&["whsec_"]).not(&[("sk_", "an API key"), ("testsk_", "an API key")]),
            // The time is that of the attempt.
            Parameter::tolerance("300s", "https://docs.svix.com/receiving/verifying-payloads/why"),
        ],
        answer_within: Duration::from_secs(15),
        // A transformation may choose PUT: https://docs.svix.com/transformations
        methods: &["POST", "PUT"],
        tries_for: Some(Tries::minutes(28 * 60, "https://docs.svix.com/retries")),
        delivery: DeliveryId::First(&[
            DeliveryId::Documented(&DeliveryId::Header("svix-id"), SVIX),
            DeliveryId::Documented(&DeliveryId::Header("webhook-id"), SVIX),
        ]),
        event: Name::Json("type"),
        docs: SVIX,
        unproven: SHARED_ID,
        sample: Sample::json(include_str!("../../samples/standard-webhooks.json")),
        // Either family of header fields, never a mix of both.
        proof: Proof::Signed(&[standard!("svix", Algorithm::HmacSha256, KeyForm::Whsec, "v1,"), STANDARD]),
        ..Provider::BASE
    },
];
