//! The dashboard of the real binary in a real browser: Chromium, driven by `dashboard/visit.mjs`, which says what it looks for.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    bound,
    fronts::{PROXY, Place},
    port::free_port,
    process::{API_KEY, Process, Server, wait_for},
    target::{Arrival, Reply, Target},
};

/// S24, S25, S26: a developer sees a webhook come by the link of `crm-relay dashboard`; a viewer signs in, sees no payload, follows a link
/// of another site, and is out when he is disabled; an administrator chooses a password and makes a user; payloads are text, and everything
/// is read without JavaScript. By keyboard alone an event is replayed, a destination paused and resumed, a delivery cancelled, and a group of
/// dead letters redriven: I12, what died after the preview stays. The pictures stay for whoever wants to look.
#[test]
fn people_use_the_dashboard_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = runtime.block_on(Target::start(mended()));
    let (dev, data_dir, public) = dev(dir.path(), &["--to", &target.url("/")]);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    let visit = visit("visit.mjs", &data_dir, &public).arg(pictures).output().expect("node runs: make setup");
    assert_well(&visit, &dev);
    let log = dev.log();
    assert!(!log.contains("crl_") && !log.contains("crs_"), "no link or session is in the log: {log}");
}

/// S24: through a proxy that holds streams back, over TLS and below a path, pages follow what arrives by asking, and say so; one of them
/// stands at the login soon after its user was disabled.
#[test]
fn pages_follow_through_a_proxy_that_holds_streams_back() {
    let place = Place::new();
    let port = free_port();
    let site = format!("https://localhost:{port}/relay/");
    let server = Server::start(place.dir(), &[("ADMIN_URL", &site), ("TRUSTED_PROXIES", PROXY)]);
    let config = format!(
        "server {{\nlisten 127.0.0.1:{port} ssl;\nserver_name localhost;\nssl_certificate {};\nssl_certificate_key {};\n\
         location /relay/ {{\nproxy_pass http://{}/;\nproxy_http_version 1.1;\nproxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header Connection \"\";\n\
         proxy_ignore_headers X-Accel-Buffering;\nproxy_buffering on;\nproxy_buffer_size 256k;\nproxy_buffers 8 256k;\n\
         proxy_busy_buffers_size 512k;\n}}\n}}\n",
        place.path("tls.pem"),
        place.path("tls.key"),
        server.admin,
    );
    let mut nginx = place.nginx(&config);
    wait_for("nginx to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    let visit = visit("proxied.mjs", &server.data_dir(), &server.url("")).env("SITE", &site).output();
    assert_well(&visit.expect("node runs: make setup"), &server.process);
    nginx.signal("TERM");
    nginx.wait();
}

/// A page of events that stays open while `RATE` webhooks a second come for `SOAK_SECONDS` is live at the end, and no larger than it was.
#[ignore = "it takes minutes to tell: make dashboard-soak"]
#[test]
fn a_page_that_is_left_open_stays_flat() {
    let given = |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (seconds, rate) = (given("SOAK_SECONDS", 600), given("RATE", 500));
    bound::within(Duration::from_secs(2 * seconds) + Duration::from_mins(5));
    let dir = tempfile::tempdir().unwrap();
    let (dev, data_dir, public) = dev(dir.path(), &[]);
    // More than are waited for: the load ends with its process.
    let (count, rate) = ((rate * (seconds + 120)).to_string(), rate.to_string());
    let load = ["send", "--count", &count, "--rate", &rate];
    let known = [("DATA_DIR", data_dir.to_str().unwrap()), ("API_KEY", API_KEY)];
    let mut load = Process::start(&dir.path().join("send.log"), &load, &known);
    let mut visit = visit("open.mjs", &data_dir, &public);
    let visit = visit.env("SECONDS", seconds.to_string()).env("RATE", &rate).stderr(Stdio::inherit()).output();
    assert_well(&visit.expect("node runs: make setup"), &dev);
    assert!(load.is_running(), "webhooks came to its end: {}", load.log());
}

/// `crm-relay dev` in this directory, with its data directory, and where webhooks go.
fn dev(dir: &Path, args: &[&str]) -> (Process, PathBuf, String) {
    let env = [
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("API_KEY", API_KEY),
        ("DISK_RESERVE", "1MiB"),
        ("MAX_RETRIES", "0"),
    ];
    let dev = Process::start(&dir.join("dev.log"), &[&["dev"], args].concat(), &env);
    let data_dir = dir.join("crm-relay-dev");
    let run: serde_json::Value = wait_for("dev to announce itself", || {
        serde_json::from_slice(&std::fs::read(data_dir.join("run.json")).ok()?).ok()
    });
    let public = format!("http://{}", run["public"].as_str().unwrap().replace("0.0.0.0", "127.0.0.1"));
    (dev, data_dir, public)
}

/// A visit by a browser of a server with this data directory.
fn visit(script: &str, data_dir: &Path, public: &str) -> Command {
    let libraries = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vendors").join("browser");
    assert!(libraries.join("node_modules").exists(), "{} is not there: make setup", libraries.display());
    let mut command = Command::new("node");
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/dashboard").join(script))
        .env("BROWSER_LIBRARIES", libraries)
        .env("PROGRAM", env!("CARGO_BIN_EXE_crm-relay"))
        .env("DATA_DIR", data_dir)
        .env("PUBLIC", public)
        .env("API_KEY", API_KEY);
    command
}

/// It found nothing; its figures are told.
fn assert_well(visit: &Output, server: &Process) {
    let (figures, said) = (String::from_utf8_lossy(&visit.stdout), String::from_utf8_lossy(&visit.stderr));
    assert!(visit.status.success(), "{figures}\n{said}\n{}", server.log());
    eprintln!("{}", figures.trim());
}

/// Refuses what is bad, until it is mended.
fn mended() -> impl Fn(&Arrival) -> Reply + Send + Sync + 'static {
    let mended = AtomicBool::new(false);
    move |seen| {
        if *seen.body == *b"mend" {
            mended.store(true, Ordering::Relaxed);
        }
        let is_bad = seen.body.starts_with(b"bad") && !mended.load(Ordering::Relaxed);
        Reply::status(if is_bad { 422 } else { 200 })
    }
}
