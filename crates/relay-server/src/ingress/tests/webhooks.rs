//! What is stored of a webhook, and what its sender is told.

use std::time::Duration;

use bytes::Bytes;
use relay_core::{
    event::Event,
    id::EventId,
    quota::Day,
    storage::{Apart, StoreError},
    time::Wall,
};

use super::{KEY, Relay, Settings, request};
use crate::{budget::Budget, ingress::verify::sha256, network_policy::NetworkPolicy};

/// The secret of the source `signed`.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the source `bounded` takes.
pub(super) fn bounded() -> NetworkPolicy {
    NetworkPolicy {
        rate: Some("4/h".to_owned()),
        address_rate: Some("2/h".to_owned()),
        allow: Some(vec!["192.0.2.0/24".to_owned()]),
        deny: Some(vec!["192.0.2.66".to_owned()]),
        ..NetworkPolicy::default()
    }
}

/// What the source `daily` takes.
pub(super) fn daily() -> NetworkPolicy {
    let (daily_events, daily_bytes) = (Some("4".to_owned()), Some("100".to_owned()));
    NetworkPolicy { daily_events, daily_bytes, ..NetworkPolicy::default() }
}

/// S36: a source takes so much in a day; repeats, what is not stored and what is not genuine take nothing of that, and beyond it nobody's
/// body is waited for.
#[tokio::test]
async fn a_source_takes_so_much_in_a_day() {
    let relay = Relay::start().await;
    let told = async |fields: &str, body: &str| relay.ask(request("POST /webhook/daily", fields, body)).await;
    let first = "Idempotency-Key: a\r\n";
    assert_eq!(told(first, "1").await.status, 202);
    for _ in 0..5 {
        assert_eq!(told(first, "1").await.status, 202, "a repeat");
        let stranger = "POST /webhook/daily HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\nContent-Length: 1\r\n\r\n1";
        assert_eq!(relay.ask(stranger).await.status, 401);
    }
    for outage in [StoreError::Full, StoreError::Damaged { what: "bits".into() }] {
        relay.backend.store_answers(Some(outage));
        for _ in 0..5 {
            assert_eq!(told("", "1").await.status, 503);
        }
    }
    relay.backend.store_answers(None);
    for _ in 0..3 {
        assert_eq!(told("", "1").await.status, 202);
    }
    relay.backend.refusals();
    let over =
        relay.ask("POST /webhook/daily HTTP/1.1\r\nHost: a\r\nX-API-Key: any\r\nContent-Length: 90000\r\n\r\n").await;
    assert_eq!((over.status, over.code().as_deref()), (429, Some("rate_limited")));
    let wait: u64 = over.field("retry-after").unwrap().parse().unwrap();
    let left = Day::left(relay.backend.now()).as_secs();
    assert!((left..=left + 2).contains(&wait), "{wait} of {left}");
    assert_eq!(relay.backend.refusals(), [("daily".to_owned(), "quota_reached")]);
    assert_eq!(relay.backend.events().len(), 4);
    assert_eq!(relay.ask(request("POST /webhook", "", "1")).await.status, 202, "another source");

    let relay = Relay::start().await;
    let large = "x".repeat(99);
    for (body, status) in [(large.as_str(), 202), (large.as_str(), 202), ("x", 429)] {
        assert_eq!(relay.ask(request("POST /webhook/daily", "", body)).await.status, status);
    }
}

