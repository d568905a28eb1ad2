mod early;
mod enemies;
mod shortage;
mod shown;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use relay_core::{
    id::{DeliveryId, EventId},
    time::Wall,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::certificate::{authority, demanding};

/// Long enough that no test meets it by accident, short enough for those that wait for it.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

fn webhook(body: &'static [u8]) -> Forward {
    Forward {
        delivery: DeliveryId::from_u128(2),
        event: EventId::from_u128(1),
        destination: "crm".parse().unwrap(),
        source: "stripe".parse().unwrap(),
        attempt: 1,
        received_at: Wall::from_micros(1_700_000_000_000_000),
        method: Bytes::from_static(b"POST"),
        rest: Bytes::from_static(b"/a%2Fb"),
        query: Some(Bytes::from_static(b"x=1&x=%zz")),
        headers: vec![
            (Bytes::from_static(b"x-a"), Bytes::from_static(b"1")),
            (Bytes::from_static(b"x-a"), Bytes::from_static(b"\xff2")),
        ],
        original_url: Bytes::new(),
        replay: false,
        body: Bytes::from_static(body),
        body_sha256: digest::digest(&digest::SHA256, body).as_ref().try_into().unwrap(),
        trace: None,
    }
}

fn target(url: &str, timeout: Duration) -> Target {
    let destination = Destination {
        concurrency: 1,
        forward_timeout: timeout,
        ..Destination::new("crm".parse().unwrap(), url.parse().unwrap())
    };
    Target::new(&destination, Arc::default()).unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?k=v", listener.local_addr().unwrap());
    (listener, url)
}

async fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    head
}

/// One request with a body of two bytes, whole.
async fn request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = head(stream).await;
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    request.extend_from_slice(&body);
    request
}

/// Forwards to a target that reads the request, writes `answer`, and then keeps the socket or closes it.
async fn answered(answer: &'static [u8], timeout: Duration, keep: bool) -> Outcome {
    let (listener, url) = listen().await;
    let target = target(&url, timeout);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        if keep { std::future::pending().await } else { drop(stream) }
    };
    let forward = target.forward(&webhook);
    tokio::pin!(serve, forward);
    let ended = tokio::select! {
        ended = &mut forward => ended,
        () = &mut serve => forward.await,
    };
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    outcome
}

async fn check(answer: &'static [u8], class: Class, status: Option<u16>) -> Outcome {
    let outcome = answered(answer, LONG, false).await;
    assert_eq!((outcome.class, outcome.status), (class, status), "{outcome:?}");
    outcome
}

/// I3: request line, headers and body on the wire are what was received.
#[tokio::test]
async fn the_target_sees_the_webhook_byte_for_byte() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let got = request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        got
    };
    let (ended, got) = tokio::join!(target.forward(&webhook), serve);
    assert!(matches!(ended, Ended::Tried(outcome) if outcome.class == Class::Delivered));
    assert!(got.starts_with(b"POST /hook/a%2Fb?k=v&x=1&x=%zz HTTP/1.1\r\n"));
    let has = |line: &[u8]| got.windows(line.len()).any(|window| window == line);
    assert!(
        has(b"\r\nx-a: 1\r\nx-a: \xff2\r\n") && has(b"\r\ncontent-length: 2\r\n") && has(b"\r\nrelay-attempt: 1\r\n")
    );
    assert!(has(format!("\r\nhost: {}\r\n", listener.local_addr().unwrap()).as_bytes()));
    assert!(got.ends_with(b"\r\n\r\n{}"));
}

/// I3: what senders leave raw in a query reaches the target raw, on a fresh connection and on a kept one, beside other webhooks.
#[tokio::test]
async fn a_query_goes_out_as_it_came_in() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let queries: [&'static [u8]; 4] = [b"q={\"a\":1}", b"plain=1", b"x=<b>&n=J\xfcrgen", b"^|`"];
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut lines = Vec::new();
        for _ in queries {
            let request = request(&mut stream).await;
            let end = request.iter().position(|byte| *byte == b'\r').unwrap();
            lines.push(request[..end].to_vec());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        lines
    };
    let sending = async {
        for query in queries {
            let webhook = Forward { query: Some(Bytes::from_static(query)), ..webhook(b"hi") };
            let Ended::Tried(outcome) = target.forward(&webhook).await else { panic!("the body is whole") };
            assert_eq!(outcome.class, Class::Delivered);
        }
    };
    let (lines, ()) = tokio::join!(serving, sending);
    for (line, query) in lines.iter().zip(queries) {
        assert_eq!(*line, [b"POST /hook/a%2Fb?k=v&", query, b" HTTP/1.1"].concat());
    }
}

