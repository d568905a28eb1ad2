//! What operators ask of a store in a Redis: doctor, check, and whether a Redis that is set as we say is one that we take.

use std::{collections::BTreeMap, fs::File, path::Path, process::Command};

use serde_json::Value;

use crate::{
    clustered::Clustered,
    node,
    process::{ADMIN_TOKEN, API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    replicated::{MASTER, Replicated, Settings},
    sender::Sender,
    store::{Redis, free_port},
    target::{Reply, Target},
};

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{} {}", said(output), String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of `contrib` is one that a server has nothing to say about, also with what is commented out for replicas.
#[test]
fn a_redis_with_the_settings_that_we_give_is_one_that_we_take() {
    let dir = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/redis/redis.conf");
    let whole = std::fs::read_to_string(&file).unwrap();
    assert!(whole.contains("\n# min-replicas-to-write 1\n"));
    let port = free_port().to_string();
    let log = dir.path().join("redis.log");
    let out = File::create(&log).unwrap();
    let mut command = Command::new("redis-server");
    command.arg(&file).args(["--port", &port, "--dir", dir.path().to_str().unwrap()]);
    let mut node = Process::of(command.stdout(out).spawn().expect("`make setup` installs it"), log);
    let url = format!("redis://127.0.0.1:{port}");
    let env = [("REDIS_URL", url.as_str())];
    let found = wait_for("the Redis to answer", || {
        assert!(node.is_running(), "{}", node.log());
        let doctor = run(dir.path(), &["doctor", "--json"], &env);
        (doctor.status.code() != Some(69)).then_some(doctor)
    });
    assert_eq!(json(&found)["findings"], Value::Array(Vec::new()));
    let server = Server::start(dir.path(), &env);
    assert_eq!(server.json(&["health"])["store"]["profile"], "fsync");
}

/// `doctor` names each fault with the line that mends it, and with all of them mended says so; what it says of the store is so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doctor_names_what_mends_a_redis_and_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[("appendfsync", "everysec")]);
    let url = redis.url();
    let doctor = || run(dir.path(), &["doctor", "--json"], &[("REDIS_URL", &url), ("STREAM_NAME", "moved")]);
    redis.node.ask(&[b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru"]);
    redis.node.ask(&[b"CONFIG", b"SET", b"no-appendfsync-on-rewrite", b"yes"]);
    let found = doctor();
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let mends: Vec<String> =
        found["findings"].as_array().unwrap().iter().map(|of| of["mend"].as_str().unwrap().to_owned()).collect();
    assert_eq!(mends.len(), 3, "{found}");
    assert_eq!(
        (&found["stored"], redis.node.ask(&[b"DBSIZE"])),
        (&Value::Null, ":0\r\n".to_owned()),
        "it makes nothing"
    );
    for mend in mends {
        let words: Vec<&[u8]> = mend.split(' ').map(str::as_bytes).collect();
        assert_eq!(redis.node.ask(&words), "+OK\r\n", "{mend}");
    }
    assert_eq!(doctor().status.code(), Some(0));

    let server = Server::start(dir.path(), &[("REDIS_URL", &url), ("STREAM_NAME", "moved")]);
    for number in 0..20 {
        Sender::new().post(&server.url("/webhook"), format!("{number}")).await.unwrap().event();
    }
    let data_dir = server.data_dir();
    let beside = || {
        let settings =
            [("REDIS_URL", url.as_str()), ("STREAM_NAME", "moved"), ("DATA_DIR", data_dir.to_str().unwrap())];
        run(dir.path(), &["doctor", "--json"], &settings)
    };
    let well = wait_for("the server to know its clock", || {
        let well: Value = serde_json::from_slice(&beside().stdout).unwrap();
        (!well["servers"][0]["clock_ahead_us"].is_null()).then_some(well)
    });
    assert_eq!((&well["findings"], &well["stored"]["events"]), (&Value::Array(Vec::new()), &20.into()));
    // Beside the Redis stands the way of a webhook, which ends here for want of a client.
    let wrong = well["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "wrong");
    let wrong: Vec<&str> = wrong.map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!((wrong, &well["ok"]), (vec!["connected"], &Value::Bool(false)), "{well}");
    assert!(well["commit_us"].as_u64() > Some(0) && well["stored"]["bytes_per_event"].as_u64() > Some(500), "{well}");
    assert_eq!(well["servers"][0]["address"], server.public.to_string());
    assert_eq!(well["servers"][0]["version"], env!("CARGO_PKG_VERSION"));
    let told = run(dir.path(), &["doctor"], &[("REDIS_URL", &url), ("STREAM_NAME", "moved")]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("appendfsync") && told.contains("it keeps what it is given"), "{told}");

    // Whoever asks the server for a copy hears what there is instead.
    let admin = format!("http://{}", server.admin);
    let args = ["store", "backup", "copy", "--admin-url", &admin];
    let copy = run(dir.path(), &args, &[("ADMIN_TOKEN", ADMIN_TOKEN)]);
    assert!(!copy.status.success() && said(&copy).contains("append-only file"), "{}", said(&copy));
    let status = String::from_utf8_lossy(&server.cli(&["status"]).stdout).into_owned();
    assert!(status.contains("redis, fsync"), "{status}");
}

/// Of a primary with replicas it says how many confirm a commit, and who would be elected: the one that has the most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doctor_says_who_confirms_a_commit_and_who_would_be_elected() {
    let dir = tempfile::tempdir().unwrap();
    let set = Replicated::start(node::Server::Installed, &Settings::default()).await;
    let hosts = set.sentinel_ports().iter().map(|port| format!("127.0.0.1:{port}"));
    let url = format!("redis+sentinel://{}/{MASTER}", hosts.collect::<Vec<_>>().join(","));
    let env = [("REDIS_URL", url.as_str()), ("STREAM_NAME", "watched")];
    let server = Server::start(dir.path(), &env);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    let found: Value = serde_json::from_slice(&run(dir.path(), &["doctor", "--json"], &env).stdout).unwrap();
    assert_eq!((&found["findings"], &found["durability"]), (&Value::Array(Vec::new()), &"replicated".into()));
    assert_eq!((&found["confirm"], found["commit_us"].as_u64() > Some(0)), (&2.into(), true), "{found}");
    let at = |of: usize| format!("127.0.0.1:{}", set.gates[of].port);
    let mut replicas: Vec<&str> =
        found["replicas"].as_array().unwrap().iter().map(|replica| replica["address"].as_str().unwrap()).collect();
    replicas.sort_unstable();
    let mut wanted = [at(1), at(2)];
    wanted.sort_unstable();
    assert_eq!(replicas, wanted);

    // Of both alike the first might be it all the same.
    for behind in [1, 2] {
        set.is_whole();
        // It stays connected, however long this takes.
        set.nodes[0].ask(&[b"CONFIG", b"SET", b"repl-timeout", b"600"]);
        set.nodes[behind].pause();
        set.nodes[0].ask(&[b"SET", b"ahead", &vec![b'x'; 100_000]]);
        let told = wait_for("the other one to have it", || {
            let told = run(dir.path(), &["doctor"], &env);
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            told.contains(" 0 bytes behind").then_some(told)
        });
        set.nodes[behind].resume();
        let line = |of: usize| told.lines().find(|line| line.trim_start().starts_with(&at(of))).unwrap_or_default();
        assert!(line(3 - behind).ends_with("; with equal priorities Sentinel would elect it"), "{told}");
        assert!(line(behind).contains(" online, 1") && !line(behind).contains("elect"), "{told}");
    }
}

/// Of a cluster it says which primary has which slots of the store, and when all of them are full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doctor_says_what_is_where_in_a_cluster_and_when_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Clustered::start(node::Server::Installed, (3, 0), &[], false);
    let slot = |tag: &str| -> u16 {
        let said = cluster.nodes[0].ask(&[b"CLUSTER", b"KEYSLOT", format!("{{{tag}}}").as_bytes()]);
        said.trim_start_matches(':').trim_end().parse().unwrap()
    };
    // As of a server that runs for an hour.
    let registry = &cluster.nodes[cluster.owner(slot("reg")).unwrap()];
    let time = registry.ask(&[b"TIME"]);
    let an_hour_ago = (time.lines().nth(2).unwrap().parse::<u64>().unwrap() - 3_600) * 1_000;
    registry.ask(&[b"XADD", b"spread:{reg}:accepted", format!("{an_hour_ago}-0").as_bytes(), b"n", b"0"]);
    let hosts = cluster.ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let url = format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","));
    let env = [("REDIS_URL", url.as_str()), ("STREAM_NAME", "spread")];
    let server = Server::start(dir.path(), &env);
    for _ in 0..10 {
        Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    }
    let found: Value = serde_json::from_slice(&run(dir.path(), &["doctor", "--json"], &env).stdout).unwrap();
    assert_eq!(found["findings"], Value::Array(Vec::new()), "{found}");
    let stored = &found["stored"];
    assert_eq!((&stored["events"], &stored["partitions"]), (&10.into(), &16.into()), "{found}");
    assert!((200..=240).contains(&stored["events_per_day"].as_u64().unwrap()), "{found}");
    let mut slots = BTreeMap::new();
    for (at, port) in cluster.ports.iter().enumerate() {
        let address = format!("127.0.0.1:{port}");
        let node = found["nodes"].as_array().unwrap().iter().find(|node| node["address"] == address).unwrap();
        assert!(node["commit_us"].as_u64() > Some(0), "{node}");
        for part in node["parts"].as_array().unwrap() {
            let slot = part["slot"].as_u64().unwrap() as u16;
            assert_eq!(cluster.owner(slot), Some(at), "{part} at {address}");
            slots.insert(part["partition"].as_u64(), slot);
        }
    }
    assert!(slots.keys().copied().eq(std::iter::once(None).chain((0..16).map(Some))), "{slots:?}");
    for (partition, tag) in [(None, "reg"), (Some(0), "00-23"), (Some(9), "09-08")] {
        assert_eq!(slots[&partition], slot(tag), "{tag}");
    }
    let told = String::from_utf8_lossy(&run(dir.path(), &["doctor"], &env).stdout).into_owned();
    let here = format!("the registry (slot {})", slot("reg"));
    assert!(told.contains(&here) && told.contains("10 events in 16 partitions, on 3 primaries"), "{told}");
    let days = told.split_once("at this rate that is reached in ").and_then(|(_, rest)| rest.split_once(" days"));
    assert!(days.is_some_and(|(days, _)| days.parse::<u64>().is_ok_and(|days| days > 0)), "{told}");
}