/// I10, S36: where the time is put right, what a source takes in a day and when it was refused go by that; only what the hub is given
/// goes by its own, which the hub puts right itself.
#[tokio::test]
async fn days_and_refusals_go_by_the_time_that_is_put_right() {
    let relay = Relay::start().await;
    let told = async || relay.ask(request("POST /webhook/daily", "", "1")).await.status;
    for day in 1..=2 {
        for _ in 0..4 {
            assert_eq!(told().await, 202, "day {day}");
        }
        assert_eq!(told().await, 429, "what was stored was counted on the day on which it was asked for");
        relay.backend.clock.put_right(Some(Apart { by: Duration::from_hours(24), ahead: false }));
    }
    let now = relay.backend.now();
    let events = relay.backend.events();
    assert!(events.iter().all(|event| now.since(event.received_at) > Duration::from_hours(23)), "{events:?}");
    assert_eq!(relay.ask("POST /webhook/nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.status, 404);
    let missed = relay.backend.seen.missed();
    assert!(missed.iter().all(|missed| missed.at >= now) && !missed.is_empty(), "{missed:?}");
}

/// S36: those that are stored at the same time are no more than the source takes; whoever finds the rest spoken for is asked to wait a
/// moment, and takes it when it is not used up.
#[tokio::test]
async fn senders_at_the_same_time_are_no_more_than_the_quota() {
    let relay = Relay::still(|settings| settings.patience.commit = Duration::from_secs(1)).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut socket = relay.connect().await;
        socket.send(request("POST /webhook/daily", "", "1")).await;
        waiting.push(socket);
    }
    let ask = async || relay.ask(request("POST /webhook/daily", "", "1")).await;
    let held = loop {
        let asked = ask().await;
        if asked.status == 429 {
            break asked;
        }
        // Not all of them have been looked at: this one was one of the four.
        assert_eq!(asked.status, 503);
    };
    let wait: u64 = held.field("retry-after").unwrap().parse().unwrap();
    assert!(wait <= 4, "{wait}");
    for mut socket in waiting {
        assert!([503, 429].contains(&socket.reply().await.status), "it was not stored");
    }
    relay.backend.run();
    assert_eq!(ask().await.status, 202, "what waited in the hub was too late, and takes nothing");
}

fn values(event: &Event, name: &str) -> Vec<Bytes> {
    event.headers.iter().filter(|(named, _)| named == name).map(|(_, value)| value.clone()).collect()
}

/// I3, S12, S14: everything that identifies the webhook is kept byte for byte; the key and what is ours is not.
#[tokio::test]
async fn an_event_is_what_was_sent_without_the_key() {
    let relay = Relay::start().await;
    let fields =
        "X-A: 1\r\nX-B: \u{e9}\r\nx-a:  2 \r\nRelay-Event-Id: evt_forged\r\nTE: trailers\r\nContent-Encoding: gzip\r\n";
    let body = "\u{1f}\u{8b}not inflated";
    let reply = relay.ask(request("PUT /webhook/default/a%2Fb//c?x=1&&y=%zz", fields, body)).await;
    assert_eq!((reply.status, reply.field("content-type")), (202, Some("application/json")));

    let [event] = &relay.backend.events()[..] else { panic!("one event") };
    assert_eq!((&event.method[..], &event.path[..]), (b"PUT".as_slice(), b"/webhook/default/a%2Fb//c".as_slice()));
    assert_eq!(event.query.as_deref(), Some(b"x=1&&y=%zz".as_slice()));
    assert_eq!((&event.body[..], event.body_sha256), (body.as_bytes(), sha256(body.as_bytes())));
    assert_eq!(values(event, "x-a"), ["1", "2"]);
    assert_eq!(values(event, "x-b"), ["\u{e9}"]);
    assert_eq!(values(event, "content-encoding"), ["gzip"]);
    let names: Vec<_> = event.headers.iter().map(|(name, _)| name.clone()).collect();
    for gone in ["x-api-key", "authorization", "relay-event-id", "te", "host", "content-length"] {
        assert!(names.iter().all(|name| name != gone), "{gone} is kept");
    }
    let everything = format!("{event:?}");
    assert!(!everything.contains(KEY));
}

/// I1: the receipt names the event and when it was received.
#[tokio::test]
async fn the_receipt_is_json_with_id_and_time() {
    let relay = Relay::start().await;
    let reply = relay.ask(request("POST /webhook", "", "{}")).await;
    let receipt: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert!(receipt["event_id"].as_str().unwrap().parse::<EventId>().is_ok());
    let received_at = receipt["received_at"].as_str().unwrap();
    assert!(received_at.ends_with('Z') && received_at.parse::<jiff::Timestamp>().is_ok(), "{received_at}");
}

/// I1: what a source's operator chose is what its sender hears, once it is stored and not before.
#[tokio::test]
async fn a_source_acknowledges_as_its_operator_chose() {
    let relay = Relay::start().await;
    for (source, status, kind, body) in [
        ("chosen", 200, Some("text/xml"), Some("<ok/>")),
        ("silent", 204, None, Some("")),
        ("named", 201, Some("application/json"), None),
    ] {
        let reply = relay.ask(request(&format!("POST /webhook/{source}"), "", "{}")).await;
        assert_eq!((reply.status, reply.field("content-type")), (status, kind), "{source}");
        assert_eq!(reply.body, body.map_or_else(|| reply.body.clone(), str::to_owned), "{source}");
        assert!(reply.field("relay-event-id").is_some(), "{source}");
    }
    relay.backend.store_answers(Some(StoreError::Full));
    assert_eq!(relay.ask(request("POST /webhook/chosen", "", "{}")).await.status, 503);
}

#[tokio::test]
async fn a_bearer_key_is_as_good_and_not_kept_either() {
    let relay = Relay::start().await;
    let head =
        format!("POST /webhook HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(relay.ask(head).await.status, 202);
    assert!(relay.backend.events()[0].headers.is_empty());
}

/// S28: a wrong key is told from no other fault, and counted by what failed.
#[tokio::test]
async fn a_wrong_key_is_refused_without_a_hint() {
    let relay = Relay::start().await;
    let reply = relay.ask(request("POST /webhook", "", "x").replace(KEY, "wrong")).await;
    assert_eq!((reply.status, reply.code().as_deref()), (401, Some("not_genuine")));
    assert!(reply.field("www-authenticate").is_some());
    assert_eq!(relay.backend.refusals(), [("default".to_owned(), "wrong_key")]);
    assert!(relay.backend.events().is_empty());
}

/// S8, S9: without a key nobody makes the relay hold a body, nor wait for one.
#[tokio::test]
async fn a_wrong_key_is_refused_before_its_body_is_read() {
    let relay = Relay::start().await;
    for more in ["Expect: 100-continue\r\n", ""] {
        let mut socket = relay.connect().await;
        let head =
            format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\nContent-Length: 9000\r\n{more}\r\n");
        socket.send(head).await;
        let reply = socket.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (401, Some("close")));
        assert!(socket.is_closed().await);
    }
}

#[tokio::test]
async fn what_is_not_a_source_is_answered_404_or_goes_on() {
    let relay = Relay::start().await;
    assert_eq!(relay.ask(request("POST /webhook/nope", "", "x")).await.code().as_deref(), Some("unknown_source"));
    assert_eq!(relay.ask(request("POST /webhook/", "", "x")).await.code().as_deref(), Some("unknown_source"));
    assert_eq!(relay.ask(request("POST /nothing", "", "x")).await.code().as_deref(), Some("not_found"));
    assert_eq!(relay.ask("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "alive\n");
}

#[tokio::test]
async fn a_source_names_the_methods_it_takes() {
    let relay = Relay::start().await;
    for (line, allow) in [
        ("OPTIONS /webhook", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("BREW /webhook", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("GET /webhook/signed", "POST"),
        ("OPTIONS /webhook/signed", "POST"),
    ] {
        let reply = relay.ask(request(line, "", "")).await;
        assert_eq!(
            (reply.code().as_deref(), reply.field("allow")),
            (Some("method_not_allowed"), Some(allow)),
            "{line}"
        );
    }
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        assert_eq!(relay.ask(request(&format!("{method} /webhook"), "", "x")).await.status, 202, "{method}");
    }
}

#[tokio::test]
async fn a_head_request_is_an_event_and_answered_without_a_body() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    socket.send(format!("HEAD /webhook?x HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\r\n")).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 202 "));
    socket.send(request("POST /webhook", "", "next")).await;
    assert_eq!(socket.reply().await.status, 202);
    assert_eq!(relay.backend.events()[0].method, "HEAD");
}

#[tokio::test]
async fn an_empty_body_needs_leave_where_bodies_are_usual() {
    let relay = Relay::start().await;
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(
            relay.ask(request(&format!("{method} /webhook"), "", "")).await.code().as_deref(),
            Some("malformed")
        );
        assert_eq!(relay.ask(request(&format!("{method} /webhook/empty"), "", "")).await.status, 202);
    }
    assert_eq!(relay.ask(request("DELETE /webhook", "", "")).await.status, 202);
    let chunked =
        format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(relay.ask(chunked).await.status, 400);
}

/// I20: a repeat is answered with the first one's id.
#[tokio::test]
async fn a_repeated_idempotency_key_gets_the_first_answer() {
    let relay = Relay::start().await;
    let id = |reply: super::Reply| serde_json::from_str::<serde_json::Value>(&reply.body).unwrap()["event_id"].clone();
    let send = |key: &str| relay.ask(request("POST /webhook", &format!("Idempotency-Key: {key}\r\n"), "x"));
    let first = id(send("a").await);
    assert_eq!(id(send("a").await), first);
    assert_ne!(id(send("b").await), first);
    assert_eq!(relay.backend.events().len(), 2);
    let long = "k".repeat(256);
    assert_eq!(send(&long).await.code().as_deref(), Some("malformed"));
}

/// I1, I2: whatever is not certain is a 503 that says when to come again.
#[tokio::test]
async fn what_is_not_durable_is_never_acknowledged() {
    let at_once = |settings: &mut Settings| settings.patience.commit = Duration::from_millis(300);
    for (error, code, is_uncertain) in [
        (StoreError::Full, "store_full", false),
        (StoreError::Damaged { what: "bits".into() }, "store_unavailable", false),
        (StoreError::TooSlow { after: Duration::ZERO }, "store_busy", false),
        // Asked for again for as long as its sender waits, who may be told the moment before that it is not stored.
        (StoreError::Away, "store_unavailable", true),
        (StoreError::Unknown, "store_unavailable", true),
        // The last: it is the end of the hub.
        (StoreError::Unavailable, "store_unavailable", true),
    ] {
        let is_asked_again = matches!(error, StoreError::Away | StoreError::Unknown);
        let relay = Relay::with(|settings| {
            if is_asked_again {
                at_once(settings);
            }
        })
        .await;
        relay.backend.store_answers(Some(error.clone()));
        for is_first in [true, false] {
            // Of what comes behind that end nothing is stored.
            let is_uncertain = is_uncertain && (is_first || error != StoreError::Unavailable);
            let reply = relay.ask(request("POST /webhook", "", "x")).await;
            assert_eq!((reply.status, reply.code().as_deref()), (503, Some(code)), "{error:?}: {}", reply.body);
            assert!(reply.field("retry-after").is_some());
            // Only what may be stored is said to be uncertain.
            let is_told = error == StoreError::Away && reply.body.contains("this is not stored");
            assert_eq!(reply.body.contains("not certain"), is_uncertain && !is_told, "{error:?}: {}", reply.body);
        }
    }
    let still = Relay::still(at_once).await;
    assert!(still.ask(request("POST /webhook", "", "x")).await.body.contains("not certain"));
    let stopped = Relay::start().await;
    stopped.backend.backend.hub.stop().await;
    assert_eq!(stopped.ask(request("POST /webhook", "", "x")).await.code().as_deref(), Some("shutting_down"));
}

/// S35: of a source that does not read any more it is not known who may come, also where a body was on its way by then.
#[tokio::test]
async fn what_was_on_its_way_to_a_source_that_broke_is_not_taken() {
    let relay = Relay::start().await;
    let mut sender = relay.connect().await;
    let whole = request("POST /webhook", "", "xy");
    let (begun, rest) = whole.split_at(whole.len() - 1);
    sender.send(begun).await;
    while relay.budget.used() == 0 {
        tokio::task::yield_now().await;
    }
    relay.backend.break_default().await;
    sender.send(rest).await;
    let refused = sender.reply().await;
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("source_broken")));
    assert_eq!(relay.backend.heard(), 0);
}

