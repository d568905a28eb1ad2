//! Model targets: what a local endpoint does with a webhook, and when.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, RngExt as _};
use relay_core::{
    client::Forward,
    delivery::{
        answer::Answer,
        outcome::{Class, Outcome},
    },
    name::Name,
};

use crate::plan::pick;

/// How a target behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Slow,
    Refuses,
    Hangs,
    Answers(u16),
    /// 429 with `Retry-After`.
    TooMany,
    /// Of so many events one is taken; to the others it says always the same, each its own.
    Mixed(u8),
}

/// All targets, by destination.
#[derive(Debug)]
pub(crate) struct Targets {
    moods: BTreeMap<Name, Mood>,
}

/// What a webhook meets at its target.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) after: Duration,
    pub(crate) outcome: Outcome,
}

impl Targets {
    pub(crate) fn new(destinations: &[Name]) -> Self {
        Self { moods: destinations.iter().map(|name| (name.clone(), Mood::Fine)).collect() }
    }

    /// Another mood for one of them.
    pub(crate) fn change(&mut self, rng: &mut impl Rng) -> (Name, Mood) {
        let names: Vec<Name> = self.moods.keys().cloned().collect();
        let name = pick(rng, &names).clone();
        let moods = [
            Mood::Fine,
            Mood::Slow,
            Mood::Refuses,
            Mood::Hangs,
            Mood::Answers(500),
            Mood::Answers(503),
            Mood::Answers(404),
            Mood::Answers(302),
            Mood::TooMany,
        ];
        let mood = *pick(rng, &moods);
        self.moods.insert(name.clone(), mood);
        (name, mood)
    }

    /// One of them is choosy about events from now on.
    pub(crate) fn mix(&mut self, rng: &mut impl Rng) -> (Name, Mood) {
        let names: Vec<Name> = self.moods.keys().cloned().collect();
        let (name, mood) = (pick(rng, &names).clone(), Mood::Mixed(rng.random_range(1..=8)));
        self.moods.insert(name.clone(), mood);
        (name, mood)
    }

    /// All are fine from now on.
    pub(crate) fn heal(&mut self) {
        self.moods.values_mut().for_each(|mood| *mood = Mood::Fine);
    }

    /// What happens to a webhook that is sent now.
    pub(crate) fn meet(&self, rng: &mut impl Rng, forward: &Forward, poison: bool, timeout: Duration) -> Meeting {
        let mood = self.moods.get(&forward.destination).copied().unwrap_or(Mood::Refuses);
        let mood = if poison { Mood::Hangs } else { mood };
        let quick = Duration::from_micros(rng.random_range(100..=20_000));
        match mood {
            Mood::Fine => answer(quick, 200, None),
            Mood::Slow => answer(Duration::from_millis(rng.random_range(1_000..timeout.as_millis() as u64)), 204, None),
            Mood::Answers(status) => answer(quick, status, None),
            Mood::TooMany => answer(quick, 429, Some(Duration::from_secs(rng.random_range(1..=90)))),
            Mood::Mixed(of) => {
                let side = forward.event.as_u128().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let said = [500, 403, 422, 400, 503, 404, 429, 302][(side >> 8) as usize % 8];
                answer(quick, if side.is_multiple_of(of.into()) { 200 } else { said }, None)
            }
            Mood::Refuses => nothing(quick, Class::Unreachable, "connection refused"),
            Mood::Hangs => nothing(timeout, Class::Busy, "no answer in time"),
        }
    }
}

pub(crate) fn answer(after: Duration, status: u16, retry_after: Option<Duration>) -> Meeting {
    let class = Class::of_status(status);
    let body = (class != Class::Delivered).then(|| format!("no, {status}").into());
    let answer = Answer { body, ..Answer::default() }.shared();
    Meeting {
        after,
        outcome: Outcome { class, status: Some(status), retry_after, duration: after, error: None, answer },
    }
}

pub(crate) fn nothing(after: Duration, class: Class, why: &str) -> Meeting {
    let error = Some(why.into());
    Meeting { after, outcome: Outcome { class, status: None, retry_after: None, duration: after, error, answer: None } }
}
