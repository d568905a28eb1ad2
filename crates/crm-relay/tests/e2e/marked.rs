//! Events are found by what their source declares as a mark.

use http::Method;

use crate::{
    finding::{five_sealed, ids, signed_in},
    process::wait_for,
};

/// I26, S32: what a source declares as a mark leads to its events, those of before as well, for whoever may see payloads, in a sealed store too; and
/// no more once they are erased. Each look is written down, without the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_found_by_a_mark_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let body = |number| format!(r#"{{"customer":{{"id":"cus_{number}"}}}}"#);
    let (server, sender, sent) = five_sealed(dir.path(), body).await;
    server.json(&["source", "update", "default", "--mark", "customer=$.customer.id"]);
    let look = |args: &[&str]| server.json(&[&["event", "list"], args].concat());
    let ask = async |path: &str, field: (&str, &str)| {
        let told = sender.send(Method::GET, &format!("http://{}{path}", server.admin), &[field], "").await.unwrap();
        (told.status, String::from_utf8(told.body.to_vec()).unwrap())
    };
    let cookie = signed_in(&server, &sender, "bob", "operator").await;
    let viewer = signed_in(&server, &sender, "eve", "viewer").await;

    let marked = wait_for("an event to be found by its mark", || {
        let found = look(&["--source", "default", "--mark", "customer=cus_4"]);
        (ids(&found) == [sent[4].clone()] && found["indexed_from"].is_null()).then_some(found)
    });
    assert!(marked["indexed_to"].is_string() && marked["items"][0]["deliveries"][0]["state"] == "ready", "{marked}");
    assert!(ids(&look(&["--source", "default", "--mark", "customer=cus_5"])).is_empty());
    let wrong = server.cli(&["event", "list", "--source", "default", "--mark", "order=1"]);
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(1) && told.contains("has no mark \"order\"; it has: customer"), "{told}");
    let by_mark = "/events?source=default&q=customer%3Acus_4";
    let (status, page) = ask(by_mark, ("cookie", &cookie)).await;
    assert!(status == 200 && page.contains("Of events stored up to") && page.contains(&sent[4]), "{page}");
    assert!(!page.contains(&sent[3]), "{page}");
    let (_, page) = ask(by_mark, ("cookie", &viewer)).await;
    assert!(!page.contains("Of events stored") && !page.contains(&sent[4]), "{page}");
    assert_eq!(ask("/api/v1/events/marked?source=default&mark=customer:cus_4", ("cookie", &viewer)).await.0, 403);
    let output = server.cli(&["event", "erase", &sent[4], "--cancel", "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(ids(&look(&["--source", "default", "--mark", "customer=cus_4"])).is_empty());
    let log = server.json(&["audit-log", "--action", "event.scan"]);
    let lines: Vec<_> = log["items"].as_array().unwrap().iter().map(|line| (&line["who"], &line["subject"])).collect();
    assert!(lines.contains(&(&"user:bob".into(), &"default: the mark customer".into())), "{lines:?}");
    assert!(!log.to_string().contains("cus_4"), "{log}");
}
