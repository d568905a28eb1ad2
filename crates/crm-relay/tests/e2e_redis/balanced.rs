//! Two servers behind `HAProxy`, with the file of `contrib/` as it stands but for names, ports and certificates.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::time::timeout;

use crate::{
    process::{API_KEY, PATIENCE, Process, Server, wait_for},
    sender::Sender,
    store::{Redis, free_port},
};

/// The file, before these servers, without TLS.
fn config(port: u16, servers: [SocketAddr; 2]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/haproxy/two-servers.cfg");
    let [first, second] = servers.map(|server| server.to_string());
    let changes = [
        ("bind :443 ssl crt /etc/ssl/private/relay.example.com.pem alpn http/1.1", format!("bind 127.0.0.1:{port}")),
        ("10.0.0.11:8080", first),
        ("10.0.0.12:8080", second),
    ];
    changes.into_iter().fold(fs::read_to_string(path).unwrap(), |text, (from, to)| {
        assert!(text.contains(from), "the file has {from:?}");
        text.replace(from, &to)
    })
}

/// I22: a balancer that asks `/readyz` lets no sender see that its servers are started anew, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_behind_haproxy_is_seen_by_no_sender() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let mut servers = ["a", "b"].map(|name| {
        let home = dir.path().join(name);
        fs::create_dir_all(&home).unwrap();
        // As the file says; two of its checks here, none of which waits.
        let delay = ("STOP_DELAY", "2s");
        let given = [("REDIS_URL", url.as_str()), ("STREAM_NAME", "balanced"), ("TRUSTED_PROXIES", "127.0.0.1"), delay];
        Server::start(&home, &given)
    });
    let port = free_port();
    let (file, log) = (dir.path().join("haproxy.cfg"), dir.path().join("haproxy.log"));
    fs::write(&file, config(port, servers.each_ref().map(|server| server.public))).unwrap();
    let out = File::create(&log).unwrap();
    // Debian keeps it where only root looks.
    let path = format!("PATH={}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("env");
    command.args([path.as_str(), "haproxy", "-db", "-f", file.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let haproxy = Process::of(command.spawn().unwrap(), log);
    wait_for("the balancer to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let to = format!("http://127.0.0.1:{port}/webhook");
    let (over, taken, refused) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (over, taken, refused, to) = (Arc::clone(&over), Arc::clone(&taken), Arc::clone(&refused), to.clone());
            tokio::spawn(async move {
                let sender = Sender::new();
                while !over.load(Ordering::Relaxed) {
                    match sender.post(&to, "{}").await {
                        Some(told) if told.status == 202 => taken.fetch_add(1, Ordering::Relaxed),
                        told => {
                            eprintln!("{:?}", told.map(|told| (told.status, told.body)));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            })
        })
        .collect();
    let more = |what: &str| {
        let enough = taken.load(Ordering::Relaxed) + 100;
        wait_for(what, || (taken.load(Ordering::Relaxed) >= enough).then_some(()));
    };
    for number in [0, 1, 0] {
        more("webhooks to be taken by both");
        servers[number].process.signal("TERM");
        assert!(servers[number].process.wait().success(), "{}", servers[number].process.log());
        more("webhooks to be taken by the other");
        servers[number].restart();
        // It is sent webhooks again before the other one goes.
        let own = servers[number]
            .url("/metrics")
            .replace(&servers[number].public.to_string(), &servers[number].admin.to_string());
        let sender = Sender::new();
        let is_asked = async {
            loop {
                let told =
                    sender.send(http::Method::GET, &own, &[("authorization", API_KEY)], Vec::new()).await.unwrap();
                let page = String::from_utf8_lossy(&told.body).into_owned();
                if page.lines().any(|line| line.starts_with("crm_relay_commit_seconds_count") && !line.ends_with(" 0"))
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, is_asked).await.expect("it is sent webhooks again");
    }
    over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(refused.load(Ordering::Relaxed), 0, "of {}", taken.load(Ordering::Relaxed));
    drop(haproxy);
}
