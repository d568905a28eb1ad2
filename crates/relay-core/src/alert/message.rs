//! What is sent to somebody: what began, what is over, and what lasts.

use super::{Key, Severity};
use crate::{limits, name::Name, time::Wall};

/// One message of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of which alert.
    pub alert: Name,
    /// When it was made.
    pub at: Wall,
    /// What is new, the worst first.
    pub begun: Vec<Item>,
    /// What was told before and is over.
    pub over: Vec<Item>,
    /// What was told before and lasts, the worst first.
    pub lasting: Vec<Item>,
    /// So many more there are of these that had no room.
    pub more: u64,
}

/// A condition in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// How bad.
    pub severity: Severity,
    /// What a person is told.
    pub words: String,
    /// Since when.
    pub since: Wall,
    /// How many, where that is counted.
    pub count: u64,
    /// Why it is in the message.
    pub news: News,
    /// As of which relay it was told first, and is until it is over; empty: a version that knew of none told it.
    pub relay: String,
}

/// Why a condition is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It began.
    Begun,
    /// It was told before, and is worse.
    Worse,
    /// It comes and goes: it is told as over only once it has not come for a while.
    Flapping,
    /// It lasts.
    Lasting,
    /// It is over.
    Over,
}

impl News {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Worse => "worse",
            Self::Flapping => "flapping",
            Self::Lasting => "lasting",
            Self::Over => "over",
        }
    }
}

impl Message {
    /// The worst of all that is not over; of what is over, where nothing else is in it.
    pub fn severity(&self) -> Severity {
        let stands = self.begun.iter().chain(&self.lasting).map(|item| item.severity).max();
        stands.or_else(|| self.over.iter().map(|item| item.severity).max()).unwrap_or(Severity::Info)
    }

    /// Everything in it.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.begun.iter().chain(&self.over).chain(&self.lasting)
    }

    /// As much of it as a message may hold, the worst first.
    pub(super) fn bounded(mut self) -> Self {
        for items in [&mut self.begun, &mut self.over, &mut self.lasting] {
            items.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.key.cmp(&other.key)));
            self.more += items.len().saturating_sub(limits::ALERT_ITEMS_MAX) as u64;
            items.truncate(limits::ALERT_ITEMS_MAX);
        }
        self
    }
}
