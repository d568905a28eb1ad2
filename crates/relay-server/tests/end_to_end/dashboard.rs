//! The dashboard as browsers meet it: who is let in, what he gets, and when that ends.

use std::{sync::Arc, time::Duration};

use relay_core::delivery::{answer::Answer, outcome::Outcome};
use relay_server::Config;
use relay_store::memory::MemoryStore;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    bench::{ADMIN_TOKEN, API_KEY, Bench, RELAY_TOKEN},
    client::{Target, answers, join},
    http::{self, Reply},
};

const PASSWORD: &str = "correct horse battery";
/// In the body, a header's value and the query of a webhook: what a viewer must not get a byte of.
const CANARY: &str = "canary-4711";
/// The value of a field that is a secret by its name.
const HIDDEN: &str = "session=hidden-from-whoever-does-not-ask";

/// A browser at the admin listener, by its loopback address.
struct Browser {
    addr: std::net::SocketAddr,
    cookie: Option<String>,
}

impl Browser {
    fn new(bench: &Bench) -> Self {
        Self { addr: bench.admin, cookie: None }
    }

    fn head(&self, method: &str, path: &str, fields: &str) -> String {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{cookie}{fields}", self.addr)
    }

    async fn get(&self, path: &str) -> Reply {
        self.with(path, "").await
    }

    async fn with(&self, path: &str, fields: &str) -> Reply {
        let head = self.head("GET", path, fields);
        http::raw(self.addr, format!("{head}Connection: close\r\n\r\n").as_bytes()).await
    }

