//! Who may send and who may fetch: keys of senders and tokens of clients, by how they begin.

use askama::Template;
use relay_core::{name::Name, time::Wall};

use super::{
    KeyLine,
    choice::{self, Choice},
};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "access.html")]
pub struct Access {
    /// The frame.
    pub page: Page,
    /// What their names or sources have in them.
    pub find: Option<String>,
    /// Keys: those that are good for something first.
    pub keys: Vec<KeyLine>,
    /// Tokens, likewise.
    pub tokens: Vec<TokenLine>,
    /// What the settings give, which nobody changes here.
    pub settings: Vec<SettingLine>,
    /// Sources that take keys.
    pub sources: Vec<Name>,
    /// Destinations that there are.
    pub destinations: Vec<Name>,
    /// Keys and tokens that are not among those.
    pub left_out: u64,
}

/// A client's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLine {
    /// Its name.
    pub name: Name,
    /// How it begins.
    pub prefix: String,
    /// What it may serve; none: everything.
    pub destinations: Option<Vec<String>>,
    /// It is good only with one of so many public keys.
    pub pins: usize,
    /// When it was made.
    pub created_at: Wall,
    /// When it last let a client in, or one that it let in was there; of this server, since it began.
    pub used_at: Option<Wall>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Wall>,
    /// It is being replaced.
    pub rotation: Option<RotationLine>,
}

/// How far the replacement of a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationLine {
    /// How the old one begins.
    pub old_prefix: String,
    /// Sessions that the old one let in.
    pub old_sessions: u64,
    /// Sessions that the new one let in.
    pub new_sessions: u64,
    /// Until when the old one is valid; none: until somebody says so.
    pub until: Option<Wall>,
}

/// A secret that a setting gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLine {
    /// The setting.
    pub name: &'static str,
    /// When it was last used; of this server, since it began.
    pub used_at: Option<Wall>,
}

impl Access {
    const TAB: Tab = Tab::Access;
    const SCRIPT: Script = Script::Access;

    fn of_sources(&self) -> Vec<Choice<'_>> {
        self.sources.iter().map(|name| Choice { value: name.as_str(), words: name.as_str(), chosen: false }).collect()
    }

    fn of_destinations(&self) -> Vec<Choice<'_>> {
        // Nobody gets all of them by not choosing.
        let mut all = choice::names(t::CHOOSE, &self.destinations, None);
        all.push(Choice { value: "*", words: t::EVERY_DESTINATION, chosen: false });
        all
    }
}

impl TokenLine {
    fn serves(&self) -> String {
        self.destinations.as_ref().map_or_else(|| t::EVERY_DESTINATION.to_owned(), |names| names.join(", "))
    }
}

impl SettingLine {
    fn may(&self) -> &'static str {
        t::setting_may(self.name)
    }
}
