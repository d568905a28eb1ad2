//! What operators ask of a store in a Redis: doctor, check, and whether a Redis that is set as we say is one that we take.

use std::{fs::File, path::Path, process::Command};

use serde_json::Value;

use crate::{
    process::{ADMIN_TOKEN, API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
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
