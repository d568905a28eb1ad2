//! What one alert has told, and when it tells again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Item, Key, Kind, Message, News, Rule, Scope, Severity,
    standing::{Stand, Standing, room},
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
    /// As of which relay it tells what is new.
    relay: String,
    told: BTreeMap<Key, Kept>,
    /// What was told as over in messages that have not left yet.
    leaving: BTreeMap<Key, Told>,
    /// It tells what is of the store.
    is_of_store: bool,
    /// Nobody takes anything from it for now.
    is_held: bool,
    /// When it last said anything, in this run.
    told_at: Option<Mono>,
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

impl Memory {
    /// Messages that tell all of it as over, for a server that will not.
    pub fn over(&self, alert: &Name, at: Wall) -> Vec<Message> {
        let items: Vec<Item> = self.told.iter().filter(|told| told.is_named).cloned().map(item_over).collect();
        let message = |over: &[Item]| Message {
            alert: alert.clone(),
            at,
            begun: Vec::new(),
            over: over.to_vec(),
            lasting: Vec::new(),
            more: 0,
        };
        items.chunks(limits::ALERT_ITEMS_MAX).map(message).collect()
    }
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
    /// The message that says so has left; else it is on its way, and nobody knows whether it arrives.
    pub is_sent: bool,
    /// It stood in a message by itself; else it was one of those that were told by their number, as it is when they are over.
    pub is_named: bool,
    /// As of which relay it was told: see [`Item`].
    pub relay: String,
}

#[derive(Clone, Debug)]
struct Kept {
    told: Told,
    /// Not so any more from then on. It may lie ahead.
    gone: Option<Mono>,
    /// Since when it has been less bad than it was told.
    milder: Option<Mono>,
    /// Whether anybody heard of it is not known: it is told as begun once more if it is so, and as over if it is not.
    is_unsure: bool,
}

