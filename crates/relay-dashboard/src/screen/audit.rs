//! The audit log: who did what, to what, from where.

use askama::Template;
use relay_core::time::Wall;

use super::choice::{self, Choice};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    since::Since,
    text as t,
    url::{Site, Url},
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "audit.html")]
pub struct Audit {
    /// The frame.
    pub page: Page,
    /// Which lines.
    pub filter: AuditFilter,
    /// The lines.
    pub list: AuditList,
    /// What is wrong with the filter.
    pub fault: Option<String>,
}

/// The lines alone.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/audit_lines.html")]
pub struct AuditLines<'a> {
    /// The frame.
    pub page: &'a Page,
    /// The lines.
    pub list: &'a AuditList,
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of somebody: `cli`, `user:alice`.
    pub who: Option<String>,
    /// Of an action, or of all of a noun: `dead.redrive`, `dead`.
    pub action: Option<String>,
    /// Since then.
    pub since: Since,
}

/// A page of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditList {
    /// The newest first.
    pub lines: Vec<AuditLine>,
    /// Where the next page goes on.
    pub next: Option<String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// When.
    pub at: Wall,
    /// Who.
    pub who: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Where that is shown.
    pub url: Option<Url>,
    /// From where.
    pub origin: Option<String>,
    /// Who it said it is; nobody checked that.
    pub claimed: Option<String>,
}

impl Audit {
    const TAB: Tab = Tab::Audit;
    const SCRIPT: Script = Script::Read;

    fn of_spans(&self) -> Vec<Choice<'static>> {
        choice::spans(self.filter.since)
    }
}

impl AuditFilter {
    /// The list from its newest.
    pub fn url(&self, site: &Site) -> Url {
        self.at(site.audit())
    }

    /// The same as a file.
    fn csv(&self, site: &Site) -> Url {
        self.at(site.audit_csv())
    }

    fn at(&self, url: Url) -> Url {
        let since = (self.since != Since::default()).then_some(self.since.as_str());
        let url = url.with_some("who", self.who.as_deref()).with_some("action", self.action.as_deref());
        url.with_some("since", since)
    }

    fn next(&self, site: &Site, cursor: &str) -> Url {
        self.url(site).with("cursor", cursor)
    }

    fn is_narrow(&self) -> bool {
        *self != Self::default()
    }
}
