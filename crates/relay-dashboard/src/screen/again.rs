//! Leads to a page of this site at once: a browser that followed a link of another site sends no cookie, and does so from here.

use askama::Template;

use crate::{filters, page::Page, script::Script, text as t, url::Url};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "again.html")]
pub struct Again {
    /// The frame, without a viewer.
    pub page: Page,
    /// Where it leads.
    pub url: Url,
}

impl Again {
    const SCRIPT: Script = Script::Read;
}
