//! Verifies and signs the webhooks of real platforms: pure functions over bytes and a given time.
//!
//! A [`Verifier`] is made once per source from a provider's name and the source's parameters, and then judges requests;
//! a [`Signer`] made from the same parameters acts as the provider. [`providers`] is the table of all that is known.
//!
//! ```
//! use relay_core::time::Wall;
//! use relay_providers::{Signer, Verdict, Verifier, provider};
//!
//! let parameters = [("endpoint_secret".to_owned(), "whsec_an_example".to_owned())];
//! let (verifier, signer) = (Verifier::new("stripe", &parameters)?, Signer::new("stripe", &parameters)?);
//! let now = Wall::from_micros(1_763_000_000_000_000);
//!
//! let sample = provider("stripe").expect("in the table").draft("https://crm.example.com/hook", "1", now);
//! let mut signed = signer.sign(sample, "1", now).expect("a sample can be signed");
//! let Verdict::Genuine(genuine) = verifier.judge(&signed.request(now, &[])) else { panic!("not genuine") };
//! assert_eq!(genuine.event.as_deref(), Some("invoice.paid"));
//!
//! signed.body = "{}".into();
//! let Verdict::Refused(refusal) = verifier.judge(&signed.request(now, &[])) else { panic!("not refused") };
//! assert_eq!(refusal.check, "bad_signature");
//! # Ok::<(), Vec<relay_providers::ParameterFault>>(())
//! ```
//!
//! **Invariant:** nothing here reads a clock, a file or a socket; the work on any bytes is linear in their number.
//! **Invariant:** no secret and no valid signature is in any `Debug`, error or refusal.

mod armour;
mod attempt;
mod basic;
mod by_head;
mod chosen;
mod code;
mod draft;
mod fault;
mod form;
mod given;
mod handshake;
mod header;
mod keys;
mod known_by;
mod media_type;
mod multipart;
mod name;
mod naming;
mod own_secret;
mod parameter;
mod parameters;
pub mod pasted;
mod proof;
mod proven;
mod provider;
mod pruned;
mod renamed;
mod sample;
mod scheme;
mod secret;
mod shape;
mod signed_over;
mod signer;
mod table;
mod url;
mod verifier;
mod walk;
mod words;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use relay_core::time::Wall;

pub use by_head::ByHead;
pub use chosen::Chosen;
pub use draft::{Draft, SignError};
pub use fault::{ParameterFault, nearest};
pub use given::Given;
pub use handshake::{Exchange, HANDSHAKE_BODY_BYTES_MAX, Handshake, Lookup, On};
pub use keys::StoredKey;
pub use known_by::KnownBy;
pub use name::Name;
pub use naming::DeliveryId;
pub use own_secret::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX, own_secret};
pub use parameter::Parameter;
pub use provider::{Acknowledgement, Otherwise, Provider, Tries};
pub use sample::Sample;
pub use secret::{secret_digest, secret_fault};
pub use shape::{Characters, Shape};
pub use signed_over::SignedOver;
pub use signer::Signer;
pub use table::{provider, providers};
pub use verifier::Verifier;

/// One request, as raw as it was received. `Debug` shows its size alone: any part may hold a secret.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Raw path, still percent-encoded.
    pub path: &'a [u8],
    /// Raw query without the `?`.
    pub query: Option<&'a [u8]>,
    /// Header fields in order, names in lower case, repetitions kept.
    pub headers: &'a [(Bytes, Bytes)],
    /// The body, byte for byte; as its sender signed it, where a [`Verifier::signed_over`] has it decoded.
    pub body: &'a [u8],
    /// `PUBLIC_URL` + raw path and query, for providers that sign the URL.
    pub url: Option<&'a str>,
    /// The moment of the check.
    pub now: Wall,
    /// Keys and certificates that an earlier [`Verdict::NeedsKey`] asked for; empty at first.
    pub fetched: &'a [Fetched],
}

/// A key or certificate that lives at a URL, as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// From where: the URL of the [`Verdict::NeedsKey`].
    pub url: String,
    /// What was there, byte for byte.
    pub body: Bytes,
}

/// What a verifier says of a request. `Debug` shows no secret that was handed over.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It proved itself.
    Genuine(Genuine),
    /// It is a handshake: answer this, store nothing.
    Handshake(Answer),
    /// It is a genuine handshake that is confirmed out of band: GET this URL (https, host pinned), then answer; store
    /// nothing. If the URL cannot be fetched, the platform is to try again: 503.
    Confirm {
        /// What to fetch; its body does not matter.
        url: String,
        /// The answer once it was fetched.
        answer: Answer,
    },
    /// The platform hands over the secret its requests will be signed with, and the source awaits one: keep it durably as
    /// this parameter of the source, then answer; store no event.
    Adopt {
        /// Name of the parameter.
        parameter: &'static str,
        /// Its value: a secret.
        value: String,
        /// The answer once it is kept.
        answer: Answer,
    },
    /// A key or certificate has to be fetched first (https, host pinned); then judge again with it.
    NeedsKey {
        /// From where.
        url: String,
    },
    /// It proved itself, but carries something no sender may send, like an `Idempotency-Key` of 300 bytes: 400.
    Malformed(Refusal),
    /// It did not prove itself: the refusal's status, nearly always 401.
    Refused(Refusal),
}

