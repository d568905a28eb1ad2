//! Real platforms at the edge: handshakes, keys, secrets handed over, resends, acknowledgements.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_core::time::Wall;
use relay_providers::{Draft, Signer, provider};
use relay_server::{
    Config,
    config::{DeclaredSource, Dedupe},
};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join},
    http::{self, Reply},
    key_server::{KeyServer, ok},
};

const PUBLIC_URL: &str = "https://relay.example.com/hooks";
const SNS: &str = "sns.us-east-1.amazonaws.com";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:orders";

pub(crate) fn with_url(config: &mut Config) {
    config.public_url = Some(PUBLIC_URL.to_owned());
}

/// Makes a source of that name and provider.
pub(crate) async fn create(bench: &Bench, provider: &str, parameters: &[(&str, &str)], dedupe: &str) -> Reply {
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| json!([name, value])).collect();
    let new = json!({"name": provider, "provider": provider, "parameters": parameters, "dedupe": dedupe});
    bench.command("POST", "/api/v1/sources", new).await
}

/// A signed sample event of that provider, or with that body.
pub(crate) fn signed(name: &str, parameters: &[(&str, &str)], id: &str, body: Option<&str>) -> Draft {
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let now = now();
    let mut draft = provider(name).unwrap().draft(&format!("{PUBLIC_URL}/webhook/{name}/a%2Fb?x=1&x=2"), id, now);
    if let Some(body) = body {
        draft.body = body.to_owned().into();
    }
    Signer::new(name, &parameters).unwrap().sign(draft, id, now).unwrap()
}

fn now() -> Wall {
    Wall::MIN + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

/// Sends a draft as it is.
pub(crate) async fn send(bench: &Bench, draft: &Draft) -> Reply {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = draft.headers.iter().fold(String::new(), |mut lines, (name, value)| {
        write!(lines, "{}: {}\r\n", text(name), text(value)).unwrap();
        lines
    });
    let path = draft.url.strip_prefix(PUBLIC_URL).unwrap();
    http::tcp(bench.public, &draft.method, path, &headers, &draft.body).await
}

async fn stored(bench: &Bench) -> usize {
    bench.ask("/api/v1/events").await["items"].as_array().unwrap().len()
}

async fn metrics(bench: &Bench) -> String {
    http::tcp(bench.admin, "GET", "/metrics", "", b"").await.text()
}

#[tokio::test]
async fn handshakes_are_answered_and_nothing_is_stored() {
    let bench = Bench::start_with(|config| {
        with_url(config);
        config.cors_origins = vec!["https://app.test".to_owned()];
    })
    .await;
    create(&bench, "meta", &[("app_secret", "the-app-secret-of-meta"), ("verify_token", "meatyhamhock")], "auto").await;
    create(&bench, "trello", &[("app_secret", "the-app-secret-of-trello")], "auto").await;
    let token = ("token", "the-token-of-the-cloud-events");
    create(&bench, "cloudevents", &[token, ("allowed_origin", "eventemitter.example.com")], "auto").await;

    let verify = "/webhook/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    let reply = bench.get(&format!("{verify}meatyhamhock"), "").await;
    assert_eq!((reply.status, reply.text()), (200, "1158201444".to_owned()));
    let refused = bench.get(&format!("{verify}guess"), "").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(!refused.text().contains("1158201444"));

    let reply = http::tcp(bench.public, "HEAD", "/webhook/trello", "", b"").await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b""[..]));
    assert_eq!(http::tcp(bench.public, "HEAD", "/webhook/meta", "", b"").await.status, 405);

    // What the platform asks with OPTIONS is its question, not a browser's.
    let asked = "WebHook-Request-Origin: eventemitter.example.com\r\nOrigin: https://app.test\r\n";
    let reply = http::tcp(bench.public, "OPTIONS", "/webhook/cloudevents", asked, b"").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("webhook-allowed-origin: eventemitter.example.com"), "{head}");
    let preflight = "Origin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n";
    assert_eq!(http::tcp(bench.public, "OPTIONS", "/webhook/meta", preflight, b"").await.status, 204);

    assert_eq!(stored(&bench).await, 0);
    let page = metrics(&bench).await;
    for source in ["meta", "trello", "cloudevents"] {
        assert!(page.contains(&format!("crm_relay_handshakes_total{{source=\"{source}\"}} 1")), "{page}");
    }
    bench.finish().await;
}

