//! The table of providers, a file per family. An entry says only what differs from [`Provider::BASE`].
//!
//! Facts come from the platforms' own documents, which each entry links. What is known by hearsay alone never makes a
//! request fail.

mod commerce;
mod crm;
mod developer;
mod generic;
mod messaging;
mod productivity;

use std::sync::LazyLock;

use crate::{
    Acknowledgement, Exchange, Handshake, On, Parameter, ParameterFault, Provider, code,
    scheme::{Algorithm, At, Scheme, Style, When},
    signed_over,
};

/// Every provider, by name.
pub fn providers() -> &'static [Provider] {
    static ALL: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        let entries = FAMILIES.iter().flat_map(|family| family.iter());
        let mut all: Vec<Provider> = entries.map(signed_over::with_parameter).collect();
        all.sort_by_key(|provider| provider.name);
        all
    });
    &ALL
}

/// The provider of that name.
pub fn provider(name: &str) -> Option<&'static Provider> {
    providers().binary_search_by_key(&name, |provider| provider.name).ok().map(|index| &providers()[index])
}

/// The same.
///
/// # Errors
/// There is none of that name.
pub(crate) fn known(name: &str) -> Result<&'static Provider, Vec<ParameterFault>> {
    provider(name).ok_or_else(|| {
        let known: Vec<_> = providers().iter().map(|provider| provider.name).collect();
        vec![ParameterFault::unknown_provider(name, &known)]
    })
}

/// Every entry.
const FAMILIES: &[&[Provider]] = &[
    generic::PROVIDERS,
    messaging::PROVIDERS,
    crm::PROVIDERS,
    productivity::PROVIDERS,
    developer::PROVIDERS,
    commerce::PROVIDERS,
    code::PROVIDERS,
];

const GET_POST: &[&str] = &["GET", "POST"];
const HEAD_POST: &[&str] = &["HEAD", "POST"];
/// For platforms whose users choose the method.
const ANY_METHOD: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Where `webhook-id` is said to be the same over the retries of a webhook.
const STANDARD_WEBHOOKS: &str =
    "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md";
/// For signatures with a timestamp.
const HEADERS_OPEN: &str = "The signature covers body and time; other header fields can be changed by whoever passes the \
    request on.";
/// For secrets that are sent along.
const SENT_ALONG: &str = "Nothing is signed: the secret is sent along with every request, so whoever has seen one can \
    send anything. Take the endpoint's URL to be https.";

/// Which of two header fields is checked where a platform sends both. The stronger unless told otherwise, and no falling
/// back: who may choose the weaker one is who attacks.
const HUB_ALGORITHM: Parameter = Parameter::choice(
    "algorithm",
    &["sha256", "sha1"],
    "sha256 for X-Hub-Signature-256, sha1 for senders so old that they have the legacy X-Hub-Signature alone",
);
const HUB_SHA256: Scheme = Scheme {
    when: When::Is("algorithm", "sha256"),
    at: At::Headers(&["x-hub-signature-256"]),
    style: Style::Prefix("sha256="),
    ..Scheme::BASE
};
const HUB_SHA1: Scheme = Scheme {
    when: When::Is("algorithm", "sha1"),
    at: At::Headers(&["x-hub-signature"]),
    style: Style::Prefix("sha1="),
    algorithm: Algorithm::HmacSha1,
    ..Scheme::BASE
};

/// How Atlassian's products sign: the field names the hash. SHA-256 is the default, and each is an HMAC with the source's own
/// key, so that a stranger's choice among them gains nothing.
///
/// **Source** confluence.atlassian.com/adminjiraserver/managing-webhooks-938846912.html, "Securing your webhook".
const ATLASSIAN: &[Scheme] = &[
    Scheme { at: At::Headers(&["x-hub-signature"]), style: Style::Prefix("sha256="), ..Scheme::BASE },
    Scheme {
        at: At::Headers(&["x-hub-signature"]),
        style: Style::Prefix("sha384="),
        algorithm: Algorithm::HmacSha384,
        ..Scheme::BASE
    },
    Scheme {
        at: At::Headers(&["x-hub-signature"]),
        style: Style::Prefix("sha512="),
        algorithm: Algorithm::HmacSha512,
        ..Scheme::BASE
    },
];

/// An empty body with this status.
const fn acknowledge(status: u16) -> Acknowledgement {
    Acknowledgement::Fixed { status, content_type: None, body: "" }
}

/// The same, where the secret may stand in the URL.
const SENT_IN_URL: &str = "Nothing is signed: the secret is sent along with every request, so whoever has seen one can \
    send anything. In the query it is stored and forwarded with the URL; in the Authorization header field it is not, so \
    prefer that where the platform can.";

/// A genuine request that is a test, not an event.
const fn ping(on: &'static [On]) -> Handshake {
    Handshake { method: "POST", on, signed: true, exchange: Exchange::OK }
}