#[tokio::test]
async fn a_stopping_server_and_a_paused_source_take_nothing() {
    let relay = Relay::start().await;
    assert_eq!(relay.ask(request("POST /webhook/paused", "", "x")).await.code().as_deref(), Some("source_paused"));
    let broken = relay.ask(request("GET /webhook/broken", "", "")).await;
    assert_eq!((broken.status, broken.code().as_deref()), (503, Some("source_broken")));
    assert!(!broken.body.contains("secret"), "what is wrong with it is the operator's: {}", broken.body);
    relay.backend.backend.refusing.cancel();
    let reply = relay.ask(request("POST /webhook", "", "x")).await;
    assert_eq!((reply.code().as_deref(), reply.field("connection")), (Some("shutting_down"), Some("close")));
    assert!(relay.backend.events().is_empty());
}

/// I16: no memory is a 503 at once, and it passes by itself.
#[tokio::test]
async fn a_body_without_memory_for_it_is_refused_at_once() {
    let relay = Relay::with(|settings| settings.budget = Budget::new(1_000)).await;
    let body = "x".repeat(600);
    assert_eq!(relay.ask(request("POST /webhook", "", &body)).await.status, 202);
    assert!(relay.budget.used() > 600, "the head counts too");
    let asked = tokio::time::Instant::now();
    let reply = relay.ask(request("POST /webhook", "", &body)).await;
    assert_eq!((reply.code().as_deref(), reply.field("retry-after")), (Some("store_unavailable"), Some("1")));
    assert!(asked.elapsed().as_millis() < 1_000);
    relay.backend.forget();
    assert_eq!(relay.budget.used(), 0);
    assert_eq!(relay.ask(request("POST /webhook", "", &body)).await.status, 202);
}

