//! Platforms sign, their own libraries verify, and the relay is between.

use http::Method;
use relay_core::time::Wall;
use relay_providers::{Draft, Signer};
use serde_json::Value;

use crate::{
    libraries::{LANGUAGES, Libraries},
    process::{Server, client, wait_for},
    sender::{Sender, sha256},
};

const PUBLIC: &str = "https://relay.example.com";
const SECRET: &str = "a secret of the tests, 29 letters";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What each library is told.
const SECRETS: &[(&str, &str)] = &[
    ("octokit", SECRET),
    ("shopify", SECRET),
    ("slack", SECRET),
    ("standardwebhooks", WHSEC),
    ("stripe", WHSEC),
    ("svix", WHSEC),
    ("twilio", SECRET),
];

/// A platform, the library it gives its customers, and a webhook with everything that a parser would write differently:
/// escapes, spacing, a line break at the end. `SIGNER` stands for who signs it, `DIGEST` for the body's digest.
struct Case {
    source: &'static str,
    provider: &'static str,
    parameter: &'static str,
    library: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const NAME: &str = "Jürgen 😀 O/Neill";

const CASES: &[Case] = &[
    Case {
        source: "github",
        provider: "github",
        parameter: "secret",
        library: "octokit",
        query: "",
        headers: &[JSON, ("x-github-event", "issues"), ("x-github-delivery", "72d3162e-cc78-11e3-81ab-SIGNER")],
        body: "{ \"action\":\"opened\",\"issue\":{\"number\": 42,\"title\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\",\"body\":\
               \"SIGNER\" },\"n\":1.0 }\r\n",
    },
    Case {
        source: "shopify",
        provider: "shopify",
        parameter: "client_secret",
        library: "shopify",
        query: "?shop=7",
        headers: &[
            JSON,
            ("x-shopify-topic", "orders/create"),
            ("x-shopify-shop-domain", "example.myshopify.com"),
            ("x-shopify-api-version", "2025-10"),
            ("x-shopify-webhook-id", "b54557e4-bdd9-4b37-8a5f-SIGNER"),
        ],
        body: "{\"id\":820982911946154508, \"name\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\",\"note\":\"SIGNER\",\
               \"total_price\":\"1.10\"}\n\r\n",
    },
    Case {
        source: "slack",
        provider: "slack",
        parameter: "signing_secret",
        library: "slack",
        query: "",
        headers: &[JSON],
        body: "{\"type\":\"event_callback\",\"event_id\":\"EvSIGNER\",\t\"event\":{\"type\":\"message\",\"text\":\
               \"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\"}}\r\n",
    },
    Case {
        source: "shop",
        provider: "standard-webhooks",
        parameter: "secret",
        library: "standardwebhooks",
        query: "?a=%2F&a=+",
        headers: &[JSON],
        body: "\r\n{\"type\":\"contact.created\",\"data\":{\"name\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\",\"by\":\"SIGNER\",\
               \"n\":1e2}}\r\n",
    },
    Case {
        source: "stripe",
        provider: "stripe",
        parameter: "endpoint_secret",
        library: "stripe",
        query: "",
        headers: &[JSON],
        body: "{\n  \"id\": \"evt_SIGNER\",\n  \"object\": \"event\",\n  \"type\": \"invoice.paid\",\n  \"data\": {\"object\": {\
               \"object\":\"invoice\",\"customer_name\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\" } }\n}\r\n",
    },
    Case {
        source: "svix",
        provider: "svix",
        parameter: "secret",
        library: "svix",
        query: "",
        headers: &[JSON],
        body: "{ \"type\":\"user.created\", \"name\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\",\"by\":\"SIGNER\"}\r\n",
    },
    Case {
        source: "sms",
        provider: "twilio",
        parameter: "auth_token",
        library: "twilio",
        query: "?account=a%2Fb&empty=&x=1+2",
        headers: &[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")],
        body: "MessageSid=SMSIGNER&From=%2B15551234567&Body=J%C3%BCrgen+%f0%9f%98%80%20O%2FNeill&MediaUrl0=&Twice=b&Twice=a",
    },
    Case {
        source: "studio",
        provider: "twilio",
        parameter: "auth_token",
        library: "twilio",
        query: "?bodySHA256=DIGEST",
        headers: &[JSON],
        body: "{\"MessageSid\":\"SMSIGNER\", \"name\":\"J\\u00fcrgen \\ud83d\\ude00 O\\/Neill\"}\r\n",
    },
];

/// I3, S28: what a platform signs, its own library accepts behind the relay, in every language it has one for, whether the
/// platform's library signed it or ours; what was changed on the way is refused at the edge, and would be by the library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_platform_signs_its_own_library_accepts_behind_the_relay() {
    let dir = tempfile::tempdir().unwrap();
    let languages = LANGUAGES.map(|language| Libraries::start(&[], dir.path(), language, SECRETS));
    let server = Server::start(dir.path(), &[("PUBLIC_URL", PUBLIC), ("MAX_RETRIES", "0")]);
    for case in CASES {
        case.create(&server, &languages);
    }
    let targets: Vec<(String, String)> = languages.iter().flat_map(targets).collect();
    let targets: Vec<(&str, String)> = targets.iter().map(|(name, url)| (name.as_str(), url.clone())).collect();
    let _client = client(dir.path(), "client", server.public, &targets, &[]);

    let mut wanted = Vec::new();
    for case in CASES {
        for signed in case.signed(&languages).await {
            signed.must_be_accepted(&server).await;
            wanted.extend(case.verified_by(&languages).map(|language| (language, case, signed.by)));
            signed.tampered().must_be_refused(&server, case, &languages).await;
        }
    }
    wait_for("all to be delivered", || (server.queue_depth() == 0).then_some(()));
    assert_eq!(server.json(&["dead", "list"])["items"].as_array().unwrap().len(), 0, "{:#?}", verdicts(&languages));
    let verdicts = verdicts(&languages);
    let accepted: Vec<&(&str, Value)> = verdicts.iter().filter(|(_, verdict)| !verdict["source"].is_null()).collect();
    assert_eq!(accepted.len(), wanted.len());
    for (language, case, by) in wanted {
        let is_it = |verdict: &Value| {
            let found = verdict["found"].to_string();
            let (source, library) = (&verdict["source"], &verdict["library"]);
            verdict["status"] == 200
                && source == case.source
                && library == case.library
                && found.contains(by)
                && found.contains(NAME)
        };
        let found = accepted.iter().any(|(spoken, verdict)| *spoken == language && is_it(verdict));
        assert!(found, "{} for {language} accepts what {by} signed: {accepted:#?}", case.library);
    }
    server.audit();
}

/// A request that somebody signed, to a source.
#[derive(Clone)]
struct Signed {
    by: &'static str,
    source: &'static str,
    draft: Draft,
}

impl Case {
    /// Makes the source, with a route to the library in each language.
    fn create(&self, server: &Server, languages: &[Libraries]) {
        let secret = SECRETS.iter().find(|(library, _)| *library == self.library).unwrap().1;
        let set = format!("{}={secret}", self.parameter);
        let destinations: Vec<String> =
            self.verified_by(languages).map(|language| format!("{language}-{}", self.library)).collect();
        let create = ["source", "create", self.source, "--provider", self.provider, "--set", &set];
        server.json(&[&create[..], &["--destination", &destinations[0]]].concat());
        for destination in &destinations[1..] {
            server.json(&["route", "create", self.source, destination]);
        }
    }