impl Kept {
    fn is_over(&self, now: Mono) -> bool {
        self.gone.is_some_and(|gone| gone + limits::ALERT_HOLD <= now)
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
    pub(super) fn new(name: Name, rule: Rule, relay: &str) -> Self {
        let (at, interval) = (Wall::MIN, limits::ALERT_REMIND_FIRST);
        Self {
            name,
            rule,
            relay: relay.to_owned(),
            told: BTreeMap::new(),
            leaving: BTreeMap::new(),
            is_of_store: false,
            is_held: false,
            told_at: None,
            at,
            interval,
            remind_at: Mono::default(),
            quiet_until: Mono::default(),
            pending: None,
            grown: None,
        }
    }

    pub(super) fn is_for(&self, key: &Key, severity: Severity) -> bool {
        // That nobody hears it is told by others.
        let is_own = key.kind == Kind::Alert && key.subject.as_ref() == Some(&self.name);
        !is_own && self.rule.is_for(key.kind, severity)
    }

    pub(super) fn recall(&mut self, memory: Memory, now: Now) {
        let gone = Some(now.mono + limits::ALERT_RECALLED_HOLD.saturating_sub(limits::ALERT_HOLD));
        let room = room(Severity::Critical).saturating_sub(self.told.len());
        for told in memory.told.into_iter().take(room) {
            let is_unsure = !told.is_sent;
            self.told.entry(told.key.clone()).or_insert(Kept { told, gone, milder: None, is_unsure });
        }
        self.at = self.at.max(memory.at.min(now.wall));
        self.interval = memory.interval.clamp(limits::ALERT_REMIND_FIRST, limits::ALERT_REMIND_MAX);
        // By the wall clock, which may have been set: at most an interval too late, or one reminder too early.
        let passed = now.wall.since(memory.at);
        self.remind_at = now.mono + self.interval.saturating_sub(passed);
        self.quiet_until = now.mono + limits::ALERT_REMIND_FIRST.saturating_sub(passed);
    }

    pub(super) fn memory(&self, scope: Scope) -> Memory {
        let told = |kept: &Kept| Told { is_sent: kept.told.is_sent && !kept.is_unsure, ..kept.told.clone() };
        let leaving = self.leaving.iter().filter(|(key, _)| !self.told.contains_key(key));
        let all = self.told.values().map(told).chain(leaving.map(|(_, told)| told.clone()));
        Memory { at: self.at, interval: self.interval, told: all.filter(|told| told.key.scope == scope).collect() }
    }

    pub(super) fn left(&mut self) {
        self.told.values_mut().for_each(|kept| kept.told.is_sent = true);
        self.leaving.clear();
    }

    pub(super) fn give_back(&mut self, message: Message, now: Mono) {
        for item in message.begun {
            if let Some(kept) = self.told.get_mut(&item.key) {
                kept.is_unsure = true;
            }
        }
        for item in message.over {
            let is_new = !self.told.contains_key(&item.key) && self.tells(item.key.scope);
            if is_new && self.told.len() < room(Severity::Critical) {
                let kept = Kept { told: told(&item), gone: Some(now), milder: None, is_unsure: false };
                self.told.insert(item.key, kept);
            }
        }
    }

    pub(super) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    pub(super) fn take(&mut self) {
        self.is_of_store = true;
    }

    pub(super) fn leave(&mut self) {
        self.is_of_store = false;
        self.told.retain(|key, _| key.scope != Scope::Store);
        self.leaving.retain(|key, _| key.scope != Scope::Store);
    }

    fn tells(&self, scope: Scope) -> bool {
        self.is_of_store || scope == Scope::Server
    }

    /// The message that is due now, if one is.
    pub(super) fn review(&mut self, standing: &Standing, now: Now) -> Option<Message> {
        self.note(standing, now);
        let due = self.due().filter(|_| !self.is_held)?;
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
        // Nobody misses what nobody was told by name.
        self.told.retain(|_, kept| kept.told.is_named || !kept.is_over(now.mono));
        self.grown = has_grown.then(|| self.grown.unwrap_or(now.mono));
        let has_news = self.unsaid(standing).next().is_some();
        self.pending = has_news.then(|| self.pending.unwrap_or(now.mono));
    }

    /// When the next message is due, as far as is known now; `None`: nothing is to be told.
    fn due(&self) -> Option<Mono> {
        let held = self.pending.map(|since| since + limits::ALERT_HOLD);
        let grown = self.grown.map(|since| (since + limits::ALERT_HOLD).max(self.quiet_until));
        let lasts = self.told.values().any(|kept| kept.gone.is_none());
        let reminder = lasts.then_some(self.remind_at);
        let gone = self.told.values().filter(|kept| kept.told.is_named).filter_map(|kept| kept.gone).min();
        let over = gone.map(|gone| gone.max(self.told_at.unwrap_or(gone)) + limits::ALERT_HOLD);
        [held, grown, reminder, over].into_iter().flatten().min()
    }

    /// What is so and was not told so, and what of it is new.
    fn unsaid<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = (&'a Key, &'a Stand, News)> {
        let is_for = |key: &Key, stand: &Stand| self.tells(key.scope) && self.is_for(key, stand.severity);
        let firing = standing.all_firing().filter(move |(key, stand)| is_for(key, stand));
        firing.filter_map(|(key, stand)| {
            let news = match self.told.get(key) {
                None if self.told.len() >= room(stand.severity) => return None,
                None => News::Begun,
                Some(kept) if kept.is_unsure => News::Begun,
                Some(kept) if stand.severity > kept.told.severity => News::Worse,
                Some(kept) if stand.is_flapping && !kept.told.is_flapping => News::Flapping,
                Some(_) => return None,
            };
            Some((key, stand, news))
        })
    }

    fn tell(&mut self, standing: &Standing, now: Now) -> Message {
        let new: Vec<Item> = self.unsaid(standing).map(|(key, stand, news)| self.item(key, stand, news)).collect();
        let lasting = self.lasting(standing, &new);
        let message = Message {
            alert: self.name.clone(),
            at: now.wall,
            begun: new.clone(),
            over: self.take_over(now.mono),
            lasting: lasting.clone(),
            more: standing.left_out(),
        };
        let has_news = !new.is_empty() || !message.over.is_empty();
        let message = message.bounded();
        let named: BTreeSet<&Key> = message.items().map(|item| &item.key).collect();
        for item in new.iter().chain(&lasting) {
            self.keep(standing, item, named.contains(&item.key));
        }
        self.interval = if has_news || self.grown.is_some() {
            limits::ALERT_REMIND_FIRST
        } else {
            (self.interval * 2).min(limits::ALERT_REMIND_MAX)
        };
        (self.at, self.grown, self.pending) = (now.wall, None, None);
        self.told_at = Some(now.mono);
        self.remind_at = now.mono + self.interval;
        self.quiet_until = now.mono + limits::ALERT_REMIND_FIRST;
        message
    }

    /// What is gone, as much of it as a message holds, the worst first; the rest is told with the next.
    fn take_over(&mut self, now: Mono) -> Vec<Item> {
        let over = self.told.iter().filter(|(_, kept)| kept.is_over(now));
        let mut over: Vec<(Severity, Key)> = over.map(|(key, kept)| (kept.told.severity, key.clone())).collect();
        over.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        over.truncate(limits::ALERT_ITEMS_MAX);
        let mut items = Vec::new();
        for (_, key) in over {
            if let Some(kept) = self.told.remove(&key) {
                items.push(item_over(kept.told.clone()));
                self.leaving.insert(key, kept.told);
            }
        }
        items
    }

    fn lasting(&self, standing: &Standing, new: &[Item]) -> Vec<Item> {
        let known =
            self.told.iter().filter(|(key, kept)| kept.gone.is_none() && !new.iter().any(|item| item.key == **key));
        known.filter_map(|(key, _)| standing.of(key).map(|stand| self.item(key, stand, News::Lasting))).collect()
    }

    fn item(&self, key: &Key, stand: &Stand, news: News) -> Item {
        let (severity, words, since, count) = (stand.severity, stand.words.clone(), stand.since.wall, stand.count);
        // What comes and goes from the start is said to do so.
        let news = if news == News::Begun && stand.is_flapping { News::Flapping } else { news };
        // What was told as of one is told as over of the same, whatever this one is called by then.
        let relay = self.told.get(key).map_or(&self.relay, |kept| &kept.told.relay).clone();
        Item { key: key.clone(), severity, words, since, count, news, relay }
    }

    /// Keeps what is being told.
    fn keep(&mut self, standing: &Standing, item: &Item, is_named: bool) {
        let before = self.told.get(&item.key);
        if before.is_none() && self.told.len() >= room(item.severity) {
            return;
        }
        let kept = before.map(|kept| &kept.told);
        let told = Told {
            // What was told as worse a moment ago is not told so again.
            severity: kept.map_or(item.severity, |told| told.severity.max(item.severity)),
            is_flapping: standing.of(&item.key).is_some_and(|stand| stand.is_flapping),
            is_sent: item.news == News::Lasting && kept.is_some_and(|told| told.is_sent),
            is_named: is_named || kept.is_some_and(|told| told.is_named),
            ..told(item)
        };
        let milder = before.and_then(|kept| kept.milder);
        self.told.insert(item.key.clone(), Kept { told, gone: None, milder, is_unsure: false });
    }
}

fn item_over(told: Told) -> Item {
    let Told { key, severity, words, since, count, relay, .. } = told;
    Item { key, severity, words, since, count, news: News::Over, relay }
}

/// What an item of a message tells.
fn told(item: &Item) -> Told {
    let Item { key, severity, words, since, count, news, relay } = item.clone();
    let (is_flapping, is_sent, is_named) = (news == News::Flapping, false, true);
    Told { key, severity, words, since, count, is_flapping, is_sent, is_named, relay }
}
