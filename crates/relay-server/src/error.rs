//! What goes wrong in front of a sender, and the one mapping of it to HTTP: RFC 9457 problem documents with a stable `code`.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::Response;
use relay_core::{
    fault::{Fault, Retry},
    limits,
    name::Name,
};

/// Why a request is not answered with what it asked for. Its `code` is stable; senders may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request breaks HTTP, or a rule of the relay that a sender can keep.
    Malformed,
    /// It did not prove itself.
    NotGenuine,
    /// Nobody of its address may come to the source.
    AddressRefused,
    /// The token is for the holder of another key.
    KeyRefused,
    /// No source has that name.
    UnknownSource,
    /// Nothing is at that path.
    NotFound,
    /// The source does not take that method.
    MethodNotAllowed,
    /// The request came too slowly.
    Timeout,
    /// The body is larger than `MAX_BODY_BYTES`.
    TooLarge,
    /// Path and query are too long.
    UriTooLong,
    /// It was asked under the name of another host.
    Misdirected,
    /// The client speaks another version of the session protocol.
    UpgradeRequired,
    /// Too many requests.
    RateLimited,
    /// The head is too large, or has too many fields.
    HeadersTooLarge,
    /// A transfer coding beside `chunked`.
    NotImplemented,
    /// The source is paused by the operator.
    SourcePaused,
    /// What is stored of the source does not read.
    SourceBroken,
    /// It is not certain that the event is stored, or there is no memory to take it in.
    StoreUnavailable,
    /// More comes in than is stored at the moment.
    StoreBusy,
    /// There is no room on disk.
    StoreFull,
    /// The server is about to stop.
    ShuttingDown,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NotGenuine,
        Self::AddressRefused,
        Self::KeyRefused,
        Self::UnknownSource,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::TooLarge,
        Self::UriTooLong,
        Self::Misdirected,
        Self::UpgradeRequired,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::NotImplemented,
        Self::SourcePaused,
        Self::SourceBroken,
        Self::StoreUnavailable,
        Self::StoreBusy,
        Self::StoreFull,
        Self::ShuttingDown,
    ];

    /// Its text, as in the `code` member and in counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotGenuine => "not_genuine",
            Self::AddressRefused => "address_refused",
            Self::KeyRefused => "key_refused",
            Self::UnknownSource => "unknown_source",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::UriTooLong => "uri_too_long",
            Self::Misdirected => "misdirected",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::HeadersTooLarge => "headers_too_large",
            Self::NotImplemented => "not_implemented",
            Self::SourcePaused => "source_paused",
            Self::SourceBroken => "source_broken",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreBusy => "store_busy",
            Self::StoreFull => "store_full",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Its HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NotGenuine => StatusCode::UNAUTHORIZED,
            Self::AddressRefused | Self::KeyRefused => StatusCode::FORBIDDEN,
            Self::UnknownSource | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::SourcePaused
            | Self::SourceBroken
            | Self::StoreUnavailable
            | Self::StoreBusy
            | Self::StoreFull
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Who has to change something.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Malformed
            | Self::NotGenuine
            | Self::AddressRefused
            | Self::KeyRefused
            | Self::UnknownSource
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Timeout
            | Self::TooLarge
            | Self::UriTooLong
            | Self::Misdirected
            | Self::UpgradeRequired
            | Self::RateLimited
            | Self::HeadersTooLarge
            | Self::NotImplemented => Fault::Peer,
            Self::SourcePaused | Self::SourceBroken | Self::ShuttingDown => Fault::Operator,
            Self::StoreUnavailable | Self::StoreBusy | Self::StoreFull => Fault::Resource,
        }
    }

    /// Whether the same request may succeed later.
    pub fn retry(self) -> Retry {
        match self.retry_after() {
            Some(seconds) => Retry::After(Duration::from_secs(seconds.into())),
            None if self == Self::Timeout => Retry::Backoff,
            None => Retry::Never,
        }
    }

    /// Seconds after which the same request may succeed, for `Retry-After`.
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::StoreUnavailable | Self::StoreBusy | Self::RateLimited => Some(1),
            Self::ShuttingDown => Some(5),
            Self::StoreFull => Some(limits::STORE_FULL_RETRY.as_secs() as u32),
            // Zendesk sends again only where it is less than a minute.
            Self::SourcePaused | Self::SourceBroken => Some(30),
            Self::Malformed
            | Self::NotGenuine
            | Self::AddressRefused
            | Self::KeyRefused
            | Self::UnknownSource
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Timeout
            | Self::TooLarge
            | Self::UriTooLong
            | Self::Misdirected
            | Self::UpgradeRequired
            | Self::HeadersTooLarge
            | Self::NotImplemented => None,
        }
    }
}

/// A code with words for whoever reads the answer. The words are ours: nothing of the request, no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// What was wrong and what would be right.
    pub detail: Cow<'static, str>,
    /// The status, where a platform wants to see another than the code's own.
    pub status: Option<StatusCode>,
    /// The methods that the path takes, for `Allow`; only with [`Code::MethodNotAllowed`].
    pub allow: Option<&'static [&'static str]>,
    /// The connection ends with this answer.
    pub close: bool,
    /// Seconds after which to come again, where that is another time than the code's own.
    pub wait: Option<u32>,
}

