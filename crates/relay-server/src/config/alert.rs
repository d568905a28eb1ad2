//! Who is told when something is not as it should be: a `[alert.NAME]` of the configuration file.

use std::{collections::BTreeSet, fmt, str::FromStr};

use http::Uri;
use relay_core::{
    alert::{Kind, Rule, Severity},
    name::Name,
};

/// A `[alert.NAME]` of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredAlert {
    /// Its name.
    pub name: Name,
    /// How somebody is told.
    pub way: Way,
    /// Of which kinds; empty: all.
    pub kinds: BTreeSet<Kind>,
    /// From which severity on.
    pub severity: Severity,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a request.
    Post(Post),
    /// By a program: its path, and its arguments. It may hold secrets, so that nothing shows it but its name.
    Command(Command),
}

/// A request that tells somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Where to; with some formats it is the secret.
    pub url: Uri,
    /// How it is written.
    pub format: Format,
    /// What signs it, or says who it is.
    pub secret: Option<String>,
    /// It may be an address that is not of the public internet.
    pub allow_private: bool,
}

/// A program that tells somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Its absolute path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A signed Standard Webhook.
    StandardWebhooks,
    /// For a Slack-compatible incoming webhook.
    Slack,
    /// For a webhook of Microsoft Teams.
    Teams,
    /// For the Events API of PagerDuty, version 2.
    PagerDuty,
}

impl DeclaredAlert {
    /// What it is for.
    pub(crate) fn rule(&self) -> Rule {
        Rule { kinds: self.kinds.clone(), severity: self.severity }
    }
}

impl Way {
    /// Its word, as `format` has it, or `command`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Post(post) => post.format.as_str(),
            Self::Command(_) => "command",
        }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::StandardWebhooks, Self::Slack, Self::Teams, Self::PagerDuty];
    /// Where PagerDuty takes events.
    pub const PAGERDUTY: &'static str = "https://events.pagerduty.com/v2/enqueue";

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StandardWebhooks => "standard-webhooks",
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::PagerDuty => "pagerduty",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    /// One of its words; what is none of them says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| format!("want one of {}", known()))
    }
}

impl fmt::Debug for Post {
    /// S27: neither the URL nor the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (format, private) = (self.format.as_str(), self.allow_private);
        write!(f, "Post({format} to {}, allow_private: {private})", self.url.host().unwrap_or_default())
    }
}

impl fmt::Debug for Command {
    /// S27: none of its arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} with {} arguments)", self.program, self.arguments.len())
    }
}