#[tokio::test]
async fn the_class_follows_from_the_status() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.1 299 Odd\r\ncontent-length: 0\r\n\r\n", Class::Delivered, Some(299)).await;
    check(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Class::Rejected, Some(404)).await;
    check(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", Class::Rejected, Some(500)).await;
    check(b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n", Class::Busy, Some(503)).await;
    let outcome =
        check(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", Class::Busy, Some(429)).await;
    assert_eq!(outcome.retry_after, Some(Duration::from_secs(7)));
}

/// S19: a redirect is an answer like any other; its `Location` is never asked.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, _) = listen().await;
    let location = elsewhere.local_addr().unwrap();
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
    check(Box::leak(answer.into_boxed_str()).as_bytes(), Class::Rejected, Some(302)).await;
    let asked = elsewhere.into_std().unwrap();
    assert_eq!(asked.accept().map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
}

/// I6: a broken body after a complete head changes nothing, an incomplete head is no answer.
#[tokio::test]
async fn the_class_follows_from_the_head_alone() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.1 200 OK\r\ncontent-le", Class::Busy, None).await;
    check(b"", Class::Busy, None).await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_rejected() {
    check(b"SSH-2.0-OpenSSH_9.2\r\n", Class::Rejected, None).await;
    check(b"HTTP/1.1 999999 Odd\r\n\r\n", Class::Rejected, None).await;
}

/// S20: nobody makes the client keep a head of any size.
#[tokio::test]
async fn an_oversized_head_is_rejected() {
    let mut answer = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    answer.resize(limits::ANSWER_HEAD_BYTES_MAX + 1024, b'y');
    let outcome = answered(answer.leak(), LONG, true).await;
    assert_eq!((outcome.class, outcome.status), (Class::Rejected, None), "{outcome:?}");
}

#[tokio::test]
async fn a_target_that_hangs_is_busy_at_the_timeout() {
    let outcome = answered(b"", SHORT, true).await;
    assert_eq!((outcome.class, outcome.status), (Class::Busy, None));
    assert!(outcome.duration >= SHORT);
}

/// S20: a body without end costs no memory and ends with the timeout; the head has decided.
#[tokio::test]
async fn an_endless_body_ends_with_the_timeout() {
    flooded(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 8_192], SHORT, Class::Delivered).await;
}

/// S20: interim answers without end are no answer, and are not waited for.
#[tokio::test]
async fn endless_interim_answers_are_rejected_at_once() {
    for again in [b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(), b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"] {
        let outcome = flooded(b"", again, LONG, Class::Rejected).await;
        assert!(outcome.error.unwrap().contains("interim"));
    }
}

/// S20: a body in the smallest pieces costs turns, and its end is looked for in each.
#[tokio::test]
async fn endless_small_chunks_end_with_the_timeout() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let outcome = flooded(head, b"1\r\na\r\n".repeat(10_000).leak(), SHORT, Class::Delivered).await;
    assert!(outcome.duration < 5 * SHORT, "{outcome:?}");
}

