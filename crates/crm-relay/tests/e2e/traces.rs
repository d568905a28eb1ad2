//! Traces, read by a collector that stands where one would.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    process::{API_KEY, Process, RELAY_TOKEN, Server, wait_for},
    sender::Sender,
    target::{Arrival, Reply, Target},
};

const SENDERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNTRACED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The spans that a collector has, in the order in which they begin.
fn spans(collector: &Target) -> Vec<Value> {
    let of = |arrival: &Arrival| -> Vec<Value> {
        let request: Value = serde_json::from_slice(&arrival.body).unwrap();
        request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    };
    let mut spans: Vec<Value> = collector.arrivals().iter().flat_map(of).collect();
    spans.sort_by_key(|span| span["startTimeUnixNano"].as_str().unwrap().to_owned());
    spans
}

fn fact<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let fact = span["attributes"].as_array()?.iter().find(|fact| fact["key"] == key)?;
    fact["value"]["stringValue"].as_str().or(fact["value"]["intValue"].as_str())
}

/// I3: from the sender's own span over acceptance, commit, wait and a retry to the target, which hears of the try that it is part of
/// where its destination says so, and of the sender's span where it does not. What the sender does not want told is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_sender_over_a_retry_to_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Target::start(|_| Reply::status(200)).await;
    let fails_once = |arrival: &Arrival| Reply::status(if arrival.header("relay-attempt") == "1" { 500 } else { 200 });
    let (wants, plain) = (Target::start(fails_once).await, Target::start(|_| Reply::status(200)).await);
    let url = collector.url("");
    let settings = [("TRACES_URL", url.as_str()), ("TRACES_HEADERS", "x-team=a%20b"), ("TRACES_SAMPLED", "0")];
    let mut server = Server::start(dir.path(), &[&settings[..], &[("RETRY_DELAY", "10ms")]].concat());
    server.json(&["route", "create", "default", "plain"]);
    let file = dir.path().join("client.toml");
    let sections = format!(
        "[destination.default]\nurl = {:?}\ntrace = true\n[destination.plain]\nurl = {:?}\n",
        wants.url("/"),
        plain.url("/")
    );
    std::fs::write(&file, sections).unwrap();
    let relay_url = server.url("");
    let env = [("RELAY_URL", relay_url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN)];
    let args = ["client", "--config", file.to_str().unwrap()];
    let _client = Process::start(&dir.path().join("client.log"), &args, &env);

    let sender = Sender::new();
    let post = async |trace: Option<&str>| {
        let key = ("x-api-key", API_KEY);
        let headers: Vec<(&str, &str)> = [key].into_iter().chain(trace.map(|value| ("traceparent", value))).collect();
        let told = sender.send(http::Method::POST, &server.url("/webhook"), &headers, "{}").await.unwrap();
        assert_eq!(told.status, 202, "{told:?}");
    };
    post(Some(SENDERS)).await;
    post(Some(UNTRACED)).await;
    post(None).await;
    wait_for("all to be delivered", || (server.queue_depth() == 0).then_some(()));
    wait_for("the spans", || (spans(&collector).len() >= 8).then_some(()));
    let told = spans(&collector);
    assert_eq!(told.len(), 8, "{told:#?}");

    let root = &told[0];
    assert_eq!((&root["name"], &root["parentSpanId"]), (&"accept".into(), &SENDERS[36..52].into()));
    assert_eq!(fact(root, "http.response.status_code"), Some("202"));
    let mut names = BTreeMap::new();
    for span in &told {
        assert_eq!(span["traceId"], SENDERS[3..35]);
        assert!(span["spanId"] == root["spanId"] || span["parentSpanId"] == root["spanId"], "{span:#}");
        assert!(span["startTimeUnixNano"].as_str() <= span["endTimeUnixNano"].as_str(), "{span:#}");
        *names.entry(span["name"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(names, BTreeMap::from([("accept", 1), ("commit", 1), ("forward", 3), ("wait", 3)]));
    let of = |destination| {
        let is =
            move |span: &&Value| span["name"] == "forward" && fact(span, "crm_relay.destination") == Some(destination);
        told.iter().filter(is).collect::<Vec<_>>()
    };
    let tries = of("default");
    let facts = |span| ["attempt", "class", "state"].map(|key| fact(span, &format!("crm_relay.{key}")).unwrap());
    assert_eq!(facts(tries[0]), ["1", "rejected", "scheduled"]);
    assert_eq!(facts(tries[1]), ["2", "delivered", "delivered"]);
    assert_eq!((&tries[0]["status"]["code"], tries[1].get("status")), (&2.into(), None));
    assert_eq!(fact(of("plain")[0], "http.response.status_code"), Some("200"));

    // What the targets saw. Of those that are not traced it is what the sender said, or nothing.
    let traced: Vec<Arrival> = wants.arrivals();
    let traced: Vec<&str> = traced.iter().map(|arrival| arrival.header("traceparent")).collect();
    let is_try = |span: &&Value| format!("00-{}-{}-01", &SENDERS[3..35], span["spanId"].as_str().unwrap());
    let mut want: Vec<String> = tries.iter().map(is_try).collect();
    want.extend([UNTRACED, UNTRACED, "", ""].map(str::to_owned));
    want.sort();
    let mut seen: Vec<String> = traced.into_iter().map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, want);
    let mut seen: Vec<String> =
        plain.arrivals().iter().map(|arrival| arrival.header("traceparent").to_owned()).collect();
    seen.sort();
    assert_eq!(seen, ["", UNTRACED, SENDERS]);

    let first = &collector.arrivals()[0];
    assert_eq!((first.path_and_query.as_str(), first.header("x-team")), ("/v1/traces", "a b"));
    // The last of them are told although the server stops.
    post(Some(SENDERS)).await;
    wait_for("it to be delivered", || (server.queue_depth() == 0).then_some(()));
    server.process.signal("TERM");
    assert_eq!(server.process.wait().code(), Some(0));
    assert_eq!(spans(&collector).len(), 16);
}
