//! Where users sign in: by name and password, or by a link that is good once.

use askama::Template;

use crate::{filters, page::Page, script::Script, text as t};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "login.html")]
pub struct Login {
    /// The frame, without a viewer.
    pub page: Page,
    /// How one gets in.
    pub way: Way,
}

/// How one gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By name and password, or by a link.
    Open,
    /// There is no user yet: by a link alone.
    NoUser,
    /// Nobody: the connection is read by whoever is on the way.
    Plain,
}

impl Login {
    const SCRIPT: Script = Script::Login;
}
