//! The viewer himself: his password, his sessions, how he reads.

use askama::Template;
use relay_core::time::Wall;

use super::choice::Choice;
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
    viewer::{Theme, Zone},
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "me.html")]
pub struct Me {
    /// The frame.
    pub page: Page,
    /// He is a user with a name, not whoever runs the machine.
    pub user: bool,
    /// He has a password.
    pub has_password: bool,
    /// His sessions, the latest first.
    pub sessions: Vec<SessionLine>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLine {
    /// What it is called by whoever ends it; it opens nothing.
    pub handle: String,
    /// When it began.
    pub began_at: Wall,
    /// When it was last used.
    pub used_at: Wall,
    /// From where.
    pub peer: String,
    /// The browser, as it calls itself.
    pub agent: String,
    /// It is this one.
    pub this: bool,
}

impl Me {
    const TAB: Tab = Tab::Me;
    const SCRIPT: Script = Script::Me;

    fn of_themes(&self) -> Vec<Choice<'static>> {
        let chosen = self.page.viewer.as_ref().map_or_else(Theme::default, |viewer| viewer.theme);
        let choice = |theme: Theme| Choice { value: theme.as_str(), words: t::theme(theme), chosen: theme == chosen };
        Theme::ALL.into_iter().map(choice).collect()
    }

    fn of_zones(&self) -> Vec<Choice<'static>> {
        let chosen = self.page.viewer.as_ref().map_or_else(Zone::default, |viewer| viewer.zone);
        let choice = |zone: Zone| Choice { value: zone.as_str(), words: t::zone(zone), chosen: zone == chosen };
        Zone::ALL.into_iter().map(choice).collect()
    }

    fn of_keys(&self) -> Vec<Choice<'static>> {
        let on = self.page.viewer.as_ref().is_some_and(|viewer| viewer.keys);
        let choice = |value, words, chosen| Choice { value, words, chosen };
        vec![choice("on", t::ON, on), choice("off", t::OFF, !on)]
    }
}
