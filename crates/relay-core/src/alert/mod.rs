//! Who is told what, and when: conditions as they are seen at each look go in, messages come out.
//!
//! # How to drive it
//! [`Alerts::handle_look`] with what is so now, every few seconds; [`Alerts::poll_output`] until it gives `None`. It needs no other
//! timer: whatever is due is told with the next look. After a start, [`Alerts::recall`] with what [`Alerts::memory`] said before.
//!
//! Messages go to somebody who may be away. [`Alerts::left`] says that all of an alert so far have left, [`Alerts::give_back`] that one never
//! will, and [`Alerts::hold`] that no more are taken for now: what is news waits here, where it is what is so and not a queue of what was.
//!
//! **Invariant:** what is held is bounded by [`limits::CONDITIONS_MAX`](crate::limits::CONDITIONS_MAX) conditions for each severity and as
//! many for each alert, whatever is seen; what is mild never keeps out what is worse.
//! **Invariant:** an alert gives at most one message in each [`limits::ALERT_HOLD`](crate::limits::ALERT_HOLD); what was told as begun is
//! told as over, or lasts, whichever messages arrive.

mod message;
mod share;
mod standing;
mod teller;
#[cfg(test)]
mod tests;
mod tries;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    str::FromStr,
};

pub use self::{
    message::{Item, Message, News},
    share::{Came, Shares},
    standing::Past,
    teller::{Memory, Told},
    tries::pause_after,
};
use self::{standing::Standing, teller::Teller};
use crate::{name::Name, time::Now};

/// What kind of thing is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Deliveries ended without success, for their targets would not have them.
    DeadLetters,
    /// Deliveries ended since their time ran out.
    Expired,
    /// A target does not answer.
    DestinationDown,
    /// Deliveries wait and no client serves their destination.
    NoClient,
    /// Half the TTL of a waiting delivery has passed.
    HalfTtl,
    /// Due work is old although a client could take it.
    Stalled,
    /// Deliveries wait at a destination that is paused.
    Paused,
    /// Room runs out, or has.
    Disk,
    /// A certificate ends soon, or has ended.
    Certificate,
    /// A clock is not where it should be.
    Clock,
    /// Much of what comes to a source is refused.
    Refused,
    /// A source takes nothing, or not all that it should.
    Source,
    /// The store fails, or something in it has.
    Store,
    /// The store is not copied as it should be.
    Backup,
    /// Servers on one store are configured differently.
    Configuration,
    /// Another alert reaches nobody.
    Alert,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

/// Whose condition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Of everything that is stored: of several servers on one store, one tells it.
    Store,
    /// Of one server: it tells it.
    Server,
}

/// Names a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What kind.
    pub kind: Kind,
    /// Of which destination, source or alert.
    pub subject: Option<Name>,
    /// Whose.
    pub scope: Scope,
}

/// Something that is so at a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its name: at a look there is one of each.
    pub key: Key,
    /// How bad.
    pub severity: Severity,
    /// What a person is told; cut to [`limits::WORDS_BYTES_MAX`](crate::limits::WORDS_BYTES_MAX).
    pub words: String,
    /// Of how many things, where that grows: a growing count is told again, though seldom.
    pub count: u64,
}

/// What is seen at a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What is so.
    pub conditions: Vec<Condition>,
    /// Whether everything could be looked at. If not, what is missing is not over.
    pub is_whole: bool,
}

/// What an alert is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// These kinds; empty: all.
    pub kinds: BTreeSet<Kind>,
    /// From this severity on.
    pub severity: Severity,
}

/// All alerts of a server.
#[derive(Clone, Debug)]
pub struct Alerts {
    standing: Standing,
    tellers: BTreeMap<Name, Teller>,
    messages: VecDeque<Message>,
}

impl Alerts {
    /// With these rules, and nothing told. What they tell from now on is told as of `relay`, for whoever is told by several.
    pub fn new(rules: BTreeMap<Name, Rule>, relay: &str) -> Self {
        let teller = |(name, rule): (Name, Rule)| (name.clone(), Teller::new(name, rule, relay));
        let tellers = rules.into_iter().map(teller).collect();
        Self { standing: Standing::default(), tellers, messages: VecDeque::new() }
    }

    /// What an earlier run told, or another server, in `scope`: it is not told as begun again, and told as over only
    /// [`limits::ALERT_RECALLED_HOLD`](crate::limits::ALERT_RECALLED_HOLD) later, for what was so may take a while to be seen again. What was on
    /// its way then is told again: as begun if it is so, and else as over.
    pub fn recall(&mut self, alert: &Name, memory: Memory, now: Now) {
        if let Some(teller) = self.tellers.get_mut(alert) {
            teller.recall(memory, now);
        }
    }

