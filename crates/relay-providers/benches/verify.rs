//! What one verification costs: every provider's own sample with a body of 1 KiB and of 1 MiB, judged over and over for a
//! bounded time. Prints a table and ends by itself. `PROVIDERS=stripe,paypal` takes some, `MILLIS=200` the time of each.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "its results are for a person at a terminal")]

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use relay_core::time::Wall;
use relay_providers::{Draft, Verdict, providers};

#[path = "../tests/providers/acting.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod acting;

use acting::{Acting, URL};

const SIZES: [(&str, usize); 2] = [("1 KiB", 1024), ("1 MiB", 1024 * 1024)];
const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);
/// Rounds of each; their median counts, so one that was interrupted does not.
const ROUNDS: u32 = 5;

fn main() {
    // `cargo test --benches` only wants to see it run.
    let is_bench = env::args().any(|argument| argument == "--bench");
    let wanted = env::var("PROVIDERS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let millis = env::var("MILLIS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let round = Duration::from_millis(if is_bench { millis } else { 0 }) / ROUNDS;
    println!("{:<20} {:>12} {:>12} {:>10}", "provider", SIZES[0].0, SIZES[1].0, "MiB/s");
    for provider in providers().iter().filter(|provider| wanted.is_empty() || wanted.contains(&provider.name)) {
        let acting = Acting::new(provider);
        let costs = SIZES.map(|(_, bytes)| sized(&acting, bytes).map(|draft| cost(&acting, &draft, round)));
        let shown = costs.map(|cost| cost.map_or_else(|| "-".to_owned(), microseconds));
        let rate = costs[1].map_or_else(|| "-".to_owned(), |cost| format!("{:.0}", 1.0 / cost.as_secs_f64()));
        println!("{:<20} {:>12} {:>12} {rate:>10}", provider.name, shown[0], shown[1]);
    }
}

/// The provider's sample with something in it that makes it about so large, signed and genuine; `None` if the platform has
/// no such body.
fn sized(acting: &Acting, bytes: usize) -> Option<Draft> {
    let mut draft = acting.provider.draft(URL, "wh_1", NOW);
    draft.body = padded(&draft.body, bytes).into();
    let signed = acting.signer.sign(draft, "wh_1", NOW).ok()?;
    (signed.body.len() >= bytes && acting.is_genuine(&signed, NOW)).then_some(signed)
}

/// JSON with one more field, XML with white space, a form with one more field.
fn padded(body: &[u8], bytes: usize) -> Vec<u8> {
    let padding = vec![b'x'; bytes.saturating_sub(body.len())];
    match body {
        [b'{', rest @ ..] => [br#"{"padding":""#, &padding[..], br#"","#, rest].concat(),
        // A list of events: white space, which JSON allows.
        [b'[', rest @ ..] => [b"[", &vec![b' '; padding.len()][..], rest].concat(),
        [b'<', ..] => [body, &vec![b'\n'; padding.len()][..]].concat(),
        _ => [body, b"&padding=", &padding].concat(),
    }
}

/// Median over the rounds of the time of one verdict.
fn cost(acting: &Acting, signed: &Draft, round: Duration) -> Duration {
    let request = signed.request(NOW, &acting.fetched);
    let mut costs: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let (start, mut times) = (Instant::now(), 0);
            loop {
                let verdict = black_box(acting.verifier.judge(black_box(&request)));
                assert!(matches!(verdict, Verdict::Genuine(_)), "{}: {verdict:?}", acting.provider.name);
                times += 1;
                if start.elapsed() >= round {
                    break start.elapsed() / times;
                }
            }
        })
        .collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

fn microseconds(cost: Duration) -> String {
    format!("{:.1} us", cost.as_secs_f64() * 1_000_000.0)
}
