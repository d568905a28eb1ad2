//! What speaks another HTTP than 1.1, at every listener.

use std::{io::ErrorKind, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::process::{PATIENCE, Server, client, wait_for};

/// How a client of HTTP/2 begins (RFC 9113, section 3.4), with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Requests that are reset at once, continuations that never end, pings and settings.
fn floods() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags][..], &stream.to_be_bytes()[..], payload].concat()
    };
    let resets = (0..10_000).flat_map(|at| {
        let stream = 2 * at + 1;
        // `:method: POST`, `:scheme: http`, `:path: /`, by their numbers (RFC 7541, appendix A).
        [frame(1, 4, stream, &[0x83, 0x86, 0x84]), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    let continued = (0..10_000).flat_map(|at| frame(if at == 0 { 1 } else { 9 }, 0, 1, &[0x83; 16]));
    let pings = (0..10_000).flat_map(|_| frame(6, 0, 0, &[0; 8]));
    let settings = (0..10_000).flat_map(|_| frame(4, 0, 0, &[]));
    vec![resets.collect(), continued.collect(), pings.collect(), settings.collect()]
}

/// All that a listener says to these bytes, until it closes the connection.
async fn says(to: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let mut said = Vec::new();
    let (mut reads, mut writes) = socket.split();
    let talk = async {
        // Whoever is closed in the middle cannot say the rest.
        let write = async { drop(writes.write_all(bytes).await) };
        let (read, ()) = tokio::join!(reads.read_to_end(&mut said), write);
        assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    };
    timeout(PATIENCE, talk).await.expect("it closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}

/// S10: HTTP/2 is spoken nowhere: whoever begins with it is refused and closed before a frame of his is read, however many he sends, and
/// others are served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_http_2_is_refused_by_its_first_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let to = [("default", "http://127.0.0.1:9".to_owned())];
    let client = client(dir.path(), "client", server.public, &to, &[("CLIENT_LISTEN", "127.0.0.1:0")]);
    let listening = wait_for("the client to listen", || {
        let log = client.log();
        let line = log.lines().find(|line| line.contains("event=\"listening\""))?.to_owned();
        let addr = line.split("addr=").nth(1)?.split_whitespace().next()?.trim_matches('"').to_owned();
        addr.parse::<SocketAddr>().ok()
    });
    for listener in [server.public, server.admin, listening] {
        for flood in floods() {
            let said = says(listener, &[PREFACE, &flood].concat()).await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 505 "), "{said}");
        }
        let alive = says(listener, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert!(alive.starts_with("HTTP/1.1 200 "), "{listener}: {alive}");
        // Nor by an upgrade (RFC 9113, section 3.1): it is passed over.
        let upgrade = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let said = says(listener, upgrade).await;
        assert!(!said.starts_with("HTTP/1.1 101 ") && said.starts_with("HTTP/1.1 "), "{listener}: {said}");
    }
    assert_eq!(server.json(&["event", "list"])["items"].as_array().unwrap().len(), 0);
}
