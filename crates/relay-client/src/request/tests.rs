use proptest::prelude::*;
use relay_core::{
    id::{DeliveryId, EventId},
    time::Wall,
    trace::TraceContext,
};
use relay_providers::{Verdict, Verifier};

use super::*;

/// Six hours after the webhook was received.
const NOW: Wall = Wall::from_micros(1_700_021_600_000_000);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn forward(rest: &'static str, query: Option<&'static str>) -> Forward {
    Forward {
        delivery: DeliveryId::from_u128(2),
        event: EventId::from_u128(1),
        destination: "crm".parse().unwrap(),
        source: "stripe".parse().unwrap(),
        attempt: 3,
        received_at: Wall::from_micros(1_700_000_000_000_250),
        method: Bytes::from_static(b"POST"),
        rest: Bytes::from_static(rest.as_bytes()),
        query: query.map(|query| Bytes::from_static(query.as_bytes())),
        headers: Vec::new(),
        original_url: Bytes::new(),
        replay: false,
        body: Bytes::from_static(b"{}"),
        body_sha256: [0; 32],
        trace: None,
    }
}

fn base(url: &str) -> Base {
    Base::of(&destination(url)).unwrap()
}

fn destination(url: &str) -> Destination {
    Destination {
        concurrency: 1,
        forward_timeout: std::time::Duration::from_secs(1),
        ..Destination::new("crm".parse().unwrap(), url.parse().unwrap())
    }
}

fn put(url: &str, rest: &'static str, query: Option<&'static str>) -> Result<String, RequestError> {
    base(url).request(&forward(rest, query), NOW).map(|request| String::from_utf8(line(&request)).unwrap())
}

/// The target that goes out.
fn line(request: &Request<Full<Bytes>>) -> Vec<u8> {
    let raw = request.extensions().get::<RawTarget>();
    raw.map_or_else(|| request.uri().to_string().into_bytes(), |raw| raw.0.to_vec())
}

/// I3: path and raw query reach the target as they were received, behind its own.
#[test]
fn path_and_query_are_put_behind_those_of_the_target() {
    let check = |base: &str, rest, query, want: &str| assert_eq!(put(base, rest, query).as_deref(), Ok(want));
    check("http://h/hook?k=v", "/a%2Fb", Some("x=1"), "/hook/a%2Fb?k=v&x=1");
    check("http://h", "", None, "/");
    check("http://h/hook/", "", None, "/hook/");
    check("http://h/hook/", "/a", None, "/hook/a");
    check("http://h", "/a//b/", Some(""), "/a//b/?");
    check("http://h/?k=v", "", Some(""), "/?k=v");
    check("http://h", "/", Some("a=%20&a=+&&=?/"), "/?a=%20&a=+&&=?/");
    check("http://h/hook?k=v", "/a", Some("q={\"a\":1}&x=<b>"), "/hook/a?k=v&q={\"a\":1}&x=<b>");
    check("http://user:secret@h:8080/x", "/@evil:80/", None, "/x/@evil:80/");
}

/// S18: a server cannot steer a client to another place.
#[test]
fn what_could_leave_the_targets_path_is_refused() {
    for rest in [
        "/..",
        "/a/../b",
        "/%2e%2E/",
        "/.%2e",
        "/.",
        "/a/%2e",
        "/a\\..\\b",
        "/..%2fx",
        "/..;/x",
        "/%2e%2e%5cx",
        "/..%252fx",
    ] {
        assert_eq!(put("http://h/hook", rest, None), Err(RequestError::DotSegments), "{rest}");
    }
    for rest in ["evil", "@evil/", "/a b", "/a\r\nHost: evil", "/a#b"] {
        assert_eq!(put("http://h/hook", rest, None), Err(RequestError::Target), "{rest}");
    }
    for query in ["a b", "a\r\nHost: evil", "a#b", "\"#", "a\u{7f}"] {
        assert_eq!(put("http://h/hook", "", Some(query)), Err(RequestError::Target), "{query}");
    }
    for method in ["CONNECT", "TRACE", "PRI", "GET /", ""] {
        let forward = Forward { method: Bytes::from_static(method.as_bytes()), ..forward("", None) };
        assert_eq!(base("http://h").request(&forward, NOW).unwrap_err(), RequestError::Method, "{method}");
    }
    assert_eq!(put("http://h/hook", "//evil.example/x", None).as_deref(), Ok("/hook//evil.example/x"));
    assert!(put("http://h", "/...", None).is_ok());
}

