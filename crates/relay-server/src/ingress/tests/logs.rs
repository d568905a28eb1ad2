//! What the ingress writes into logs.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{Relay, request};

/// Keeps every line above TRACE as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

/// S27: nothing that a sender wrote gets into a log above TRACE, whatever becomes of the request.
#[tokio::test]
async fn no_log_line_holds_anything_of_a_request() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let relay = Relay::start().await;
    let fields = "X-A: canary-header\r\nAuthorization: Bearer canary-token-0123456789\r\nCookie: canary\r\n";
    let good = request("POST /webhook/default/canary?canary=1", fields, "canary-body");
    assert_eq!(relay.ask(&good).await.status, 202);
    assert_eq!(relay.ask(good.replace(super::KEY, "canary-key-0123456789")).await.status, 401);
    assert_eq!(relay.ask(good.replace("default", "canary\u{1b}[31m")).await.status, 400);
    assert_eq!(relay.ask(good.replace("/default", "/canary-source")).await.status, 404);
    // Another listener: what it has told it does not tell again within the minute.
    let relay = Relay::start().await;
    let signed = good.replace("Cookie: ", "Webhook-Id: canary\r\nWebhook-Signature: v1,").replace("default", "signed");
    assert_eq!(relay.ask(signed).await.status, 401);
    let written = lines.0.lock().unwrap().clone();
    assert_eq!(written.matches("request_refused").count(), 2, "{written}");
    assert!(!written.contains("canary"), "{written}");
}
