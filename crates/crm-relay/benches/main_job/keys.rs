//! Whether the time that refusing a key takes tells how much of it was right.

use std::time::Instant;

use relay_providers::{Draft, Verdict, Verifier};

use crate::{process::API_KEY, report::Report};

/// Requests judged, half of each class.
const COMPARES: u32 = 1_000_000;
/// After so many the requests are made anew, elsewhere in memory: where a key stands tells more than what it holds.
const COMPARES_PER_PLACE: u32 = 500;
/// Slower than this part of the samples of one place is not the compare but what interrupted it.
const KEPT: f64 = 0.99;

/// Row `key_compare_t`: Welch's t between keys that are right up to the last character and keys that are wrong from the first,
/// as an API key source judges them. The classes come in a random order, so that drift is the same for both, and each place
/// counts once for each, so that a place which is slow for one of them is no more than one sample.
pub(crate) fn measure(report: &mut Report) {
    let verifier = Verifier::new("api-key", &[("key".into(), API_KEY.into())]).expect("valid parameters");
    let (right, last) = API_KEY.split_at(API_KEY.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let keys = [format!("{right}{other}"), "z".repeat(API_KEY.len())];
    let mut means: [Vec<f64>; 2] = Default::default();
    for _ in 0..COMPARES / COMPARES_PER_PLACE {
        // Which is made first is left to chance too.
        let first = usize::from(rand::random::<bool>());
        let mut drafts = [first, 1 - first].map(|class| draft(&keys[class]));
        drafts.rotate_left(first);
        for (means, mean) in means.iter_mut().zip(place(&verifier, &drafts)) {
            means.push(mean);
        }
    }
    let [right, wrong] = means.map(Vec::into_iter);
    report.add("key_compare_t", &[welch_t(right, wrong).abs()], "|t|", None);
}

fn draft(key: &str) -> Draft {
    let mut draft = Draft::post("https://relay.example/webhook", "{}");
    draft.set_header("x-api-key", key.to_owned());
    draft
}

/// How long each of two takes, where they are.
fn place(verifier: &Verifier, drafts: &[Draft; 2]) -> [f64; 2] {
    let now = relay_core::time::Wall::from_micros(1_700_000_000_000_000);
    let mut samples: [Vec<f64>; 2] = Default::default();
    for _ in 0..COMPARES_PER_PLACE {
        let class = usize::from(rand::random::<bool>());
        let request = drafts[class].request(now, &[]);
        let start = Instant::now();
        let verdict = std::hint::black_box(verifier.judge(std::hint::black_box(&request)));
        let took = start.elapsed().as_nanos() as f64;
        assert!(matches!(verdict, Verdict::Refused(_)), "a wrong key");
        samples[class].push(took);
    }
    samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples.truncate((samples.len() as f64 * KEPT) as usize);
        mean(samples.into_iter()).0
    })
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
