//! The users: who may in, with which role, and how one gets a way in.

use askama::Template;
use relay_core::time::Wall;

use super::choice::Choice;
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
    viewer::Role,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "users.html")]
pub struct Users {
    /// The frame.
    pub page: Page,
    /// All of them, by name.
    pub users: Vec<UserLine>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// His name.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// Whether he can sign in.
    pub state: UserState,
    /// Sessions that are open.
    pub sessions: u64,
    /// When he last signed in.
    pub signed_in_at: Option<Wall>,
    /// It is the viewer.
    pub me: bool,
}

/// Whether a user can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserState {
    /// He has a password.
    Active,
    /// He has none yet: by a link alone.
    Invited,
    /// No.
    Disabled,
}

impl Users {
    const TAB: Tab = Tab::Users;
    const SCRIPT: Script = Script::Users;

    fn all_roles() -> Vec<Choice<'static>> {
        roles(Role::Viewer)
    }
}

impl UserLine {
    fn of_roles(&self) -> Vec<Choice<'static>> {
        roles(self.role)
    }
}

fn roles(chosen: Role) -> Vec<Choice<'static>> {
    let choice = |role: Role| Choice { value: role.as_str(), words: role.as_str(), chosen: role == chosen };
    Role::ALL.into_iter().map(choice).collect()
}

impl UserState {
    const fn tone(self) -> &'static str {
        match self {
            Self::Active => "ok",
            Self::Invited => "warn",
            Self::Disabled => "quiet",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Active => "✓",
            Self::Invited => "↻",
            Self::Disabled => "–",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Active => t::ACTIVE,
            Self::Invited => t::INVITED,
            Self::Disabled => t::DISABLED,
        }
    }
}