    /// What `alert` has told and not told as over, of one scope, for [`Self::recall`]; and what is on its way, as such. To be kept before
    /// messages are sent, and again once they have left.
    pub fn memory(&self, alert: &Name, scope: Scope) -> Memory {
        self.tellers.get(alert).map(|teller| teller.memory(scope)).unwrap_or_default()
    }

    /// Takes what is so now, and makes the messages that are due.
    ///
    /// # Order
    /// All messages of the look before have been taken by [`Self::poll_output`].
    pub fn handle_look(&mut self, look: Look, now: Now) {
        debug_assert!(self.messages.is_empty(), "messages of the look before are still there");
        self.standing.look(look, now);
        for teller in self.tellers.values_mut() {
            self.messages.extend(teller.review(&self.standing, now));
        }
    }

    /// The next message to send; at most one of each alert after a look.
    pub fn poll_output(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// All messages of an alert so far have left.
    pub fn left(&mut self, alert: &Name) {
        if let Some(teller) = self.tellers.get_mut(alert) {
            teller.left();
        }
    }

    /// A message was given up, and nobody heard it, or some of it: what it said is told again, as far as it is so.
    pub fn give_back(&mut self, message: Message, now: Now) {
        if let Some(teller) = self.tellers.get_mut(&message.alert) {
            teller.give_back(message, now.mono);
        }
    }

    /// Whether an alert tells nothing for now, since nobody takes it. What is so once it does again is told then.
    pub fn hold(&mut self, alert: &Name, is_held: bool) {
        if let Some(teller) = self.tellers.get_mut(alert) {
            teller.hold(is_held);
        }
    }

    /// From now on this server tells what is of the store; what was told before has been [recalled](Self::recall).
    pub fn take(&mut self) {
        self.tellers.values_mut().for_each(Teller::take);
    }

    /// Another server tells what is of the store from now on, as at the start: what was told of it is forgotten here, and not told as
    /// over. It is [seen](Self::firing) all the same.
    pub fn leave(&mut self) {
        self.tellers.values_mut().for_each(Teller::leave);
    }

    /// What is so now, the worst first.
    pub fn firing(&self) -> Vec<Past> {
        self.standing.firing()
    }

    /// What was so and is over, the latest first; at most [`limits::CONDITIONS_PAST_MAX`](crate::limits::CONDITIONS_PAST_MAX).
    pub fn over(&self) -> impl Iterator<Item = &Past> {
        self.standing.over()
    }

    /// Whether an alert is for a condition.
    pub fn is_for(&self, alert: &Name, key: &Key, severity: Severity) -> bool {
        self.tellers.get(alert).is_some_and(|teller| teller.is_for(key, severity))
    }
}

impl Rule {
    /// Whether it is for such a condition: who asked for what is dead is told what expired too, which was one kind with it.
    pub fn is_for(&self, kind: Kind, severity: Severity) -> bool {
        let is_dead = kind == Kind::Expired && self.kinds.contains(&Kind::DeadLetters);
        severity >= self.severity && (self.kinds.is_empty() || self.kinds.contains(&kind) || is_dead)
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::DeadLetters,
        Self::Expired,
        Self::DestinationDown,
        Self::NoClient,
        Self::HalfTtl,
        Self::Stalled,
        Self::Paused,
        Self::Disk,
        Self::Certificate,
        Self::Clock,
        Self::Refused,
        Self::Source,
        Self::Store,
        Self::Backup,
        Self::Configuration,
        Self::Alert,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::Expired => "expired",
            Self::DestinationDown => "destination_down",
            Self::NoClient => "no_client",
            Self::HalfTtl => "half_ttl",
            Self::Stalled => "stalled",
            Self::Paused => "paused",
            Self::Disk => "disk",
            Self::Certificate => "certificate",
            Self::Clock => "clock",
            Self::Refused => "refused",
            Self::Source => "source",
            Self::Store => "store",
            Self::Backup => "backup",
            Self::Configuration => "configuration",
            Self::Alert => "alert",
        }
    }
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Scope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Store, Self::Server];
}

impl FromStr for Kind {
    type Err = String;

    /// One of its words; what is none of them says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("want some of {}", known()))
    }
}

impl FromStr for Severity {
    type Err = String;

    /// One of its words; what is none of them says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| format!("want one of {}", known()))
    }
}
