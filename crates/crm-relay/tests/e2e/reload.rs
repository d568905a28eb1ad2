//! SIGHUP: what may change while a process runs does, and a faulty configuration changes nothing.

use std::{fs, path::Path};

use crate::{
    process::{API_KEY, Process, RELAY_TOKEN, Server, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// Tells a process to read its configuration anew, and waits until its log has `what` once more.
fn reload(process: &Process, what: &str) {
    let count = || process.log().matches(what).count();
    let before = count();
    process.signal("HUP");
    wait_for(what, || (count() > before).then_some(()));
}

fn arrives(target: &Target, count: usize) {
    wait_for("the webhook to arrive", || (target.count() >= count).then_some(()));
}

/// I22: targets, headers, tokens and slots of a client change while it runs; what is at its target ends as it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_takes_its_configuration_over_at_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let first = Target::start(|_| Reply::status(204)).await;
    let second = Target::start(|_| Reply::status(204)).await;
    let server = Server::start(dir.path(), &[]);
    let file = dir.path().join("client.toml");
    let secret = dir.path().join("secret");
    let token = dir.path().join("token");
    let write = |target: &Target, more: &str| {
        let text = format!(
            "[destination.default]\nurl = \"{}\"\nheaders = {{ \"X-Secret\" = \"@{}\" }}\n{more}",
            target.url("/"),
            secret.display()
        );
        fs::write(&file, text).unwrap();
    };
    fs::write(&secret, "one").unwrap();
    fs::write(&token, RELAY_TOKEN).unwrap();
    write(&first, "");
    let url = format!("http://{}", server.public);
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN_FILE", token.to_str().unwrap())];
    let client = Process::start(&dir.path().join("client.log"), &["client", "--config", file.to_str().unwrap()], &env);
    let sender = Sender::new();
    let post = || async { sender.post(&server.url("/webhook"), "{}").await.unwrap().event() };
    post().await;
    arrives(&first, 1);
    assert_eq!(first.arrivals()[0].header("x-secret"), "one");

    // A forward under way ends at the target where it began, by the answer that it gets there.
    let slow = |_: &_| Reply { delay: std::time::Duration::from_secs(2), ..Reply::status(204) };
    first.answer(slow);
    let slow_event = post().await;
    arrives(&first, 2);
    fs::write(&secret, "two").unwrap();
    write(&second, "");
    reload(&client, "event=\"reloaded\"");
    post().await;
    arrives(&second, 1);
    assert_eq!(second.arrivals()[0].header("x-secret"), "two");
    assert_eq!((first.count(), first.arrivals()[1].event()), (2, slow_event.as_str()));

    // Faults change nothing, and all are said.
    fs::write(&file, "[destination.default]\nurl = \"http:/x\"\nconcurency = 3\n").unwrap();
    reload(&client, "event=\"reload_failed\"");
    assert!(
        client.log().contains("two slashes") && client.log().contains("did you mean concurrency"),
        "{}",
        client.log()
    );
    post().await;
    arrives(&second, 2);

    // Nor does a file that an editor is about to write, or a secret that is.
    let half = format!("[destination.default]\nurl = \"{}\"\nheaders = {{ \"X-Sec", second.url("/"));
    for half in ["", "\r\n", &half] {
        fs::write(&file, half).unwrap();
        reload(&client, "event=\"reload_failed\"");
    }
    fs::remove_file(&file).unwrap();
    reload(&client, "event=\"reload_failed\"");
    write(&second, "");
    for secret_of_target in ["", "one\ntwo\n"] {
        fs::write(&secret, secret_of_target).unwrap();
        reload(&client, "event=\"reload_failed\"");
    }
    fs::write(&secret, "two").unwrap();
    for wrong in ["", "crk_0123456789abcdef0123456789abcdef", "crt_0123456789 abcdef", "$RELAY_TOKEN"] {
        fs::write(&token, wrong).unwrap();
        reload(&client, "event=\"reload_failed\"");
    }
    // One that only the server knows to be wrong: it is asked, and then all is as it was, targets too.
    fs::write(&token, "crt_ffffffffffffffffffffffffffffffff").unwrap();
    write(&first, "");
    reload(&client, "the configuration of before is in use again");
    fs::write(&token, format!("\u{feff}RELAY_TOKEN=\"{RELAY_TOKEN}\"\r\n")).unwrap();
    write(&second, "");
    post().await;
    arrives(&second, 3);
    reload(&client, "event=\"reloaded\"");
    assert!(!client.log().contains("ffffff"), "{}", client.log());

    // Another token and other slots make another session; a setting that wants a restart is named.
    let made = server.json(&["token", "create", "office", "--destination", "default"]);
    fs::write(&token, made["token"].as_str().unwrap()).unwrap();
    write(&second, "concurrency = 3\n");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("client_listen = \"127.0.0.1:1\"\n{whole}")).unwrap();
    reload(&client, "event=\"connected\"");
    assert!(client.log().contains("settings=\"CLIENT_LISTEN\""), "{}", client.log());
    wait_for("a session by the other token", || server.process.log().contains("token=office").then_some(()));
    post().await;
    arrives(&second, 4);
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    assert_eq!((first.count(), second.count()), (2, 4), "I9: nothing went out twice");
}

