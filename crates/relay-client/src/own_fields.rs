//! Header fields of a request to a target that are not the sender's.

use http::{HeaderName, header};

/// Header fields that concern one hop, or that this hop sets itself.
const DROPPED: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Whether a field is the relay's to set, or concerns one hop.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("relay-") || DROPPED.contains(name) || matches!(text, "proxy-connection" | "http2-settings")
}