/// I3: what a provider signed arrives as it was signed, so that the local application's own check passes.
#[tokio::test]
async fn an_original_arrives_untouched() {
    let bench = Bench::start_with(with_url).await;
    let parameters = [("signature_key", "the-signature-key-of-square")];
    assert_eq!(create(&bench, "square", &parameters, "auto").await.status, 201);
    let mut draft =
        signed("square", &parameters, "7", Some("{\"event_id\": \"7\",\n\t\"n\": 1.0e2, \"\\u00e9\": \"\u{e9}\"} "));
    for value in ["one", " two,  three", "one"] {
        draft.headers.push(("x-repeated".into(), value.trim().to_owned().into()));
    }
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let reply = send(&bench, &draft).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let forward = client.next().await;
    assert_eq!(forward.body, draft.body);
    assert_eq!(forward.original_url, draft.url.as_bytes());
    assert_eq!((&forward.rest[..], forward.query.as_deref()), (&b"/a%2Fb"[..], Some(&b"x=1&x=2"[..])));
    for (name, _) in &draft.headers {
        let values = |headers: &[(bytes::Bytes, bytes::Bytes)]| -> Vec<bytes::Bytes> {
            headers.iter().filter(|(named, _)| named == name).map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(values(&forward.headers), values(&draft.headers), "{name:?}");
    }
    client.stop().await;
    bench.finish().await;
}

/// S28: a source names its provider. Whatever a request claims to be, it is checked as that.
#[tokio::test]
async fn headers_never_choose_the_provider() {
    let bench = Bench::start_with(with_url).await;
    let (github, slack) =
        ([("secret", "one-secret-for-both-of-them")], [("signing_secret", "one-secret-for-both-of-them")]);
    create(&bench, "github", &github, "auto").await;
    create(&bench, "slack", &slack, "auto").await;
    let mut draft = signed("github", &github, "1", None);
    draft.url = draft.url.replace("/webhook/github/", "/webhook/slack/");
    draft.headers.push(("x-provider".into(), "github".into()));
    assert_eq!(send(&bench, &draft).await.status, 401);
    let mut draft = signed("slack", &slack, "1", None);
    draft.url = draft.url.replace("/webhook/slack/", "/webhook/github/");
    assert_eq!(send(&bench, &draft).await.status, 401);
    assert_eq!(stored(&bench).await, 0);
    bench.finish().await;
}

/// I20: GitHub sends again only when somebody presses Redeliver.
#[tokio::test]
async fn a_redelivery_of_github_is_delivered_again_unless_the_source_is_strict() {
    for (dedupe, again) in [("auto", true), ("strict", false)] {
        let bench = Bench::start_with(with_url).await;
        let parameters = [("secret", "the-secret-of-github")];
        assert_eq!(create(&bench, "github", &parameters, dedupe).await.json()["dedupe"], dedupe);
        let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
        let draft = signed("github", &parameters, "72d3162e-cc78-11e3-81ab-4c9367dc0958", None);
        assert_eq!(send(&bench, &draft).await.status, 200);
        let first = client.next().await;
        bench.until("delivered", 1).await;
        assert_eq!(send(&bench, &draft).await.status, 200);
        if again {
            let second = client.next().await;
            assert!(second.replay && !first.replay);
            assert_eq!((second.event, second.attempt), (first.event, 1));
            assert_ne!(second.delivery, first.delivery);
            bench.until("delivered", 2).await;
        }
        assert_eq!(stored(&bench).await, 1);
        let audited = bench.store.audit_log().iter().filter(|entry| entry.action == "event.resend").count();
        assert_eq!(audited, usize::from(again));
        client.stop().await;
        bench.finish().await;
    }
}

#[tokio::test]
async fn salesforce_is_acknowledged_in_soap() {
    let bench = Bench::start_with(with_url).await;
    let parameters = [("organization_id", "00D5g000000ABCDEA4")];
    let made = create(&bench, "salesforce", &parameters, "auto").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let reply = send(&bench, &signed("salesforce", &parameters, "1", None)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("<Ack>true</Ack>"), "{}", reply.text());
    assert!(reply.head.to_ascii_lowercase().contains("content-type: text/xml"), "{}", reply.head);
    assert_eq!(stored(&bench).await, 1);
    bench.finish().await;
}

/// The key of a topic, and a server that has its certificate.
struct Topic {
    key: String,
    server: KeyServer,
    _dir: tempfile::TempDir,
}

impl Topic {
    async fn start(has_certificate: bool) -> Self {
        Self::start_with(has_certificate, || ()).await
    }

    /// The same; each certificate waits until this has returned.
    async fn start_with(has_certificate: bool, before: impl Fn() + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        let answer = move |path: &str| {
            before();
            if path.contains("SimpleNotificationService") && !has_certificate {
                return Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
            }
            Some(ok(certificate.as_bytes()))
        };
        let server = KeyServer::start(dir.path(), SNS, Arc::new(answer)).await;
        Self { key: key.serialize_pem(), server, _dir: dir }
    }

    async fn bench(&self) -> Bench {
        let bench = Bench::start_with(|config| {
            with_url(config);
            config.fetching.ca_file = Some(self.server.ca_file.clone());
            config.fetching.pinned.insert(SNS.to_owned(), self.server.addr);
        })
        .await;
        assert_eq!(create(&bench, "aws-sns", &[("topic_arn", TOPIC)], "auto").await.status, 201);
        bench
    }

    fn message(&self, body: &Value) -> Draft {
        let parameters = [("topic_arn", TOPIC), ("signing_key", self.key.as_str())];
        signed("aws-sns", &parameters, "1", Some(&body.to_string()))
    }
}

#[tokio::test]
async fn a_certificate_is_fetched_once_and_a_subscription_confirmed() {
    let topic = Topic::start(true).await;
    let bench = topic.bench().await;
    for number in 0..3 {
        let message = topic.message(&json!({"MessageId": number.to_string(), "Message": "an order"}));
        let reply = send(&bench, &message).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(stored(&bench).await, 3);
    let [certificate] = &topic.server.asked()[..] else { panic!("fetched once: {:?}", topic.server.asked()) };
    assert!(certificate.contains("SimpleNotificationService"));

    let confirmation = json!({
        "Type": "SubscriptionConfirmation",
        "MessageId": "c",
        "Token": "2336412f37",
        "Message": "You have chosen to subscribe",
        "SubscribeURL": format!("https://{SNS}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"),
    });
    let reply = send(&bench, &topic.message(&confirmation)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let asked = topic.server.asked();
    assert!(asked.len() == 2 && asked[1].contains("Action=ConfirmSubscription"), "{asked:?}");
    assert_eq!(stored(&bench).await, 3, "a confirmation is no event");

    let mut forged = topic.message(&json!({"MessageId": "f", "Message": "an order"}));
    forged.body = String::from_utf8_lossy(&forged.body).replace("an order", "another").into();
    assert_eq!(send(&bench, &forged).await.status, 403, "the status that SNS takes as final");
    bench.finish().await;
}

/// I21: what a source is by the time that its key is there is what holds, not what it was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_source_that_goes_while_its_key_is_fetched_takes_nothing_in() {
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let wait = move || tokio::task::block_in_place(|| held.lock().unwrap().recv().unwrap());
    let topic = Topic::start_with(true, wait).await;
    let bench = topic.bench().await;
    let message = topic.message(&json!({"MessageId": "1", "Message": "an order"}));
    let gone = async {
        bench.until_holds(|| async { topic.server.asked().len() == 1 }).await;
        let deleted = bench.command("DELETE", "/api/v1/sources/aws-sns", Value::Null).await;
        assert!(deleted.status < 300, "{}", deleted.text());
        go_on.send(()).unwrap();
    };
    let (reply, ()) = tokio::join!(send(&bench, &message), gone);
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert_eq!(stored(&bench).await, 0);
    bench.finish().await;
}

/// I2: what cannot be checked now is not taken, and the platform is told to send it again.
#[tokio::test]
async fn without_its_certificate_a_message_is_to_be_sent_again() {
    let topic = Topic::start(false).await;
    let bench = topic.bench().await;
    for _ in 0..3 {
        let reply = send(&bench, &topic.message(&json!({"MessageId": "1", "Message": "an order"}))).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.head.to_ascii_lowercase().contains("retry-after: "), "{}", reply.head);
    }
    assert_eq!(topic.server.asked().len(), 1, "a failure is remembered for a while");
    assert_eq!(stored(&bench).await, 0);
    let source = bench.ask("/api/v1/sources/aws-sns").await;
    let refusal = &source["refusals"][0];
    assert_eq!(refusal["check"], "no_key");
    assert_eq!(refusal["detail"], format!("{SNS}: status 404; want 200, and redirects are not followed"));
    bench.finish().await;
}

/// Google signs with a key that is not in the set which was kept: it is fetched anew, and not whenever somebody names a key.
#[tokio::test]
async fn a_set_of_keys_is_fetched_anew_when_the_platform_has_changed_them() {
    const HOST: &str = "www.googleapis.com";
    const KEYS: &str = include_str!("../../../../fixtures/providers/keys/rsa.jwks.json");
    let dir = tempfile::tempdir().unwrap();
    let asked = AtomicUsize::new(0);
    let answer = move |_: &str| {
        let keys = if asked.fetch_add(1, Ordering::SeqCst) == 0 { r#"{"keys":[]}"# } else { KEYS };
        Some(ok(keys.as_bytes()))
    };
    let server = KeyServer::start(dir.path(), HOST, Arc::new(answer)).await;
    let bench = Bench::start_with(|config| {
        with_url(config);
        config.fetching.ca_file = Some(server.ca_file.clone());
        config.fetching.pinned.insert(HOST.to_owned(), server.addr);
    })
    .await;
    let source = [("audience", PUBLIC_URL), ("email", "push@example.iam.gserviceaccount.com")];
    let made = create(&bench, "google-pubsub", &source, "auto").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let key = ("signing_key", include_str!("../../../../fixtures/providers/keys/rsa.key.pem"));
    let message = signed("google-pubsub", &[source[0], source[1], key], "1", None);

    let reply = send(&bench, &message).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert_eq!(server.asked().len(), 2, "once more, since the key was not in the first set");
    let head = r#"{"alg":"RS256","kid":"nobody's"}"#;
    let mut forged = message.clone();
    forged.set_header("authorization", format!("Bearer {}.e30.AAAA", URL_SAFE_NO_PAD.encode(head)));
    for _ in 0..5 {
        assert_eq!(send(&bench, &forged).await.status, 401);
    }
    assert_eq!(server.asked().len(), 2, "strangers name any");
    assert_eq!(send(&bench, &message).await.status, 204);
    bench.finish().await;
}

const HANDED_OVER: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";

#[tokio::test]
async fn a_secret_that_is_handed_over_is_kept_and_only_the_first() {
    let bench = Bench::start_with(with_url).await;
    let made = create(&bench, "asana", &[], "auto").await;
    assert_eq!((made.status, &made.json()["awaits_secret"]), (201, &json!(true)), "{}", made.text());
    let parameters = [("secret", HANDED_OVER)];
    let early = send(&bench, &signed("asana", &parameters, "1", None)).await;
    assert_eq!(early.status, 401, "nothing is genuine before: {}", early.text());

    let handover = format!("X-Hook-Secret: {HANDED_OVER}\r\n");
    let unbidden = bench.post_to("/webhook/asana", &handover, b"").await;
    assert_eq!(unbidden.status, 401, "nobody awaits it yet: {}", unbidden.text());
    let source = bench.ask("/api/v1/sources/asana").await;
    assert_eq!(source["refusals"][0]["check"], "secret_not_awaited");
    assert_eq!(source["awaits_secret_until"], Value::Null);
    let opened = bench.command("POST", "/api/v1/sources/asana/await-secret", Value::Null).await;
    assert!(opened.status == 200 && opened.json()["awaits_secret_until"].is_string(), "{}", opened.text());
    let reply = bench.post_to("/webhook/asana", &handover, b"").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.head.to_ascii_lowercase().contains(&format!("x-hook-secret: {HANDED_OVER}")), "{}", reply.head);
    assert_eq!(bench.post_to("/webhook/asana", &handover, b"").await.status, 401, "from now on it wants a signature");
    let other = bench.post_to("/webhook/asana", "X-Hook-Secret: a-stranger-would-like-this-one\r\n", b"").await;
    assert_eq!(other.status, 401, "{}", other.text());
    let refusals = bench.ask("/api/v1/sources/asana").await["refusals"].clone();
    assert_eq!(refusals[0]["check"], "second_handover", "{refusals}");

    let source = bench.ask("/api/v1/sources/asana").await;
    assert_eq!(source["awaits_secret"], false);
    assert_eq!(source["parameters"], json!([{"name": "secret", "secret": true, "set": true, "adopted": true}]));
    assert!(!source.to_string().contains(HANDED_OVER));
    let shown = bench.command("POST", "/api/v1/sources/asana/reveal", Value::Null).await.json();
    assert_eq!(shown["items"], json!([{"name": "secret", "value": HANDED_OVER}]));
    let log = bench.store.audit_log();
    let lines: Vec<_> =
        log.iter().map(|line| (line.who.as_str(), line.action.as_str(), line.subject.as_str())).collect();
    assert!(lines.contains(&("sender", "source.adopt", "asana secret")), "{lines:?}");
    assert!(lines.contains(&("cli", "source.reveal", "asana")), "{lines:?}");
    assert!(!format!("{log:?}").contains(HANDED_OVER));

    assert_eq!(send(&bench, &signed("asana", &parameters, "1", None)).await.status, 200);
    assert_eq!(stored(&bench).await, 1);
    bench.finish().await;
}

/// S28: each webhook of Asana has a secret of its own. A further one is taken beside the first, which goes on; what a stranger
/// handed over is dropped by name.
#[tokio::test]
async fn a_second_webhook_at_one_source_leaves_the_first_alone() {
    const SECOND: &str = "the-secret-of-the-second-webhook";
    let bench = Bench::start_with(with_url).await;
    create(&bench, "asana", &[], "auto").await;
    let hand_over = async |secret: &str| {
        let field = format!("X-Hook-Secret: {secret}\r\nX-Forwarded-For: 192.0.2.1\r\n");
        bench.post_to("/webhook/asana", &field, b"{}").await.status
    };
    let await_secret = async |query: &str| {
        let path = format!("/api/v1/sources/asana/await-secret{query}");
        bench.command("POST", &path, Value::Null).await.status
    };
    let event =
        async |secret: &str, id: &str| send(&bench, &signed("asana", &[("secret", secret)], id, None)).await.status;
    assert_eq!((await_secret("").await, hand_over(HANDED_OVER).await), (200, 200));
    assert_eq!(event(HANDED_OVER, "1").await, 200);
    assert_eq!(hand_over(SECOND).await, 401, "nobody awaits it");

    assert_eq!(await_secret("").await, 200);
    assert_eq!(event(HANDED_OVER, "2").await, 200, "what is signed is an event while another secret is awaited");
    assert!(bench.ask("/api/v1/sources/asana").await["awaits_secret_until"].is_string());
    assert_eq!(hand_over(SECOND).await, 200);
    assert_eq!((event(HANDED_OVER, "3").await, event(SECOND, "4").await), (200, 200));
    assert_eq!(hand_over("a-stranger-would-like-this-one").await, 401);
    assert_eq!(bench.ask("/api/v1/sources/asana").await["awaits_secret_until"], Value::Null);

    assert_eq!((await_secret("?forget=true").await, hand_over(SECOND).await), (200, 200));
    assert_eq!((event(HANDED_OVER, "5").await, event(SECOND, "6").await), (401, 200));
    bench.finish().await;
}

/// The file says what the parameters of its sources are; the platform is not told that its secret is kept.
#[tokio::test]
async fn a_source_of_the_file_takes_no_secret() {
    let bench = Bench::start_with(|config| {
        let asana = DeclaredSource {
            name: "asana".parse().unwrap(),
            provider: "asana".to_owned(),
            parameters: Vec::new().into(),
            network: relay_server::config::NetworkPolicy::default(),
            allow_empty: false,
            dedupe: Dedupe::Auto,
            marks: Vec::new(),
            at: "crm-relay.toml line 4".to_owned(),
        };
        config.sources = vec![asana];
    })
    .await;
    let reply = bench.post_to("/webhook/asana", &format!("X-Hook-Secret: {HANDED_OVER}\r\n"), b"").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    let source = bench.ask("/api/v1/sources/asana").await;
    assert_eq!(source["refusals"][0]["check"], "not_adopted");
    let detail = source["refusals"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("crm-relay.toml line 4") && detail.contains("source create asana"), "{detail}");
    bench.finish().await;
}

#[tokio::test]
async fn what_a_source_lacks_is_said_all_together() {
    let bench = Bench::start().await;
    let refused = create(&bench, "square", &[("sekret", "x")], "auto").await;
    assert_eq!(refused.status, 400);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    for words in ["sekret", "signature_key", "PUBLIC_URL"] {
        assert!(detail.contains(words), "{words}: {detail}");
    }
    bench.finish().await;
    let bench = Bench::start_with(with_url).await;
    assert_eq!(create(&bench, "square", &[("signature_key", "the-signature-key")], "auto").await.status, 201);
    bench.finish().await;
}

/// S27: operators see which check failed, when and from where, and nothing of what was sent.
#[tokio::test]
async fn the_last_refusals_of_a_source_are_shown() {
    let bench = Bench::start_with(with_url).await;
    let parameters = [("secret", "the-secret-of-github")];
    create(&bench, "github", &parameters, "auto").await;
    let mut draft = signed("github", &[("secret", "not-the-secret-of-github")], "canary-id", Some("{\"canary\": 1}"));
    draft.headers.push(("x-canary".into(), "canary".into()));
    for _ in 0..25 {
        assert_eq!(send(&bench, &draft).await.status, 401);
    }
    draft.headers.retain(|(name, _)| !name.starts_with(b"x-hub"));
    assert_eq!(send(&bench, &draft).await.status, 401);
    assert_eq!(send(&bench, &signed("github", &parameters, "1", None)).await.status, 200);

    let source = bench.ask("/api/v1/sources/github").await;
    let refusals = source["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), 20);
    assert_eq!((&refusals[0]["check"], &refusals[1]["check"]), (&json!("missing_signature"), &json!("bad_signature")));
    assert_eq!(refusals[0]["peer"], "127.0.0.1");
    assert!(refusals[0]["at"].as_str().unwrap().ends_with('Z') && !refusals[0]["detail"].as_str().unwrap().is_empty());
    let counters = &source["counters"];
    assert_eq!((&counters["accepted"], &counters["handshakes"]), (&json!(1), &json!(0)));
    assert_eq!(counters["refused"], json!({"bad_signature": 25, "missing_signature": 1}));
    assert!(!source.to_string().contains("canary"));
    let page = metrics(&bench).await;
    assert!(page.contains("crm_relay_requests_refused_total{source=\"github\",reason=\"bad_signature\"} 25"), "{page}");
    let list = bench.ask("/api/v1/sources").await;
    assert!(list["items"][0].get("refusals").is_none(), "a listing stays short");
    bench.finish().await;
}
