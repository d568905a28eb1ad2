//! What one alert has told, and when it tells again.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Item, Key, Kind, Message, News, Rule, Scope, Severity,
    standing::{Stand, Standing},
};
use crate::{
    limits,
    name::Name,
    time::{Mono, Now, Wall},
};

/// One alert.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    name: Name,
    rule: Rule,
    told: BTreeMap<Key, Kept>,
    /// When it last said anything.
    at: Wall,
    /// Between that and the next reminder.
    interval: Duration,
    /// When what lasts is told once more.
    remind_at: Mono,
    /// What only grew is not told before.
    quiet_until: Mono,
    /// Since when there is something new to tell.
    pending: Option<Mono>,
    /// Since when something has grown that was told.
    grown: Option<Mono>,
}

/// What an alert has told and not told as over, as it is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// When it last said anything.
    pub at: Wall,
    /// Between that and the next reminder.
    pub interval: Duration,
    /// What was told.
    pub told: Vec<Told>,
}

/// A condition that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub key: Key,
    /// How bad it was told to be.
    pub severity: Severity,
    /// What was said.
    pub words: String,
    /// Since when it is so.
    pub since: Wall,
    /// How many were told.
    pub count: u64,
    /// It was told to come and go.
    pub is_flapping: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    told: Told,
    /// Not so any more from then on. It may lie ahead.
    gone: Option<Mono>,
    /// Since when it has been less bad than it was told.
    milder: Option<Mono>,
}

impl Kept {
    fn is_over(&self, now: Mono) -> bool {
        self.gone.is_some_and(|gone| gone <= now)
    }

    /// It lasts so. What has been less bad, or fewer, than it was told is news again once it is as bad, or grows.
    fn lasts(&mut self, stand: &Stand, now: Mono) {
        self.gone = None;
        self.told.count = self.told.count.min(stand.count);
        if stand.severity >= self.told.severity {
            self.milder = None;
        } else if *self.milder.get_or_insert(now) + limits::ALERT_HOLD <= now {
            (self.told.severity, self.milder) = (stand.severity, None);
        }
    }
}

impl Teller {
    pub(super) fn new(name: Name, rule: Rule) -> Self {
        let (at, interval) = (Wall::MIN, limits::ALERT_REMIND_FIRST);
        let (remind_at, quiet_until) = (Mono::default(), Mono::default());
        Self { name, rule, told: BTreeMap::new(), at, interval, remind_at, quiet_until, pending: None, grown: None }
    }

    pub(super) fn is_for(&self, key: &Key, severity: Severity) -> bool {
        // That nobody hears it is told by others.
        let is_own = key.kind == Kind::Alert && key.subject.as_ref() == Some(&self.name);
        !is_own && self.rule.is_for(key.kind, severity)
    }

    pub(super) fn recall(&mut self, memory: Memory, now: Now) {
        let gone = Some(now.mono + limits::ALERT_RECALLED_HOLD.saturating_sub(limits::ALERT_HOLD));
        let room = limits::CONDITIONS_MAX.saturating_sub(self.told.len());
        for told in memory.told.into_iter().take(room) {
            self.told.entry(told.key.clone()).or_insert(Kept { told, gone, milder: None });
        }
        self.at = self.at.max(memory.at.min(now.wall));
        self.interval = memory.interval.clamp(limits::ALERT_REMIND_FIRST, limits::ALERT_REMIND_MAX);
        // By the wall clock, which may have been set: at most an interval too late, or one reminder too early.
        let passed = now.wall.since(memory.at);
        self.remind_at = now.mono + self.interval.saturating_sub(passed);
        self.quiet_until = now.mono + limits::ALERT_REMIND_FIRST.saturating_sub(passed);
    }

    pub(super) fn memory(&self, scope: Scope) -> Memory {
        let of_scope = self.told.values().filter(|kept| kept.told.key.scope == scope);
        Memory { at: self.at, interval: self.interval, told: of_scope.map(|kept| kept.told.clone()).collect() }
    }

    pub(super) fn leave(&mut self, scope: Scope) {
        self.told.retain(|key, _| key.scope != scope);
    }

    /// The message that is due now, if one is.
    pub(super) fn review(&mut self, standing: &Standing, now: Now) -> Option<Message> {
        self.note(standing, now);
        let due = self.due()?;
        (due <= now.mono).then(|| self.tell(standing, now))
    }

