//! Alerts: what is not as it should be, what was, and who is told.

use askama::Template;
use relay_core::{
    alert::{Kind, Severity},
    name::Name,
    time::Wall,
};

use crate::{
    filters,
    page::{Page, Tab},
    place::place,
    script::Script,
    text as t,
    url::Url,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "alerts.html")]
pub struct Alerts {
    /// The frame.
    pub page: Page,
    /// What is so, the worst first.
    pub now: Vec<ConditionLine>,
    /// What was, the latest first.
    pub over: Vec<ConditionLine>,
    /// Who is told.
    pub receivers: Vec<ReceiverLine>,
}

/// Something that is not as it should be, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionLine {
    /// What kind.
    pub kind: Kind,
    /// Of which destination, source or alert.
    pub subject: Option<Name>,
    /// How bad it is.
    pub severity: Severity,
    /// In words.
    pub words: String,
    /// Since when.
    pub since: Wall,
    /// Until when; none: it is so.
    pub over: Option<Wall>,
    /// It comes and goes.
    pub flapping: bool,
    /// Who is told.
    pub told_to: Vec<String>,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverLine {
    /// What the configuration calls him.
    pub name: String,
    /// How, and where: a host or a program.
    pub way: String,
    /// Messages that arrived; of this server, since it began.
    pub told: u64,
    /// Messages that were given up.
    pub untold: u64,
    /// When one last arrived.
    pub told_at: Option<Wall>,
    /// Why the latest try failed.
    pub error: Option<String>,
}

impl Alerts {
    const TAB: Tab = Tab::Alerts;
    const SCRIPT: Script = Script::Read;
}

impl ConditionLine {
    fn tone(&self) -> &'static str {
        match self.severity {
            _ if self.over.is_some() => "quiet",
            Severity::Critical => "bad",
            Severity::Warning => "warn",
            Severity::Info => "on",
        }
    }

    fn cure(&self) -> &'static str {
        t::cure(self.kind)
    }

    /// Where it is looked at, if that is elsewhere.
    fn url(&self, page: &Page) -> Option<Url> {
        Some(place(&page.site, self.kind, self.subject.as_ref())).filter(|url| *url != page.site.alerts())
    }
}