    fn verified_by(&self, languages: &[Libraries]) -> impl Iterator<Item = &'static str> {
        languages.iter().filter(|libraries| libraries.url(self.library, "/").is_some()).map(|found| found.language)
    }

    /// The webhook, signed by everybody who can: the relay's own crate, and the vendor's libraries.
    async fn signed(&self, languages: &[Libraries]) -> Vec<Signed> {
        let secret = SECRETS.iter().find(|(library, _)| *library == self.library).unwrap().1;
        let signer = Signer::new(self.provider, &[(self.parameter.to_owned(), secret.to_owned())]).unwrap();
        let ours = signer.sign(self.draft("relay"), "msg_relay", now()).unwrap();
        let mut signed = vec![Signed { by: "relay", source: self.source, draft: ours }];
        for libraries in languages {
            let mut draft = self.draft(libraries.language);
            let id = format!("msg_{}", libraries.language);
            let mut asked = headers(&draft);
            asked.extend([("relay-original-url", draft.url.as_str()), ("x-id", &id)]);
            let Some(fields) = libraries.sign(self.library, &asked, &draft.body).await else { continue };
            for (name, value) in fields {
                draft.set_header(&name, value);
            }
            signed.push(Signed { by: libraries.language, source: self.source, draft });
        }
        signed
    }

    fn draft(&self, by: &str) -> Draft {
        let body = self.body.replace("SIGNER", by);
        let digest = sha256(body.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let url = format!("{PUBLIC}/webhook/{}{}", self.source, self.query.replace("DIGEST", &digest));
        let mut draft = Draft::post(url, body);
        for (name, value) in self.headers {
            draft.set_header(name, value.replace("SIGNER", by));
        }
        draft
    }
}

impl Signed {
    /// The same with another letter in the body.
    fn tampered(mut self) -> Self {
        let text = std::str::from_utf8(&self.draft.body).unwrap().replace("rgen", "rgem");
        assert_ne!(text.as_bytes(), self.draft.body);
        self.draft.body = text.into();
        self
    }

    async fn send(&self, url: &str) -> u16 {
        let told = Sender::new().send(Method::POST, url, &headers(&self.draft), self.draft.body.clone()).await.unwrap();
        told.status
    }

    /// Where the relay takes it in, on this machine.
    fn relay_url(&self, server: &Server) -> String {
        server.url(self.draft.url.strip_prefix(PUBLIC).unwrap())
    }

    async fn must_be_accepted(&self, server: &Server) {
        let status = self.send(&self.relay_url(server)).await;
        assert!((200..300).contains(&status), "{}, signed by {}: {status}", self.source, self.by);
    }

    /// Neither the relay lets it in nor would the library.
    async fn must_be_refused(mut self, server: &Server, case: &Case, languages: &[Libraries]) {
        assert_eq!(self.send(&self.relay_url(server)).await, 401, "{}, signed by {}", self.source, self.by);
        let url = self.draft.url.clone();
        self.draft.set_header("relay-original-url", url);
        for endpoint in languages.iter().filter_map(|libraries| libraries.url(case.library, "/")) {
            assert_eq!(self.send(&endpoint).await, 401, "{}, signed by {}", case.library, self.by);
        }
    }
}

/// A destination per library: `node-stripe` and the like.
fn targets(libraries: &Libraries) -> Vec<(String, String)> {
    let target = |name: &str| (format!("{}-{name}", libraries.language), libraries.url(name, "/hook").unwrap());
    libraries.names().map(target).collect()
}

fn verdicts(languages: &[Libraries]) -> Vec<(&'static str, Value)> {
    let of = |libraries: &Libraries| {
        let language = libraries.language;
        libraries.verdicts().into_iter().map(move |verdict| (language, verdict))
    };
    languages.iter().flat_map(of).collect()
}

fn headers(draft: &Draft) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn now() -> Wall {
    Wall::MIN + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}