/// Where memory is short, the connection ends behind the refusal if there is more of the body to come, and the answer says so;
/// a body that is there whole ends nothing.
#[tokio::test]
async fn a_refusal_for_want_of_memory_ends_a_connection_in_the_middle_of_a_body_only() {
    let relay = Relay::with(|settings| settings.budget = Budget::new(2_000)).await;
    let (whole, part) = ("x".repeat(1_200), "x".repeat(1_199));
    assert_eq!(relay.ask(request("POST /webhook", "", &whole)).await.status, 202);
    let head = |framing: &str| format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n{framing}\r\n\r\n");
    for (sent, connection) in [
        (head("Content-Length: 1200") + &whole, None),
        (head("Content-Length: 1200") + &part, Some("close")),
        (head("Transfer-Encoding: chunked") + "4af\r\n" + &part, Some("close")),
    ] {
        let mut socket = relay.connect().await;
        socket.send(&sent).await;
        let reply = socket.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (503, connection), "{reply:?}");
        assert!(reply.body.contains("there is no memory"), "{reply:?}");
        if connection.is_some() {
            assert!(socket.is_closed().await);
        } else {
            socket.send(request("POST /webhook/nope", "", "x")).await;
            assert_eq!(socket.reply().await.status, 404, "it is as good as before");
        }
    }
}

