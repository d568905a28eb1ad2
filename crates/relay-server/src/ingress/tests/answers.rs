//! Answers as a stranger with curl or a script meets them.

use relay_net::serve::Bounds;
use tokio::io::AsyncWriteExt as _;

use super::{KEY, Relay, STUCK, Socket, request};
use crate::tests::Lines;

/// Sends a request whose answer has no body, and gives the answer's head.
async fn head_of(relay: &Relay, line: &str) -> String {
    let mut socket = relay.connect().await;
    socket.send(request(line, "", "")).await;
    let head = socket.head().await;
    // What came behind the head would be taken for the next answer.
    socket.send(request("POST /webhook", "", "next")).await;
    assert_eq!(socket.reply().await.status, 202, "{line}: the connection is of no use");
    head
}

#[tokio::test]
async fn every_problem_says_what_it_is_in_the_same_members() {
    let relay = Relay::start().await;
    for (line, fields, status) in [
        ("POST /webhook/nope", "", 404),
        ("POST /nothing", "", 404),
        ("BREW /webhook", "", 405),
        ("POST /webhook", "", 400),
        ("POST /webhook/signed", "", 401),
        ("POST /webhook/a/../b", "", 400),
        ("POST /webhook/paused", "", 503),
        ("POST /webhook#a", "", 400),
        ("POST /webhook", "X: \0\r\n", 400),
    ] {
        let reply = relay.ask(request(line, fields, "")).await;
        assert_eq!((reply.status, reply.field("content-type")), (status, Some("application/problem+json")), "{line}");
        assert!(reply.field("date").is_some() && reply.field("content-length").is_some(), "{line}: {}", reply.head);
        let document: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(document["status"], status);
        for member in ["type", "title", "detail", "code"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{line}: {member} in {document}");
        }
    }
}

