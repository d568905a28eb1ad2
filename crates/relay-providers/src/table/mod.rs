//! The table of providers, a file per family. An entry says only what differs from [`Provider::BASE`].
//!
//! Facts come from the platforms' own documents, which each entry links. What is known by hearsay alone never makes a
//! request fail.

mod commerce;
mod crm;
mod developer;
mod generic;
mod messaging;

use crate::{Acknowledgement, Exchange, Handshake, On, Parameter, Provider, code};

/// Every entry.
pub(crate) const FAMILIES: &[&[Provider]] = &[
    generic::PROVIDERS,
    messaging::PROVIDERS,
    crm::PROVIDERS,
    developer::PROVIDERS,
    commerce::PROVIDERS,
    code::PROVIDERS,
];

const GET_POST: &[&str] = &["GET", "POST"];
const HEAD_POST: &[&str] = &["HEAD", "POST"];
const TOLERANCE: Parameter = Parameter::tolerance("300s");
/// For signatures over the body alone.
const NO_TIME: &str = "The signature covers the body alone and no time: whoever has seen one request can send it again, \
    and header fields can be changed. The relay recognises repeats by their delivery id.";
/// For signatures with a timestamp.
const HEADERS_OPEN: &str = "The signature covers body and time; other header fields can be changed by whoever passes the \
    request on.";
/// For secrets that are sent along.
const SENT_ALONG: &str = "Nothing is signed: the secret is sent along with every request, so whoever has seen one can \
    send anything. Take the endpoint's URL to be https.";

/// An empty body with this status.
const fn acknowledge(status: u16) -> Acknowledgement {
    Acknowledgement::Fixed { status, content_type: None, body: "" }
}

/// A genuine request that is a test, not an event.
const fn ping(on: &'static [On]) -> Handshake {
    Handshake { method: "POST", on, signed: true, exchange: Exchange::OK }
}
