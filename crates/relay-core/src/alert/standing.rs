//! What is so, since when, and whether it comes and goes.

use std::collections::{BTreeMap, VecDeque};

use super::{Condition, Key, Look, Severity};
use crate::{
    limits,
    time::{Mono, Now, Wall},
};

/// All conditions that are so, or were a while ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    known: BTreeMap<Key, Stand>,
    past: VecDeque<Past>,
    /// So many had no room at the last look.
    left_out: u64,
}

/// A condition over time.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    pub(super) severity: Severity,
    pub(super) words: String,
    pub(super) count: u64,
    /// When it began.
    pub(super) since: Now,
    /// It is not so any more, since then.
    pub(super) over: Option<Now>,
    /// It comes and goes.
    pub(super) is_flapping: bool,
    /// It stands among what was so, since it was over.
    is_past: bool,
    /// The latest times at which it began or became worse, the oldest first.
    begins: VecDeque<Mono>,
    /// When it last came or went.
    changed: Mono,
}

/// A condition, for whoever asks what was so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its name.
    pub key: Key,
    /// How bad it was.
    pub severity: Severity,
    /// What a person is told.
    pub words: String,
    /// How many, where that is counted.
    pub count: u64,
    /// When it began.
    pub since: Wall,
    /// When it was over; `None`: it is so now.
    pub over: Option<Wall>,
    /// It comes and goes.
    pub is_flapping: bool,
}

impl Stand {
    fn new(condition: Condition, now: Now) -> Self {
        let Condition { severity, words, count, .. } = condition;
        let begins = VecDeque::from([now.mono]);
        let (over, is_flapping, is_past) = (None, false, false);
        Self { severity, words, count, since: now, over, is_flapping, is_past, begins, changed: now.mono }
    }

    /// Whether it counts as being so: what comes and goes does, also while it is gone.
    pub(super) fn fires(&self) -> bool {
        self.over.is_none() || self.is_flapping
    }

    fn seen(&mut self, condition: Condition, now: Now) {
        let Condition { severity, words, count, .. } = condition;
        if let Some(over) = self.over.take() {
            // Back within a hold it was never told as over: it is the same one.
            if now.mono.since(over.mono) >= limits::ALERT_HOLD && !self.is_flapping {
                self.since = now;
            }
            self.is_past = false;
            self.began(now);
        } else if severity > self.severity {
            self.began(now);
        }
        (self.severity, self.words, self.count) = (severity, words, count);
    }

    fn missed(&mut self, now: Now) {
        if self.over.is_none() {
            (self.over, self.changed) = (Some(now), now.mono);
        }
    }

    /// Whether it has been over for long enough to be so.
    fn is_over(&self, now: Now) -> bool {
        !self.is_flapping && self.over.is_some_and(|over| now.mono.since(over.mono) >= limits::ALERT_HOLD)
    }

    fn began(&mut self, now: Now) {
        self.changed = now.mono;
        if self.begins.len() == limits::ALERT_FLAPS {
            self.begins.pop_front();
        }
        self.begins.push_back(now.mono);
        let oldest = self.begins.front().filter(|_| self.begins.len() == limits::ALERT_FLAPS);
        self.is_flapping |= oldest.is_some_and(|oldest| now.mono.since(*oldest) <= limits::ALERT_FLAPPING_WITHIN);
    }

    fn past(&self, key: &Key) -> Past {
        Past {
            key: key.clone(),
            severity: self.severity,
            words: self.words.clone(),
            count: self.count,
            since: self.since.wall,
            over: self.over.map(|over| over.wall),
            is_flapping: self.is_flapping,
        }
    }
}

impl Standing {
    /// Takes what is so now.
    pub(super) fn look(&mut self, look: Look, now: Now) {
        let mut seen = BTreeMap::new();
        for mut condition in look.conditions {
            shorten(&mut condition.words);
            seen.insert(condition.key.clone(), condition);
        }
        if look.is_whole {
            self.note_missed(&seen, now);
        }
        self.settle(now);
        let (known, new): (Vec<_>, Vec<_>) = seen.into_values().partition(|seen| self.known.contains_key(&seen.key));
        for condition in known {
            if let Some(stand) = self.known.get_mut(&condition.key) {
                stand.seen(condition, now);
            }
        }
        self.admit(new, now);
    }

    fn note_missed(&mut self, seen: &BTreeMap<Key, Condition>, now: Now) {
        for (_, stand) in self.known.iter_mut().filter(|(key, _)| !seen.contains_key(key)) {
            stand.missed(now);
        }
    }

    /// What has kept still for long does not come and go any more; what is over for long is forgotten.
    fn settle(&mut self, now: Now) {
        let past = &mut self.past;
        self.known.retain(|key, stand| {
            let still = now.mono.since(stand.changed);
            if stand.is_flapping && still >= limits::ALERT_STEADY {
                stand.is_flapping = false;
                stand.begins.clear();
            }
            if stand.is_over(now) && !std::mem::replace(&mut stand.is_past, true) {
                remember(past, stand.past(key));
            }
            stand.fires() || still < limits::ALERT_FLAPPING_WITHIN
        });
    }

    /// Lets in as many new ones as there is room for, the worst first; what is over makes room.
    fn admit(&mut self, mut new: Vec<Condition>, now: Now) {
        new.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.key.cmp(&other.key)));
        let mut over: Vec<(Mono, Key)> =
            self.known.iter().filter(|(_, s)| !s.fires()).map(|(key, s)| (s.changed, key.clone())).collect();
        over.sort();
        let mut over = over.into_iter();
        self.left_out = 0;
        for condition in new {
            while self.known.len() >= room(condition.severity)
                && let Some((_, key)) = over.next()
            {
                self.forget(&key);
            }
            if self.known.len() < room(condition.severity) {
                self.known.insert(condition.key.clone(), Stand::new(condition, now));
            } else {
                self.left_out += 1;
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(stand) = self.known.remove(key).filter(|stand| !stand.is_past) {
            remember(&mut self.past, stand.past(key));
        }
    }

    pub(super) fn of(&self, key: &Key) -> Option<&Stand> {
        self.known.get(key)
    }

    /// All that counts as being so.
    pub(super) fn all_firing(&self) -> impl Iterator<Item = (&Key, &Stand)> {
        self.known.iter().filter(|(_, stand)| stand.fires())
    }

    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn firing(&self) -> Vec<Past> {
        let mut firing: Vec<Past> = self.all_firing().map(|(key, stand)| stand.past(key)).collect();
        firing.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.key.cmp(&other.key)));
        firing
    }

    pub(super) fn over(&self) -> impl Iterator<Item = &Past> {
        self.past.iter().rev()
    }
}

/// How many are known at most while one that is so bad is let in: what is mild never takes the room of what is worse.
pub(super) const fn room(severity: Severity) -> usize {
    limits::CONDITIONS_MAX * (severity as usize + 1)
}

fn remember(past: &mut VecDeque<Past>, one: Past) {
    if past.len() == limits::CONDITIONS_PAST_MAX {
        past.pop_front();
    }
    past.push_back(one);
}

fn shorten(words: &mut String) {
    let end = words.floor_char_boundary(limits::WORDS_BYTES_MAX);
    words.truncate(end);
}
