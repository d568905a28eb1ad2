//! Why nothing arrives: the way of a webhook hop by hop, what was found at each, and what mends it.

use askama::Template;
use relay_core::{name::Name, time::Wall};

use super::choice::{self, Choice};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
    url::Url,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "why.html")]
pub struct Why {
    /// The frame.
    pub page: Page,
    /// Of this source; of all.
    pub source: Option<Name>,
    /// The sources that there are.
    pub sources: Vec<Name>,
    /// When it was looked at.
    pub at: Wall,
    /// In the order of a webhook's way.
    pub hops: Vec<HopLine>,
}

/// A part of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopLine {
    /// Its word.
    pub hop: &'static str,
    /// What was looked at there.
    pub checks: Vec<CheckLine>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine {
    /// In a word.
    pub check: String,
    /// Of which source, destination or alert.
    pub about: Option<String>,
    /// The page of that.
    pub url: Option<Url>,
    /// How it was found.
    pub found: Found,
    /// What was found, in words.
    pub said: String,
    /// What mends it.
    pub remedy: Option<String>,
}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be.
    Well,
    /// Not as it should be.
    Wrong,
    /// It cannot be told from here, or nothing has happened yet.
    Unclear,
}

impl Why {
    const TAB: Tab = Tab::Why;
    const SCRIPT: Script = Script::Read;

    fn of_sources(&self) -> Vec<Choice<'_>> {
        choice::names(t::ANY_SOURCE, &self.sources, self.source.as_ref().map(Name::as_str))
    }

    fn wrong(&self) -> usize {
        self.hops.iter().flat_map(|hop| &hop.checks).filter(|check| check.found == Found::Wrong).count()
    }
}

impl HopLine {
    /// The worst that was found there.
    fn found(&self) -> Found {
        let any = |found| self.checks.iter().any(|check| check.found == found);
        if any(Found::Wrong) {
            Found::Wrong
        } else if any(Found::Well) {
            Found::Well
        } else {
            Found::Unclear
        }
    }
}

impl Found {
    pub(crate) const fn tone(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Wrong => "bad",
            Self::Unclear => "quiet",
        }
    }

    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Wrong => "✕",
            Self::Unclear => "–",
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Well => t::WELL,
            Self::Wrong => t::WRONG,
            Self::Unclear => t::UNCLEAR,
        }
    }
}