#[tokio::test]
async fn browsers_are_told_what_they_may_only_where_origins_are_named() {
    let relay = Relay::with(|settings| settings.cors_origins = vec!["https://app.test".to_owned()]).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /webhook HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n\r\n"
        )
    };
    let reply = relay.ask(preflight("https://app.test")).await;
    assert_eq!((reply.status, reply.field("access-control-allow-origin")), (204, Some("https://app.test")));
    assert_eq!(reply.field("access-control-allow-headers"), Some("x-api-key"));
    assert!(reply.field("access-control-allow-methods").unwrap().contains("POST"));
    let reply = relay.ask(preflight("https://other.test")).await;
    assert_eq!((reply.status, reply.field("access-control-allow-origin")), (204, None));

    let reply = relay.ask(request("POST /webhook", "Origin: https://app.test\r\n", "x")).await;
    assert_eq!(reply.field("access-control-allow-origin"), Some("https://app.test"));
    let reply = relay.ask(request("POST /webhook", "Origin: https://app.test\r\n", "")).await;
    assert_eq!((reply.status, reply.field("access-control-allow-origin")), (400, Some("https://app.test")));

    let without = Relay::start().await;
    let reply = without.ask(request("POST /webhook", "Origin: https://app.test\r\n", "x")).await;
    assert_eq!((reply.field("access-control-allow-origin"), reply.field("vary")), (None, None));
}

