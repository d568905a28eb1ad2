//! The public listener behind proxies: who is believed whom he brings, under which names it is asked, below which path.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use relay_net::{
    proxies::{Field, Proxies},
    serve::Bounds,
    sites::Hosts,
    tls::{self, Identity},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Prefix, Relay, STUCK, Settings, request};
use crate::refusals::came_from;

const FORGED: &str = "POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\n";

fn trusting(networks: &[&str], field: Field) -> Arc<Proxies> {
    Arc::new(Proxies { trusted: networks.iter().map(|text| text.parse().unwrap()).collect(), field })
}

/// A relay that hears proxies on this machine.
async fn behind_proxies(change: impl FnOnce(&mut Settings)) -> Relay {
    Relay::with(|settings| {
        settings.proxies = trusting(&["127.0.0.1"], Field::XForwardedFor);
        change(settings);
    })
    .await
}

/// From where the latest refusal at the source `default` came, as it is shown.
fn refused_from(relay: &Relay) -> Option<String> {
    came_from(&relay.backend.seen.of("default")[0].origin)
}

/// S15: what a trusted proxy says is shown; each request of its connection comes from somebody else.
#[tokio::test]
async fn whom_a_trusted_proxy_names_is_who_asks() {
    let relay = behind_proxies(|_| {}).await;
    let mut socket = relay.connect().await;
    for (said, wanted) in [
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9 by proxy 127.0.0.1"),
        ("X-Forwarded-For: 1.2.3.4, 203.0.113.8\r\n", "203.0.113.8 by proxy 127.0.0.1"),
        (
            "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: ::ffff:203.0.113.7, 127.0.0.1\r\n",
            "203.0.113.7 by proxy 127.0.0.1",
        ),
        ("Forwarded: for=1.2.3.4\r\n", "proxy 127.0.0.1"),
        ("", "proxy 127.0.0.1"),
    ] {
        socket.send(format!("{FORGED}{said}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(socket.reply().await.status, 401);
        assert_eq!(refused_from(&relay).as_deref(), Some(wanted), "{said}");
    }
    relay.ask("GET /nothing HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n").await;
    assert_eq!(came_from(&relay.backend.seen.missed()[0].origin).as_deref(), Some("203.0.113.9 by proxy 127.0.0.1"));
}

/// S15
#[tokio::test]
async fn nobody_else_is_believed() {
    let relay = Relay::among_strangers(|settings| {
        settings.proxies = trusting(&["127.0.0.0/8", "10.0.0.0/8"], Field::XForwardedFor);
    })
    .await;
    let said = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n";
    assert_eq!(relay.ask(format!("{FORGED}{said}Content-Length: 0\r\n\r\n")).await.status, 401);
    assert_eq!(refused_from(&relay).as_deref(), Some("192.0.2.0"));
}

/// S36: a trusted proxy on another machine has no share that its senders could use up.
#[tokio::test]
async fn a_trusted_proxy_is_held_to_no_share() {
    let few = Bounds { address: 2, ..Bounds::of(16) };
    let relay = Relay::among(
        |_| [10, 0, 0, 1].into(),
        |settings| {
            settings.connections = few;
            settings.proxies = trusting(&["10.0.0.1"], Field::XForwardedFor);
        },
    )
    .await;
    let mut begun = Vec::new();
    for _ in 0..6 {
        let mut socket = relay.connect().await;
        let head = request("POST /webhook", "Expect: 100-continue\r\n", "x");
        socket.send(&head[..head.len() - 1]).await;
        assert!(socket.head().await.starts_with("HTTP/1.1 100 "));
        begun.push(socket);
    }
    for socket in &mut begun {
        socket.send("x").await;
        assert_eq!(socket.reply().await.status, 202);
    }
}

/// S15: with the PROXY protocol a connection is whose it says, in either version; one without is closed and nobody's.
#[tokio::test]
async fn a_connection_begins_with_the_word_of_its_proxy() {
    let relay = behind_proxies(|settings| settings.proxy_protocol = true).await;
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x12\x67\0\x50";
    for header in [&b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n"[..], binary] {
        let mut socket = relay.connect().await;
        socket.send(header).await;
        // What its sender says of others is not believed.
        socket.send(format!("{FORGED}X-Forwarded-For: 1.2.3.4\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(socket.reply().await.status, 401);
        assert_eq!(refused_from(&relay).as_deref(), Some("203.0.113.9 by proxy 127.0.0.1"));
        socket.send(request("POST /webhook", "", "x")).await;
        assert_eq!(socket.reply().await.status, 202);
    }
    let mut probe = relay.connect().await;
    probe.send("PROXY UNKNOWN\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(probe.reply().await.status, 200);
    relay.backend.refusals();
    let mut without = relay.connect().await;
    without.send(request("POST /webhook", "", "x")).await;
    assert!(without.is_closed().await);
    assert_eq!(relay.backend.refusals(), [("unknown".to_owned(), "no_proxy_header")]);
    let mut looks = relay.connect().await;
    looks.stream.shutdown().await.unwrap();
    assert!(looks.is_closed().await);
    assert!(relay.backend.refusals().is_empty(), "whoever looks whether the port is open");
    assert_eq!(relay.backend.events().len(), 2);
}

/// S15: the word of anybody else is not heard.
#[tokio::test]
async fn strangers_have_no_say_in_the_proxy_protocol() {
    let relay = Relay::among_strangers(|settings| {
        settings.proxies = trusting(&["127.0.0.1"], Field::XForwardedFor);
        settings.proxy_protocol = true;
    })
    .await;
    let mut stranger = relay.connect().await;
    stranger.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n").await;
    stranger.send(request("POST /webhook", "", "x")).await;
    assert!(stranger.is_closed().await);
    assert!(relay.backend.events().is_empty());
}

/// S9, I22: whose proxy says nothing gives way, has its time, and holds up no stop.
#[tokio::test]
async fn who_is_not_introduced_gives_way() {
    let relay = behind_proxies(|settings| {
        settings.proxy_protocol = true;
        settings.connections = Bounds::of(1);
    })
    .await;
    let mut silent = relay.connect().await;
    silent.send("PROXY TCP4 203").await;
    let whole = format!("PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n{}", request("POST /webhook", "", "x"));
    assert_eq!(relay.ask(&whole).await.status, 202);
    assert!(silent.is_closed().await);

    let relay = behind_proxies(|settings| {
        settings.proxy_protocol = true;
        settings.patience.handshake = Duration::from_millis(50);
    })
    .await;
    let mut slow = relay.connect().await;
    slow.send("PROXY TCP4 203").await;
    assert!(slow.is_closed().await);

    let relay = behind_proxies(|settings| settings.proxy_protocol = true).await;
    let mut stuck = relay.connect().await;
    stuck.send("PROXY TCP4 203").await;
    assert_eq!(relay.ask(&whole).await.status, 202);
    relay.stop.cancel();
    assert!(stuck.is_closed().await);
    timeout(Duration::from_secs(5), relay.served).await.expect("the listener ends").unwrap();
}

/// S36: whom a proxy brings has his own share of the connections, and hears so.
#[tokio::test]
async fn whom_a_proxy_brings_has_a_share() {
    let relay = behind_proxies(|settings| {
        settings.proxy_protocol = true;
        settings.connections = Bounds { address: 1, ..Bounds::of(16) };
    })
    .await;
    let whole = request("POST /webhook", "Expect: 100-continue\r\n", "x");
    let bring = |last: u8| format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 1 2\r\n{}", &whole[..whole.len() - 1]);
    let mut first = relay.connect().await;
    first.send(bring(1)).await;
    assert!(first.head().await.starts_with("HTTP/1.1 100 "));
    let mut second = relay.connect().await;
    second.send(bring(1)).await;
    let refused = second.reply().await;
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("store_unavailable")));
    let mut other = relay.connect().await;
    other.send(bring(2)).await;
    assert!(other.head().await.starts_with("HTTP/1.1 100 "));
    first.send("x").await;
    assert_eq!(first.reply().await.status, 202);
}

/// S9: what a trusted proxy on this machine asks for itself, as for its health checks, has the places that are kept for this machine;
/// whom it brings has not.
#[tokio::test]
async fn a_probe_of_this_machine_has_the_reserve_beside_trusted_proxies() {
    for protocol in [false, true] {
        let bounds = Bounds { reserve: 2, address: 8, ..Bounds::of(3) };
        let relay = behind_proxies(|settings| {
            settings.connections = bounds;
            settings.proxy_protocol = protocol;
        })
        .await;
        let (brought, itself) =
            if protocol { ("PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n", "PROXY UNKNOWN\r\n") } else { ("", "") };
        let named = if protocol { "" } else { "X-Forwarded-For: 203.0.113.9\r\n" };
        let whole = request("POST /webhook", &format!("{named}Expect: 100-continue\r\n"), "1");
        let (head, body) = whole.split_at(whole.len() - 1);
        let mut first = relay.connect().await;
        first.send(format!("{brought}{head}")).await;
        assert!(first.head().await.starts_with("HTTP/1.1 100 "));
        let refused = relay.ask(format!("{brought}{}", request("POST /webhook", named, "2"))).await;
        assert_eq!(refused.status, 503, "every place but the reserve is at work");
        let probe = format!("{itself}GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(relay.ask(probe).await.status, 200);
        first.send(body).await;
        assert_eq!(first.reply().await.status, 202);
    }
}

/// S30: the word of the proxy comes before TLS.
#[tokio::test]
async fn the_proxy_speaks_before_tls() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
    let relay = behind_proxies(|settings| {
        settings.proxy_protocol = true;
        settings.tls = Some(tls::Server::new(&identity, &[]).unwrap());
    })
    .await;
    let connector = TlsConnector::from(tls::trusting(&[certificate.der().clone()]).unwrap());
    let mut socket = TcpStream::connect(relay.address).await.unwrap();
    socket.write_all(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n").await.unwrap();
    let mut socket = connector.connect("relay.test".try_into().unwrap(), socket).await.unwrap();
    socket.write_all(format!("{FORGED}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(STUCK, socket.read_to_string(&mut said)).await.expect("it is answered").unwrap();
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert_eq!(refused_from(&relay).as_deref(), Some("2001:db8::7 by proxy 127.0.0.1"));
}

/// S7: a relay that has names is asked under these alone; probes come by address.
#[tokio::test]
async fn other_hosts_are_answered_421() {
    let relay = Relay::with(|settings| settings.allowed_hosts = Hosts::new(&["relay.test".to_owned()])).await;
    let ask = |line: &str, host: &str| request(line, "", "x").replace("Host: a", &format!("Host: {host}"));
    for host in ["relay.test", "Relay.Test.:8443"] {
        assert_eq!(relay.ask(ask("POST /webhook", host)).await.status, 202, "{host}");
    }
    let mut socket = relay.connect().await;
    for line in ["POST /webhook", "GET /connect", "GET /nothing"] {
        socket.send(ask(line, "evil.test")).await;
        let refused = socket.reply().await;
        assert_eq!((refused.status, refused.code().as_deref()), (421, Some("misdirected")), "{line}");
    }
    assert_eq!(relay.ask("POST /webhook HTTP/1.0\r\n\r\n").await.status, 421, "HTTP/1.0 names none");
    assert_eq!(relay.ask("GET /livez HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n").await.status, 200);
    let missed = &relay.backend.seen.missed()[0];
    assert_eq!((missed.path.as_str(), missed.status), ("/webhook", 421));
    assert_eq!(relay.backend.events().len(), 2);
}

/// A proxy may keep the path of `PUBLIC_URL` or take it away: what is stored is the same, and so is the URL that was signed.
#[tokio::test]
async fn the_path_of_public_url_may_be_kept_or_taken_away() {
    let relay = Relay::with(|settings| {
        settings.public_url = Some("https://relay.test/hooks".to_owned());
        settings.prefix = Prefix::of(settings.public_url.as_deref());
    })
    .await;
    for path in ["/hooks/webhook/empty/a%2Fb//c?q=%31&<\u{e9}>", "/webhook/empty/a%2Fb//c?q=%31&<\u{e9}>"] {
        assert_eq!(relay.ask(request(&format!("POST {path}"), "", "x")).await.status, 202, "{path}");
    }
    let events = relay.backend.events();
    assert_eq!((&events[0].path, &events[0].query), (&events[1].path, &events[1].query));
    assert_eq!(events[0].path, "/webhook/empty/a%2Fb//c");
    let mut joined = relay.connect().await;
    joined.send("GET /hooks/connect HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert!(joined.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(relay.ask(request("POST /hooks", "", "x")).await.status, 404);
}

/// S35, S36: who may not come, and who comes too often, is told so before his body or his proof is looked at; what he asks beyond
/// takes nothing from others.
#[tokio::test]
async fn a_source_is_closed_to_some_addresses_and_bounded_for_the_others() {
    let relay = behind_proxies(|_| {}).await;
    let ask = |from: &str, key: &str, fields: &str| {
        format!(
            "POST /webhook/bounded HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\nX-API-Key: {key}\r\n{fields}\r\n"
        )
    };
    let large = "Expect: 100-continue\r\nContent-Length: 90000\r\n";
    let told = async |from: &str, fields: &str| {
        let reply = relay.ask(ask(from, super::KEY, fields)).await;
        let wait = reply.field("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
        (
            reply.status,
            reply.code().unwrap_or_default(),
            wait,
            relay.backend.refusals().first().map(|refused| refused.1),
        )
    };
    for from in ["203.0.113.9", "192.0.2.66", "::ffff:203.0.113.9", "2001:db8::1"] {
        let refused = (403, "address_refused".to_owned(), None, Some("address_refused"));
        assert_eq!(told(from, large).await, refused, "{from}");
    }
    // Nobody knows more of him than his address.
    assert_eq!(relay.ask(ask("192.0.2.1", "wrong", large)).await.status, 401);
    let taken = "Content-Length: 1\r\nConnection: close\r\n\r\nx";
    assert_eq!(told("192.0.2.1", taken).await.0, 202);
    relay.backend.refusals();
    for _ in 0..3 {
        let (status, code, wait, reason) = told("192.0.2.1", large).await;
        assert_eq!((status, code.as_str(), reason), (429, "rate_limited", Some("address_rate_limited")));
        assert!((1_700..=1_800).contains(&wait.unwrap()), "{wait:?}");
    }
    // Who shows no proof uses up nothing of what all have together.
    for last in 10..20 {
        assert_eq!(relay.ask(ask(&format!("192.0.2.{last}"), "wrong", taken)).await.status, 401);
    }
    relay.backend.refusals();
    for from in ["192.0.2.2", "192.0.2.3", "192.0.2.5"] {
        assert_eq!(told(from, taken).await.0, 202, "{from}");
    }
    let (status, code, wait, reason) = told("192.0.2.4", large).await;
    assert_eq!((status, code.as_str(), reason), (429, "rate_limited", Some("rate_limited")));
    assert!((800..=900).contains(&wait.unwrap()), "{wait:?}");
    let last = &relay.backend.seen.of("bounded")[0];
    assert_eq!((last.check, last.origin.ip()), ("rate_limited", Some("192.0.2.4".parse().unwrap())));
    assert_eq!(relay.backend.events().len(), 4);
}

/// S23: who guesses a source's key or password is not looked at any more; who has the right one, or a generated one, is.
#[tokio::test]
async fn guesses_at_a_source_are_few() {
    let relay = behind_proxies(|_| {}).await;
    let told = async |from: &str, path: &str, proof: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n{proof}\r\n");
        relay.ask(format!("{head}Content-Length: 1\r\nConnection: close\r\n\r\nx")).await
    };
    let right = format!("X-API-Key: {}", super::KEY);
    let generated = format!("X-API-Key: crk_{}", "0a".repeat(32));
    assert_eq!(told("192.0.2.2", "/webhook", &right).await.status, 202);
    for (path, wrong) in [
        ("/webhook", "X-API-Key: guess"),
        ("/webhook/basic", "Authorization: Basic Y3JtOmd1ZXNz"),
        ("/webhook/token", "X-Telegram-Bot-Api-Secret-Token: guess"),
        ("/webhook/query?access_token=guess", "X-None: 0"),
    ] {
        for _ in 0..5 {
            assert_eq!(told("192.0.2.1", path, wrong).await.status, 401, "{path}");
        }
        let refused = told("192.0.2.1", path, wrong).await;
        assert_eq!((refused.status, refused.code().as_deref()), (429, Some("rate_limited")));
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=12).contains(&wait), "{wait}");
    }
    assert_eq!(told("192.0.2.1", "/webhook", &right).await.status, 429, "it could be a guess");
    assert_eq!(told("192.0.2.1", "/webhook", &generated).await.status, 401, "that could not");
    assert_eq!(told("192.0.2.1", "/webhook/empty", &right).await.status, 202, "another source");
    assert_eq!(told("192.0.2.2", "/webhook", &right).await.status, 202, "another address");
    assert_eq!(relay.backend.seen.of("basic")[0].check, "too_many_guesses");
}