/// Sources and routes that the server's file declares are taken over at SIGHUP; settings wait for the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_takes_what_its_file_declares_over_at_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    let secret = dir.path().join("secret");
    let declare = |text: &str| fs::write(&file, text).unwrap();
    let hub =
        |secret: &Path| format!("[source.hub]\nprovider = \"bearer\"\ntoken = {{ file = \"{}\" }}\n", secret.display());
    fs::write(&secret, "0123456789abcdef-one").unwrap();
    declare("");
    let server = Server::start(dir.path(), &[("CRM_RELAY_CONFIG", file.to_str().unwrap())]);
    let sender = Sender::new();
    let status = |key: &'static str| {
        let (sender, url) = (sender.clone(), server.url("/webhook/hub"));
        async move { sender.send(http::Method::POST, &url, &[("authorization", key)], "{}").await.unwrap().status }
    };
    assert_eq!(status("Bearer 0123456789abcdef-one").await, 404);
    declare(&hub(&secret));
    reload(&server.process, "event=\"reloaded\"");
    assert_eq!(status("Bearer 0123456789abcdef-one").await, 202);

    // A secret that was replaced in its file.
    fs::write(&secret, "0123456789abcdef-two").unwrap();
    reload(&server.process, "event=\"reloaded\"");
    assert_eq!(status("Bearer 0123456789abcdef-one").await, 401);
    assert_eq!(status("Bearer 0123456789abcdef-two").await, 202);

    declare(&format!("message_ttl = \"9h\"\nmax_retrys = 3\n{}", hub(&secret)));
    reload(&server.process, "event=\"reload_failed\"");
    declare(&format!("message_ttl = \"9h\"\n{}[source.other]\nprovider = \"hmac\"\n", hub(&secret)));
    reload(&server.process, "event=\"reload_failed\"");
    // An editor that saves empties the file first, or puts another in its place.
    let whole = format!("message_ttl = \"9h\"\n{}", hub(&secret));
    for half in ["", " \n", "message_ttl = \"9h\"\n[source.hub]\nprovider = \"bea"] {
        declare(half);
        reload(&server.process, "event=\"reload_failed\"");
    }
    fs::remove_file(&file).unwrap();
    reload(&server.process, "event=\"reload_failed\"");
    declare(&whole);
    for half in ["", "0123456789abcdef-two\n0123456789abcdef-three\n"] {
        fs::write(&secret, half).unwrap();
        reload(&server.process, "event=\"reload_failed\"");
    }
    fs::write(&secret, "0123456789abcdef-two").unwrap();
    assert_eq!(status("Bearer 0123456789abcdef-two").await, 202, "nothing has changed");
    assert!(!server.process.log().contains("event=\"undeclared\""), "{}", server.process.log());
    declare("message_ttl = \"9h\"\n");
    reload(&server.process, "event=\"reloaded\"");
    assert!(server.process.log().contains("settings=\"MESSAGE_TTL\""), "{}", server.process.log());
    assert_ne!(status("Bearer 0123456789abcdef-two").await, 202, "what is not declared any more is paused");
    let told = sender.send(http::Method::POST, &server.url("/webhook"), &[("x-api-key", API_KEY)], "{}").await.unwrap();
    assert_eq!(told.status, 202);
    server.audit();
}

/// I22: a pipe in the file's place fails that reload, and the next one is made: by a file that is right again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_survives_a_pipe_that_nobody_writes_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    let hub = "[source.hub]\nprovider = \"bearer\"\ntoken = \"0123456789abcdef-one\"\n";
    fs::write(&file, "# nothing yet\n").unwrap();
    let server = Server::start(dir.path(), &[("CRM_RELAY_CONFIG", file.to_str().unwrap())]);
    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    reload(&server.process, "event=\"reload_failed\"");
    assert!(server.process.log().contains("a pipe that nobody writes to"), "{}", server.process.log());
    fs::remove_file(&file).unwrap();
    fs::write(&file, hub).unwrap();
    reload(&server.process, "event=\"reloaded\"");
    assert_eq!(server.json(&["source", "show", "hub"])["provider"], "bearer");
}
