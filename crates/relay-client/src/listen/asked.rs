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
        // Where one stands, a length beside it is not seen any more.
        if fields.contains_key(header::TRANSFER_ENCODING) {
            return Err((StatusCode::BAD_REQUEST, "want no body\n"));
        }
        let host = match hosts(fields)[..] {
            [] if request.version() == Version::HTTP_10 => None,
            [host] => Some(host),
            _ => return Err((StatusCode::BAD_REQUEST, "want one Host\n")),
        };
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

fn hosts(fields: &HeaderMap) -> Vec<&[u8]> {
    fields.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect()
}