proptest! {
    /// I3, S18: whatever path and query a server can have taken in is sent on unchanged, behind the target's own, or
    /// refused for its dot segments; nothing else is.
    #[test]
    fn every_path_and_query_that_can_be_taken_in_goes_on_unchanged(
        rest in prop_oneof!["(/[^\\x00-\\x20#?\\x7f]{0,8}){0,4}", "(/(\\.|%2e|%2E|\\\\|a|%|%25|//|@|:|é){0,4}){0,4}"],
        query in prop::option::of(prop::collection::vec(any::<u8>().prop_filter("in a query", |byte| target::is_query(&[*byte])), 0..30)),
    ) {
        let whole = format!("/webhook/s{rest}");
        let taken: Result<PathAndQuery, _> = whole.parse();
        prop_assume!(taken.is_ok_and(|taken| taken.as_str() == whole));
        let is_refused = target::has_dot_segment(rest.as_bytes());
        for (url, path, own) in [("http://h", "", None), ("http://h/hook/", "/hook", Some("")), ("http://h/a?k", "/a", Some("k"))] {
            let mut forward = forward("", None);
            forward.rest = rest.clone().into();
            forward.query = query.clone().map(Bytes::from);
            let got = base(url).request(&forward, NOW).map(|request| line(&request));
            if is_refused {
                prop_assert_eq!(got, Err(RequestError::DotSegments));
                continue;
            }
            let path = if rest.is_empty() && own == Some("") { "/hook/".to_owned() } else { format!("{path}{rest}") };
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let own = own.filter(|own| !own.is_empty());
            let own = own.map(str::as_bytes);
            let queries: Vec<&[u8]> = own.into_iter().chain(query.as_deref().filter(|query| own.is_none() || !query.is_empty())).collect();
            let want = if queries.is_empty() { path.into_bytes() } else { [path.as_bytes(), b"?", &queries.join(&b'&')].concat() };
            prop_assert_eq!(got, Ok(want));
        }
    }
}

/// I3, S14: values byte for byte, repetitions in their order; hop-by-hop fields and spoofed `Relay-*` do not pass.
#[test]
fn headers_are_those_received_and_the_relays_own() {
    let mut forward = forward("", None);
    let field =
        |name: &'static str, value: &'static [u8]| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value));
    forward.headers = vec![
        field("x-a", b"1"),
        field("host", b"evil"),
        field("x-b", b"\xff\t z"),
        field("x-a", b"2"),
        field("connection", b"close"),
        field("keep-alive", b"1"),
        field("expect", b"100-continue"),
        field("trailer", b"x-t"),
        field("transfer-encoding", b"chunked"),
        field("content-length", b"99"),
        field("relay-attempt", b"77"),
    ];
    forward.original_url = Bytes::from_static(b"https://r.example.com/webhook/stripe");
    forward.replay = true;
    let request = base("http://u:p@h:81/").request(&forward, NOW).unwrap();
    let got =
        |name: &str| -> Vec<&[u8]> { request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect() };
    assert_eq!(got("x-a"), [b"1".as_slice(), b"2"]);
    assert_eq!(got("x-b"), [b"\xff\t z".as_slice()]);
    assert_eq!(got("host"), [b"h:81".as_slice()]);
    assert_eq!(got("relay-attempt"), [b"3".as_slice()]);
    assert_eq!(got("relay-received-at"), [b"2023-11-14T22:13:20.000250Z".as_slice()]);
    assert_eq!(got("relay-original-url"), [b"https://r.example.com/webhook/stripe".as_slice()]);
    assert_eq!(got("relay-replay"), [b"true".as_slice()]);
    assert_eq!(request.headers().len(), 11);
}