/// I15, S20: targets that pour out small pieces leave the others of the client their turns.
#[tokio::test]
async fn hostile_targets_do_not_hold_up_another() {
    let chunks = b"1\r\na\r\n".repeat(10_000).leak();
    let hints = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000).leak();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice();
    let (good, good_url) = listen().await;
    let mut hostile = FuturesUnordered::new();
    for (first, again) in [(head, &*chunks), (b"".as_slice(), &*hints)].repeat(4) {
        let class = if first.is_empty() { Class::Rejected } else { Class::Delivered };
        hostile.push(flooded(first, again, LONG, class));
    }
    let serve = async {
        let (mut stream, _) = good.accept().await.unwrap();
        loop {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    let target = target(&good_url, LONG);
    let webhook = webhook(b"{}");
    let forwards = async {
        for _ in 0..10 {
            let ended = target.forward(&webhook).await;
            assert!(matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{ended:?}");
        }
    };
    // All in one task, as in the driver: ten forwards end long before the hostile ones meet their timeout.
    tokio::select! {
        () = forwards => {}
        () = serve => unreachable!("it serves for ever"),
        () = async { while hostile.next().await.is_some() {} } => panic!("the hostile targets were served first"),
    }
}

async fn flooded(first: &'static [u8], again: &'static [u8], timeout: Duration, class: Class) -> Outcome {
    let (listener, url) = listen().await;
    let target = target(&url, timeout);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(first).await.unwrap();
        while stream.write_all(again).await.is_ok() {}
    };
    let (ended, ()) = tokio::join!(target.forward(&webhook), serve);
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!(outcome.class, class, "{outcome:?}");
    outcome
}

#[tokio::test]
async fn a_target_that_is_not_there_is_unreachable() {
    let (listener, url) = listen().await;
    drop(listener);
    let Ended::Tried(outcome) = target(&url, LONG).forward(&webhook(b"{}")).await else { panic!() };
    assert_eq!((outcome.class, outcome.status), (Class::Unreachable, None));
    assert!(outcome.error.unwrap().contains("connection refused by 127.0.0.1:"));
}

#[tokio::test]
async fn tls_with_a_target_that_speaks_none_is_unreachable() {
    let (listener, url) = listen().await;
    let target = target(&url.replace("http:", "https:"), LONG);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (ended, ()) = tokio::join!(target.forward(&webhook), serve);
    assert!(matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Unreachable), "{ended:?}");
}

/// I3: a body that is not the one that was stored is never forwarded.
#[tokio::test]
async fn a_body_with_another_digest_is_not_sent() {
    let (listener, url) = listen().await;
    let mut webhook = webhook(b"{}");
    webhook.body_sha256[0] ^= 1;
    assert_eq!(target(&url, LONG).forward(&webhook).await, Ended::Corrupt);
    let asked = listener.into_std().unwrap();
    assert!(asked.accept().is_err());
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_a_closed_one_is_not() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(b"{}");
    let accepted = AtomicUsize::new(0);
    let serve = async {
        // Two requests on the first connection, which is then closed; the third comes on a second one.
        for requests in [2, 1] {
            let (mut stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
            for _ in 0..requests {
                request(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    };
    let forward = async {
        for (connections, then_closed) in [(1, false), (1, true), (2, true)] {
            let ended = target.forward(&webhook).await;
            assert!(matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{ended:?}");
            assert_eq!(accepted.load(Ordering::Relaxed), connections);
            if then_closed {
                closed_by_peer(&target).await;
            }
        }
    };
    tokio::join!(serve, forward);
}

/// Waits until the close of the kept connection has arrived; it may have come with the answer, and nothing was kept.
async fn closed_by_peer(target: &Target) {
    let Some(mut idle) = target.take() else { return };
    while idle.http.is_open().await {
        tokio::task::yield_now().await;
    }
    target.idle.lock().unwrap().push_back(idle);
}

/// I6: the status of a complete head decides, however many fields it has.
#[tokio::test]
async fn many_fields_in_an_answer_do_not_hide_its_status() {
    for fields in [101, 1_000, (limits::ANSWER_HEAD_BYTES_MAX - 100) / 4] {
        let answer = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a:\r\n".repeat(fields));
        let answer: &[u8] = answer.into_bytes().leak();
        check(answer, Class::Delivered, Some(200)).await;
        // Nor does it wait for the end of a connection that the target keeps.
        assert!(answered(answer, LONG, true).await.duration < LONG);
    }
}

/// S30: a target behind TLS is checked as well: its own authority is trusted once it is named, and only then.
#[tokio::test]
async fn a_target_behind_tls_is_trusted_with_its_authority_and_refused_without() {
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, acceptor) = authority(&dir);
    for ca_file in [Some(ca_file), None] {
        let (listener, url) = listen().await;
        let trusted = ca_file.is_some();
        let destination = Destination {
            concurrency: 1,
            forward_timeout: LONG,
            ca_file,
            ..Destination::new("crm".parse().unwrap(), url.replace("http:", "https:").parse().unwrap())
        };
        let target = Target::new(&destination, Arc::default()).unwrap();
        let webhook = webhook(b"{}");
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        };
        let (Ended::Tried(outcome), ()) = tokio::join!(target.forward(&webhook), serve) else { panic!() };
        let class = if trusted { Class::Delivered } else { Class::Unreachable };
        assert_eq!(outcome.class, class, "{outcome:?}");
        assert!(trusted || outcome.error.unwrap().contains("ca_file"));
    }
}

/// A target that wants a certificate of the client is named as such, whether it says so at once (TLS 1.2) or behind a handshake
/// that has ended well (TLS 1.3); no webhook is to blame.
#[tokio::test]
async fn a_target_that_wants_a_certificate_of_the_client_is_named() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let dir = tempfile::tempdir().unwrap();
        let (ca_file, acceptor) = demanding(&dir, version);
        let (listener, url) = listen().await;
        let destination = Destination {
            concurrency: 1,
            forward_timeout: LONG,
            ca_file: Some(ca_file),
            ..Destination::new("crm".parse().unwrap(), url.replace("http:", "https:").parse().unwrap())
        };
        let target = Target::new(&destination, Arc::default()).unwrap();
        let webhook = webhook(b"{}");
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            assert!(acceptor.accept(stream).await.is_err());
        };
        let (Ended::Tried(outcome), ()) = tokio::join!(target.forward(&webhook), serve) else { panic!() };
        assert_eq!(outcome.class, Class::Unreachable, "{outcome:?}");
        let words = outcome.error.unwrap();
        assert!(words.contains("wants a certificate of the client"), "{words}");
    }
}

