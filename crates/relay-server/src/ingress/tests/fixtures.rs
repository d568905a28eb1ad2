//! Every request in `fixtures/ingress`, over a socket.

use std::{fs, path::Path};

use super::{Relay, request};

struct Fixture {
    name: String,
    status: u16,
    connection: String,
    code: Option<String>,
    bytes: Vec<u8>,
}

/// S1, S2, S3, S4, S5, S6, S7, S8, S13, S18, S28, I4: each is answered as it says, and only a 202 stores anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_is_answered_as_it_says() {
    let relay = Relay::start().await;
    let fixtures = fixtures();
    assert!(fixtures.len() >= 40, "only {} fixtures found", fixtures.len());
    for fixture in fixtures {
        let name = &fixture.name;
        relay.backend.forget();
        let mut socket = relay.connect().await;
        socket.send(&fixture.bytes).await;
        let reply = socket.reply().await;
        assert_eq!(reply.status, fixture.status, "{name}: {reply:?}");
        assert_eq!(relay.backend.events().len(), usize::from(fixture.status == 202), "{name}: events stored");
        if fixture.code.is_some() {
            assert_eq!(reply.code(), fixture.code, "{name}");
            assert_eq!(relay.backend.refusals().len(), 1, "{name}: refusals counted");
        }
        match fixture.connection.as_str() {
            "closed" => assert!(socket.is_closed().await, "{name}: the connection is open"),
            "open" => {
                socket.send(request("POST /webhook", "", "again")).await;
                assert_eq!(socket.reply().await.status, 202, "{name}: the connection is of no use");
            }
            other => assert_eq!(other, "any", "{name}"),
        }
    }
    assert_eq!(relay.budget.used(), 0);
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/ingress");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Fixture {
    let text = fs::read_to_string(path).unwrap();
    let expected = text.lines().find_map(|line| line.strip_prefix("# expect: ")).unwrap();
    let mut words = expected.split(' ');
    let lines: String = text.lines().filter(|line| !line.starts_with("# ")).collect();
    Fixture {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        status: words.next().unwrap().parse().unwrap(),
        connection: words.next().unwrap().to_owned(),
        code: words.next().map(str::to_owned),
        bytes: unescape(&lines),
    }
}

/// `\r`, `\n`, `\0`, `\xHH`, and `\{TEXT*N}` for N times TEXT.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, behind) = rest[at + 1..].split_at(1);
        rest = behind;
        match escape {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "0" => bytes.push(0),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            "{" => {
                let (repeated, behind) = rest.split_once('}').unwrap();
                let (text, times) = repeated.rsplit_once('*').unwrap();
                bytes.extend(unescape(text).repeat(times.parse().unwrap()));
                rest = behind;
            }
            other => panic!("\\{other} is no escape"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