/// The request as a target with the secret sees it that checks it at `at`.
fn judged(request: &Request<Full<Bytes>>, body: &[u8], at: Wall) -> Verdict {
    let parameters = [("secret".to_owned(), SECRET.to_owned())];
    let verifier = Verifier::new("standard-webhooks", &parameters).unwrap();
    let headers: Vec<(Bytes, Bytes)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec().into(), value.as_bytes().to_vec().into()))
        .collect();
    let (path, method) = (request.uri().path().as_bytes(), request.method().as_str());
    let query = request.uri().query().map(str::as_bytes);
    verifier.judge(&relay_providers::Request {
        method,
        path,
        query,
        headers: &headers,
        body,
        url: None,
        now: at,
        fetched: &[],
    })
}

fn resigning() -> Base {
    Base::of(&Destination { resign: Some(Resigner::new(SECRET).unwrap()), ..destination("http://h/hook") }).unwrap()
}

/// S29: a signature of the moment of the forward, over the body as it is, under the event's id.
#[test]
fn a_forward_is_signed_as_of_now_under_the_events_id() {
    let mut forward = forward("/a", Some("x=1"));
    forward.body = Bytes::from_static(b"{\"name\": \"J\\u00fcrgen\" ,\"n\":1.0}\r\n");
    let request = resigning().request(&forward, NOW).unwrap();
    let got = |name: &str| request.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(got("webhook-id"), [forward.event.to_string()]);
    assert_eq!(got("webhook-timestamp"), ["1700021600"]);
    assert_eq!(got("webhook-signature").len(), 1);
    let genuine = |verdict: Verdict| matches!(verdict, Verdict::Genuine(_));
    assert!(genuine(judged(&request, &forward.body, NOW)));
    assert!(!genuine(judged(&request, b"{}", NOW)), "another body");
    assert!(!genuine(judged(&request, &forward.body, forward.received_at)), "it is of the forward, not of the receipt");
}

/// S29: what came in under these names is replaced, but for the id, which stays over all tries.
#[test]
fn re_signing_replaces_the_senders_fields_and_keeps_its_id() {
    let mut forward = forward("", None);
    let field =
        |name: &'static str, value: &'static [u8]| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value));
    forward.headers = vec![
        field("webhook-id", b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        field("webhook-timestamp", b"1700000000"),
        field("webhook-signature", b"v1,b2xk v1a,b2xk"),
        field("webhook-signature", b"v1,second"),
        field("webhook-odd", b"x"),
        field("stripe-signature", b"t=1,v1=ff"),
    ];
    let mut signatures = Vec::new();
    for (attempt, now) in [(1, NOW), (2, NOW + std::time::Duration::from_mins(7))] {
        forward.attempt = attempt;
        let request = resigning().request(&forward, now).unwrap();
        let got = |name: &str| request.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(got("webhook-id"), ["msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"]);
        assert_eq!(got("webhook-timestamp"), [(now.as_micros() / 1_000_000).to_string()]);
        assert_eq!((got("webhook-signature").len(), got("webhook-odd").len()), (1, 0));
        assert_eq!(got("stripe-signature"), ["t=1,v1=ff"], "other providers' fields are none of its business");
        assert!(matches!(judged(&request, b"{}", now), Verdict::Genuine(_)));
        signatures.push(got("webhook-signature").concat());
    }
    assert_ne!(signatures[0], signatures[1]);

    for odd in [&b""[..], b"two words", b"\xff", &[b'x'; 256]] {
        forward.headers = vec![(Bytes::from_static(b"webhook-id"), Bytes::copy_from_slice(odd))];
        let request = resigning().request(&forward, NOW).unwrap();
        assert_eq!(request.headers()["webhook-id"], forward.event.to_string(), "{odd:?} is no id");
    }
}

/// I3: without the secret a client leaves `webhook-*` alone.
#[test]
fn without_a_secret_nothing_is_signed_again() {
    let mut forward = forward("", None);
    forward.headers = vec![(Bytes::from_static(b"webhook-timestamp"), Bytes::from_static(b"1"))];
    let request = base("http://h").request(&forward, NOW).unwrap();
    assert_eq!(request.headers()["webhook-timestamp"], "1");
    assert!(!request.headers().contains_key("webhook-signature"));
}

