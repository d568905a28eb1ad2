//! Targets that answer as no target should.

use super::*;

/// S20: what an enemy can do with one connection. Each try ends in time, in its class, with words that say what came.
#[tokio::test]
async fn an_enemy_gets_a_class_and_words_for_whatever_it_sends() {
    let location = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://user:secret@h/{}?token=t\r\ncontent-length: 0\r\n\r\n",
        "a".repeat(10_000)
    );
    let fields = format!("HTTP/1.1 503 X\r\n{}content-length: 0\r\n\r\n", "x-a: b\r\n".repeat(2_000));
    for (answer, class, status, words) in [
        // Heads that are none.
        (&b"<html>HTTP/0.9 has no head</html>"[..], Class::Rejected, None, "not HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Class::Rejected, None, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Class::Rejected, None, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", Class::Rejected, None, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", Class::Rejected, None, "not HTTP"),
        // Heads that break off.
        (b"HTTP/1.1 200 OK\r\ncontent-", Class::Busy, None, "closed before the answer was complete"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Class::Busy, None, "closed before the answer was complete"),
        // A server that gave the connection up while it was idle.
        (b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n", Class::Busy, Some(408), "408"),
        // Lengths that lie, behind a head that decides.
        (b"HTTP/1.1 503 X\r\ncontent-length: 100\r\n\r\nshort", Class::Busy, Some(503), "503"),
        (b"HTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\nlonger than that", Class::Busy, Some(503), "503"),
        (b"HTTP/1.1 204 No Content\r\n\r\na body all the same", Class::Delivered, Some(204), ""),
        (location.as_bytes(), Class::Rejected, Some(302), "302"),
        (fields.as_bytes(), Class::Busy, Some(503), "503"),
    ] {
        let began = Instant::now();
        let outcome = answered_to(answer, ReportAnswers::Body).await;
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        assert_eq!((outcome.class, outcome.status), (class, status), "{shown}: {outcome:?}");
        assert!(outcome.error.as_deref().unwrap_or_default().contains(words), "{shown}: {outcome:?}");
        assert!(outcome.error.as_deref().unwrap_or_default().len() <= 500, "{shown}: {outcome:?}");
        assert!(began.elapsed() < 3 * limits::ANSWER_SILENCE_MAX, "{shown}");
        let told = outcome.answer.as_deref().cloned().unwrap_or_default();
        assert!(told.location.as_deref().is_none_or(|place| place.len() <= 500), "{shown}");
        assert!(!format!("{:?} {:?}", told.location, told.reason).contains("secret"), "{shown}");
    }
}

/// S20: bodies that are no text, or are coded, are not told; what is text is told as text, whatever the head says of it.
#[tokio::test]
async fn what_is_no_text_is_not_told() {
    let utf_16 = b"n\0o\0";
    for (fields, body, want) in [
        ("content-encoding: gzip\r\n", &b"\x1f\x8b\x08rest"[..], None),
        ("content-encoding: br\r\n", b"\x0b\x02\x80no\x03", None),
        ("content-type: text/plain; charset=utf-16\r\n", utf_16, None),
        ("content-type: application/octet-stream\r\n", b"\x00\x01\x02", None),
        ("content-type: text/plain\r\n", b"a\x1b[2Jb\x07", Some("a\u{1b}[2Jb\u{7}")),
        ("content-type: application/json\r\n", b"{\"why\":\"no\"}", Some("{\"why\":\"no\"}")),
    ] {
        let head = format!("HTTP/1.1 422 X\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
        let outcome = answered_to(&[head.as_bytes(), body].concat(), ReportAnswers::Body).await;
        let told = outcome.answer.as_deref().and_then(|answer| answer.body.as_deref().map(str::to_owned));
        assert_eq!(told.as_deref(), want, "{fields}");
    }
}

/// S20, I15: a body that comes a byte at a time ends with the timeout, in the class of its status, and says that it broke off.
#[tokio::test(start_paused = true)]
async fn a_body_in_drops_ends_with_the_timeout() {
    for head in ["content-length: 100000\r\n\r\n", "connection: close\r\n\r\n", "\r\n"] {
        let (listener, url) = listen().await;
        let target = target(&url, LONG);
        let webhook = webhook(b"{}");
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(format!("HTTP/1.1 422 X\r\n{head}").as_bytes()).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let ended = tokio::select! { ended = target.forward(&webhook) => ended, () = serve => panic!("it was closed") };
        let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
        assert_eq!((outcome.class, outcome.status), (Class::Refused, Some(422)));
        assert!(outcome.duration >= LONG && outcome.duration < 2 * LONG, "{outcome:?}");
    }
}

/// S20: a connection that is reset, in the middle of a head or of a body, is no more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_anywhere_is_judged_by_what_came_before_it() {
    for (answer, class, status) in [
        (&b""[..], Class::Busy, None),
        (b"HTTP/1.1 20", Class::Busy, None),
        (b"HTTP/1.1 422 X\r\ncontent-length: 100\r\n\r\npart", Class::Refused, Some(422)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\npa", Class::Delivered, Some(200)),
    ] {
        let (listener, url) = listen().await;
        let target = target(&url, LONG);
        let webhook = webhook(b"{}");
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
            // What was sent is there before the reset.
            tokio::time::sleep(SHORT).await;
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        });
        let ended = target.forward(&webhook).await;
        serve.await.unwrap();
        let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
        assert_eq!((outcome.class, outcome.status), (class, status), "{outcome:?}");
        assert!(outcome.duration < LONG / 2, "{outcome:?}");
    }
}

/// I9 (f): a server that says 408 on a connection that was idle, as some do before they close it, has not seen the webhook that
/// crossed it: it goes out again on a fresh one.
#[tokio::test]
async fn a_408_on_an_idle_connection_is_no_answer() {
    let (listener, url) = listen().await;
    let target = target(&url, LONG);
    let webhook = webhook(b"{}");
    let serve = async {
        let (mut first, _) = listener.accept().await.unwrap();
        request(&mut first).await;
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        first
            .write_all(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        request(&mut second).await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        (first, second)
    };
    let forwards = async {
        for _ in 0..2 {
            let ended = target.forward(&webhook).await;
            assert!(matches!(&ended, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{ended:?}");
        }
    };
    let (_kept, ()) = tokio::join!(serve, forwards);
}

/// S30, I15: a target whose certificate is another one by the next connection is not trusted for the first: nothing is sent, no
/// retry is used up, and the words say what to do.
#[tokio::test]
async fn a_certificate_that_changes_between_requests_is_judged_anew() {
    let (trusted, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((ca_file, first), (_, second)) = (authority(&trusted), authority(&other));
    let (listener, url) = listen().await;
    let mut destination = Destination::new("crm".parse().unwrap(), url.replace("http:", "https:").parse().unwrap());
    destination.ca_file = Some(ca_file);
    let target = Target::new(&destination, Arc::default()).unwrap();
    let webhook = webhook(b"{}");
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = first.accept(stream).await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        second.accept(stream).await.expect_err("the client refuses it")
    };
    let forwards = async {
        let first = target.forward(&webhook).await;
        assert!(matches!(&first, Ended::Tried(outcome) if outcome.class == Class::Delivered), "{first:?}");
        target.forward(&webhook).await
    };
    let (_refused, ended) = tokio::join!(serve, forwards);
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    assert_eq!((outcome.class, outcome.status), (Class::Unreachable, None));
    assert!(outcome.error.unwrap().contains("is not trusted"));
}
