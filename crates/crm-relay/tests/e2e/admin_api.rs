//! The admin API of a running server against its own document: every operation, with inputs that fit and inputs that do not.

use std::{path::Path, process::Command};

use crate::{
    process::{ADMIN_TOKEN, Server},
    sender::Sender,
};

/// What is not looked at. What a name or a duration may be is not in the document, so much of what it allows is refused. A
/// wrong token is answered after a second; what is let in without one is tested where the routes are.
const EXCLUDED: &str = "positive_data_acceptance,ignored_auth";

/// Every answer is one that `/api/openapi.json` describes, by status, type and body, and none is a fault of the server's,
/// whatever is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_in_the_document() {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vendors").join("api");
    assert!(installed.join("installed").exists(), "schemathesis is missing: make setup installs it");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for body in ["{\"n\":1}", "two", "three"] {
        Sender::new().post(&server.url("/webhook"), body).await.unwrap();
    }
    let walked = Command::new(installed.join("venv/bin/schemathesis"))
        .args(["run", &format!("http://{}/api/openapi.json", server.admin)])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_TOKEN}")])
        .args(["--checks", "all", "--exclude-checks", EXCLUDED])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "4", "--seed", "1"])
        .args(["--continue-on-failure", "--warnings", "off", "--no-color"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&walked.stdout).into_owned() + &String::from_utf8_lossy(&walked.stderr);
    assert!(walked.status.success(), "{told}");
    let document: serde_json::Value = serde_json::from_str(&relay_server::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|operations| operations.as_object().unwrap().len()).sum();
    assert!(told.contains(&format!("Tested: {operations}\n")), "an operation was left out: {told}");
    server.audit();
    let log = server.process.log();
    assert!(!log.contains("ERROR"), "{log}");
}
