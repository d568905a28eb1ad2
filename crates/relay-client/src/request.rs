//! The request that a local target sees: what was received, byte for byte, under the target's own URL.
//!
//! **Invariant:** scheme, host and port come from the client's configuration alone. What the server sends is put behind
//! the target's path, and refused if it could mean another place.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, uri::PathAndQuery};
use http_body_util::Full;
use jiff::Timestamp;
use relay_core::{
    client::Forward,
    target,
    time::Wall,
    trace::{TRACEPARENT, TraceContext},
};

use crate::{
    config::Destination,
    own_fields::is_own,
    request_line::RawTarget,
    resign::{self, ResignError, Resigner},
};

/// What vendors add to `traceparent`.
const TRACESTATE: &str = "tracestate";

/// Where the requests of one destination go: its URL, taken apart once.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    path: String,
    query: Option<String>,
    host: HeaderValue,
    resign: Option<Resigner>,
    /// Fields of the configuration, in place of those that came with the webhook.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The target hears which try it is part of, where that is traced.
    trace: bool,
}

/// Why a webhook cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// The path or the query is not one that a request line can carry.
    #[error("path or query cannot stand in a request line")]
    Target,
    /// The path would lead out of the target's own path.
    #[error("path has dot segments")]
    DotSegments,
    /// The method is none, or asks for something else than to take a webhook.
    #[error("method is not one of webhooks")]
    Method,
    /// A header field cannot be sent.
    #[error("a header field cannot be sent")]
    Header,
    /// It cannot be signed again.
    #[error(transparent)]
    Resign(#[from] ResignError),
}

impl Base {
    /// Of a configured target; `None` if it has no host.
    pub(crate) fn of(destination: &Destination) -> Option<Self> {
        let url = destination.url.uri();
        let authority = url.authority()?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = url.path().to_owned();
        let host = HeaderValue::from_str(host).ok()?;
        let (query, resign, fields) =
            (url.query().map(str::to_owned), destination.resign.clone(), destination.headers.clone());
        Some(Self { path, query, host, resign, fields, trace: destination.trace })
    }

    /// The request that carries `forward`, at this moment.
    pub(crate) fn request(&self, forward: &Forward, now: Wall) -> Result<Request<Full<Bytes>>, RequestError> {
        let mut request = Request::new(Full::new(forward.body.clone()));
        if !target::is_method_of_webhooks(&forward.method) {
            return Err(RequestError::Method);
        }
        *request.method_mut() = Method::from_bytes(&forward.method).map_err(|_| RequestError::Method)?;
        let (target, raw) = self.target(&forward.rest, forward.query.as_deref())?;
        *request.uri_mut() = target.into();
        raw.map(|raw| request.extensions_mut().insert(raw));
        *request.headers_mut() = self.headers(forward, now)?;
        Ok(request)
    }

    /// The target's path and query with those of the webhook behind them, raw. What the HTTP library does not take in a query
    /// stands beside it.
    fn target(&self, rest: &[u8], query: Option<&[u8]>) -> Result<(PathAndQuery, Option<RawTarget>), RequestError> {
        if !rest.is_empty() && !rest.starts_with(b"/") {
            return Err(RequestError::Target);
        }
        if target::has_dot_segment(rest) {
            return Err(RequestError::DotSegments);
        }
        let base = if rest.is_empty() { self.path.as_str() } else { self.path.trim_end_matches('/') };
        let mut raw = Vec::with_capacity(base.len() + rest.len() + query.map_or(0, <[u8]>::len) + 64);
        raw.extend_from_slice(base.as_bytes());
        raw.extend_from_slice(rest);
        let mut mark = b'?';
        for part in [self.query.as_deref().map(str::as_bytes), query].into_iter().flatten() {
            if mark == b'?' || !part.is_empty() {
                raw.push(mark);
                raw.extend_from_slice(part);
                mark = b'&';
            }
        }
        if !query.is_none_or(target::is_query) {
            return Err(RequestError::Target);
        }
        let raw = Bytes::from(raw);
        if let Ok(target) = PathAndQuery::from_maybe_shared(raw.clone()) {
            // The parser cuts a fragment off, silently.
            return if target.as_str().as_bytes() == raw { Ok((target, None)) } else { Err(RequestError::Target) };
        }
        let path = raw.slice(..base.len() + rest.len());
        let target = PathAndQuery::from_maybe_shared(path.clone()).map_err(|_| RequestError::Target)?;
        if target.as_str().as_bytes() == path { Ok((target, Some(RawTarget(raw)))) } else { Err(RequestError::Target) }
    }

    fn headers(&self, forward: &Forward, now: Wall) -> Result<HeaderMap, RequestError> {
        let mut headers = HeaderMap::with_capacity(forward.headers.len() + 8);
        headers.insert(header::HOST, self.host.clone());
        let trace = forward.trace.filter(|_| self.trace && !self.sets(&HeaderName::from_static(TRACEPARENT)));
        // What vendors say of the sender's trace says nothing of another.
        let restarts = trace.is_some_and(|ours| {
            !TraceContext::of_headers(&forward.headers).is_some_and(|theirs| ours.is_of_the_trace_of(theirs))
        });
        for (name, value) in &forward.headers {
            let name = HeaderName::from_bytes(name).map_err(|_| RequestError::Header)?;
            let is_replaced = self.resign.is_some() && resign::is_replaced(&name)
                || trace.is_some() && name == TRACEPARENT
                || restarts && name == TRACESTATE;
            if is_own(&name) || is_replaced || self.sets(&name) {
                continue;
            }
            let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| RequestError::Header)?;
            headers.append(name, value);
        }
        for (name, value) in &self.fields {
            headers.append(name.clone(), value.clone());
        }
        if let Some(resigner) = &self.resign {
            headers.extend(resigner.fields(forward, now)?);
        }
        let mut add = |name, value: Result<HeaderValue, _>| -> Result<(), RequestError> {
            headers.insert(HeaderName::from_static(name), value.map_err(|_| RequestError::Header)?);
            Ok(())
        };
        add("relay-event-id", HeaderValue::try_from(forward.event.to_string()))?;
        add("relay-delivery-id", HeaderValue::try_from(forward.delivery.to_string()))?;
        add("relay-attempt", Ok(HeaderValue::from(forward.attempt)))?;
        add("relay-source", HeaderValue::from_str(forward.source.as_str()))?;
        add("relay-received-at", HeaderValue::try_from(received_at(forward)))?;
        if let Some(trace) = trace {
            add(TRACEPARENT, HeaderValue::try_from(trace.to_string()))?;
        }
        if !forward.original_url.is_empty() {
            add("relay-original-url", HeaderValue::from_maybe_shared(forward.original_url.clone()))?;
        }
        if forward.replay {
            add("relay-replay", Ok(HeaderValue::from_static("true")))?;
        }
        Ok(headers)
    }

    /// Whether the configuration has a field of this name.
    fn sets(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|(own, _)| own == name)
    }
}

/// RFC 3339, UTC, microseconds.
fn received_at(forward: &Forward) -> String {
    let at = Timestamp::from_microsecond(forward.received_at.as_micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.6}")
}

#[cfg(test)]
mod tests;
