use std::{collections::BTreeMap, path::Path};

use super::{
    client,
    fault::Faults,
    layers::{Flags, Layers},
    raw, server,
    settings::Process,
};

/// Layers of an environment and the text of a file.
fn layers(process: Process, environment: &[(&str, &str)], file: &str) -> Layers {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crm-relay.toml");
    std::fs::write(&path, file).unwrap();
    let variables: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut layers = Layers::collect(process, Some(&path), &Flags::new(), &|name| variables.get(name).cloned());
    for fault in &mut layers.faults.0 {
        if let super::fault::Origin::File { path, .. } = &mut fault.origin {
            *path = "crm-relay.toml".into();
        }
    }
    layers
}

fn faults_of(layers: Layers) -> String {
    let path = Path::new("crm-relay.toml").display().to_string();
    let text = server::plan(layers).expect_err("has faults").to_string();
    text.lines()
        .map(|line| match line.split_once("(/") {
            Some((before, after)) => {
                let rest = after.split_once("crm-relay.toml").map_or(after, |(_, rest)| rest);
                format!("{before}({path}{rest}")
            }
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_fault_is_reported_all_together() {
    let environment = [
        ("SERVER_PORT", "eighty"),
        ("MESSAGE_TTL", "7 fortnights"),
        ("MAX_BODY_BYTES", "much"),
        ("API_KEY", "changeme"),
        ("LOG_FORMAT", "yaml"),
        ("CORS_ORIGINS", "example.com"),
        ("ADMIN_HOSTS", "https://relay.example.com:8081"),
        ("REDIS_URL", "redis+sentinel://:secret@localhost:0"),
        ("STREAM_NAME", "hooks:{eu}"),
    ];
    let file = r#"
max_retrys = 5
retry_multiplier = 0.5

[source.Stripe]
provider = "standard-webhooks"

[source.github]
allow_empty = "perhaps"

[[route]]
source = "github"
destinaton = "crm"

[[route]]
source = "github"
destination = "crm"
schedule = ["1h", "20h", "10h"]
retry_delay = "5s"
"#;
    let text = faults_of(layers(Process::Server, &environment, file));
    assert!(!text.contains("secret@"), "{text}");
    assert!(!text.contains("changeme"), "{text}");
    insta::assert_snapshot!(text);
}

/// S15: what is said of proxies needs proxies; a listener that nobody may speak to is a fault.
#[test]
fn proxies_are_named_before_they_are_heard() {
    let faults = faults_of(layers(Process::Server, &[("PROXY_PROTOCOL", "public")], ""));
    assert!(faults.contains("PROXY_PROTOCOL") && faults.contains("want TRUSTED_PROXIES"), "{faults}");
    let environment = [("PROXY_PROTOCOL", "redirect, clients"), ("TRUSTED_PROXIES", "10.0.0.5")];
    let faults = faults_of(layers(Process::Server, &environment, ""));
    assert!(faults.contains("want CLIENTS_LISTEN") && faults.contains("want REDIRECT_LISTEN"), "{faults}");
    for (name, value, fault) in [
        ("TRUSTED_PROXIES", "10.0.0.5, ::/0", "that is everybody"),
        ("TRUSTED_PROXIES", ",", "nothing but commas"),
        ("ALLOWED_HOSTS", " , ", "nothing but commas"),
    ] {
        let faults = faults_of(layers(Process::Server, &[(name, value)], ""));
        assert!(faults.contains(name) && faults.contains(fault), "{faults}");
    }
    let plan = |environment: &[(&str, &str)]| server::plan(layers(Process::Server, environment, "")).expect("is fine");
    let noted = plan(&[("FORWARDED_HEADER", "forwarded")]).notes;
    assert!(noted.iter().any(|note| note.contains("TRUSTED_PROXIES names no proxy")), "{noted:?}");
    let file = "trusted_proxies = \"::ffff:10.0.0.0/104, 2001:db8::/32\"\nforwarded_header = \"Forwarded\"\n";
    let planned = server::plan(layers(Process::Server, &[], file)).expect("is fine");
    let proxies = &planned.declared().proxies;
    assert!(proxies.trust([10, 1, 2, 3].into()) && !proxies.trust([11, 1, 2, 3].into()));
    assert_eq!(proxies.field, relay_net::proxies::Field::Forwarded);
    let named = [("ALLOWED_HOSTS", "hooks.example.com"), ("PUBLIC_URL", "https://relay.example.com:8443/x")];
    assert_eq!(plan(&named).declared().allowed_hosts, ["hooks.example.com", "relay.example.com"]);
    assert!(plan(&named[1..]).declared().allowed_hosts.is_empty(), "under any");
}

/// S35, S36: a source's keys for the network are ours, not its provider's; a list without anything in it is nobody's guess.
#[test]
fn a_source_says_who_may_come_and_how_often() {
    let file = r#"
[source.shop]
provider = "api-key"
rate = "100/s"
address_rate = "10 / m"
allow = ["::ffff:10.0.0.0/104", "2001:db8::/32"]
deny = "10.9.0.0/16,10.8.0.0/16"
"#;
    let planned = server::plan(layers(Process::Server, &[], file)).expect("is fine");
    let network = &planned.declared().sources[0].network;
    assert_eq!((network.rate.as_deref(), network.address_rate.as_deref()), (Some("100/s"), Some("10/min")));
    assert_eq!(network.allow.as_deref().unwrap(), ["10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!(network.deny.as_deref().unwrap(), ["10.9.0.0/16", "10.8.0.0/16"]);
    let faulty = r#"
[source.shop]
provider = "api-key"
rate = ["1/s", "2/s"]
address_rate = "much"
allow = []
deny = ["10.1.2.3/8"]
"#;
    let faults = faults_of(layers(Process::Server, &[], faulty));
    for want in ["rate", "want a rate like", "the list is empty", "want 10.0.0.0/8, or 10.1.2.3 alone"] {
        assert!(faults.contains(want), "{faults}");
    }
    assert_eq!(faults.matches("want a rate like").count(), 2, "{faults}");
}

#[test]
fn a_source_says_by_what_its_events_are_found() {
    let of = |marks: &str| format!("[source.shop]\nprovider = \"api-key\"\nmarks = {marks}\n");
    let file = of(r#"["customer=$.data.object.customer", "order = $['order=id'][0]"]"#);
    let planned = server::plan(layers(Process::Server, &[], &file)).expect("is fine");
    let marks = planned.declared().sources[0].marks.iter().map(|(name, path)| (name.as_str(), path.as_str()));
    assert_eq!(marks.collect::<Vec<_>>(), [("customer", "$.data.object.customer"), ("order", "$['order=id'][0]")]);
    let nine: Vec<String> = (0..9).map(|number| format!("m{number}=$.m")).collect();
    for (marks, want) in [
        (r#"["customer"]"#.to_owned(), "customer=$.data.object.customer"),
        (r#"["Customer=$.a"]"#.to_owned(), "1 to 63 of a-z"),
        (r#"["customer=data.a"]"#.to_owned(), "does not begin with $"),
        (r#"["a=$.a", "a=$.b"]"#.to_owned(), "there twice"),
        (format!("{nine:?}"), "want 8 marks at most"),
    ] {
        let faults = faults_of(layers(Process::Server, &[], &of(&marks)));
        assert!(faults.contains("marks") && faults.contains(want), "{faults}");
    }
}

#[test]
fn the_command_line_beats_the_environment_and_that_beats_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    std::fs::write(&path, "server_port = 1\nmax_retries = 1\nlease = 1\n").unwrap();
    let env = |name: &str| match name {
        "SERVER_PORT" | "MAX_RETRIES" => Some("2".to_owned()),
        "LEASE" => Some(String::new()),
        _ => None,
    };
    let flags = Flags::from([("SERVER_PORT", "3".to_owned())]);
    let layers = Layers::collect(Process::Server, Some(&path), &flags, &env);
    assert_eq!(layers.faults, Faults::default());
    assert_eq!((layers.number("SERVER_PORT"), layers.number("MAX_RETRIES")), (3, 2));
    assert_eq!(layers.span("LEASE").as_secs(), 1, "an empty variable counts as not set");
}

#[test]
fn a_value_may_stand_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "a-key-out-of-a-file\n").unwrap();
    let shown = path.display().to_string();
    let layers = layers(Process::Server, &[("API_KEY_FILE", &shown)], "");
    assert_eq!(layers.text("API_KEY"), Some("a-key-out-of-a-file".to_owned()));

    let both = self::layers(Process::Server, &[("API_KEY_FILE", &shown), ("API_KEY", "another-key-entirely")], "");
    assert!(both.faults.to_string().contains("both set"));
}

#[test]
fn settings_of_the_other_process_are_named_once_and_ignored() {
    let layers = layers(Process::Server, &[("RELAY_URL", "not even a url ://"), ("CONCURRENCY", "x")], "");
    assert_eq!(layers.faults, Faults::default());
    assert_eq!(layers.notes, ["settings of the client, ignored here: RELAY_URL, CONCURRENCY"]);
}

#[test]
fn a_client_needs_to_know_from_where_with_what_and_to_where() {
    let env = |_: &str| None;
    let faults = client::config(layers(Process::Client, &[], ""), &env).expect_err("nothing is given");
    let names: Vec<&str> = faults.0.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["RELAY_URL", "RELAY_TOKEN", "LOCAL_WEBHOOK_URL"]);
}

#[test]
fn a_client_takes_its_destinations_from_every_layer() {
    let environment = [
        ("RELAY_URL", "relay.example.com/base/"),
        ("RELAY_TOKEN", "a-token-for-the-test"),
        ("LOCAL_WEBHOOK_URL", "3000, crm=https://other.local/x"),
    ];
    let file = "[destination.crm]\nurl = \"http://crm.local\"\nconcurrency = 2\n[destination.erp]\nurl = \"8090\"\n";
    let (config, _) = client::config(layers(Process::Client, &environment, file), &|_| None).expect("is fine");
    assert_eq!(config.relay_url.to_string(), "wss://relay.example.com/base");
    let shown: Vec<String> =
        config.destinations.iter().map(|d| format!("{} {} {}", d.name, d.url, d.concurrency)).collect();
    assert_eq!(
        shown,
        ["crm https://other.local/x 2", "erp http://localhost:8090/ 8", "default http://localhost:3000/ 8"]
    );
}

/// S30: plain HTTP leaves this machine only where somebody said so; a pin is worth nothing without TLS.
#[test]
fn plain_http_to_another_machine_has_to_be_allowed() {
    let with = |more: &[(&str, &str)]| {
        let usual = [("RELAY_TOKEN", "a-token-for-the-test"), ("LOCAL_WEBHOOK_URL", "3000")];
        let environment: Vec<_> = usual.into_iter().chain(more.iter().copied()).collect();
        client::config(layers(Process::Client, &environment, ""), &|_| None)
    };
    let there = ("RELAY_URL", "http://relay.example.com");
    let faults = with(&[there]).expect_err("is not allowed").to_string();
    assert!(faults.contains("--allow-http") && faults.contains("not encrypted"), "{faults}");
    let (_, notes) = with(&[there, ("ALLOW_HTTP", "yes")]).expect("is allowed");
    assert!(notes.iter().any(|note| note.contains("not encrypted")), "{notes:?}");
    for here in ["http://localhost:8080", "127.0.0.1:8080", "ws://[::1]:8080"] {
        assert!(with(&[("RELAY_URL", here)]).is_ok(), "{here}");
    }
    let pin = ("RELAY_PIN", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert!(with(&[("RELAY_URL", "8080"), pin]).is_err());
    let (config, _) = with(&[("RELAY_URL", "relay.example.com"), pin]).expect("is fine");
    assert_eq!(config.pins.len(), 1);
}

/// I22: a forward under way at a stop can end within the grace.
#[test]
fn a_forward_timeout_not_less_than_the_grace_is_a_fault() {
    let with = |timeout| {
        let environment = [
            ("RELAY_URL", "relay.example.com"),
            ("RELAY_TOKEN", "a-token-for-the-test"),
            ("LOCAL_WEBHOOK_URL", "3000"),
            ("FORWARD_TIMEOUT", timeout),
        ];
        client::config(layers(Process::Client, &environment, ""), &|_| None)
    };
    // Of 30 s some are for its confirmation and what is said last.
    for timeout in ["30s", "29s", "27s"] {
        let faults = with(timeout).expect_err("has a fault").to_string();
        assert!(faults.contains("not less than 27s") && faults.contains("raise SHUTDOWN_GRACE"), "{faults}");
    }
    assert!(with("26900ms").is_ok());
}

/// I20: what a repeat shall find must not be gone before its key is.
#[test]
fn a_retention_shorter_than_the_dedupe_window_is_a_fault() {
    for name in ["RETENTION_DELIVERED", "RETENTION_DEAD"] {
        let planned = server::plan(layers(Process::Server, &[(name, "2d")], ""));
        let faults = planned.map(|_| ()).expect_err("has a fault").to_string();
        assert!(faults.contains(name) && faults.contains("DEDUPE_WINDOW (3d)"), "{faults}");
        server::plan(layers(Process::Server, &[(name, "2d"), ("DEDUPE_WINDOW", "2d")], "")).expect("is fine");
    }
}

/// I10: a schedule longer than its TTL is a configuration fault.
#[test]
fn a_schedule_longer_than_its_ttl_is_a_fault() {
    let fault = |environment: &[(&str, &str)], file: &str| {
        server::plan(layers(Process::Server, environment, file)).err().map(|faults| faults.to_string())
    };
    let text = fault(&[("RETRY_DELAY", "12h"), ("MAX_RETRIES", "3")], "").expect("3 d 12 h do not fit 24 h");
    assert!(text.contains("3 d 12 h") && text.contains("24h") || text.contains("1d"), "{text}");
    assert_eq!(fault(&[("MESSAGE_TTL", "2s")], ""), None, "the usual retries do not forbid a short TTL");
    let route = "[[route]]\nsource=\"default\"\ndestination=\"crm\"\nschedule=\"standard-webhooks\"\n";
    assert!(fault(&[], route).is_some());
    assert_eq!(fault(&[("MESSAGE_TTL", "7d")], route), None);
}

/// A provider that signs the URL it calls is no use to a relay that does not know its own; said with every other fault.
#[test]
fn a_provider_that_signs_the_url_needs_public_url() {
    let file = "[source.shop]\nprovider = \"square\"\nsekret = \"x\"\ndedupe = \"sometimes\"\n";
    let text = server::plan(layers(Process::Server, &[], file)).expect_err("has faults").to_string();
    for words in ["set PUBLIC_URL", "sekret", "signature_key", "want auto or strict"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let good = "[source.shop]\nprovider = \"square\"\nsignature_key = \"the-signature-key\"\ndedupe = \"strict\"\n";
    let url = [("PUBLIC_URL", "https://relay.example.com")];
    assert!(server::plan(layers(Process::Server, &url, good)).is_ok());
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let mut faults = Faults::default();
    raw::parse(Path::new("x.toml"), "lease = 60\nttl = = 5\n", &mut faults);
    assert!(faults.to_string().contains("x.toml line 2"), "{faults}");
}

/// I19: on a laptop a target that is up again gets its webhooks within seconds, unless somebody says otherwise.
#[test]
fn dev_pauses_for_two_seconds_at_most() {
    let pause = |process, environment: &[(&str, &str)]| {
        let plan = server::plan(layers(process, environment, "")).expect("has no faults");
        plan.circuit_pause_max().as_secs()
    };
    assert_eq!((pause(Process::Dev, &[]), pause(Process::Server, &[])), (2, 60));
    assert_eq!(pause(Process::Dev, &[("CIRCUIT_PAUSE_MAX", "30s")]), 30);
}

fn client_faults(environment: &[(&str, &str)], file: &str) -> String {
    client::config(layers(Process::Client, environment, file), &|_| None).expect_err("has faults").to_string()
}

const AT_HOME: [(&str, &str); 2] = [("RELAY_URL", "localhost:8080"), ("RELAY_TOKEN", "crt_a-token-of-a-client")];

/// S27: what a target wants to see of its client comes from the client's file, and is shown nowhere.
#[test]
fn header_fields_of_a_target_are_taken_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("token");
    std::fs::write(&secret, "canary-of-a-file\n").unwrap();
    let path = secret.display();
    let file = format!(
        r#"
[destination.crm]
url = "http://crm.local/hook?token=canary"
headers = {{ "X-Token" = "canary", "X-File" = {{ file = "{path}" }}, "X-At" = "@{path}", "X-Plain" = "@@canary" }}
[destination.erp]
url = "http://erp.local/"
username = "relay"
password = {{ file = "{path}" }}
"#
    );
    let (config, _) = client::config(layers(Process::Client, &AT_HOME, &file), &|_| None).unwrap();
    assert_eq!(config.relay_url.to_string(), "ws://localhost:8080/");
    let [crm, erp] = &config.destinations[..] else { panic!() };
    let all: Vec<String> =
        crm.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(all, ["x-at: canary-of-a-file", "x-file: canary-of-a-file", "x-plain: @canary", "x-token: canary"]);
    assert_eq!(erp.headers[0].1, "Basic cmVsYXk6Y2FuYXJ5LW9mLWEtZmlsZQ==");
    assert!(!format!("{config:?}").contains("canary"), "{config:?}");
}

#[test]
fn what_a_target_cannot_be_sent_is_a_fault_that_shows_no_value() {
    let file = r#"
[destination.crm]
url = "http:/crm.local/hook?token=canary"
headers = { "Relay-Event-Id" = "canary", Host = "canary", "X-A" = "@/nowhere/canary-file", "bad name" = "canary" }
username = "u"
[destination.erp]
url = "http://erp.local"
headers = { Authorization = "canary" }
username = "u"
password = "canary"
"#;
    let text = client_faults(&AT_HOME, file);
    for want in [
        "two slashes",
        "relay-event-id is set",
        "host is set",
        "cannot read the file",
        "not the name",
        "together",
        "both",
    ] {
        assert!(text.contains(want), "{want} in {text}");
    }
    assert!(!text.replace("canary-file", "").contains("canary"), "{text}");
}

/// What cannot work is said at the start, not found out for each webhook.
#[test]
fn urls_and_tokens_in_the_wrong_place_are_faults() {
    let fault = |name: &'static str, value: &'static str| {
        let given = [("RELAY_URL", "https://r.example"), ("RELAY_TOKEN", AT_HOME[1].1), ("LOCAL_WEBHOOK_URL", "3000")];
        let given = given.map(|(known, usual)| if known == name { (name, value) } else { (known, usual) });
        client_faults(&given, "")
    };
    assert!(fault("RELAY_URL", "https://r.example/webhook/stripe").contains("where senders post"));
    assert!(fault("RELAY_URL", "https:/r.example").contains("two slashes"));
    assert!(fault("RELAY_TOKEN", "crk_0123456789abcdef").contains("this is an API key"));
    assert!(fault("RELAY_TOKEN", "cra_0123456789abcdef").contains("the admin token"));
    assert!(fault("LOCAL_WEBHOOK_URL", "https://r.example/webhook/x").contains("the relay server itself"));
    assert!(fault("LOCAL_WEBHOOK_URL", "https://r.example").contains("the relay server itself"));
    assert!(fault("LOCAL_WEBHOOK_URL", "https://R.example:443/").contains("the relay server itself"));
    let shown = fault("LOCAL_WEBHOOK_URL", "ftp://h/?k=canary,crm=http://h/?k=canary");
    assert!(shown.contains("want http://") && !shown.contains("canary"), "{shown}");
}

/// A file for the server, or for the client, with one fault in it.
struct Beyond {
    process: Process,
    environment: &'static [(&'static str, &'static str)],
    file: String,
    /// What the fault says.
    says: &'static str,
}

fn server_beyond(environment: &'static [(&'static str, &'static str)], file: &str, says: &'static str) -> Beyond {
    Beyond { process: Process::Server, environment, file: file.to_owned(), says }
}

fn client_beyond(environment: &'static [(&'static str, &'static str)], file: &str, says: &'static str) -> Beyond {
    Beyond { process: Process::Client, environment, file: file.to_owned(), says }
}

fn destinations(count: usize) -> String {
    let sections: Vec<String> = (0..count).map(|number| format!("[destination.d{number}]\nurl = \"3000\"\n")).collect();
    sections.concat()
}

/// What the other side or the start would refuse is said beforehand, each bound of it.
#[test]
fn what_no_server_and_no_session_takes_is_a_fault() {
    let route =
        |more: &str| format!("[[route]]\nsource = \"default\"\ndestination = \"crm\"\nttl = \"3650d\"\n{more}\n");
    let destination = |more: &str| format!("[destination.crm]\nurl = \"3000\"\n{more}\n");
    let long = "x".repeat(64);
    let listed = format!("schedule = [{}]", "\"1s\", ".repeat(1_001));
    let path = format!("relay_url = \"https://r.example/{}\"\n{}", "x".repeat(8_200), destination(""));
    let data_dir = format!("data_dir = \"/{}\"", "x".repeat(93));
    let paypal = "[source.pay]\nprovider = \"paypal\"\nwebhook_id = \"1JE4291016473214C\"\ntolerance = \"1h\"";
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/providers/keys").display().to_string();
    let pair = |certificate: &str, key: &str| {
        format!("[[tls]]\ncert_file = \"{keys}/{certificate}.pem\"\nkey_file = \"{keys}/{key}.pem\"\n")
    };
    let cases = [
        client_beyond(&[], &destinations(1_025), "1025 destinations; one client serves 1024 at most"),
        client_beyond(&[], &format!("[destination.{long}]\nurl = \"3000\""), "63"),
        client_beyond(&[], &destination("concurrency = 4097"), "1 to 4096"),
        client_beyond(&[], &destination("concurrency = 0"), "1 to 4096"),
        client_beyond(&[], &destination("forward_timeout = \"61m\""), "100ms to 1h"),
        client_beyond(&[], &destination("forward_timeout = \"50ms\""), "100ms to 1h"),
        client_beyond(&[("FORWARD_TIMEOUT", "2h"), ("LOCAL_WEBHOOK_URL", "3000")], "", "100ms to 1h"),
        client_beyond(&[("CONCURRENCY", "5000"), ("LOCAL_WEBHOOK_URL", "3000")], "", "1 to 4096"),
        client_beyond(&[("CLIENT_BUFFER", "1KiB"), ("LOCAL_WEBHOOK_URL", "3000")], "", "64KiB"),
        client_beyond(&[], &path, "no server takes more than"),
        server_beyond(&[], &format!("[source.{long}]\nprovider = \"api-key\""), "63"),
        server_beyond(&[], &route("retry_delay = \"25h\""), "1ms to 1d"),
        server_beyond(&[], &route("max_retries = 1001"), "0 to 1000"),
        server_beyond(&[], &route("retry_multiplier = 101"), "1 to 100"),
        server_beyond(&[], &route("schedule = [\"1s\", \"25h\"]"), "a delay of 25h; want 1d at most"),
        server_beyond(&[], &route(&listed), "1001 delays; want 1000 at most"),
        server_beyond(&[("MESSAGE_TTL", "3651d")], "", "3650d"),
        server_beyond(&[("MAX_BODY_BYTES", "2GiB")], "", "1GiB"),
        server_beyond(&[], &data_dir, "94 bytes long; a socket is made in it"),
        server_beyond(&[("SERVER_PORT", "8081"), ("SERVER_HOST", "0.0.0.0")], "", "are the same port"),
        server_beyond(&[("ADMIN_LISTEN", "0.0.0.0:8080"), ("SERVER_HOST", "127.0.0.1")], "", "are the same port"),
        server_beyond(&[("DEDUPE_WINDOW", "10m")], paypal, "raise DEDUPE_WINDOW"),
        server_beyond(&[("REDIRECT_LISTEN", "127.0.0.1:9000")], "", "the public listener speaks no TLS"),
        server_beyond(
            &[("REDIRECT_LISTEN", "127.0.0.1:9000")],
            &pair("rsa.crt", "rsa.key"),
            "want PUBLIC_URL with https://",
        ),
        server_beyond(
            &[("REDIRECT_LISTEN", "0.0.0.0:8081")],
            &pair("rsa.crt", "rsa.key"),
            "the port of another listener",
        ),
        server_beyond(&[("ACME_DOMAIN", "relay.test,192.0.2.7")], "", "could check \"192.0.2.7\""),
        server_beyond(&[("ACME_DOMAIN", "localhost")], "", "could check \"localhost\""),
        server_beyond(&[("ACME_DOMAIN", "relay.test"), ("ACME_EMAIL", "Jo <jo@relay.test>")], "", "want one address"),
        server_beyond(
            &[("ACME_DOMAIN", "relay.test"), ("ACME_DIRECTORY", "http://ca.test/dir")],
            "",
            "begins with https://",
        ),
        server_beyond(&[("ACME_DOMAIN", "relay.test"), ("REDIS_URL", "redis://redis.test")], "", "several servers"),
        server_beyond(
            &[("ACME_DOMAIN", "relay.test")],
            &pair("rsa.crt", "rsa.key")
                .replace("[[tls]]", "")
                .replace("cert_file", "tls_cert_file")
                .replace("key_file", "tls_key_file"),
            "ACME_DOMAIN is set too: want one of them",
        ),
        server_beyond(&[], &pair("rsa.crt", "rsa.crt"), "no private key"),
        server_beyond(&[], &pair("rsa.crt", "rsa.key").repeat(2), "it is never shown"),
        server_beyond(&[], "[[tls]]\ncert_fil = \"a.pem\"", "did you mean cert_file?"),
        server_beyond(&[], "[tls]\ncert_file = \"a.pem\"", "want tables: [[tls]] with cert_file and key_file"),
    ];
    for Beyond { process, environment, file, says } in cases {
        let mut environment = environment.to_vec();
        let in_file = |name: &str| file.contains(&name.to_ascii_lowercase());
        environment.extend(AT_HOME.iter().filter(|(name, _)| process == Process::Client && !in_file(name)));
        let layers = layers(process, &environment, &file);
        let faults = match process {
            Process::Client => client::config(layers, &|_| None).err(),
            _ => server::plan(layers).err(),
        };
        let text = faults.unwrap_or_else(|| panic!("is taken: {says}: {file}")).to_string();
        assert!(text.contains(says), "{says} in {text}");
    }
}

/// And what is just within them is taken.
#[test]
fn what_is_just_within_every_bound_is_taken() {
    let file = destinations(1_023)
        + &format!("[destination.{}]\nurl = \"3000\"\nconcurrency = 4096\nforward_timeout = \"1h\"\n", "x".repeat(63));
    let environment = [AT_HOME[0], AT_HOME[1], ("SHUTDOWN_GRACE", "2h")];
    let (config, _) = client::config(layers(Process::Client, &environment, &file), &|_| None).expect("is within");
    assert_eq!(config.destinations.len(), 1_024);
    let delays = "\"1s\", ".repeat(999) + "\"24h\"";
    let route =
        format!("[[route]]\nsource = \"default\"\ndestination = \"crm\"\nttl = \"3650d\"\nschedule = [{delays}]\n");
    let listen = [("SERVER_PORT", "8081"), ("SERVER_HOST", "192.0.2.1")];
    server::plan(layers(Process::Server, &listen, &route)).expect("is within");
}

/// A file of tens of thousands of entries is read in a time that grows with it and not with its square.
#[test]
fn a_long_file_is_read_in_one_pass() {
    let source =
        |number: u32| format!("[source.s{number}]\nprovider = \"api-key\"\nkey = \"key-of-source-{number:08}\"\n");
    let route = |number: u32| format!("[[route]]\nsource = \"s{number}\"\ndestination = \"d{number}\"\n");
    let file: String = (0..20_000).map(|number| source(number) + &route(number)).collect();
    let began = tokio::time::Instant::now();
    let plan = server::plan(layers(Process::Server, &[], &file)).expect("no faults");
    assert_eq!((plan.declared().sources.len(), plan.declared().routes.len()), (20_000, 20_000));
    assert_eq!(plan.declared().routes[19_999].at.rsplit(' ').next(), Some("119998"));
    let mut faults = Faults::default();
    raw::parse(Path::new("x"), &"no toml\n".repeat(20_000), &mut faults);
    assert_eq!(faults.0.len(), 20_000);
    // Twenty times what it takes; a scan of all for each takes minutes.
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

/// I4, I16: a body within the limit can come in; a limit that says otherwise is a fault, with the sizes that would do, and one
/// that nobody gave follows.
#[test]
fn the_largest_body_is_one_that_has_room() {
    let plan = |environment: &[(&str, &str)]| server::plan(layers(Process::Server, environment, ""));
    // The one that made it so is named: it was lowered, or a body is too large for what is usual.
    for (inflight, body, named) in [
        ("32MiB", "16MiB", "MAX_INFLIGHT_BYTES = \"32MiB\""),
        ("32MiB", "25MiB", "MAX_INFLIGHT_BYTES = \"32MiB\""),
        ("64KiB", "64KiB", "MAX_INFLIGHT_BYTES = \"64KiB\""),
        ("256MiB", "128MiB", "MAX_BODY_BYTES = \"128MiB\""),
        ("", "128MiB", "MAX_BODY_BYTES = \"128MiB\""),
    ] {
        let text = plan(&[("MAX_INFLIGHT_BYTES", inflight), ("MAX_BODY_BYTES", body)]).expect_err(body).to_string();
        assert!(text.contains("at most") && text.contains("at least") && text.contains(named), "{text}");
    }
    for (inflight, body, noted) in [("32MiB", "15MiB", true), ("33MiB", "16MiB", true), ("100MiB", "25MiB", false)] {
        let plan = plan(&[("MAX_INFLIGHT_BYTES", inflight), ("MAX_BODY_BYTES", body)]).expect(body);
        assert_eq!(plan.notes.iter().any(|note| note.contains("a quarter")), noted, "{body} {:?}", plan.notes);
    }
    let planned = plan(&[("MAX_INFLIGHT_BYTES", "32MiB")]).expect("the usual limit follows");
    assert!(
        planned.notes.iter().any(|note| note.contains("MAX_BODY_BYTES is 16352KiB and not 25MiB")),
        "{:?}",
        planned.notes
    );
    assert!(plan(&[]).expect("defaults").notes.iter().all(|note| !note.contains("MAX_BODY_BYTES")));
}

/// I20, S27: on Redis, whose memory holds it, less is kept unless somebody says otherwise; and no password shows.
#[test]
fn a_store_in_redis_keeps_less_and_shows_no_password() {
    let plan = |environment: &[(&str, &str)]| server::plan(layers(Process::Server, environment, ""));
    let of_redis = [("REDIS_URL", "redis://u:canary@h/3"), ("REDIS_TIMEOUT", "1s"), ("REDIS_DURABILITY", "replicated")];
    let found = plan(&of_redis).expect("it is fine");
    assert_eq!(found.declared().retention_delivered.as_secs(), 86_400);
    assert_eq!(found.declared().dedupe_window.as_secs(), 86_400);
    assert!(!found.declared().server.is_empty());
    let options = found.redis().expect("it is on Redis");
    assert_eq!((options.login.database, options.login.password.as_deref()), (3, Some("canary")));
    assert_eq!(options.durability, Some(relay_store::seam::Durability::Replicated));
    assert!(!format!("{found:?}").contains("canary"));
    let longer = plan(&[of_redis[0], ("DEDUPE_WINDOW", "3d")]).expect_err("it forgets before that");
    assert!(longer.to_string().contains("RETENTION_DELIVERED"), "{longer}");
    let twice = plan(&[of_redis[0], ("REDIS_PASSWORD", "canary2"), ("REDIS_DB", "4")]).expect_err("which of them?");
    assert!(!twice.to_string().contains("canary") && twice.0.len() == 2, "{twice}");
    // Whatever is wrong with the URL, all else is told with it.
    let url = "redis+cluster://:canary@h:0";
    let told =
        plan(&[("REDIS_URL", url), ("REDIS_DB", "3"), ("REDIS_CA_FILE", "/nonexistent"), ("STREAM_NAME", "a{b")]);
    let told = told.expect_err("none of it is fine");
    let names: Vec<&str> = told.0.iter().map(|fault| &*fault.name).collect();
    assert!(
        ["REDIS_URL", "REDIS_DB", "REDIS_CA_FILE", "STREAM_NAME"].iter().all(|name| names.contains(name)),
        "{told}"
    );
    let told = plan(&[("REDIS_URL", "http://:canary@h:0")]).expect_err("no Redis").to_string();
    assert!(told.contains("redis+sentinel://") && told.contains("1 to 65535") && !told.contains("canary"), "{told}");
    let embedded = plan(&[]).expect("it is fine");
    assert!(embedded.redis().is_none() && embedded.declared().dedupe_window.as_secs() == 3 * 86_400);
    assert!(embedded.declared().server.is_empty());
}

/// S27: every fault of an alert is told with what would be right, and no secret with any.
#[test]
fn faults_of_alerts_are_told_all_together_and_show_no_secret() {
    let file = r#"
[alert.Night]
url = "https://hooks.example.com/canary"
format = "slack"

[alert.both]
url = "https://hooks.example.com/canary"
command = ["/bin/true"]

[alert.nothing]
severity = "loud"
kinds = ["disk", "noise"]

[alert.plain]
url = "http://127.0.0.1:9000/canary"
format = "teams"

[alert.login]
url = "https://user:canary@hooks.example.com/"
secret = "canary"

[alert.shell]
command = ["mail -s relay ops@example.com"]
format = "slack"

[alert.chat]
url = "https://hooks.example.com/canary"
format = "slack"
secret = "canary"
kind = "disk"
"#;
    let told = faults_of(layers(Process::Server, &[], file));
    assert!(!told.contains("canary"), "{told}");
    for want in [
        "Night",
        "there is a url too",
        "info, warning, critical",
        "\"noise\"",
        "want some of dead_letters",
        "missing: it signs what is sent",
        "with allow_private = true",
        "a URL with a login",
        "no shell reads it",
        "a command has none",
        "the URL is the secret there",
        "did you mean kinds?",
    ] {
        assert!(told.contains(want), "{want}: {told}");
    }
}

#[test]
fn alerts_are_read_as_they_stand() {
    let secret = format!("whsec_{}", "QUJD".repeat(8));
    let file = format!(
        "[alert.ops]\nurl = \"https://hooks.example.com/a?b=c\"\nsecret = \"{secret}\"\nkinds = [\"disk\", \"store\"]\nseverity = \"critical\"\n\
         [alert.page]\nformat = \"pagerduty\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n\
         [alert.here]\nurl = \"http://10.0.0.7/x\"\nformat = \"slack\"\nallow_private = true\n\
         [alert.tell]\ncommand = [\"/bin/true\", \"-x\", \"a b\"]\n"
    );
    let plan = server::plan(layers(Process::Server, &[], &file)).unwrap();
    let shown: Vec<String> = plan.declared().alerts.iter().map(|alert| format!("{alert:?}")).collect();
    assert_eq!(
        shown,
        [
            "DeclaredAlert { name: \"here\", way: Post(Post(slack to 10.0.0.7, allow_private: true)), kinds: {}, severity: Warning }",
            "DeclaredAlert { name: \"ops\", way: Post(Post(standard-webhooks to hooks.example.com, allow_private: false)), kinds: \
             {Disk, Store}, severity: Critical }",
            "DeclaredAlert { name: \"page\", way: Post(Post(pagerduty to events.pagerduty.com, allow_private: false)), kinds: {}, \
             severity: Warning }",
            "DeclaredAlert { name: \"tell\", way: Command(Command(/bin/true with 2 arguments)), kinds: {}, severity: Warning }",
        ]
    );
}

/// A copy that is lost with the store is none, and a Redis is copied by itself; what changes nothing is said.
#[test]
fn a_store_is_copied_to_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let within = data.path().join("copies").display().to_string();
    let data_dir = data.path().display().to_string();
    let told = |more: &[(&str, &str)]| {
        let environment = [&[("DATA_DIR", data_dir.as_str())], more].concat();
        server::plan(layers(Process::Server, &environment, "")).map_err(|faults| faults.to_string())
    };
    let fault = told(&[("BACKUP_DIR", &within)]).expect_err("within");
    assert!(fault.contains("BACKUP_DIR") && fault.contains("in DATA_DIR"), "{fault}");
    let fault = told(&[("BACKUP_DIR", "/backup/relay"), ("REDIS_URL", "redis://redis.test")]).expect_err("Redis");
    assert!(fault.contains("whose own copies are its backups"), "{fault}");
    let fault = told(&[("BACKUP_DIR", "/backup/relay"), ("BACKUP_KEEP", "0")]).expect_err("none");
    assert!(fault.contains("1 to 1000"), "{fault}");
    let plan = told(&[("BACKUP_DIR", "/backup/relay"), ("BACKUP_EVERY", "1h")]).unwrap();
    let backups = plan.declared().backups.as_ref().unwrap();
    assert_eq!((backups.every.as_secs(), backups.keep), (3_600, 7));
    let plan = told(&[("BACKUP_KEEP", "3")]).unwrap();
    assert!(
        plan.declared().backups.is_none() && plan.notes.iter().any(|note| note.contains("BACKUP_KEEP changes nothing"))
    );
}
