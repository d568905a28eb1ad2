//! A request in the making, as the side that sends it has it.

use bytes::Bytes;
use relay_core::time::Wall;
use thiserror::Error;

use crate::{Fetched, Request, header};

/// A request that is not sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// HTTP method.
    pub method: String,
    /// Where it goes: scheme, host, path and query, percent-encoded.
    pub url: String,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// Why a draft cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// The provider signs something that this body cannot hold or does not have.
    #[error("the body must be {0}")]
    Body(&'static str),
    /// The private key is unusable.
    #[error("the signing key cannot sign")]
    Key,
}

impl Draft {
    /// A `POST` of `body` to `url`.
    pub fn post(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: "POST".to_owned(), url: url.into(), headers: Vec::new(), body: body.into() }
    }

    /// The request as it arrives at `now` at a server that knows its public URL.
    pub fn request<'a>(&'a self, now: Wall, fetched: &'a [Fetched]) -> Request<'a> {
        let (path, query) = self.target();
        Request {
            method: &self.method,
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            headers: &self.headers,
            body: &self.body,
            url: Some(&self.url),
            now,
            fetched,
        }
    }

    /// Path and query of the URL.
    pub fn target(&self) -> (&str, Option<&str>) {
        let after_scheme = self.url.find("://").map_or(0, |at| at + 3);
        let path_at = self.url[after_scheme..].find(['/', '?']).map_or(self.url.len(), |at| after_scheme + at);
        let (path, query) = match self.url[path_at..].split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.url[path_at..], None),
        };
        (if path.is_empty() { "/" } else { path }, query)
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        header::first(&self.headers, name)
    }

    /// Sets a header field, in place of any that are there.
    pub fn set_header(&mut self, name: &str, value: impl Into<Bytes>) {
        self.headers.retain(|(other, _)| &other[..] != name.as_bytes());
        self.headers.push((Bytes::copy_from_slice(name.as_bytes()), value.into()));
    }

    /// Sets a header field that is not there yet.
    pub(crate) fn default_header(&mut self, name: &str, value: impl Into<Bytes>) {
        if self.header(name).is_none() {
            self.set_header(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_into_path_and_query() {
        for (url, path, query) in [
            ("https://h/a/b?x=1&y=?", "/a/b", Some("x=1&y=?")),
            ("https://h", "/", None),
            ("https://h?x", "/", Some("x")),
            ("http://h:8080/", "/", None),
        ] {
            assert_eq!(Draft::post(url, "").target(), (path, query), "{url}");
        }
    }
}