/// A target that serves one request on its first connection, reads the next one there, says `last`, and ends it; what
/// comes on further connections is answered with `then`. Gives the outcome of the second forward and the requests seen.
async fn ended_while_kept(last: &'static [u8], then: &'static [u8]) -> (Outcome, usize) {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(b"{}");
    let seen = AtomicUsize::new(0);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        request(&mut stream).await;
        seen.fetch_add(1, Ordering::Relaxed);
        stream.write_all(last).await.unwrap();
        drop(stream);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            seen.fetch_add(1, Ordering::Relaxed);
            stream.write_all(then).await.unwrap();
        }
    };
    let forward = async {
        let first = target.forward(&webhook).await;
        assert!(matches!(&first, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{first:?}");
        target.forward(&webhook).await
    };
    let ended = tokio::select! {
        ended = forward => ended,
        () = serve => unreachable!("it serves for ever"),
    };
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    (outcome, seen.load(Ordering::Relaxed))
}

/// I9 (f): a kept connection that ends before a byte of an answer is no try: the webhook goes out again at once, once.
#[tokio::test]
async fn a_kept_connection_that_ends_without_a_word_is_no_try() {
    let (outcome, seen) = ended_while_kept(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((outcome.class, outcome.status, seen), (Class::Delivered, Some(200), 2), "{outcome:?}");
    let (outcome, seen) = ended_while_kept(b"", b"").await;
    assert_eq!((outcome.class, outcome.status, seen), (Class::Busy, None, 2), "the fresh one was a try: {outcome:?}");
}

/// I9: a target that has begun to answer has the webhook.
#[tokio::test]
async fn a_kept_connection_that_ends_within_an_answer_was_a_try() {
    let (outcome, seen) = ended_while_kept(b"H", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((outcome.class, outcome.status, seen), (Class::Busy, None, 1), "{outcome:?}");
}

/// I6: what RFC 9112 asks a user agent to read, and lines that are no fields, hide no status.
#[tokio::test]
async fn answers_are_read_as_a_user_agent_must() {
    for fields in [
        "X-A: b\r\n c\r\nContent-Length: 0\r\n",
        "X-A: b\r\n\tc\r\n d\r\n",
        "Content-Length : 0\r\n",
        "X-A\t: b\r\n",
        "X-A: b\nContent-Length: 0\n",
        "X-A: \u{e9}\r\n",
        "X-A:\r\n",
        "no field\r\nContent-Length: 0\r\n",
        ": no name\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0, 0\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes().leak();
        check(answer, Class::Delivered, Some(200)).await;
    }
    check(b"HTTP/1.1 200 OK\n\n", Class::Delivered, Some(200)).await;
    check(b"\r\nHTTP/1.1 200 OK\r\n\r\n", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.1 200 \xe9t\xe9\r\n\r\n", Class::Delivered, Some(200)).await;
}

/// I6: other minor versions than 1 are read as HTTP/1.1 (RFC 9110 section 2.5), chunks of HTTP/1.0 too (RFC 9112 section 6.1).
#[tokio::test]
async fn answers_of_other_minor_versions_are_read() {
    let chunks = "transfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
    for version in ["HTTP/1.0", "HTTP/1.2", "HTTP/1.9"] {
        for rest in ["content-length: 2\r\n\r\nno", "\r\nno", chunks] {
            let answer = |status: u16| format!("{version} {status} X\r\n{rest}");
            check(answer(200).into_bytes().leak(), Class::Delivered, Some(200)).await;
            check(format!("{version} 100 X\r\n\r\n{}", answer(503)).into_bytes().leak(), Class::Busy, Some(503)).await;
            let outcome = answered_to(answer(422).as_bytes(), ReportAnswers::Body).await;
            assert_eq!(outcome.status, Some(422));
            assert_eq!(outcome.answer.unwrap().body.as_deref(), Some("no"), "{}", answer(422));
        }
    }
    check(b"HTTP/1.11 200 OK\r\n\r\n", Class::Rejected, None).await;
}

/// S20: an answer whose body only the end of its connection would end, which does not come, ends the try all the same: the
/// status has decided. One that says that it ends, or is of a version that ends, is waited for.
#[tokio::test]
async fn an_answer_without_an_end_is_not_waited_for() {
    for (fields, body, said) in [
        ("transfer-encoding: identity\r\ncontent-length: 4\r\n", "nope", "nope"),
        ("transfer-encoding: identity\r\n", "nope", "nope"),
        ("transfer-encoding: gzip\r\n", "nope", "nope"),
        ("transfer-encoding: chunked, gzip\r\n", "nope", "nope"),
        ("transfer-encoding: gzip, chunked\r\n", "4\r\nnope\r\n0\r\n\r\n", "nope"),
        ("transfer-encoding:\r\n", "nope", "nope"),
        ("", "nope", "nope"),
        ("connection: keep-alive\r\n", "nope", "nope"),
    ] {
        for (status, class) in [(200, Class::Delivered), (422, Class::Refused)] {
            let answer = format!("HTTP/1.1 {status} X\r\n{fields}\r\n{body}").into_bytes().leak();
            let began = Instant::now();
            let outcome = answered(answer, LONG, true).await;
            assert_eq!((outcome.class, outcome.status), (class, Some(status)), "{fields}{body}");
            assert!(began.elapsed() < 3 * limits::ANSWER_SILENCE_MAX, "{fields}{body}");
        }
        let answer = format!("HTTP/1.1 422 X\r\n{fields}\r\n{body}");
        let outcome = answered_to(answer.as_bytes(), ReportAnswers::Body).await;
        assert_eq!(outcome.answer.unwrap().body.as_deref(), Some(said), "{fields}{body}");
    }
    for answer in [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nx"[..], b"HTTP/1.0 200 OK\r\n\r\nx"] {
        let timeout = limits::ANSWER_SILENCE_MAX + 2 * SHORT;
        let outcome = answered(answer, timeout, true).await;
        assert!(outcome.class == Class::Delivered && outcome.duration >= timeout, "{outcome:?}");
    }
}

/// RFC 9112, sections 6.1 and 9.3: a connection of HTTP/1.0 is kept if its answer says so, and never behind chunks.
#[tokio::test]
async fn a_connection_of_another_version_is_kept_as_that_version_has_it() {
    for (version, fields, connections) in [
        ("HTTP/1.0", "content-length: 0\r\n\r\n", 2),
        ("HTTP/1.0", "content-length: 0\r\nconnection: Keep-Alive\r\n\r\n", 1),
        ("HTTP/1.0", "connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 2),
        ("HTTP/1.1", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 1),
        ("HTTP/1.2", "content-length: 0\r\n\r\n", 1),
        ("HTTP/1.2", "content-length: 0\r\nconnection: close\r\n\r\n", 2),
    ] {
        let (listener, url) = listen().await;
        let target = target(&url, LONG);
        let webhook = webhook(b"{}");
        let accepted = AtomicUsize::new(0);
        let serve = async {
            let mut served = FuturesUnordered::new();
            loop {
                let accepting = async {
                    let (stream, _) = listener.accept().await.unwrap();
                    accepted.fetch_add(1, Ordering::Relaxed);
                    stream
                };
                // The streams stay open here: whoever does not use one again does so by its own decision.
                let mut stream = tokio::select! {
                    stream = accepting => stream,
                    Some(stream) = served.next() => stream,
                };
                served.push(async move {
                    let mut first = [0];
                    if stream.read_exact(&mut first).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    request(&mut stream).await;
                    stream.write_all(format!("{version} 200 OK\r\n{fields}").as_bytes()).await.unwrap();
                    stream
                });
            }
        };
        let forwards = async {
            for _ in 0..2 {
                let ended = target.forward(&webhook).await;
                assert!(matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{ended:?}");
            }
        };
        tokio::select! {
            () = forwards => {}
            () = serve => unreachable!("it serves for ever"),
        }
        assert_eq!(accepted.load(Ordering::Relaxed), connections, "{version} {fields}");
    }
}

/// A target that speaks HTTP/2 alone says so in its first frame: the URL is wrong, and not the webhook.
#[tokio::test]
async fn a_target_that_speaks_http2_is_named_as_such() {
    let frames = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let outcome = check(frames, Class::Unreachable, None).await;
    assert!(outcome.error.unwrap().contains("speaks HTTP/2"));
}

/// S20: interim answers are counted however their bytes are cut.
#[tokio::test]
async fn interim_answers_in_pieces_are_counted() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        request(&mut stream).await;
        for piece in [&b"HTTP/1.1 100 X\r\n\r"[..], b"\n"].into_iter().cycle() {
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let (ended, ()) = tokio::join!(target.forward(&webhook), serve);
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!((outcome.class, outcome.status), (Class::Rejected, None), "{outcome:?}");
    assert!(outcome.error.unwrap().contains("interim"));
}

/// A target that speaks TLS and was not asked in TLS says so in its alert; nothing reached it.
#[tokio::test]
async fn a_target_that_speaks_tls_is_named_as_such() {
    let outcome = check(b"\x15\x03\x03\x00\x02\x02\x46", Class::Unreachable, None).await;
    assert!(outcome.error.unwrap().contains("speaks TLS there; use https://"));
}

/// I6: odd answers that are HTTP all the same, and some that are not.
#[tokio::test]
async fn odd_answers_are_judged_by_their_complete_head() {
    check(b"HTTP/1.1 200\r\n\r\n", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", Class::Delivered, Some(200)).await;
    check(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", Class::Delivered, Some(204)).await;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n", Class::Delivered, Some(200)).await;
    check(
        b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Fine\r\n\r\n",
        Class::Delivered,
        Some(202),
    )
    .await;
    check(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Class::Rejected, Some(304)).await;
    check(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Class::Rejected, Some(101))
        .await;
    check(b"HTTP/1.1 600 Odd\r\n\r\n", Class::Rejected, Some(600)).await;
    check(b"HTTP/1.1 099 Odd\r\n\r\n", Class::Rejected, None).await;
    check(b"HTTP/2.0 200 OK\r\n\r\n", Class::Rejected, None).await;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Class::Rejected, None).await;
    check(b"\0\0\0\0", Class::Rejected, None).await;
}

/// I6: an answer that comes while a large body is still being sent counts, also when the target then hangs up.
#[tokio::test]
async fn an_answer_in_the_middle_of_the_body_counts() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(vec![b'x'; 16 * 1024 * 1024].leak());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let (ended, _stream) = tokio::join!(target.forward(&webhook), serve);
    assert!(matches!(&ended, Ended::Tried(outcome) if outcome.status == Some(413)), "{ended:?}");
}

/// I6: the same from a target that closes without reading on: what it said before it reset the connection counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_a_reset_counts() {
    let body = vec![b'x'; 4 * 1024 * 1024].leak();
    for _ in 0..20 {
        let (listener, url) = listen().await;
        let target = target(&url, LONG);
        let webhook = webhook(body);
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        let ended = target.forward(&webhook).await;
        serve.await.unwrap();
        assert!(matches!(&ended, Ended::Tried(outcome) if outcome.status == Some(413)), "{ended:?}");
    }
}

/// I6: without an answer it is the closed connection that it is, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_of_the_body_is_busy() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(vec![b'x'; 16 * 1024 * 1024].leak());
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
    });
    let ended = target.forward(&webhook).await;
    serve.await.unwrap();
    assert!(
        matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Busy && outcome.duration < LONG),
        "{ended:?}"
    );
}

