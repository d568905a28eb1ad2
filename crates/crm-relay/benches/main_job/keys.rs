//! Whether the time that refusing a key takes tells how much of it was right.

use std::time::Instant;

use relay_providers::{Draft, Verdict, Verifier};

use crate::{process::API_KEY, report::Report};

/// Requests judged, half of each class.
const COMPARES: u32 = 1_000_000;
/// Slower than this part of all samples is not the compare but what interrupted it.
const KEPT: f64 = 0.99;

/// Row `key_compare_t`: Welch's t between keys that are right up to the last character and keys that are wrong from the first,
/// as an API key source judges them. The classes come in a random order, so that drift is the same for both.
pub(crate) fn measure(report: &mut Report) {
    let verifier = Verifier::new("api-key", &[("key".into(), API_KEY.into())]).expect("valid parameters");
    let (right, last) = API_KEY.split_at(API_KEY.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let drafts = [format!("{right}{other}"), "z".repeat(API_KEY.len())].map(|key| {
        let mut draft = Draft::post("https://relay.example/webhook", "{}");
        draft.set_header("x-api-key", key);
        draft
    });
    let now = relay_core::time::Wall::from_micros(1_700_000_000_000_000);
    let mut samples = Vec::with_capacity(COMPARES as usize);
    for _ in 0..COMPARES {
        let class = usize::from(rand::random::<bool>());
        let request = drafts[class].request(now, &[]);
        let start = Instant::now();
        let verdict = std::hint::black_box(verifier.judge(std::hint::black_box(&request)));
        let took = start.elapsed().as_nanos() as f64;
        assert!(matches!(verdict, Verdict::Refused(_)), "a wrong key");
        samples.push((class, took));
    }
    samples.sort_by(|left, right| left.1.total_cmp(&right.1));
    samples.truncate((samples.len() as f64 * KEPT) as usize);
    let of = |wanted| samples.iter().filter(move |sample| sample.0 == wanted).map(|sample| sample.1);
    report.add("key_compare_t", &[welch_t(of(0), of(1)).abs()], "|t|", None);
}

fn welch_t(left: impl Iterator<Item = f64>, right: impl Iterator<Item = f64>) -> f64 {
    let ((left_mean, left_error), (right_mean, right_error)) = (mean(left), mean(right));
    (left_mean - right_mean) / (left_error + right_error).sqrt()
}

/// Mean and the square of its standard error.
fn mean(samples: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for sample in samples {
        count += 1.0;
        let off = sample - mean;
        mean += off / count;
        squares += off * (sample - mean);
    }
    (mean, squares / (count - 1.0) / count)
}
