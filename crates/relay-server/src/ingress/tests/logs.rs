//! What the ingress writes into logs.

use super::{Relay, request};
use crate::tests::Lines;

/// S27: nothing that a sender wrote gets into a log above TRACE, whatever becomes of the request.
#[tokio::test]
async fn no_log_line_holds_anything_of_a_request() {
    let (lines, _guard) = Lines::listen();
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
    let written = lines.written();
    assert_eq!(written.matches("request_refused").count(), 2, "{written}");
    assert!(!written.contains("canary"), "{written}");
}
