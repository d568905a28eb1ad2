//! What may be asked on the client's own listener, by its head: no web page reads there what a client serves, and nothing
//! is answered that two readers may understand differently (S25).

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use relay_core::limits;

/// The names under which the listener may be asked, beside those that no page of the internet can have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// With these, each without a port.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
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
        let site = |site: &HeaderValue| {
            let site = site.as_bytes();
            let rest = site.strip_prefix(b"http://").or_else(|| site.strip_prefix(b"https://"));
            rest.is_some_and(|rest| host.is_some_and(|host| rest.eq_ignore_ascii_case(host)))
        };
        let fetched = |fetched: &HeaderValue| matches!(fetched.as_bytes(), b"same-origin" | b"none");
        if !fields.get_all(header::ORIGIN).iter().all(site) || !fields.get_all("sec-fetch-site").iter().all(fetched) {
            return Err((StatusCode::FORBIDDEN, "pages of other sites get no answer\n"));
        }
        // HTTP/1.0 has none; no browser speaks that.
        if !host.is_none_or(|host| std::str::from_utf8(host).is_ok_and(|host| self.are_ours(host))) {
            return Err((StatusCode::MISDIRECTED_REQUEST, "not a name of this listener; CLIENT_HOSTS adds some\n"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"));
        }
        Ok(())
    }

    /// Whether a host is an address, a name without a dot, of this machine, or one that the operator named.
    fn are_ours(&self, host: &str) -> bool {
        let name = plain(host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let is_local = !name.is_empty() && !name.contains(['.', ',', '@', '/']) || name.ends_with(".localhost");
        is_address || is_local || self.0.contains(&name)
    }
}

fn hosts(fields: &HeaderMap) -> Vec<&[u8]> {
    fields.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect()
}

/// A host without its port and the dot of the root, in lower case.
fn plain(host: &str) -> String {
    let end = match host.rfind(':') {
        // Within brackets it is a part of the address.
        Some(colon) if !host[colon..].contains(']') => colon,
        _ => host.len(),
    };
    let name = &host[..end];
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
