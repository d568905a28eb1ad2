use std::time::Duration;

use relay_core::{
    hub::Accepting,
    id::{EventId, IdMint},
    time::Wall,
    trace::Acceptance,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::alerts::tests::target::{Got, Target};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const MOVED: &str = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

fn at(micros: i64) -> Wall {
    Wall::from_micros(1_700_000_000_000_000 + micros)
}

fn event(seed: u64) -> EventId {
    IdMint::new(0, seed).event(at(0))
}

fn traced(seed: u64, sender: Option<&str>) -> Traced {
    let headers = sender.map(|value| (Bytes::from_static(b"traceparent"), Bytes::copy_from_slice(value.as_bytes())));
    let headers: Vec<_> = headers.into_iter().collect();
    let trace = Sampling::of_share(1.0).unwrap().trace_of(event(seed), &headers).unwrap();
    let (source, status) = ("shop".parse().unwrap(), 202);
    let (begun, asked, durable, ended) = (at(0), at(10), at(20), at(30));
    Traced::Accepted(Box::new(Acceptance { trace, event: event(seed), source, begun, asked, durable, ended, status }))
}

/// A line to a collector, and the task that sends what is in it.
struct Bench {
    traces: Arc<Traces>,
    metrics: Arc<Metrics>,
    sending: JoinHandle<()>,
}

impl Bench {
    fn start(collector: &Target) -> Self {
        let (bench, exporter) = Self::idle(&format!("http://{}/v1/traces", collector.addr));
        Self { sending: tokio::spawn(exporter.run()), ..bench }
    }

    /// Nothing is sent.
    fn idle(url: &str) -> (Self, Exporter) {
        let headers = vec![(Bytes::from_static(b"x-token"), Bytes::from_static(b"canary"))];
        let config = TracesConfig { url: url.parse().unwrap(), headers, sampling: Sampling::of_share(1.0).unwrap() };
        let metrics = Arc::<Metrics>::default();
        let (traces, exporter) = Traces::open(&config, "relay-2", &Fetching::default(), &metrics).unwrap();
        (Self { traces, metrics, sending: tokio::spawn(async {}) }, exporter)
    }

    /// Ends it, which takes no longer than a collector may take then.
    async fn end(self) -> [u64; 2] {
        self.traces.end();
        tokio::time::timeout(Duration::from_mins(1), self.sending).await.expect("it ends").unwrap();
        self.metrics.spans_so_far()
    }
}

fn spans(request: &Value) -> &[Value] {
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

/// As its specification has OTLP in JSON: ids in hex, numbers of 64 bits as text, enumerations as numbers.
#[tokio::test]
async fn a_collector_gets_what_was_put_in_line_before_the_end() {
    const SENDERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let collector = Target::start().await;
    let bench = Bench::start(&collector);
    bench.traces.put(traced(1, Some(SENDERS)));
    bench.traces.put(traced(2, None));
    assert_eq!(bench.end().await, [4, 0]);
    let got = &collector.got()[0];
    assert_eq!((got.path.as_str(), got.header("content-type")), ("/v1/traces", Some("application/json")));
    assert_eq!(got.header("x-token"), Some("canary"));
    let request = got.json();
    let name = |name: &str| json!({ "key": "service.name", "value": { "stringValue": name } });
    let resource = &request["resourceSpans"][0]["resource"]["attributes"];
    assert_eq!(resource[0], name("crm-relay"));
    assert_eq!(resource[2], json!({ "key": "service.instance.id", "value": { "stringValue": "relay-2" } }));
    let all = spans(&request);
    assert_eq!(
        all[0],
        json!({
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
            "spanId": all[0]["spanId"],
            "parentSpanId": "00f067aa0ba902b7",
            "name": "accept",
            "kind": 2,
            "startTimeUnixNano": "1700000000000000000",
            "endTimeUnixNano": "1700000000000030000",
            "attributes": [
                { "key": "crm_relay.event_id", "value": { "stringValue": event(1).to_string() } },
                { "key": "crm_relay.source", "value": { "stringValue": "shop" } },
                { "key": "http.response.status_code", "value": { "intValue": "202" } },
            ],
        })
    );
    assert_eq!((&all[1]["name"], &all[1]["parentSpanId"]), (&json!("commit"), &all[0]["spanId"]));
    assert!(all[2].get("parentSpanId").is_none() && all[2]["traceId"] != all[0]["traceId"], "{all:#?}");
}

/// Where this server's clock is not that of the others, what is told of a webhook is by theirs, as are the times of its event and its tries.
#[tokio::test]
async fn what_is_told_is_by_the_clock_that_all_servers_have() {
    let seen = |by_own: i64| Accepting {
        source: "shop".parse().unwrap(),
        method: Bytes::from_static(b"POST"),
        path: Bytes::from_static(b"/webhook/shop"),
        query: None,
        headers: Vec::new(),
        body: Bytes::new(),
        body_sha256: [0; 32],
        received_at: at(by_own),
        name: None,
        key: None,
        dedupe: None,
        resend: false,
        deadline: Wall::MAX,
    };
    let collector = Target::start().await;
    let bench = Bench::start(&collector);
    for (seed, own) in [(1, 3_600_000_000), (2, -3_600_000_000)] {
        let sighting = Sighting::of(&seen(own + 10), at(own));
        let answered = (at(own + 20), at(own + 30), http::StatusCode::ACCEPTED);
        sighting.tell(&bench.traces, (event(seed), "shop".parse().unwrap()), at(10), answered);
    }
    bench.end().await;
    let requests: Vec<Value> = collector.got().iter().map(Got::json).collect();
    let told: Vec<&Value> = requests.iter().flat_map(spans).collect();
    assert_eq!(told.len(), 4);
    for span in told {
        let (begun, ended) = if span["name"] == "accept" { (0, 30) } else { (10, 20) };
        let nanos = |micros: i64| Value::from((at(micros).as_micros() * 1_000).to_string());
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&nanos(begun), &nanos(ended)), "{span}");
    }
}

