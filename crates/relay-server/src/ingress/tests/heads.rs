//! What is said of a webhook by its head, before any of its body is read.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;
use relay_providers::HANDSHAKE_BODY_BYTES_MAX;

use super::{KEY, Relay};

/// A head that announces a body.
fn head(source: &str, fields: &str, length: usize) -> String {
    format!("POST /webhook/{source} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n")
}

fn basic(password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("crm:{password}")))
}

/// S8, S9, S36: whoever has no proof where it stands in the head is refused by it: nothing of his body is waited for, held or
/// asked for.
#[tokio::test]
async fn a_head_without_its_proof_is_refused_before_its_body() {
    let relay = Relay::start().await;
    let stale = "Webhook-Id: 1\r\nWebhook-Timestamp: 1\r\nWebhook-Signature: v1,aGk=\r\n";
    for (source, fields, check) in [
        ("basic", basic("wrong").as_str(), "wrong_credentials"),
        ("basic", "", "missing_credentials"),
        ("token", "X-Telegram-Bot-Api-Secret-Token: wrong\r\n", "wrong_secret"),
        ("query?access_token=wrong", "", "wrong_secret"),
        ("header?data.id=1", "X-Signature: ts=1,v1=00\r\n", "bad_signature"),
        ("signed", "", "missing_signature"),
        ("signed", stale, "stale_timestamp"),
    ] {
        for expect in ["Expect: 100-continue\r\n", ""] {
            let mut socket = relay.connect().await;
            socket.send(head(source, &format!("{fields}{expect}"), 90_000)).await;
            let reply = socket.reply().await;
            let answer = (reply.status, reply.code(), reply.field("connection").map(str::to_owned));
            let refused = (401, Some("not_genuine".to_owned()), Some("close".to_owned()));
            assert_eq!(answer, refused, "{source} {fields}");
            assert!(socket.is_closed().await);
            let name = source.split('?').next().unwrap();
            assert_eq!(relay.backend.refusals(), [(name.to_owned(), check)]);
        }
    }
    assert!(relay.backend.events().is_empty());
    assert_eq!(relay.budget.used(), 0);
}

/// A sender that waits for leave gets it as soon as its head is good, and its answer once its body is there.
#[tokio::test]
async fn a_good_head_is_asked_for_its_body() {
    let relay = Relay::start().await;
    let token = format!("X-Telegram-Bot-Api-Secret-Token: {KEY}\r\n");
    let query = format!("query?access_token={KEY}");
    for (source, fields, told) in
        [("basic", basic(KEY), 200), ("token", token, 200), (query.as_str(), String::new(), 202)]
    {
        let mut socket = relay.connect().await;
        socket.send(head(source, &format!("{fields}Expect: 100-continue\r\n"), 2)).await;
        assert!(socket.head().await.starts_with("HTTP/1.1 100 "), "{source}");
        socket.send("{}").await;
        assert_eq!(socket.reply().await.status, told, "{source}");
    }
    assert_eq!(relay.backend.events().len(), 3);
}

/// A refusal by the head leaves a connection of use whose body was there already, and never takes that body for a request.
#[tokio::test]
async fn a_refused_body_is_no_request() {
    let relay = Relay::start().await;
    let smuggled = format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: 1\r\n\r\nx");
    let mut socket = relay.connect().await;
    socket.send(format!("{}{smuggled}{smuggled}", head("basic", &basic("wrong"), smuggled.len()))).await;
    assert_eq!(socket.reply().await.status, 401);
    assert_eq!(socket.reply().await.status, 202);
    assert_eq!(relay.backend.events().len(), 1);
}

/// S36: where a small body could be a handshake that needs no proof, a large one is refused by the head.
#[tokio::test]
async fn without_a_proof_no_body_is_read_that_is_too_large_for_a_handshake() {
    let relay = Relay::start().await;
    let asked = r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
    let reply = relay.ask(format!("{}{asked}", head("jwt", "", asked.len()))).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, asked));
    let small = relay.ask(format!("{}{}", head("jwt", "", 2), "{}")).await;
    assert_eq!(small.code().as_deref(), Some("not_genuine"));

    let mut socket = relay.connect().await;
    socket.send(head("jwt", "Expect: 100-continue\r\n", HANDSHAKE_BODY_BYTES_MAX + 1)).await;
    let reply = socket.reply().await;
    assert_eq!((reply.status, reply.field("connection")), (401, Some("close")));
    assert!(socket.is_closed().await);

    let mut socket = relay.connect().await;
    socket.send("POST /webhook/jwt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    socket
        .send(format!("{:x}\r\n{}\r\n", HANDSHAKE_BODY_BYTES_MAX + 1, "x".repeat(HANDSHAKE_BODY_BYTES_MAX + 1)))
        .await;
    let reply = socket.reply().await;
    assert_eq!((reply.status, reply.code().as_deref()), (401, Some("not_genuine")));
    assert!(socket.is_closed().await);

    // With its proof it may be as large as any.
    let now = crate::clock::Clock::start(Wall::MIN).present().as_millis() / 1_000;
    let mut socket = relay.connect().await;
    socket.send(format!("{}{}", head("jwt", &token(now), 90_000), "x".repeat(90_000))).await;
    assert_eq!(socket.reply().await.status, 200);
}

/// The token of a monday.com app.
fn token(now: u64) -> String {
    use aws_lc_rs::hmac;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let claims = format!(r#"{{"aud":"https://relay.test","exp":{}}}"#, now + 60);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), message.as_bytes());
    format!("Authorization: {message}.{}\r\n", URL_SAFE_NO_PAD.encode(signature))
}
