//! Spans as OTLP has them in JSON: `ExportTraceServiceRequest` of `opentelemetry-proto` 1.

use bytes::Bytes;
use relay_core::{
    time::Wall,
    trace::{Fact, Side, Span},
};
use serde_json::{Value, json};

/// What takes them in, for who has given none.
pub(super) const PRODUCT: &str = "crm-relay";

/// A request with these spans, of the server of that name; empty: it has none.
pub(super) fn request(server: &str, spans: &[Span]) -> Bytes {
    let version = env!("CARGO_PKG_VERSION");
    let named = (!server.is_empty()).then(|| attribute("service.instance.id", &Fact::Text(server.to_owned())));
    let of = |key, value: &str| attribute(key, &Fact::Text(value.to_owned()));
    let resource: Vec<Value> =
        [of("service.name", PRODUCT), of("service.version", version)].into_iter().chain(named).collect();
    let request = json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": PRODUCT, "version": version },
                "spans": spans.iter().map(span).collect::<Vec<Value>>(),
            }],
        }],
    });
    request.to_string().into()
}

fn span(span: &Span) -> Value {
    let mut value = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": kind(span.side),
        "startTimeUnixNano": nanos(span.begun),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": span.facts.iter().map(|(key, fact)| attribute(key, fact)).collect::<Vec<Value>>(),
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = parent.to_string().into();
    }
    if let Some(why) = &span.failed {
        // STATUS_CODE_ERROR
        value["status"] = json!({ "code": 2, "message": why });
    }
    value
}

/// `SPAN_KIND_...`
const fn kind(side: Side) -> u8 {
    match side {
        Side::Internal => 1,
        Side::Server => 2,
        Side::Client => 3,
    }
}

/// Numbers of 64 bits are text in JSON.
fn attribute(key: &str, fact: &Fact) -> Value {
    match fact {
        Fact::Text(text) => json!({ "key": key, "value": { "stringValue": text } }),
        Fact::Number(number) => json!({ "key": key, "value": { "intValue": number.to_string() } }),
    }
}

fn nanos(at: Wall) -> String {
    format!("{}000", at.as_micros().max(0))
}