impl Problem {
    /// A problem after which the connection goes on.
    pub const fn new(code: Code, detail: &'static str) -> Self {
        Self { code, detail: Cow::Borrowed(detail), status: None, allow: None, close: false, wait: None }
    }

    /// A problem with words that are made for it: of what the request holds they may name lengths, no more.
    pub const fn described(code: Code, detail: String) -> Self {
        Self { code, detail: Cow::Owned(detail), status: None, allow: None, close: false, wait: None }
    }

    /// More comes than may, for so long.
    pub fn too_often(detail: &'static str, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let wait = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
        Self { wait: Some(wait), ..Self::new(Code::RateLimited, detail) }
    }

    /// Too many wrong tokens came from an address.
    pub fn too_many_tokens(wait: Duration) -> Self {
        Self::too_often("too many wrong tokens came from this address; come again later", wait)
    }

    /// A token has as many sessions open as it may.
    pub fn too_many_sessions(token: &Name) -> Self {
        let detail = format!(
            "the token {token} has {} sessions open, and no token may have more: stop clients that are not needed, or give them \
             tokens of their own (crm-relay token create); sockets that are dead are given up within a minute",
            limits::SESSIONS_PER_TOKEN_MAX
        );
        let wait = u32::try_from(limits::HEARTBEAT.as_secs()).ok();
        Self { wait, ..Self::described(Code::RateLimited, detail) }
    }

    /// The same for a path that looks as if it were meant for webhooks.
    pub fn nothing_at(path: &str) -> Self {
        let path = path.to_ascii_lowercase();
        if !path.contains("hook") {
            return Self::not_found();
        }
        let detail = "nothing is here; the path of webhooks is /webhook or /webhook/{source}: in lower case, without an s, and \
                      with nothing before it but what PUBLIC_URL has";
        Self::new(Code::NotFound, detail)
    }

    /// The answer for a path that nothing is at.
    pub const fn not_found() -> Self {
        Self::new(Code::NotFound, "nothing is here; webhooks go to /webhook or /webhook/{source}")
    }

    /// The same, ending the connection.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The same with the status that a platform wants to see, if that is an error at all: nothing else may look like an
    /// acknowledgement.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        let status = StatusCode::from_u16(status).ok();
        self.status = status.filter(|status| status.is_client_error() || status.is_server_error());
        self
    }

    /// The same, naming the methods that would do.
    #[must_use]
    pub const fn allowing(mut self, methods: &'static [&'static str]) -> Self {
        self.allow = Some(methods);
        self
    }

    /// As an HTTP answer.
    pub fn respond(&self) -> Response<Full<Bytes>> {
        let status = self.status.unwrap_or(self.code.status());
        let mut response = Response::new(Full::new(Bytes::from(self.document(status))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.wait.or(self.code.retry_after()) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(Ok(methods)) = self.allow.map(|methods| HeaderValue::try_from(methods.join(", "))) {
            headers.insert(header::ALLOW, methods);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"crm-relay\""));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The same as it goes over a connection of which nothing was read.
    pub(crate) fn written(&self) -> Vec<u8> {
        let (mut head, _) = self.respond().into_parts();
        let document = self.document(head.status);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
        let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
        for (name, value) in &head.headers {
            bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(document.as_bytes());
        bytes
    }

    /// The same answer without a body, for a platform that wants a refusal to have none.
    pub fn respond_bare(&self) -> Response<Full<Bytes>> {
        let mut response = self.respond();
        *response.body_mut() = Full::default();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::WWW_AUTHENTICATE);
        response
    }

    /// RFC 9457. The type is the blank one: status and `code` say which problem it is.
    fn document(&self, status: StatusCode) -> String {
        serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.code.as_str(),
            "detail": self.detail,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_its_own_text_and_an_error_status() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!((texts.len(), Code::ALL.len()), (Code::ShuttingDown as usize + 1, texts.len()), "the list has all");
        assert!(Code::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }

    /// I1: a platform's own status for refusals never reads as an acknowledgement.
    #[test]
    fn a_platforms_own_status_is_an_error_or_not_used() {
        let refused = |status| Problem::new(Code::NotGenuine, "no").with_status(status).respond();
        assert_eq!((refused(403).status().as_u16(), refused(500).status().as_u16()), (403, 500));
        assert!(!refused(403).headers().contains_key(header::WWW_AUTHENTICATE));
        for status in [0, 100, 200, 204, 302, 999] {
            assert_eq!(refused(status).status(), StatusCode::UNAUTHORIZED, "{status}");
        }
    }

    #[test]
    fn every_503_says_when_to_come_again() {
        for code in Code::ALL.into_iter().filter(|code| code.status() == StatusCode::SERVICE_UNAVAILABLE) {
            let response = Problem::new(code, "later").respond();
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{code:?}");
        }
    }
}
