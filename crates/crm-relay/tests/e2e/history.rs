//! The history of one run, and the check that nothing promised was broken.

use std::collections::{BTreeMap, HashMap};

use crate::target::Arrival;

/// What senders were told and what targets saw.
#[derive(Default)]
pub(crate) struct History {
    /// Event id to SHA-256 of the body that was sent: every request that was answered with 2xx.
    pub(crate) acknowledged: BTreeMap<String, Vec<u8>>,
    /// Requests without an answer, or answered with 503: may or may not be stored.
    pub(crate) unknown: u64,
}

/// What the check found when all held.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) acknowledged: usize,
    pub(crate) delivered: usize,
    /// Deliveries beyond the first of each event.
    pub(crate) duplicates: u64,
}

impl History {
    /// Checks I1 and I3: every acknowledged event arrived and was answered 2xx, with the bytes that were sent. Gives the
    /// number of duplicates for the caller to judge by I9.
    pub(crate) fn check(&self, arrivals: &[Arrival]) -> Findings {
        let mut delivered: HashMap<&str, u64> = HashMap::new();
        for arrival in arrivals {
            if let Some(sent) = self.acknowledged.get(arrival.event()) {
                assert_eq!(&arrival.sha256(), sent, "I3: {} arrived with other bytes", arrival.event());
            }
            if (200..300).contains(&arrival.status) {
                *delivered.entry(arrival.event()).or_default() += 1;
            }
        }
        let lost: Vec<&String> = self.acknowledged.keys().filter(|id| !delivered.contains_key(id.as_str())).collect();
        assert!(
            lost.is_empty(),
            "I1: {} acknowledged events never arrived, like {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        );
        Findings {
            acknowledged: self.acknowledged.len(),
            delivered: delivered.len(),
            duplicates: delivered.values().map(|times| times - 1).sum(),
        }
    }

    /// How many acknowledged events have not been answered 2xx by the target yet.
    pub(crate) fn missing(&self, delivered: &HashMap<String, u32>) -> usize {
        self.acknowledged.keys().filter(|id| !delivered.contains_key(*id)).count()
    }
}
