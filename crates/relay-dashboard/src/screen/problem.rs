//! A page that cannot be shown, and what to do instead.

use askama::Template;

use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "problem.html")]
pub struct Problem {
    /// The frame.
    pub page: Page,
    /// The answer's status.
    pub status: u16,
    /// What is wrong.
    pub title: String,
    /// What to do.
    pub detail: String,
}

impl Problem {
    const TAB: Tab = Tab::Elsewhere;
    const SCRIPT: Script = Script::Read;
}