/// A request that proved itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genuine {
    /// What identifies the webhook within its source; none: every request is one of its own.
    pub dedupe: Option<DedupeKey>,
    /// Indexes of the header fields that proved a key and must neither be stored nor forwarded.
    pub strip: Vec<usize>,
    /// Name of the key that matched, for sources with several.
    pub key: Option<Arc<str>>,
    /// The name of the event: what happened, in the platform's words, like `invoice.paid`. It is 1 to 255 bytes of text without
    /// control characters; of a batch it is that of the first item. For people, filters and indexes; it proves nothing. See
    /// [`Name`] for where it stands; none: the platform has no names, or this request says none.
    pub event: Option<String>,
    /// What it happened to, where the platform says so, under the same bounds: events of one thing are to stay in order. None of
    /// a batch about several things.
    pub order: Option<String>,
    /// What its sender wants once it is durable.
    pub acknowledgement: Acknowledgement,
}

/// What a repeat of a webhook is known by, within its source.
///
/// Only what a platform documents as the id of a delivery, the same over its retries, stands alone. Whatever else it sends (the
/// id of an object, of a message, of what happened) may come with another webhook too, so it counts together with the body.
///
/// It stands alone only where nobody but the sender can have chosen it, because under a key that is taken a genuine webhook is
/// taken for a repeat, and lost. So the proof has to cover, with a secret, the bytes that the id is read from and the body:
///
/// - a signature over the body and over the header field with the id, or over the body with the id in it;
/// - the secret itself, sent along: whoever has it is the sender, and could name his webhooks as he likes anyway.
///
/// An id in a header field that is not signed, under a token that does not cover the body, or at a platform that proves nothing
/// secret counts with the body. Two schemes sign the id and leave the body open (Mailgun, all of it; `PayPal`, all but a
/// checksum): there the id stands alone too, since it is the sender's own random text, and taking it once is all that keeps a
/// proof that was seen from carrying other bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeKey {
    /// The id: `Idempotency-Key`, `webhook-id`, the provider's own. May be empty if the body has a share.
    pub id: Vec<u8>,
    /// What of the body belongs to it.
    pub body: BodyShare,
}

/// What of its body belongs to a webhook's [`DedupeKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShare {
    /// Nothing: with another body it is the same webhook all the same.
    Nothing,
    /// All of it.
    Whole,
    /// What this SHA-256 is of: all but the values that count the platform's attempts.
    ButAttempts([u8; 32]),
}

impl DedupeKey {
    /// The documented id of a delivery, or an `Idempotency-Key`.
    pub(crate) fn documented(id: Vec<u8>) -> Self {
        Self { id, body: BodyShare::Nothing }
    }

    /// Any other id, or none: the body decides with it.
    pub(crate) fn with_body(id: Vec<u8>) -> Self {
        Self { id, body: BodyShare::Whole }
    }

    /// Whether nothing of the body belongs to it.
    pub(crate) fn is_alone(&self) -> bool {
        self.body == BodyShare::Nothing
    }
}

/// An HTTP answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Content-Type`, if there is a body.
    pub content_type: Option<&'static str>,
    /// Further header fields, for handshakes that are answered in a header.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
}

/// The check of a [`Refusal`] where what was fetched does not hold the key that a request names: whoever keeps what was fetched
/// is to fetch it anew, unless it is fresh, and judge again.
pub const UNKNOWN_KEY: &str = "unknown_key";

/// Which check failed and what was expected; never a secret, never a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The check, in one word for counters: `missing_signature`, `bad_signature`, `stale_timestamp`, ...
    pub check: &'static str,
    /// In words, for the operator: "timestamp 412 s old, limit 300 s".
    pub detail: String,
    /// The answer's status: 401, or what the platform wants to see instead.
    pub status: u16,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (headers, body) = (self.headers.len(), self.body.len());
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &headers)
            .field("body", &body)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genuine(genuine) => f.debug_tuple("Genuine").field(genuine).finish(),
            Self::Handshake(answer) => f.debug_tuple("Handshake").field(answer).finish(),
            Self::Confirm { answer, .. } => f.debug_struct("Confirm").field("answer", answer).finish_non_exhaustive(),
            // The answer may echo the secret.
            Self::Adopt { parameter, .. } => {
                f.debug_struct("Adopt").field("parameter", parameter).finish_non_exhaustive()
            }
            Self::NeedsKey { url } => f.debug_struct("NeedsKey").field("url", url).finish(),
            Self::Malformed(refusal) => f.debug_tuple("Malformed").field(refusal).finish(),
            Self::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
        }
    }
}

impl Refusal {
    /// A refusal with status 401.
    pub fn new(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, detail: detail.into(), status: 401 }
    }
}
