//! Bytes of connections, bent in every way, read by the guard, by httparse and by hyper: what one takes the others take alike.

#[path = "../../../../fuzz/src/ingress.rs"]
#[expect(unreachable_pub, reason = "it is a library's, for fuzzing")]
mod ingress;

use std::{env, fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{RngSeed, TestRunner},
};

/// What readers of HTTP have disagreed about.
const PIECES: [&[u8]; 35] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"?",
    b"#",
    b"%2e",
    b"http://a",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/1.2",
    b"chunked",
    b"gzip, ",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Upgrade: x\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b" \r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/ingress");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// One change: from where, how much goes, and what comes in its place.
type Change = (Index, usize, Vec<u8>);

fn change() -> impl Strategy<Value = Change> {
    let piece = prop_oneof![
        4 => select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
        1 => Just(Vec::new()),
    ];
    (any::<Index>(), 0..4_usize, piece)
}

/// S1, S2, S4, S5, S6, S7: for any bytes that are nearly those of requests. `BENT` times; more than the default in a run by hand.
#[test]
fn the_guard_reads_as_others_do_or_refuses() {
    let cases = env::var("BENT").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000);
    let seeds = corpus();
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x1e55),
        ..ProptestConfig::default()
    });
    let bent = (any::<Index>(), any::<Index>(), any::<bool>(), vec(change(), 0..4));
    let run = |(first, second, both, changes): (Index, Index, bool, Vec<Change>)| {
        let mut bytes = seeds[first.index(seeds.len())].clone();
        if both {
            bytes.extend_from_slice(&seeds[second.index(seeds.len())]);
        }
        for (at, gone, piece) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + gone).min(bytes.len());
            bytes.splice(at..end, piece);
        }
        ingress::run(&bytes);
        Ok(())
    };
    if let Err(error) = runner.run(&bent, run) {
        panic!("{error}");
    }
}
