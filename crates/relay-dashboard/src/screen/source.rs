//! A source: how what comes proves itself, what came, what was refused and why, where it goes.

use askama::Template;
use relay_core::{name::Name, time::Wall};

use super::{KeyLine, RouteLine};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "source.html")]
pub struct SourcePage {
    /// The frame.
    pub page: Page,
    /// Which, and how it is.
    pub source: SourceFacts,
}

/// What is known of a source. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceFacts {
    /// Its name.
    pub name: Name,
    /// Who judges what comes.
    pub provider: String,
    /// Where senders reach it, or the path of that.
    pub url: String,
    /// Where the configuration file declares it.
    pub declared: Option<String>,
    /// It takes nothing: why.
    pub stopped: Option<String>,
    /// The platform is to hand over its secret: until when it may; it may not any more.
    pub awaits: Option<Option<Wall>>,
    /// What its provider was given.
    pub parameters: Vec<Parameter>,
    /// Who may come, and how often, and by what its events are found.
    pub bounds: Vec<(&'static str, String)>,
    /// What came.
    pub counters: SourceCounters,
    /// What it took of what it takes in a day, each in words.
    pub quotas: Vec<String>,
    /// The names of its events, those with the most first.
    pub names: Vec<EventName>,
    /// What was refused lately, the newest first.
    pub refusals: Vec<RefusalLine>,
    /// Senders show a key.
    pub takes_keys: bool,
    /// Its keys.
    pub keys: Vec<KeyLine>,
    /// Where it goes.
    pub routes: Vec<RouteLine>,
}

/// What a provider was given for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As the provider's table has it.
    pub name: String,
    /// Of one that is no secret.
    pub value: Option<String>,
    /// The platform handed it over.
    pub adopted: bool,
}

/// What came to a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Events that were ever accepted.
    pub accepted: u64,
    /// Those that are kept.
    pub stored: u64,
    /// What was sent again.
    pub duplicates: u64,
    /// Answered, and nothing to deliver; of this server.
    pub handshakes: u64,
    /// By the check that refused; of this server.
    pub refused: Vec<(String, u64)>,
    /// Of its newest event that is kept.
    pub last_at: Option<Wall>,
}

/// How many events of a name are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    /// In the platform's words; of all others none.
    pub name: Option<String>,
    /// So many.
    pub events: u64,
    /// Of the latest.
    pub last_at: Wall,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalLine {
    /// When.
    pub at: Wall,
    /// Which check.
    pub check: String,
    /// What was wrong, and what would be right.
    pub detail: String,
    /// What to look at.
    pub remedy: String,
    /// From where, by whom it was brought.
    pub from: Option<String>,
}

impl SourcePage {
    const TAB: Tab = Tab::Sources;
    const SCRIPT: Script = Script::Read;
}

impl SourceFacts {
    /// The setting opens one source alone.
    fn no_key_how(&self) -> &'static str {
        if self.name == Name::fallback() { t::NO_KEY_BUT_SETTING } else { t::NO_KEY_HOW }
    }

    fn events_of(&self, page: &Page, name: &str) -> crate::url::Url {
        page.site.events().with("source", self.name.as_str()).with("q", name)
    }
}

impl SourceCounters {
    fn refusals(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }
}