/// Xero wants a refusal without a body, and gives up an endpoint whose refusals have one. Nothing else is different: the
/// connection goes on, and what was refused is counted.
#[tokio::test]
async fn a_platform_that_wants_refusals_without_a_body_gets_them() {
    let relay = Relay::start().await;
    let forged = format!("X-Xero-Signature: {}=\r\n", "A".repeat(43));
    for fields in ["", &forged] {
        let mut socket = relay.connect().await;
        socket.send(request("POST /webhook/bare", fields, "{\"events\":[]}")).await;
        let reply = socket.reply().await;
        assert_eq!((reply.status, reply.field("content-length")), (401, Some("0")), "{reply:?}");
        assert_eq!((reply.field("content-type"), reply.field("www-authenticate")), (None, None), "{reply:?}");
        // A body behind it would be taken for the next answer.
        socket.send(request("POST /webhook", "", "next")).await;
        assert_eq!(socket.reply().await.status, 202);
    }
    let other = relay.ask(request("POST /webhook/signed", "", "{}")).await;
    assert_eq!(other.code().as_deref(), Some("not_genuine"), "others hear why");
    let refused: Vec<_> = relay.backend.refusals().into_iter().map(|(source, _)| source).collect();
    assert_eq!(refused, ["bare", "bare", "signed"]);
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let relay = Relay::start().await;
    for (path, status) in [("/webhook?x", 202), ("/webhook/nope", 404), ("/nothing", 404), ("/webhook/signed", 405)] {
        let head = head_of(&relay, &format!("HEAD {path}")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        assert!(head.contains("\r\ncontent-length: ") && !head.contains("content-length: 0"), "{path}: {head}");
    }
}

/// I3: a path is what was sent: nothing is decoded, joined or completed on the way to a source.
#[tokio::test]
async fn paths_that_look_alike_are_not() {
    let relay = Relay::start().await;
    for path in ["/webhook/", "//webhook", "/webhook//default", "/webhook%2Fdefault", "/webhook/def%61ult", "/WEBHOOK"]
    {
        assert_eq!(relay.ask(request(&format!("POST {path}"), "", "x")).await.status, 404, "{path}");
    }
    for (target, path, query) in [
        ("/webhook?", "/webhook", Some("")),
        ("/webhook??", "/webhook", Some("?")),
        ("/webhook/default/", "/webhook/default/", None),
        ("/webhook/default//a", "/webhook/default//a", None),
        ("/webhook/default/%2e%2Ex%2F", "/webhook/default/%2e%2Ex%2F", None),
        ("/webhook/default/%2e%2E%2F", "", None),
        ("/webhook/default/%zz%?%", "/webhook/default/%zz%", Some("%")),
        ("/webhook/default?http://u@h/#", "", None),
    ] {
        relay.backend.forget();
        let status = relay.ask(request(&format!("POST {target}"), "", "x")).await.status;
        let events = relay.backend.events();
        let stored = events.first().map(|event| (event.path.clone(), event.query.clone()));
        let expected = (!path.is_empty()).then(|| (path.into(), query.map(Into::into)));
        assert_eq!((status, stored), (if path.is_empty() { 400 } else { 202 }, expected), "{target}");
    }
}

/// S18: a path with dot segments behind a source's name is that source's refusal, and no path that there is none of.
#[tokio::test]
async fn dot_segments_are_a_refusal_of_their_source() {
    let relay = Relay::start().await;
    let reply = relay.ask(request("POST /webhook/default/a/..%2fb", "", "x")).await;
    assert_eq!((reply.status, reply.code().as_deref()), (400, Some("malformed")));
    assert!(reply.body.contains("dot segments"), "{}", reply.body);
    assert_eq!(relay.backend.refusals(), [("default".to_owned(), "malformed")]);
    assert!(relay.backend.seen.missed().is_empty());
    assert_eq!(relay.ask(request("POST /webhook/nobody/..", "", "x")).await.status, 400);
    assert!(relay.backend.seen.missed().is_empty());
    assert!(relay.backend.events().is_empty());
}

/// S40: that a source has this name is told, and nothing else: whatever is wrong with a proof, and whichever of no source's names is tried,
/// each is answered the same to the byte, and a name that there is none of is written into no log.
#[tokio::test]
async fn an_answer_tells_no_more_than_its_status() {
    let (lines, _guard) = Lines::listen();
    let relay = Relay::start().await;
    let ask = async |name: &str, fields: &str| {
        let head = format!("POST /webhook/{name} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{fields}\r\n{{}}");
        let reply = relay.ask(head).await;
        let head: Vec<&str> = reply.head.lines().filter(|line| !line.starts_with("date: ")).collect();
        (reply.status, head.join("\n"), reply.body)
    };
    let key = |key: &str| format!("X-API-Key: {key}\r\n");
    let stale = "Webhook-Id: 1\r\nWebhook-Timestamp: 1\r\nWebhook-Signature: v1,aGk=\r\n";
    let wrong = ask("default", "").await;
    assert_eq!(wrong.0, 401);
    for (source, fields) in [
        ("default", key("a")),
        ("default", key(&KEY[..KEY.len() - 1])),
        ("default", key(&"a".repeat(4_000))),
        ("default/rest", key("a")),
        ("named", key("a")),
        ("basic", "Authorization: Basic Y3JtOmE=\r\n".to_owned()),
        ("basic", String::new()),
        ("signed", stale.to_owned()),
        ("signed", String::new()),
        ("token", "X-Telegram-Bot-Api-Secret-Token: wrong\r\n".to_owned()),
        ("either", "X-Signature: 00\r\n".to_owned()),
    ] {
        assert_eq!(ask(source, &fields).await, wrong, "{source} {fields}");
    }
    let unknown = ask("canary", "").await;
    assert_eq!(unknown.0, 404);
    for (name, fields) in [
        ("canary", key(KEY)),
        ("canary-of-63-characters-0123456789012345678901234567890123456789", String::new()),
        ("Canary", String::new()),
        ("canary%20", stale.to_owned()),
        ("canary/rest", String::new()),
    ] {
        assert_eq!(ask(name, &fields).await, unknown, "{name} {fields}");
    }
    let written = lines.written();
    assert!(written.contains("nothing_there") && !written.to_lowercase().contains("canary"), "{written}");
}

/// I3: a request of a higher minor version is one of HTTP/1.1 in every other way, and leaves its connection of use.
#[tokio::test]
async fn a_higher_minor_version_is_taken() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    let one = |version: &str| {
        format!(
            "POST /webhook?q={{\"a\"}} HTTP/{version}\r\nHost: a\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\n\r\n"
        )
    };
    socket.send(format!("{}{}{}", one("1.2"), one("1.9"), one("1.1"))).await;
    for _ in 0..3 {
        assert_eq!(socket.reply().await.status, 202);
    }
    let events = relay.backend.events();
    assert!(events.len() == 3 && events.iter().all(|event| &event.body[..] == b"hi"));
    assert!(events.iter().all(|event| event.query.as_deref() == Some(b"q={\"a\"}")));
}

/// S9: whoever writes all of a large body before he reads gets the refusal that came long before its end: what he still writes is
/// read and dropped, for a socket that is closed with unread bytes is reset, and its answer with it.
#[tokio::test]
async fn a_refusal_reaches_who_is_still_writing() {
    let relay = Relay::start().await;
    // More than the buffers of both ends take.
    let whole = vec![b'x'; 12 << 20];
    let declared =
        request("POST /webhook", "", "").replace("Content-Length: 0", &format!("Content-Length: {}", whole.len()));
    let chunked =
        request("POST /webhook/nope", "Transfer-Encoding: chunked\r\n", "").replace("Content-Length: 0\r\n", "");
    let chunk = [format!("{:x}\r\n", whole.len()).as_bytes(), &whole].concat();
    for (head, body, status) in [(declared, &whole, 413), (chunked, &chunk, 404)] {
        let mut socket = relay.connect().await;
        socket.stream.write_all(head.as_bytes()).await.unwrap();
        let written = socket.stream.write_all(body).await;
        assert!(written.is_ok(), "{status}: {written:?}");
        let reply = socket.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (status, Some("close")));
        assert!(socket.is_closed().await);
    }
    assert!(relay.backend.events().is_empty());
}

