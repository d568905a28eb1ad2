//! CORS, for browsers that post to a source; off unless `CORS_ORIGINS` names origins.
//!
//! **Source** <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::Response;

use super::seam::Body;

/// Which origins may read answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// For `CORS_ORIGINS`; `*` among them: any.
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.to_vec() }
    }

    /// Whether any origin is named.
    pub(super) fn is_on(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Answers an `OPTIONS` request: what a browser may send. An origin that is not named gets no permission.
    pub(super) fn preflight(&self, request: &HeaderMap, methods: &str) -> Response<Body> {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        self.allow(request.get(header::ORIGIN), response.headers_mut());
        if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return response;
        }
        let headers = response.headers_mut();
        if let Ok(methods) = HeaderValue::from_str(methods) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        // Any header may be part of a webhook; credentials (cookies) never are, so echoing the list opens nothing.
        if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }

    /// Lets a page of that origin read the answer, if it is named.
    pub(super) fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if !self.is_on() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        if self.origins.iter().any(|named| named == "*" || named.as_bytes() == origin.as_bytes()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}