/// S13: a signed webhook proves itself by its raw bytes and gets its provider's acknowledgement.
#[tokio::test]
async fn a_signed_webhook_is_verified_and_acknowledged_as_its_provider_wants() {
    let relay = Relay::start().await;
    let seconds = crate::clock::Clock::start(Wall::MIN).present().as_millis() / 1_000;
    let body = "{\"a\": 1}";
    let fields = signature("msg_1", seconds, body);
    let reply = relay.ask(request("POST /webhook/signed", &fields, body)).await;
    assert!(matches!(reply.status, 200 | 204), "{reply:?}");
    let again = relay.ask(request("POST /webhook/signed", &fields, body)).await;
    assert_eq!(again.status, reply.status);
    assert_eq!(relay.backend.events().len(), 1);
    assert_eq!(values(&relay.backend.events()[0], "webhook-id"), ["msg_1"]);

    let changed = relay.ask(request("POST /webhook/signed", &fields, "{\"a\": 2}")).await;
    assert_eq!(changed.code().as_deref(), Some("not_genuine"));
    let stale = signature("msg_2", seconds - 3_600, body);
    assert_eq!(relay.ask(request("POST /webhook/signed", &stale, body)).await.status, 401);
    assert_eq!(relay.backend.events().len(), 1);
}

/// Header fields that sign a body for the source `signed`.
pub(super) fn signature(id: &str, seconds: u64, body: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let secret = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes()));
    format!("Webhook-Id: {id}\r\nWebhook-Timestamp: {seconds}\r\nWebhook-Signature: v1,{signature}\r\n")
}

/// I3: a target in absolute form, and a query with bytes that senders leave raw, are taken as any other, byte for byte, however
/// they arrive and whatever is before and behind them.
#[tokio::test]
async fn targets_as_senders_write_them_are_taken_byte_for_byte() {
    let relay = Relay::start().await;
    let queries: [&[u8]; 6] =
        [b"q={\"a\":1}", b"x=<b>", b"name=J\xfcrgen", b"x={a}|b^c`d", b"name=J\xc3\xbcrgen", b"^22=%22&\""];
    let mut all = Vec::new();
    for query in queries {
        for target in ["/webhook", "http://a/webhook", "HTTP://A:80/webhook"] {
            let head = format!("POST {target}?");
            let fields = format!(" HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: 2\r\n\r\nhi");
            all.push([head.as_bytes(), query, fields.as_bytes()].concat());
        }
    }
    for piece in [1, 7, usize::MAX] {
        relay.backend.forget();
        let mut socket = relay.connect().await;
        let bytes = all.concat();
        for bytes in bytes.chunks(piece.min(bytes.len())) {
            socket.send(bytes).await;
        }
        for _ in &all {
            assert_eq!(socket.reply().await.status, 202);
        }
        let events = relay.backend.events();
        assert_eq!(events.len(), all.len());
        for (index, event) in events.iter().enumerate() {
            assert_eq!((&event.path[..], &event.body[..]), (b"/webhook".as_slice(), b"hi".as_slice()));
            assert_eq!(event.query.as_deref(), Some(queries[index / 3]));
        }
    }
    for target in ["http://b/webhook", "http://flawed/9", "http://raw/webhook?^41"] {
        let refused = relay.ask(request(&format!("POST {target}"), "", "hi")).await;
        assert_eq!((refused.status, refused.code().as_deref()), (400, Some("malformed")), "{target}");
    }
}