/// Fields of the configuration stand in place of the sender's.
#[test]
fn configured_fields_replace_those_of_the_sender() {
    let mut destination = destination("http://h");
    destination.headers =
        vec![crate::config::field("X-Token", "ours").unwrap(), crate::config::basic("u", "p").unwrap()];
    let mut forward = forward("", None);
    forward.headers = [("x-token", "theirs"), ("authorization", "Bearer theirs"), ("x-other", "theirs")]
        .map(|(name, value)| (Bytes::from(name), Bytes::from(value)))
        .to_vec();
    let request = Base::of(&destination).unwrap().request(&forward, NOW).unwrap();
    let all = |name: &str| {
        request.headers().get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        (all("x-token"), all("authorization"), all("x-other")),
        (vec!["ours"], vec!["Basic dTpw"], vec!["theirs"])
    );
}

/// S18: no method that means a connection, an echo or another protocol.
#[test]
fn methods_that_are_no_requests_are_refused() {
    for (method, is_taken) in
        [("POST", true), ("PROPFIND", true), ("CONNECT", false), ("TRACE", false), ("PRI", false), ("", false)]
    {
        let forward = Forward { method: Bytes::from(method), ..forward("", None) };
        assert_eq!(base("http://h").request(&forward, NOW).is_ok(), is_taken, "{method}");
    }
}

/// I3: what a sender says of its trace goes on as it came. A target that wants to hears of its try instead, where that is traced,
/// unless its configuration says something else.
#[test]
fn the_parent_of_a_trace_is_the_sender_until_a_target_wants_the_try() {
    const SENDERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let senders = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    let bytes = |span| [&senders[..], &[span; 8], &[1]].concat();
    let came = Forward {
        headers: vec![
            (Bytes::from_static(b"traceparent"), Bytes::from_static(SENDERS.as_bytes())),
            (Bytes::from_static(b"tracestate"), Bytes::from_static(b"vendor=1")),
        ],
        ..forward("", None)
    };
    let traced = Forward { trace: TraceContext::from_bytes(&bytes(7)), ..came.clone() };
    let (plain, wants) = (destination("http://h/"), Destination { trace: true, ..destination("http://h/") });
    let says = Destination { headers: vec![crate::config::field("traceparent", "own").unwrap()], ..wants.clone() };
    let of_try = traced.trace.unwrap().to_string();
    for (to, forward, want) in [
        (&plain, &traced, SENDERS),
        (&wants, &came, SENDERS),
        (&wants, &traced, of_try.as_str()),
        (&says, &traced, "own"),
    ] {
        let request = Base::of(to).unwrap().request(forward, NOW).unwrap();
        let values: Vec<&HeaderValue> = request.headers().get_all("traceparent").iter().collect();
        assert_eq!(values, [want]);
        assert_eq!(request.headers()["tracestate"], "vendor=1");
    }
    assert_eq!(of_try, format!("00-{}-{}-01", &SENDERS[3..35], "07".repeat(8)));
}

/// I3: where the relay begins a trace, nothing goes on that was said of another one.
#[test]
fn the_state_of_another_trace_does_not_go_on_beside_a_new_one() {
    const SENDERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let to = Destination { trace: true, ..destination("http://h/") };
    let of = |trace: u8| TraceContext::from_bytes(&[&[trace; 16][..], &[7; 8], &[1]].concat());
    let own = TraceContext::from_bytes(
        &[&0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()[..], &[7; 8], &[1]].concat(),
    );
    for (parents, trace, goes_on) in [
        (&[SENDERS][..], own, true),
        (&[SENDERS], None, true),
        (&[SENDERS], of(1), false),
        (&["malformed"], of(1), false),
        (&[SENDERS, SENDERS], own, false),
        (&[], of(1), false),
    ] {
        let fields = parents.iter().map(|parent| ("traceparent", *parent)).chain([("tracestate", "vendor=1")]);
        let headers = fields.map(|(name, value)| (Bytes::from(name), Bytes::copy_from_slice(value.as_bytes())));
        let forward = Forward { headers: headers.collect(), trace, ..forward("", None) };
        let request = Base::of(&to).unwrap().request(&forward, NOW).unwrap();
        assert_eq!(request.headers().contains_key("tracestate"), goes_on, "{parents:?} {trace:?}");
        assert!(trace.is_none() || request.headers().get_all("traceparent").iter().count() == 1);
    }
}