/// S20, S27: what a target says with its refusal is told as far as the configuration lets it, however it is framed, also where
/// it breaks off.
#[tokio::test]
async fn what_a_target_says_with_its_refusal_is_told_if_the_configuration_lets_it() {
    let said = |reason: Option<&str>, location: Option<&str>, body: Option<&str>| {
        let (reason, location, body) = (reason.map(Into::into), location.map(Into::into), body.map(Into::into));
        Answer { reason, location, body, cut: false }
    };
    let page = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<p>no</p>";
    let chunked =
        b"HTTP/1.1 422 Not Today\r\ntransfer-encoding: chunked\r\n\r\n4;a=b\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n";
    let moved = b"HTTP/1.1 301 Moved Permanently\r\nlocation: /hooks/?k=v\r\ncontent-length: 0\r\n\r\n";
    let until_close = b"HTTP/1.0 500 Internal Server Error\r\n\r\nTraceback";
    let broken = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\nno such cust";
    let fine = b"HTTP/1.1 200 Very Well\r\nlocation: /a\r\ncontent-length: 2\r\n\r\nok";
    let nothing = Answer::default;
    let cases: [(&[u8], _, _); 6] = [
        (page, said(None, None, Some("<p>no</p>")), nothing()),
        (chunked, said(Some("Not Today"), None, Some("{\"a\":1}")), said(Some("Not Today"), None, None)),
        (moved, said(None, Some("/hooks/?..."), None), said(None, Some("/hooks/?..."), None)),
        (until_close, said(None, None, Some("Traceback")), nothing()),
        (broken, Answer { cut: true, ..said(None, None, Some("no such cust")) }, nothing()),
        (fine, nothing(), nothing()),
    ];
    for (answer, all, some) in cases {
        for (how, want) in [(ReportAnswers::Body, all), (ReportAnswers::Status, some), (ReportAnswers::Off, nothing())]
        {
            let outcome = answered_to(answer, how).await;
            assert_eq!(outcome.answer, want.shared(), "{how:?} {}", String::from_utf8_lossy(answer));
        }
    }
}

