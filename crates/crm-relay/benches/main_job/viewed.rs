//! What viewers of the dashboard cost: the same ingest with nobody at it, and with ten browsers that follow it, in turns.
//!
//! A viewer does what a page that is open does: one stream of the numbers, and the list of events each time that something moved,
//! a quarter of a second behind the last at the earliest. Ten browsers would take the machine from the server; what they draw is
//! no load of it.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    Settings, load,
    process::{self, ADMIN_TOKEN},
    report::Report,
};

/// Enough for the writer never to wait.
const SOCKETS: usize = 64;
const VIEWERS: usize = 10;
/// As the page has it.
const READ_EVERY: Duration = Duration::from_millis(250);
const PASSWORD: &str = "correct horse battery";

/// Rows `ingest_64_viewed`, against the one at which nobody looks, and how often each viewer read the list a second.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let (mut rates, mut ratios, mut reads) = (vec![], vec![], vec![]);
    for round in 0..settings.rounds {
        let span = Duration::from_secs(settings.seconds);
        let mut rate_of = [0.0; 2];
        // Whichever comes first has the colder machine: they take turns.
        for at in [round % 2, 1 - round % 2] {
            let dir = tempfile::tempdir().expect("a directory");
            let (server, addr) = process::server_set(dir.path(), &[]);
            let viewers = if at == 1 { all_come(dir.path()).await } else { JoinSet::new() };
            let begun = Instant::now();
            rate_of[at] = load::run(addr, SOCKETS, span, None).await.rate;
            let looked = begun.elapsed().as_secs_f64();
            server.stop();
            let lists: Vec<usize> = viewers.join_all().await;
            if at == 1 {
                assert!(lists.iter().all(|lists| *lists > 0), "each viewer reads: {lists:?}");
                reads.push(lists.iter().sum::<usize>() as f64 / looked / VIEWERS as f64);
            }
        }
        rates.push(rate_of[1]);
        ratios.push(rate_of[1] / rate_of[0]);
    }
    report.add("ingest_64_viewed", &rates, "events/s", Some(&ratios));
    report.add("lists_a_viewer", &reads, "1/s", None);
}

/// Ten people sign in at the server of `dir` and look until it stops; each says how many lists he read.
async fn all_come(dir: &Path) -> JoinSet<usize> {
    let run: Value = serde_json::from_slice(&std::fs::read(dir.join("run.json")).expect("it runs")).expect("JSON");
    let admin: SocketAddr = run["admin"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let mut viewers = JoinSet::new();
    for number in 0..VIEWERS {
        let name = format!("viewer-{number}");
        let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
        let user = json!({"name": name, "role": "viewer", "password": PASSWORD});
        post(admin, "/api/v1/users", &bearer, &user).await;
        let entered = post(admin, "/api/v1/session", "", &json!({"name": name, "password": PASSWORD})).await;
        let cookie = entered.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        let cookie = cookie.split(';').next().expect("it has a value").to_owned();
        viewers.spawn(look(admin, cookie));
    }
    viewers
}

/// Sends JSON as a page does, and gives the head of its answer.
async fn post(admin: SocketAddr, path: &str, fields: &str, body: &Value) -> String {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nOrigin: http://{admin}\r\n{fields}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(admin).await.expect("the server listens");
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await.expect("it takes it");
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    answer
}

/// Follows the numbers and reads the list whenever they moved, until the server ends the stream.
async fn look(admin: SocketAddr, cookie: String) -> usize {
    let get = |path: &str, field: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nCookie: {cookie}\r\n{field}\r\n\r\n").into_bytes()
    };
    let mut stream = BufReader::new(TcpStream::connect(admin).await.expect("the server listens"));
    let list = get("/events", "Relay-Fragment: live");
    stream.write_all(&get("/api/v1/pulse", "Accept: text/event-stream")).await.expect("it takes it");
    let mut lists = TcpStream::connect(admin).await.expect("the server listens");
    let (mut read, mut line, mut seen) = (0, String::new(), String::new());
    let mut next = Instant::now();
    loop {
        line.clear();
        match stream.read_line(&mut line).await {
            Ok(0) | Err(_) => return read,
            Ok(_) if !line.starts_with("data:") || line == seen => continue,
            Ok(_) => seen.clone_from(&line),
        }
        tokio::time::sleep_until(next.into()).await;
        // A server that stops answers no more.
        if !exchange(&mut lists, &list).await {
            return read;
        }
        read += 1;
        next = Instant::now() + READ_EVERY;
    }
}

/// Asks and reads the whole answer; whether it is one.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> bool {
    let mut answer = Vec::with_capacity(64 * 1024);
    if stream.write_all(request).await.is_err() {
        return false;
    }
    while load::whole(&answer).is_none() {
        if !matches!(stream.read_buf(&mut answer).await, Ok(read) if read > 0) {
            return false;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    true
}
