//! The table of providers: what each needs from the operator and wants as an answer.

/// One provider, for listings and for the checks that happen before its scheme runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in configuration and commands.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What a source of it takes.
    pub parameters: &'static [Parameter],
    /// What the sender wants once its webhook is durable.
    pub acknowledgement: Acknowledgement,
    /// Methods its sources take, handshakes included; anything else is answered 405.
    pub methods: &'static [&'static str],
    /// The sender tries again by itself when it gets no 2xx. Where it never does, a repeat of something delivered is
    /// somebody who pressed Resend.
    pub retries: bool,
    /// The signature covers the URL the sender called: the relay has to know its own (`PUBLIC_URL`).
    pub signs_url: bool,
    /// The sender presents a key that opens the source: `X-API-Key` or `Authorization: Bearer`.
    pub key_source: bool,
    /// Where its scheme is written down.
    pub docs: &'static str,
    /// Which code reads its parameters.
    pub(crate) kind: Kind,
}

/// How the requests of a provider prove themselves; providers that differ in their table entry alone share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A key, by custom in `X-API-Key`.
    ApiKey,
    /// A key, by custom in `Authorization: Bearer`.
    Bearer,
    /// User name and password.
    Basic,
    /// A signature over the body.
    Hmac,
    /// Id, timestamp and signatures in three header fields.
    StandardWebhooks,
}

/// One parameter of a provider. Every secret one may be given twice: while one is replaced, both are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value is never shown.
    pub secret: bool,
    /// A source cannot be without it.
    pub required: bool,
    /// The value if it is not given.
    pub default: Option<&'static str>,
    /// What it is, and where to find it.
    pub help: &'static str,
}

/// The answer to a webhook that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// `202` with the event's id and the moment it was received, as JSON.
    Receipt,
    /// Always the same.
    Fixed {
        /// Status.
        status: u16,
        /// `Content-Type`, if there is a body.
        content_type: Option<&'static str>,
        /// Body.
        body: &'static str,
    },
}

impl Acknowledgement {
    /// What nearly every provider wants: an empty 200.
    pub const EMPTY: Self = Self::Fixed { status: 200, content_type: None, body: "" };
}

/// Every provider, by name.
pub fn providers() -> &'static [Provider] {
    &PROVIDERS
}

/// The provider of that name.
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

const KEY_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const POST: &[&str] = &["POST"];
const RFC_6750: &str = "https://www.rfc-editor.org/rfc/rfc6750";
const RFC_7617: &str = "https://www.rfc-editor.org/rfc/rfc7617";
const RFC_2104: &str = "https://www.rfc-editor.org/rfc/rfc2104";
const STANDARD_WEBHOOKS: &str =
    "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md";

static PROVIDERS: [Provider; 5] = [
    Provider {
        name: "api-key",
        title: "API key",
        parameters: &[
            secret(
                "key",
                "the API key, 16 to 256 printable ASCII characters; left out: keys made with `crm-relay key create`",
            ),
            optional(
                "key_sha256",
                None,
                "the SHA-256 of an API key in hex, where the key itself is not to be in a file",
            ),
        ],
        acknowledgement: Acknowledgement::Receipt,
        methods: KEY_METHODS,
        retries: true,
        signs_url: false,
        key_source: true,
        docs: RFC_6750,
        kind: Kind::ApiKey,
    },
    Provider {
        name: "basic",
        title: "HTTP Basic",
        parameters: &[
            required("username", "the user name the sender is given"),
            required_secret("password", "the password the sender is given; make one with: openssl rand -hex 32"),
        ],
        acknowledgement: Acknowledgement::EMPTY,
        methods: POST,
        retries: true,
        signs_url: false,
        key_source: false,
        docs: RFC_7617,
        kind: Kind::Basic,
    },
    Provider {
        name: "bearer",
        title: "Bearer token",
        parameters: &[
            secret(
                "token",
                "the bearer token, 16 to 256 printable ASCII characters; left out: keys made with `crm-relay key create`",
            ),
            optional(
                "token_sha256",
                None,
                "the SHA-256 of a bearer token in hex, where the token itself is not to be in a file",
            ),
        ],
        acknowledgement: Acknowledgement::Receipt,
        methods: KEY_METHODS,
        retries: true,
        signs_url: false,
        key_source: true,
        docs: RFC_6750,
        kind: Kind::Bearer,
    },
    Provider {
        name: "hmac",
        title: "HMAC over the body",
        parameters: &[
            required_secret("secret", "the signing secret, used as the text it is"),
            required("header", "the header field that carries the signature, like X-Signature"),
            optional("algorithm", Some("sha256"), "sha1, sha256 or sha512"),
            optional("encoding", Some("hex"), "hex or base64"),
            optional("prefix", Some(""), "what stands before the signature in the header field, like sha256="),
        ],
        acknowledgement: Acknowledgement::EMPTY,
        methods: POST,
        retries: true,
        signs_url: false,
        key_source: false,
        docs: RFC_2104,
        kind: Kind::Hmac,
    },
    Provider {
        name: "standard-webhooks",
        title: "Standard Webhooks",
        parameters: &[required_secret(
            "secret",
            "the endpoint's signing secret: whsec_ and base64, as the sender shows it",
        )],
        acknowledgement: Acknowledgement::EMPTY,
        methods: POST,
        retries: true,
        signs_url: false,
        key_source: false,
        docs: STANDARD_WEBHOOKS,
        kind: Kind::StandardWebhooks,
    },
];

const fn required(name: &'static str, help: &'static str) -> Parameter {
    Parameter { name, secret: false, required: true, default: None, help }
}

const fn required_secret(name: &'static str, help: &'static str) -> Parameter {
    Parameter { name, secret: true, required: true, default: None, help }
}

const fn secret(name: &'static str, help: &'static str) -> Parameter {
    Parameter { name, secret: true, required: false, default: None, help }
}

const fn optional(name: &'static str, default: Option<&'static str>, help: &'static str) -> Parameter {
    Parameter { name, secret: false, required: false, default, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_name_is_once() {
        assert!(PROVIDERS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn only_key_sources_take_other_methods_than_post_and_answer_with_a_receipt() {
        for provider in providers() {
            assert_eq!(provider.key_source, provider.acknowledgement == Acknowledgement::Receipt, "{}", provider.name);
            assert_eq!(provider.key_source, provider.methods.contains(&"DELETE"), "{}", provider.name);
        }
    }

    #[test]
    fn no_parameter_is_both_required_and_defaulted() {
        for parameter in providers().iter().flat_map(|provider| provider.parameters) {
            assert!(!(parameter.required && parameter.default.is_some()), "{}", parameter.name);
            assert!(!parameter.help.is_empty());
        }
    }
}
