//! Where something in between cuts `WebSockets`, the session goes over requests.

use std::{fs, path::Path, process::Command, process::Stdio, time::Instant};

use crate::{
    port::free_port,
    process::{API_KEY, Process, Server, run, wait_for},
    target::{Reply, Target},
};

/// nginx as it is without a word of upgrades: it takes them off, and buffers bodies both ways.
fn nginx(dir: &Path, server: &Server, port: u16) -> Process {
    let path = |name: &str| dir.join(name).display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {};\n", path(&format!("{what}.d"))));
    let whole = format!(
        "daemon off;\nuser root;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{}\
         server {{\nlisten 127.0.0.1:{port};\nclient_max_body_size 0;\nlocation / {{ proxy_pass http://{}; }}\n}}\n}}\n",
        path("nginx.pid"),
        temporary.concat(),
        server.public,
    );
    fs::write(path("nginx.conf"), whole).unwrap();
    let log = dir.join("nginx.log");
    let out = fs::File::create(&log).unwrap();
    let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("env");
    command.arg(format!("PATH={search}")).args(["nginx", "-e", "stderr", "-p", &path(""), "-c", &path("nginx.conf")]);
    let child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
    Process::of(child, log)
}

/// I3, I6, I8, I21: through a proxy that takes the upgrade off webhooks arrive byte for byte, outcomes come back before a waiting
/// request would end, a server that is killed is found again, and a token that is revoked ends the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_over_requests_where_a_proxy_cuts_websockets() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut server = Server::start(dir, &[]);
    let port = free_port();
    let proxy = nginx(dir, &server, port);
    let token = server.json(&["token", "create", "office"])["token"].as_str().unwrap().to_owned();
    let target = Target::start(|_| Reply::status(204)).await;
    let url = format!("http://127.0.0.1:{port}");
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", &token)];
    let mut client = Process::start(&dir.join("client.log"), &["client", "--to", &target.url("/in")], &env);
    wait_for("the client to join", || client.log().contains("event=\"connected\"").then_some(()));
    assert!(client.log().contains("event=\"polling\""), "{}", client.log());

    let shown = server.json(&["destination", "show", "default"]);
    assert!(shown.to_string().contains("(long-poll)"), "{shown}");

    let body: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(dir.join("large"), &body).unwrap();
    let large = dir.join("large").display().to_string();
    let data_dir = server.data_dir();
    let env = [("DATA_DIR", data_dir.to_str().unwrap()), ("API_KEY", API_KEY)];
    let to = server.url("/webhook/default/a%2Fb//c;d%20e?x=%31");
    let sent = run(dir, &["send", "--to", &to, "--body", &large], &env);
    assert!(sent.status.success(), "{sent:?}");
    wait_for("it to arrive", || (target.count() == 1).then_some(()));
    let arrived = Instant::now();
    wait_for("it to be delivered", || (server.queue_depth() == 0).then_some(()));
    assert!(arrived.elapsed() < relay_core::limits::POLL_WAIT, "an outcome waits for no request to end");
    let arrivals = target.arrivals();
    assert_eq!(arrivals[0].path_and_query, "/in/a%2Fb//c;d%20e?x=%31");
    assert!(arrivals[0].body == body);

    server.process.kill();
    server.restart();
    let sent = run(dir, &["send", "--to", &server.url("/webhook")], &env);
    assert!(sent.status.success(), "{sent:?}");
    wait_for("the next to arrive", || (target.count() == 2).then_some(()));
    wait_for("it to be delivered", || (server.queue_depth() == 0).then_some(()));
    server.audit();

    assert!(server.cli(&["token", "revoke", "office"]).status.success());
    wait_for("the client to hear of it", || client.log().contains("revoked").then_some(()));
    let sent = run(dir, &["send", "--to", &server.url("/webhook")], &env);
    assert!(sent.status.success(), "{sent:?}");
    client.kill();
    assert_eq!((target.count(), server.queue_depth()), (2, 1));
    proxy.signal("TERM");
    let mut proxy = proxy;
    proxy.wait();
}