/// S9: nor does a peer that goes on without an end hold the connection: what is dropped is bounded in time, and gives way.
#[tokio::test]
async fn whoever_writes_on_behind_a_refusal_gives_way() {
    let relay = Relay::with(|settings| settings.connections = Bounds { reserve: 0, ..Bounds::of(1) }).await;
    let mut endless = relay.connect().await;
    let head = request("POST /webhook", "", "").replace("Content-Length: 0", "Content-Length: 1000000000");
    endless.send(head).await;
    assert_eq!(endless.reply().await.status, 413);
    let writes = async {
        let piece = vec![b'x'; 64 * 1024];
        while endless.stream.write_all(&piece).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let asks = async { assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202) };
    tokio::time::timeout(STUCK, async { tokio::join!(writes, asks) }).await.expect("it ends for the other");
}

/// S5: whatever stands in trailers, a sender gets an answer, and never an event that was not whole.
#[tokio::test]
async fn trailers_of_every_kind_are_answered() {
    let relay = Relay::start().await;
    for (trailers, status) in [
        ("X: a\r\n".repeat(100), 202),
        ("X: a\r\n".repeat(101), 400),
        ("X: a\r\n".repeat(600), 400),
        (format!("X: {}\r\n", "a".repeat(9_000)), 400),
        ("no colon\r\n".into(), 400),
        (": no name\r\n".into(), 400),
        (" X: folded\r\n".into(), 400),
        ("X : a\r\n".into(), 400),
        ("X:\r\n".into(), 202),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\n".into(), 202),
    ] {
        relay.backend.forget();
        let mut socket = relay.connect().await;
        let head =
            format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n");
        socket.send(format!("{head}1\r\nx\r\n0\r\n{trailers}\r\n")).await;
        let shown = &trailers[..trailers.len().min(40)];
        assert_eq!(socket.reply().await.status, status, "{} bytes of trailers: {shown}", trailers.len());
        assert_eq!(relay.backend.events().len(), usize::from(status == 202), "{shown}");
    }
}

#[tokio::test]
async fn a_method_is_compared_as_it_is_written() {
    let relay = Relay::start().await;
    for method in ["post", "Post", "TRACE", "PROPFIND", "CONNECT"] {
        let reply = relay.ask(request(&format!("{method} /webhook"), "", "x")).await;
        assert_eq!(
            (reply.status, reply.field("allow")),
            (405, Some("GET, HEAD, POST, PUT, PATCH, DELETE")),
            "{method}"
        );
    }
    assert!(relay.backend.events().is_empty());
}

/// A sender that sees `Connection: close` does not send into a socket that is about to end.
#[tokio::test]
async fn an_answer_before_which_nothing_was_read_says_that_the_connection_ends() {
    let relay = Relay::start().await;
    for (line, framing) in [
        ("POST /webhook/nope", "Content-Length: 100000\r\n"),
        ("POST /nothing", "Content-Length: 100000\r\n"),
        ("POST /nothing", "Transfer-Encoding: chunked\r\n"),
        ("BREW /webhook", "Expect: 100-continue\r\nContent-Length: 5\r\n"),
        ("POST /webhook", "Content-Length: 100001\r\n"),
    ] {
        let mut socket = relay.connect().await;
        socket.send(format!("{line} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n{framing}\r\n")).await;
        let reply = socket.reply().await;
        assert_eq!(reply.field("connection"), Some("close"), "{line} {framing}: {reply:?}");
        assert!(socket.is_closed().await);
    }
}

#[tokio::test]
async fn http_1_0_is_answered_in_kind() {
    let relay = Relay::start().await;
    let old =
        |fields: &str| format!("POST /webhook HTTP/1.0\r\nX-API-Key: {KEY}\r\nContent-Length: 1\r\n{fields}\r\nx");
    let mut once = relay.connect().await;
    once.send(old("")).await;
    assert!(once.reply().await.head.starts_with("HTTP/1.0 202 "));
    assert!(once.is_closed().await);

    let mut kept: Socket = relay.connect().await;
    for _ in 0..2 {
        kept.send(old("Connection: keep-alive\r\n")).await;
        let reply = kept.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (202, Some("keep-alive")));
    }
}