/// `store check` reads every row to its last byte, and `--repair` puts indexes right that somebody spoilt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_what_is_damaged_and_repairs_what_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let check = |more: &[&str]| {
        let args = [&["store", "check", "--json"], more].concat();
        run(dir.path(), &args, &[("REDIS_URL", &url), ("STREAM_NAME", "moved")])
    };
    assert_eq!(check(&[]).status.code(), Some(69), "there is none yet");
    let mut server = Server::start(dir.path(), &[("REDIS_URL", &url), ("STREAM_NAME", "moved")]);
    for number in 0..30 {
        Sender::new().post(&server.url("/webhook"), format!("body of number {number}")).await.unwrap().event();
    }
    assert_eq!(json(&check(&[]))["events"], 30, "beside a server that works");
    server.process.signal("TERM");
    assert!(server.process.wait().success());

    let prefix = "moved:{00-23}:";
    redis.node.ask(&[b"DEL", format!("{prefix}exp:default").as_bytes()]);
    let found = check(&[]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert!(found["apart"].to_string().contains("exp:default: 30 too few"), "{found}");
    let mended = json(&check(&["--repair"]));
    assert!(mended["mended"]["mended"].as_u64() >= Some(1), "{mended}");
    assert_eq!(json(&check(&[]))["ok"], true);

    // The last byte of a body.
    let keys = redis.node.ask(&[b"EVAL", b"local e = redis.call('KEYS', ARGV[1] .. 'e:*')[1]; local n = redis.call('STRLEN', e);             redis.call('SETRANGE', e, n - 1, 'X'); return n", b"0", prefix.as_bytes()]);
    assert!(keys.starts_with(':'), "{keys}");
    let found = check(&["--repair"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["faults"].as_array().unwrap().len(), 1, "{found}");
    let out = dir.path().join("out");
    let args = ["store", "migrate", "--from", &url, "--to", out.to_str().unwrap()];
    let refused = run(dir.path(), &args, &[("STREAM_NAME", "moved")]);
    assert!(refused.status.code() == Some(74) && said(&refused).contains("--accept-loss"), "{}", said(&refused));
    // Without the webhook and its delivery it goes.
    let accepted = json(&check(&["--accept-loss"]));
    assert_eq!((accepted["accepted"].as_array().map(Vec::len), accepted["events"].as_u64()), (Some(2), Some(29)));
    assert_eq!(json(&check(&[]))["ok"], true);
    let moved = run(dir.path(), &args, &[("STREAM_NAME", "moved")]);
    assert!(moved.status.success(), "{}", said(&moved));
    let copy = run(dir.path(), &["store", "backup", "copy"], &[("REDIS_URL", &url)]);
    assert!(copy.status.code() == Some(2) && said(&copy).contains("append-only file"), "{}", said(&copy));
}

/// S18: a client that takes out of the Redis itself delivers like any other, beside servers and without them, and listens to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_beside_its_own_server_delivers_and_listens_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let target = Target::start(|_| Reply::status(200)).await;
    let settings = [("REDIS_URL", url.as_str()), ("STREAM_NAME", "beside"), ("LEASE", "60s")];
    let server = Server::start(dir.path(), &settings);
    let home = dir.path().join("behind");
    std::fs::create_dir(&home).unwrap();
    let (data, to) = (home.join("data"), target.url("/"));
    let env = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("API_KEY", API_KEY),
        ("RELAY_TOKEN", RELAY_TOKEN),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("STREAM_NAME", "beside"),
        ("LEASE", "60s"),
    ];
    let mut client = Process::start(&home.join("client.log"), &["client", "--redis", &url, "--to", &to], &env);
    for number in 0..20 {
        Sender::new().post(&server.url("/webhook"), format!("{number}")).await.unwrap().event();
    }
    wait_for("all to arrive", || {
        assert!(client.is_running(), "{}", client.log());
        (target.delivered().len() == 20 && server.queue_depth() == 0).then_some(())
    });
    assert!(!listens(client.pid()), "{}", client.log());
    assert!(listens(server.process.pid()));
    // It goes on with what waits when the server is gone, and stops in order.
    server.process.signal("STOP");
    assert!(client.is_running());
    server.process.signal("CONT");
    server.audit();
    client.signal("TERM");
    assert!(client.wait().success(), "{}", client.log());
    // One that is configured otherwise than the servers is none of them.
    let other = [&env[..5], &[("LEASE", "30s")]].concat();
    let refused = run(&home, &["client", "--redis", &url, "--to", &to], &other);
    assert!(refused.status.code() == Some(78) && said(&refused).contains("LEASE is 30s here"), "{}", said(&refused));
}

/// Whether a process has a TCP socket that listens.
fn listens(pid: u32) -> bool {
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap());
    let listening = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", fields[9]))
    };
    let listening: Vec<String> = tables.iter().flat_map(|table| table.lines()).filter_map(listening).collect();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    open.map(|link| link.to_string_lossy().into_owned()).any(|link| listening.contains(&link))
}
