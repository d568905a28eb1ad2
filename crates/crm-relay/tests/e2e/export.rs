//! Events with their bodies, a line each.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::Value;

use crate::{
    process::{API_KEY, Server},
    sender::Sender,
};

/// I3: what is exported is all there is, byte for byte; whoever goes on behind a cursor gets the rest, and nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_exported_with_their_bodies_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (sender, mut sent) = (Sender::new(), BTreeMap::new());
    for number in 0..45_u8 {
        let body = vec![number, 0, 0xff, b'\n'];
        let told = sender.send(Method::POST, &server.url("/webhook"), &[("x-api-key", API_KEY)], body.clone()).await;
        sent.insert(told.unwrap().event(), body);
    }
    let exported = |cursor: Option<&str>| -> Vec<Value> {
        let args: Vec<&str> =
            ["event", "export"].into_iter().chain(cursor.into_iter().flat_map(|at| ["--cursor", at])).collect();
        let output = server.cli(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let body = |line: &Value| {
        let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
        (line["id"].as_str().unwrap().to_owned(), body)
    };
    let all = exported(None);
    assert_eq!((all.len(), all.iter().map(body).collect::<BTreeMap<_, _>>()), (45, sent));
    let at = all.iter().position(|line| line["cursor"].is_string()).unwrap();
    let rest = exported(all[at]["cursor"].as_str());
    assert_eq!(rest, all[at + 1..]);
}
