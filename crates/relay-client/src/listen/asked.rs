//! What may be asked on the client's own listener, by its head: no web page reads there what a client serves, and nothing
//! is answered that two readers may understand differently (S25).

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use relay_core::limits;
use relay_net::sites::{Hosts, is_foreign};

/// The names under which the listener may be asked, beside those that no page of the internet can have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Hosts);

impl Names {
    /// With these, each without a port.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(Hosts::new(names))
    }

    /// Why a request is not answered.
    ///
    /// # Errors
    /// The status and the words of the refusal.
    pub(super) fn may_ask<B>(&self, request: &Request<B>) -> Result<(), (StatusCode, &'static str)> {
        let fields = request.headers();
        // The library reads a little beyond its bound.
        let bytes =
            fields.iter().fold(0, |sum, (name, value)| sum + name.as_str().len() + value.len() + ": \r\n".len());
        if bytes + request.uri().path().len() > limits::HEAD_BYTES_MAX {
            return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large\n"));
        }
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > limits::URI_BYTES_MAX) {
            return Err((StatusCode::URI_TOO_LONG, "the target is too long\n"));
        }
        if has_body(fields) {
            return Err((StatusCode::BAD_REQUEST, "want no body\n"));
        }
        let host = match hosts(fields)[..] {
            [] if request.version() == Version::HTTP_10 => None,
            [host] => Some(host),
            _ => return Err((StatusCode::BAD_REQUEST, "want one Host\n")),
        };
        let named = request.uri().authority().map(|named| named.as_str().as_bytes());
        if named.is_some_and(|named| !named.eq_ignore_ascii_case(host.unwrap_or(named))) {
            return Err((StatusCode::BAD_REQUEST, "the target names another host\n"));
        }
        if is_foreign(fields, host.unwrap_or_default()) {
            return Err((StatusCode::FORBIDDEN, "pages of other sites get no answer\n"));
        }
        // HTTP/1.0 has none; no browser speaks that.
        if host.is_some_and(|host| !self.0.are_ours(host)) {
            return Err((StatusCode::MISDIRECTED_REQUEST, "not a name of this listener; CLIENT_HOSTS adds some\n"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"));
        }
        Ok(())
    }
}

/// Whether a body may follow: where two readers may not agree how long it is, nobody reads one. Where a coding stands, a length beside it is
/// not seen any more, nor is the second of two that are equal.
fn has_body(fields: &HeaderMap) -> bool {
    fields.contains_key(header::TRANSFER_ENCODING)
        || fields.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn hosts(fields: &HeaderMap) -> Vec<&[u8]> {
    fields.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect()
}