/// What may pass is tried once more; what is refused for good is dropped, counted, and holds up nothing behind it.
#[tokio::test]
async fn a_collector_that_is_not_ready_is_asked_again_and_one_that_refuses_is_not() {
    let collector = Target::start().await;
    collector.answer(&[UNAVAILABLE]);
    let bench = Bench::start(&collector);
    bench.traces.put(traced(1, None));
    let got = collector.until(2).await;
    assert_eq!(got[0].body, got[1].body);
    collector.answer(&[REFUSED]);
    bench.traces.put(traced(2, None));
    collector.until(3).await;
    bench.traces.put(traced(3, None));
    assert_eq!(bench.end().await, [4, 2]);
    let got = collector.got();
    assert_eq!((got.len(), spans(&got[3].json())[0]["traceId"].as_str().unwrap().len()), (4, 32));
}

/// A redirect leads nowhere, and least of all what is secret; an error of the collector's own would be the same again.
#[tokio::test]
async fn what_is_redirected_or_fails_at_the_collector_is_not_sent_again() {
    let collector = Target::start().await;
    collector.answer(&[MOVED]);
    let bench = Bench::start(&collector);
    bench.traces.put(traced(1, None));
    collector.until(1).await;
    collector.answer(&[BROKEN]);
    bench.traces.put(traced(2, None));
    collector.until(2).await;
    bench.traces.put(traced(3, None));
    assert_eq!(bench.end().await, [2, 4]);
    let got = collector.got();
    assert!(got.len() == 3 && got.iter().all(|got| got.path == "/v1/traces"), "{got:?}");
}

/// Of a million that nobody takes a fixed number waits; the rest is counted, and whoever puts them in line waits for nobody.
#[tokio::test]
async fn what_has_no_room_in_the_line_is_dropped_and_counted() {
    let (bench, exporter) = Bench::idle("http://127.0.0.1:9/v1/traces");
    for _ in 0..WAITING_MAX + 7 {
        bench.traces.put(traced(1, None));
    }
    assert_eq!(bench.metrics.spans_so_far(), [0, 7 * Traced::SPANS as u64]);
    drop(exporter);
    bench.traces.put(traced(1, None));
    assert_eq!(bench.end().await, [0, 8 * Traced::SPANS as u64]);
}

/// A collector that hangs holds up a stop for two seconds at most, however much waits for it.
#[tokio::test]
async fn a_collector_that_never_answers_does_not_hold_up_a_stop() {
    let collector = Target::start().await;
    collector.answer(&[""]);
    let bench = Bench::start(&collector);
    (0..WAITING_MAX).for_each(|_| bench.traces.put(traced(1, None)));
    collector.until(1).await;
    let began = tokio::time::Instant::now();
    assert_eq!(bench.end().await, [0, 2 * WAITING_MAX as u64]);
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for as long as when it runs");
}

/// S27: it may be printed with the rest of a configuration.
#[test]
fn what_is_sent_with_traces_shows_in_no_debug_output() {
    let headers = vec![(Bytes::from_static(b"x-token"), Bytes::from_static(b"canary"))];
    let url = "https://collector.example/canary".parse().unwrap();
    let shown = format!("{:?}", TracesConfig { url, headers, sampling: Sampling::of_share(0.5).unwrap() });
    assert!(shown.contains("collector.example") && !shown.contains("canary"), "{shown}");
}

/// S27: what is said on the way to this machine, however its name is written, no proxy hears.
#[test]
fn no_proxy_leads_to_this_machine() {
    let proxy = ProxyChoice::new(|_| Some("http://proxy.example:3128".parse().unwrap()));
    let others = Fetching { proxy, ..Fetching::default() };
    for (host, is_here) in [
        ("localhost", true),
        ("LOCALHOST", true),
        ("otel.LocalHost", true),
        ("127.0.0.2", true),
        ("[::1]", true),
        ("otel.example", false),
        ("10.0.0.7", false),
    ] {
        let url: Uri = format!("http://{host}:4318/v1/traces").parse().unwrap();
        let to = TracesConfig { url: url.clone(), headers: Vec::new(), sampling: Sampling::of_share(1.0).unwrap() };
        assert_eq!(to.fetching(&others).proxy.of_url(&url).is_none(), is_here, "{host}");
    }
}
