//! Senders that compress what they have signed.

use std::io::Write as _;

use aws_lc_rs::hmac;
use flate2::Compression;
use relay_core::time::Wall;

use super::{BODY_BYTES_MAX, KEY, Relay, Reply};

const BODY: &[u8] = br#"{"id":"evt_1","type":"message.new"}"#;

/// Compressed so that no two times give the same bytes.
fn gzip(body: &[u8], time: u32) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new().mtime(time).write(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn mac(signed: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), signed).as_ref())
}

async fn post(relay: &Relay, source: &str, fields: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!("POST /webhook/{source} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n");
    relay.ask([head.as_bytes(), body].concat()).await
}

/// A body with a signature over `signed`, for the HMAC sources.
async fn hmac(relay: &Relay, source: &str, signed: &[u8], fields: &str, body: &[u8]) -> Reply {
    post(relay, source, &format!("X-Signature: {}\r\n{fields}", mac(signed)), body).await
}

/// The same for the source `plain`.
async fn stripe(relay: &Relay, signed: &[u8], fields: &str, body: &[u8]) -> Reply {
    let seconds = crate::clock::Clock::start(Wall::MIN).present().as_millis() / 1_000;
    let signature = mac(&[format!("{seconds}.").as_bytes(), signed].concat());
    post(relay, "plain", &format!("Stripe-Signature: t={seconds},v1={signature}\r\n{fields}"), body).await
}

/// I3, S12: who signs and then compresses is understood; kept is what was sent.
#[tokio::test]
async fn a_signature_over_the_decoded_body_is_taken_and_the_sent_body_kept() {
    let relay = Relay::start().await;
    let sent = gzip(BODY, 1);
    assert_eq!(hmac(&relay, "either", BODY, "Content-Encoding: gzip\r\n", &sent).await.status, 200);
    assert_eq!(hmac(&relay, "either", &sent, "Content-Encoding: gzip\r\n", &sent).await.status, 200);
    assert_eq!(stripe(&relay, BODY, "Content-Encoding: x-gzip\r\n", &sent).await.status, 200);
    for event in relay.backend.events() {
        assert!(event.body == sent && event.headers.iter().any(|(name, _)| name == "content-encoding"));
    }
    assert_eq!(
        stripe(&relay, br#"{"id":"evt_2"}"#, "", br#"{"id":"evt_2"}"#).await.status,
        200,
        "not every body is encoded"
    );
    assert_eq!(relay.backend.events().len(), 4);
    relay.backend.forget();
    assert_eq!(relay.budget.used(), 0, "what is decoded is dropped");
}

/// S12, S28: at a source that says `sent`, and at one that says `decoded`, the other bytes are not what is signed.
#[tokio::test]
async fn a_source_that_says_which_bytes_are_signed_takes_no_others() {
    let relay = Relay::start().await;
    let sent = gzip(BODY, 1);
    assert_eq!(hmac(&relay, "sent", BODY, "Content-Encoding: gzip\r\n", &sent).await.status, 401);
    assert_eq!(hmac(&relay, "sent", &sent, "Content-Encoding: gzip\r\n", &sent).await.status, 200);
    assert_eq!(stripe(&relay, &sent, "Content-Encoding: gzip\r\n", &sent).await.status, 401);
    assert_eq!(stripe(&relay, BODY, "", &sent).await.status, 401, "without the field it is no encoding of anything");
    assert_eq!(relay.backend.events().len(), 1);
}

/// I20: the id of a webhook is read where its sender wrote it, however it was compressed this time.
#[tokio::test]
async fn a_repeat_that_is_compressed_anew_is_a_repeat() {
    let relay = Relay::start().await;
    let (first, again) = (gzip(BODY, 1), gzip(BODY, 2));
    assert_ne!(first, again);
    for sent in [&first, &again] {
        assert_eq!(stripe(&relay, BODY, "Content-Encoding: gzip\r\n", sent).await.status, 200);
    }
    assert_eq!(relay.backend.events().len(), 1);
}

/// S12, S28: the coding is signed by nobody, so nothing may be added by it, and nothing large come of it.
#[tokio::test]
async fn an_encoding_that_can_be_read_in_two_ways_or_goes_off_is_refused() {
    let relay = Relay::start().await;
    let sent = gzip(BODY, 1);
    let bomb = vec![b' '; BODY_BYTES_MAX as usize + 1];
    let behind = |more: &[u8]| [&sent[..], more].concat();
    for (fields, body, status, code) in [
        ("Content-Encoding: gzip\r\n", behind(&sent), 400, "malformed"),
        ("Content-Encoding: gzip\r\n", behind(b"&amount=1"), 400, "malformed"),
        ("Content-Encoding: br\r\n", sent.clone(), 400, "malformed"),
        ("Content-Encoding: gzip, identity\r\n", sent.clone(), 400, "malformed"),
        ("Content-Encoding: gzip\r\nContent-Encoding: identity\r\n", sent.clone(), 400, "malformed"),
        ("Content-Encoding: gzip\r\n", BODY.to_vec(), 400, "malformed"),
        ("Content-Encoding: gzip\r\n", gzip(&bomb, 1), 413, "too_large"),
    ] {
        let reply = stripe(&relay, BODY, fields, &body).await;
        assert_eq!((reply.status, reply.code().as_deref()), (status, Some(code)), "{fields}");
        // Where it is one of two readings, the sender is told no more than that he is not genuine.
        let reply = hmac(&relay, "either", BODY, fields, &body).await;
        let refused = if body == BODY { 200 } else { 401 };
        assert_eq!(reply.status, refused, "{fields}");
    }
    assert_eq!(relay.backend.events().len(), 1);
    let seen = relay.backend.seen.of("either");
    assert!(seen.iter().any(|refused| refused.detail.contains("nor is it decoded")), "the operator is told: {seen:?}");
    relay.backend.forget();
    assert_eq!(relay.budget.used(), 0);
}