    /// Notes what is gone and what has grown of what was told, and whether there is anything new.
    fn note(&mut self, standing: &Standing, now: Now) {
        let mut has_grown = false;
        for (key, kept) in &mut self.told {
            match standing.of(key).filter(|stand| stand.fires() && self.rule.is_for(key.kind, stand.severity)) {
                Some(stand) => {
                    has_grown |= stand.count > kept.told.count;
                    kept.lasts(stand, now.mono);
                }
                None => drop(kept.gone.get_or_insert(now.mono)),
            }
        }
        self.grown = has_grown.then(|| self.grown.unwrap_or(now.mono));
        let is_over = self.told.values().any(|kept| kept.is_over(now.mono));
        let has_news = is_over || self.unsaid(standing).next().is_some();
        self.pending = has_news.then(|| self.pending.unwrap_or(now.mono));
    }

    /// When the next message is due, as far as is known now; `None`: nothing is to be told.
    fn due(&self) -> Option<Mono> {
        let held = self.pending.map(|since| since + limits::ALERT_HOLD);
        let grown = self.grown.map(|since| (since + limits::ALERT_HOLD).max(self.quiet_until));
        let lasts = self.told.values().any(|kept| kept.gone.is_none());
        let reminder = lasts.then_some(self.remind_at);
        [held, grown, reminder].into_iter().flatten().min()
    }

    /// What is so and was not told so, and what of it is new.
    fn unsaid<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = (&'a Key, &'a Stand, News)> {
        let firing = standing.all_firing().filter(|(key, stand)| self.is_for(key, stand.severity));
        firing.filter_map(|(key, stand)| {
            let news = match self.told.get(key).map(|kept| &kept.told) {
                None if self.told.len() >= limits::CONDITIONS_MAX => return None,
                None => News::Begun,
                Some(told) if stand.severity > told.severity => News::Worse,
                Some(told) if stand.is_flapping && !told.is_flapping => News::Flapping,
                Some(_) => return None,
            };
            Some((key, stand, news))
        })
    }

    fn tell(&mut self, standing: &Standing, now: Now) -> Message {
        let new: Vec<Item> = self.unsaid(standing).map(|(key, stand, news)| item(key, stand, news)).collect();
        let mut message = Message {
            alert: self.name.clone(),
            at: now.wall,
            begun: Vec::new(),
            over: self.take_over(now.mono),
            lasting: self.lasting(standing, &new),
            more: standing.left_out(),
        };
        let has_news = !new.is_empty() || !message.over.is_empty();
        self.keep(standing, &new.iter().chain(&message.lasting).collect::<Vec<_>>());
        message.begun = new;
        self.interval = if has_news || self.grown.is_some() {
            limits::ALERT_REMIND_FIRST
        } else {
            (self.interval * 2).min(limits::ALERT_REMIND_MAX)
        };
        (self.at, self.grown, self.pending) = (now.wall, None, None);
        self.remind_at = now.mono + self.interval;
        self.quiet_until = now.mono + limits::ALERT_REMIND_FIRST;
        message.bounded()
    }

    /// What is gone, told with whatever is told.
    fn take_over(&mut self, now: Mono) -> Vec<Item> {
        let gone: Vec<Key> =
            self.told.iter().filter(|(_, kept)| kept.is_over(now)).map(|(key, _)| key.clone()).collect();
        let taken = gone.into_iter().filter_map(|key| self.told.remove(&key));
        taken.map(|kept| over(kept.told)).collect()
    }

    fn lasting(&self, standing: &Standing, new: &[Item]) -> Vec<Item> {
        let known = self.told.keys().filter(|key| !new.iter().any(|item| item.key == **key));
        known.filter_map(|key| standing.of(key).map(|stand| item(key, stand, News::Lasting))).collect()
    }

    fn keep(&mut self, standing: &Standing, items: &[&Item]) {
        for item in items.iter().copied() {
            if self.told.len() >= limits::CONDITIONS_MAX && !self.told.contains_key(&item.key) {
                continue;
            }
            // What was told as worse a moment ago is not told so again.
            let before = self.told.get(&item.key);
            let severity = before.map_or(item.severity, |kept| kept.told.severity.max(item.severity));
            let milder = before.and_then(|kept| kept.milder);
            let told = Told {
                key: item.key.clone(),
                severity,
                words: item.words.clone(),
                since: item.since,
                count: item.count,
                is_flapping: standing.of(&item.key).is_some_and(|stand| stand.is_flapping),
            };
            self.told.insert(item.key.clone(), Kept { told, gone: None, milder });
        }
    }
}

fn item(key: &Key, stand: &Stand, news: News) -> Item {
    let (severity, words, since, count) = (stand.severity, stand.words.clone(), stand.since.wall, stand.count);
    // What comes and goes from the start is said to do so.
    let news = if news == News::Begun && stand.is_flapping { News::Flapping } else { news };
    Item { key: key.clone(), severity, words, since, count, news }
}

fn over(told: Told) -> Item {
    let Told { key, severity, words, since, count, .. } = told;
    Item { key, severity, words, since, count, news: News::Over }
}