/// A port that speaks TLS says so in its own words to who speaks plain HTTP: the URL is wrong, and not the webhook.
#[tokio::test]
async fn a_refusal_by_a_port_that_speaks_tls_is_not_the_webhooks_fault() {
    for body in [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
        "Bad Request\r\nThis combination of host and port requires TLS.\r\n",
    ] {
        for how in [ReportAnswers::Off, ReportAnswers::Body] {
            let answer = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let outcome = answered_to(answer.as_bytes(), how).await;
            assert_eq!((outcome.class, outcome.status, outcome.answer), (Class::Unreachable, None, None), "{body}");
            assert!(outcome.error.unwrap().contains("speaks TLS there; use https://"));
        }
    }
    let other =
        answered_to(b"HTTP/1.1 500 X\r\n\r\nClient sent an HTTP request to an HTTPS server.", ReportAnswers::Off).await;
    assert_eq!((other.class, other.status), (Class::Rejected, Some(500)));
}

/// The outcome of an answer where so much of it is reported.
async fn answered_to(answer: &[u8], report_answers: ReportAnswers) -> Outcome {
    let (listener, url) = listen().await;
    let mut destination = Destination::new("crm".parse().unwrap(), url.parse().unwrap());
    destination.report_answers = report_answers;
    let target = Target::new(&destination, Arc::default()).unwrap();
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(answer).await.unwrap();
    };
    let (ended, ()) = tokio::join!(target.forward(&webhook), serve);
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    outcome
}
