//! The acknowledgement that an operator chooses, at sources of senders that can be told anything.

use bytes::Bytes;

use crate::parameters::Parameters;

/// The parameter of its status.
pub(crate) const STATUS: &str = "ack_status";
/// That of its body's type.
pub(crate) const TYPE: &str = "ack_type";
/// That of its body.
pub(crate) const BODY: &str = "ack_body";

/// Largest body: what senders look for in it is a word or a line, and it goes out with each answer.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest media type.
const TYPE_BYTES_MAX: usize = 128;
/// What a body is of whose type is not given.
const TEXT: &str = "text/plain; charset=utf-8";
/// Statuses whose answer has no body (RFC 9110, sections 15.3.5 and 15.3.6).
const BODILESS: [u16; 2] = [204, 205];

/// What an operator wants the answer to a stored webhook to be. What is none is as the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// A status of success.
    pub status: Option<u16>,
    /// `Content-Type` and body; with a status that has none, without a body.
    pub body: Option<(String, Bytes)>,
}

impl Chosen {
    /// What the parameters of a source say; none if nothing.
    pub(crate) fn read(parameters: &mut Parameters<'_>) -> Option<Self> {
        let [status, kind, body] = [STATUS, TYPE, BODY].map(|name| parameters.one(name));
        let read = status.parse().ok().filter(|status| (200..300).contains(status));
        if read.is_none() && !status.is_empty() {
            parameters.fault(STATUS, format!("{status:?} must be a status of success: 200 to 299"));
        }
        if body.len() > BODY_BYTES_MAX {
            parameters.fault(BODY, format!("{} bytes; at most {BODY_BYTES_MAX}", body.len()));
        }
        if !kind.is_empty() && !is_media_type(kind) {
            parameters.fault(TYPE, format!("{kind:?} must be a media type like text/plain or application/json"));
        } else if !kind.is_empty() && body.is_empty() {
            parameters.fault(TYPE, "of which body? want ack_body beside it");
        }
        if read.is_some_and(|status| BODILESS.contains(&status)) && !body.is_empty() {
            parameters
                .fault(BODY, format!("an answer with {status} has no body: want another ack_status, or no ack_body"));
        }
        let is_said = !status.is_empty() || !body.is_empty();
        is_said.then(|| Self {
            status: read,
            body: if read.is_some_and(|status| BODILESS.contains(&status)) {
                Some((String::new(), Bytes::new()))
            } else {
                let kind = if kind.is_empty() { TEXT } else { kind };
                (!body.is_empty()).then(|| (kind.to_owned(), Bytes::copy_from_slice(body.as_bytes())))
            },
        })
    }
}

/// Whether it is `type/subtype`, with or without parameters, in visible ASCII.
fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let name = text.split(';').next().unwrap_or_default().trim_end();
    let is_visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    text.len() <= TYPE_BYTES_MAX
        && is_visible
        && name.split_once('/').is_some_and(|(of, sub)| is_token(of) && is_token(sub))
}