    /// As the module of a page sends it.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send_with(method, path, &format!("Origin: http://{}\r\n", self.addr), body).await
    }

    async fn send_with(&self, method: &str, path: &str, fields: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = self.head(method, path, fields);
        let head = format!(
            "{head}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        http::raw(self.addr, [head.as_bytes(), body.as_bytes()].concat().as_slice()).await
    }

    /// Keeps the cookie of an answer.
    fn keep(&mut self, reply: &Reply) {
        let set = field(reply, "set-cookie").unwrap_or_default();
        self.cookie = set.split(';').next().map(str::to_owned);
    }

    async fn sign_in(bench: &Bench, name: &str) -> Self {
        let mut browser = Self::new(bench);
        let reply = browser.send("POST", "/api/v1/session", &json!({"name": name, "password": PASSWORD})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        browser.keep(&reply);
        browser
    }
}

fn field(reply: &Reply, name: &str) -> Option<String> {
    let mut fields = reply.head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(called, _)| called.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

async fn make_user(bench: &Bench, name: &str, role: &str) {
    let made = bench.command("POST", "/api/v1/users", json!({"name": name, "role": role, "password": PASSWORD})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(!made.text().contains("argon2id") && made.json().get("link").is_none());
}

async fn link(bench: &Bench) -> String {
    let made = bench.command("POST", "/api/v1/session/link", json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["link"].as_str().unwrap().to_owned()
}

/// S24: a link of whoever runs the machine opens the dashboard, once; what comes of it is a cookie that no script reads.
#[tokio::test]
async fn a_link_opens_the_dashboard_once() {
    let bench = Bench::start().await;
    let link = link(&bench).await;
    let secret = link.strip_prefix(&format!("http://{}/login#", bench.admin)).expect("it leads to the admin listener");
    let mut browser = Browser::new(&bench);
    let away = browser.get("/events?source=default").await;
    let login = "/login?next=%2Fevents%3Fsource%3Ddefault";
    assert_eq!((away.status, field(&away, "location").as_deref()), (303, Some(login)));
    assert_eq!(browser.get("/api/v1/status").await.status, 401);
    assert_eq!(browser.with("/", "Relay-Fragment: live\r\n").await.status, 401);

    let entered = browser.send("POST", "/api/v1/session", &json!({"link": secret})).await;
    assert_eq!((entered.status, &entered.json()["who"]), (200, &json!("cli")), "{}", entered.text());
    let cookie = field(&entered, "set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("relay-session-{}=crs_", bench.admin.port())), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    browser.keep(&entered);
    let page = browser.get("/").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Nothing is lost"), "{}", page.text());
    assert_eq!(browser.get("/api/v1/me").await.json()["role"], "admin");

    for over in [secret, "crl_0000", &format!("crl_{}", "0".repeat(64))] {
        let again = Browser::new(&bench).send("POST", "/api/v1/session", &json!({"link": over})).await;
        assert_eq!(again.status, 401, "{}", again.text());
        assert!(again.text().contains("used already"), "{}", again.text());
    }
    assert_eq!(browser.send("DELETE", "/api/v1/session", &json!(null)).await.status, 204);
    assert_eq!(browser.get("/").await.status, 303);
    let stored = bench.ask("/api/v1/audit-log?action=session").await.to_string();
    assert!(!stored.contains(secret) && stored.contains("session.begin") && stored.contains("session.end"), "{stored}");
    bench.finish().await;
}

/// S22, S23: a name that is none, one that is disabled and a wrong password are answered alike, and five a minute are looked at.
#[tokio::test]
async fn a_password_lets_in_whose_it_is() {
    let bench = Bench::start().await;
    make_user(&bench, "alice", "operator").await;
    make_user(&bench, "bob", "admin").await;
    assert_eq!(bench.command("PATCH", "/api/v1/users/bob", json!({"disabled": true})).await.status, 200);
    let alice = Browser::sign_in(&bench, "alice").await;
    assert_eq!(alice.get("/api/v1/me").await.json()["who"], "user:alice");
    let browser = Browser::new(&bench);
    let mut told = Vec::new();
    for (name, password) in
        [("alice", "wrong horse battery"), ("bob", PASSWORD), ("carol", PASSWORD), ("\u{1b}[2J", "")]
    {
        let refused = browser.send("POST", "/api/v1/session", &json!({"name": name, "password": password})).await;
        told.push((refused.status, refused.text()));
        assert_eq!(field(&refused, "set-cookie"), None);
    }
    assert!(told.iter().all(|reply| *reply == told[0]) && told[0].0 == 401, "{told:?}");
    let mut looked_at = 0;
    let wait = loop {
        let asked = json!({"name": "alice", "password": "wrong horse battery"});
        let refused = browser.send("POST", "/api/v1/session", &asked).await;
        if refused.status == 429 {
            break field(&refused, "retry-after").unwrap();
        }
        looked_at += 1;
        assert!(looked_at < 10, "{}", refused.text());
    };
    assert!(wait.parse::<u64>().unwrap() <= 13);
    let lines = bench.ask("/api/v1/audit-log?who=stranger").await;
    assert_eq!(lines["items"][0]["subject"], "user:alice", "{lines}");
    let by_alice = bench.ask("/api/v1/audit-log?who=user:alice").await;
    assert_eq!(by_alice["items"][0]["origin"]["credential"], "password");
    bench.finish().await;
}

/// S25: a cookie alone has nothing done; a link of another site leads to a page, and nothing else of it does.
#[tokio::test]
async fn pages_of_other_sites_have_nothing_done() {
    let bench = Bench::start().await;
    make_user(&bench, "alice", "admin").await;
    let alice = Browser::sign_in(&bench, "alice").await;
    let pause = "/api/v1/destinations/default/pause";
    for fields in ["", "Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let refused = alice.send_with("POST", pause, fields, &json!(null)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("foreign_site")), "{fields}");
    }
    let own = format!("Origin: http://{}\r\n", bench.admin);
    let form = format!("{own}Content-Length: 2\r\nContent-Type: text/plain\r\n");
    let head = alice.head("PATCH", "/api/v1/users/alice", &form);
    let form = http::raw(bench.admin, format!("{head}Connection: close\r\n\r\n{{}}").as_bytes()).await;
    assert_eq!(form.status, 400, "only JSON: {}", form.text());
    assert_eq!(alice.send("POST", pause, &json!(null)).await.status, 200);
    let written = bench.ask("/api/v1/audit-log?action=destination.pause").await;
    assert_eq!(written["items"][0]["who"], "user:alice", "{written:#}");

    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let stranger = Browser::new(&bench);
    let led = stranger.with("/events?q=invoice.*", link).await;
    assert_eq!(led.status, 200);
    assert!(led.text().contains("content=\"0;url=/login?next=%2Fevents%3Fq%3Dinvoice.%2A\""), "{}", led.text());
    let back = alice.get("/login?next=%2Fevents%3Fq%3Dinvoice.%2A").await;
    assert_eq!((back.status, field(&back, "location").as_deref()), (303, Some("/events?q=invoice.*")));
    for elsewhere in ["//evil.example", "https://evil.example", "/%5Cevil.example"] {
        let stays = alice.get(&format!("/login?next={elsewhere}")).await;
        assert_eq!(stays.status, 200, "{elsewhere}: {:?}", field(&stays, "location"));
    }
    let frame = link.replace("document", "iframe");
    assert_eq!(stranger.with("/events", &frame).await.status, 403);
    assert_eq!(stranger.with("/api/v1/audit-log", link).await.status, 403);
    bench.finish().await;
}

/// Who is asked over plain HTTP by another than a loopback address signs nobody in; over TLS the cookie is of this host alone.
#[tokio::test]
async fn nobody_signs_in_over_plain_http() {
    let bench = Bench::start().await;
    make_user(&bench, "alice", "viewer").await;
    let body = json!({"name": "alice", "password": PASSWORD}).to_string();
    let ask = async |origin: &str| {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let length = body.len();
        let head = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: relay\r\n{origin}Content-Type: application/json\r\nContent-Length: \
             {length}\r\nConnection: close\r\n\r\n{body}"
        );
        http::raw(bench.admin, head.as_bytes()).await
    };
    for plain in ["", "http://relay"] {
        let refused = ask(plain).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("plain HTTP"), "{}", refused.text());
    }
    let cookie = field(&ask("https://relay").await, "set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-relay-session=crs_") && cookie.ends_with("; Secure"), "{cookie}");
    let page = http::tcp(bench.admin, "GET", "/login", "", b"").await;
    assert!(page.text().contains("Nobody signs in over plain HTTP") && !page.text().contains("type=\"password\""));
    bench.finish().await;
}

/// Refuses everything, and says why in words that are a payload.
fn refusing() -> Target {
    let answers = answers(&[422]);
    Arc::new(move |forward| {
        let answer = Answer { body: Some(CANARY.into()), ..Answer::default() };
        Outcome { answer: answer.shared(), ..answers(forward) }
    })
}

/// S34: a viewer gets no byte of a payload, by whatever page or route; an operator does, which is written down.
#[tokio::test]
async fn a_viewer_sees_no_payload() {
    let bench = Bench::start().await;
    make_user(&bench, "vera", "viewer").await;
    make_user(&bench, "otto", "operator").await;
    make_user(&bench, "anna", "admin").await;
    let client = join(bench.public, RELAY_TOKEN, "default", refusing()).await;
    let path = format!("/webhook?q={CANARY}&access_token={HIDDEN}");
    let key = format!("X-API-Key: {API_KEY}\r\nX-Customer: {CANARY}\r\nCookie: {HIDDEN}\r\n");
    let stored = bench.post_to(&path, &key, format!("{{\"a\":\"{CANARY}\"}}").as_bytes()).await.json();
    let id = stored["event_id"].as_str().unwrap();
    // What it died of has a payload in it: the target's answer.
    bench.until("dead", 1).await;
    assert!(bench.ask("/api/v1/dead/groups").await.to_string().contains(CANARY), "there is something to be withheld");
    let (vera, otto) = (Browser::sign_in(&bench, "vera").await, Browser::sign_in(&bench, "otto").await);
    let delivery = bench.ask(&format!("/api/v1/events/{id}")).await["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let shown = [
        "/".to_owned(),
        "/events".to_owned(),
        format!("/events?open={id}"),
        format!("/events/{id}"),
        format!("/events?open={id}&view=hex"),
        format!("/events/{id}?view=hex"),
        format!("/events/{id}?view=curl"),
        "/deliveries".to_owned(),
        "/dead".to_owned(),
        "/why/default".to_owned(),
        "/audit".to_owned(),
        "/me".to_owned(),
        "/api/v1/events".to_owned(),
        format!("/api/v1/events/{id}"),
        "/api/v1/deliveries".to_owned(),
        format!("/api/v1/deliveries/{delivery}"),
        "/api/v1/dead/summary".to_owned(),
        "/api/v1/dead/groups".to_owned(),
        "/api/v1/pulse".to_owned(),
        "/api/v1/status".to_owned(),
        format!("/events/{id}?reveal=1"),
        format!("/events/{id}?view=curl&reveal=1"),
        format!("/api/v1/events/{id}/verdict"),
        "/api/v1/trend".to_owned(),
        "/audit.csv".to_owned(),
    ];
    for path in &shown {
        let reply = vera.get(path).await;
        assert!(!reply.text().contains(HIDDEN), "{path}: {}", reply.text());
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(!reply.text().contains(CANARY) && !reply.text().contains("63616e617279"), "{path}: {}", reply.text());
    }
    for (view, status) in [("", 200), ("?view=curl", 400)] {
        let part = vera.with(&format!("/events/{id}{view}"), "Relay-Fragment: live\r\n").await;
        assert!(part.status == status && !part.text().contains(CANARY), "{view}: {} {}", part.status, part.text());
    }
    for (path, status) in [(format!("/api/v1/events/{id}/body"), 403), ("/users".to_owned(), 403)] {
        assert_eq!(vera.get(&path).await.status, status, "{path}");
    }
    // What she may not have done is not drawn, and what he may is.
    for path in ["/".to_owned(), format!("/events/{id}"), format!("/events?open={id}")] {
        let drawn =
            |page: &str| ["name=\"pause\"", "id=\"replay\"", "name=\"redrive\""].map(|part| page.contains(part));
        let (hers, his) = (vera.get(&path).await.text(), otto.get(&path).await.text());
        assert_eq!(drawn(&hers), [false; 3], "{path}");
        assert_eq!(drawn(&his), if path == "/" { [true, false, false] } else { [false, true, true] }, "{path}");
    }
    let anna = Browser::sign_in(&bench, "anna").await;
    for (browser, may) in [(&vera, [false; 3]), (&otto, [true, true, false]), (&anna, [true; 3])] {
        let page = browser.get("/dead").await.text();
        assert!(page.contains("refused, 422"), "{page}");
        let parts = ["name=\"group\"", "name=\"redrive\"", "name=\"purge\""];
        assert_eq!(parts.map(|part| page.contains(part)), may);
    }
    let event = otto.get(&format!("/events/{id}")).await.text();
    assert_eq!(event.matches(CANARY).count(), 5, "body, header, query, the answers of two tries: {event}");
    assert!(!event.contains(HIDDEN) && event.contains("masked") && event.contains("reveal=1"), "{event}");
    let command = otto.get(&format!("/events/{id}?view=curl")).await.text();
    assert!(!command.contains(HIDDEN) && command.contains("cookie: ${RELAY_EVENT_COOKIE:?}"), "{command}");
    // The API masks for him as the page does.
    let by_api = otto.get(&format!("/api/v1/events/{id}")).await.text();
    assert!(!by_api.contains(HIDDEN) && by_api.contains("x-customer") && by_api.contains(CANARY), "{by_api}");
    let reveals = bench.ask("/api/v1/audit-log?action=event.reveal").await;
    assert_eq!(reveals["items"], json!([]), "nothing was revealed yet");
    let by_api = otto.get(&format!("/api/v1/events/{id}?reveal=1")).await.text();
    assert!(by_api.contains(HIDDEN), "{by_api}");
    let by_token = bench.ask(&format!("/api/v1/events/{id}")).await.to_string();
    assert!(by_token.contains(HIDDEN), "ADMIN_TOKEN has all of it: {by_token}");
    let asked_otherwise = otto.get(&format!("/events/{id}?reveal=0")).await.text();
    assert!(!asked_otherwise.contains(HIDDEN), "{asked_otherwise}");
    for view in ["reveal=1", "view=curl&reveal=1"] {
        let revealed = otto.get(&format!("/events/{id}?{view}")).await.text();
        assert!(revealed.contains(HIDDEN), "{view}: {revealed}");
    }
    let reveals = bench.ask("/api/v1/audit-log?action=event.reveal").await;
    let items = reveals["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["who"], &items[0]["subject"]),
        (1, &json!("user:otto"), &json!(id)),
        "{reveals}"
    );
    // A key proved it, which is not kept.
    assert!(event.contains("Not judged again"), "{event}");
    // Judged is on its own page alone, and not once more for each part of it or beside a list.
    for part in [format!("/events?open={id}"), format!("/events/{id}?view=hex&from=16")] {
        assert!(!otto.get(&part).await.text().contains("Not judged again"), "{part}");
    }
    let verdict = bench.ask(&format!("/api/v1/events/{id}/verdict")).await;
    assert_eq!((&verdict["verdict"], &verdict["why"]), (&json!("unknown"), &json!("not_kept")), "{verdict}");
    let trend = bench.ask("/api/v1/trend?minutes=5").await;
    let accepted = |trend: &Value| trend["accepted"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!((trend["accepted"].as_array().unwrap().len(), accepted(&trend)), (5, 1), "{trend}");
    let table = otto.get("/audit.csv?action=event.reveal").await;
    assert_eq!(field(&table, "content-disposition").as_deref(), Some("attachment; filename=\"audit.csv\""));
    let lines = table.text();
    assert!(lines.starts_with("\"at\",\"who\"") && lines.lines().count() == 2 && lines.contains(id), "{lines}");
    // The page follows its deliveries by that part of it alone, and the command is another.
    let became = otto.with(&format!("/events/{id}"), "Relay-Fragment: live\r\n").await;
    assert!(field(&became, "relay-fragment").is_some(), "{}", became.head);
    assert!(became.text().contains(&delivery) && !became.text().contains("x-customer"), "{}", became.text());
    assert_eq!(became.text().matches(CANARY).count(), 2, "the answers of two tries: {}", became.text());
    let command = otto.with(&format!("/events/{id}?view=curl"), "Relay-Fragment: live\r\n").await.text();
    assert!(
        command.contains("id=\"command\"")
            && command.contains(&format!("--data-raw &#39;{{&quot;a&quot;:&quot;{CANARY}")),
        "{command}"
    );
    assert_eq!(otto.get(&format!("/api/v1/events/{id}/body")).await.status, 200);
    let views = bench.ask("/api/v1/audit-log?action=event.view").await;
    let items = views["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["who"], &items[0]["subject"]), (1, &json!("user:otto"), &json!(id)), "{views}");
    client.stop().await;
    bench.finish().await;
}

/// Every page by every role: who may not is told so, and who is not known is sent to where one signs in.
#[tokio::test]
async fn each_page_is_for_those_who_may_see_it() {
    let bench = Bench::start().await;
    for role in ["viewer", "operator", "admin"] {
        make_user(&bench, role, role).await;
    }
    let stranger = Browser::new(&bench);
    let mut browsers = Vec::new();
    for role in ["viewer", "operator", "admin"] {
        browsers.push((role, Browser::sign_in(&bench, role).await));
    }
    let pages = ["/", "/events", "/deliveries", "/dead", "/why", "/why/default", "/alerts", "/audit", "/me"];
    let of_setup = ["/sources", "/sources/default", "/destinations/default"];
    let for_all = pages.into_iter().chain(of_setup).map(|page| (page, 0));
    for (page, of) in for_all.chain([("/audit.csv", 0), ("/users", 2), ("/access", 2), ("/sources/new", 2)]) {
        assert_eq!(stranger.get(page).await.status, 303, "{page}");
        for (rank, (role, browser)) in browsers.iter().enumerate() {
            let reply = browser.get(page).await;
            assert_eq!(reply.status, if rank >= of { 200 } else { 403 }, "{page} as {role}: {}", reply.text());
            let policy = field(&reply, "content-security-policy").unwrap();
            assert!(policy.contains("require-trusted-types-for 'script'; trusted-types relay"), "{policy}");
            assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(field(&reply, name).as_deref(), Some(value), "{page}");
            }
        }
    }
    let page = stranger.get("/login").await.text();
    let module = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let asset = stranger.get(module).await;
    assert_eq!((asset.status, field(&asset, "content-type").as_deref()), (200, Some("text/javascript; charset=utf-8")));
    assert!(field(&asset, "cache-control").unwrap().contains("immutable"));
    assert_eq!(stranger.get("/assets/dashboard.js").await.status, 404);
    bench.finish().await;
}

/// Where `ADMIN_URL` says where the dashboard is, JSON leads to the page of what it tells of.
#[tokio::test]
async fn json_leads_to_pages_where_their_place_is_known() {
    let (store, dir) = (Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap());
    let at = "https://relay.example.com/relay";
    let bench = Bench::start_over(store, dir, |config| config.admin_url = Some(at.into())).await;
    let stored = bench.post(b"{}").await.json();
    let id = stored["event_id"].as_str().unwrap();
    let event = bench.ask(&format!("/api/v1/events/{id}")).await;
    let delivery = event["deliveries"][0].clone();
    let (of_event, of_delivery) =
        (format!("{at}/events/{id}"), format!("{at}/deliveries/{}", delivery["id"].as_str().unwrap()));
    assert_eq!((&event["url"], &delivery["url"]), (&json!(of_event), &json!(of_delivery)));
    assert_eq!(bench.ask("/api/v1/events").await["items"][0]["url"], of_event);
    for list in ["/api/v1/deliveries".to_owned(), format!("/api/v1/deliveries?event={id}")] {
        assert_eq!(bench.ask(&list).await["items"][0]["url"], of_delivery, "{list}");
    }
    bench.finish().await;
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    assert_eq!(bench.ask("/api/v1/events").await["items"][0].get("url"), None, "nobody knows where it is");
    bench.finish().await;
}

/// A filter that makes no sense is said to be wrong, and nothing else of the page is.
#[tokio::test]
async fn a_page_says_what_is_wrong_with_its_filter() {
    let bench = Bench::start().await;
    let stored = bench.post(b"{}").await.json();
    let id = stored["event_id"].as_str().unwrap();
    make_user(&bench, "alice", "viewer").await;
    let alice = Browser::sign_in(&bench, "alice").await;
    for (path, words) in [
        ("/events?source=nobody", "known: default"),
        ("/events?source=A%20b", "1 to 63"),
        ("/events?q=evt_zz", "evt_"),
        ("/events?cursor=made-up", "was not given out here"),
        ("/dead?reason=sad", "known: rejected"),
        ("/dead?destination=nobody", "known: default"),
        ("/deliveries?state=lost", "known: ready"),
        ("/deliveries?destination=nobody", "known: default"),
        ("/deliveries?source=nobody", "known: default"),
        ("/deliveries?reason=sad", "known: rejected"),
    ] {
        let reply = alice.get(path).await;
        assert!(reply.status == 400 && reply.text().contains(words), "{path}: {} {}", reply.status, reply.text());
    }
    let led = alice.get(&format!("/events?q={}", &id[..20])).await;
    assert_eq!((led.status, field(&led, "location")), (303, Some(format!("/events/{id}"))));
    let fragment = alice.with("/events", "Relay-Fragment: live\r\n").await;
    let drawn_at = field(&fragment, "relay-fragment").unwrap();
    assert!(drawn_at.starts_with("20") && drawn_at.ends_with('Z'), "a page learns what time it is: {drawn_at}");
    assert!(fragment.text().contains(id) && !fragment.text().contains("<html"), "{}", fragment.text());
    let narrow = alice.get("/events?source=default&since=1h&q=").await.text();
    assert!(narrow.contains(id), "{narrow}");
    assert_eq!(alice.get("/events/evt_00000000000000000000000000000000").await.status, 404);
    bench.finish().await;
}

/// Reads what a stream of events sends, until `wanted` is in it; `false` at its end.
async fn read_until(socket: &mut TcpStream, seen: &mut String, wanted: &str) -> bool {
    let mut piece = vec![0; 16 * 1024];
    loop {
        if !wanted.is_empty() && seen.contains(wanted) {
            return true;
        }
        if seen.ends_with("\r\n0\r\n\r\n") {
            return false;
        }
        match timeout(Duration::from_secs(10), socket.read(&mut piece)).await.expect("it goes on, or ends") {
            Ok(0) | Err(_) => return false,
            Ok(read) => seen.push_str(&String::from_utf8_lossy(&piece[..read])),
        }
    }
}

async fn stream(browser: &Browser) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(browser.addr).await.unwrap();
    let head = browser.head("GET", "/api/v1/pulse", "Accept: text/event-stream\r\n");
    socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut seen = String::new();
    read_until(&mut socket, &mut seen, "\r\n\r\n").await;
    (socket, seen)
}

/// S12: a source shows what came, what was refused and why, and no secret; a destination its clients and routes. They lead to each other.
#[tokio::test]
async fn a_source_and_a_destination_have_pages() {
    let bench = Bench::start().await;
    make_user(&bench, "vera", "viewer").await;
    let secret = "whsec_a-secret-of-the-end-to-end-tests";
    let made = json!({"name": "pay", "provider": "stripe", "parameters": [["secret", secret]], "destination": "crm"});
    let made = bench.command("POST", "/api/v1/sources", made).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(bench.post(b"{}").await.status, 202);
    let refused = bench.post_to("/webhook/pay", "Stripe-Signature: t=1,v1=00\r\n", b"{}").await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    let client = join(bench.public, RELAY_TOKEN, "crm", refusing()).await;
    let vera = Browser::sign_in(&bench, "vera").await;
    let page = async |path: &str| {
        let reply = vera.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text()
    };
    let all = page("/sources").await;
    assert!(all.contains("href=\"/sources/pay\"") && all.contains("href=\"/destinations/crm\""), "{all}");
    let pay = page("/sources/pay").await;
    let checks: Vec<String> = serde_json::from_value::<std::collections::BTreeMap<String, u64>>(
        bench.ask("/api/v1/sources/pay").await["counters"]["refused"].clone(),
    )
    .unwrap()
    .into_keys()
    .collect();
    assert!(
        pay.contains(&format!("{} 1</span>", checks[0])) && pay.contains("set, and not shown"),
        "{checks:?}: {pay}"
    );
    assert!(!pay.contains(secret) && !pay.contains("Pause"), "{pay}");
    let crm = page("/destinations/crm").await;
    assert!(
        crm.contains("href=\"/sources/pay\"")
            && crm.contains(">relay_token<")
            && crm.contains("0 of ")
            && !crm.contains("Pause"),
        "{crm}"
    );
    assert!(page("/why/pay").await.contains("href=\"/sources/pay\""));
    assert!(page("/").await.contains("href=\"/destinations/crm\""));
    let gone = bench.command("DELETE", "/api/v1/sources/pay", json!(null)).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    let other = json!({"name": "new", "provider": "stripe", "parameters": [["secret", secret]], "destination": "crm"});
    assert_eq!(bench.command("POST", "/api/v1/sources", other).await.status, 201);
    assert!(page("/sources").await.contains("href=\"/source/new\""));
    assert!(page("/source/new").await.contains("/webhook/new"));
    for unknown in ["/sources/nobody", "/sources/pay", "/destinations/nobody", "/sources/%3Cb%3E"] {
        assert!([400, 404].contains(&vera.get(unknown).await.status), "{unknown}");
    }
    client.stop().await;
    bench.finish().await;
}

/// S12, S34: keys and tokens are shown once, in the answer that makes them; a page has how they begin and when they were last used, for admins.
#[tokio::test]
async fn keys_and_tokens_are_on_a_page_and_their_secrets_nowhere() {
    let bench = Bench::start().await;
    make_user(&bench, "anna", "admin").await;
    make_user(&bench, "otto", "operator").await;
    let (anna, otto) = (Browser::sign_in(&bench, "anna").await, Browser::sign_in(&bench, "otto").await);
    let done = async |method: &str, path: &str, body: Value| {
        let reply = anna.send(method, path, &body).await;
        assert!([200, 201, 204].contains(&reply.status), "{method} {path}: {}", reply.text());
        if reply.status == 204 { json!(null) } else { reply.json() }
    };
    let key = done("POST", "/api/v1/keys", json!({"source": "default", "name": "berlin"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    let used = async |path: &str| bench.ask(path).await["last_used_at"].clone();
    assert_eq!(used("/api/v1/keys/default/berlin").await, json!(null));
    let sent = bench.post_to("/webhook", &format!("X-API-Key: {key}\r\n"), b"{}").await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    assert!(used("/api/v1/keys/default/berlin").await.is_string());

    let first = done("POST", "/api/v1/tokens", json!({"name": "office", "destinations": null})).await;
    let first = first["token"].as_str().unwrap().to_owned();
    assert_eq!(used("/api/v1/tokens/office").await, json!(null));
    let client = join(bench.public, &first, "default", answers(&[200])).await;
    bench.until("delivered", 1).await;
    assert!(used("/api/v1/tokens/office").await.is_string());
    let second = done("POST", "/api/v1/tokens/office/rotate", json!({})).await;
    let second = second["token"].as_str().unwrap().to_owned();
    let page = anna.get("/access").await.text();
    assert!(page.contains("1 session by the old one") && page.contains("berlin"), "{page}");
    assert!(page.contains("name=\"finish\"") && page.contains("name=\"abort\""), "{page}");
    done("POST", "/api/v1/tokens/office/rotate/abort", json!(null)).await;
    done("DELETE", "/api/v1/keys/default/berlin", json!(null)).await;
    client.stop().await;
    assert!(used("/api/v1/tokens/office").await.is_string(), "it was there");
    let page = anna.get("/access").await.text();
    assert!(page.contains("revoked") && page.contains("name=\"rotate\""), "{page}");
    let log = bench.ask("/api/v1/audit-log").await.to_string();
    assert!(log.contains("key.create") && log.contains("token.rotate"), "{log}");
    for secret in [&key, &first, &second] {
        assert!(!page.contains(secret) && !log.contains(secret.as_str()));
    }
    assert_eq!(otto.get("/access").await.status, 403);
    bench.finish().await;
}

/// A new source: an admin chooses a platform, is told what it needs, and a sample comes to what he made as its webhooks do. What is refused
/// says what mends it.
#[tokio::test]
async fn a_source_is_made_and_a_sample_comes_to_it() {
    let bench = Bench::start().await;
    make_user(&bench, "anna", "admin").await;
    make_user(&bench, "otto", "operator").await;
    let (anna, otto) = (Browser::sign_in(&bench, "anna").await, Browser::sign_in(&bench, "otto").await);
    let page = async |path: &str| {
        let reply = anna.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text()
    };
    let all = page("/sources/new").await;
    assert!(
        all.contains("provider=stripe\"") && all.contains("provider=zendesk\"") && all.len() < 60 * 1024,
        "{}",
        all.len()
    );
    let found = page("/sources/new?q=zEnd").await;
    assert!(!found.contains("provider=stripe\"") && found.contains("provider=zendesk\""), "{found}");
    let form = page("/sources/new?provider=stripe").await;
    assert!(
        form.contains("name=\"p.endpoint_secret\" type=\"text\" class=\"masked\" autocomplete=\"off\"")
            && form.contains("/webhook/stripe"),
        "{form}"
    );
    assert!(page("/sources").await.contains("/sources/new"));
    assert_eq!(anna.get("/sources/new?provider=nobody").await.status, 404);
    assert_eq!(otto.get("/sources/new").await.status, 403);
    assert!(!otto.get("/sources").await.text().contains("/sources/new"));

    let unsigned = page("/sources/new?provider=salesforce").await;
    assert!(unsigned.contains("value=\"salesforce-") && unsigned.contains("nobody guesses"), "{unsigned}");
    let secret = "whsec_a-secret-of-the-end-to-end-tests";
    let asked = json!({"name": "pay", "provider": "stripe", "parameters": [["endpoint_secret", secret]]});
    let made = anna.send("POST", "/api/v1/invites", &asked).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let sample = async |source: &str, body: Value| {
        let reply = anna.send("POST", &format!("/api/v1/sources/{source}/sample"), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    assert_eq!(sample("pay", json!({})).await["status"], 200);
    let pay = bench.ask("/api/v1/sources/pay").await;
    assert_eq!(pay["counters"]["accepted"], 1, "{pay}");
    let by_key = sample("default", json!({"key": API_KEY})).await;
    assert!(by_key["status"] == 202 && by_key["event_id"].as_str().unwrap().starts_with("evt_"), "{by_key}");
    let wrong = sample("default", json!({"key": "crk_another-key-of-the-end-to-end-tests"})).await;
    assert_eq!(wrong["status"], 401, "{wrong}");
    let refused = bench.ask("/api/v1/sources/default").await["refusals"][0].clone();
    assert!(refused["remedy"].as_str().unwrap().contains("X-API-Key"), "{refused}");
    let keyless = anna.send("POST", "/api/v1/sources/default/sample", &json!({})).await;
    assert_eq!(keyless.status, 409, "{}", keyless.text());
    assert_eq!(otto.send("POST", "/api/v1/sources/pay/sample", &json!({})).await.status, 403);
    let log = bench.ask("/api/v1/audit-log").await.to_string();
    assert!(log.contains("source.sample") && !log.contains(secret), "{log}");
    bench.finish().await;
}

/// A webhook moves the numbers that are told; a session that ends takes its stream with it at once, and a browser has few of them.
#[tokio::test]
async fn a_stream_tells_what_moves_until_its_session_ends() {
    let bench = Bench::start().await;
    make_user(&bench, "alice", "viewer").await;
    let alice = Browser::sign_in(&bench, "alice").await;
    let (mut socket, mut seen) = stream(&alice).await;
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("text/event-stream"), "{seen}");
    assert!(read_until(&mut socket, &mut seen, "\"accepted\":0").await, "{seen}");
    assert_eq!(bench.post(b"{}").await.status, 202);
    assert!(read_until(&mut socket, &mut seen, "\"accepted\":1").await, "{seen}");
    assert_eq!(alice.get("/api/v1/pulse").await.json()["sources"][0]["accepted"], 1);

    let (mut next, _) = stream(&alice).await;
    assert!(
        !read_until(&mut socket, &mut seen, "").await,
        "the next page of a browser ends the stream of the one before"
    );
    let mut others = Vec::new();
    for number in 2..=5 {
        let browser = Browser::sign_in(&bench, "alice").await;
        let (socket, seen) = stream(&browser).await;
        assert_eq!(seen.starts_with("HTTP/1.1 200"), number <= 4, "browser {number}: {seen}");
        others.push(socket);
    }
    drop(others.pop());
    bench.command("PATCH", "/api/v1/users/alice", json!({"disabled": true})).await;
    assert!(!read_until(&mut next, &mut String::from("\r\n"), "").await, "it ends");
    for mut socket in others {
        assert!(!read_until(&mut socket, &mut String::from("\r\n"), "").await, "and so do the others");
    }
    assert_eq!(alice.get("/api/v1/pulse").await.status, 401);
    assert_eq!(alice.get("/").await.status, 303);
    bench.finish().await;
}

/// I22: whoever only looks keeps no server from stopping.
#[tokio::test]
async fn a_stream_ends_with_the_server() {
    let mut bench = Bench::start().await;
    make_user(&bench, "alice", "viewer").await;
    let alice = Browser::sign_in(&bench, "alice").await;
    let (mut socket, mut seen) = stream(&alice).await;
    assert!(read_until(&mut socket, &mut seen, "data: ").await);
    bench.shut_down();
    assert!(!read_until(&mut socket, &mut seen, "").await);
    assert_eq!(bench.ended().await, relay_server::Outcome::Stopped);
}

/// S24, S34: another password ends all other sessions and gives this one another secret; sessions of others are nobody's business.
#[tokio::test]
async fn a_user_minds_his_own_sessions() {
    let bench = Bench::start().await;
    make_user(&bench, "alice", "viewer").await;
    make_user(&bench, "bob", "admin").await;
    let (mut here, there) = (Browser::sign_in(&bench, "alice").await, Browser::sign_in(&bench, "alice").await);
    let bob = Browser::sign_in(&bench, "bob").await;
    let sessions = here.get("/api/v1/me").await.json()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let handle = bob.get("/api/v1/me").await.json()["sessions"][0]["handle"].as_str().unwrap().to_owned();
    assert_eq!(here.send("DELETE", &format!("/api/v1/me/sessions/{handle}"), &json!(null)).await.status, 404);
    assert_eq!(bob.get("/me").await.status, 200);
    for (body, status) in [
        (json!({"old": "wrong horse battery", "new": "another good password"}), 401),
        (json!({"old": PASSWORD, "new": "short"}), 400),
        (json!({"old": PASSWORD, "new": "another good password"}), 204),
    ] {
        let reply = here.send("POST", "/api/v1/me/password", &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        if status == 204 {
            assert_eq!(here.get("/").await.status, 303, "its secret is another now");
            here.keep(&reply);
        }
    }
    assert_eq!((here.get("/").await.status, there.get("/").await.status), (200, 303));
    let dark = json!({"theme": "dark", "zone": "utc", "keys": false});
    assert_eq!(here.send("PATCH", "/api/v1/me", &dark).await.status, 204);
    assert!(here.get("/me").await.text().contains("data-theme=\"dark\" data-zone=\"utc\" data-keys=\"off\""));
    assert_eq!(here.send("PATCH", "/api/v1/me", &json!({"theme": "pink"})).await.status, 400);
    assert_eq!(bob.send("PATCH", "/api/v1/users/bob", &json!({"role": "viewer"})).await.status, 409, "not his own");

    let reset = bob.send("POST", "/api/v1/users/alice/link", &json!({})).await;
    assert_eq!(reset.status, 201, "{}", reset.text());
    assert_eq!(here.get("/").await.status, 303);
    let link = reset.json()["link"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
    let entered = here.send("POST", "/api/v1/session", &json!({"link": link})).await;
    assert_eq!((entered.status, &entered.json()["has_password"]), (200, &json!(false)));
    here.keep(&entered);
    let chosen = here.send("POST", "/api/v1/me/password", &json!({"new": "a third good password"})).await;
    assert_eq!(chosen.status, 204, "the link is proof enough: {}", chosen.text());
    bench.finish().await;
}

/// Where it is off there is no page, no session and no link; the API is as it was.
#[tokio::test]
async fn a_dashboard_that_is_off_is_not_there() {
    let bench = Bench::start_with(|config: &mut Config| config.dashboard = false).await;
    let browser = Browser::new(&bench);
    for page in ["/", "/login", "/events"] {
        assert_eq!(browser.get(page).await.status, 404, "{page}");
    }
    let entered = browser.send("POST", "/api/v1/session", &json!({"link": "crl_1"})).await;
    assert_eq!(entered.status, 404, "{}", entered.text());
    assert_eq!(bench.command("POST", "/api/v1/session/link", json!({})).await.status, 409);
    let token = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    assert_eq!(browser.with("/api/v1/status", &token).await.status, 200);
    bench.finish().await;
}
